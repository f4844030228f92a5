"""Compiling the native library for 64-bit Android."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hashbwn_keras.runtime.compiling import FLAGS, CompileError, sources

# The NDK's own minimum for 64 bit is 21; 28 has everything the library calls.
_API = 28
# Phones with 16 KB pages refuse libraries with 4 KB segments.
_LINK = ["-shared", "-soname", "libhashbwn.so", "-z", "max-page-size=16384", "--strip-all"]


def compile_library(root: Path, out: Path) -> None:
    """Compile the sources under ``root`` to ``out`` for Android.

    With the NDK that ``ANDROID_NDK_HOME`` names, for API 28 (Android 9) and later. Without one,
    experimentally with ziglang, which has no Android C library: compiled against glibc's headers
    and linked to empty stand-ins for bionic's ``libc.so`` and ``libm.so``, whose symbols have the
    same names. Its thread-local variables need API 29 (Android 10).

    Raises:
        CompileError: no NDK where the variable points, no ziglang, or the compiler failed.
    """
    include = f"-I{root / 'include'}"
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        if ndk := os.environ.get("ANDROID_NDK_HOME"):
            command = [str(_clang(ndk)), *FLAGS, include, "-o", str(draft)]
            _run([*command, *map(str, sources(root)), f"-Wl,{','.join(_LINK[1:])}", "-lm"])
        else:
            _without_ndk(sources(root), include, Path(folder), draft)
        os.replace(draft, out)


def _clang(ndk: str) -> Path:
    found = sorted(Path(ndk).glob("toolchains/llvm/prebuilt/*/bin/clang"))
    if not found:
        raise CompileError(
            f"ANDROID_NDK_HOME={ndk} holds no toolchains/llvm: set it to the folder of an NDK, or "
            "unset it."
        )
    return found[0].with_name(f"aarch64-linux-android{_API}-clang")


def _without_ndk(files: list[Path], include: str, folder: Path, draft: Path) -> None:
    zig = [sys.executable, "-m", "ziglang"]
    compiler = [*zig, "cc", "-target", "aarch64-linux-gnu.2.17", "-mno-outline-atomics"]
    # Clang turns memcmp into bcmp, which bionic does not have.
    flags = [*(flag for flag in FLAGS if flag != "-shared"), "-fno-builtin-bcmp"]
    objects = []
    for source in files:
        objects.append(str(folder / f"{source.stem}.o"))
        _run([*compiler, *flags, include, "-c", "-o", objects[-1], str(source)])
    stubs = []
    (folder / "empty.c").write_text("")
    _run([*compiler, "-c", "-o", str(folder / "empty.o"), str(folder / "empty.c")])
    for name in ("libc.so", "libm.so"):
        stubs.append(str(folder / name))
        empty = ["-shared", "-soname", name, "-o", stubs[-1], str(folder / "empty.o")]
        _run([*zig, "ld.lld", *empty])
    # Symbols that are not found stay open for the phone's linker, as in any shared library.
    _run([*zig, "ld.lld", *_LINK, "-o", str(draft), *objects, "--no-as-needed", *stubs])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode == 0:
        return
    if "No module named ziglang" in done.stderr:
        raise CompileError(
            "Building for Android needs an NDK named by ANDROID_NDK_HOME or, experimentally, the "
            'ziglang package: pip install "hashbwn_keras[cross]".'
        )
    last = (done.stderr.strip().splitlines() or ["no message"])[-1]
    raise CompileError(f"{Path(command[0]).name} failed for Android: {last}")
