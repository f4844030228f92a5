"""Structures that a model may have: wrappers, submodels, shared layers, odd tensors and names."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer import repair
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.saving import recipe_of

layers = tf_keras.layers
RNG = np.random.default_rng(8)
IMAGES = RNG.normal(size=(48, 10, 10, 3)).astype("f")

pytestmark = pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")


class Block(layers.Layer):
    """A user's layer of layers."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.layers = [layers.Conv2D(4, 3, name="inner")]

    def call(self, x):
        return self.layers[0](x)


class Subclassed(tf_keras.Model):
    """A model without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = layers.Conv2D(4, 3, name="inner")

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {"name": self.name}


OPAQUE = {
    "TimeDistributed": (layers.TimeDistributed(layers.Flatten(), name="odd"), (4, 3, 3, 2), []),
    "TimeDistributed of weights": (
        layers.TimeDistributed(layers.Dense(5, name="inner"), name="odd"),
        (4, 6),
        ["odd/inner"],
    ),
    "Bidirectional": (
        layers.Bidirectional(layers.LSTM(4, name="inner"), name="odd"),
        (6, 5),
        ["odd/forward_inner", "odd/backward_inner"],
    ),
    "a user's layer of layers": (Block(name="odd"), (10, 10, 3), ["odd/inner"]),
    "a subclassed model": (Subclassed(name="odd"), (10, 10, 3), ["odd/inner"]),
}


@pytest.mark.parametrize("kind", OPAQUE)
def test_what_has_layers_inside_but_no_graph_stays_float_as_a_whole(kind):
    opaque, shape, inside = OPAQUE[kind]
    layer = type(opaque).from_config(opaque.get_config())
    x = tf_keras.Input(shape)
    y = layers.Dense(8, activation="relu", name="hidden")(layers.Flatten()(layer(x)))
    model = tf_keras.Model(x, layers.Dense(2, name="head")(y))
    data = RNG.normal(size=(48, *shape)).astype("f")
    binary = hk.binarize(model, data, repair=False)
    assert list(hk.codes(binary)) == ["hidden"]
    assert set(recipe_of(binary).skipped) == {*inside, "head"}
    for old, new in zip(layer.get_weights(), binary.get_layer("odd").get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    a, b = model.predict(data, verbose=0), binary.predict(data, verbose=0)
    assert np.square(a - b).mean() < 0.6 * a.var()


def test_repair_tunes_a_network_with_a_wrapper_in_it(monkeypatch):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 256)
    x = tf_keras.Input((6, 5))
    y = layers.Bidirectional(layers.LSTM(4))(x)
    y = layers.Dense(16, activation="relu", name="hidden")(y)
    model = tf_keras.Model(x, layers.Dense(2)(y))
    binary = hk.binarize(model, RNG.normal(size=(64, 6, 5)).astype("f"))
    assert recipe_of(binary).repair is not None


def test_a_layer_inside_a_wrapper_and_outside_is_refused_and_the_cure_works():
    shared = layers.Dense(8, name="shared")
    data = RNG.normal(size=(48, 4, 8)).astype("f")
    x = tf_keras.Input((4, 8))
    y = layers.TimeDistributed(shared, name="wrap")(x)
    y = layers.Dense(6, name="hidden")(layers.Flatten()(shared(y)))
    with pytest.raises(HashBWNError, match=r"'shared' belongs to 'wrap' and to"):
        hk.binarize(tf_keras.Model(x, layers.Dense(2)(y)), data, repair=False)
    own = layers.Dense(8, name="own")
    y = layers.TimeDistributed(shared, name="wrap")(x)
    y = layers.Dense(6, name="hidden")(layers.Flatten()(own(y)))
    model = tf_keras.Model(x, layers.Dense(2)(y))
    own.set_weights(shared.get_weights())
    assert "hidden" in hk.codes(hk.binarize(model, data, repair=False))


@pytest.mark.parametrize("chosen", [["weighted"], ["other"]])
def test_an_activation_with_weights_of_its_own_is_copied_with_them(chosen):
    x = tf_keras.Input((10, 10, 3))
    activation = layers.PReLU(shared_axes=[1, 2], name="prelu")
    y = layers.Conv2D(8, 3, activation=activation, use_bias=False, name="weighted")(x)
    y = layers.Conv2D(8, 3, name="other")(y)
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    activation.set_weights([RNG.uniform(-2, 2, (1, 1, 8))])
    binary = hk.binarize(model, IMAGES, filters=chosen, repair=False)
    found = binary.get_layer("weighted")
    np.testing.assert_array_equal(found.activation.get_weights()[0], activation.get_weights()[0])
    assert found.activation is not activation
    a, b = model.predict(IMAGES, verbose=0), binary.predict(IMAGES, verbose=0)
    assert np.square(a - b).mean() < 0.6 * a.var()


def test_a_layer_of_two_submodels_stays_one_layer():
    shared = layers.Conv2D(6, 3, padding="same", name="shared")

    def submodel(name):
        x = tf_keras.Input((10, 10, 3))
        return tf_keras.Model(x, shared(x), name=name)

    x = tf_keras.Input((10, 10, 3))
    y = layers.Add()([submodel("a")(x), submodel("b")(x * 0.5)])
    y = layers.Conv2D(6, 3, name="behind")(y)
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    binary = hk.binarize(model, IMAGES, filters="shared|behind", repair=False)
    a, b = (binary.get_layer(name).get_layer("shared") for name in "ab")
    assert a is b
    assert set(hk.codes(binary)) == {"a/shared", "behind"}
    assert len(binary.weights) == len(model.weights)
    found, wanted = binary.predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0)
    assert np.square(found - wanted).mean() < 0.7 * wanted.var()


def clashing(name):
    """A layer of that name beside a model ``b`` with a layer ``c``."""
    tf_keras.utils.set_random_seed(0)
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(8, 3, name="first")(x)
    y = layers.Conv2D(8, 3, activation="relu", name=name)(y)
    inside = [layers.Input((6, 6, 8)), layers.Conv2D(8, 3, name="c")]
    y = tf_keras.Sequential(inside, name="b")(y)
    return tf_keras.Model(x, layers.Dense(2, name="head")(layers.Flatten()(y)))


def test_layers_whose_labels_clash_are_told_apart(monkeypatch):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 128)
    found = {}
    for name in ("other", "b/c"):
        model = clashing(name)
        binary = hk.binarize(model, IMAGES, seed=1)
        found[name] = binary
        report = hk.report(model, binary, IMAGES)
        rows = {layer.name: layer for layer in report.layers if layer.binary_weights}
        assert set(rows) == set(hk.codes(binary)) == set(recipe_of(binary).layers)
    assert set(hk.codes(found["other"])) == {"other", "b/c"}
    assert set(hk.codes(found["b/c"])) == {"b/c", "b/c~2"}
    for a, b in (("other", "b/c"), ("b/c", "b/c~2")):
        one, two = (hk.codes(m)[n] for m, n in ((found["other"], a), (found["b/c"], b)))
        assert np.mean(one.codes == two.codes) > 0.9  # the seeds of layers go by their labels


def test_a_label_with_a_number_can_be_chosen_alone():
    model = clashing("b/c")
    binary = hk.binarize(model, IMAGES, filters=["b/c~2"], repair=False)
    assert isinstance(binary.get_layer("b").get_layer("c"), hk.HashBinaryConv2D)
    assert not isinstance(binary.get_layer("b/c"), hk.HashBinaryConv2D)


def test_losses_and_metrics_of_the_model_and_tensors_without_axes_pass(monkeypatch):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 128)
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(6, 3, name="middle")(layers.Conv2D(4, 3)(x))
    scale = tf.reduce_mean(tf.abs(y))
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(y / scale)))
    model.add_loss(tf.reduce_mean(y))
    model.add_metric(tf.reduce_max(y), name="largest")
    binary = hk.binarize(model, IMAGES)
    assert list(hk.codes(binary)) == ["middle"]
    assert len(binary.losses) == len(model.losses) == 1


@pytest.mark.parametrize("kind", ["integers", "booleans", "input passed through", "scalar"])
def test_outputs_that_have_no_distance_are_left_out_of_the_repair(monkeypatch, kind):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 256)
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(8, 3, name="middle")(layers.Conv2D(8, 3, activation="relu")(x))
    z = layers.Dense(3)(layers.Flatten()(layers.ReLU()(y)))
    outputs = {
        "integers": tf.argmax(z, -1),
        "booleans": z > 0,
        "input passed through": [z, x],
        "scalar": [z, tf.reduce_mean(z)],
    }[kind]
    model = tf_keras.Model(x, outputs)
    binary = hk.binarize(model, IMAGES)
    repaired = recipe_of(binary).repair
    assert repaired is not None and np.isfinite([repaired.error_before, repaired.error_after]).all()
    found = [np.asarray(v).dtype for v in tf.nest.flatten(binary(IMAGES))]
    assert found == [np.asarray(v).dtype for v in tf.nest.flatten(model(IMAGES))]


def test_batch_norm_over_several_axes_is_left_as_it_is():
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(8, 3, name="middle", use_bias=False)(layers.Conv2D(8, 3)(x))
    norm = layers.BatchNormalization(axis=[1, 2, 3], momentum=0.0)
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(norm(y))))
    model(IMAGES, training=True)
    binary = hk.binarize(model, IMAGES, repair=False)
    found = binary.get_layer(norm.name)
    for a, b in zip(norm.get_weights(), found.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert binary.get_layer("middle").use_bias  # nothing else takes the mean


def test_batch_norm_of_another_axis_than_the_channels_takes_no_mean():
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(8, 3, name="middle", use_bias=False)(layers.Conv2D(8, 3)(x))
    norm = layers.BatchNormalization(axis=1, momentum=0.0)
    model = tf_keras.Model(x, layers.Dense(2)(layers.Flatten()(norm(y))))
    model(IMAGES, training=True)
    binary = hk.binarize(model, IMAGES, repair=False)
    assert binary.get_layer("middle").use_bias
    a, b = model.predict(IMAGES, verbose=0), binary.predict(IMAGES, verbose=0)
    assert np.square(a - b).mean() < 0.6 * a.var()


def test_float64_is_refused_by_name_and_the_cure_works():
    def model(dtype):
        x = tf_keras.Input((10, 10, 3), dtype=dtype)
        y = layers.Conv2D(4, 3, dtype=dtype, name="middle")(layers.Conv2D(4, 3, dtype=dtype)(x))
        return tf_keras.Model(x, layers.Dense(2, dtype=dtype)(layers.Flatten(dtype=dtype)(y)))

    double, single = model("float64"), model("float32")
    with pytest.raises(HashBWNError, match=r"'conv2d.*' computes in float64"):
        hk.binarize(double, IMAGES, repair=False)
    single.set_weights(double.get_weights())
    assert list(hk.codes(hk.binarize(single, IMAGES, repair=False))) == ["middle"]


def test_masks_reach_the_layers_behind():
    x = tf_keras.Input((7,), dtype="int32")
    y = layers.LSTM(6)(layers.Embedding(11, 5, mask_zero=True)(x))
    y = layers.Dense(16, activation="relu", name="hidden")(y)
    model = tf_keras.Model(x, layers.Dense(2)(y))
    words = RNG.integers(0, 11, (64, 7), dtype=np.int32) * (RNG.random((64, 1)) < 0.8)
    words[:, 4:] = 0
    binary = hk.binarize(model, words.astype(np.int32), repair=False)
    # The bias makes up for the mean exactly, if the pass saw what the model sees.
    a, b = (tf_keras.Model(m.input, m.get_layer("hidden").input)(words) for m in (model, binary))
    np.testing.assert_array_equal(a, b)
    inner = [
        tf_keras.activations.linear(m.get_layer("hidden").bias)
        + tf.matmul(h, _kernel(m.get_layer("hidden")))
        for m, h in ((model, a), (binary, b))
    ]
    np.testing.assert_allclose(*(np.mean(v, axis=0) for v in inner), atol=1e-4)


def _kernel(layer):
    found = hk.layers.binary_kernels(layer)
    return found[0].values() if found else layer.kernel


@pytest.mark.parametrize("limit", [2**30, 0])
def test_inputs_that_are_strings_or_integers_are_carried_along(limit):
    words = tf_keras.Input((), dtype=tf.string, name="words")
    image = tf_keras.Input((10, 10, 3), dtype="uint8", name="image")
    known = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")(words)
    y = layers.Conv2D(6, 3, name="first")(layers.Rescaling(1 / 255)(image))
    y = layers.Concatenate()([layers.Flatten()(layers.Conv2D(6, 3, name="middle")(y)), known])
    model = tf_keras.Model([words, image], layers.Dense(2)(y))
    data = [np.array(["a", "b", "c"] * 16), RNG.integers(0, 256, (48, 10, 10, 3), dtype=np.uint8)]
    binary = hk.binarize(model, data, repair=False, memory_limit=limit)
    assert list(hk.codes(binary)) == ["middle"]


def test_repair_keeps_to_a_fixed_batch(monkeypatch):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 128)
    x = tf_keras.Input(batch_shape=(16, 10, 10, 3))
    y = layers.Conv2D(6, 3, name="middle")(layers.Conv2D(6, 3, activation="relu")(x))
    y = layers.Reshape((-1,))(y) + tf.random.normal((16, 1), seed=1) * 0  # takes no other batch
    model = tf_keras.Model(x, layers.Dense(2)(tf.ensure_shape(y, (16, 216))))
    binary = hk.binarize(model, IMAGES)
    repaired = recipe_of(binary).repair
    assert repaired is not None and np.isfinite(repaired.error_after)


def test_images_of_several_shapes_are_repaired_on_those_of_the_commonest(monkeypatch):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 128)
    x = tf_keras.Input((None, None, 3))
    y = layers.Conv2D(6, 3, name="middle")(layers.Conv2D(6, 3, activation="relu")(x))
    model = tf_keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(y)))
    binary = hk.binarize(model, [IMAGES, IMAGES[:8, :7]])
    repaired = recipe_of(binary).repair
    assert repaired is not None and np.isfinite(repaired.error_after)
