"""Tabu search on J, channel by channel; compiled."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.group import Group
from hashbwn_keras.solver.moves import GAIN, after_move, copy

UNCERTAIN = 512
"""Codes that take part where there are more: their part of G, 1 MiB, stays in the second cache."""
ROUND = 2048
"""Steps until the codes are chosen anew; a round that finds nothing is the last."""
_NEVER = np.int32(2**31 - 1)


class Channel(NamedTuple):
    """The codes of a channel that take part; arrays are float32 [n] if nothing else is said.

    Attributes:
        G: their part of the Gram matrix [n, n].
        diagonal: of G.
        g: cross moments.
        b: codes.
        r: their part of G b, b being all codes of the channel.
        top: the highest level; 1 for one bit.
        floor: lower bound of bᵀ G b.
        free_at: int32, the step from which a code may move.
        price: scratch.
        champion: the best codes so far.
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
    champion: NDArray


@compiled
def tabu(c: Group, weak: float, steps: int, seed: np.uint64) -> None:
    """Tabu search on J from b for each channel; leaves the best codes met in b, r and q, p follow.

    Every step makes the best move, up or down, and forbids moving that code again for the tenure,
    10 + 0..9 steps (less if there are fewer than 40), for longer codes 4 + 0..9; a move that beats
    everything so far is always allowed (aspiration). Codes of inputs with a variance up to ``weak``
    keep out: going down by moving them costs nothing, so that the search would do little else. Of
    the others, the :data:`UNCERTAIN` take part whose best move loses least. ``seed`` is that of the
    tenures, the same for all channels, so that no result depends on which are solved together.
    """
    strong = np.flatnonzero(c.diagonal > weak)
    n = min(len(strong), UNCERTAIN)
    if n == 0:
        return
    part = np.empty((n, n), np.float32)
    if len(strong) == n:
        _gather(c, strong, part)
    random = np.empty(1, np.uint64)
    for t in range(len(c.b)):
        random[0] = seed
        left = steps
        while left > 0 and c.p[t] != 0.0:
            chosen = strong
            if len(strong) > n:
                losses = _losses(c, t, strong)
                chosen = strong[losses <= np.partition(losses, n - 1)[n - 1]][:n]
                _gather(c, chosen, part)
            if not _round(c, t, chosen, part, min(left, ROUND), random):
                break
            left -= ROUND


@compiled
def _gather(c: Group, chosen: NDArray, part: NDArray) -> None:
    for i in range(len(chosen)):
        row = c.G[chosen[i]]
        for j in range(len(chosen)):
            part[i, j] = row[chosen[j]]


@compiled
def _losses(c: Group, t: int, strong: NDArray) -> NDArray:
    """What the best move of each code would lose, in units of J / q."""
    b, g, r, p = c.b[t], c.g[t], c.r[t], c.p[t]
    J = p * p / max(c.q[t], c.floor)
    losses = np.empty(len(strong), np.float32)
    for k in range(len(strong)):
        j = strong[k]
        up = J * (c.diagonal[j] + r[j]) - g[j] * (g[j] + p)
        down = J * (c.diagonal[j] - r[j]) - g[j] * (g[j] - p)
        losses[k] = min(up if b[j] < c.top else np.inf, down if b[j] > -c.top else np.inf)
    return losses


@compiled
def _round(c: Group, t: int, chosen: NDArray, part: NDArray, steps: int, random: NDArray) -> bool:
    """Search among the codes ``chosen``, whose part of G is ``part``; tell whether any moved."""
    n = len(chosen)
    few = Channel(
        part, c.diagonal[chosen], c.g[t][chosen], c.b[t][chosen], c.r[t][chosen], c.top, c.floor,
        np.zeros(n, np.int32), np.empty(n, np.float32), c.b[t][chosen],
    )  # fmt: skip
    _search(few, c.p[t], c.q[t], steps, random)
    moved = False
    for k in range(n):
        j = chosen[k]
        delta = few.champion[k] - c.b[t, j]
        if delta != 0.0:
            c.p[t], c.q[t] = after_move(c.g[t, j], c.r[t, j], c.diagonal[j], delta, c.p[t], c.q[t])
            row, r = c.G[j], c.r[t]
            for i in range(r.size):
                r[i] += delta * row[i]
            c.b[t, j] = few.champion[k]
            moved = True
    return moved


