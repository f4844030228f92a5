"""Builds and checks the files of a release: source distribution, wheels and Android library.

    python tools/release.py [--out dist]

Needs Python 3.10 to 3.12 with venv, and PyPI for the build tools, which it installs into a folder
of its own; a JDK for the Android library, which is left out without one. The version is that of
``hashbwn_keras/version.py``. Nothing is uploaded.
"""

import argparse
import hashlib
import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

TOP = Path(__file__).resolve().parents[1]
TOOLS = ("build", "setuptools>=70.1", "wheel", "ziglang>=0.13", "auditwheel>=6", "numpy<2")
LIBRARY = "hashbwn_keras/runtime/libhashbwn.so"
LARGEST_LIBRARY = 250_000
MACHINES = {"x86_64": 62, "aarch64": 183}
"""ELF's numbers of the processors that get a wheel with the library."""


class ReleaseError(Exception):
    """A file cannot be built or is not as it has to be; the message is one sentence."""


def run(*command: object, cwd: Path = TOP, **environment: str) -> str:
    """Run a command and return what it prints.

    Raises:
        ReleaseError: it failed; the message has the end of what it said.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words, cwd=cwd, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
        raise ReleaseError(f"{' '.join(words)} failed:\n{tail}")
    return done.stdout


def build_python(folder: Path) -> Path:
    """Make a virtual environment with the build tools, and return its Python."""
    run(sys.executable, "-m", "venv", folder)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", *TOOLS)
    return python


def build_sdist(python: Path, out: Path) -> Path:
    """Build the source distribution."""
    run(python, "-m", "build", "--sdist", "--no-isolation", "--outdir", out)
    (sdist,) = out.glob("*.tar.gz")
    return sdist


def build_wheel(python: Path, sdist: Path, target: str, out: Path) -> Path:
    """Build the wheel for ``target``, or the one without a library for "none".

    From the unpacked source distribution, so that it is tried, and nothing is left of other builds.
    """
    before = set(out.glob("*.whl"))
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(sdist) as archive:
            archive.extractall(folder, filter="data")
        (source,) = Path(folder).iterdir()
        build = (python, "-m", "build", "--wheel", "--no-isolation", "--outdir", out)
        run(*build, cwd=source, HASHBWN_TARGET=target)
    (wheel,) = set(out.glob("*.whl")) - before
    return wheel


def library_machine(content: bytes) -> int:
    """The processor of an ELF library.

    Raises:
        ReleaseError: it is none.
    """
    if content[:5] != b"\x7fELF\x02":
        raise ReleaseError("The library in the wheel is no 64-bit ELF file.")
    return int(struct.unpack_from("<H", content, 18)[0])


def check_wheel(wheel: Path, target: str) -> str:
    """Check name and library of a wheel, and say what it holds.

    Raises:
        ReleaseError: its tag, the library's presence, processor or size is not as it has to be.
    """
    machine = target.partition("-")[0]
    with zipfile.ZipFile(wheel) as archive:
        held = [name for name in archive.namelist() if name.endswith((".so", ".dylib", ".dll"))]
        content = archive.read(LIBRARY) if held == [LIBRARY] else b""
    if target == "none":
        if held or not wheel.name.endswith("-py3-none-any.whl"):
            raise ReleaseError(f"{wheel.name} should be for every machine, and holds {held}.")
        return "no library"
    if f"-py3-none-manylinux_2_17_{machine}" not in wheel.name or held != [LIBRARY]:
        raise ReleaseError(f"{wheel.name} should be manylinux_2_17 with one library, holds {held}.")
    if library_machine(content) != MACHINES[machine]:
        raise ReleaseError(f"The library in {wheel.name} is for another processor.")
    if len(content) > LARGEST_LIBRARY:
        raise ReleaseError(
            f"The library in {wheel.name} has {len(content):,} bytes, more than "
            f"{LARGEST_LIBRARY:,}."
        )
    return f"library of {len(content):,} bytes"


def check_manylinux(python: Path, wheel: Path) -> str:
    """Let auditwheel find the oldest systems that can load the library, and return their tag.

    Raises:
        ReleaseError: they are newer than the wheel's name says.
    """
    said = " ".join(run(python, "-m", "auditwheel", "show", wheel).split())
    found = re.search(r'consistent with the following platform tag: "([^"]+)"', said)
    if not found:
        raise ReleaseError(f"auditwheel knows no platform tag for {wheel.name}: {said}")
    version = re.match(r"manylinux_2_(\d+)_", found[1])
    if not version or int(version[1]) > 17:
        raise ReleaseError(f"auditwheel finds {found[1]} for {wheel.name}.")
    return f"auditwheel: {found[1]}"


def build_aar(python: Path, out: Path) -> str:
    """Build the Android library where a JDK is there, and say what came of it."""
    if shutil.which("javac") is None:
        return "hashbwn-android.aar  left out: javac is missing (Debian's openjdk-17-jdk-headless)"
    run(python, "tflite/android/build_aar.py", "--out", out / "hashbwn-android.aar")
    return f"hashbwn-android.aar  {(out / 'hashbwn-android.aar').stat().st_size:,} bytes"


def release(out: Path, python: Path) -> list[str]:
    """Build everything into the empty folder ``out``; return a line for each file."""
    sdist = build_sdist(python, out)
    lines = [f"{sdist.name}  {sdist.stat().st_size:,} bytes"]
    for target in [*(f"{machine}-linux" for machine in MACHINES), "none"]:
        wheel = build_wheel(python, sdist, target, out)
        said = [f"{wheel.stat().st_size:,} bytes", check_wheel(wheel, target)]
        if target != "none":
            said.append(check_manylinux(python, wheel))
        lines.append(f"{wheel.name}  {', '.join(said)}")
    lines.append(build_aar(python, out))
    sums = [
        f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(out.iterdir())
    ]
    (out / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    return lines


def main() -> int:
    """Build into a new folder, which appears whole or not at all."""
    parser = argparse.ArgumentParser(description="Build and check the files of a release.")
    parser.add_argument("--out", type=Path, default=TOP / "dist", help="folder (default: dist)")
    out = parser.parse_args().out.resolve()
    if out.exists():
        print(f"{out} exists: move it away or give another folder with --out.", file=sys.stderr)
        return 1
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        try:
            draft = Path(folder) / "files"
            draft.mkdir()
            lines = release(draft, build_python(Path(folder) / "venv"))
        except ReleaseError as error:
            print(error, file=sys.stderr)
            return 1
        draft.rename(out)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
