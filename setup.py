"""What setup.cfg cannot hold: the native library, built where a C compiler is there.

``HASHBWN_TARGET=aarch64-linux`` makes a wheel for that machine instead, with ziglang and for every
Linux with glibc 2.17; ``HASHBWN_TARGET=none`` one without the library, for every machine.
"""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

HERE = Path(__file__).resolve().parent


def _compiling():
    """hashbwn_keras/runtime/compiling.py, without importing the package and what it needs."""
    path = HERE / "hashbwn_keras" / "runtime" / "compiling.py"
    spec = importlib.util.spec_from_file_location("compiling", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


compiling = _compiling()
TARGET = os.environ.get("HASHBWN_TARGET", "")
if TARGET not in ("", "none", *compiling.TARGETS):
    sys.exit(f"HASHBWN_TARGET={TARGET} is not among none, {', '.join(compiling.TARGETS)}.")


def _can_build() -> bool:
    if TARGET:
        return TARGET != "none"
    return compiling.host_compiler() is not None and compiling.host_target() in compiling.TARGETS


class BuildWithLibrary(build_py):
    """Adds the C sources, and the library compiled from them, to the runtime package."""

    def run(self):
        super().run()
        if getattr(self, "editable_mode", False):
            return  # a checkout builds into the user's cache on first use
        runtime = Path(self.build_lib) / "hashbwn_keras" / "runtime"
        for path in compiling.source_files(HERE / "tflite"):
            target = runtime / "native" / path.relative_to(HERE / "tflite")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
        if TARGET == "none":
            return
        if TARGET:
            compiling.cross_compiler(TARGET)  # raises: no wheel without what was asked for
            compiling.compile_library(HERE / "tflite", runtime / compiling.LIBRARY, TARGET)
            return
        if not _can_build():
            print(
                "hashbwn_keras: no C compiler for this machine, installing without the native "
                "library; 1-bit layers will run on TFLite's own kernels",
                file=sys.stderr,
            )
            return
        try:
            compiling.compile_library(HERE / "tflite", runtime / compiling.LIBRARY)
        except compiling.CompileError as error:
            print(f"hashbwn_keras: installing without the native library: {error}", file=sys.stderr)


class PlatformWheel(bdist_wheel):
    """One wheel per machine, for every Python: the library does not use Python's interface."""

    def get_tag(self):
        python, abi, machine = super().get_tag()
        if TARGET and _can_build():
            processor = TARGET.partition("-")[0]
            machine = f"manylinux_2_17_{processor}.manylinux2014_{processor}"
        return ("py3", "none", machine) if _can_build() else (python, abi, machine)


class LibraryDistribution(Distribution):
    """Says that the wheel holds machine code when it does."""

    def has_ext_modules(self):
        return _can_build()


setup(
    cmdclass={"build_py": BuildWithLibrary, "bdist_wheel": PlatformWheel},
    distclass=LibraryDistribution,
)
