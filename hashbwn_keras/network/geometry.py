"""How a Keras layer cuts its input into patches."""

from typing import Any

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.solver.patches import PatchGeometry


def patch_geometry(layer: Any) -> PatchGeometry:
    """Geometry of a built Keras layer, or of a subclass such as Larq's.

    Of a SeparableConv2D it is that of the pointwise part, a 1 × 1 convolution of the depthwise
    part's output.

    Raises:
        HashBWNError: the layer is not built or none of Conv2D, DepthwiseConv2D,
            SeparableConv2D and Dense.
    """
    layers = tf_keras.layers
    known = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)
    if not isinstance(layer, known) or isinstance(layer, layers.Conv2DTranspose):
        raise HashBWNError(
            f"Layer {layer.name!r} is a {type(layer).__name__}: moments are taken of Conv2D, "
            "DepthwiseConv2D, SeparableConv2D and Dense only."
        )
    if not layer.built:
        raise HashBWNError(f"Layer {layer.name!r} has no weights yet: build the model first.")
    if isinstance(layer, layers.Dense):
        shape = tuple(layer.kernel.shape)
        one = (1, 1)
        return PatchGeometry(one, one, one, False, 0.0, shape[0], 1, shape[1], shape, dense=True)
    first = layer.data_format == "channels_first"
    if isinstance(layer, layers.SeparableConv2D):
        shape = tuple(layer.pointwise_kernel.shape)
        one = (1, 1)
        return PatchGeometry(one, one, one, False, 0.0, shape[2], 1, shape[3], shape, first)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    kernel = layer.depthwise_kernel if depthwise else layer.kernel
    shape = tuple(kernel.shape)
    problems = shape[2] if depthwise else layer.groups
    return PatchGeometry(
        kernel_size=tuple(layer.kernel_size),
        strides=tuple(layer.strides),
        dilation=tuple(layer.dilation_rate),
        same=layer.padding == "same",
        pad_value=float(getattr(layer, "pad_values", 0.0)),
        channels=shape[2] if depthwise else shape[2] * problems,
        problems=problems,
        outputs=shape[3] if depthwise else shape[3] // problems,
        kernel_shape=shape,
        channels_first=first,
    )
