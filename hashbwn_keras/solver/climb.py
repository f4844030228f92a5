"""Single moves that raise J, until there is none; compiled."""

import numpy as np

from hashbwn_keras.solver.compiled import compiled
from hashbwn_keras.solver.group import (
    BLOCK,
    NONE,
    Block,
    Group,
    block_of,
    set_forms,
    spread,
    square_of,
)
from hashbwn_keras.solver.moves import GAIN, after_move


@compiled
def climb(c: Group) -> None:
    """Make every single move that raises J, sweeping over the inputs, until none does.

    Needs r; sets p and q.
    """
    D = np.empty((BLOCK, BLOCK), np.float32)
    scratch = np.empty((2, BLOCK), np.float32)
    set_forms(c)
    moves = 1
    while moves > 0:
        moves = 0
        for first in range(0, c.b.shape[1], BLOCK):
            square_of(c, first, D)
            for t in range(len(c.b)):
                _climb_block(c, t, block_of(c, t, first, D, scratch))
                moves += c.moves[t]
            spread(c)


@compiled
def _climb_block(c: Group, t: int, block: Block) -> None:
    """The moves of channel t in one block, in order."""
    b, g, r, diagonal, gain = block.b, block.g, block.r, block.diagonal, block.work
    D, size = block.D, np.int32(b.size)
    p, q, made, start = c.p[t], c.q[t], 0, np.int32(0)
    while start < size and p != 0.0:
        _gains(block, c.top, p, max(q, c.floor))
        # All gains at once, and the first in order: so both become vector instructions.
        found = NONE
        for i in range(size):
            found = min(found, np.int32(i) if (gain[i] > 0.0) & (i >= start) else NONE)
        if found == NONE:
            break
        j = np.int64(found)
        delta = _direction(block, j, c.top, p, q)
        p_next, q_next = after_move(g[j], r[j], diagonal[j], delta, p, q)
        if p_next * p_next * max(q, c.floor) > p * p * max(q_next, c.floor) * GAIN:
            p, q = p_next, q_next
            for i in range(size):
                r[i] += delta * D[j, i]
            b[j] += delta
            c.inputs[t, made] = block.first + j
            c.change[t, made] = delta
            made += 1
        start = found + np.int32(1)
    c.p[t], c.q[t], c.moves[t] = p, q, made


@compiled
def _gains(block: Block, top: np.float32, p: float, q: float) -> None:
    """p'² − J q' for the better move of each code: positive where it raises J."""
    b, g, r, diagonal, gain = block.b, block.g, block.r, block.diagonal, block.work
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
def _direction(block: Block, j: int, top: np.float32, p: float, q: float) -> np.float32:
    """δ of the better move of code j, by p'² − J q'."""
    b, g, r = block.b[j], block.g[j], block.r[j]
    two = np.float32(2.0)
    if b >= top:
        return -two
    if b <= -top:
        return two
    # Of the two differences, what does not depend on the direction is left out.
    return two if p * g >= p * p / q * r else -two
