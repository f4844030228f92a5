"""Strided 1 × 1 convolutions in gradients."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.network.subsampling import take_pixels_first

L = tf_keras.layers


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [8, 9])
@pytest.mark.parametrize("strides", [2, 3, (1, 2)])
def test_pixels_taken_first_are_those_of_the_stride(padding, size, strides):
    x = tf.random.normal((2, size, size, 8))
    for layer in (
        L.Conv2D(4, 1, strides, padding, activation="relu"),
        hk.HashBinaryConv2D(4, 1, strides, padding),
    ):
        wanted = layer(x)
        found = take_pixels_first({"a": layer})["a"](x)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
        assert found.shape == wanted.shape
        assert layer.strides == (strides if isinstance(strides, tuple) else (strides, strides))


def test_other_layers_are_called_themselves():
    layers = {
        "wide": L.Conv2D(4, 3, 2),
        "dense": L.Conv2D(4, 1),
        "depthwise": L.DepthwiseConv2D(1, 2),
        "transposed": L.Conv2DTranspose(4, 1, 2),
        "flat": L.Dense(3),
    }
    assert take_pixels_first(layers) == layers


PROGRAM = """
import numpy as np, tf_keras
import hashbwn_keras as hk
L = tf_keras.layers
x = L.Input((60, 60, 8))
y = L.Conv2D(16, 1, strides=2, name="shortcut")(x)
y = L.Add()([y, L.Conv2D(16, 3, strides=2, padding="same", name="long")(x)])
model = tf_keras.Model(x, L.GlobalAveragePooling2D()(L.ReLU()(L.BatchNormalization()(y))))
images = np.random.default_rng(0).normal(size=(64, 60, 60, 8)).astype(np.float32)
from hashbwn_keras.binarizer import data_free, repair
repair.IMAGES_SEEN, data_free.STEPS = 256, 2
hk.binarize(model, images, filters="long")
hk.binarize(model, filters="long")
print("alive")
"""


@pytest.mark.slow
def test_the_gradient_that_ends_the_process_in_onednn_is_not_taken():
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        cwd=Path(__file__).parents[2],
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, (result.returncode, result.stderr[-2000:])
    assert result.stdout.split() == ["alive"]
