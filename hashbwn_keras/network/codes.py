"""The codes of a network: which of its kernels are quantized by ``hash_sign``, and to what."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import larq as lq
import numpy as np
import tensorflow as tf

from hashbwn_keras.network.kernels import binary_places
from hashbwn_keras.network.labels import Layer, flat_layers, is_quantize_wrapper
from hashbwn_keras.network.quantizers import HashSign, hash_levels, hash_scale


class KernelCodes(NamedTuple):
    """What a quantized kernel is made of: ``codes`` times the scale of the output channel.

    Attributes:
        codes: int8, in the shape of the kernel: ±1, or with n bits odd levels up to ±(2ⁿ − 1).
        scales: float32 ``[output channels]``, ≥ 0; 0 only where a whole channel is zero.
    """

    codes: np.ndarray
    scales: np.ndarray


class BinaryKernel(NamedTuple):
    """One kernel that its layer quantizes by ``hash_sign``.

    Attributes:
        name: label of the layer, see :func:`hashbwn_keras.network.labels.flat_layers`. Where one
            layer has two binary kernels, the second is ``layer/`` and the kernel's attribute.
        layer: the layer that owns it.
        variable: the latent weights.
        axes: the kernel axes that share one scale.
        bits: of a weight.
    """

    name: str
    layer: Layer
    variable: tf.Variable
    axes: tuple[int, ...]
    bits: int = 1

    def latent(self) -> np.ndarray:
        """Return the latent weights, in the shape of the kernel."""
        with lq.context.quantized_scope(False):
            return self.variable.numpy()

    def codes(self) -> KernelCodes:
        """Return the codes and scales that the layer computes with."""
        latent = tf.constant(self.latent())
        # Both come from the quantizer's own arithmetic: NumPy's mean rounds differently.
        levels = hash_levels(latent, self.axes, self.bits).numpy()
        scales = hash_scale(latent, self.axes, self.bits).numpy().reshape(-1)
        return KernelCodes(levels, scales.astype(np.float32))

    def values(self) -> np.ndarray:
        """Return what the layer computes with, float32 in the shape of the kernel."""
        codes, scales = self.codes()
        return codes * scales.reshape(
            [1 if axis in self.axes else size for axis, size in enumerate(codes.shape)]
        )

    def rows(self) -> np.ndarray:
        """Return the codes as int8 ``[output channels, weights per channel]``."""
        codes = self.codes().codes
        channels = [axis for axis in range(codes.ndim) if axis not in self.axes]
        count = int(np.prod([codes.shape[axis] for axis in channels]))
        return codes.transpose([*channels, *self.axes]).reshape(count, -1)


def binary_kernels(model_or_layer: Layer) -> list[BinaryKernel]:
    """List every kernel that is quantized by ``hash_sign``, in the order of the layers.

    Plain Larq layers with ``kernel_quantizer="hash_sign"`` count as well, and layers that
    :class:`hashbwn_keras.tfmot.HashBinaryQuantizeConfig` quantizes. A layer that is not built yet
    has no kernel and is left out.
    """
    found: list[BinaryKernel] = []
    for name, layer in flat_layers(model_or_layer):
        if is_quantize_wrapper(layer):
            found.extend(_wrapped_kernels(name, layer))
            continue
        kernels = [(place, place.kernel(layer)) for place in binary_places(layer)]
        built = [(place, variable) for place, variable in kernels if variable is not None]
        for position, (place, variable) in enumerate(built):
            quantizer = place.quantizer_of(layer)
            axes = quantizer.reduction_axes(len(variable.shape))
            label = f"{name}/{place.attribute}" if position else name
            found.append(BinaryKernel(label, layer, variable, axes, quantizer.bits))
    return found


def _wrapped_kernels(name: str, wrapper: Any) -> Iterator[BinaryKernel]:
    """The kernel that HashBinaryQuantizeConfig quantizes, in the layer of ``wrapper``."""
    for variable, quantizer, _ in getattr(wrapper, "_weight_vars", []):
        hash_sign_quantizer = getattr(quantizer, "hash_sign", None)
        if isinstance(hash_sign_quantizer, HashSign):
            axes = hash_sign_quantizer.reduction_axes(len(variable.shape))
            yield BinaryKernel(name, wrapper, variable, axes, hash_sign_quantizer.bits)


def codes(model: Layer) -> dict[str, KernelCodes]:
    """Return the codes and scales of every binary kernel of ``model``, by name.

    ``codes[name].codes`` is int8 in the shape of the kernel, ±1 or, with n bits, odd levels up to
    ±(2ⁿ − 1), and ``codes[name].scales`` float32 in the order of the output channels. Their product
    is bit for bit the kernel that the layer computes with.
    """
    return {kernel.name: kernel.codes() for kernel in binary_kernels(model)}
