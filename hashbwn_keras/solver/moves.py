"""Pricing and making single moves, compiled; the letters are those of the formulas in ``hashing``.

The codes ``b`` of a channel are floats that hold odd levels −top..top and are changed in place;
``r = G b``, ``p = g·b``, ``q = bᵀ G b``, J(b) = p² / q. A move changes one code by δ, to the next
level up or down; one bit has the levels ±1 and one move a code, the flip δ = −2 b. Then

    p' = p + δ g_j        q' = q + 2 δ r_j + δ² G_jj        r' = r + δ G[:, j]

so that trying a move costs O(1) and making it O(K). r is float32 (memory-bound), p and q are
float64 (they decide).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled

# A step up must exceed the rounding of float32, or a search could climb for ever.
GAIN = 1.0 + 1e-6
NEVER = np.int32(2**31 - 1)


class Channel(NamedTuple):
    """One output channel in search; arrays are float32 [K] where nothing else is said.

    Attributes:
        G: Gram matrix [K, K].
        diagonal: of G.
        g: cross moments.
        b: codes.
        r: G b.
        top: the highest level; 1 for one bit.
        floor: lower bound of bᵀ G b, far below every sensible one.
        free_at: int32, the step from which a code may move, :data:`NEVER` if not at all.
        price: scratch.
        delta: scratch.
    """

    G: NDArray
    diagonal: NDArray
    g: NDArray
    b: NDArray
    r: NDArray
    top: np.float32
    floor: float
    free_at: NDArray
    price: NDArray
    delta: NDArray


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
def start_state(c: Channel) -> tuple[np.float64, np.float64]:
    """Set r = G b; return p and q."""
    K = c.b.size
    p = np.float64(0.0)
    q = np.float64(0.0)
    for i in range(K):
        row = c.G[i]
        total = np.float32(0.0)
        for j in range(K):
            total += row[j] * c.b[j]
        c.r[i] = total
        p += np.float64(c.g[i] * c.b[i])
        q += np.float64(total * c.b[i])
    return p, q


@compiled
def after_move(c: Channel, j: int, delta: np.float32, p: float, q: float) -> tuple[Any, Any]:
    """The forms p and q with code j changed by ``delta``."""
    change = delta * (np.float32(2.0) * c.r[j] + delta * c.diagonal[j])
    return p + np.float64(delta * c.g[j]), q + np.float64(change)


@compiled
def make_move(c: Channel, j: int, delta: np.float32) -> None:
    """Change code j by ``delta`` and update r."""
    row = c.G[j]
    for i in range(c.b.size):
        c.r[i] += delta * row[i]
    c.b[j] += delta


@compiled
def best_move(c: Channel, p: float, q: float, step: int, best: float) -> np.int32:
    """The move with the largest J among those that are free at ``step`` or would beat ``best``.

    Returns its index, or −1 if no move is allowed; δ is in ``delta``.
    """
    if c.top == 1.0:
        _price_flips(c, p, q, step, best)
    else:
        _price_levels(c, p, q, step, best)
    return _index_of_largest(c.price)


@compiled
def _price_flips(c: Channel, p: float, q: float, step: int, best: float) -> None:
    diagonal, g, b, r, free_at, price = c.diagonal, c.g, c.b, c.r, c.free_at, c.price
    p32, q32, low, aspired = np.float32(p), np.float32(q), np.float32(c.floor), np.float32(best)
    two, four, now = np.float32(2.0), np.float32(4.0), np.int32(step)
    for i in range(b.size):
        pi = p32 - two * b[i] * g[i]
        qi = q32 + four * (diagonal[i] - b[i] * r[i])
        value = pi * pi / max(qi, low)
        free = (free_at[i] <= now) | ((value > aspired) & (free_at[i] != NEVER))
        price[i] = value if free else np.float32(-1.0)
        c.delta[i] = -two * b[i]


@compiled
def _price_levels(c: Channel, p: float, q: float, step: int, best: float) -> None:
    """The better of one level up and one down for each code."""
    diagonal, g, b, r, free_at, price = c.diagonal, c.g, c.b, c.r, c.free_at, c.price
    p32, q32, low, aspired = np.float32(p), np.float32(q), np.float32(c.floor), np.float32(best)
    two, four, none, now = np.float32(2.0), np.float32(4.0), np.float32(-1.0), np.int32(step)
    for i in range(b.size):
        up = p32 + two * g[i]
        up = up * up / max(q32 + four * (diagonal[i] + r[i]), low)
        up = up if b[i] < c.top else none
        down = p32 - two * g[i]
        down = down * down / max(q32 + four * (diagonal[i] - r[i]), low)
        down = down if b[i] > -c.top else none
        value = max(up, down)
        free = (free_at[i] <= now) | ((value > aspired) & (free_at[i] != NEVER))
        price[i] = value if free else none
        c.delta[i] = two if up >= down else -two


@compiled
def _index_of_largest(price: NDArray) -> np.int32:
    """Where the largest price is, −1 if all are negative.

    Two loops, which compare the bits of the (positive) prices as integers, because so they become
    vector instructions: a plain search for the largest float takes several times as long.
    """
    K = np.int32(price.size)
    bits = price.view(np.int32)
    highest = np.int32(-1)
    for i in range(K):
        highest = max(highest, bits[i])
    found = K
    for i in range(K):
        found = min(found, np.int32(i) if bits[i] == highest else K)
    return found if found < K else np.int32(-1)
