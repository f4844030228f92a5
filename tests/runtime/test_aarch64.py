"""The kernels and the delegate on an emulated 64-bit ARM."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashbwn_keras import runtime
from hashbwn_keras.runtime import compiling

TOP = Path(__file__).resolve().parents[2]
NATIVE = TOP / "tflite"
FLAGS = ["-std=gnu11", "-O1", "-g", "-fno-math-errno", "-DHB_ALONE=0", "-DHB_FAR=0", "-pthread"]
GCC_SYSROOT = "/usr/aarch64-linux-gnu"
ROOT = os.environ.get("HASHBWN_AARCH64_ROOT", "")

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is missing (Debian's qemu-user)"
)


def sanitizing_compiler() -> list[str]:
    """Debian's cross gcc, which has both sanitizers, or ziglang, which has one."""
    if shutil.which("aarch64-linux-gnu-gcc"):
        return ["aarch64-linux-gnu-gcc", "-fsanitize=address,undefined"]
    try:
        zig = compiling.cross_compiler("aarch64-linux")[:-1]
    except compiling.CompileError:
        pytest.skip("neither gcc-aarch64-linux-gnu nor ziglang is installed")
    # Static, because the emulator then needs no ARM system.
    return [*zig, "aarch64-linux-musl", "-static", "-fsanitize=undefined"]


def arm_library(folder: Path) -> Path:
    """The delegate for the emulated machine, from ziglang or Debian's cross gcc."""
    out = folder / "libhashbwn.so"
    try:
        compiling.cross_compiler("aarch64-linux")
    except compiling.CompileError:
        if not shutil.which("aarch64-linux-gnu-gcc"):
            pytest.skip("neither ziglang nor gcc-aarch64-linux-gnu is installed")
        command = ["aarch64-linux-gnu-gcc", *compiling.FLAGS, f"-I{NATIVE / 'include'}", "-o", out]
        subprocess.run([*command, *compiling.sources(NATIVE), "-pthread", "-lm"], check=True)
        return out
    return runtime.build("aarch64-linux", out)


def test_kernels_agree_with_plain_loops(tmp_path):
    """test_kernels.c, sanitized; leaks cannot be looked for under the emulator."""
    program = tmp_path / "test_kernels"
    sources = [*compiling.sources(NATIVE), NATIVE / "tests" / "test_kernels.c"]
    include = f"-I{NATIVE / 'include'}"
    command = [*sanitizing_compiler(), *FLAGS, "-fno-sanitize-recover=undefined", include]
    subprocess.run([*command, "-o", program, *sources, "-lm"], check=True)
    for cpu in ("cortex-a72", "cortex-a76"):
        done = subprocess.run(
            ["qemu-aarch64", "-cpu", cpu, "-L", GCC_SYSROOT, program, "4"],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"},
        )
        assert done.returncode == 0, done.stderr
        for isa in ("neon", "portable"):
            assert f"{isa}: 16 shapes agree with plain loops" in done.stdout


@pytest.mark.skipif(
    not ROOT, reason="HASHBWN_AARCH64_ROOT (tflite/raspberrypi/aarch64-root.sh) is not set"
)
@pytest.mark.parametrize("package", ["ai_edge_litert", "tflite_runtime"])
def test_whole_nets_in_arm_interpreters(tmp_path, monkeypatch, package):
    """Every layer is claimed, and results are those of the interpreter's own kernels."""
    monkeypatch.syspath_prepend(str(TOP / "benchmarks" / "kernels"))
    import models

    library = arm_library(tmp_path)
    paths = []
    for int8 in (False, True):
        for name in ("resnet20", "vgg9"):
            paths.append(tmp_path / f"{name}-{'int8' if int8 else 'float32'}.tflite")
            paths[-1].write_bytes(getattr(models, name)(int8))
    packages = f"{ROOT}/wheels/numpy:{ROOT}/wheels/{package}"
    command = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", ROOT, "-E", f"PYTHONPATH={packages}"]
    guest = [f"{ROOT}/usr/bin/python3.11", NATIVE / "tests" / "run_in_interpreter.py"]
    done = subprocess.run(
        [*command, *guest, library, *paths], capture_output=True, text=True, check=False
    )
    print(done.stdout, file=sys.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith(package)]
    claimed = [int(line.split(": ")[1].split()[0]) for line in lines]
    assert claimed == [20, 7, 20, 7]
