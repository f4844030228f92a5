"""Larq layers whose kernel is binary by ``hash_sign``, and access to their codes and scales."""

import inspect
from collections.abc import Iterator
from typing import Any, NamedTuple

import larq as lq
import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.quantizers import HashSign, Unclipped, hash_sign

# The kernels a Larq layer can have, and where it keeps the quantizer of each.
_QUANTIZER_OF = {
    "kernel": "kernel_quantizer",
    "depthwise_kernel": "depthwise_quantizer",
    "pointwise_kernel": "pointwise_quantizer",
}


def _with_defaults(larq_layer: type, args: tuple, kwargs: dict, **defaults: Any) -> dict:
    """Return ``kwargs`` plus each of ``defaults`` that was given neither by place nor by name.

    It keeps Larq's argument order without repeating Larq's long signatures.
    """
    given = inspect.signature(larq_layer).bind_partial(*args, **kwargs).arguments
    missing = {name: value for name, value in defaults.items() if name not in given}
    return {**missing, **kwargs}


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

    Arguments and their order are Larq's. Kernel ``[height, width, channels / groups, filters]``;
    one scale per filter. Weights and their order are those of ``tf_keras.layers.Conv2D``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        defaults = {"kernel_quantizer": "hash_sign", "kernel_constraint": Unclipped()}
        super().__init__(*args, **_with_defaults(lq.layers.QuantConv2D, args, kwargs, **defaults))
        _refuse_mixed_precision(self)


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryDense(lq.layers.QuantDense):
    """``larq.layers.QuantDense`` with ``kernel_quantizer="hash_sign"`` unless told otherwise.

    Arguments and their order are Larq's. Kernel ``[inputs, units]``; one scale per unit. Weights
    and their order are those of ``tf_keras.layers.Dense``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        defaults = {"kernel_quantizer": "hash_sign", "kernel_constraint": Unclipped()}
        super().__init__(*args, **_with_defaults(lq.layers.QuantDense, args, kwargs, **defaults))
        _refuse_mixed_precision(self)


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryDepthwiseConv2D(lq.layers.QuantDepthwiseConv2D):
    """``larq.layers.QuantDepthwiseConv2D`` with ``depthwise_quantizer="hash_sign"`` by default.

    Arguments and their order are Larq's. Kernel ``[height, width, channels, multiplier]``; one
    scale per output channel ``channel * multiplier + i``. Weights and their order are those of
    ``tf_keras.layers.DepthwiseConv2D``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        defaults = {"depthwise_quantizer": "hash_sign", "depthwise_constraint": Unclipped()}
        larq_layer = lq.layers.QuantDepthwiseConv2D
        super().__init__(*args, **_with_defaults(larq_layer, args, kwargs, **defaults))
        _refuse_mixed_precision(self)
        quantizer = self.depthwise_quantizer  # type: ignore[has-type]
        if isinstance(quantizer, HashSign) and quantizer.axes is None:
            # The quantizer sees only the tensor; only the layer knows that two axes are outputs.
            self.depthwise_quantizer = HashSign(axes=(0, 1), metrics=quantizer.metric_names)


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinarySeparableConv2D(lq.layers.QuantSeparableConv2D):
    """``larq.layers.QuantSeparableConv2D`` with ``pointwise_quantizer="hash_sign"`` by default.

    Arguments and their order are Larq's. The depthwise kernel stays float: it holds few of the
    weights. Pointwise kernel ``[1, 1, channels * multiplier, filters]``; one scale per filter.
    Weights and their order are those of ``tf_keras.layers.SeparableConv2D``.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        defaults = {"pointwise_quantizer": "hash_sign", "pointwise_constraint": Unclipped()}
        larq_layer = lq.layers.QuantSeparableConv2D
        super().__init__(*args, **_with_defaults(larq_layer, args, kwargs, **defaults))
        _refuse_mixed_precision(self)


class KernelCodes(NamedTuple):
    """What a binary kernel is made of: ``codes`` times the scale of the output channel.

    Attributes:
        codes: int8 of ±1, in the shape of the kernel.
        scales: float32 ``[output channels]``, ≥ 0; 0 only where a whole channel is zero.
    """

    codes: np.ndarray
    scales: np.ndarray


class BinaryKernel(NamedTuple):
    """One kernel that its layer quantizes by ``hash_sign``.

    Attributes:
        name: name of the layer; ``submodel/layer`` inside nested models. Where one layer has two
            binary kernels, the second is ``layer/pointwise_kernel``.
        layer: the layer that owns it.
        variable: the latent weights.
        axes: the kernel axes that share one scale.
    """

    name: str
    layer: tf_keras.layers.Layer
    variable: tf.Variable
    axes: tuple[int, ...]

    def latent(self) -> np.ndarray:
        """Return the latent weights, in the shape of the kernel."""
        with lq.context.quantized_scope(False):
            return self.variable.numpy()

    def codes(self) -> KernelCodes:
        """Return the codes and scales that the layer computes with."""
        latent = self.latent()
        # The scale comes from the quantizer's own arithmetic: NumPy's mean rounds differently.
        binary = hash_sign(tf.constant(latent), self.axes).numpy()
        codes = np.where(latent >= 0, np.int8(1), np.int8(-1))
        scales = np.abs(binary).max(axis=self.axes).reshape(-1).astype(np.float32)
        return KernelCodes(codes, scales)


def flat_layers(model: tf_keras.layers.Layer) -> Iterator[tuple[str, Any]]:
    """Yield ``(name, layer)`` for every layer that computes, each shared layer once.

    Nested models and wrappers such as ``TimeDistributed`` are entered; a layer inside has their
    names in front, joined by ``/``. The wrappers of tensorflow-model-optimization are not: the
    layer inside computes with other weights than it has.
    """
    seen: set[int] = set()
    for name, layer in _walk(model, ""):
        if id(layer) not in seen:
            seen.add(id(layer))
            yield name, layer


def _walk(parent: tf_keras.layers.Layer, prefix: str) -> Iterator[tuple[str, Any]]:
    for layer in getattr(parent, "layers", None) or [parent]:
        name = f"{prefix}{layer.name}"
        if getattr(layer, "layers", None) and layer is not parent:
            yield from _walk(layer, f"{name}/")
        elif isinstance(layer, tf_keras.layers.Wrapper) and not _is_quantize_wrapper(layer):
            yield from _walk(layer.layer, f"{name}/")
        else:
            yield name, layer


def binary_kernels(model_or_layer: tf_keras.layers.Layer) -> list[BinaryKernel]:
    """List every kernel that is quantized by ``hash_sign``, in the order of the layers.

    Plain Larq layers with ``kernel_quantizer="hash_sign"`` count as well, and layers that
    :class:`hashbwn_keras.tfmot.HashBinaryQuantizeConfig` quantizes. A layer that is not built yet
    has no kernel and is left out.
    """
    found: list[BinaryKernel] = []
    for name, layer in flat_layers(model_or_layer):
        if _is_quantize_wrapper(layer):
            found.extend(_wrapped_kernels(name, layer))
            continue
        kernels = [k for k in _QUANTIZER_OF if _is_hash_sign(layer, k)]
        for position, kernel in enumerate(kernels):
            variable = getattr(layer, kernel)
            quantizer = getattr(layer, _QUANTIZER_OF[kernel])
            axes = quantizer.reduction_axes(len(variable.shape))
            found.append(
                BinaryKernel(f"{name}/{kernel}" if position else name, layer, variable, axes)
            )
    return found


def is_quantize_aware(model: tf_keras.Model) -> bool:
    """Whether tensorflow-model-optimization made ``model``, for 8-bit activations."""
    return any(_is_quantize_wrapper(layer) for layer in model.layers)


def _is_quantize_wrapper(layer: tf_keras.layers.Layer) -> bool:
    """Whether it is tensorflow-model-optimization's, which keeps the variables of its layer."""
    return hasattr(layer, "quantize_config")


