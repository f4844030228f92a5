"""Channels of one problem that are searched together, so that rows of G are read once for all.

Changes to codes are collected over a block of :data:`BLOCK` inputs and added to r = G b together,
for a tile of r that stays in the cache with its part of G. Within the block each channel keeps its
own r up to date, so nothing is delayed that a decision needs. What a channel does never depends on
which others are in its group.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.compiled import compiled

BLOCK = 64  # inputs; their part of G, 64 × 64, stays in the first cache
TILE = 512  # entries of r; with 64 rows of G 128 KiB of the second cache
NONE = np.int32(2**31 - 1)  # behind the last index of a block


class Group(NamedTuple):
    """n channels in search; float32 arrays unless something else is said.

    Attributes:
        G: Gram matrix [K, K].
        diagonal: of G [K].
        g: cross moments [n, K].
        b: codes [n, K].
        r: G b [n, K].
        p: g·b, float64 [n].
        q: bᵀ G b, float64 [n].
        top: the highest level; 1 for one bit.
        floor: lower bound of bᵀ G b, far below every sensible one.
        inputs: int64 [n, BLOCK], inputs whose codes changed.
        change: [n, BLOCK], by how much.
        moves: int64 [n], how many of them.
    """

    G: NDArray
    diagonal: NDArray
    g: NDArray
    b: NDArray
    r: NDArray
    p: NDArray
    q: NDArray
    top: np.float32
    floor: float
    inputs: NDArray
    change: NDArray
    moves: NDArray


class Block(NamedTuple):
    """A block of inputs of one channel; float32 arrays.

    Attributes:
        first: its first input.
        diagonal: of G [size].
        D: the part of G on its diagonal, in the corner of [BLOCK, BLOCK].
        g: cross moments [size].
        b: codes [size], a view.
        r: G b [BLOCK], kept up to date inside the block only.
        work: scratch [size].
    """

    first: int
    diagonal: NDArray
    D: NDArray
    g: NDArray
    b: NDArray
    r: NDArray
    work: NDArray


@compiled
def new_group(
    G: NDArray, diagonal: NDArray, g: NDArray, b: NDArray, top: np.float32, floor: float
) -> Group:
    """A group with codes ``b`` and nothing computed yet."""
    n = len(b)
    return Group(
        G, diagonal, g, b, np.empty_like(b), np.empty(n), np.empty(n), top, floor,
        np.empty((n, BLOCK), np.int64), np.empty((n, BLOCK), np.float32), np.zeros(n, np.int64),
    )  # fmt: skip


@compiled
def objective(c: Group, t: int) -> float:
    """J of channel t."""
    return c.p[t] * c.p[t] / max(c.q[t], c.floor)


@compiled
def set_r(c: Group) -> None:
    """Set r = G b, and p and q."""
    n, K = c.b.shape
    c.r[:] = np.float32(0.0)
    for first in range(0, K, BLOCK):
        size = min(K - first, BLOCK)
        for t in range(n):
            c.moves[t] = size
            for i in range(size):
                c.inputs[t, i] = first + i
                c.change[t, i] = c.b[t, first + i]
        spread(c)
    set_forms(c)


@compiled
def set_forms(c: Group) -> None:
    """Set p and q from b and r."""
    for t in range(len(c.b)):
        p = np.float64(0.0)
        q = np.float64(0.0)
        for i in range(c.b.shape[1]):
            p += np.float64(c.g[t, i] * c.b[t, i])
            q += np.float64(c.r[t, i] * c.b[t, i])
        c.p[t] = p
        c.q[t] = q


@compiled
def spread(c: Group) -> None:
    """Add the collected changes to r."""
    K = c.b.shape[1]
    for low in range(0, K, TILE):
        high = min(K, low + TILE)
        for t in range(len(c.b)):
            if c.moves[t]:
                _add_rows(c, t, low, high)


@compiled
def _add_rows(c: Group, t: int, low: int, high: int) -> None:
    """R += Σ_k change_k G[index_k, low:high], eight rows at a time so that r is rarely moved."""
    G, index, change, count = c.G, c.inputs[t], c.change[t], c.moves[t]
    r = c.r[t, low:high]
    k = 0
    while k + 8 <= count:
        a0, a1, a2, a3 = (
            G[index[k], low:high], G[index[k + 1], low:high],
            G[index[k + 2], low:high], G[index[k + 3], low:high],
        )  # fmt: skip
        a4, a5, a6, a7 = (
            G[index[k + 4], low:high], G[index[k + 5], low:high],
            G[index[k + 6], low:high], G[index[k + 7], low:high],
        )  # fmt: skip
        x0, x1, x2, x3 = change[k], change[k + 1], change[k + 2], change[k + 3]
        x4, x5, x6, x7 = change[k + 4], change[k + 5], change[k + 6], change[k + 7]
        for i in range(r.size):
            r[i] += (x0 * a0[i] + x1 * a1[i] + x2 * a2[i] + x3 * a3[i]) + (
                x4 * a4[i] + x5 * a5[i] + x6 * a6[i] + x7 * a7[i]
            )
        k += 8
    while k < count:
        row, x = G[index[k], low:high], change[k]
        for i in range(r.size):
            r[i] += x * row[i]
        k += 1


@compiled
def square_of(c: Group, first: int, D: NDArray) -> int:
    """Copy the block of G on its diagonal that begins at ``first``; return its size."""
    size = min(c.b.shape[1] - first, BLOCK)
    for i in range(size):
        for j in range(size):
            D[i, j] = c.G[first + i, first + j]
    return size


@compiled
def block_of(c: Group, t: int, first: int, D: NDArray, scratch: NDArray) -> Block:
    """The block of channel t that begins at ``first``; ``scratch`` is [2, BLOCK]."""
    last = first + min(c.b.shape[1] - first, BLOCK)
    r, size = scratch[0], last - first
    for i in range(size):
        r[i] = c.r[t, first + i]
    return Block(
        first, c.diagonal[first:last], D, c.g[t, first:last], c.b[t, first:last], r,
        scratch[1, :size],
    )  # fmt: skip
