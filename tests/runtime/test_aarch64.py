"""The kernels on an emulated 64-bit ARM, against plain loops."""

import shutil
import subprocess
from pathlib import Path

import pytest

from hashbwn_keras.runtime import compiling

NATIVE = Path(__file__).resolve().parents[2] / "tflite"


def test_kernels_under_qemu(tmp_path):
    """test_kernels.c as a static program needs no ARM system, only the emulator."""
    emulator = shutil.which("qemu-aarch64")
    if emulator is None:
        pytest.skip("qemu-aarch64 is not installed (Debian's qemu-user)")
    try:
        compiler = compiling.cross_compiler("aarch64-linux")[:-1]
    except compiling.CompileError as error:
        pytest.skip(str(error))
    program = tmp_path / "test_kernels"
    sources = [*sorted(NATIVE.glob("src/*.c")), NATIVE / "tests" / "test_kernels.c"]
    flags = ["aarch64-linux-musl", "-static", "-std=gnu11", "-O2", "-fno-math-errno", "-pthread"]
    subprocess.run(
        [*compiler, *flags, f"-I{NATIVE / 'include'}", "-o", program, *sources, "-lm"], check=True
    )
    for cpu in ("cortex-a72", "cortex-a76"):
        done = subprocess.run(
            [emulator, "-cpu", cpu, program, "15"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "neon and portable agree" in done.stdout
