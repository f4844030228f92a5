"""What a layer is, asked in one place."""

import tf_keras

from hashbwn_keras.network.labels import Layer

_L = tf_keras.layers


def is_linear(layer: Layer) -> bool:
    """Whether a layer's activation, if it has one, does nothing."""
    return getattr(layer, "activation", None) in (None, tf_keras.activations.linear)


def is_relu(layer: Layer) -> bool:
    """Whether ``layer`` is a ReLU of its own, of any kind that converters fuse."""
    if isinstance(layer, _L.Activation):
        return layer.activation is tf_keras.activations.relu
    return isinstance(layer, _L.ReLU)


def is_softmax(layer: Layer) -> bool:
    """Whether ``layer`` gives probabilities: a Softmax layer, or one with that activation."""
    activation = getattr(layer, "activation", None)
    return activation is tf_keras.activations.softmax or isinstance(layer, _L.Softmax)


def is_batch_norm(layer: Layer) -> bool:
    """Whether ``layer`` normalises each channel by statistics of the training data.

    One that has statistics for several axes does not: it is a layer like any other, left as it is.
    """
    if not isinstance(layer, _L.BatchNormalization):
        return False
    axis = layer.axis  # Keras 2 makes a list of it when it builds the layer
    return isinstance(axis, int) or len(axis) == 1


def channel_axis(layer: Layer) -> int:
    """The axis of a built layer's output that its channels are along, counted from 0.

    Of a batch-norm, the axis that it has statistics for.
    """
    if is_batch_norm(layer):
        (axis,) = layer.axis
        return int(axis)
    if getattr(layer, "data_format", None) == "channels_first":
        return 1
    return len(layer.get_output_shape_at(0)) - 1


def is_addition(layer: Layer, inputs: int) -> bool:
    """Whether a layer called on so many ``inputs`` adds tensors: Add, or ``x + y`` of two."""
    if isinstance(layer, _L.Add):
        return True
    operator = getattr(layer, "symbol", None)
    return operator in ("__operators__.add", "math.add") and inputs == 2


def is_elementwise(layer: Layer) -> bool:
    """Whether ``layer`` is an activation that looks at one value at a time."""
    if isinstance(layer, _L.Activation):
        return layer.activation is not tf_keras.activations.softmax
    return isinstance(layer, _L.ReLU | _L.LeakyReLU | _L.ELU | _L.PReLU)


def passes_through(layer: Layer) -> bool:
    """Whether ``layer`` gives what it gets at inference."""
    if isinstance(layer, _L.Activation):
        return layer.activation is tf_keras.activations.linear
    return isinstance(layer, _L.Dropout | _L.SpatialDropout2D) or only_watches(layer)


def only_watches(layer: Layer) -> bool:
    """Whether ``layer`` is what ``add_loss`` or ``add_metric`` of a model put into its graph."""
    return type(layer).__name__ in ("AddLoss", "AddMetric")


def is_normalisation(layer: Layer) -> bool:
    """Whether ``layer`` normalises, by whatever statistics."""
    return isinstance(layer, _L.BatchNormalization | _L.LayerNormalization)


def is_depthwise(layer: Layer) -> bool:
    """Whether ``layer`` is a convolution of each channel for itself."""
    return isinstance(layer, _L.DepthwiseConv2D)


def is_dense(layer: Layer) -> bool:
    """Whether it is a Dense, or a built convolution of one pixel, which computes the same."""
    if isinstance(layer, _L.Dense):
        return True
    if not isinstance(layer, _L.Conv2D | _L.SeparableConv2D):
        return False
    sizes = layer.get_input_shape_at(0)
    space = sizes[2:] if layer.data_format == "channels_first" else sizes[1:3]
    return all(size == 1 for size in space)
