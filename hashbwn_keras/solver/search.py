"""The searches of :mod:`hashbwn_keras.hashing` on channels, one at a time; compiled.

numba releases the GIL here: ``hashing`` runs ranges of channels in threads.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.descent import babai, cyclic_descent, slow_descent
from hashbwn_keras.solver.moves import (
    GAIN,
    NEVER,
    Channel,
    after_move,
    best_move,
    copy,
    make_move,
    start_state,
)


class Rules(NamedTuple):
    """What is searched, and how long.

    Attributes:
        method: 0 = cyclic descent, 1 = climbing from several starts, 2 = and tabu search from the
            best of them.
        top: the highest level, 2^bits − 1.
        sweeps: of a slow descent.
        weak: variance up to which an input's code keeps out of tabu search.
        steps: of tabu search.
        seed: of the tenures; every channel starts from the same one, so that its result does not
            depend on which others are solved with it.
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
        factors: [B, K, K], upper triangular U with Uᵀ U = G; used where top > 1.
        weights: [B·T, K], the best float weights; used where top > 1.
        shares: [S], shares of the scale that Babai's rounding tries; used where top > 1.
    """

    grams: NDArray
    cross: NDArray
    factors: NDArray
    weights: NDArray
    shares: NDArray


@compiled
def climb(c: Channel) -> tuple[float, float]:
    """Make the best single move until none raises J. Returns J and the scale."""
    for i in range(c.b.size):
        c.free_at[i] = 0
    p, q = start_state(c)
    J = p * p / max(q, c.floor)
    while True:
        j = best_move(c, p, q, 0, np.inf)
        delta = c.delta[j]
        p_next, q_next = after_move(c, j, delta, p, q)
        value = p_next * p_next / max(q_next, c.floor)
        if value <= J * GAIN:
            return J, abs(p) / max(q, c.floor)
        make_move(c, j, delta)
        p, q, J = p_next, q_next, value


@compiled
def _draw(random: NDArray, n: int) -> np.int64:
    """A number from 0 to n−1; ``random`` [1] is the state of Knuth's linear generator (MMIX)."""
    random[0] = random[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return np.int64((random[0] >> np.uint64(33)) % np.uint64(n))


@compiled
def tabu(c: Channel, weak: float, steps: int, seed: np.uint64) -> None:
    """Tabu search on J from b; leaves the best codes met in b.

    Every step makes the best move, up or down, and forbids moving that code again for the tenure,
    max(10, K/50) + 0..9 steps (less if K < 40), for longer codes 4 + 0..9; a move that beats
    everything so far is always allowed (aspiration). Codes of inputs with a variance up to ``weak``
    keep out: going down by moving them costs nothing, so that the search would do little else.
    """
    K = c.b.size
    tenure, spread = 4, 10
    if c.top == 1.0:
        tenure, spread = min(max(10, K // 50), K // 4), min(10, K // 4 + 1)
    random = np.full(1, seed)
    for i in range(K):
        c.free_at[i] = NEVER if c.diagonal[i] <= weak else np.int32(0)
    p, q = start_state(c)
    best = p * p / max(q, c.floor)
    champion = c.b.copy()
    for step in range(1, steps + 1):
        j = best_move(c, p, q, step, best * GAIN)
        if j < 0:  # all are forbidden: wait
            continue
        delta = c.delta[j]
        p, q = after_move(c, j, delta, p, q)
        make_move(c, j, delta)
        c.free_at[j] = step + tenure + _draw(random, spread)
        value = p * p / max(q, c.floor)
        if value > best * GAIN:
            best = value
            copy(c.b, champion)
    copy(champion, c.b)


@compiled
def _from_slow_descent(c: Channel, J: float, alpha: float, sweeps: int) -> tuple[float, float]:
    """Climb from a slow descent at the scale of b; the better codes are left in b."""
    before = c.b.copy()
    slow_descent(c, np.float32(alpha), sweeps)
    J_next, alpha_next = climb(c)
    if J_next > J:
        return J_next, alpha_next
    copy(before, c.b)
    return J, alpha


@compiled
def _from_babai(
    c: Channel, J: float, alpha: float, factor: NDArray, w: NDArray, shares: NDArray
) -> tuple[float, float]:
    """Climb from the best of Babai's roundings about the scale of b; the better codes stay."""
    before = c.b.copy()
    levels = np.empty((shares.size, w.size), np.float32)
    babai(factor, w, shares * np.float32(alpha), c.top, levels)
    best, chosen = -1.0, 0
    for s in range(shares.size):
        copy(levels[s], c.b)
        p, q = start_state(c)
        value = p * p / max(q, c.floor)
        if value > best:
            best, chosen = value, s
    copy(levels[chosen], c.b)
    J_next, alpha_next = climb(c)
    if J_next > J:
        return J_next, alpha_next
    copy(before, c.b)
    return J, alpha


@compiled
def search_range(problems: Problems, codes: NDArray, rules: Rules, first: int, last: int) -> None:
    """Search the channels ``first..last−1``; changes ``codes`` [B·T, K], the start, in place."""
    K = codes.shape[1]
    T = len(codes) // len(problems.grams)
    r, price, delta = np.empty(K, np.float32), np.empty(K, np.float32), np.empty(K, np.float32)
    free_at = np.empty(K, np.int32)
    for row in range(first, last):
        G = problems.grams[row // T]
        diagonal = np.diag(G).copy()
        floor = 1e-9 * diagonal.astype(np.float64).sum()
        c = Channel(
            G, diagonal, problems.cross[row], codes[row], r, rules.top, floor, free_at, price, delta
        )
        if rules.method == 0:
            cyclic_descent(c)
            continue
        J, alpha = climb(c)
        if alpha == 0.0:  # the channel depends on no input
            continue
        if rules.top > 1.0:
            J, alpha = _from_babai(
                c, J, alpha, problems.factors[row // T], problems.weights[row],
                problems.shares,
            )  # fmt: skip
            J, alpha = _from_slow_descent(c, J, alpha, rules.sweeps)
        _from_slow_descent(c, J, alpha, rules.sweeps)
        if rules.method == 2:
            tabu(c, rules.weak, rules.steps, rules.seed)
            climb(c)  # whatever tabu search left out
