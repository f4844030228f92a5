"""Train a small binary VGG for Fashion-MNIST from four starts at equal budget, and compare.

    python examples/small_vgg_fashion_mnist_qat.py --output vgg-qat
    python examples/small_vgg_fashion_mnist_qat.py --output vgg-qat-binary --binary-activations

The float network is trained first. With ``--binary-activations`` its inner layers see the signs of
their inputs (``input_quantizer="ste_sign"``), so that the trained networks are binary throughout,
and Larq Compute Engine runs them with its packed kernels. Otherwise as resnet20_cifar10_qat.py.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import ablation

import hashbwn_keras as hk
from hashbwn_keras.demo import datasets

# isort: split
import larq as lq
import numpy as np
import tf_keras

SHIFT = 2
CHANNELS = (32, 64, 128)
FLOAT_RATE = 3e-3


def main() -> int:
    """Do the runs, print the table, draw the plot; returns the exit status."""
    return ablation.main(parser(), task)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = made.add_argument
    add("--data-dir", type=Path, help="folder with Fashion-MNIST's files")
    add("--binary-activations", action="store_true", help="binary inputs of the inner layers, too")
    add("--float-epochs", type=int, default=6, help="of the float network's training (6)")
    add("--width", type=float, default=1.0, help="factor of all channel numbers (1)")
    ablation.add_arguments(made, epochs=3)
    return made


def task(args: argparse.Namespace) -> ablation.Task:
    """The float network, trained unless it is in the output folder, and its data."""
    data = datasets.load("fashion_mnist", args.data_dir, seed=0)
    mean, deviation = data.train_images.mean(), data.train_images.std()
    data = ablation.limited(data, args.limit)
    path = args.output / "float.keras"
    if not path.exists():
        train = (data.train_images - mean) / deviation
        hk.save_model(_trained(train, data.train_labels, args), path)
    return ablation.Task(hk.load_model(path), data, mean, deviation, SHIFT)


def vgg(width: float, binary_activations: bool) -> tf_keras.Model:
    """Return the untrained network: two 3 × 3 convolutions and pooling, three times; logits.

    Args:
        width: factor of all channel numbers.
        binary_activations: whether the inner layers see the signs of their inputs.
    """
    layers = tf_keras.layers
    x = inputs = layers.Input((28, 28, 1))
    for block, count in enumerate(CHANNELS):
        for i in range(2):
            inner = block + i > 0
            quantized = inner and binary_activations
            x = _convolution(max(1, round(count * width)), quantized)(x)
            if i == 1:
                x = layers.MaxPool2D()(x)
            x = layers.BatchNormalization(momentum=0.9)(x)
            if not binary_activations:
                x = layers.ReLU()(x)
    x = layers.Flatten()(x)
    return tf_keras.Model(inputs, layers.Dense(10)(x), name="small_vgg")


def _convolution(filters: int, quantized: bool) -> tf_keras.layers.Layer:
    arguments: dict[str, Any] = {"padding": "same", "use_bias": False}
    if quantized:
        return lq.layers.QuantConv2D(
            filters, 3, input_quantizer="ste_sign", pad_values=1.0, **arguments
        )
    return tf_keras.layers.Conv2D(filters, 3, **arguments)


def _trained(images: np.ndarray, labels: np.ndarray, args: argparse.Namespace) -> tf_keras.Model:
    """The float network, trained on the labels."""
    tf_keras.utils.set_random_seed(0)
    model = vgg(args.width, args.binary_activations)
    steps = -(-len(images) // args.batch) * args.float_epochs
    model.compile(
        hk.training.adam(steps, FLOAT_RATE),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(images, labels, batch_size=args.batch, epochs=args.float_epochs, verbose=0)
    return model


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hk.HashBWNError as error:
        sys.exit(f"small_vgg_fashion_mnist_qat: {error}")
