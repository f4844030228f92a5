"""HashBinary layers and their codes; see :mod:`hashbwn_keras.network.layers`."""

from hashbwn_keras.network.codes import BinaryKernel, KernelCodes, binary_kernels, codes
from hashbwn_keras.network.kernels import binary_form, float_form, has_binary_form
from hashbwn_keras.network.labels import flat_layers, is_quantize_aware
from hashbwn_keras.network.layers import (
    HashBinaryConv2D,
    HashBinaryDense,
    HashBinaryDepthwiseConv2D,
    HashBinarySeparableConv2D,
)

__all__ = [
    "BinaryKernel",
    "HashBinaryConv2D",
    "HashBinaryDense",
    "HashBinaryDepthwiseConv2D",
    "HashBinarySeparableConv2D",
    "KernelCodes",
    "binary_form",
    "binary_kernels",
    "codes",
    "flat_layers",
    "float_form",
    "has_binary_form",
    "is_quantize_aware",
]
