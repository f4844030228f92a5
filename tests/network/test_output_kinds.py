"""What the outputs of a model are."""

import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.network.outputs import Kind, output_kinds

L = tf_keras.layers
losses = tf_keras.losses


def kind_of(make, loss=None):
    x = L.Input((8, 8, 3))
    model = tf_keras.Model(x, make(x))
    if loss is not None:
        model.compile(loss=loss)
    return output_kinds(model)[0]


def flat(units, activation=None):
    return lambda x: L.Dense(units, activation=activation)(L.Flatten()(x))


BY_LAYERS = {
    "softmax": (flat(5, "softmax"), Kind.CLASSES),
    "softmax layer": (lambda x: L.Softmax()(flat(5)(x)), Kind.CLASSES),
    "softmax operation": (lambda x: tf.nn.softmax(flat(5)(x)), Kind.CLASSES),
    "softmax reshaped": (lambda x: L.Reshape((1, 5))(flat(5, "softmax")(x)), Kind.CLASSES),
    "softmax passed on": (lambda x: L.Activation("linear")(flat(5, "softmax")(x)), Kind.CLASSES),
    "softmax of a map": (L.Conv2D(4, 1, activation="softmax"), Kind.CLASSES),
    "softmax taken apart": (lambda x: L.Flatten()(L.Conv2D(4, 1, activation="softmax")(x)), None),
    "softmax of one": (flat(1, "softmax"), Kind.VALUES),
    "sigmoid": (flat(1, "sigmoid"), Kind.BINARY),
    "sigmoid operation": (lambda x: tf.sigmoid(flat(3)(x)), Kind.BINARY),
    "sigmoid of a map": (L.Conv2D(1, 1, activation="sigmoid"), Kind.BINARY),
    "several numbers": (flat(5), Kind.SCORES),
    "one number": (flat(1), Kind.VALUES),
    "a map": (L.Conv2D(4, 1), Kind.VALUES),
    "largest of each position": (lambda x: tf.argmax(x, -1), Kind.DISCRETE),
    "booleans": (lambda x: x > 0, Kind.DISCRETE),
    "input": (lambda x: x, Kind.PASSED),
}


@pytest.mark.parametrize("case", BY_LAYERS)
def test_layers_tell_what_an_output_is(case):
    make, kind = BY_LAYERS[case]
    found = kind_of(make)
    assert found.kind is (kind or Kind.SCORES)
    assert found.threshold == 0.5
    assert found.has_error is (kind not in (Kind.DISCRETE, Kind.PASSED))


BY_LOSS = {
    "cross-entropy": ("sparse_categorical_crossentropy", Kind.CLASSES),
    "cross-entropy object": (losses.CategoricalCrossentropy(from_logits=True), Kind.CLASSES),
    "function": (losses.categorical_crossentropy, Kind.CLASSES),
    "divergence": (losses.KLDivergence(), Kind.CLASSES),
    "binary": (losses.BinaryCrossentropy(from_logits=True), Kind.BINARY),
    "squared error": ("mse", Kind.VALUES),
    "list": (["mae"], Kind.VALUES),
    "dict": ({"dense": "categorical_crossentropy"}, Kind.CLASSES),
    "dict of others": ({}, Kind.SCORES),
}


@pytest.mark.parametrize("case", BY_LOSS)
def test_a_loss_tells_what_linear_outputs_are(case):
    loss, kind = BY_LOSS[case]
    found = kind_of(lambda x: L.Dense(5, name="dense")(L.Flatten()(x)), loss)
    assert found.kind is kind
    assert found.threshold == (0.0 if kind is Kind.BINARY else 0.5)


def test_outputs_of_nested_models_and_several_outputs_each_have_their_kind():
    inner = tf_keras.Sequential([L.Input((8, 8, 3)), L.Flatten(), L.Dense(4, "softmax")])
    x = L.Input((8, 8, 3))
    model = tf_keras.Model(x, [x, inner(x), L.Conv2D(2, 1, name="map")(x)])
    assert [found.kind for found in output_kinds(model)] == [
        Kind.PASSED,
        Kind.CLASSES,
        Kind.VALUES,
    ]
    assert [found.name for found in output_kinds(model)] == model.output_names


def test_a_loss_that_the_model_does_not_know_can_be_given():
    x = L.Input((8, 8, 3))
    model = tf_keras.Model(x, L.Dense(5)(L.Flatten()(x)))
    assert output_kinds(model, losses.SparseCategoricalCrossentropy())[0].kind is Kind.CLASSES
