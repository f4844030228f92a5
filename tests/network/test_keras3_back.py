"""Models of Keras 2 as plain models of Keras 3."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from test_keras3 import ACTIVATIONS, LAYERS, numbers, outputs, randomise
from test_keras3_operations import ONE, TWO, given_to

import hashbwn_keras as hk
from hashbwn_keras.network.keras3.functions import FUNCTIONS

L = keras.layers


def there_and_back(model, inputs):
    rebuilt = hk.to_keras2(model)
    back = hk.to_keras3(rebuilt)
    assert isinstance(back, keras.Model) and back.name == model.name
    for wanted, found in zip(outputs(model, inputs), outputs(back, inputs), strict=True):
        assert wanted.shape == found.shape and wanted.dtype == found.dtype
        np.testing.assert_allclose(found, wanted, atol=1e-5 * max(1, np.abs(wanted).max()))
    return back


@pytest.mark.filterwarnings("ignore:.*does not do anything:UserWarning")
@pytest.mark.parametrize("name", [name for name in LAYERS if name != "RandomHue"])
def test_every_layer_comes_back(name):
    make, shape = LAYERS[name]
    model = keras.Sequential([L.Input(shape), make()], name="net")
    randomise(model)
    back = there_and_back(model, numbers((4, *shape)))
    assert [type(layer) for layer in back.layers] == [type(layer) for layer in model.layers]
    assert [layer.name for layer in back.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_comes_back(name):
    model = keras.Sequential([L.Input((8,)), L.Dense(8, activation=name), L.Activation(name)])
    there_and_back(model, 4 * numbers((16, 8)))


ONE_WAY = {"Cumsum", "Cumprod", "TopK", "Take", "OneHot", "Argmax", "Argmin", "Conv", "MaxPool"}
ONE_WAY |= {"AveragePool", "RGBToGrayscale", "Slice", "BroadcastTo", "Tensordot", "Dot", "Matmul"}
ONE_WAY |= {"ZerosLike", "OnesLike"}


@pytest.mark.parametrize("name", [name for name in [*ONE, *TWO] if name not in ONE_WAY])
def test_most_operations_come_back(name):
    model, given = given_to(name)
    back = hk.to_keras3(hk.to_keras2(model))
    wanted, found = (keras.tree.flatten(each(given)) for each in (model, back))
    for a, b in zip(wanted, found, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-5)


def test_defaults_of_tensorflow_are_not_those_of_keras_3():
    x = tf_keras.Input((6,))
    model = tf_keras.Model(x, tf.nn.gelu(x) + tf.nn.softmax(x) + tf.nn.silu(x))
    data = numbers((5, 6))
    found = hk.to_keras3(model).predict(data, verbose=0)
    np.testing.assert_allclose(found, model.predict(data, verbose=0), atol=1e-6)


def test_a_binary_network_becomes_a_plain_one_that_computes_the_same(tmp_path):
    x = tf_keras.Input((12, 12, 8), name="picture")
    inner_input = tf_keras.Input((10, 10, 16))
    conv = hk.HashBinaryConv2D(16, 3, padding="same", name="conv", use_bias=True)
    inner = tf_keras.Model(inner_input, conv(conv(inner_input)), name="inner")
    y = hk.HashBinarySeparableConv2D(16, 3, name="separable")(x)
    y = tf_keras.layers.BatchNormalization()(inner(y)) * 2.0
    y = hk.HashBinaryDepthwiseConv2D(3, name="depthwise")(y)
    y = tf_keras.layers.Flatten()(y)
    model = tf_keras.Model({"picture": x}, {"out": hk.HashBinaryDense(3, name="dense")(y)})
    plain = hk.to_keras3(model)
    data = {"picture": numbers((5, 12, 12, 8))}
    wanted = model.predict(data, verbose=0)["out"]
    assert {type(layer).__module__.split(".")[0] for layer in plain.layers} == {"keras"}
    for name, found in hk.codes(model).items():
        layer = plain
        for part in name.split("/"):
            layer = layer.get_layer(part)
        kernels = [w.numpy() for w in layer.weights if "kernel" in w.name]
        assert any(np.array_equal(np.where(k >= 0, 1, -1), found.codes) for k in kernels)
    path = tmp_path / "plain.keras"
    plain.save(path)
    for each in (plain, keras.saving.load_model(path)):
        found = each.predict(data, verbose=0)["out"]
        np.testing.assert_allclose(found, wanted, atol=1e-5 * np.abs(wanted).max())
    plain.compile("sgd", "mse")
    plain.fit(data, {"out": wanted}, verbose=0)


def test_functions_are_found_under_the_names_that_tensorflow_has():
    module = {"__operators__": tf.Tensor}
    for symbol in FUNCTIONS:
        head, _, name = symbol.rpartition(".")
        if head in module:
            assert hasattr(tf.Tensor, f"__{name}__"), symbol
        else:
            assert callable(eval(f"tf.{symbol}")), symbol


class Mine(tf_keras.layers.Layer):
    def call(self, x):
        return x


def binary_input():
    return hk.HashBinaryDense(3, input_quantizer="ste_sign", name="dense")


REFUSED = {
    "own layer": (lambda: Mine(name="mine"), "'mine' is a Mine, which Keras 3 does not know"),
    "binary input": (binary_input, "'dense' quantizes its input"),
    "activation": (
        lambda: tf_keras.layers.Dense(3, "hard_sigmoid", name="dense"),
        "'dense' has the activation hard_sigmoid, which Keras 3 lacks",
    ),
    "argument of an operation": (
        lambda: lambda x: tf.matmul(x, x, transpose_b=True),
        "has transpose_b=True, which keras.ops.matmul lacks",
    ),
    "operation": (lambda: tf.math.bessel_i0e, "is tf.math.bessel_i0e, which cannot be rebuilt"),
    "argument": (
        lambda: tf_keras.layers.LSTM(3, time_major=True, name="lstm"),
        "'lstm' has time_major=True",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_3_lacks_is_one_sentence(name):
    make, sentence = REFUSED[name]
    x = tf_keras.Input((4, 4) if name == "argument" else (4,))
    with pytest.raises(hk.HashBWNError, match=sentence) as error:
        hk.to_keras3(tf_keras.Model(x, make()(x)))
    assert "\n" not in str(error.value)


def test_models_without_a_graph_are_refused():
    with pytest.raises(hk.HashBWNError, match="has no graph of Keras 2 layers"):
        hk.to_keras3(tf_keras.Sequential([tf_keras.layers.Dense(3)]))
    with pytest.raises(hk.HashBWNError, match="'nix' has no graph of Keras 2 layers"):
        hk.to_keras3("nix")
