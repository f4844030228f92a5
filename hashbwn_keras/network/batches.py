"""The reader of data: whatever form they come in, checked batches of them, one array an input.

``binarize``, ``report``, ``verify``, ``to_tflite`` and ``CodeMetrics`` all read by it, so all take
the same forms: arrays, lists of images, batches, ``tf.data``, Keras's ``Sequence``, generators,
with labels or without.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.forms import Form

BATCH = 128
"""Images of a batch: what the layers are called on and the moments are streamed by."""
MAX_IMAGES = 32768
"""More calibration images than this are taken for endless data."""

Batch = list[NDArray]
"""One array ``[n, ...]`` for each input of the model."""


@dataclass(frozen=True)
class Piece:
    """A batch as it is streamed by :func:`read`.

    Attributes:
        inputs: one array ``[n, ...]`` for each input of the model, of its type.
        labels: what came with the images, ``[images, ...]`` each: one array, or one for each
            output of the model; empty where nothing came.
        images: how many of the n images are the data's. The others, at the end, are repeated ones
            that fill up the batch of a model whose batch size is fixed.
    """

    inputs: Batch
    labels: list[NDArray]
    images: int


def batches_of(data: Any, model: tf_keras.Model, name: str = "calibration_data") -> list[Batch]:
    """Read data into equal batches, labels ignored.

    Args:
        data: an array, a list of images, a list, tuple or dict (by input name) of arrays for
            several inputs, ``(x, y)`` or ``(x, y, weights)`` of those, a batched
            ``tf.data.Dataset``, a Keras ``Sequence``, or an iterable or generator of batches, each
            in one of these forms. A tuple of arrays that all have the inputs' shape is batches.
        model: the model the data is for.
        name: what the caller calls the data, for messages.

    Returns:
        Batches of :data:`BATCH` images, the last one maybe smaller, or of the model's own batch
        size where that is fixed, the last one filled up with images from the start. The images of
        a batch share a shape; where the data have several, batches of the first come first.

    Raises:
        HashBWNError: no image, endless data, shapes or types that do not fit the model's inputs,
            values that their type cannot hold, NaN or infinite values.
    """
    groups: dict[tuple, list[Batch]] = {}  # by shape
    images = 0
    form = Form.of(model, name)
    for inputs, _ in _raw(data, form, MAX_IMAGES, labelled=False):
        batch = form.batch(inputs)
        images += len(batch[0])
        if images > MAX_IMAGES:
            raise HashBWNError(
                f"{name} goes on after {MAX_IMAGES} images: pass a finite sample, for example "
                "dataset.take(16); 2,048 images are plenty."
            )
        if len(batch[0]):
            groups.setdefault(tuple(x.shape[1:] for x in batch), []).append(batch)
    if not images:
        raise HashBWNError(f"{name} holds no image: pass at least one batch.")
    size = form.fixed_batch or BATCH
    made = []
    for parts in groups.values():
        joined = [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        for start in range(0, len(joined[0]), size):
            part = [x[start : start + size] for x in joined]
            made.append(_filled(part, joined, size) if form.fixed_batch else part)
    return made


def read(
    data: Any,
    model: tf_keras.Model,
    labels: Any = None,
    *,
    batch_size: int = BATCH,
    name: str = "data",
) -> Iterator[Piece]:
    """Stream data by batches, with their labels; no more than a batch is in memory.

    Args:
        data: as for :func:`batches_of`, of any length.
        model: the model the data is for.
        labels: one array ``[n, ...]``, or one for each output as a list, tuple or dict by output
            name; they come before those that the data bring along.
        batch_size: images of a batch, for data given as arrays; an iterable's own batches stay.
            A model's fixed batch size comes before both.
        name: what the caller calls the data, for messages.

    Raises:
        HashBWNError: as :func:`batches_of`, but no data at all give no batch; more or fewer labels
            than images.
    """
    form = Form.of(model, name)
    given = form.labels(labels)
    done = 0
    size = form.fixed_batch or batch_size
    for inputs, own in _raw(data, form, size, labelled=not given):
        batch = form.batch(inputs)
        count = len(batch[0])
        truth = [y[done : done + count] for y in given] if given else own
        done += count
        for y in truth:
            if len(y) != count:
                raise HashBWNError(
                    f"There are {done} images or more but {done - count + len(y)} labels: "
                    "give one label per image."
                )
        size = form.fixed_batch or count
        for start in range(0, count, max(size, 1)):
            part = slice(start, start + size)
            inputs = [x[part] for x in batch]
            yield Piece(_filled(inputs, batch, size), [y[part] for y in truth], len(inputs[0]))
    for y in given:
        if len(y) != done:
            raise HashBWNError(f"There are {done} images but {len(y)} labels: give one per image.")


def _filled(batch: Batch, images: Batch, size: int) -> Batch:
    """``batch`` with as many of ``images``, from the start and over again, as make it ``size``."""
    missing = np.arange(size - len(batch[0]))
    if not len(missing):
        return batch
    return [
        np.concatenate([x, other[missing % len(other)]])
        for x, other in zip(batch, images, strict=True)
    ]


def _raw(
    data: Any, form: Form, size: int, *, labelled: bool
) -> Iterator[tuple[Any, list[NDArray]]]:
    """The batches that ``data`` consists of: inputs as they came, and labels.

    Args:
        data: in any form.
        form: that of the model.
        size: of the batches to cut arrays into.
        labelled: whether labels are wanted; if not, they are not looked at.
    """
    whole = form.whole(data)
    if whole is not None:
        inputs, labels = whole
        yield from _cut(
            form.by_input(inputs), form.labels(labels if labelled else None), form, size
        )
        return
    for batch in _each(data, form.name):
        inputs, labels = form.split(batch)
        yield inputs, form.labels(labels if labelled else None)


def _cut(
    inputs: list[Any], labels: list[NDArray], form: Form, size: int
) -> Iterator[tuple[Any, list[NDArray]]]:
    """Batches of arrays of all images, not read before their turn comes: they may be on disk."""
    count = form.images(inputs)
    for y in labels:
        if len(y) != count:
            raise HashBWNError(f"There are {count} images but {len(y)} labels: give one per image.")
    for start in range(0, max(count, 1), size):
        part = slice(start, start + size)
        yield [x[part] for x in inputs], [y[part] for y in labels]


def _each(data: Any, name: str) -> Iterator[Any]:
    """The batches that an iterable gives."""
    if isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise HashBWNError(
                f"{name} is an endless tf.data.Dataset: take a finite part of it, for example "
                "dataset.take(16)."
            )
        yield from data
    elif isinstance(data, str | bytes) or not (
        isinstance(data, Iterable) or hasattr(data, "__getitem__")
    ):
        raise HashBWNError(
            f"{name} is a {type(data).__name__}: pass an array, a tf.data.Dataset or an iterable "
            "of batches."
        )
    elif hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        # Iterating over a Keras Sequence may never end; its length does.
        yield from (data[i] for i in range(len(data)))
    else:
        yield from data


def as_fed(model: tf_keras.Model, batch: list[Any]) -> Any:
    """A batch in the structure in which ``model`` is called: one array, a list or a dict."""
    return tf.nest.pack_sequence_as(model.input, batch)


def image_count(batches: list[Batch]) -> int:
    """Number of images in all batches."""
    return sum(len(batch[0]) for batch in batches)
