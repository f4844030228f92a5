"""Operations of ``keras.ops`` in functions of TensorFlow.

A Keras 3 graph holds an object for each operation: its class says which one, its attributes hold
the fixed arguments. To add one: a line in :data:`_OPERATIONS`, a line in the test that walks it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.keras3 import additions

Function = Callable[..., Any]
"""Takes the operation object, the type of its output, and the arguments of the call."""


def run(operation: Any, dtype: str, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Call what TensorFlow has for an operation of Keras 3 on tensors of TensorFlow or Keras 2.

    Args:
        operation: the operation object of Keras 3.
        dtype: type of its first output.
        args: what it is called on.
        kwargs: what it is called on, by name.

    Raises:
        HashBWNError: an operation that is not in the table, or the user's own.
    """
    kind = type(operation)
    function = _OPERATIONS.get(kind.__name__)
    if function is None or not kind.__module__.startswith("keras.src.ops"):
        raise HashBWNError(
            f"Operation {operation.name!r} is a {kind.__name__}, which cannot be rebuilt with "
            "Keras 2: put it into a layer (custom_objects), or cut the model before it."
        )
    return function(operation, dtype, *args, **kwargs)


def _cast(x: Any, dtype: str) -> Any:
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


def _unary(function: Callable) -> Function:
    return lambda op, dtype, x: function(x)


def _float(function: Callable) -> Function:
    """Of functions that give floats for integers."""
    return lambda op, dtype, x: function(_cast(x, dtype))


def _arithmetic(function: Callable) -> Function:
    return lambda op, dtype, x1, x2: function(_cast(x1, dtype), _cast(x2, dtype))


def _comparison(function: Callable) -> Function:
    def compare(op: Any, dtype: str, x1: Any, x2: Any) -> Any:
        common = _common(x1, x2)
        return function(_cast(x1, common), _cast(x2, common))

    return compare


def _logical(function: Callable) -> Function:
    return lambda op, dtype, *x: function(*(_cast(value, "bool") for value in x))


def _reduction(function: Callable) -> Function:
    return lambda op, dtype, x: function(_cast(x, dtype), axis=op.axis, keepdims=op.keepdims)


def _extreme(function: Callable) -> Function:
    def reduce(op: Any, dtype: str, x: Any) -> Any:
        _only(op, initial=None)
        return function(x, axis=op.axis, keepdims=op.keepdims)

    return reduce


def _argument(function: Callable) -> Function:
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


def _axes(op: Any, x: Any) -> list[int]:
    """The axes an operation goes over, all where it names none."""
    if op.axis is None:
        return list(range(len(x.shape)))
    return [op.axis] if isinstance(op.axis, int) else list(op.axis)


def _permuted(move: Callable, x: Any, *where: Any) -> Any:
    """Move axes as NumPy's function ``move`` does, which is asked on an array of sizes 1, 2, …"""
    sizes = move(np.empty(range(1, len(x.shape) + 1)), *where).shape
    return tf.transpose(x, [size - 1 for size in sizes])


def _flat_if_no_axis(op: Any, x: Any) -> tuple[Any, int]:
    return (tf.reshape(x, [-1]), 0) if op.axis is None else (x, op.axis)


def _cumulative(function: Callable) -> Function:
    def accumulate(op: Any, dtype: str, x: Any) -> Any:
        x, axis = _flat_if_no_axis(op, x)
        return function(_cast(x, dtype), axis=axis)

    return accumulate


def _take(op: Any, dtype: str, x: Any, indices: Any) -> Any:
    x, axis = _flat_if_no_axis(op, x)
    size = x.shape[axis] if x.shape[axis] is not None else tf.shape(x)[axis]
    return tf.gather(x, tf.math.floormod(indices, size), axis=axis)


def _get_item(op: Any, dtype: str, x: Any, key: Any) -> Any:
    key = key if isinstance(key, tuple) else (key,)
    if Ellipsis in key:  # which files of Keras 2 cannot hold
        place = key.index(Ellipsis)
        between = len(x.shape) - sum(part is not None for part in key) + 1
        key = (*key[:place], *[slice(None)] * between, *key[place + 1 :])
    return x[key]


def _repeat(op: Any, dtype: str, x: Any) -> Any:
    x, axis = _flat_if_no_axis(op, x)
    return tf.repeat(x, op.repeats, axis=axis)


def _tile(op: Any, dtype: str, x: Any) -> Any:
    repeats = [op.repeats] if isinstance(op.repeats, int) else list(op.repeats)
    return tf.tile(x, [1] * (len(x.shape) - len(repeats)) + repeats)


def _pad(op: Any, dtype: str, x: Any, constant_values: Any = None) -> Any:
    width = np.broadcast_to(op.pad_width, (len(x.shape), 2)).tolist()
    if op.mode == "constant":
        return tf.pad(x, width, constant_values=constant_values or 0)
    return tf.pad(x, width, mode=op.mode.upper())


def _split(op: Any, dtype: str, x: Any) -> Any:
    parts = op.indices_or_sections
    if not isinstance(parts, int):
        parts = np.diff([0, *parts, x.shape[op.axis]]).tolist()
    return tf.split(x, parts, axis=op.axis)


