"""Single moves that raise J, until there is none; compiled."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.group import BLOCK, NONE, Group, block_of, set_forms, spread
from hashbwn_keras.solver.moves import GAIN, after_move


@compiled
def climb(c: Group) -> None:
    """Make every single move that raises J, sweeping over the inputs, until none does.

    Needs r; sets p and q.
    """
    D = np.empty((BLOCK, BLOCK), np.float32)
    r, gain = np.empty(BLOCK, np.float32), np.empty(BLOCK, np.float32)
    set_forms(c)
    moves = 1
    while moves > 0:
        moves = 0
        for first in range(0, c.b.shape[1], BLOCK):
            size = block_of(c, first, D)
            part = slice(first, first + size)
            for t in range(len(c.b)):
                for i in range(size):
                    r[i] = c.r[t, first + i]
                _climb_block(c, t, first, c.b[t, part], c.g[t, part], D, r, gain[:size])
                moves += c.moves[t]
            spread(c)


@compiled
def _climb_block(
    c: Group, t: int, first: int, b: NDArray, g: NDArray, D: NDArray, r: NDArray, gain: NDArray
) -> None:
    """The moves of channel t in one block, in order; r is that of the block."""
    size = np.int32(b.size)
    diagonal = c.diagonal[first : first + size]
    p, q, made, start = c.p[t], c.q[t], 0, np.int32(0)
    while start < size and p != 0.0:
        _gains(b, g, diagonal, r, c.top, p, max(q, c.floor), gain)
        # All gains at once, and the first in order: so both become vector instructions.
        found = NONE
        for i in range(size):
            found = min(found, np.int32(i) if (gain[i] > 0.0) & (i >= start) else NONE)
        if found == NONE:
            break
        j = np.int64(found)
        delta = _direction(b[j], g[j], diagonal[j], r[j], c.top, p, q)
        p_next, q_next = after_move(g[j], r[j], diagonal[j], delta, p, q)
        if p_next * p_next * max(q, c.floor) > p * p * max(q_next, c.floor) * GAIN:
            p, q = p_next, q_next
            for i in range(size):
                r[i] += delta * D[j, i]
            b[j] += delta
            c.inputs[t, made] = first + j
            c.change[t, made] = delta
            made += 1
        start = found + np.int32(1)
    c.p[t], c.q[t], c.moves[t] = p, q, made


@compiled
def _gains(
    b: NDArray, g: NDArray, diagonal: NDArray, r: NDArray, top: np.float32, p: float, q: float,
    gain: NDArray,
) -> None:  # fmt: skip
    """p'² − J q' for the better move of each code: positive where it raises J."""
    p32, q32, J = np.float32(p), np.float32(q), np.float32(p * p / q)
    two, four, none = np.float32(2.0), np.float32(4.0), np.float32(-1.0)
    if top == 1.0:
        for i in range(b.size):
            a = p32 - two * b[i] * g[i]
            gain[i] = a * a - J * (q32 + four * (diagonal[i] - b[i] * r[i]))
        return
    for i in range(b.size):
        up = p32 + two * g[i]
        up = up * up - J * (q32 + four * (diagonal[i] + r[i]))
        down = p32 - two * g[i]
        down = down * down - J * (q32 + four * (diagonal[i] - r[i]))
        gain[i] = max(up if b[i] < top else none, down if b[i] > -top else none)


@compiled
def _direction(
    b: np.float32, g: np.float32, diagonal: np.float32, r: np.float32, top: np.float32,
    p: float, q: float,
) -> np.float32:  # fmt: skip
    """δ of the better move of one code, by p'² − J q'."""
    two = np.float32(2.0)
    if b >= top:
        return -two
    if b <= -top:
        return two
    # Of the two differences, what does not depend on the direction is left out.
    return two if p * g >= p * p / q * r else -two
