"""Whether what is installed beside this package works together; nothing is imported for it."""

from importlib.metadata import PackageNotFoundError, version

# Distributions that put their files into the same folder, tensorflow/.
_TENSORFLOWS = ("tensorflow", "tensorflow-cpu", "tensorflow-rocm", "tensorflow-intel")


def check() -> None:
    """Raise ImportError where TensorFlow cannot work, before anything imports it."""
    problem = conflict()
    if problem:
        raise ImportError(problem)


def conflict() -> str | None:
    """Return what breaks TensorFlow here and the cure, in one sentence, or None."""
    found = {}
    for name in _TENSORFLOWS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if len(set(found.values())) < 2:
        return None
    names = " and ".join(f"{name} {number}" for name, number in found.items())
    other = next(name for name in found if name != "tensorflow")
    return (
        f"{names} are installed over each other, which breaks both: pip uninstall -y "
        f"{' '.join(found)}, then install one of them; for {other} give pip install --no-deps "
        "hashbwn_keras, as docs/guides/keras3.md says."
    )
