"""Larq layers whose kernel is quantized by ``hash_sign``, to one bit or a few."""

import inspect
from typing import Any

import larq as lq
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.quantizers import HashSign, Unclipped, check_bits

DEPTHWISE_AXES = (0, 1)
"""The axes of a depthwise kernel that share one scale: the other two are output channels."""


def _with_defaults(larq_layer: type, which: str, bits: int, args: tuple, kwargs: dict) -> dict:
    """Return ``kwargs`` plus our quantizer and constraint for the kernel that is quantized.

    Those that were given, by place or by name, stay. It keeps Larq's argument order without
    repeating Larq's long signatures.

    Args:
        larq_layer: the parent class.
        which: what the names of the kernel's arguments begin with.
        bits: of a weight.
        args: arguments that were given by place,
        kwargs: and by name.

    Raises:
        HashBWNError: bits beside a quantizer, which has bits of its own; or no such bits.
    """
    given = inspect.signature(larq_layer).bind_partial(*args, **kwargs).arguments
    quantizer = f"{which}_quantizer"
    if check_bits(bits) != 1 and given.get(quantizer) is not None:
        raise HashBWNError(
            f"bits={bits} beside {quantizer}={given[quantizer]!r}: give one of them, for example "
            f"{quantizer}=hashbwn_keras.quantizers.HashSign(bits={bits})."
        )
    ours = "hash_sign" if bits == 1 else HashSign(bits=bits)
    defaults = {quantizer: ours, f"{which}_constraint": Unclipped()}
    return {name: value for name, value in defaults.items() if name not in given} | kwargs


def _refuse_mixed_precision(layer: tf_keras.layers.Layer) -> None:
    """Refuse a policy under which Larq's quantized variables are not cast."""
    if layer.compute_dtype != layer.variable_dtype:
        raise HashBWNError(
            f"Layer {layer.name!r} has the policy {layer.dtype_policy.name!r}, but Larq's layers "
            'do not support mixed precision: give it dtype="float32".'
        )


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryConv2D(lq.layers.QuantConv2D):
    """``larq.layers.QuantConv2D`` with ``kernel_quantizer="hash_sign"`` unless told otherwise.

    Arguments and their order are Larq's; ``bits``, 1 to 4 a weight, goes by name. Kernel
    ``[height, width, channels / groups, filters]``; one scale per filter. Weights and their
    order are those of ``tf_keras.layers.Conv2D``.
    """

    def __init__(self, *args: Any, bits: int = 1, **kwargs: Any):
        parent = lq.layers.QuantConv2D
        super().__init__(*args, **_with_defaults(parent, "kernel", bits, args, kwargs))
        _refuse_mixed_precision(self)


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryDense(lq.layers.QuantDense):
    """``larq.layers.QuantDense`` with ``kernel_quantizer="hash_sign"`` unless told otherwise.

    Arguments and their order are Larq's; ``bits``, 1 to 4 a weight, goes by name. Kernel
    ``[inputs, units]``; one scale per unit. Weights and their order are those of
    ``tf_keras.layers.Dense``.
    """

    def __init__(self, *args: Any, bits: int = 1, **kwargs: Any):
        parent = lq.layers.QuantDense
        super().__init__(*args, **_with_defaults(parent, "kernel", bits, args, kwargs))
        _refuse_mixed_precision(self)


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryDepthwiseConv2D(lq.layers.QuantDepthwiseConv2D):
    """``larq.layers.QuantDepthwiseConv2D`` with ``depthwise_quantizer="hash_sign"`` by default.

    Arguments and their order are Larq's; ``bits``, 1 to 4 a weight, goes by name. Kernel
    ``[height, width, channels, multiplier]``; one scale per output channel ``channel *
    multiplier + i``. Weights and their order are those of ``tf_keras.layers.DepthwiseConv2D``.
    """

    def __init__(self, *args: Any, bits: int = 1, **kwargs: Any):
        parent = lq.layers.QuantDepthwiseConv2D
        super().__init__(*args, **_with_defaults(parent, "depthwise", bits, args, kwargs))
        _refuse_mixed_precision(self)
        quantizer = self.depthwise_quantizer  # type: ignore[has-type]
        if isinstance(quantizer, HashSign) and quantizer.axes is None:
            # The quantizer sees only the tensor; only the layer knows that two axes are outputs.
            self.depthwise_quantizer = HashSign(
                DEPTHWISE_AXES, quantizer.metric_names, quantizer.bits
            )


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinarySeparableConv2D(lq.layers.QuantSeparableConv2D):
    """``larq.layers.QuantSeparableConv2D`` with ``pointwise_quantizer="hash_sign"`` by default.

    Arguments and their order are Larq's; ``bits``, 1 to 4 a weight, goes by name. The depthwise
    kernel stays float: it holds few of the weights. Pointwise kernel ``[1, 1, channels *
    multiplier, filters]``; one scale per filter. Weights and their order are those of
    ``tf_keras.layers.SeparableConv2D``.
    """

    def __init__(self, *args: Any, bits: int = 1, **kwargs: Any):
        parent = lq.layers.QuantSeparableConv2D
        super().__init__(*args, **_with_defaults(parent, "pointwise", bits, args, kwargs))
        _refuse_mixed_precision(self)