def _wrapped_kernels(name: str, wrapper: Any) -> Iterator[BinaryKernel]:
    """The kernel that HashBinaryQuantizeConfig quantizes, in the layer of ``wrapper``."""
    for variable, quantizer, _ in getattr(wrapper, "_weight_vars", []):
        hash_sign_quantizer = getattr(quantizer, "hash_sign", None)
        if isinstance(hash_sign_quantizer, HashSign):
            axes = hash_sign_quantizer.reduction_axes(len(variable.shape))
            yield BinaryKernel(name, wrapper, variable, axes)


def _is_hash_sign(layer: tf_keras.layers.Layer, kernel: str) -> bool:
    quantizer = getattr(layer, _QUANTIZER_OF[kernel], None)
    return isinstance(quantizer, HashSign) and getattr(layer, kernel, None) is not None


def codes(model: tf_keras.layers.Layer) -> dict[str, KernelCodes]:
    """Return the codes and scales of every binary kernel of ``model``, by name.

    ``codes[name].codes`` is int8 of ±1 in the shape of the kernel and ``codes[name].scales``
    float32 in the order of the output channels. Their product is bit for bit the kernel that the
    layer computes with.
    """
    return {kernel.name: kernel.codes() for kernel in binary_kernels(model)}


_BINARY_CLASS: dict[type, Any] = {
    tf_keras.layers.Conv2D: HashBinaryConv2D,
    tf_keras.layers.Dense: HashBinaryDense,
    tf_keras.layers.DepthwiseConv2D: HashBinaryDepthwiseConv2D,
    tf_keras.layers.SeparableConv2D: HashBinarySeparableConv2D,
    lq.layers.QuantConv2D: HashBinaryConv2D,
    lq.layers.QuantDense: HashBinaryDense,
    lq.layers.QuantDepthwiseConv2D: HashBinaryDepthwiseConv2D,
    lq.layers.QuantSeparableConv2D: HashBinarySeparableConv2D,
}


