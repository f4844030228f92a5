"""Functions of TensorFlow in a graph of Keras 2 as operations of ``keras.ops``, by symbol."""

import inspect
from collections.abc import Callable
from typing import Any

from hashbwn_keras.errors import HashBWNError


def _op(name: str, **renamed: str) -> Callable[..., Any]:
    """The operation ``name``, called with arguments that TensorFlow has under other names."""

    def call(**given: Any) -> Any:
        import keras

        function = keras.ops
        for part in name.split("."):
            function = getattr(function, part)
        known = inspect.signature(function).parameters
        arguments = {}
        for key, value in given.items():
            if renamed.get(key, key) in known:
                arguments[renamed.get(key, key)] = value
            elif value:
                raise HashBWNError(
                    f"A tf function has {key}={value!r}, which keras.ops.{name} lacks: cut the "
                    "model before it."
                )
        return function(**arguments)

    return call


def _alike(*names: str, **renamed: str) -> dict[str, Callable[..., Any]]:
    """Functions that have the last part of their name in Keras 3 as well."""
    return {name: _op(name.rpartition(".")[2], **renamed) for name in names}


def _two(name: str, *symbols: str) -> dict[str, Callable[..., Any]]:
    return {symbol: _op(name, x="x1", y="x2") for symbol in symbols}


def _one(name: str, *symbols: str) -> dict[str, Callable[..., Any]]:
    return {symbol: _op(name, features="x", logits="x") for symbol in symbols}


def _softmax(name: str) -> Callable[..., Any]:
    return lambda logits, axis: _op(name)(x=logits, axis=-1 if axis is None else axis)


def _split(value: Any, num_or_size_splits: Any, axis: int, num: Any) -> Any:
    import keras
    import numpy as np

    parts = num_or_size_splits
    if not isinstance(parts, int):
        parts = np.cumsum(parts)[:-1].tolist()
    return keras.ops.split(value, parts, axis=axis)


def _cast(x: Any, dtype: Any) -> Any:
    import keras
    import tensorflow as tf

    return keras.ops.cast(x, tf.as_dtype(dtype).name)


def _get_item(tensor: Any, slice_spec: Any, var: Any) -> Any:
    """Keras 2 keeps slices as dicts."""
    return tensor[tuple(slice(*s.values()) if isinstance(s, dict) else s for s in slice_spec)]


def _pad(tensor: Any, paddings: Any, mode: str, constant_values: Any) -> Any:
    import keras

    values = {"constant_values": constant_values} if mode == "CONSTANT" else {}
    return keras.ops.pad(tensor, paddings, mode=mode.lower(), **values)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    **_two("add", "math.add", "__operators__.add"),
    **_two("subtract", "math.subtract", "__operators__.sub"),
    **_two("multiply", "math.multiply", "__operators__.mul"),
    **_two("true_divide", "math.divide", "math.truediv", "__operators__.truediv"),
    **_two("floor_divide", "math.floordiv", "compat.v1.floor_div", "__operators__.floordiv"),
    **_two("mod", "math.floormod", "__operators__.mod"),
    **_two("power", "math.pow", "__operators__.pow"),
    **_two("maximum", "math.maximum"),
    **_two("minimum", "math.minimum"),
    **_two("equal", "math.equal", "__operators__.eq"),
    **_two("not_equal", "math.not_equal", "__operators__.ne"),
    **_two("greater", "math.greater", "__operators__.gt"),
    **_two("greater_equal", "math.greater_equal", "__operators__.ge"),
    **_two("less", "math.less", "__operators__.lt"),
    **_two("less_equal", "math.less_equal", "__operators__.le"),
    **_two("logical_and", "math.logical_and", "__operators__.and"),
    **_two("logical_or", "math.logical_or", "__operators__.or"),
    **_two("logical_xor", "math.logical_xor", "__operators__.xor"),
    **_one("negative", "math.negative", "__operators__.neg"),
    **_one("logical_not", "math.logical_not", "__operators__.invert"),
    **_alike("math.abs", "math.sign", "math.square", "math.sqrt", "math.rsqrt", "math.reciprocal"),
    **_alike("math.exp", "math.expm1", "math.log", "math.log1p", "math.erf", "math.floor"),
    **_alike("math.ceil", "math.sin", "math.cos", "math.tan", "math.sinh", "math.cosh"),
    **_alike("math.tanh", "math.sigmoid", "nn.tanh", "nn.sigmoid", "math.log_sigmoid"),
    **_alike("nn.relu", "nn.relu6", "nn.elu", "nn.selu", "nn.softsign", features="x"),
    **_alike("math.softplus", "nn.softplus", features="x"),
    **_alike("nn.gelu", "nn.leaky_relu", features="x", alpha="negative_slope"),
    "nn.softmax": _softmax("softmax"),
    "nn.log_softmax": _softmax("log_softmax"),
    "nn.silu": lambda features, beta: _op("silu")(x=features),
    "math.atan": _op("arctan"),
    "math.atan2": _op("arctan2", y="x1", x="x2"),
    "math.is_nan": _op("isnan"),
    "math.is_finite": _op("isfinite"),
    "identity": _op("copy", input="x"),
    "stop_gradient": _op("stop_gradient", input="variable"),
    "cast": _cast,
    "clip_by_value": _op("clip", t="x", clip_value_min="x_min", clip_value_max="x_max"),
    "where": _op("where", x="x1", y="x2"),
    "linalg.matmul": _op("matmul", a="x1", b="x2"),
    "math.reduce_sum": _op("sum", input_tensor="x"),
    "math.reduce_mean": _op("mean", input_tensor="x"),
    "math.reduce_max": _op("max", input_tensor="x"),
    "math.reduce_min": _op("min", input_tensor="x"),
    "math.reduce_prod": _op("prod", input_tensor="x"),
    "math.reduce_std": _op("std", input_tensor="x"),
    "math.reduce_variance": _op("var", input_tensor="x"),
    "math.reduce_logsumexp": _op("logsumexp", input_tensor="x"),
    "math.reduce_any": _op("any", input_tensor="x"),
    "math.reduce_all": _op("all", input_tensor="x"),
    "reshape": _op("reshape", tensor="x", shape="newshape"),
    "compat.v1.transpose": _op("transpose", a="x", perm="axes"),
    "expand_dims": _op("expand_dims", input="x"),
    "compat.v1.squeeze": _op("squeeze", input="x"),
    "concat": _op("concatenate", values="xs"),
    "stack": _op("stack", values="x"),
    "unstack": _op("unstack", value="x"),
    "split": _split,
    "tile": _op("tile", input="x", multiples="repeats"),
    "repeat": _op("repeat", input="x"),
    "reverse": _op("flip", tensor="x"),
    "roll": _op("roll", input="x"),
    "compat.v1.pad": _pad,
    "__operators__.getitem": _get_item,
    "image.resize": _op("image.resize", method="interpolation"),
}
"""By the symbol of the function; each takes the arguments by TensorFlow's names."""
