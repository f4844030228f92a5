"""How an operation of Keras 3 becomes a call of TensorFlow: its types, axes and fixed arguments."""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from hashbwn_keras.errors import HashBWNError

Function = Callable[..., Any]
"""Takes the operation object, the type of its output, and the arguments of the call."""


def cast(x: Any, dtype: str) -> Any:
    """A tensor, an array or a plain number in another type."""
    if isinstance(x, bool | int | float):
        return np.asarray(x, tf.as_dtype(dtype).as_numpy_dtype).item()
    if isinstance(x, np.ndarray):
        return x.astype(tf.as_dtype(dtype).as_numpy_dtype)
    return x if x.dtype == tf.as_dtype(dtype) else tf.cast(x, dtype)


def _common(*values: Any) -> str:
    """The type two tensors are compared in: the float one, or the wider one."""
    types = [tf.as_dtype(x.dtype) for x in values if hasattr(x, "dtype")]
    return max(types, key=lambda t: (t.is_floating, t.size)).name


def unary(function: Callable) -> Function:
    """Value by value, in the type of the output."""
    return lambda op, dtype, x: function(x)


def as_float(function: Callable) -> Function:
    """Of functions that give floats for integers."""
    return lambda op, dtype, x: function(cast(x, dtype))


def arithmetic(function: Callable) -> Function:
    """Two tensors in the type of the output."""
    return lambda op, dtype, x1, x2: function(cast(x1, dtype), cast(x2, dtype))


def comparison(function: Callable) -> Function:
    """Two tensors in the type that both fit."""

    def compare(op: Any, dtype: str, x1: Any, x2: Any) -> Any:
        common = _common(x1, x2)
        return function(cast(x1, common), cast(x2, common))

    return compare


def logical(function: Callable) -> Function:
    """Tensors as booleans."""
    return lambda op, dtype, *x: function(*(cast(value, "bool") for value in x))


def reduction(function: Callable) -> Function:
    """Over axes, in the type of the output."""
    return lambda op, dtype, x: function(cast(x, dtype), axis=op.axis, keepdims=op.keepdims)


def extreme(function: Callable) -> Function:
    """Over axes, in the type of the input."""

    def reduce(op: Any, dtype: str, x: Any) -> Any:
        _only(op, initial=None)
        return function(x, axis=op.axis, keepdims=op.keepdims)

    return reduce


def argument(function: Callable) -> Function:
    """The place of a value along an axis, all values in a row without one."""

    def find(op: Any, dtype: str, x: Any) -> Any:
        flat = x if op.axis is not None else tf.reshape(x, [-1])
        found = function(flat, axis=op.axis or 0, output_type=dtype)
        _only(op, keepdims=False)
        return found

    return find


def _only(op: Any, **wanted: Any) -> None:
    """Refuse an operation with other values of its arguments than ``wanted``."""
    for name, value in wanted.items():
        if getattr(op, name, value) != value:
            raise HashBWNError(
                f"Operation {op.name!r} ({type(op).__name__}) has {name}={getattr(op, name)!r}, "
                f"which cannot be rebuilt with Keras 2: use {value!r}."
            )


def axes(op: Any, x: Any) -> list[int]:
    """The axes an operation goes over, all where it names none."""
    if op.axis is None:
        return list(range(len(x.shape)))
    return [op.axis] if isinstance(op.axis, int) else list(op.axis)


def permuted(move: Callable, x: Any, *where: Any) -> Any:
    """Move axes as NumPy's function ``move`` does, which is asked on an array of sizes 1, 2, …"""
    sizes = move(np.empty(range(1, len(x.shape) + 1)), *where).shape
    return tf.transpose(x, [size - 1 for size in sizes])


def _flat_if_no_axis(op: Any, x: Any) -> tuple[Any, int]:
    return (tf.reshape(x, [-1]), 0) if op.axis is None else (x, op.axis)


def cumulative(function: Callable) -> Function:
    """Along an axis, all values in a row without one."""

    def accumulate(op: Any, dtype: str, x: Any) -> Any:
        x, axis = _flat_if_no_axis(op, x)
        return function(cast(x, dtype), axis=axis)

    return accumulate


