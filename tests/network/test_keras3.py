"""Models of Keras 3 rebuilt on Keras 2: structure, layers, names, files, errors."""

import keras
import numpy as np
import pytest
import tf_keras
from hypothesis import given, settings, strategies as st

import hashbwn_keras as hk
from hashbwn_keras.network.keras3 import additions

L = keras.layers
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _fresh_keras3():
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def outputs(model, inputs):
    return keras.tree.flatten(model.predict(inputs, verbose=0))


def randomise(model):
    """Give all weights values, so that no gain is 1 and no offset 0."""
    for i, weight in enumerate(model.weights):
        values = np.abs(numbers(weight.shape, seed=i)) * 0.3 + 0.1
        weight.assign(values.astype(weight.dtype))


def check(model, inputs):
    """Rebuild and compare names, weights and outputs; return the rebuilt model."""
    randomise(model)
    rebuilt = hk.to_keras2(model)
    assert isinstance(rebuilt, tf_keras.Model) and rebuilt.name == model.name
    names = {layer.name for layer in rebuilt.layers}
    assert {layer.name for layer in model.layers} <= names
    for wanted, found in zip(outputs(model, inputs), outputs(rebuilt, inputs), strict=True):
        assert wanted.shape == found.shape
        assert wanted.dtype == found.dtype
        np.testing.assert_allclose(found, wanted, atol=TOLERANCE * max(1, np.abs(wanted).max()))
    return rebuilt


