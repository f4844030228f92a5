"""What an input of a model asks of data: shape, type, and values that the type can hold."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError


@dataclass(frozen=True)
class Slot:
    """An input of a model.

    Attributes:
        name: of its layer.
        key: what it is called in a dict of inputs: the model's own key where it takes a dict.
        shape: with the batch first; None where a size is open.
        dtype: TensorFlow's.
    """

    name: str
    key: str
    shape: tuple[int | None, ...]
    dtype: tf.DType

    def array(self, value: Any, data: str) -> NDArray:
        """Return ``value`` as an array of this input's type, or say why it cannot be.

        Args:
            value: array-like, with the batch first.
            data: what the caller calls the data.
        """
        where = f"{data} for input {self.name!r}"
        try:
            array = np.asarray(value)
        except ValueError as error:
            raise HashBWNError(
                f"{where} holds images of several sizes: resize them, or pass a list of batches "
                "of one size each."
            ) from error
        if self.dtype == tf.string:
            if array.dtype.kind not in "OSU":
                raise HashBWNError(f"{where} has type {array.dtype}: pass strings.")
        elif array.dtype.kind not in "fiub" and array.dtype != tf.bfloat16.as_numpy_dtype:
            raise HashBWNError(f"{where} has type {array.dtype}: pass numbers.")
        self._check_shape(array, where)
        return array.astype(object) if self.dtype == tf.string else self._cast(array, where)

    def fits(self, value: Any) -> bool:
        """Whether ``value`` has the shape of a batch of this input."""
        shape = shape_of(value)
        return len(shape) == len(self.shape) and all(
            want is None or want == have
            for want, have in zip(self.shape[1:], shape[1:], strict=True)
        )

    def _check_shape(self, array: NDArray, where: str) -> None:
        if self.fits(array):
            return
        cure = "pass batches of that shape"
        if array.ndim == len(self.shape) - 1:
            cure += " (an unbatched dataset needs .batch(32))"
        raise HashBWNError(
            f"{where} has shape {array.shape} but the network wants {self.shape}: {cure}."
        )

    def _cast(self, array: NDArray, where: str) -> NDArray:
        if array.dtype.kind not in "iub" and not np.isfinite(array).all():
            raise HashBWNError(f"{where} holds NaN or infinite values: leave those images out.")
        wanted = self.dtype.as_numpy_dtype
        if array.dtype == wanted:
            return array
        with np.errstate(over="ignore", invalid="ignore"):
            made = array.astype(wanted)
        lost = ~np.isfinite(made) if self.dtype.is_floating else made != array
        if lost.any():
            raise HashBWNError(
                f"{where} holds {array[lost][0]!s} of type {array.dtype}, which {self.dtype.name}, "
                f"the input's type, cannot hold: {self._range()}."
            )
        return made

    def _range(self) -> str:
        if self.dtype.is_bool:
            return "pass booleans, or 0 and 1"
        if self.dtype.is_floating:
            return f"pass values up to {float(self.dtype.max):g}"
        return f"pass whole numbers from {self.dtype.min} to {self.dtype.max}"


def slots_of(model: tf_keras.Model) -> tuple[Slot, ...]:
    """The inputs of ``model``.

    Raises:
        HashBWNError: an input has no axis of images.
    """
    names = [tensor.node.layer.name for tensor in model.inputs]
    keys = sorted(model.input) if isinstance(model.input, dict) else names
    return tuple(
        Slot(name, key, _shape(tensor, name), tensor.dtype)
        for name, key, tensor in zip(names, keys, model.inputs, strict=True)
    )


def fixed_batch(model: tf_keras.Model) -> int | None:
    """The batch size that ``model`` was built for, None where it takes any.

    Raises:
        HashBWNError: its inputs have different ones.
    """
    found = {tensor.shape[0] for tensor in model.inputs if tensor.shape.rank}
    sizes = sorted(size for size in found if size is not None)
    if len(sizes) > 1:
        raise HashBWNError(
            f"Model {model.name!r} has inputs of batch sizes {sizes}: build it with one batch "
            "size, or with none."
        )
    return sizes[0] if sizes else None


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of an array, or of nested lists of arrays or numbers by their first items."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        return tuple(shape)
    if isinstance(value, list | tuple):
        return (len(value), *(shape_of(value[0]) if len(value) else ()))
    return ()


def rank(value: Any) -> int:
    """Number of axes of what :func:`shape_of` takes."""
    return len(shape_of(value))


def is_array(value: Any) -> bool:
    """Whether ``value`` is an array of some library: it has a shape and turns into numpy's."""
    return hasattr(value, "shape") and hasattr(value, "__array__")


def _shape(tensor: Any, name: str) -> tuple[int | None, ...]:
    if not tensor.shape.rank:
        raise HashBWNError(
            f"Input {name!r} has shape {tensor.shape}, without an axis of images: build the model "
            "with one value an image, tf_keras.Input(())."
        )
    return tuple(tensor.shape)
