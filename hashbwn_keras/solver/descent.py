"""Coordinate descents at a fixed scale, and Babai's rounding; compiled."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.moves import Channel, after_move, make_move, nearest_level, start_state


@compiled
def cyclic_descent(c: Channel) -> None:
    """The paper's alternation: best scale for the codes, then codes for the scale, until stable."""
    p, q = start_state(c)
    changed = True
    while changed and p > 0.0 and q > c.floor:
        p, q, changed = _sweep_fixed_scale(c, p, q)


@compiled
def _sweep_fixed_scale(c: Channel, p: float, q: float) -> tuple[float, float, bool]:
    """Discrete cyclic coordinate descent at the scale α = p / q until no code changes.

    b_j ← the level nearest to (g_j − α Σ_{i≠j} G_ji b_i) / (α G_jj), which for one bit is the sign;
    what gains nothing keeps b_j. Returns p, q and whether any changed.
    """
    b, g, r, top = c.b, c.g, c.r, c.top
    alpha = np.float32(p / q)
    any_change = False
    changed = True
    while changed:
        changed = False
        for j in range(b.size):
            curvature = alpha * c.diagonal[j]
            if curvature <= 0.0:
                continue
            pull = g[j] - alpha * (r[j] - c.diagonal[j] * b[j])
            level = nearest_level(pull / curvature, top)
            delta = level - b[j]
            gain = (pull - np.float32(0.5) * curvature * (level + b[j])) * delta
            # The margin is float32's rounding: without it two codes could take turns for ever.
            margin = np.float32(2e-6) * (abs(g[j]) + alpha * (abs(r[j]) + c.diagonal[j] * top))
            if gain > margin:
                p, q = after_move(c, j, delta, p, q)
                make_move(c, j, delta)
                changed = True
        any_change |= changed
    return p, q, any_change


@compiled
def slow_descent(c: Channel, alpha: np.float32, sweeps: int) -> None:
    """Cyclic descent at the scale ``alpha``, from relaxed codes −top ≤ b_j ≤ top slowly to levels.

    With v the best value of b_j alone, (g_j / α − Σ_{i≠j} G_ji b_i) / G_jj, and e the middle
    between the two levels next to it (0 for one bit),

        b_j ← e + clip((v − e) / (1 − μ), −1, 1)

    μ going from 0 to 1 in ``sweeps`` sweeps: at 0 exact descent on the relaxed, convex problem, at
    1 the nearest level. In between a term −μ Σ G_jj (b_j − e)², which is constant on levels, makes
    the relaxed problem gradually concave. Changes below 1e-3 wait until they have added up, as each
    costs as much as a move.
    """
    b, g, r, top = c.b, c.g, c.r, c.top
    one, two = np.float32(1.0), np.float32(2.0)
    start_state(c)
    for sweep in range(sweeps):
        convexity = np.float32(max(1.0 - sweep / max(1, sweeps - 1), 1e-6))
        for j in range(b.size):
            diagonal = c.diagonal[j]
            if diagonal <= 0.0:
                continue
            pull = g[j] / alpha - r[j] + diagonal * b[j]
            middle = np.float32(0.0)
            if top > one:
                middle = two * np.floor((pull / diagonal + one) / two)
                middle = min(top - one, max(one - top, middle))
            value = (pull - middle * diagonal) / (convexity * diagonal)
            delta = middle + min(one, max(-one, value)) - b[j]
            if abs(delta) > np.float32(1e-3):
                make_move(c, j, delta)
    for j in range(b.size):
        b[j] = nearest_level(b[j], top)


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
            levels[s, j] = nearest_level(value, top)
            error[s, j] = w[j] - scales[s] * levels[s, j]