IMAGE, SEQUENCE, VECTOR = (9, 8, 6), (7, 6), (6,)
LAYERS = {
    # name: (layer, shape of its input)
    "Dense": (lambda: L.Dense(4, activation="gelu"), VECTOR),
    "EinsumDense": (lambda: L.EinsumDense("abc,cd->abd", (None, 5), bias_axes="d"), SEQUENCE),
    "Conv1D": (lambda: L.Conv1D(4, 3, padding="causal"), SEQUENCE),
    "Conv2D": (lambda: L.Conv2D(4, (3, 2), strides=2, padding="same"), IMAGE),
    "Conv2D grouped": (lambda: L.Conv2D(4, 3, groups=2, dilation_rate=2), IMAGE),
    "Conv2DTranspose": (lambda: L.Conv2DTranspose(4, 3, strides=2, padding="same"), IMAGE),
    "DepthwiseConv2D": (lambda: L.DepthwiseConv2D(3, strides=2, depth_multiplier=2), IMAGE),
    "SeparableConv2D": (lambda: L.SeparableConv2D(5, 3, depth_multiplier=2), IMAGE),
    "SeparableConv1D": (lambda: L.SeparableConv1D(5, 3), SEQUENCE),
    "BatchNormalization": (lambda: L.BatchNormalization(epsilon=1e-2), IMAGE),
    "BatchNormalization axis 1": (lambda: L.BatchNormalization(axis=1, scale=False), IMAGE),
    "LayerNormalization": (lambda: L.LayerNormalization(epsilon=1e-2), SEQUENCE),
    "GroupNormalization": (lambda: L.GroupNormalization(3), IMAGE),
    "UnitNormalization": (lambda: L.UnitNormalization(), VECTOR),
    "RMSNormalization": (lambda: L.RMSNormalization(epsilon=1e-2), SEQUENCE),
    "LeakyReLU": (lambda: L.LeakyReLU(negative_slope=0.1), VECTOR),
    "PReLU": (lambda: L.PReLU(shared_axes=[1, 2]), IMAGE),
    "ELU": (lambda: L.ELU(alpha=0.3), VECTOR),
    "ReLU": (lambda: L.ReLU(max_value=1.0, negative_slope=0.1, threshold=0.2), VECTOR),
    "Softmax": (lambda: L.Softmax(axis=1), SEQUENCE),
    "MaxPooling2D": (lambda: L.MaxPooling2D(3, strides=2, padding="same"), IMAGE),
    "AveragePooling2D": (lambda: L.AveragePooling2D(3, strides=2, padding="same"), IMAGE),
    "AveragePooling1D": (lambda: L.AveragePooling1D(2), SEQUENCE),
    "GlobalMaxPooling2D": (lambda: L.GlobalMaxPooling2D(keepdims=True), IMAGE),
    "GlobalAveragePooling1D": (lambda: L.GlobalAveragePooling1D(), SEQUENCE),
    "UpSampling2D": (lambda: L.UpSampling2D((2, 3), interpolation="bilinear"), IMAGE),
    "ZeroPadding2D": (lambda: L.ZeroPadding2D(((1, 2), (0, 3))), IMAGE),
    "Cropping2D": (lambda: L.Cropping2D(((1, 2), (0, 3))), IMAGE),
    "Flatten": (lambda: L.Flatten(), IMAGE),
    "Reshape": (lambda: L.Reshape((-1, 3)), IMAGE),
    "Permute": (lambda: L.Permute((2, 1)), SEQUENCE),
    "RepeatVector": (lambda: L.RepeatVector(3), VECTOR),
    "Dropout": (lambda: L.Dropout(0.5, seed=3), VECTOR),
    "SpatialDropout2D": (lambda: L.SpatialDropout2D(0.5), IMAGE),
    "GaussianNoise": (lambda: L.GaussianNoise(0.5), VECTOR),
    "Identity": (lambda: L.Identity(), VECTOR),
    "Rescaling": (lambda: L.Rescaling([1.0, 2, 3, 4, 5, 6], offset=1.0), IMAGE),
    "Normalization": (lambda: L.Normalization(mean=[1.0] * 6, variance=[2.0] * 6), IMAGE),
    "Normalization inverse": (lambda: L.Normalization(mean=3, variance=2, invert=True), VECTOR),
    "Resizing": (lambda: L.Resizing(5, 13), IMAGE),
    "Resizing cropped": (lambda: L.Resizing(4, 4, crop_to_aspect_ratio=True), IMAGE),
    "CenterCrop": (lambda: L.CenterCrop(4, 5), IMAGE),
    "RandomFlip": (lambda: L.RandomFlip("horizontal"), IMAGE),
    "RandomRotation": (lambda: L.RandomRotation(0.2), IMAGE),
    "RandomHue": (lambda: L.RandomHue(0.2), (9, 8, 3)),
    "LSTM": (lambda: L.LSTM(4, return_sequences=True), SEQUENCE),
    "GRU": (lambda: L.GRU(4), SEQUENCE),
    "SimpleRNN": (lambda: L.SimpleRNN(4), SEQUENCE),
    "Bidirectional": (lambda: L.Bidirectional(L.LSTM(4), merge_mode="sum"), SEQUENCE),
    "RNN of cells": (lambda: L.RNN([L.LSTMCell(4), L.GRUCell(3)]), SEQUENCE),
    "TimeDistributed": (lambda: L.TimeDistributed(L.Dense(4)), SEQUENCE),
    "regularised": (
        lambda: L.Dense(
            4,
            kernel_regularizer=keras.regularizers.L1L2(0.1, 0.2),
            kernel_constraint="max_norm",
            kernel_initializer=keras.initializers.Constant(0.5),
        ),
        VECTOR,
    ),
    "activation layer": (lambda: L.Dense(4, activation=L.LeakyReLU(negative_slope=0.3)), VECTOR),
}


@pytest.mark.filterwarnings("ignore:.*does not do anything:UserWarning")
@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_computes_the_same(name):
    make, shape = LAYERS[name]
    check(keras.Sequential([L.Input(shape), make()], name="net"), numbers((4, *shape)))


