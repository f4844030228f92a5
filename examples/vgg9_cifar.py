"""VGG9 on CIFAR-10, CIFAR-100 or Fashion-MNIST: float, binary, and binary networks trained further.

    python examples/vgg9_cifar.py --output vgg9 --width 0.125 --data-dir cifar-10-batches-py

The network of BinaryConnect (Courbariaux, Bengio, David, NIPS 2015), with batch-norm:
2×128C3–MP2–2×256C3–MP2–2×512C3–MP2–2×1024FC–softmax. A tenth of the training images is held out
and chooses the step sizes.
"""

import argparse
import sys
from functools import partial

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras
import training_helper as helper

from hashbwn_keras.demo import datasets

HELD_OUT = 0.1
TEST_BATCH = 500
SHIFT = 4
"""Pixels by which an augmented image may be shifted."""


def main() -> int:
    """Run the experiment; returns the exit status."""
    args = parser().parse_args()
    helper.prepare(args)
    helper.run(experiment(args), args)
    return 0


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    # A Dense layer sees one patch an image, so few images let its codes fit their noise.
    made = helper.parser(__doc__.splitlines()[0], epochs=60, further=30, images=12000)
    names = ("cifar10", "cifar100", "fashion_mnist")
    made.add_argument("--dataset", choices=names, default="cifar10")
    made.add_argument("--augment", action="store_true", help="shift and mirror training images")
    return made


def experiment(args: argparse.Namespace) -> helper.Experiment:
    """The network and its data."""
    images = datasets.load(args.dataset, args.data_dir, seed=0)
    data = _data(images, args.batch, args.images, args.limit, args.augment)
    build = partial(
        vgg9, images.train_images.shape[1:], int(images.train_labels.max()) + 1, args.width
    )
    name = f"vgg9 {args.dataset}{' augmented' if args.augment else ''}"
    return helper.Experiment(name, build, data)


def vgg9(shape: tuple[int, ...], classes: int, width: float) -> tf_keras.Model:
    """Return the untrained network, which gives logits.

    Args:
        shape: height, width and channels of an image.
        classes: how many there are.
        width: factor of all channel numbers.
    """
    layers = tf_keras.layers
    x = inputs = layers.Input(shape)
    for block, count in enumerate((128, 256, 512), start=1):
        filters = helper.channels(count, width)
        for i in (1, 2):
            name = f"{block}_{i}"
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{name}")(x)
            if i == 2:
                x = layers.MaxPool2D(name=f"pool{block}")(x)
            x = _norm_relu(x, name)
    x = layers.Flatten(name="flatten")(x)
    for i in (1, 2):
        units = helper.channels(1024, width)
        x = layers.Dense(units, use_bias=False, name=f"dense{i}")(x)
        x = _norm_relu(x, f"dense{i}")
    return tf_keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="vgg9")


def _norm_relu(x: tf.Tensor, name: str) -> tf.Tensor:
    layers = tf_keras.layers
    x = layers.BatchNormalization(momentum=helper.MOMENTUM, name=f"norm_{name}")(x)
    return layers.ReLU(name=f"relu_{name}")(x)


def _data(
    images: datasets.Dataset, batch: int, calibration: int, limit: int | None, augment: bool
) -> helper.Data:
    """The data, normalised by the training images' mean and deviation of each channel."""
    mean, deviation = normalisation(images)
    train, test = (
        ((x[:limit] - mean) / deviation).astype(np.float32)
        for x in (images.train_images, images.test_images)
    )
    labels, test_labels = (
        y[:limit].astype(np.int32) for y in (images.train_labels, images.test_labels)
    )
    held_out = max(1, round(HELD_OUT * len(train)))
    rest, rest_labels = train[:-held_out], labels[:-held_out]
    return helper.Data(
        train=lambda seed: _training_batches(rest, rest_labels, batch, augment, seed),
        held_out=_batches(train[-held_out:], labels[-held_out:]),
        test=_batches(test, test_labels),
        calibration=lambda seed: np.random.default_rng(seed).permutation(rest)[:calibration],
    )


def normalisation(images: datasets.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel of the training images."""
    return tuple(f(images.train_images, (0, 1, 2)) for f in (np.mean, np.std))


def _batches(images: np.ndarray, labels: np.ndarray) -> tf.data.Dataset:
    return tf.data.Dataset.from_tensor_slices((images, labels)).batch(TEST_BATCH)


def _training_batches(
    images: np.ndarray, labels: np.ndarray, batch: int, augment: bool, seed: int
) -> tf.data.Dataset:
    data = tf.data.Dataset.from_tensor_slices((images, labels))
    data = data.shuffle(len(images), seed=seed)
    if augment:
        data = data.map(lambda x, y: (_moved(x), y), num_parallel_calls=1)
    return data.batch(min(batch, len(images)), drop_remainder=True).prefetch(2)


def _moved(image: tf.Tensor) -> tf.Tensor:
    """The image mirrored or not and shifted, 0 (the mean) moving in."""
    padded = tf.pad(image, [[SHIFT, SHIFT], [SHIFT, SHIFT], [0, 0]])
    return tf.image.random_flip_left_right(tf.image.random_crop(padded, image.shape))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hk.HashBWNError as error:
        sys.exit(f"vgg9_cifar: {error}")
