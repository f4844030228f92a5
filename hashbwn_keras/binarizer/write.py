"""One layer's solution: what its kernel sees, how codes are written to it, what they achieve."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.network.graph import Layer
from hashbwn_keras.network.layers import binary_kernels
from hashbwn_keras.solver.hashing import HashCodes
from hashbwn_keras.solver.patches import PatchGeometry
from hashbwn_keras.solver.statistics import Statistics

_SMALLEST_LATENT = 0.05
"""Latent weights are at least this share of their channel's mean, so that none loses its sign."""


@dataclass(frozen=True)
class SolvedLayer:
    """What the solve did to one layer.

    Attributes:
        method: the solver's method.
        relative_error: squared error of the layer's outputs over their variance, with the codes.
        relative_error_before: the same for the signs of the float weights with their mean
            magnitude as scale (BWN).
        flipped: share of codes that differ from the sign of the float weight.
    """

    method: str
    relative_error: float
    relative_error_before: float
    flipped: float


def input_of_kernel(layer: Layer) -> Callable[[NDArray], NDArray]:
    """The function from a layer's input to what its binary kernel is multiplied with.

    That is the input quantizer of a Larq layer, and the depthwise part of a separable convolution.
    """
    quantize = getattr(layer, "input_quantizer", None)
    if not isinstance(layer, tf_keras.layers.SeparableConv2D):
        return (lambda x: quantize(x).numpy()) if quantize else (lambda x: x)
    part = tf_keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
    )

    def depthwise(x: NDArray) -> NDArray:
        x = quantize(x) if quantize else x
        if not part.built:
            part(x)
            part.set_weights([layer.depthwise_kernel.numpy()])
        return part(x).numpy()

    return depthwise


def kernel_of(layer: Layer) -> tf.Variable:
    """The kernel of a float layer that its binary form has binary."""
    for name in ("pointwise_kernel", "depthwise_kernel"):
        if hasattr(layer, name):
            return getattr(layer, name)
    return layer.kernel


def write_solution(
    binary: Layer, geometry: PatchGeometry, solution: HashCodes, kernel: NDArray
) -> None:
    """Write codes and scales into the latent kernel of a binary layer.

    Signs are the codes, the mean magnitude of each channel is its scale, and within a channel the
    magnitudes are in proportion to the float weights', so that training flips small ones first.

    Args:
        binary: a HashBinary layer.
        geometry: of the layer.
        solution: codes [B, K, T] and scales [B, T].
        kernel: float weights [B, K, T].
    """
    magnitude = np.abs(kernel).astype(np.float64)
    mean = magnitude.mean(axis=1, keepdims=True)
    relative = np.divide(magnitude, mean, out=np.ones_like(magnitude), where=mean > 0)
    relative = np.maximum(relative, _SMALLEST_LATENT)
    relative /= relative.mean(axis=1, keepdims=True)
    latent = solution.codes * relative * solution.scales[:, None, :]
    (found,) = binary_kernels(binary)
    found.variable.assign(geometry.join_kernel(latent).astype(np.float32))


def shift_bias(layer: Layer, shift: NDArray) -> None:
    """Add ``shift`` [output channels] to the bias; the layer's own bias is in ``shift`` already."""
    layer.bias.assign(shift.astype(np.float32))


def summary(
    method: str, statistics: Statistics, solution: HashCodes, kernel: NDArray
) -> SolvedLayer:
    """Compare a solution with the signs of the float kernel [B, K, T]."""
    signs = np.where(kernel >= 0, 1.0, -1.0)
    scales = np.abs(kernel).mean(axis=1)
    fit = (statistics.cross * signs).sum(axis=1)
    power = ((statistics.gram @ signs) * signs).sum(axis=1)
    left = (statistics.variance - 2 * scales * fit + scales**2 * power).sum()
    total = statistics.variance.sum()
    return SolvedLayer(
        method=method,
        relative_error=statistics.relative_error(solution),
        relative_error_before=float(left / total) if total > 0 else 0.0,
        flipped=float((solution.codes != signs).mean()),
    )
