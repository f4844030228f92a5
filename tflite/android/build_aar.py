"""Makes the Android library hashbwn-android.aar, without Gradle:

    python tflite/android/build_aar.py [--out hashbwn-android.aar] [--overwrite]

Needs javac (a JDK, 11 or later) and, for the native library, the NDK that ``ANDROID_NDK_HOME``
names or else, untested on a phone, the ziglang package. What is in the file, by entry:

    jni/<abi>/libhashbwn.so      kernels, delegate and the methods of the Java class
    classes.jar                  org.hashbwn.HashBwnDelegate
    prefab/                      header and library for C++ projects: find_package(hashbwn)
    AndroidManifest.xml          package and oldest Android; proguard.txt, R.txt
"""

import argparse
import io
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from hashbwn_keras.errors import HashBWNError  # noqa: E402
from hashbwn_keras.files import atomic_write, check_writable  # noqa: E402
from hashbwn_keras.runtime import android  # noqa: E402
from hashbwn_keras.runtime.compiling import ANDROID, CompileError  # noqa: E402
from hashbwn_keras.version import __version__  # noqa: E402

LARGEST_LIBRARY = 250_000
PAGE = 16_384
"""Bytes of a page on new phones, whose loader refuses libraries with smaller segments."""
MODULE = "prefab/modules/hashbwn"
KEEP = "-keepclasseswithmembers class org.hashbwn.HashBwnDelegate { native <methods>; }\n"


def library(target: str) -> bytes:
    """Build the library for one ABI and check its segments and size.

    Raises:
        CompileError: it cannot be built.
        HashBWNError: a segment or the size is not as it has to be.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "libhashbwn.so"
        android.compile_library(HERE.parent, path, target)
        content = path.read_bytes()
    if any(alignment % PAGE for alignment in alignments(content)):
        raise HashBWNError(f"The library for {target} has segments that {PAGE} does not divide.")
    if len(content) > LARGEST_LIBRARY:
        raise HashBWNError(
            f"The library for {target} has {len(content):,} bytes, more than {LARGEST_LIBRARY:,}."
        )
    return content


def alignments(elf: bytes) -> list[int]:
    """The alignment of each segment of a 64-bit ELF file that is loaded."""
    (start,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    headers = [struct.unpack_from("<I44xQ", elf, start + n * size) for n in range(count)]
    return [alignment for kind, alignment in headers if kind == 1]  # PT_LOAD


def classes() -> bytes:
    """Compile the Java class against a stand-in for TensorFlow Lite's interface; return a jar.

    Raises:
        CompileError: javac is missing or fails.
    """
    if shutil.which("javac") is None:
        raise CompileError("javac was not found: install a JDK (Debian's openjdk-17-jdk-headless).")
    with tempfile.TemporaryDirectory() as folder:
        command = ["javac", "--release", "8", "-Xlint:all,-options", "-Werror", "-d", folder]
        command += ["-sourcepath", str(HERE / "stub"), "-implicit:none"]
        sources = map(str, sorted((HERE / "java").rglob("*.java")))
        done = subprocess.run([*command, *sources], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise CompileError(f"javac failed: {done.stderr.strip()}")
        found = sorted(Path(folder).rglob("*.class"))
        entries = {str(path.relative_to(folder)): path.read_bytes() for path in found}
    return archive({"META-INF/MANIFEST.MF": b"Manifest-Version: 1.0\n\n"} | entries)


def prefab(libraries: Mapping[str, bytes]) -> dict[str, bytes]:
    """The entries that describe the library to C++ projects, for libraries by ABI."""
    version = re.match(r"[0-9.]*[0-9]", __version__)
    package = {
        "schema_version": 2,
        "name": "hashbwn",
        "version": version[0] if version else "0",
        "dependencies": [],
    }
    entries = {
        "prefab/prefab.json": as_json(package),
        f"{MODULE}/module.json": as_json({"export_libraries": [], "library_name": "libhashbwn"}),
    }
    for header in sorted((HERE.parent / "include").glob("*.h")):
        entries[f"{MODULE}/include/{header.name}"] = header.read_bytes()
    for abi, content in libraries.items():
        needs = {"abi": abi, "api": android.oldest_api(), "ndk": android.ndk_version()}
        folder = f"{MODULE}/libs/android.{abi}"
        entries[f"{folder}/abi.json"] = as_json(needs | {"stl": "none", "static": False})
        entries[f"{folder}/libhashbwn.so"] = content
    return entries


def manifest() -> bytes:
    """AndroidManifest.xml: the package and the oldest Android that can load the library."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>\n'
        '<manifest xmlns:android="http://schemas.android.com/apk/res/android"'
        ' package="org.hashbwn">\n'
        f'    <uses-sdk android:minSdkVersion="{android.oldest_api()}" />\n'
        "</manifest>\n"
    ).encode()


def as_json(content: Mapping[str, object]) -> bytes:
    """Indented JSON."""
    return (json.dumps(content, indent=2) + "\n").encode()


def archive(entries: Mapping[str, bytes]) -> bytes:
    """A ZIP file that depends on nothing but its entries: no times, no owners."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def build() -> bytes:
    """The whole library.

    Raises:
        CompileError: a compiler is missing or fails.
        HashBWNError: a native library is not as it has to be.
    """
    entries = {"AndroidManifest.xml": manifest(), "classes.jar": classes()}
    libraries = {abi: library(target) for target, abi in ANDROID.items()}
    entries |= {"R.txt": b"", "proguard.txt": KEEP.encode()}
    entries |= {f"jni/{abi}/libhashbwn.so": content for abi, content in libraries.items()}
    return archive(entries | prefab(libraries))


def main() -> int:
    """Build, write, and say what it needs and what was not tried."""
    parser = argparse.ArgumentParser(description="Make the Android library.")
    parser.add_argument("--out", type=Path, default=Path("hashbwn-android.aar"))
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")
    args = parser.parse_args()
    try:
        check_writable(args.out, args.overwrite)
        content = build()
        atomic_write(args.out, content, args.overwrite)
    except (CompileError, HashBWNError) as error:
        print(error, file=sys.stderr)
        return 1
    way = android.ndk() or "ziglang and no NDK: never loaded on a phone"
    print(f"{args.out}: {len(content):,} bytes, Android API {android.oldest_api()}, built by {way}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
