"""Babai's rounding of float weights to levels; compiled."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled


@compiled
def babai(factor: NDArray, w: NDArray, scales: NDArray, top: np.float32, levels: NDArray) -> None:
    """Babai's rounding, which GPTQ is (Chen et al., "The Geometry of LLM Quantization", 2025).

    From the last code to the first, each is rounded to the level nearest to what makes up best for
    the errors of those before it.

    Args:
        factor: float32 [K, K], upper triangular U with Uᵀ U = G.
        w: float32 [K], the float weights that are best for G and g.
        scales: float32 [S], scales to try.
        top: the highest level.
        levels: float32 [S, K], set to the result for each scale.
    """
    K = w.size
    error = np.empty((scales.size, K), np.float32)
    for j in range(K - 1, -1, -1):
        row = factor[j]
        for s in range(scales.size):
            owed = np.float32(0.0)
            for i in range(j + 1, K):
                owed += row[i] * error[s, i]
            value = (w[j] + owed / row[j]) / scales[s]
            level = np.float32(2.0) * np.floor(value * np.float32(0.5)) + np.float32(1.0)
            levels[s, j] = min(top, max(-top, level))
            error[s, j] = w[j] - scales[s] * levels[s, j]
