"""AlexNet with batch-norm on ImageNet: float, binary, and binary networks trained further.

    python examples/alexnet_imagenet.py --output alexnet --data-dir imagenet --distribute mirrored

The data: see ``imagenet_data.py``. The network of Krizhevsky, Sutskever, Hinton (NIPS 2012) without
groups and with batch-norm behind every layer in place of response normalisation and dropout.
"""

import sys
from functools import partial

import hashbwn_keras as hk

# isort: split
import imagenet_data
import tensorflow as tf
import tf_keras
import training_helper as helper

CONVOLUTIONS = ((96, 11, 4), (256, 5, 1), (384, 3, 1), (384, 3, 1), (256, 3, 1))
"""Filters, side, stride."""
POOLED = (1, 2, 5)
"""The convolutions with pooling behind them, counted from 1."""
SMALLEST = 57
"""Side of the smallest image that the three poolings leave a pixel of."""


def main() -> int:
    """Run the experiment; returns the exit status."""
    parser = helper.parser(__doc__.splitlines()[0], epochs=60, further=20)
    imagenet_data.add_arguments(parser)
    args = parser.parse_args()
    helper.prepare(args)
    if args.size < SMALLEST:
        raise hk.HashBWNError(f"--size is {args.size}: AlexNet needs {SMALLEST} or more.")
    data, classes = imagenet_data.load(args)
    build = partial(alexnet, args.size, classes, args.width)
    rate = 0.01 * args.batch / 128  # Krizhevsky et al. train with 0.01 for batches of 128
    helper.run(helper.Experiment("alexnet", build, data, _optimizer, rate), args)
    return 0


def _optimizer(steps: int, rate: float) -> tf_keras.optimizers.Optimizer:
    schedule = tf_keras.optimizers.schedules.CosineDecay(rate, steps)
    return tf_keras.optimizers.SGD(schedule, momentum=0.9, weight_decay=5e-4)


def alexnet(size: int, classes: int, width: float) -> tf_keras.Model:
    """Return the untrained network, which gives logits.

    Args:
        size: side of the images, which have three channels.
        classes: how many there are.
        width: factor of all channel numbers.
    """
    layers = tf_keras.layers
    x = inputs = layers.Input((size, size, 3))
    for number, (count, side, stride) in enumerate(CONVOLUTIONS, start=1):
        name, filters = f"conv{number}", helper.channels(count, width)
        x = layers.Conv2D(filters, side, stride, padding="same", use_bias=False, name=name)(x)
        if number in POOLED:
            x = layers.MaxPool2D(3, 2, name=f"pool{number}")(x)
        x = _norm_relu(x, name)
    x = layers.Flatten(name="flatten")(x)
    for name in ("dense1", "dense2"):
        x = layers.Dense(helper.channels(4096, width), use_bias=False, name=name)(x)
        x = _norm_relu(x, name)
    return tf_keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="alexnet")


def _norm_relu(x: tf.Tensor, name: str) -> tf.Tensor:
    layers = tf_keras.layers
    x = layers.BatchNormalization(momentum=helper.MOMENTUM, name=f"{name}_norm")(x)
    return layers.ReLU(name=f"{name}_relu")(x)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (hk.HashBWNError, ImportError) as error:
        sys.exit(f"alexnet_imagenet: {error}")