ACTIVATIONS = sorted({*additions.ACTIVATIONS, "silu", "relu6", "leaky_relu", "gelu", "mish"})
ACTIVATIONS += ["log_softmax", "softmax", "selu", "exponential", "hard_swish", "linear", "softsign"]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_computes_the_same_and_survives_files(name, tmp_path):
    model = keras.Sequential([L.Input((8,)), L.Dense(8, activation=name), L.Activation(name)])
    x = 4 * numbers((16, 8))
    rebuilt = check(model, x)
    for suffix in (".keras", ".h5"):
        loaded = hk.load_model(hk.save_model(rebuilt, tmp_path / f"m{suffix}"))
        np.testing.assert_array_equal(loaded.predict(x, verbose=0), rebuilt.predict(x, verbose=0))


def test_two_tensors_into_one_layer():
    a, b = L.Input((4, 3), name="a"), L.Input((4, 3), name="b")
    kinds = (L.Add, L.Subtract, L.Multiply, L.Average, L.Maximum, L.Minimum, L.Concatenate)
    results = [kind()([a, b]) for kind in kinds] + [L.Dot(axes=2, normalize=True)([a, b])]
    results += [L.Attention(use_scale=True)([a, b]), L.MultiHeadAttention(2, 3)(a, b)]
    check(keras.Model([a, b], results), [numbers((2, 4, 3)), numbers((2, 4, 3), 1)])


def test_nested_models_shared_layers_and_constants():
    shared = L.Dense(6, activation="relu", name="shared")
    inner = keras.Sequential([L.Input((6,)), shared, L.Dense(6, name="own")], name="inner")
    x = L.Input((6,), name="x")
    y = inner(shared(x)) + keras.ops.convert_to_tensor(np.arange(6, dtype=np.float32))
    deep_input = L.Input((6,))
    deep = keras.Model(deep_input, [inner(deep_input), shared(deep_input)], name="deep")
    first, second = deep(y)
    model = keras.Model(x, {"sum": 1 - first, "other": L.Activation("tanh")(second)}, name="outer")
    rebuilt = check(model, numbers((3, 6)))
    assert rebuilt.get_layer("inner").get_layer("shared") is rebuilt.get_layer("shared")
    assert rebuilt.get_layer("deep").get_layer("inner") is rebuilt.get_layer("inner")
    assert set(rebuilt.predict(numbers((3, 6)), verbose=0)) == {"sum", "other"}
    wanted = {weight.path: weight.numpy() for weight in model.weights}
    assert len(rebuilt.weights) == len(wanted)
    for weight in rebuilt.weights:
        assert any(np.array_equal(weight.numpy(), value) for value in wanted.values())


def test_inputs_by_name_and_of_other_types():
    inputs = {
        "picture": L.Input((None, None, 3), name="picture", dtype="uint8"),
        "words": L.Input((5,), name="words", dtype="int32"),
    }
    features = L.GlobalAveragePooling2D()(L.Conv2D(4, 3)(L.Rescaling(1 / 255)(inputs["picture"])))
    words = L.GlobalAveragePooling1D()(L.Embedding(10, 4, mask_zero=True)(inputs["words"]))
    model = keras.Model(inputs, L.Dense(2)(features + words))
    x = {
        "picture": np.random.default_rng(0).integers(0, 256, (3, 12, 10, 3), np.uint8),
        "words": np.random.default_rng(0).integers(0, 10, (3, 5), np.int32),
    }
    rebuilt = check(model, x)
    assert [tensor.dtype.name for tensor in rebuilt.inputs] == ["uint8", "int32"]
    assert rebuilt.inputs[0].shape == (None, None, None, 3)


def test_a_fixed_batch_stays_fixed():
    model = keras.Sequential([L.Input(batch_shape=(2, 4)), L.Dense(3)])
    assert check(model, numbers((2, 4))).inputs[0].shape == (2, 4)


def test_adapted_layers_keep_what_they_have_learnt():
    x = numbers((32, 4)) * 5 + 3
    normalization = L.Normalization()
    normalization.adapt(x)
    model = keras.Sequential([L.Input((4,)), normalization, L.Dense(3)])
    rebuilt = hk.to_keras2(model)
    np.testing.assert_allclose(outputs(rebuilt, x)[0], outputs(model, x)[0], atol=1e-5)
    again = type(rebuilt).from_config(rebuilt.get_config())
    again.set_weights(rebuilt.get_weights())
    np.testing.assert_array_equal(outputs(again, x)[0], outputs(rebuilt, x)[0])


