"""Latent kernels: float weights that ``hash_sign`` turns into given codes and scales."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.network.quantizers import SHARE, top_level

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
        float32's rounding and the ``bits`` fewer digits that longer codes' scales have.
    """
    scales = scales.astype(np.float64)
    if bits > 1:
        return (np.sign(levels) * _in_cells(levels, scales, kernel, axes, bits)).astype(np.float32)
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
    share of the room they have left, weights of the top level without a limit. Where that is not
    enough, the channel is its levels times its scale, which ``hash_sign`` knows as such.
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
    possible = (share <= 1) | ((lacking > 0) & (count > 0))
    return (level + np.where(possible, place, 0)) * scales
