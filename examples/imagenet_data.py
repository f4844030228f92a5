"""ImageNet, or images laid out like it, for the training experiments.

A folder holds ``train/CLASS/*`` and ``val/CLASS/*`` (JPEG or PNG); with ``--tfds`` the images come
from TensorFlow Datasets instead, for which ``tensorflow-datasets`` has to be installed.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import training_helper as helper

MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
HELD_OUT = 50
"""One of so many training images is held out."""
CROP = 0.875
"""Side of the test image's centre, as a share of its shorter side."""
SHUFFLE = 10_000
"""Encoded images in the shuffling buffer; a folder's paths are shuffled all together."""


class _Source(NamedTuple):
    """Unbatched ``(path or encoded image, class number)``, and how many there are to train on.

    ``read`` makes the encoded image of the former.
    """

    train: tf.data.Dataset
    held_out: tf.data.Dataset
    test: tf.data.Dataset
    count: int
    classes: int
    read: Callable[[tf.Tensor], tf.Tensor]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of :func:`load` to a parser of the training helper."""
    parser.add_argument("--tfds", help="name in TensorFlow Datasets, such as imagenet2012")
    parser.add_argument("--size", type=int, default=224, help="side of the images (224)")


def load(args: argparse.Namespace) -> tuple[helper.Data, int]:
    """Return the data and the number of classes.

    Raises:
        HashBWNError: no such folder, or no images in it.
        ImportError: ``--tfds`` without tensorflow-datasets.
    """
    if args.size < 1 or not (args.tfds or args.data_dir):
        raise hk.HashBWNError(
            f"--size is {args.size}, --data-dir {args.data_dir}: give a size of 1 or more and "
            "--data-dir or --tfds."
        )
    source = _tfds(args) if args.tfds else _folder(args.data_dir, args.limit)
    augmented = partial(_augmented, size=args.size, read=source.read)
    centred = partial(_centred, size=args.size, read=source.read)
    parallel = args.threads or tf.data.AUTOTUNE

    def train(seed: int) -> tf.data.Dataset:
        data = source.train.shuffle(min(source.count, SHUFFLE), seed=seed)
        data = data.map(lambda x, y: (augmented(x), y), num_parallel_calls=parallel)
        batches = data.batch(min(args.batch, source.count), drop_remainder=True)
        return batches.prefetch(tf.data.AUTOTUNE)

    def plain(data: tf.data.Dataset) -> tf.data.Dataset:
        data = data.map(lambda x, y: (centred(x), y), num_parallel_calls=parallel)
        return data.batch(args.batch).prefetch(tf.data.AUTOTUNE)

    def calibration(seed: int) -> np.ndarray:
        data = source.train.shuffle(min(source.count, SHUFFLE), seed=seed).take(args.images)
        return np.concatenate([images for images, _ in plain(data).as_numpy_iterator()])

    return helper.Data(
        train, plain(source.held_out), plain(source.test), calibration
    ), source.classes


def _folder(folder: Path, limit: int | None) -> _Source:
    names = sorted(path.name for path in (folder / "train").glob("*") if path.is_dir())
    train, test = (_listed(folder / part, names, limit) for part in ("train", "val"))
    if len(train) < 2 or not test:
        raise hk.HashBWNError(
            f"{folder} holds {len(train)} training and {len(test)} validation images: give a "
            "folder with train/CLASS/* and val/CLASS/*."
        )
    return _Source(
        _pairs([pair for i, pair in enumerate(train) if i % HELD_OUT]),
        _pairs(train[::HELD_OUT]),
        _pairs(test),
        len(train) - len(train[::HELD_OUT]),
        len(names),
        tf.io.read_file,
    )


def _listed(folder: Path, names: list[str], limit: int | None) -> list[tuple[str, int]]:
    """Paths and class numbers, in an order of chance that is always the same."""
    found = [
        (str(path), number)
        for number, name in enumerate(names)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in (".jpeg", ".jpg", ".png")
    ]
    order = np.random.default_rng(0).permutation(len(found))[:limit]
    return [found[i] for i in order]


def _pairs(listed: list[tuple[str, int]]) -> tf.data.Dataset:
    paths, labels = zip(*listed, strict=True)
    return tf.data.Dataset.from_tensor_slices((list(paths), np.array(labels, np.int32)))


def _tfds(args: argparse.Namespace) -> _Source:
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise ImportError(
            "--tfds needs TensorFlow Datasets: pip install tensorflow-datasets."
        ) from error
    info = tfds.builder(args.tfds, data_dir=args.data_dir).info
    count = min(args.limit or info.splits["train"].num_examples, info.splits["train"].num_examples)
    held_out = -(-count // HELD_OUT)
    tests = f"[:{args.limit}]" if args.limit else ""
    parts = [f"train[{held_out}:{count}]", f"train[:{held_out}]", f"validation{tests}"]
    encoded = {"image": tfds.decode.SkipDecoding()}  # small enough to be shuffled
    made = tfds.load(args.tfds, split=parts, data_dir=args.data_dir, decoders=encoded)
    pairs: list[Any] = [
        part.map(lambda found: (found["image"], tf.cast(found["label"], tf.int32))) for part in made
    ]
    return _Source(
        *pairs, count - held_out, info.features["label"].num_classes, lambda image: image
    )


def _decoded(encoded: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_image(encoded, 3, expand_animations=False)


def _augmented(source: tf.Tensor, size: int, read: Callable) -> tf.Tensor:
    """A random part of the image, 8 to 100 % of its area, mirrored or not."""
    image = _decoded(read(source))
    start, extent, _ = tf.image.sample_distorted_bounding_box(
        tf.shape(image),
        tf.zeros([1, 0, 4]),
        min_object_covered=0.0,
        area_range=(0.08, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        use_image_if_no_bounding_boxes=True,
    )
    part = tf.image.resize(tf.slice(image, start, extent), (size, size), antialias=True)
    return _normalised(tf.image.random_flip_left_right(part), size)


def _centred(source: tf.Tensor, size: int, read: Callable) -> tf.Tensor:
    """The centre of the image, in its own proportions."""
    image = _decoded(read(source))
    sides = tf.shape(image)[:2]
    side = tf.cast(CROP * tf.cast(tf.reduce_min(sides), tf.float32), tf.int32)
    top, left = (sides[0] - side) // 2, (sides[1] - side) // 2
    part = image[top : top + side, left : left + side]
    return _normalised(tf.image.resize(part, (size, size), antialias=True), size)


def _normalised(image: tf.Tensor, size: int) -> tf.Tensor:
    image = (tf.cast(image, tf.float32) / 255 - MEAN) / DEVIATION
    return tf.ensure_shape(image, (size, size, 3))