def test_frozen_layers_stay_frozen_and_float16_stays_float16():
    model = keras.Sequential(
        [L.Input((4,)), L.Dense(3, trainable=False, name="a"), L.Dense(2, dtype="mixed_float16")]
    )
    rebuilt = hk.to_keras2(model)
    assert [len(layer.trainable_weights) for layer in rebuilt.layers] == [0, 2]
    assert [layer.compute_dtype for layer in rebuilt.layers] == ["float32", "float16"]


@settings(max_examples=10, deadline=None)
@given(st.data())
def test_random_graphs(data):
    """Layers and operations put together in any order."""
    keras.backend.clear_session()
    tensors = [L.Input((6, 6, 4)) for _ in range(data.draw(st.integers(1, 2)))]
    inputs = list(tensors)
    steps = [
        lambda x, y: L.Conv2D(4, 3, padding="same", activation="hard_silu")(x),
        lambda x, y: L.BatchNormalization()(x),
        lambda x, y: L.Add()([x, y]),
        lambda x, y: x * y + 1.0,
        lambda x, y: keras.ops.relu6(x) - keras.ops.mean(y, axis=(1, 2), keepdims=True),
        lambda x, y: keras.ops.flip(x, axis=1),
        lambda x, y: keras.ops.where(x > y, x, 0.5 * y),
        lambda x, y: L.DepthwiseConv2D(3, padding="same")(x),
    ]
    for _ in range(data.draw(st.integers(1, 6))):
        x, y = (data.draw(st.sampled_from(tensors)) for _ in range(2))
        tensors.append(data.draw(st.sampled_from(steps))(x, y))
    used = keras.Model(inputs, [L.Flatten()(tensors[-1]), L.Flatten()(tensors[0])])
    check(used, [numbers((2, 6, 6, 4), seed) for seed in range(len(inputs))])


class Scale(L.Layer):
    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.gain = self.add_weight(shape=(shape[-1],), name="gain", initializer="ones")

    def call(self, x):
        return x * self.gain * self.start

    def get_config(self):
        return {**super().get_config(), "start": self.start}


