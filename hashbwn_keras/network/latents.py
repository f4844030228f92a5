"""Latent kernels: float weights that ``hash_sign`` turns into given codes and scales."""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashbwn_keras.network.quantizers import SHARE, hash_scale, top_level, with_exact_multiples

SMALLEST = 0.05
"""One-bit latents are at least this share of their channel's mean: none loses its sign."""
NEAR_EDGE = 0.95
"""Latents of longer codes stay this far from their level, half a step being 1."""


def latent_kernel(
    levels: NDArray, scales: NDArray, kernel: NDArray, axes: tuple[int, ...], bits: int
) -> NDArray[np.float32]:
    """Return a latent kernel with given codes and scales, shaped so that training goes on well.

    The magnitudes within a channel follow the float weights, so that training moves those first
    that the float network was least sure of.

    Args:
        levels: codes, any shape.
        scales: of the channels, size 1 in ``axes``; > 0.
        kernel: float weights, or latent ones, in the shape of ``levels``.
        axes: the axes that share one scale.
        bits: of a code.

    Returns:
        float32 in the shape of ``levels``. ``hash_sign`` gives ``levels``, and ``scales`` within
        float32's rounding and the ``bits`` fewer digits that longer codes' scales have. Where no
        other weights do that, they are ``levels`` times ``scales``.
    """
    if bits > 1:
        exact = with_exact_multiples(tf.constant(scales, tf.float32), tf.float32, bits).numpy()
        magnitude = _in_cells(levels, exact.astype(np.float64), kernel, axes, bits)
        latent = (np.sign(levels) * magnitude).astype(np.float32)
        # In channels of few weights the places may happen to look like other levels.
        found = hash_scale(tf.constant(latent), axes, bits).numpy()
        return np.where(np.isclose(found, exact, rtol=1e-5, atol=0), latent, levels * exact)
    magnitude = np.abs(kernel).astype(np.float64)
    mean = magnitude.mean(axis=axes, keepdims=True)
    relative = np.divide(magnitude, mean, out=np.ones_like(magnitude), where=mean > 0)
    relative = np.maximum(relative, SMALLEST)
    relative /= relative.mean(axis=axes, keepdims=True)
    return (levels * relative * scales).astype(np.float32)


def _in_cells(
    levels: NDArray, scales: NDArray, kernel: NDArray, axes: tuple[int, ...], bits: int
) -> NDArray[np.float64]:
    """Magnitudes inside the cells of their levels, whose mean gives the scales.

    The float weights' own places in the cells come first; then all move up or down by the same
    share of the room they have left, weights of the top level without a limit.
    """
    level = np.abs(levels).astype(np.float64)
    place = np.clip(kernel * np.sign(levels) / scales - level, -NEAR_EDGE, NEAR_EDGE)
    lacking = (1 / SHARE[bits] - (level + place).mean(axis=axes, keepdims=True)) * np.prod(
        [levels.shape[axis] for axis in axes]
    )
    room = np.where(lacking > 0, NEAR_EDGE - place, NEAR_EDGE + place)
    total = room.sum(axis=axes, keepdims=True)
    share = np.divide(np.abs(lacking), total, out=np.full_like(total, np.inf), where=total > 0)
    place = place + np.sign(lacking) * np.minimum(share, 1) * room
    at_top = level == top_level(bits)
    count = at_top.sum(axis=axes, keepdims=True)
    beyond = np.where(lacking > 0, np.maximum(lacking - total, 0), 0)
    place = place + np.divide(beyond, count, out=np.zeros_like(total), where=count > 0) * at_top
    return (level + place) * scales