def has_binary_form(layer: tf_keras.layers.Layer) -> bool:
    """Whether :func:`binary_form` can make a binary layer of ``layer``.

    Subclasses such as ``Conv2DTranspose`` or a user's own compute something else, so the type has
    to match exactly.
    """
    return type(layer) in _BINARY_CLASS


def binary_form(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Return a new, unbuilt HashBinary layer with the name and arguments of a float ``layer``.

    An input quantizer is kept. Constraint and regularizer of the kernel that becomes binary are
    left out: both would move the scales away from what was solved.

    Raises:
        HashBWNError: the layer's type has no binary form.
    """
    if not has_binary_form(layer):
        known = ", ".join(sorted({cls.__name__ for cls in _BINARY_CLASS}))
        raise HashBWNError(
            f"Layer {layer.name!r} is a {type(layer).__name__}, which has no binary form: "
            f"use one of {known}."
        )
    binary_class = _BINARY_CLASS[type(layer)]
    which = {"DepthwiseConv2D": "depthwise", "SeparableConv2D": "pointwise"}
    kernel = which.get(binary_class.__name__.removeprefix("HashBinary"), "kernel")
    config = layer.get_config()
    for argument in ("quantizer", "constraint", "regularizer"):
        config.pop(f"{kernel}_{argument}", None)
    return binary_class.from_config(config)


def float_form(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
    """Return a new, unbuilt Larq layer like ``layer`` whose kernel is not quantized.

    It is what :func:`binary_form` makes binary again; name, arguments and input quantizer are kept,
    constraint and regularizer of the kernel are not.

    Args:
        layer: a HashBinary layer, or a Larq layer with ``kernel_quantizer="hash_sign"``.
    """
    config = layer.get_config()
    for kernel, quantizer in _QUANTIZER_OF.items():
        if _is_hash_sign(layer, kernel):
            config[quantizer] = None
            config[quantizer.replace("quantizer", "constraint")] = None
            config[quantizer.replace("quantizer", "regularizer")] = None
    larq_class: Any = next(c for c in type(layer).__mro__ if c.__module__.startswith("larq."))
    return larq_class.from_config(config)
