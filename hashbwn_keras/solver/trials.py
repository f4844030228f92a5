"""All codes tried, where they are few; compiled."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.moves import copy


@compiled
def try_all(
    grams: NDArray, cross: NDArray, codes: NDArray, top: float, first: int, last: int
) -> None:
    """Best codes of channels ``first..last−1`` among all (b and −b have the same J).

    Consecutive trials differ in one code, which goes one level up or from the highest to the lowest
    (Gray's order, modular), so each costs O(K). Arrays as in :func:`search.search_range` but
    float64; codes that do better replace those in ``codes``.
    """
    K = cross.shape[1]
    T = cross.shape[0] // grams.shape[0]
    levels = int(top) + 1
    trials = levels**K // 2
    r = np.empty(K)
    for problem in range(first, last):
        G = grams[problem // T]
        g = cross[problem]
        b = codes[problem].copy()
        p, q, trace = _state(G, g, b, r)
        floor = 1e-9 * trace
        best = p * p / max(q, floor)
        # The last code goes through the levels of one sign only.
        b[K - 1] = 1.0 if b[K - 1] > 0.0 else -top
        p, q, _ = _state(G, g, b, r)
        for trial in range(trials):
            if trial > 0:
                j, rest = 0, trial
                while rest % levels == 0:
                    rest //= levels
                    j += 1
                delta = 2.0 if b[j] < top else -2.0 * top
                p += delta * g[j]
                q += delta * (2.0 * r[j] + delta * G[j, j])
                for i in range(K):
                    r[i] += delta * G[j, i]
                b[j] += delta
            value = p * p / max(q, floor)
            if value > best * (1.0 + 1e-12):
                best = value
                copy(b, codes[problem])


@compiled
def _state(G: NDArray, g: NDArray, b: NDArray, r: NDArray) -> tuple[float, float, float]:
    """Set r = G b; return g·b, bᵀ G b and the trace of G."""
    p, q, trace = 0.0, 0.0, 0.0
    for i in range(b.size):
        r[i] = 0.0
        for j in range(b.size):
            r[i] += G[i, j] * b[j]
        p += g[i] * b[i]
        q += r[i] * b[i]
        trace += G[i, i]
    return p, q, trace