@compiled
def _search(c: Channel, p: float, q: float, steps: int, random: NDArray) -> None:
    """Steps of tabu search; leaves the best codes in ``champion``."""
    n = c.b.size
    tenure, spread = 4, 10
    if c.top == 1.0:
        tenure, spread = min(10, n // 4), min(10, n // 4 + 1)
    best = p * p / max(q, c.floor)
    last, delta = 0, np.float32(0.0)
    for step in range(1, steps + 1):
        q_or_floor = max(q, c.floor)
        beat = best * GAIN
        if c.top == 1.0:
            _step_flips(c, last, delta, (p, q_or_floor, beat), step)
        else:
            _step_levels(c, last, delta, (p, q_or_floor, beat), step)
        last = _index_of_largest(c.price)
        delta = np.float32(0.0)
        if last < 0:  # all are forbidden: wait
            last = 0
            continue
        delta = _delta(c, last, p, q_or_floor)
        p, q = after_move(c.g[last], c.r[last], c.diagonal[last], delta, p, q)
        c.b[last] += delta
        c.free_at[last] = step + tenure + _draw(random, spread)
        value = p * p / max(q, c.floor)
        if value > beat:
            best = value
            copy(c.b, c.champion)


@compiled
def _step_flips(
    c: Channel, last: int, delta: np.float32, forms: tuple[float, float, float], step: int
) -> None:
    """Add the last move to r, and price all flips, in one pass; ``forms`` are p, q and J to beat.

    Flips are compared by (p'² − J q') / 4, which is positive where it raises J, plus p² / 4: as
    good as J' itself, without a division.
    """
    diagonal, g, b, r, free_at, price = c.diagonal, c.g, c.b, c.r, c.free_at, c.price
    row, (p, q, best) = c.G[last], forms
    p32, J, beat = np.float32(p), np.float32(p * p / q), np.float32(best)
    limit, now = np.float32(best * q * 0.25), np.int32(step)
    zero, none = np.float32(0.0), np.float32(-1.0)
    two, quarter = np.float32(2.0), np.float32(0.25)
    for i in range(b.size):
        ri = r[i] + delta * row[i]
        r[i] = ri
        loss = diagonal[i] - b[i] * ri
        a = p32 - two * b[i] * g[i]
        a = quarter * a * a
        free = (free_at[i] <= now) | (a - beat * loss > limit)
        price[i] = max(a - J * loss, zero) if free else none


@compiled
def _step_levels(
    c: Channel, last: int, delta: np.float32, forms: tuple[float, float, float], step: int
) -> None:
    """The same for the better of one level up and one down."""
    diagonal, g, b, r, free_at, price = c.diagonal, c.g, c.b, c.r, c.free_at, c.price
    row, (p, q, best) = c.G[last], forms
    p32, J, beat = np.float32(p), np.float32(p * p / q), np.float32(best)
    limit, now = np.float32(best * q * 0.25), np.int32(step)
    zero, none = np.float32(0.0), np.float32(-1.0)
    two, quarter = np.float32(2.0), np.float32(0.25)
    for i in range(b.size):
        ri = r[i] + delta * row[i]
        r[i] = ri
        up = (p32 * g[i] >= J * ri) & (b[i] < c.top) | (b[i] <= -c.top)
        sign = two if up else -two
        loss = diagonal[i] + quarter * two * sign * ri
        a = p32 + sign * g[i]
        a = quarter * a * a
        free = (free_at[i] <= now) | (a - beat * loss > limit)
        price[i] = max(a - J * loss, zero) if free else none


@compiled
def _delta(c: Channel, j: int, p: float, q: float) -> np.float32:
    """δ of the move that was priced for code j."""
    two = np.float32(2.0)
    J = np.float32(p * p / q)
    up = (np.float32(p) * c.g[j] >= J * c.r[j]) & (c.b[j] < c.top) | (c.b[j] <= -c.top)
    return two if up else -two


@compiled
def _index_of_largest(price: NDArray) -> np.int32:
    """Where the largest price is, −1 if all are negative.

    Two loops, which compare the bits of the (positive) prices as integers, because so they become
    vector instructions: a plain search for the largest float takes several times as long.
    """
    n = np.int32(price.size)
    bits = price.view(np.int32)
    highest = np.int32(-1)
    for i in range(n):
        highest = max(highest, bits[i])
    found = n
    for i in range(n):
        found = min(found, np.int32(i) if bits[i] == highest else n)
    return found if highest >= 0 else np.int32(-1)


@compiled
def _draw(random: NDArray, n: int) -> np.int64:
    """A number from 0 to n−1; ``random`` [1] is the state of Knuth's linear generator (MMIX)."""
    random[0] = random[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return np.int64((random[0] >> np.uint64(33)) % np.uint64(n))