def _elu(op: Any, dtype: str, x: Any) -> Any:
    return tf.nn.elu(x) if op.alpha == 1 else tf.where(x > 0, x, op.alpha * tf.math.expm1(x))


def _matmul(op: Any, dtype: str, x1: Any, x2: Any) -> Any:
    x1, x2 = _cast(x1, dtype), _cast(x2, dtype)
    if len(x1.shape) > 1 and len(x2.shape) > 1:
        return tf.matmul(x1, x2)
    return tf.tensordot(x1, x2, [[-1], [max(len(x2.shape) - 2, 0)]])


def _pool(function: Callable) -> Function:
    def pool(op: Any, dtype: str, inputs: Any) -> Any:
        _only(op, data_format="channels_last")
        strides = op.pool_size if op.strides is None else op.strides
        return function(inputs, op.pool_size, strides, op.padding.upper())

    return pool


def _conv(op: Any, dtype: str, inputs: Any, kernel: Any) -> Any:
    _only(op, data_format="channels_last")
    return tf.nn.convolution(
        inputs, kernel, op.strides, op.padding.upper(), dilations=op.dilation_rate
    )


def _resize(op: Any, dtype: str, images: Any) -> Any:
    _only(op, crop_to_aspect_ratio=False, pad_to_aspect_ratio=False, data_format="channels_last")
    resized = tf.image.resize(images, op.size, op.interpolation, antialias=op.antialias)
    return _cast(resized, dtype)


def _normalize(op: Any, dtype: str, x: Any) -> Any:
    _only(op, order=2)
    power = tf.reduce_sum(tf.square(x), axis=op.axis, keepdims=True)
    return x * tf.minimum(tf.math.rsqrt(power), 1.0 / (op.epsilon or 1e-7))


def _where(op: Any, dtype: str, condition: Any, x1: Any, x2: Any) -> Any:
    return tf.where(_cast(condition, "bool"), _cast(x1, dtype), _cast(x2, dtype))


