"""Taking models apart and rebuilding them."""

import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.labels import flat_layers
from hashbwn_keras.network.rebuild import clone, copy_of, same_layer

layers = tf_keras.layers


def nested_model() -> tf_keras.Model:
    """A sub-model that is called twice, `a + b` without a layer, two outputs."""
    inside = tf_keras.Sequential(
        [layers.Conv2D(4, 3, padding="same", input_shape=(6, 6, 4)), layers.ReLU()], name="inside"
    )
    x = tf_keras.Input((6, 6, 4))
    once = inside(x)
    twice = inside(once)
    y = layers.GlobalAveragePooling2D()(once + twice)
    return tf_keras.Model(x, [layers.Dense(2, name="one")(y), layers.Dense(3, name="two")(y)])


@pytest.mark.parametrize("build", [awkward.float_model, nested_model])
def test_steps_compute_what_the_model_computes(build):
    model = build()
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(3, *t.shape[1:])).astype("f") for t in model.inputs]
    network = Network.of(model)
    found = network.run(images, network.outputs)
    for a, b in zip(found, tf.nest.flatten(model(images)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("build", [awkward.float_model, nested_model])
def test_clone_computes_the_same_from_new_layers(build):
    model = build()
    copy = clone(model, same_layer)
    copy.set_weights(model.get_weights())
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(3, *t.shape[1:])).astype("f") for t in model.inputs]
    for a, b in zip(tf.nest.flatten(copy(images)), tf.nest.flatten(model(images)), strict=True):
        np.testing.assert_array_equal(a, b)
    old, new = dict(flat_layers(model)), dict(flat_layers(copy))
    assert list(old) == list(new)
    assert not set(map(id, old.values())) & set(map(id, new.values()))


def test_a_layer_called_twice_is_two_steps():
    network = Network.of(nested_model())
    found = {network.labels[layer]: steps for layer, steps in network.calls.items()}
    assert len(found["inside/conv2d"]) == 2


def test_models_without_a_graph_are_refused():
    class Subclassed(tf_keras.Model):
        def call(self, x):
            return x

    with pytest.raises(HashBWNError, match="Sequential or functional"):
        Network.of(Subclassed())
    with pytest.raises(HashBWNError, match="input_shape"):
        Network.of(tf_keras.Sequential([layers.Dense(3)]))
    with pytest.raises(HashBWNError, match="not a Keras 2 model"):
        Network.of("model.h5")


def test_a_keras_3_model_is_named_as_such():
    keras3 = pytest.importorskip("keras")
    if not keras3.__version__.startswith("3."):
        pytest.skip("the package keras is Keras 2 here")
    model = keras3.Sequential([keras3.Input((3,)), keras3.layers.Dense(2)])
    with pytest.raises(HashBWNError, match="Keras 2"):
        Network.of(model)


def test_a_layer_that_cannot_be_rebuilt_is_named():
    class Odd(layers.Layer):
        def __init__(self, width):
            super().__init__(name="odd")
            self.width = width

    x = tf_keras.Input((3,))
    with pytest.raises(HashBWNError, match=r"'odd'.*get_config"):
        clone(tf_keras.Model(x, Odd(object())(x)), same_layer)


def submodel(dtype="float32"):
    """Takes ``left - 2 · right`` of inputs that are named against the alphabet."""
    z = tf_keras.Input((4,), name="z", dtype=dtype)
    a = tf_keras.Input((4,), name="a", dtype=dtype)
    return tf_keras.Model([z, a], layers.Subtract(name="minus")([z, layers.Dense(4)(a)]))


def test_a_submodel_that_is_called_with_a_dict_gets_its_inputs_by_name():
    x = tf_keras.Input((4,))
    inner = submodel()
    model = tf_keras.Model(x, inner({"a": x, "z": 3 * x}))
    network = Network.of(model)
    assert inner in network.submodels
    images = [np.random.default_rng(0).normal(size=(3, 4)).astype("f")]
    np.testing.assert_allclose(
        network.run(images, network.outputs)[0], model(images[0]), rtol=1e-6, atol=1e-6
    )


def test_a_submodel_that_makes_other_tensors_of_its_inputs_is_one_layer():
    x = tf_keras.Input((4,), dtype="int32")
    inner = submodel()
    model = tf_keras.Model(x, inner([x, x]))  # casts them
    network = Network.of(model)
    assert inner in network.layers and not network.submodels
    images = [np.arange(8, dtype="int32").reshape(2, 4)]
    np.testing.assert_allclose(network.run(images, network.outputs)[0], model(images[0]))
    copy = copy_of(network).model
    np.testing.assert_array_equal(copy(images[0]), model(images[0]))


def test_a_functional_model_with_a_call_of_its_own_is_one_layer():
    class Twice(tf_keras.Model):
        def call(self, x, training=None):
            return 2 * super().call(x, training=training)

    x = tf_keras.Input((4,))
    inner = Twice(x, layers.Dense(4)(x))
    network = Network.of(tf_keras.Model(x, inner(x)))
    assert network.layers == [inner]
    with pytest.raises(HashBWNError, match="no graph of layers"):
        Network.of(inner)


def test_networks_of_another_structure_have_no_twins():
    network = Network.of(nested_model())
    again = Network.of(clone(network.model, same_layer))
    twins = network.twins_in(again)
    assert [again.labels[twin] for twin in twins.values()] == [
        network.labels[layer] for layer in twins
    ]
    with pytest.raises(HashBWNError, match="layers"):
        network.twins_in(Network.of(awkward.float_model()))


def test_a_layer_shared_by_submodels_is_one_layer_with_one_label():
    shared = layers.Dense(4, name="shared")

    def inside(name):
        x = tf_keras.Input((4,))
        return tf_keras.Model(x, shared(x), name=name)

    x = tf_keras.Input((4,))
    model = tf_keras.Model(x, inside("a")(x) + inside("b")(x))
    network = Network.of(model)
    assert len(network.calls[shared]) == 2 and network.labels[shared] == "a/shared"
    copy = copy_of(network)
    assert len(copy.model.weights) == 2
    images = np.random.default_rng(0).normal(size=(3, 4)).astype("f")
    np.testing.assert_array_equal(copy.model(images), model(images))
