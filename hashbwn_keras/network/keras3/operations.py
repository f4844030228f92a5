"""Operations of ``keras.ops`` in functions of TensorFlow.

A Keras 3 graph holds an object for each operation: its class says which one, its attributes hold
the fixed arguments. To add one: a line in :data:`_OPERATIONS`, a line in the test that walks it.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.keras3 import additions, calls
from hashbwn_keras.network.keras3.calls import Function


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


_OPERATIONS: dict[str, Function] = {
    # One tensor, value by value
    "Absolute": calls.unary(tf.abs),
    "Abs": calls.unary(tf.abs),
    "Negative": calls.unary(tf.negative),
    "Sign": calls.unary(tf.sign),
    "Square": calls.unary(tf.square),
    "Floor": calls.as_float(tf.floor),
    "Ceil": calls.as_float(tf.math.ceil),
    "Sqrt": calls.as_float(tf.sqrt),
    "Rsqrt": calls.as_float(tf.math.rsqrt),
    "Reciprocal": calls.as_float(tf.math.reciprocal),
    "Exp": calls.as_float(tf.exp),
    "Expm1": calls.as_float(tf.math.expm1),
    "Log": calls.as_float(tf.math.log),
    "Log1p": calls.as_float(tf.math.log1p),
    "Log2": calls.as_float(lambda x: tf.math.log(x) / float(np.log(2))),
    "Log10": calls.as_float(lambda x: tf.math.log(x) / float(np.log(10))),
    "Sin": calls.as_float(tf.sin),
    "Cos": calls.as_float(tf.cos),
    "Tan": calls.as_float(tf.tan),
    "Arctan": calls.as_float(tf.atan),
    "Sinh": calls.as_float(tf.sinh),
    "Cosh": calls.as_float(tf.cosh),
    "Erf": calls.as_float(tf.math.erf),
    "Isnan": calls.unary(tf.math.is_nan),
    "Isfinite": calls.unary(tf.math.is_finite),
    "LogicalNot": calls.logical(tf.logical_not),
    "Copy": calls.unary(tf.identity),
    "StopGradient": lambda op, dtype, variable: tf.stop_gradient(variable),
    "ZerosLike": lambda op, dtype, x, **_: tf.zeros_like(x),
    "OnesLike": lambda op, dtype, x, **_: tf.ones_like(x),
    "Cast": lambda op, dtype, x: tf.cast(x, dtype),
    "ConvertToTensor": lambda op, dtype, x: tf.cast(x, dtype),
    "Clip": lambda op, dtype, x: tf.clip_by_value(calls.cast(x, dtype), op.x_min, op.x_max),
    # Activations
    "Relu": calls.unary(tf.nn.relu),
    "Relu6": calls.unary(tf.nn.relu6),
    "Sigmoid": calls.unary(tf.sigmoid),
    "Tanh": calls.unary(tf.tanh),
    "Softplus": calls.unary(tf.math.softplus),
    "Softsign": calls.unary(tf.nn.softsign),
    "Silu": calls.unary(tf.nn.silu),
    "Selu": calls.unary(tf.nn.selu),
    "HardSigmoid": calls.unary(additions.hard_sigmoid),
    "HardSilu": calls.unary(additions.hard_silu),
    "HardTanh": calls.unary(additions.hard_tanh),
    "LogSigmoid": calls.unary(tf.math.log_sigmoid),
    "SparseSigmoid": calls.unary(additions.sparse_sigmoid),
    "TanhShrink": calls.unary(additions.tanh_shrink),
    "LeakyRelu": lambda op, dtype, x: tf.nn.leaky_relu(x, alpha=op.negative_slope),
    "Celu": lambda op, dtype, x: additions.celu(x, op.alpha),
    "Glu": lambda op, dtype, x: additions.glu(x, op.axis),
    "Elu": calls.elu,
    "Gelu": lambda op, dtype, x: tf.nn.gelu(x, approximate=op.approximate),
    "Softmax": lambda op, dtype, x: tf.nn.softmax(x, axis=op.axis),
    "LogSoftmax": lambda op, dtype, x: tf.nn.log_softmax(x, axis=op.axis),
    # Two tensors
    "Add": calls.arithmetic(tf.add),
    "Subtract": calls.arithmetic(tf.subtract),
    "Multiply": calls.arithmetic(tf.multiply),
    "Divide": calls.arithmetic(tf.divide),
    "TrueDivide": calls.arithmetic(tf.divide),
    "FloorDivide": calls.arithmetic(tf.math.floordiv),
    "Mod": calls.arithmetic(tf.math.floormod),
    "Power": calls.arithmetic(tf.pow),
    "Maximum": calls.arithmetic(tf.maximum),
    "Minimum": calls.arithmetic(tf.minimum),
    "Arctan2": calls.arithmetic(tf.atan2),
    "Equal": calls.comparison(tf.equal),
    "NotEqual": calls.comparison(tf.not_equal),
    "Greater": calls.comparison(tf.greater),
    "GreaterEqual": calls.comparison(tf.greater_equal),
    "Less": calls.comparison(tf.less),
    "LessEqual": calls.comparison(tf.less_equal),
    "LogicalAnd": calls.logical(tf.logical_and),
    "LogicalOr": calls.logical(tf.logical_or),
    "LogicalXor": calls.logical(tf.math.logical_xor),
    "Where": calls.where,
    "Matmul": calls.matmul,
    "Dot": calls.matmul,
    "Einsum": lambda op, dtype, *x: additions.Einsum(op.subscripts)(list(x)),
    "Tensordot": lambda op, dtype, x1, x2: tf.tensordot(x1, x2, op.axes),
    # Reductions
    "Sum": calls.reduction(tf.reduce_sum),
    "Mean": calls.reduction(tf.reduce_mean),
    "Prod": calls.reduction(tf.reduce_prod),
    "Std": calls.reduction(tf.math.reduce_std),
    "Var": calls.reduction(tf.math.reduce_variance),
    "Logsumexp": calls.reduction(tf.reduce_logsumexp),
    "Max": calls.extreme(tf.reduce_max),
    "Min": calls.extreme(tf.reduce_min),
    "Amax": calls.extreme(tf.reduce_max),
    "Amin": calls.extreme(tf.reduce_min),
    "Any": calls.reduction(tf.reduce_any),
    "All": calls.reduction(tf.reduce_all),
    "Argmax": calls.argument(tf.argmax),
    "Argmin": calls.argument(tf.argmin),
    "Cumsum": calls.cumulative(tf.cumsum),
    "Cumprod": calls.cumulative(tf.math.cumprod),
    "TopK": lambda op, dtype, x: tuple(tf.math.top_k(x, op.k, op.sorted)),
    # Shape
    "Reshape": lambda op, dtype, x: tf.reshape(x, op.newshape),
    "Ravel": lambda op, dtype, x: tf.reshape(x, [-1]),
    "Transpose": lambda op, dtype, x: calls.permuted(np.transpose, x, op.axes),
    "Swapaxes": lambda op, dtype, x: calls.permuted(np.swapaxes, x, op.axis1, op.axis2),
    "Moveaxis": lambda op, dtype, x: calls.permuted(np.moveaxis, x, op.source, op.destination),
    "ExpandDims": lambda op, dtype, x: tf.expand_dims(x, op.axis),
    "Squeeze": lambda op, dtype, x: tf.squeeze(x, None if op.axis is None else calls.axes(op, x)),
    "BroadcastTo": lambda op, dtype, x: tf.broadcast_to(x, op.shape),
    "Concatenate": lambda op, dtype, xs: tf.concat([calls.cast(x, dtype) for x in xs], op.axis),
    "Stack": lambda op, dtype, x: tf.stack([calls.cast(value, dtype) for value in x], op.axis),
    "Split": calls.split,
    "Unstack": lambda op, dtype, x: tf.unstack(x, op.num, op.axis),
    "Tile": calls.tile,
    "Repeat": calls.repeat,
    "Flip": lambda op, dtype, x: tf.reverse(x, calls.axes(op, x)),
    "Roll": lambda op, dtype, x: tf.roll(x, op.shift, op.axis),
    "Pad": calls.pad,
    "Take": calls.take,
    "GetItem": calls.get_item,
    "Slice": lambda op, dtype, inputs, start_indices: tf.slice(inputs, start_indices, op.shape),
    # Pictures and networks
    "OneHot": lambda op, dtype, x: tf.one_hot(x, op.num_classes, axis=op.axis, dtype=dtype),
    "Normalize": calls.normalize,
    "Conv": calls.conv,
    "MaxPool": calls.pool(tf.nn.max_pool),
    "AveragePool": calls.pool(tf.nn.avg_pool),
    "Resize": calls.resize,
    "RGBToGrayscale": lambda op, dtype, images: tf.image.rgb_to_grayscale(images),
    "DepthToSpace": lambda op, dtype, x: tf.nn.depth_to_space(x, op.block_size),
    "SpaceToDepth": lambda op, dtype, x: tf.nn.space_to_depth(x, op.block_size),
}
"""By the name of the class in Keras 3."""