class Scale2(tf_keras.layers.Layer):
    def __init__(self, start=1.0, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def build(self, shape):
        self.gain = self.add_weight("gain", (shape[-1],))

    def call(self, x):
        return x * self.gain * self.start


def with_own_layer():
    x = L.Input((4,), name="x")
    y = L.Dense(3, name="before")(x)
    return keras.Model(x, L.Dense(2)(Scale(2.5, name="scale")(y)))


def test_own_layers_are_named_and_every_cure_works():
    model = with_own_layer()
    randomise(model)
    x = numbers((5, 4))
    with pytest.raises(hk.HashBWNError, match=r"'scale' is a .*\.Scale, .*custom_.*cut") as error:
        hk.to_keras2(model)
    assert "\n" not in str(error.value)
    given = hk.to_keras2(model, custom_objects={"Scale": Scale2})
    np.testing.assert_allclose(outputs(given, x)[0], outputs(model, x)[0], atol=1e-4)
    cut = keras.Model(model.input, model.get_layer("before").output)
    np.testing.assert_allclose(outputs(hk.to_keras2(cut), x)[0], outputs(cut, x)[0], atol=1e-5)
    with tf_keras.utils.custom_object_scope({"Scale": Scale2}):
        registered = hk.to_keras2(model)
    np.testing.assert_array_equal(outputs(registered, x)[0], outputs(given, x)[0])


def test_own_functions_are_named_and_the_cure_works():
    def double(x):
        return 2 * x

    model = keras.Sequential([L.Input((4,)), L.Dense(3, activation=double, name="dense")])
    with pytest.raises(hk.HashBWNError, match="'dense' has the activation double"):
        hk.to_keras2(model)
    x = numbers((5, 4))
    rebuilt = hk.to_keras2(model, custom_objects={"double": double})
    np.testing.assert_allclose(outputs(rebuilt, x)[0], outputs(model, x)[0], atol=1e-5)


def test_own_regularizers_are_named_and_the_cure_works():
    class Mine(keras.regularizers.Regularizer):
        def __call__(self, x):
            return keras.ops.sum(x)

        def get_config(self):
            return {}

    class Mine2(tf_keras.regularizers.Regularizer):
        pass

    layer = L.Dense(3, kernel_regularizer=Mine(), name="dense")
    model = keras.Sequential([L.Input((4,)), layer])
    with pytest.raises(hk.HashBWNError, match="'dense' has kernel_regularizer=Mine"):
        hk.to_keras2(model)
    rebuilt = hk.to_keras2(model, custom_objects={"Mine": Mine2})
    assert isinstance(rebuilt.layers[0].kernel_regularizer, Mine2)
    layer.kernel_regularizer = None
    assert hk.to_keras2(model).layers[0].kernel_regularizer is None


def test_own_initializers_are_left_out_because_the_weights_have_their_values():
    class Start(keras.initializers.Initializer):
        def __call__(self, shape, dtype=None):
            return keras.ops.ones(shape, dtype)

    model = keras.Sequential([L.Input((4,)), L.Dense(3, kernel_initializer=Start())])
    np.testing.assert_array_equal(hk.to_keras2(model).get_weights()[0], np.ones((4, 3)))


class Subclassed(keras.Model):
    def call(self, x):
        return x


REFUSED = {
    "layer": (L.AdaptiveAveragePooling2D(2), "which Keras 2 does not know"),
    "argument": (L.Resizing(4, 4, pad_to_aspect_ratio=True), "has pad_to_aspect_ratio=True"),
    "operation": (keras.ops.median, "is a Median, which cannot be rebuilt"),
    "argument of an operation": (
        lambda x: keras.ops.image.resize(x, (4, 4), pad_to_aspect_ratio=True),
        "has pad_to_aspect_ratio=True",
    ),
    "nested subclass": (Subclassed(), "has no graph of layers: rebuild it"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_keras_2_lacks_is_one_sentence(name):
    step, sentence = REFUSED[name]
    x = L.Input((8, 8, 3))
    with pytest.raises(hk.HashBWNError, match=sentence) as error:
        hk.to_keras2(keras.Model(x, step(x)))
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`:UserWarning")
def test_quantized_layers_are_refused():
    model = keras.Sequential([L.Input((8,)), L.Dense(4, name="dense")])
    model.quantize("int8")
    with pytest.raises(hk.HashBWNError, match="'dense' is quantized to int8"):
        hk.to_keras2(model)


def test_models_without_a_graph_are_refused_and_the_cures_work():
    unbuilt = keras.Sequential([L.Dense(3)], name="late")
    with pytest.raises(hk.HashBWNError, match=r"'late' has no graph of layers: .* model\.build"):
        hk.to_keras2(unbuilt)
    unbuilt.build((None, 4))
    assert hk.to_keras2(unbuilt).output_shape == (None, 3)
    subclassed = Subclassed(name="mine")
    with pytest.raises(hk.HashBWNError, match="'mine' has no graph of layers: rebuild it"):
        hk.to_keras2(subclassed)
    x = L.Input((4,))
    assert hk.to_keras2(keras.Model(x, L.Dense(2)(x))).output_shape == (None, 2)


def test_lambda_layers_keep_their_function():
    model = keras.Sequential([L.Input((4,)), L.Lambda(lambda x, by: x * by, arguments={"by": 3.0})])
    check(model, numbers((5, 4)))


def test_models_of_keras_2_and_other_things_are_returned_as_they_are():
    model = tf_keras.Sequential([tf_keras.layers.Input((4,)), tf_keras.layers.Dense(2)])
    assert hk.to_keras2(model) is model
    assert hk.to_keras2("nix") == "nix"
