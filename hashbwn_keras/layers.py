"""HashBinary layers and their codes; see :mod:`hashbwn_keras.network.layers`."""

from hashbwn_keras.network.layers import (
    BinaryKernel,
    HashBinaryConv2D,
    HashBinaryDense,
    HashBinaryDepthwiseConv2D,
    HashBinarySeparableConv2D,
    KernelCodes,
    binary_form,
    binary_kernels,
    codes,
    flat_layers,
    float_form,
    has_binary_form,
    is_quantize_aware,
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