def take(op: Any, dtype: str, x: Any, indices: Any) -> Any:
    """Entries along an axis."""
    x, axis = _flat_if_no_axis(op, x)
    size = x.shape[axis] if x.shape[axis] is not None else tf.shape(x)[axis]
    return tf.gather(x, tf.math.floormod(indices, size), axis=axis)


def get_item(op: Any, dtype: str, x: Any, key: Any) -> Any:
    """An index or slices, of numbers or tensors."""
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:  # which files of Keras 2 cannot hold
        place = key.index(Ellipsis)
        between = len(x.shape) - sum(part is not None for part in key) + 1
        key = (*key[:place], *[slice(None)] * between, *key[place + 1 :])
    return x[key]


def repeat(op: Any, dtype: str, x: Any) -> Any:
    """Each entry several times."""
    x, axis = _flat_if_no_axis(op, x)
    return tf.repeat(x, op.repeats, axis=axis)


def tile(op: Any, dtype: str, x: Any) -> Any:
    """The whole several times."""
    repeats = [op.repeats] if isinstance(op.repeats, int) else list(op.repeats)
    return tf.tile(x, [1] * (len(x.shape) - len(repeats)) + repeats)


def pad(op: Any, dtype: str, x: Any, constant_values: Any = None) -> Any:
    """Values around."""
    width = np.broadcast_to(op.pad_width, (len(x.shape), 2)).tolist()
    if op.mode == "constant":
        return tf.pad(x, width, constant_values=constant_values or 0)
    return tf.pad(x, width, mode=op.mode.upper())


def split(op: Any, dtype: str, x: Any) -> Any:
    """Parts along an axis."""
    parts = op.indices_or_sections
    if not isinstance(parts, int):
        parts = np.diff([0, *parts, x.shape[op.axis]]).tolist()
    return tf.split(x, parts, axis=op.axis)


def elu(op: Any, dtype: str, x: Any) -> Any:
    """ELU with its slope."""
    return tf.nn.elu(x) if op.alpha == 1 else tf.where(x > 0, x, op.alpha * tf.math.expm1(x))


def matmul(op: Any, dtype: str, x1: Any, x2: Any) -> Any:
    """A product of matrices, in the type of the output."""
    x1, x2 = cast(x1, dtype), cast(x2, dtype)
    if len(x1.shape) > 1 and len(x2.shape) > 1:
        return tf.matmul(x1, x2)
    return tf.tensordot(x1, x2, [[-1], [max(len(x2.shape) - 2, 0)]])


def pool(function: Callable) -> Function:
    """A pool of windows."""

    def pool(op: Any, dtype: str, inputs: Any) -> Any:
        _only(op, data_format="channels_last")
        strides = op.pool_size if op.strides is None else op.strides
        return function(inputs, op.pool_size, strides, op.padding.upper())

    return pool


def conv(op: Any, dtype: str, inputs: Any, kernel: Any) -> Any:
    """A convolution."""
    _only(op, data_format="channels_last")
    return tf.nn.convolution(
        inputs, kernel, op.strides, op.padding.upper(), dilations=op.dilation_rate
    )


def resize(op: Any, dtype: str, images: Any) -> Any:
    """Pictures of another size."""
    _only(op, crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, data_format="channels_last")
    resized = tf.image.resize(images, op.size, op.interpolation, antialias=op.antialias)
    return cast(resized, dtype)


def normalize(op: Any, dtype: str, x: Any) -> Any:
    """Vectors of norm 1."""
    _only(op, order=2)
    power = tf.reduce_sum(tf.square(x), axis=op.axis, keepdims=True)
    return x * tf.minimum(tf.math.rsqrt(power), 1.0 / (op.epsilon or 1e-7))


def where(op: Any, dtype: str, condition: Any, x1: Any, x2: Any) -> Any:
    """One of two tensors, value by value."""
    return tf.where(cast(condition, "bool"), cast(x1, dtype), cast(x2, dtype))
