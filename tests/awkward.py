"""A deliberately awkward toy network, for end-to-end tests of every export route.

Stride 2, SAME and VALID padding, dilation, odd channel counts, groups, no bias, negative
batch-norm gamma, a dead channel, a shared layer, two inputs, Dense on a feature map.
"""

import numpy as np
import tf_keras

SHAPES = ((17, 19, 6), (5,))


def float_model(binary: bool = False) -> tf_keras.Model:
    """Build the network; with ``binary``, of HashBinary layers where it has convolutions."""
    conv, dense, depthwise, separable = _classes(binary)
    image = tf_keras.Input(SHAPES[0], name="image")
    extra = tf_keras.Input(SHAPES[1], name="extra")
    x = tf_keras.layers.Conv2D(15, 3, strides=2, padding="same", name="first")(image)
    x = tf_keras.layers.ReLU()(x)
    x = conv(12, 3, use_bias=False, padding="same", name="same")(x)
    x = tf_keras.layers.BatchNormalization(name="norm")(x)
    x = tf_keras.layers.ReLU(6.0)(x)
    x = conv(10, 3, dilation_rate=2, padding="same", name="dilated")(x)
    x = conv(16, 3, groups=2, strides=2, padding="same", name="grouped")(x)
    x = tf_keras.layers.BatchNormalization(name="norm_grouped")(x)
    x = tf_keras.layers.ReLU()(x)
    shared = conv(16, 3, padding="same", name="shared")
    x = shared(tf_keras.layers.ReLU()(shared(x)))
    x = depthwise(3, padding="same", depth_multiplier=2, name="depthwise")(x)
    x = separable(9, 3, padding="valid", name="separable")(x)
    x = dense(7, name="on_map")(x)
    y = dense(8, activation="relu", use_bias=False, name="extra_dense")(extra)
    x = tf_keras.layers.Concatenate()([tf_keras.layers.Flatten()(x), y])
    x = dense(33, activation="relu", name="wide")(x)
    x = tf_keras.layers.Dense(3, name="last")(x)
    model = tf_keras.Model([image, extra], x, name="awkward")
    _make_awkward(model)
    return model


def inputs(count: int = 4, seed: int = 3) -> list[np.ndarray]:
    """Return ``count`` random samples for both inputs."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(count, *shape)).astype(np.float32) for shape in SHAPES]


def two_valued(model: tf_keras.Model) -> tf_keras.Model:
    """Replace each kernel but those of "first" and "last" by sign times mean, per channel."""
    for layer in model.layers:
        if layer.name in ("first", "last") or not layer.get_weights():
            continue
        if not isinstance(layer, tf_keras.layers.BatchNormalization):
            weights = layer.get_weights()
            depthwise = "depthwise" in layer.name
            weights[0] = _binary(weights[0], (0, 1) if depthwise else None)
            if layer.name == "separable":
                weights[0] = layer.get_weights()[0]
                weights[1] = _binary(weights[1], None)
            layer.set_weights(weights)
    return model


def _binary(kernel: np.ndarray, axes: tuple[int, ...] | None) -> np.ndarray:
    axes = tuple(range(kernel.ndim - 1)) if axes is None else axes
    return (np.where(kernel < 0, -1, 1) * np.abs(kernel).mean(axes, keepdims=True)).astype("f")


def _classes(binary: bool) -> list[type]:
    names = ("Conv2D", "Dense", "DepthwiseConv2D", "SeparableConv2D")
    if not binary:
        return [getattr(tf_keras.layers, name) for name in names]
    from hashbwn_keras.network import layers

    return [getattr(layers, f"HashBinary{name}") for name in names]


def _make_awkward(model: tf_keras.Model) -> None:
    """Set random biases and batch-norm statistics, negative and zero gamma among them."""
    rng = np.random.default_rng(11)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            size = weights[0].shape
            gamma = rng.uniform(0.5, 1.5, size) * np.where(rng.random(size) < 0.4, -1, 1)
            gamma[1] = 0.0  # this channel is dead once batch-norm is folded
            stats = rng.normal(size=size), rng.normal(size=size), rng.uniform(0.5, 2, size)
            layer.set_weights([gamma, *stats])
        elif weights and weights[-1].ndim == 1:
            weights[-1] = rng.normal(size=weights[-1].shape) * 0.3
            layer.set_weights(weights)