_OPERATIONS: dict[str, Function] = {
    # One tensor, value by value
    "Absolute": _unary(tf.abs),
    "Abs": _unary(tf.abs),
    "Negative": _unary(tf.negative),
    "Sign": _unary(tf.sign),
    "Square": _unary(tf.square),
    "Floor": _float(tf.floor),
    "Ceil": _float(tf.math.ceil),
    "Sqrt": _float(tf.sqrt),
    "Rsqrt": _float(tf.math.rsqrt),
    "Reciprocal": _float(tf.math.reciprocal),
    "Exp": _float(tf.exp),
    "Expm1": _float(tf.math.expm1),
    "Log": _float(tf.math.log),
    "Log1p": _float(tf.math.log1p),
    "Log2": _float(lambda x: tf.math.log(x) / float(np.log(2))),
    "Log10": _float(lambda x: tf.math.log(x) / float(np.log(10))),
    "Sin": _float(tf.sin),
    "Cos": _float(tf.cos),
    "Tan": _float(tf.tan),
    "Arctan": _float(tf.atan),
    "Sinh": _float(tf.sinh),
    "Cosh": _float(tf.cosh),
    "Erf": _float(tf.math.erf),
    "Isnan": _unary(tf.math.is_nan),
    "Isfinite": _unary(tf.math.is_finite),
    "LogicalNot": _logical(tf.logical_not),
    "Copy": _unary(tf.identity),
    "StopGradient": lambda op, dtype, variable: tf.stop_gradient(variable),
    "ZerosLike": lambda op, dtype, x, **_: tf.zeros_like(x),
    "OnesLike": lambda op, dtype, x, **_: tf.ones_like(x),
    "Cast": lambda op, dtype, x: tf.cast(x, dtype),
    "ConvertToTensor": lambda op, dtype, x: tf.cast(x, dtype),
    "Clip": lambda op, dtype, x: tf.clip_by_value(_cast(x, dtype), op.x_min, op.x_max),
    # Activations
    "Relu": _unary(tf.nn.relu),
    "Relu6": _unary(tf.nn.relu6),
    "Sigmoid": _unary(tf.sigmoid),
    "Tanh": _unary(tf.tanh),
    "Softplus": _unary(tf.math.softplus),
    "Softsign": _unary(tf.nn.softsign),
    "Silu": _unary(tf.nn.silu),
    "Selu": _unary(tf.nn.selu),
    "HardSigmoid": _unary(additions.hard_sigmoid),
    "HardSilu": _unary(additions.hard_silu),
    "HardTanh": _unary(additions.hard_tanh),
    "LogSigmoid": _unary(tf.math.log_sigmoid),
    "SparseSigmoid": _unary(additions.sparse_sigmoid),
    "TanhShrink": _unary(additions.tanh_shrink),
    "LeakyRelu": lambda op, dtype, x: tf.nn.leaky_relu(x, alpha=op.negative_slope),
    "Celu": lambda op, dtype, x: additions.celu(x, op.alpha),
    "Glu": lambda op, dtype, x: additions.glu(x, op.axis),
    "Elu": _elu,
    "Gelu": lambda op, dtype, x: tf.nn.gelu(x, approximate=op.approximate),
    "Softmax": lambda op, dtype, x: tf.nn.softmax(x, axis=op.axis),
    "LogSoftmax": lambda op, dtype, x: tf.nn.log_softmax(x, axis=op.axis),
    # Two tensors
    "Add": _arithmetic(tf.add),
    "Subtract": _arithmetic(tf.subtract),
    "Multiply": _arithmetic(tf.multiply),
    "Divide": _arithmetic(tf.divide),
    "TrueDivide": _arithmetic(tf.divide),
    "FloorDivide": _arithmetic(tf.math.floordiv),
    "Mod": _arithmetic(tf.math.floormod),
    "Power": _arithmetic(tf.pow),
    "Maximum": _arithmetic(tf.maximum),
    "Minimum": _arithmetic(tf.minimum),
    "Arctan2": _arithmetic(tf.atan2),
    "Equal": _comparison(tf.equal),
    "NotEqual": _comparison(tf.not_equal),
    "Greater": _comparison(tf.greater),
    "GreaterEqual": _comparison(tf.greater_equal),
    "Less": _comparison(tf.less),
    "LessEqual": _comparison(tf.less_equal),
    "LogicalAnd": _logical(tf.logical_and),
    "LogicalOr": _logical(tf.logical_or),
    "LogicalXor": _logical(tf.math.logical_xor),
    "Where": _where,
    "Matmul": _matmul,
    "Dot": _matmul,
    "Einsum": lambda op, dtype, *x: additions.Einsum(op.subscripts)(list(x)),
    "Tensordot": lambda op, dtype, x1, x2: tf.tensordot(x1, x2, op.axes),
    # Reductions
    "Sum": _reduction(tf.reduce_sum),
    "Mean": _reduction(tf.reduce_mean),
    "Prod": _reduction(tf.reduce_prod),
    "Std": _reduction(tf.math.reduce_std),
    "Var": _reduction(tf.math.reduce_variance),
    "Logsumexp": _reduction(tf.reduce_logsumexp),
    "Max": _extreme(tf.reduce_max),
    "Min": _extreme(tf.reduce_min),
    "Amax": _extreme(tf.reduce_max),
    "Amin": _extreme(tf.reduce_min),
    "Any": _reduction(tf.reduce_any),
    "All": _reduction(tf.reduce_all),
    "Argmax": _argument(tf.argmax),
    "Argmin": _argument(tf.argmin),
    "Cumsum": _cumulative(tf.cumsum),
    "Cumprod": _cumulative(tf.math.cumprod),
    "TopK": lambda op, dtype, x: tuple(tf.math.top_k(x, op.k, op.sorted)),
    # Shape
    "Reshape": lambda op, dtype, x: tf.reshape(x, op.newshape),
    "Ravel": lambda op, dtype, x: tf.reshape(x, [-1]),
    "Transpose": lambda op, dtype, x: _permuted(np.transpose, x, op.axes),
    "Swapaxes": lambda op, dtype, x: _permuted(np.swapaxes, x, op.axis1, op.axis2),
    "Moveaxis": lambda op, dtype, x: _permuted(np.moveaxis, x, op.source, op.destination),
    "ExpandDims": lambda op, dtype, x: tf.expand_dims(x, op.axis),
    "Squeeze": lambda op, dtype, x: tf.squeeze(x, None if op.axis is None else _axes(op, x)),
    "BroadcastTo": lambda op, dtype, x: tf.broadcast_to(x, op.shape),
    "Concatenate": lambda op, dtype, xs: tf.concat([_cast(x, dtype) for x in xs], op.axis),
    "Stack": lambda op, dtype, x: tf.stack([_cast(value, dtype) for value in x], op.axis),
    "Split": _split,
    "Unstack": lambda op, dtype, x: tf.unstack(x, op.num, op.axis),
    "Tile": _tile,
    "Repeat": _repeat,
    "Flip": lambda op, dtype, x: tf.reverse(x, _axes(op, x)),
    "Roll": lambda op, dtype, x: tf.roll(x, op.shift, op.axis),
    "Pad": _pad,
    "Take": _take,
    "GetItem": _get_item,
    "Slice": lambda op, dtype, inputs, start_indices: tf.slice(inputs, start_indices, op.shape),
    # Pictures and networks
    "OneHot": lambda op, dtype, x: tf.one_hot(x, op.num_classes, axis=op.axis, dtype=dtype),
    "Normalize": _normalize,
    "Conv": _conv,
    "MaxPool": _pool(tf.nn.max_pool),
    "AveragePool": _pool(tf.nn.avg_pool),
    "Resize": _resize,
    "RGBToGrayscale": lambda op, dtype, images: tf.image.rgb_to_grayscale(images),
    "DepthToSpace": lambda op, dtype, x: tf.nn.depth_to_space(x, op.block_size),
    "SpaceToDepth": lambda op, dtype, x: tf.nn.space_to_depth(x, op.block_size),
}
"""By the name of the class in Keras 3."""
