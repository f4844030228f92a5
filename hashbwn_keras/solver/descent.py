"""Coordinate descents at a fixed scale; compiled."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.group import (
    BLOCK,
    NONE,
    Block,
    Group,
    block_of,
    new_group,
    set_forms,
    set_r,
    spread,
    square_of,
)
from hashbwn_keras.solver.moves import after_move, nearest_level

WAIT = np.float32(0.1)  # smaller changes of relaxed codes wait until they have added up


@compiled
def cyclic_descent(c: Group) -> None:
    """The paper's alternation: best scale for the codes, then codes for the scale, until stable."""
    for t in range(len(c.b)):
        changed = True
        while changed and c.p[t] > 0.0 and c.q[t] > c.floor:
            changed = _sweeps_at_fixed_scale(c, t)


@compiled
def _sweeps_at_fixed_scale(c: Group, t: int) -> bool:
    """Discrete cyclic coordinate descent of channel t at the scale α = p / q until nothing changes.

    b_j ← the level nearest to (g_j − α Σ_{i≠j} G_ji b_i) / (α G_jj), which for one bit is the sign;
    what gains nothing keeps b_j. Returns whether any changed.
    """
    b, g, r, p, q = c.b[t], c.g[t], c.r[t], c.p[t], c.q[t]
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
            level = nearest_level(pull / curvature, c.top)
            delta = level - b[j]
            gain = (pull - np.float32(0.5) * curvature * (level + b[j])) * delta
            # The margin is float32's rounding: without it two codes could take turns for ever.
            margin = np.float32(2e-6) * (abs(g[j]) + alpha * (abs(r[j]) + c.diagonal[j] * c.top))
            if gain > margin:
                p, q = after_move(g[j], r[j], c.diagonal[j], delta, p, q)
                row = c.G[j]
                for i in range(b.size):
                    r[i] += delta * row[i]
                b[j] = level
                changed = True
        any_change |= changed
    c.p[t], c.q[t] = p, q
    return any_change


@compiled
def relaxed_start(c: Group, weights: NDArray, inverse_scale: NDArray) -> Group:
    """A group like ``c`` whose codes are float weights [n, K], clipped to −top..top.

    Of any unit: they are scaled so that they fit best before they are clipped. So they are near
    the solution of the relaxed problem, which is where the slow descent begins.
    """
    start = new_group(c.G, c.diagonal, c.g, weights.copy(), c.top, c.floor)
    set_r(start)
    for t in range(len(c.b)):
        fit = max(start.p[t], 0.0) / max(start.q[t], c.floor) * inverse_scale[t]
        for i in range(c.b.shape[1]):
            start.b[t, i] *= np.float32(fit)
            start.r[t, i] *= np.float32(fit)
    _project(start, False)
    return start


@compiled
def slow_descent(c: Group, inverse_scale: NDArray, sweeps: int) -> None:
    """Cyclic descent at fixed scales 1 / inverse_scale [n], from relaxed codes slowly to levels.

    With v the best value of b_j alone, (g_j / α − Σ_{i≠j} G_ji b_i) / G_jj, and e the middle
    between the two levels next to it (0 for one bit),

        b_j ← e + clip((v − e) / (1 − μ), −1, 1)

    μ going from 0 to 1 in ``sweeps`` sweeps: at 0 exact descent on the relaxed, convex problem
    −top ≤ b_j ≤ top, at 1 the nearest level. In between a term −μ Σ G_jj (b_j − e)², which is
    constant on levels, makes the relaxed problem gradually concave. Changes below :data:`WAIT` wait
    until they have added up, as each costs as much as a move. Needs r; p and q are left as they
    were.
    """
    D = np.empty((BLOCK, BLOCK), np.float32)
    scratch = np.empty((2, BLOCK), np.float32)
    for sweep in range(sweeps):
        convexity = np.float32(max(1.0 - sweep / max(1, sweeps - 1), 1e-6))
        for first in range(0, c.b.shape[1], BLOCK):
            square_of(c, first, D)
            for t in range(len(c.b)):
                block = block_of(c, t, first, D, scratch)
                _descend_block(c, t, block, inverse_scale[t], convexity)
            spread(c)
    _project(c, True)


@compiled
def _descend_block(
    c: Group, t: int, block: Block, inverse_scale: np.float32, convexity: np.float32
) -> None:
    """The changes of channel t in one block, in order."""
    b, r, D, delta = block.b, block.r, block.D, block.work
    size = np.int32(b.size)
    made, start = 0, np.int32(0)
    while start < size:
        _changes(block, c.top, inverse_scale, convexity)
        # All changes at once, and the first in order: so both become vector instructions.
        found = NONE
        for i in range(size):
            found = min(found, np.int32(i) if (abs(delta[i]) > WAIT) & (i >= start) else NONE)
        if found == NONE:
            break
        j = np.int64(found)
        x = delta[j]
        for i in range(size):
            r[i] += x * D[j, i]
        b[j] += x
        c.inputs[t, made] = block.first + j
        c.change[t, made] = x
        made += 1
        start = found + np.int32(1)
    c.moves[t] = made


@compiled
def _changes(
    block: Block, top: np.float32, inverse_scale: np.float32, convexity: np.float32
) -> None:
    """What the rule of the slow descent would change each code by; 0 for dead inputs."""
    b, g, r, diagonal, delta = block.b, block.g, block.r, block.diagonal, block.work
    zero, one, two = np.float32(0.0), np.float32(1.0), np.float32(2.0)
    steepness = one / convexity
    if top == one:
        for i in range(b.size):
            d = diagonal[i]
            value = (g[i] * inverse_scale - r[i] + d * b[i]) / d * steepness
            value = min(one, max(-one, value)) - b[i]
            delta[i] = value if d > zero else zero
        return
    for i in range(b.size):
        d = diagonal[i]
        value = (g[i] * inverse_scale - r[i]) / d + b[i]
        middle = two * np.floor((value + one) / two)
        middle = min(top - one, max(one - top, middle))
        value = middle + min(one, max(-one, (value - middle) * steepness)) - b[i]
        delta[i] = value if d > zero else zero


@compiled
def _project(c: Group, to_levels: bool) -> None:
    """Relaxed codes to the nearest levels, or into −top..top; r, p and q follow."""
    for first in range(0, c.b.shape[1], BLOCK):
        size = min(c.b.shape[1] - first, BLOCK)
        for t in range(len(c.b)):
            made = 0
            for j in range(first, first + size):
                value = min(c.top, max(-c.top, c.b[t, j]))
                if to_levels:
                    value = nearest_level(value, c.top)
                if value != c.b[t, j]:
                    c.inputs[t, made] = j
                    c.change[t, made] = value - c.b[t, j]
                    c.b[t, j] = value
                    made += 1
            c.moves[t] = made
        spread(c)
    set_forms(c)
