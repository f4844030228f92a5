"""Data in any of the forms Keras takes -> checked batches of inputs and labels."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError

Batch = tuple[list[np.ndarray], np.ndarray | None]


def batches(
    model: tf_keras.Model, data: Any, labels: Any = None, batch_size: int = 64
) -> Iterator[Batch]:
    """Yield ``(inputs, labels)``: one array per input of ``model``, and class numbers or None.

    Args:
        model: the network that the data are for.
        data: as for :func:`hashbwn_keras.report`.
        labels: class numbers ``[n]`` or one-hot rows ``[n, classes]``.
        batch_size: images per batch of ``data`` given as arrays; an iterable's own batches stay.

    Raises:
        HashBWNError: endless data, wrong shape, type or number of inputs, NaN, more or fewer
            labels than images.
    """
    truth = None if labels is None else _class_numbers(labels)
    done = 0
    for inputs, own_labels in _raw(model, data, batch_size):
        checked = _checked(model, inputs)
        count = len(checked[0])
        batch_labels: np.ndarray | None = None
        if truth is not None:
            batch_labels = truth[done : done + count]
        elif own_labels is not None:
            batch_labels = _class_numbers(own_labels)
        done += count
        if batch_labels is not None and len(batch_labels) != count:
            raise HashBWNError(
                f"There are {done} images or more but {done - count + len(batch_labels)} labels: "
                "give one label per image."
            )
        if count:
            yield checked, batch_labels
    if truth is not None and len(truth) != done:
        raise HashBWNError(f"There are {done} images but {len(truth)} labels: give one per image.")


def _raw(model: tf_keras.Model, data: Any, batch_size: int) -> Iterator[tuple[Any, Any]]:
    arrays = _arrays(model, data)
    if arrays is not None:
        count = len(arrays[0])
        if any(len(array) != count for array in arrays):
            raise HashBWNError("The inputs differ in the number of images: give as many of each.")
        for start in range(0, count, batch_size):
            yield [array[start : start + batch_size] for array in arrays], None
        return
    if isinstance(data, tf.data.Dataset) and data.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise HashBWNError("The dataset is endless: limit it with .take(n).")
    if not isinstance(data, Iterable):
        raise HashBWNError(
            f"A {type(data).__name__} is no data: give an array, a tf.data.Dataset or batches."
        )
    for batch in data:
        inputs, own_labels = (
            batch if isinstance(batch, tuple) and len(batch) == 2 else (batch, None)
        )
        if isinstance(inputs, tuple) and len(inputs) == 1:
            inputs = inputs[0]
        yield _by_input(model, inputs), own_labels


def _arrays(model: tf_keras.Model, data: Any) -> list[Any] | None:
    """Return one array per input if ``data`` is arrays rather than an iterable of batches."""
    if isinstance(data, np.ndarray | tf.Tensor):
        return [data]
    if isinstance(data, dict) or (isinstance(data, list | tuple) and len(model.inputs) > 1):
        return _by_input(model, data)
    if isinstance(data, list | tuple):
        if data and np.ndim(data[0]) == len(model.inputs[0].shape):
            return None  # a list of batches
        return [np.asarray(data)]
    return None


def _by_input(model: tf_keras.Model, inputs: Any) -> list[Any]:
    if isinstance(inputs, dict):
        missing = [name for name in model.input_names if name not in inputs]
        if missing:
            raise HashBWNError(f"The data have no input {missing[0]!r}: add it.")
        return [inputs[name] for name in model.input_names]
    return list(inputs) if isinstance(inputs, list | tuple) else [inputs]


def _checked(model: tf_keras.Model, inputs: list[Any]) -> list[np.ndarray]:
    if len(inputs) != len(model.inputs):
        raise HashBWNError(
            f"The network has {len(model.inputs)} inputs and the data {len(inputs)}: "
            "give one array for each."
        )
    checked = []
    for wanted, given in zip(model.inputs, inputs, strict=True):
        array = np.asarray(given)
        if array.dtype.kind not in "fiub":
            raise HashBWNError(f"The data are of type {array.dtype}: give numbers.")
        if not wanted.shape.is_compatible_with(array.shape):
            raise HashBWNError(
                f"The data have shape {array.shape} but the network wants {tuple(wanted.shape)}: "
                "resize or reshape them, None being the number of images."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise HashBWNError("The data hold NaN or infinite values: remove them.")
        checked.append(array.astype(wanted.dtype.as_numpy_dtype))
    return checked


def _class_numbers(labels: Any) -> np.ndarray:
    array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] > 1:
        return array.argmax(1)
    if array.ndim == 0 or array.size != len(array) or array.dtype.kind not in "iub":
        raise HashBWNError(
            f"The labels have shape {array.shape} and type {array.dtype}: give whole class numbers "
            "[n] or one-hot rows [n, classes]."
        )
    return array.reshape(-1)
