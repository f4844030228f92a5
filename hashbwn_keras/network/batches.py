"""Calibration data in whatever form it comes, as checked batches."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError

BATCH = 128
"""Images of a batch: what the layers are called on and the moments are streamed by."""
MAX_IMAGES = 32768
"""More calibration images than this are taken for endless data."""

Batch = list[NDArray]
"""One array ``[n, ...]`` for each input of the model."""


def batches_of(data: Any, model: tf_keras.Model) -> list[Batch]:
    """Read calibration data into equal batches, one array per model input.

    Args:
        data: an array, a list, tuple or dict (by input name) of arrays for several inputs, a
            batched ``tf.data.Dataset``, a Keras ``Sequence``, or an iterable or generator of
            batches. In a batch that is a tuple ``(x, y)`` or ``(x, y, weights)``, as
            ``model.fit`` takes them, labels are ignored.
        model: the model the data is for.

    Returns:
        Batches of :data:`BATCH` images, the last one maybe smaller.

    Raises:
        HashBWNError: no image, endless data, shapes or types that do not fit the model's inputs,
            NaN or infinite values.
    """
    specs = model.inputs
    parts: list[Batch] = []
    images = 0
    for raw in _raw_batches(data, len(specs)):
        batch = _checked(raw, model)
        images += len(batch[0])
        if images > MAX_IMAGES:
            raise HashBWNError(
                f"calibration_data goes on after {MAX_IMAGES} images: pass a finite sample, for "
                "example dataset.take(16); 2,048 images are plenty."
            )
        if len(batch[0]):
            parts.append(batch)
    if not parts:
        raise HashBWNError("calibration_data holds no image: pass at least one batch.")
    joined = [np.concatenate([part[i] for part in parts]) for i in range(len(specs))]
    return [[x[i : i + BATCH] for x in joined] for i in range(0, images, BATCH)]


def _raw_batches(data: Any, inputs: int) -> Iterator[Any]:
    """The batches that ``data`` consists of, labels taken off; one for arrays."""
    several = isinstance(data, list | tuple) and len(data) == inputs > 1
    if several or isinstance(data, np.ndarray | tf.Tensor | dict):
        yield data
    elif isinstance(data, tf.data.Dataset):
        if data.cardinality() == tf.data.INFINITE_CARDINALITY:
            raise HashBWNError(
                "calibration_data is an endless tf.data.Dataset: take a finite part of it, for "
                "example dataset.take(16)."
            )
        yield from (_without_labels(batch, inputs) for batch in data)
    elif isinstance(data, tf_keras.utils.Sequence):
        # Iterating over a Sequence never ends; its length does.
        yield from (_without_labels(data[i], inputs) for i in range(len(data)))
    elif isinstance(data, Iterable) and not isinstance(data, str | bytes):
        yield from (_without_labels(batch, inputs) for batch in data)
    else:
        raise HashBWNError(
            f"calibration_data is a {type(data).__name__}: pass an array, a tf.data.Dataset or an "
            "iterable of batches."
        )


def _without_labels(batch: Any, inputs: int) -> Any:
    if isinstance(batch, list):
        batch = tuple(batch)
    if not isinstance(batch, tuple):
        return batch
    if len(batch) == inputs > 1 and not isinstance(batch[0], tuple | list | dict):
        return batch
    return batch[0] if 1 <= len(batch) <= 3 else batch


def _checked(raw: Any, model: tf_keras.Model) -> Batch:
    """One array per model input, of its type, after checking shapes and values."""
    names = [t.node.layer.name for t in model.inputs]
    if isinstance(raw, dict):
        missing = sorted(set(names) - set(raw))
        if missing:
            raise HashBWNError(
                f"calibration_data lacks the input {missing[0]!r}: its keys must be {names}."
            )
        raw = [raw[name] for name in names]
    if not isinstance(raw, list | tuple) or (len(names) == 1 and len(raw) != 1):
        raw = [raw]
    if len(raw) != len(names):
        raise HashBWNError(
            f"calibration_data gives {len(raw)} inputs and the model has {len(names)}: pass one "
            f"array for each of {names}."
        )
    batch = [
        _input_array(value, spec, name)
        for value, spec, name in zip(raw, model.inputs, names, strict=True)
    ]
    sizes = {len(x) for x in batch}
    if len(sizes) > 1:
        raise HashBWNError(
            f"calibration_data gives {sorted(sizes)} images to the model's inputs: pass the same "
            "number to each."
        )
    return batch


def _input_array(value: Any, spec: Any, name: str) -> NDArray:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise HashBWNError(
            f"calibration_data for input {name!r} has type {array.dtype}: pass numbers."
        )
    shape = spec.shape
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape[1:], array.shape[1:], strict=True)
    )
    if not fits:
        cure = "pass batches of that shape"
        if array.ndim == len(shape) - 1:
            cure += " (an unbatched dataset needs .batch(32))"
        raise HashBWNError(
            f"calibration_data for input {name!r} has shape {array.shape} and the model wants "
            f"{tuple(shape)}: {cure}."
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise HashBWNError(
            f"calibration_data for input {name!r} holds NaN or infinite values: leave those "
            "images out."
        )
    return array.astype(spec.dtype.as_numpy_dtype)


def image_count(batches: list[Batch]) -> int:
    """Number of images in all batches."""
    return sum(len(batch[0]) for batch in batches)
