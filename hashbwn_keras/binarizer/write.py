"""One layer's solution: what its kernel sees, how codes are written to it, what they achieve."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.kernels import kernels_of
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.latents import latent_kernel
from hashbwn_keras.network.layer_kinds import is_linear
from hashbwn_keras.network.quantizers import hash_levels, hash_scale
from hashbwn_keras.network.recipe import SolvedLayer
from hashbwn_keras.solver.hashing import HashCodes
from hashbwn_keras.solver.patches import PatchGeometry
from hashbwn_keras.solver.statistics import Statistics


def without_activation(layer: Layer) -> Layer:
    """A layer that gives the bare inner products of a built float ``layer``, with its bias."""
    if is_linear(layer):
        return layer
    bare = type(layer).from_config({**layer.get_config(), "activation": "linear"})
    bare.build(layer.get_input_shape_at(0))
    # An activation may have weights of its own, which come behind the layer's.
    bare.set_weights(layer.get_weights()[: len(bare.weights)])
    return bare


def activation_of(layer: Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    """What ``layer`` does to its inner products."""
    return tf.identity if is_linear(layer) else layer.activation


def input_of_kernel(layer: Layer) -> Callable[[NDArray], NDArray]:
    """The function from a layer's input to what its binary kernel is multiplied with.

    That is the input quantizer of a Larq layer, and the depthwise part of a separable convolution,
    which comes before the kernel that is binary.
    """
    quantize = getattr(layer, "input_quantizer", None)
    *before, _ = kernels_of(layer)
    if not before:
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
            part.set_weights([kernel.numpy() for kernel in before])
        return part(x).numpy()

    return depthwise


def write_solution(
    binary: Layer, geometry: PatchGeometry, solution: HashCodes, kernel: NDArray
) -> None:
    """Write codes and scales into the latent kernel of a binary layer.

    Args:
        binary: a HashBinary layer.
        geometry: of the layer.
        solution: codes [B, K, T] and scales [B, T].
        kernel: float weights [B, K, T].
    """
    (found,) = binary_kernels(binary)
    scales = solution.scales[:, None, :]
    latent = latent_kernel(solution.codes, scales, kernel, (1,), found.bits)
    found.variable.assign(geometry.join_kernel(latent))


def shift_bias(layer: Layer, shift: NDArray) -> None:
    """Make ``shift`` [output channels] the bias; what the layer's own bias did is in it already."""
    layer.bias.assign(shift.astype(np.float32))


def summary(
    method: str, bits: int, statistics: Statistics, solution: HashCodes, kernel: NDArray
) -> SolvedLayer:
    """Compare a solution with the float kernel [B, K, T] rounded by ``hash_sign``."""
    latent = tf.constant(kernel, tf.float32)
    rounded = hash_levels(latent, (1,), bits).numpy().astype(np.float64)
    scales = hash_scale(latent, (1,), bits).numpy()[:, 0].astype(np.float64)
    fit = (statistics.cross * rounded).sum(axis=1)
    power = ((statistics.gram @ rounded) * rounded).sum(axis=1)
    left = (statistics.variance - 2 * scales * fit + scales**2 * power).sum()
    total = statistics.variance.sum()
    return SolvedLayer(
        method=method,
        bits=bits,
        relative_error=statistics.relative_error(solution),
        relative_error_before=float(left / total) if total > 0 else 0.0,
        flipped=float((solution.codes != rounded).mean()),
    )
