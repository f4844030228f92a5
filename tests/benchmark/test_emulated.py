"""Exported files on an emulated 64-bit ARM, with our library built for it: equal to x86.

Needs qemu-aarch64 and a folder with an aarch64 Debian and wheels, which
tflite/raspberrypi/aarch64-root.sh makes and HASHBWN_AARCH64_ROOT names.
"""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tf_keras

from hashbwn_keras import export, runtime
from hashbwn_keras.benchmark import measure, outputs, table
from hashbwn_keras.benchmark.plan import Plan
from hashbwn_keras.network import layers

ROOT = os.environ.get("HASHBWN_AARCH64_ROOT", "")
needs_root = pytest.mark.skipif(
    not ROOT or shutil.which("qemu-aarch64") is None,
    reason="qemu-aarch64 or HASHBWN_AARCH64_ROOT (tflite/raspberrypi/aarch64-root.sh) is missing",
)


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> Path:
    found = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True)
    if found.returncode and platform.machine() != "aarch64":
        pytest.skip("ziglang is missing (the extra 'cross')")
    return runtime.build("aarch64-linux", tmp_path_factory.mktemp("library") / "libhashbwn.so")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """One small binary network in every form."""
    tf_keras.utils.set_random_seed(3)
    inputs = x = tf_keras.Input((12, 12, 8))
    for number, strides in enumerate((1, 2)):
        x = layers.HashBinaryConv2D(32, 3, strides, padding="same", name=f"c{number}")(x)
        x = tf_keras.layers.ReLU()(x)
    x = tf_keras.layers.GlobalAveragePooling2D()(x)
    model = tf_keras.Model(inputs, layers.HashBinaryDense(16, name="dense")(x))
    folder = tmp_path_factory.mktemp("files")
    data = np.random.default_rng(0).normal(size=(32, 12, 12, 8)).astype(np.float32)
    forms = {
        "float": {"weights": "float"},
        "int8": {"weights": "int8"},
        "packed": {"weights": "packed"},
        "packed, int8 activations": {
            "weights": "packed",
            "activations": "int8",
            "output_type": "int8",
            "calibration_data": data,
        },
    }
    paths = {}
    for number, (form, options) in enumerate(forms.items()):
        paths[form] = folder / f"{number}.tflite"
        export.to_tflite(model, paths[form], **options)
    return paths


@pytest.mark.devices
@needs_root
def test_equal_to_x86(files: dict[str, Path], library: Path) -> None:
    pytest.importorskip("ai_edge_litert", reason="the extra 'litert' is not installed")
    x = [np.random.default_rng(1).normal(size=(8, 1, 12, 12, 8)).astype(np.float32)]
    cases = [("packed", None), *((form, library) for form in files if form != "float")]
    here = outputs.outputs([(files[form], _ours(lib), "litert") for form, lib in cases], x)
    there = outputs.outputs([(files[f], lib, "litert") for f, lib in cases], x, f"qemu:{ROOT}")
    for (form, lib), [expected], [found] in zip(cases, here, there, strict=True):
        assert found.shape == (8, 1, 16)
        assert found.dtype == expected.dtype
        # Stock kernels of different age round int8 differently, our library does not: one step is
        # for the stock operator between its layers.
        tolerance = 1 if found.dtype == np.int8 else 1e-5 * np.ptp(expected)
        difference = np.abs(found.astype(np.float64) - expected).max()
        assert difference <= tolerance, (form, lib)


def _ours(library: Path | None) -> Path | None:
    """This machine's library where the other machine has its own."""
    return Path(runtime.delegate_path()) if library else None


@pytest.mark.devices
@needs_root
def test_counts_are_labelled_and_times_are_refused(files: dict[str, Path]) -> None:
    (result,) = measure.benchmark(
        Plan([files["float"]], f"qemu:{ROOT}", runs=1, rounds=1, warmup=1, delegates=("off",))
    )
    assert result.device.emulated
    assert result.device.arch == "aarch64"
    multiplications = 12 * 12 * 32 * 9 * 8 + 6 * 6 * 32 * 9 * 32
    assert result.instructions > multiplications / 4  # NEON does four at a time
    shown = table.text([result, result])
    assert "EMULATED" in shown
    assert "refused" in shown
    assert "a proxy, not a time" in shown


def test_missing_emulator_or_folder(tmp_path: Path, monkeypatch) -> None:
    from failures import fails

    file = tmp_path / "x.tflite"
    file.write_bytes(b"\x1c\0\0\0TFL3")
    if shutil.which("qemu-aarch64"):
        fails("holds no aarch64 system with Python", [file], f"qemu:{tmp_path}")
        fails("holds no aarch64 system with Python", [file], "qemu:")
    monkeypatch.setenv("PATH", str(tmp_path))
    fails("qemu-aarch64 is not installed", [file], "qemu:/root")
