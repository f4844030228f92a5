"""Strided 1 × 1 convolutions in gradients: the pixels are taken first, then multiplied.

TensorFlow's oneDNN ends the process in the gradient of some of them with respect to the kernel
(8 → 16 channels, stride 2, 60 × 60 pixels, TensorFlow 2.21), with nothing that could be caught. A
1 × 1 convolution of stride s is one of stride 1 on every s-th pixel, with either padding.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

import tensorflow as tf
import tf_keras

from hashbwn_keras.network.labels import Layer

Name = TypeVar("Name")


def take_pixels_first(layers: Mapping[Name, Layer]) -> dict[Name, Layer]:
    """Return ``layers`` to call, with a stand-in for each strided 1 × 1 convolution.

    A stand-in computes the same from the same variables.
    """
    return {
        name: _Subsampled(layer) if _is_strided_pointwise(layer) else layer
        for name, layer in layers.items()
    }


def _is_strided_pointwise(layer: Layer) -> bool:
    if not isinstance(layer, tf_keras.layers.Conv2D):
        return False
    special = tf_keras.layers.DepthwiseConv2D, tf_keras.layers.Conv2DTranspose
    pointwise = set(layer.kernel_size) == {1} and layer.data_format == "channels_last"
    return pointwise and max(layer.strides) > 1 and not isinstance(layer, special)


class _Subsampled:
    def __init__(self, layer: Layer) -> None:
        self.layer = layer
        self._expects_training_arg = layer._expects_training_arg

    def __call__(self, x: tf.Tensor, *args: Any, **kwargs: Any) -> tf.Tensor:
        rows, columns = strides = self.layer.strides
        self.layer.strides = (1, 1)
        try:
            return self.layer(x[:, ::rows, ::columns], *args, **kwargs)
        finally:
            self.layer.strides = strides
