"""Every example runs end to end, at a small size."""

import json
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from hashbwn_keras import data_free, repair

EXAMPLES = Path(__file__).parent.parent / "examples"
layers = tf.keras.layers


def run(name: str, *arguments: object) -> None:
    """Run an example as a script; its exit status must be 0."""
    sys.argv = [name, *map(str, arguments)]
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    assert not left.value.code


@pytest.fixture
def cifar10(tmp_path):
    """A folder of the layout of CIFAR-10's python batches, with few images of noise."""
    rng = np.random.default_rng(0)
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        batch = {
            b"data": rng.integers(0, 256, (12, 3072), np.uint8),
            b"labels": rng.integers(0, 10, 12).tolist(),
        }
        (tmp_path / name).write_bytes(pickle.dumps(batch))
    return tmp_path


@pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_resnet20_cifar10(cifar10, monkeypatch, capsys):
    for module, name, value in (
        (repair, "IMAGES_SEEN", 64),
        (data_free, "STEPS", 3),
        (data_free, "IMAGES", data_free.BATCH),
    ):
        monkeypatch.setattr(module, name, value)
    x = tf.keras.Input((32, 32, 3))
    y = layers.Conv2D(4, 3, strides=4)(x)
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(y))
    y = layers.Dense(10)(layers.GlobalAveragePooling2D()(y))
    tf.keras.Model(x, y, name="toy").save(cifar10 / "toy.h5")
    results = cifar10 / "results.json"
    options = ("--data-dir", cifar10, "--images", 16, "--seeds", 2, "--json", results)
    run("resnet20_cifar10.py", "--model", cifar10 / "toy.h5", *options)
    rows = json.loads(results.read_text())["rows"]
    assert len(rows) == 7
    assert all(len(row["accuracy"]) == 2 for row in rows)
    printed = capsys.readouterr().out
    assert "toy: float accuracy" in printed
    assert all(row["name"] in printed for row in rows)
