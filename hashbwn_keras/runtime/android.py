"""Compiling the native library for 64-bit Android."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from hashbwn_keras.runtime.compiling import FLAGS, CompileError, sources

# The NDK's own minimum for 64 bit is 21; 28 has everything the library calls.
_API = 28
_API_WITHOUT_NDK = 29
_OLDEST_NDK = 23
_LOGGING = "-DHB_LOGCAT"
# Phones with 16 KB pages refuse libraries with 4 KB segments.
_LINK = ["-shared", "-soname", "libhashbwn.so", "-z", "max-page-size=16384", "--strip-all"]
_LINK += ["--build-id=sha1"]
_STUBS = ("libc.so", "libm.so", "liblog.so")
# What the NDK puts into each library: a note that names the oldest Android.
_NOTE = f"""
__attribute__((section(".note.android.ident"), used, aligned(4))) static const struct {{
  int name_size, size, type;
  char name[8];
  int api;
}} note = {{8, 4, 1, "Android", {_API_WITHOUT_NDK}}};
"""


def ndk() -> str | None:
    """The folder of the NDK that builds the library; None for the way without one."""
    return os.environ.get("ANDROID_NDK_HOME")


def oldest_api() -> int:
    """The oldest Android that loads the library, as an API level."""
    return _API if ndk() else _API_WITHOUT_NDK


def ndk_version() -> int:
    """The major version of the NDK, or the oldest one that would do where there is none."""
    properties = Path(ndk() or os.devnull) / "source.properties"
    text = properties.read_text() if properties.is_file() else ""
    found = re.search(r"Pkg\.Revision\s*=\s*(\d+)", text)
    return int(found[1]) if found else _OLDEST_NDK


def compile_library(root: Path, out: Path, target: str = "aarch64-android") -> None:
    """Compile the sources under ``root`` to ``out`` for Android.

    ``target`` is a key of :data:`hashbwn_keras.runtime.compiling.ANDROID`.

    With the NDK that ``ANDROID_NDK_HOME`` names, for API 28 (Android 9) and later. Without one,
    experimentally with ziglang, which has no Android C library: compiled against glibc's headers
    and linked to empty stand-ins for bionic's ``libc.so``, ``libm.so`` and ``liblog.so``, whose
    symbols have the same names. Its thread-local variables need API 29 (Android 10).

    Raises:
        CompileError: no NDK where the variable points, no ziglang, or the compiler failed.
    """
    include = f"-I{root / 'include'}"
    processor = target.partition("-")[0]
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        if found := ndk():
            command = [str(_clang(found, processor)), *FLAGS, _LOGGING, include, "-o", str(draft)]
            linker = [f"-Wl,{','.join(_LINK[1:])}", "-lm", "-llog"]
            _run([*command, *map(str, sources(root)), *linker])
        else:
            _without_ndk(sources(root), include, processor, draft)
        os.replace(draft, out)


def _clang(found: str, processor: str) -> Path:
    clang = sorted(Path(found).glob("toolchains/llvm/prebuilt/*/bin/clang"))
    if not clang:
        raise CompileError(
            f"ANDROID_NDK_HOME={found} holds no toolchains/llvm: set it to the folder of an NDK, "
            "or unset it."
        )
    return clang[0].with_name(f"{processor}-linux-android{_API}-clang")


def _without_ndk(files: list[Path], include: str, processor: str, draft: Path) -> None:
    folder = draft.parent
    zig = [sys.executable, "-m", "ziglang"]
    compiler = [*zig, "cc", "-target", f"{processor}-linux-gnu.2.17"]
    # Atomic operations in line: bionic has no helpers for them. Clang turns memcmp into bcmp, which
    # bionic does not have either.
    compiler += ["-mno-outline-atomics"] if processor == "aarch64" else []
    flags = [*(flag for flag in FLAGS if flag not in ("-shared", "-s")), "-fno-builtin-bcmp"]
    (folder / "note.c").write_text(_NOTE)
    (folder / "empty.c").write_text("")
    objects = []
    for source in [*files, folder / "note.c", folder / "empty.c"]:
        objects.append(str(folder / f"{source.stem}.o"))
        _run([*compiler, *flags, _LOGGING, include, "-c", "-o", objects[-1], str(source)])
    stubs = [str(folder / name) for name in _STUBS]
    for name, stub in zip(_STUBS, stubs, strict=True):
        _run([*zig, "ld.lld", "-shared", "-soname", name, "-o", stub, objects[-1]])
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
