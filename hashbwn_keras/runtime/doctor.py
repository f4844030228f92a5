"""What of the native runtime is there on this machine."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime import compiling
from hashbwn_keras.runtime.library import Native, delegate_path
from hashbwn_keras.tflite.names import RUNTIMES

_X86 = ["avx2", "fma", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni"]
_ARM = ["asimd", "asimddp", "i8mm", "sve"]


def cpu_features() -> list[str]:
    """The CPU's vector instruction sets that matter here, as Linux names them."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []
    words: set[str] = set()
    for line in lines:
        if line.startswith(("flags", "Features")):
            words |= set(line.partition(":")[2].split())
    return [flag for flag in _X86 + _ARM if flag in words]


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _cross_compiler() -> bool:
    try:
        compiling.cross_compiler("aarch64-linux")
    except compiling.CompileError:
        return False
    return True


def _where(native: Native | None) -> dict[str, str]:
    """Layer kind -> who runs it."""
    if native is None:
        stock = "the interpreter's own kernels (no native library)"
        return dict.fromkeys(("float32 layers", "int8 convolutions", "int8 Dense"), stock)
    ours = f"1-bit kernels ({native.kernels})"
    int8 = ours
    if native.has_dot_product:
        int8 = f"the interpreter (8-bit dot products), large ones on {ours}"
    return {"float32 layers": ours, "int8 convolutions": int8, "int8 Dense": ours}


def doctor_report() -> dict[str, Any]:
    """What is there and what is missing, as plain JSON-able values.

    Keys: ``machine``, ``cpu_count``, ``cpu_features``, ``library`` (path or None), ``problem``
    (sentence or None), ``kernels``, ``dot_product``, ``c_compiler``, ``cross_compiler``,
    ``interpreters`` (package -> version or None) and ``runs_on`` (kind of layer -> who runs it).
    """
    native, path, problem = None, None, None
    try:
        path = delegate_path()
        native = Native(path)
    except HashBWNError as error:
        problem = str(error)
    compiler = compiling.host_compiler()
    return {
        "machine": f"{platform.machine()} {platform.system()}",
        "cpu_count": os.cpu_count(),
        "cpu_features": cpu_features(),
        "library": str(path) if native else None,
        "problem": problem,
        "kernels": native.kernels if native else None,
        "dot_product": native.has_dot_product if native else None,
        "c_compiler": " ".join(compiler) if compiler else None,
        "cross_compiler": "ziglang" if _cross_compiler() else None,
        "interpreters": {r.distribution: _version(r.distribution) for r in RUNTIMES},
        "runs_on": _where(native),
    }
