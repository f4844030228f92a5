"""Binarise a trained float ResNet for CIFAR-10 without labels or training, and compare ways to.

    python examples/resnet20_cifar10.py --model resnet20_cifar10.h5 --data-dir cifar-10-batches-py

The model takes images as (x/255 − mean) / deviation with ImageNet's mean and deviation per channel
and gives logits. Calibration images are training images without their labels, another 2,048 for
each seed; test images serve for the accuracies of the table only.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import hashbwn_keras as hk

# isort: split
import numpy as np
import tf_keras

from hashbwn_keras.demo import datasets
from hashbwn_keras.files import atomic_write

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


class Row(NamedTuple):
    """A way to binarise: arguments of ``binarize``, or None for sign · mean as it is."""

    name: str
    arguments: dict | None
    with_data: bool = True


ROWS = (
    Row("sign(w) · mean|w|, nothing else (BWN)", None),
    Row(
        "sign(w), best scale, batch-norm re-estimated",
        {"method": "sign", "repair": False, "compensate": False},
    ),
    Row(
        "the paper's solver (DCC, uncentred), batch-norm re-estimated",
        {"method": "dcc", "centred": False, "repair": False, "compensate": False},
    ),
    Row("binarize, shortcuts not compensated, no repair", {"repair": False, "compensate": False}),
    Row("binarize, no repair", {"repair": False}),
    Row("binarize", {}),
    Row("binarize, no data", {}, with_data=False),
)


def main() -> int:
    """Print the table; returns the exit status."""
    args = _arguments()
    model = hk.load_model(args.model)
    data = datasets.load("cifar10", args.data_dir, seed=0)
    train, test = ((x - MEAN) / DEVIATION for x in (data.train_images, data.test_images))
    test, labels = test[: args.limit], data.test_labels[: args.limit]
    measured = _accuracy(model, test, labels)
    print(f"{model.name}: float accuracy {measured:.2%} on {len(test):,} test images")
    print(f"{'':62}  accuracy over {args.seeds} seed(s)     seconds", flush=True)
    results = {"float": measured, "images": args.images, "seeds": args.seeds, "rows": []}
    for row in ROWS:
        found = list(_runs(row, model, train, args, lambda m: _accuracy(m, test, labels)))
        accuracy, seconds = (np.array(values) for values in zip(*found, strict=True))
        spread = f"{accuracy.mean():.2%}  ({accuracy.min():.2%} to {accuracy.max():.2%})"
        print(f"{row.name:62}  {spread:26}  {np.median(seconds):.0f}", flush=True)
        results["rows"].append(
            {"name": row.name, "accuracy": accuracy.tolist(), "seconds": seconds.tolist()}
        )
    if args.json:
        atomic_write(args.json, json.dumps(results, indent=2).encode() + b"\n", args.overwrite)
    return 0


def _runs(
    row: Row,
    model: tf_keras.Model,
    train: np.ndarray,
    args: argparse.Namespace,
    measure: Callable[[tf_keras.Model], float],
) -> Iterator[tuple[float, float]]:
    """Accuracy and seconds of a row, once for each seed."""
    for seed in range(args.seeds):
        images = train[seed * args.images : (seed + 1) * args.images]
        start = time.perf_counter()
        if row.arguments is None:
            binary = sign_mean(model)
        else:
            data = images if row.with_data else None
            binary = hk.binarize(model, data, seed=seed, **row.arguments)
        yield measure(binary), time.perf_counter() - start


def sign_mean(model: tf_keras.Model, **arguments: Any) -> tf_keras.Model:
    """The model with sign · mean kernels, in the layers that binarize would choose.

    Args:
        model: float network.
        arguments: changed arguments of the binary layers, such as another ``kernel_quantizer``.
    """
    from hashbwn_keras.binarizer.selection import select
    from hashbwn_keras.network.graph import Network
    from hashbwn_keras.network.kernels import binary_form
    from hashbwn_keras.network.rebuild import rebuild, same_layer

    network = Network.of(model)
    chosen = select(network, None).chosen

    def make(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if layer not in chosen:
            return same_layer(layer)
        binary = binary_form(layer)
        return type(binary).from_config({**binary.get_config(), **arguments})

    copy = rebuild(network, make).model
    copy.set_weights(model.get_weights())
    return copy


def _accuracy(model: tf_keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    found = model.predict(images, batch_size=500, verbose=0).argmax(axis=-1)
    return float((found == labels).mean())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="float model, .h5 or .keras")
    parser.add_argument("--data-dir", type=Path, help="folder with CIFAR-10's python batches")
    parser.add_argument("--images", type=int, default=2048, help="calibration images (2048)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (3)")
    parser.add_argument("--limit", type=int, help="use only so many test images")
    parser.add_argument("--json", type=Path, help="write the results here as well")
    parser.add_argument("--overwrite", action="store_true", help="allow replacing that file")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hk.HashBWNError as error:
        sys.exit(f"resnet20_cifar10: {error}")
