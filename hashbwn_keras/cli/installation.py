"""What is installed here and what it gives, for ``hashbwn doctor``."""

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

# Distribution -> extra of ours that installs it ("" for what is always there), what it gives.
_PARTS = {
    "tensorflow": ("", "everything"),
    "tf-keras": ("", "Keras 2"),
    "numpy": ("", "everything"),
    "larq": ("", "binary layers"),
    "numba": ("", "the solver"),
    "larq-compute-engine": ("lce", "files for LCE, and running them (export --runtime lce)"),
    "ai-edge-litert": ("litert", "verify and Interpreter with LiteRT"),
    "tensorflow-model-optimization": ("tfmot", "quantization-aware training with tfmot"),
    "scikit-learn": ("demo", "demo with the digits data set"),
    "matplotlib": ("plot", "pictures of benchmark results"),
    "ziglang": ("cross", "building the delegate for other machines"),
}


def examine() -> dict[str, Any]:
    """Return machine, versions, optional parts and the state of the native runtime."""
    packages = {}
    for name, (extra, gives) in _PARTS.items():
        try:
            found = version(name)
        except PackageNotFoundError:
            found = None
        packages[name] = {"version": found, "extra": extra, "gives": gives}
    try:
        runtime = import_module("hashbwn_keras.runtime").doctor_report()
    except ImportError as error:
        runtime = {"error": str(error)}
    return {
        "hashbwn_keras": import_module("hashbwn_keras").__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "packages": packages,
        "runtime": runtime,
    }


def text(found: dict[str, Any]) -> str:
    """Return :func:`examine`'s findings for people."""
    lines = [
        f"hashbwn_keras {found['hashbwn_keras']}, Python {found['python']}, {found['machine']}",
        "",
    ]
    for name, package in found["packages"].items():
        if package["version"]:
            lines.append(f"  {name:<30} {package['version']:<12} {package['gives']}")
        else:
            cure = f'pip install "hashbwn_keras[{package["extra"]}]"'
            lines.append(f"– {name:<30} {'missing':<12} {package['gives']}: {cure}")
    lines += ["", *_runtime_lines(found["runtime"])]
    return "\n".join(lines)


def _runtime_lines(runtime: Any) -> list[str]:
    if isinstance(runtime, dict):
        return [f"  {key:<30} {_value(value)}" for key, value in runtime.items()]
    return [str(runtime)]


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "yes", False: "no"}[value]
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(item)}" for key, item in value.items()) or "none"
    return str(value)
