"""How often each calibration image passes each layer, at several depths.

    python benchmarks/passes.py

Counts the images that go through every convolution of CIFAR ResNets of random weights while
``binarize`` works, both networks and every purpose together, and divides by the number of images
and layers. The layer-by-layer pass must not depend on the depth; repair is a fixed number of
training images, whatever the network.
"""

import argparse
import json
from pathlib import Path

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.files import atomic_write

layers = tf_keras.layers
IMAGES = 64


def resnet(depth: int) -> tf_keras.Model:
    """He's ResNet for 32 × 32 images with ``depth`` layers with weights."""
    x = tf_keras.Input((32, 32, 3))
    y = _normed(layers.Conv2D(16, 3, padding="same", use_bias=False)(x))
    y = layers.ReLU()(y)
    for stage, width in enumerate((16, 32, 64)):
        for block in range((depth - 2) // 6):
            stride = 2 if stage and not block else 1
            z = layers.Conv2D(width, 3, strides=stride, padding="same", use_bias=False)(y)
            z = layers.ReLU()(_normed(z))
            z = _normed(layers.Conv2D(width, 3, padding="same", use_bias=False)(z))
            if stride == 2:
                y = _normed(layers.Conv2D(width, 1, strides=2, use_bias=False)(y))
            y = layers.ReLU()(layers.Add()([y, z]))
    y = layers.GlobalAveragePooling2D()(y)
    return tf_keras.Model(x, layers.Dense(10)(y))


def _normed(y: tf.Tensor) -> tf.Tensor:
    return layers.BatchNormalization()(y)


def passes(depth: int) -> float:
    """Passes of an image through a convolution, of both networks together, on average."""
    model = resnet(depth)
    convolutions = sum(isinstance(layer, layers.Conv2D) for layer in model.layers)
    images = np.random.default_rng(0).normal(size=(IMAGES, 32, 32, 3)).astype(np.float32)
    counted = 0
    original = layers.Conv2D.call

    def call(self: layers.Conv2D, x: tf.Tensor) -> tf.Tensor:
        nonlocal counted
        counted += x.shape[0] or 0  # without a size while Keras builds the graph
        return original(self, x)

    layers.Conv2D.call = call
    try:
        hk.binarize(model, images, repair=False, method="sign")
    finally:
        layers.Conv2D.call = original
    return counted / (IMAGES * convolutions)


def main() -> None:
    """Print passes by depth."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="+", default=[20, 56])
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    found = {depth: passes(depth) for depth in args.depths}
    for depth, count in found.items():
        print(f"ResNet-{depth}: {count:.3f} passes of an image through a layer (limit 4)")
    if args.json:
        atomic_write(args.json, json.dumps(found, indent=2).encode() + b"\n", overwrite=True)


if __name__ == "__main__":
    main()
