"""Small networks, their binary forms, and reports on them."""

import numpy as np
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.network.kernels import binary_form, has_binary_form

L = tf_keras.layers
RNG = np.random.default_rng(1)
X = RNG.normal(size=(40, 8, 8, 3)).astype("f")


def compared(make, labels=None, data=X, loss=None, **settings):
    """The first output of a report, its float model and its binary model."""
    x = L.Input(data.shape[1:])
    features = L.Conv2D(6, 3, padding="same", name="binary")(L.Conv2D(4, 3, name="first")(x))
    model = tf_keras.Model(x, make(x, features))
    if loss:
        model.compile(loss=loss)
    binary = binarized(model)
    result = hk.report(model, binary, data, labels, **settings)
    return result.outputs[0], result, [net.predict(data, verbose=0) for net in (model, binary)]


def dense(units, activation=None):
    return lambda x, y: L.Dense(units, activation=activation)(L.GlobalAveragePooling2D()(y))


def binarized(model, keep=("first",)):
    """Binary layers with sign · mean, as quick as the report needs them."""

    def clone(layer):
        if has_binary_form(layer) and layer.name not in keep:
            return binary_form(layer)
        return type(layer).from_config(layer.get_config())

    binary = tf_keras.models.clone_model(model, clone_function=clone)
    binary.set_weights(model.get_weights())
    return binary
