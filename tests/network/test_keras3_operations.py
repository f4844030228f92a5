"""Every operation of ``keras.ops`` that is in the table, on Keras 2 and through files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import hashbwn_keras as hk
from hashbwn_keras.network.keras3 import operations

K = keras.ops
X = (2, 4, 6, 3)
"""Shape of the tensors ``x`` and ``y`` that the operations are called on, ``x`` above 0."""

ONE = {
    "Absolute": lambda x: K.absolute(-x),
    "Negative": K.negative,
    "Sign": lambda x: K.sign(x - 1),
    "Square": K.square,
    "Floor": lambda x: K.floor(3 * x),
    "Ceil": lambda x: K.ceil(3 * x),
    "Sqrt": K.sqrt,
    "Rsqrt": K.rsqrt,
    "Reciprocal": K.reciprocal,
    "Exp": K.exp,
    "Expm1": K.expm1,
    "Log": K.log,
    "Log1p": K.log1p,
    "Log2": K.log2,
    "Log10": K.log10,
    "Sin": K.sin,
    "Cos": K.cos,
    "Tan": K.tan,
    "Arctan": K.arctan,
    "Sinh": K.sinh,
    "Cosh": K.cosh,
    "Erf": K.erf,
    "Isnan": lambda x: K.cast(K.isnan(K.log(x - 1)), "float32"),
    "Isfinite": lambda x: K.cast(K.isfinite(K.log(x - 1)), "float32"),
    "LogicalNot": lambda x: K.logical_not(x > 1),
    "Copy": K.copy,
    "StopGradient": K.stop_gradient,
    "ZerosLike": lambda x: K.zeros_like(x) + x,
    "OnesLike": lambda x: K.ones_like(x) + x,
    "Cast": lambda x: K.cast(3 * x, "int32"),
    "ConvertToTensor": lambda x: K.convert_to_tensor(x),
    "Clip": lambda x: K.clip(x, 0.5, 1),
    "Relu": lambda x: K.relu(x - 1),
    "Relu6": lambda x: K.relu6(9 * x - 3),
    "Sigmoid": K.sigmoid,
    "Tanh": K.tanh,
    "Softplus": K.softplus,
    "Softsign": K.softsign,
    "Silu": lambda x: K.silu(x - 1),
    "Selu": lambda x: K.selu(x - 1),
    "HardSigmoid": lambda x: K.hard_sigmoid(9 * x - 9),
    "HardSilu": lambda x: K.hard_silu(9 * x - 9),
    "HardTanh": lambda x: K.hard_tanh(9 * x - 9),
    "LogSigmoid": K.log_sigmoid,
    "SparseSigmoid": lambda x: K.sparse_sigmoid(9 * x - 9),
    "TanhShrink": K.tanh_shrink,
    "LeakyRelu": lambda x: K.leaky_relu(x - 1, 0.3),
    "Celu": lambda x: K.celu(x - 1, 0.3),
    "Glu": lambda x: K.glu(x, axis=1),
    "Elu": lambda x: K.elu(x - 1, 0.3) + K.elu(x - 1),
    "Gelu": lambda x: K.gelu(x - 1, approximate=False) + K.gelu(x - 1),
    "Softmax": lambda x: K.softmax(x, axis=1),
    "LogSoftmax": lambda x: K.log_softmax(x, axis=1),
    "Sum": lambda x: K.sum(x, axis=(1, 2), keepdims=True),
    "Mean": lambda x: K.mean(K.cast(9 * x, "int32"), axis=1),
    "Prod": lambda x: K.prod(x, axis=-1),
    "Std": lambda x: K.std(x, axis=1),
    "Var": lambda x: K.var(x, axis=(1, 3)),
    "Logsumexp": lambda x: K.logsumexp(x, axis=1),
    "Max": lambda x: K.max(x, axis=1, keepdims=True),
    "Min": lambda x: K.min(x, axis=(1, 2)),
    "Amax": lambda x: K.amax(x, axis=1),
    "Amin": lambda x: K.amin(x, axis=1),
    "Any": lambda x: K.any(x > 2, axis=1),
    "All": lambda x: K.all(x > 0.3, axis=1),
    "Argmax": lambda x: K.argmax(x, axis=1),
    "Argmin": lambda x: K.argmin(x, axis=-1),
    "Cumsum": lambda x: K.cumsum(x, axis=2),
    "Cumprod": lambda x: K.cumprod(x, axis=2),
    "TopK": lambda x: K.top_k(x, 2),
    "Reshape": lambda x: K.reshape(x, (-1, 8, 9)),
    "Ravel": lambda x: K.reshape(K.ravel(x), (-1, 72)),
    "Transpose": lambda x: K.transpose(x, (0, 3, 1, 2)),
    "Swapaxes": lambda x: K.swapaxes(x, 1, -1),
    "Moveaxis": lambda x: K.moveaxis(x, 1, 3),
    "ExpandDims": lambda x: K.expand_dims(x, 2),
    "Squeeze": lambda x: K.squeeze(x[:, :1], 1),
    "BroadcastTo": lambda x: K.broadcast_to(K.mean(x, axis=0), (5, *X[1:])) * K.mean(x),
    "Split": lambda x: [*K.split(x, 2, axis=1), *K.split(x, [1, 4], axis=2)],
    "Unstack": lambda x: K.unstack(x, axis=1),
    "Tile": lambda x: K.tile(x, (2, 1)),
    "Repeat": lambda x: K.repeat(x, 2, axis=1),
    "Flip": lambda x: K.flip(x, axis=(1, 2)),
    "Roll": lambda x: K.roll(x, 2, axis=1),
    "Pad": lambda x: [
        K.pad(x, ((0, 0), (1, 2), (0, 0), (0, 1)), constant_values=3),
        K.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), mode="reflect"),
    ],
    "Take": lambda x: K.take(x, [0, -1, 2], axis=1),
    "GetItem": lambda x: x[:, 1:3, ..., -1, None],
    "Slice": lambda x: K.slice(x, (0, 1, 2, 0), (2, 2, 3, 3)),
    "OneHot": lambda x: K.one_hot(K.argmax(x, axis=1), 4),
    "Normalize": lambda x: K.normalize(x, axis=1),
    "Conv": lambda x: K.conv(
        x, np.linspace(-1, 1, 3 * 3 * 3 * 2, dtype="float32").reshape(3, 3, 3, 2), padding="same"
    ),
    "MaxPool": lambda x: K.max_pool(x, 2, padding="same"),
    "AveragePool": lambda x: K.average_pool(x, 2, 1),
    "Resize": lambda x: K.image.resize(x, (5, 9), "bilinear", antialias=True),
    "RGBToGrayscale": K.image.rgb_to_grayscale,
    "Einsum": lambda x: K.einsum("bhwc,bhwd->bcd", x, x),
    "Tensordot": lambda x: K.tensordot(x, np.ones((3, 2), np.float32), 1),
    "Dot": lambda x: [K.dot(x, np.ones(3, "f")), K.dot(x, np.ones((3, 6), "f"))],
}
TWO = {
    "Add": lambda x, y: 1 + (x + y),
    "Subtract": lambda x, y: 1 - (x - y),
    "Multiply": lambda x, y: 2 * (x * y),
    "Divide": lambda x, y: K.divide(y, x),
    "TrueDivide": lambda x, y: y / x,
    "FloorDivide": lambda x, y: y // x,
    "Mod": lambda x, y: y % x,
    "Power": lambda x, y: x**y,
    "Maximum": K.maximum,
    "Minimum": lambda x, y: K.minimum(x, 1),
    "Arctan2": K.arctan2,
    "Equal": lambda x, y: K.equal(K.floor(x), K.cast(x, "int32")),
    "NotEqual": lambda x, y: K.not_equal(x, y),
    "Greater": lambda x, y: x > y,
    "GreaterEqual": lambda x, y: x >= 1,
    "Less": lambda x, y: x < y,
    "LessEqual": lambda x, y: x <= y,
    "LogicalAnd": lambda x, y: K.logical_and(x > y, y > 0),
    "LogicalOr": lambda x, y: K.logical_or(x > y, y > 0),
    "LogicalXor": lambda x, y: K.logical_xor(x > y, y > 0),
    "Where": lambda x, y: K.where(x > y, x, 0),
    "Matmul": lambda x, y: [K.matmul(x, K.swapaxes(y, 2, 3)), K.matmul(x, np.ones((3,), "f"))],
    "Concatenate": lambda x, y: K.concatenate([x, K.cast(y, "int32")], axis=2),
    "Stack": lambda x, y: K.stack([x, y], axis=1),
}


def test_every_operation_of_the_table_is_tried_here():
    elsewhere = {"Abs", "DepthToSpace", "SpaceToDepth"}  # other versions of Keras 3 have those
    assert {*ONE, *TWO} | elsewhere == set(operations._OPERATIONS)


def given_to(name):
    """A model of one operation, and inputs for it."""
    random = np.random.default_rng(0)
    values = [random.uniform(0.2, 2.2, X), random.normal(size=X)]
    tensors = [keras.Input(X[1:], name=f"input_{i}") for i in range(2)]
    given = [tf.constant(value, tf.float32) for value in values]
    if name in ONE:
        return keras.Model(tensors[0], ONE[name](tensors[0])), given[0]
    return keras.Model(tensors, TWO[name](*tensors)), given


@pytest.mark.parametrize("name", [*ONE, *TWO])
def test_every_operation_computes_the_same_and_survives_files(name, tmp_path):
    model, given = given_to(name)
    assert name in {type(operation).__name__ for operation in model.operations}
    rebuilt = hk.to_keras2(model)
    operations_of_model = {operation.name for operation in model.operations}
    assert operations_of_model & {layer.name for layer in rebuilt.layers} > set()
    wanted = model(given)
    loaded = hk.load_model(hk.save_model(rebuilt, tmp_path / "m.keras"))
    for each in (rebuilt, loaded):
        found = each(given)
        pairs = zip(keras.tree.flatten(wanted), keras.tree.flatten(found), strict=True)
        for a, b in pairs:
            assert a.dtype == b.dtype and a.shape == b.shape
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_new_names_of_operations_are_the_same_operations():
    table = operations._OPERATIONS
    x = np.arange(-16, 16, dtype=np.float32).reshape(1, 2, 4, 4)
    np.testing.assert_array_equal(table["Abs"](None, "float32", x), abs(x))
