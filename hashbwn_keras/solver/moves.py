"""What the searches share, compiled; the letters are those of the formulas in ``hashing``.

The codes ``b`` of a channel are floats that hold odd levels −top..top and are changed in place;
``r = G b``, ``p = g·b``, ``q = bᵀ G b``, J(b) = p² / q. A move changes one code by δ, to the next
level up or down; one bit has the levels ±1 and one move a code, the flip δ = −2 b. Then

    p' = p + δ g_j        q' = q + 2 δ r_j + δ² G_jj        r' = r + δ G[:, j]

so that trying a move costs O(1) and making it O(K). r is float32 (memory-bound), p and q are
float64 (they decide).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled

# A step up must exceed the rounding of float32, or a search could climb for ever.
GAIN = 1.0 + 1e-6


@compiled
def copy(source: NDArray, target: NDArray) -> None:
    """Copy a row; slice assignment would double the time the loops take to compile."""
    for i in range(target.size):
        target[i] = source[i]


@compiled
def nearest_level(value: np.float32, top: np.float32) -> np.float32:
    """The odd level −top..top that is nearest to ``value``; a tie goes up."""
    level = np.float32(2.0) * np.floor(value * np.float32(0.5)) + np.float32(1.0)
    return min(top, max(-top, level))


@compiled
def after_move(
    gj: np.float32, rj: np.float32, diagonal: np.float32, delta: np.float32, p: float, q: float
) -> tuple[Any, Any]:
    """The forms p and q with a code changed by ``delta``, from its g_j, r_j and G_jj."""
    change = delta * (np.float32(2.0) * rj + delta * diagonal)
    return p + np.float64(delta * gj), q + np.float64(change)
