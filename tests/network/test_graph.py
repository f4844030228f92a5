"""Taking models apart and rebuilding them."""

import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.labels import flat_layers
from hashbwn_keras.network.rebuild import clone, same_layer

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
