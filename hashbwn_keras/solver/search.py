"""The searches of :mod:`hashbwn_keras.hashing` on ranges of channels; compiled.

numba releases the GIL here: ``hashing`` runs ranges in threads.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.babai import babai
from hashbwn_keras.solver.climb import climb
from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.descent import cyclic_descent, relaxed_start, slow_descent
from hashbwn_keras.solver.group import Group, new_group, objective, set_r
from hashbwn_keras.solver.moves import copy
from hashbwn_keras.solver.tabu import tabu

GROUP = 64  # channels searched together


class Rules(NamedTuple):
    """What is searched, and how long.

    Attributes:
        method: 0 = cyclic descent, 1 = climbing from several starts, 2 = and tabu search from the
            best of them.
        top: the highest level, 2^bits − 1.
        sweeps: of a slow descent.
        weak: variance up to which an input's code keeps out of tabu search.
        steps: of tabu search.
        seed: of the tenures.
    """

    method: int
    top: np.float32
    sweeps: int
    weak: float
    steps: int
    seed: np.uint64


class Problems(NamedTuple):
    """Float32 arrays of B problems of T channels; channel t of problem b is row b · T + t.

    Attributes:
        grams: [B, K, K].
        cross: [B·T, K].
        weights: [B·T, K], the float weights the codes are to stand for, in any unit.
        factors: [B, K, K], upper triangular U with Uᵀ U = G; used where top > 1.
        targets: [B·T, K], the best float weights, G⁻¹ g; used where top > 1.
        shares: [S], shares of the scale that Babai's rounding tries; used where top > 1.
    """

    grams: NDArray
    cross: NDArray
    weights: NDArray
    factors: NDArray
    targets: NDArray
    shares: NDArray


@compiled
def search_range(problems: Problems, codes: NDArray, rules: Rules, first: int, last: int) -> None:
    """Search the channels ``first..last−1``; changes ``codes`` [B·T, K], the start, in place."""
    T = len(codes) // len(problems.grams)
    while first < last:
        problem = first // T
        end = min(last, first + GROUP, (problem + 1) * T)
        G = problems.grams[problem]
        diagonal = np.diag(G).copy()
        floor = 1e-9 * diagonal.astype(np.float64).sum()
        rows = slice(first, end)
        c = new_group(G, diagonal, problems.cross[rows], codes[rows], rules.top, floor)
        set_r(c)
        if rules.method == 0:
            cyclic_descent(c)
        else:
            climb(c)
            sweeps = rules.sweeps
            if rules.top > 1.0:
                _try_babai(c, problems.factors[problem], problems.targets[rows], problems.shares)
                # Twice half as long: the second at the better scale that the first has found.
                sweeps = sweeps // 2
                _try_slow_descent(c, problems.weights[rows], sweeps)
            _try_slow_descent(c, problems.weights[rows], sweeps)
            if rules.method == 2:
                tabu(c, rules.weak, rules.steps, rules.seed)
                climb(c)  # whatever tabu search left out
        first = end


@compiled
def _try_slow_descent(c: Group, weights: NDArray, sweeps: int) -> None:
    """Climb from a slow descent at the scales of c's codes; the better codes are left in c."""
    inverse_scale = np.zeros(len(c.b), np.float32)
    for t in range(len(c.b)):
        if c.p[t] != 0.0:
            inverse_scale[t] = max(c.q[t], c.floor) / abs(c.p[t])
    other = relaxed_start(c, weights, inverse_scale)
    slow_descent(other, inverse_scale, sweeps)
    climb(other)
    _keep_better(c, other)


@compiled
def _try_babai(c: Group, factor: NDArray, targets: NDArray, shares: NDArray) -> None:
    """Climb from the best of Babai's roundings about the scales of c's codes."""
    other = new_group(c.G, c.diagonal, c.g, np.empty_like(c.b), c.top, c.floor)
    levels = np.empty((shares.size, c.b.shape[1]), np.float32)
    trial = new_group(c.G, c.diagonal, np.empty_like(levels), levels, c.top, c.floor)
    for t in range(len(c.b)):
        copy(c.b[t], other.b[t])
        if c.p[t] == 0.0:
            continue
        scale = np.float32(abs(c.p[t]) / max(c.q[t], c.floor))
        babai(factor, targets[t], shares * scale, c.top, levels)
        for s in range(shares.size):
            copy(c.g[t], trial.g[s])
        set_r(trial)
        best = 0
        for s in range(1, shares.size):
            if objective(trial, s) > objective(trial, best):
                best = s
        copy(levels[best], other.b[t])
    set_r(other)
    climb(other)
    _keep_better(c, other)


@compiled
def _keep_better(c: Group, other: Group) -> None:
    """Take the codes of the other group in the channels in which they are better."""
    for t in range(len(c.b)):
        if objective(other, t) > objective(c, t):
            copy(other.b[t], c.b[t])
            copy(other.r[t], c.r[t])
            c.p[t], c.q[t] = other.p[t], other.q[t]
