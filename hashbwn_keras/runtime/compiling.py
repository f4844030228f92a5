"""Compiling the native library. Standard library only: setup.py loads this file by its path."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LIBRARY = "libhashbwn.so"
_FOLDERS = ("kernels", "delegate")
_SUFFIXES = (".c", ".h", ".inc")
# -O3 for the vectoriser; no -march: every instruction set is chosen function by function, at run
# time. No errno from rounding functions, so that they become one instruction. -s: no symbols but
# the exported ones, a fifth of the size.
FLAGS = [
    "-std=gnu11",
    "-O3",
    "-fno-math-errno",
    "-fPIC",
    "-fvisibility=hidden",
    "-DNDEBUG",
    "-shared",
    "-s",
]
TARGETS = {"x86_64-linux": "x86_64-linux-gnu.2.17", "aarch64-linux": "aarch64-linux-gnu.2.17"}
ANDROID = {"aarch64-android": "arm64-v8a", "x86_64-android": "x86_64"}
"""Targets and Android's names of their processors."""


class CompileError(Exception):
    """No compiler, or it failed; the message is one sentence."""


def host_target() -> str:
    """The name of this machine among the targets, or another ``machine-system`` pair."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(platform.machine(), platform.machine())
    return f"{machine}-{platform.system().lower()}"


def source_root() -> Path | None:
    """The folder of the C code: inside the package, or in the checkout around it."""
    package = Path(__file__).resolve().parent
    for root in (package / "native", package.parents[1] / "tflite"):
        if (root / "delegate" / "delegate.c").is_file():
            return root
    return None


def sources(root: Path) -> list[Path]:
    """What is compiled: every C file of the kernels and the delegate under ``root``."""
    return sorted(path for folder in _FOLDERS for path in (root / folder).glob("*.c"))


def source_files(root: Path) -> list[Path]:
    """Every file that compiling reads, headers included."""
    folders = [root / folder for folder in (*_FOLDERS, "include")]
    return sorted(
        path for folder in folders for path in folder.glob("*") if path.suffix in _SUFFIXES
    )


def source_hash(root: Path) -> str:
    """Sixteen hex digits that change with the sources, the flags and the file names."""
    digest = hashlib.sha256(" ".join(FLAGS).encode())
    for path in source_files(root):
        digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:16]


def host_compiler() -> list[str] | None:
    """The command of a C compiler for this machine: $CC, cc, gcc or clang."""
    named = os.environ.get("CC")
    if named:
        return named.split()
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    return None


def cross_compiler(target: str) -> list[str]:
    """The command that compiles for another machine with the ziglang package.

    Raises:
        CompileError: ziglang is not installed.
    """
    found = subprocess.run(
        [sys.executable, "-m", "ziglang", "version"], capture_output=True, check=False
    )
    if found.returncode != 0:
        raise CompileError(
            f"Building for {target} on {host_target()} needs the ziglang package: "
            'pip install "hashbwn_keras[cross]".'
        )
    return [sys.executable, "-m", "ziglang", "cc", "-target", TARGETS[target]]


def _compiler(target: str) -> list[str] | None:
    """What compiles for a target that was asked for.

    That is ziglang, whose libraries run on older systems than this one, or, for this machine, its
    own compiler.
    """
    try:
        return cross_compiler(target)
    except CompileError:
        if target != host_target():
            raise
        return host_compiler()


def compile_library(root: Path, out: Path, target: str | None = None) -> None:
    """Compiles the sources under ``root`` to the shared library ``out``, whole or not at all.

    For Android, :mod:`hashbwn_keras.runtime.android` does it.

    Raises:
        CompileError: the target is not known, no compiler was found, or it failed.
    """
    host, asked = host_target(), target is not None
    target = target or host
    if target == host and host not in TARGETS:
        raise CompileError(
            f"There are no native kernels for {host}, only for {' and '.join(TARGETS)} and "
            "Android; files run here on the interpreter's own kernels."
        )
    if target not in TARGETS:
        known = ", ".join(sorted([*TARGETS, *ANDROID]))
        raise CompileError(f"{target} is not among the targets {known}.")
    compiler = _compiler(target) if asked else host_compiler()
    if compiler is None:
        raise CompileError("No C compiler was found: install gcc or clang, or set CC.")
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        command = [*compiler, *FLAGS, f"-I{root / 'include'}", "-o", str(draft)]
        command += map(str, sources(root))
        try:
            subprocess.run(
                [*command, "-pthread", "-lm"], check=True, capture_output=True, text=True
            )
        except FileNotFoundError:
            raise CompileError(f"The C compiler {compiler[0]} was not found: set CC.") from None
        except subprocess.CalledProcessError as error:
            tail = (error.stderr or "").strip().splitlines()[-1:] or ["no message"]
            raise CompileError(f"{compiler[0]} failed to compile the library: {tail[0]}") from None
        os.replace(draft, out)
