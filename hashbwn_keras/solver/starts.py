"""Where searches start from: rounded weights, and what Babai's rounding needs."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.checks import SLACK, diagonal

ROUNDING_STEPS = np.linspace(0.25, 1.0, 16)
"""Highest levels to try when weights are rounded, in shares of the largest weight."""
BABAI_STEPS = np.array([0.7, 0.8, 0.9, 1.0, 1.1, 1.2], np.float32)
"""Scales to try in Babai's rounding, in shares of the scale that rounded weights climbed to."""


def rounded(G: NDArray, g: NDArray, w: NDArray, top: int) -> NDArray[np.float64]:
    """Weights w [B, K, T] rounded to odd levels −top..top: for one bit, their signs.

    For longer codes the step is, for each channel, the one that is best if the inputs were
    independent, with variances as in the diagonal of G [B, K, K]. Zero weights take the sign of the
    cross moments g [B, K, T], and +1 where these are zero too.
    """
    sign = np.where(w != 0, np.sign(w), np.where(g < 0, -1.0, 1.0))
    if top == 1:
        return sign
    variance = diagonal(G)[:, :, None]
    size = np.abs(w)
    largest = size.max(axis=1, keepdims=True)
    levels = np.ones_like(w)
    best = np.full(levels[:, :1].shape, -1.0)
    for share in ROUNDING_STEPS:
        step = np.where(largest > 0, largest * share / top, 1.0)
        trial = np.minimum(2 * np.floor(size / step / 2) + 1, top)
        fit = (variance * size * trial).sum(axis=1, keepdims=True)
        power = (variance * trial * trial).sum(axis=1, keepdims=True)
        value = np.divide(fit * fit, power, out=np.zeros_like(fit), where=power > 0)
        better = value > best
        best = np.where(better, value, best)
        levels = np.where(better, trial, levels)
    return sign * levels


def triangular(G: NDArray, g: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Upper triangular U [B, K, K] with Uᵀ U = G, and the best float weights G⁻¹ g [B, K, T].

    G is in units of its mean diagonal; what is added to it keeps rounding from making it
    indefinite.
    """
    G = G.copy()
    diagonal(G)[...] += SLACK * G.shape[1]
    return np.linalg.cholesky(G).transpose(0, 2, 1), np.linalg.solve(G, g)
