"""Binary codes that keep a layer's inner products: the optimisation problem and its solvers.

The problem (Hu, Wang, Cheng, "From Hashing to CNNs", AAAI 2018), for one output channel of a layer
with input patches x ∈ R^K and float target s = w·x: codes b ∈ {−1, +1}^K and a scale α > 0 with

    min  E (s − α b·x)²  =  v − 2 α g·b + α² bᵀ G b                                           (1)

    G = E x xᵀ  [K, K]        g = E x s  [K]        v = E s²

Only these second moments are needed, so the cost does not depend on how many patches they sum up.
With **centred** moments (covariances) the means are matched for free by a bias or a batch-norm
behind the layer; with plain ones it is the problem of the paper. The solver does not care.

**The paper's algorithm** ("dcc") alternates: for fixed codes the best scale is

    α = g·b / bᵀ G b                                                                          (2)

and for a fixed scale each code in turn takes the sign that lowers (1), all others held,

    b_j ← sign(α g_j − α² Σ_{i≠j} G_ji b_i)                                                   (3)

It stops where no code wants to change *at the present scale*.

**The better ones** put (2) into (1): the residual becomes v − J(b) with

    J(b) = (g·b)² / bᵀ G b                                                                    (4)

and maximise J over the codes alone, the scale following every flip. Whatever lowers (1) at a fixed
scale also raises J, but not the other way round: a fixed point of (2)–(3) can often still be
improved by a single flip. With r = G b at hand, pricing all K flips of a channel costs O(K) and
making one costs O(K), so many can be made:

    "one_opt"   best single flips until none raises J, from two starts: the signs of the weights,
                and the paper's descent (3) tightened slowly, from relaxed codes −1 ≤ b_j ≤ 1, for
                which (1) is convex, to ±1 (graduated non-convexity, Blake and Zisserman, 1987)
    "tabu"      goes on from the better of the two, downhill too, without undoing recent flips;
                codes that hardly matter keep out, as they would take most of its moves
    "exact"     all codes, for K up to 16

The loops are compiled, in :mod:`hashbwn_keras.solver.search`; here are the problem and the checks.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.solver import search as _search
from hashbwn_keras.solver.methods import METHODS

EXACT_LIMIT = 16
"""Largest K that is solved by enumeration: 2^15 trials a channel take about a millisecond."""
MIN_SCALE = 2.0**-20
"""Scale of a channel that keeps nothing, and lower bound of all others.

Small enough to add nothing, yet above 1.2e-7, the limit under which Larq Compute Engine takes a
channel for zero and turns its whole layer to float.
"""
# What follows was measured on ResNet-20 (benchmarks/solver.md); results hardly depend on it.
SWEEPS = 40  # of the slow descent
TABU_STEPS = 8192  # or 2 K where that is more
WEAK_INPUT = 1e-3  # of the mean variance: codes of weaker inputs are left out of tabu search
SLACK = 1e-5  # of the trace: how negative rounding may make an eigenvalue of a Gram matrix

_NOT_A_GRAM = (
    "gram has clearly negative eigenvalues: give XᵀX or a covariance of real inputs, not a "
    "difference of two."
)


@dataclass(frozen=True)
class HashCodes:
    """Solution of one layer, or of a batch of them.

    Attributes:
        codes: int8 [..., K, T], −1 or +1.
        scales: float64 [..., T], α ≥ :data:`MIN_SCALE`, the best one for the codes.
        objective: float64 [..., T], J of formula (4), computed from the codes and the moments as
            they were given. The mean squared error left is var(s) − objective.
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float64]
    objective: NDArray[np.float64]


def solve(
    gram: ArrayLike,
    cross: ArrayLike,
    *,
    method: str = "auto",
    init: ArrayLike | None = None,
    seed: int = 0,
    damping: float = 0.0,
    steps: int | None = None,
) -> HashCodes:
    """Find the codes and scales of a layer's output channels.

    Args:
        gram: [K, K] second moments G of the inputs, or [B, K, K] for B independent problems, such
            as the groups of a grouped or the channels of a depthwise convolution.
        cross: [K, T] or [B, K, T], cross moments g of inputs and float outputs, a column each
            output channel.
        method: "sign": codes of ``init``, with their best scale. "dcc": the paper's discrete cyclic
            coordinate descent from there. "one_opt", "tabu": single flips and tabu search on J.
            "exact": all codes tried, K ≤ 16. "auto": "exact" if K ≤ 16, else "tabu".
        init: float weights like ``cross``, whose signs are the start; where they are zero, and
            everywhere without ``init``, the sign of ``cross``; where that is zero too, +1.
        seed: of the tabu tenures. Same arguments, same result on one machine, for any
            number of threads; each channel's result is independent of the others.
        damping: λ; the search sees G + λ · mean(diag G) · I, which guards against few patches.
        steps: tabu steps a channel, by default 8,192 or, where that is more, 2 K.

    Returns:
        Codes with g·b ≥ 0 in every channel. ``objective`` is never below that of "sign" (with
        ``damping``: of the damped problem); after a search on J no single flip improves it beyond
        float32's rounding. A channel that depends on no input keeps the start's codes and gets
        :data:`MIN_SCALE`; so do the codes of inputs that never vary.

    Raises:
        HashBWNError: shapes that do not fit, NaN or infinite values, a ``gram`` that is not
            symmetric or not positive semidefinite, an unknown method, "exact" with K > 16.
    """
    if method not in METHODS:
        raise HashBWNError(f"Unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    G, g, start = _checked(gram, cross, init)
    batched = np.ndim(gram) == 3
    B, K, T = g.shape
    if method == "auto":
        method = "exact" if K <= EXACT_LIMIT else "tabu"
    if method == "exact" and K > EXACT_LIMIT:
        raise HashBWNError(
            f'method="exact" tries all 2^K codes and K is {K}: use it up to K = {EXACT_LIMIT}, '
            'or method="tabu".'
        )
    if steps is None:
        steps = max(TABU_STEPS, 2 * K)
    if steps < 0 or not 0 <= damping < np.inf:
        raise HashBWNError(f"steps={steps} and damping={damping} must be finite and not negative.")

    # One row a channel, and moments of order one: J only changes by a factor, and float32 suffices.
    level = np.trace(G, axis1=1, axis2=2)[:, None, None] / K
    unit = _ratio(G, np.broadcast_to(level, G.shape))
    _check_semidefinite(unit)
    _diagonal(unit)[...] += damping
    peak = np.abs(g).max(axis=1, keepdims=True)
    g_unit = _ratio(g, np.broadcast_to(peak, g.shape))

    p, _ = _forms(unit, g_unit, start)
    start = np.where(p[:, None, :] < 0, -start, start)
    rows = np.ascontiguousarray(g_unit.transpose(0, 2, 1)).reshape(B * T, K)
    found = np.ascontiguousarray(start.transpose(0, 2, 1)).reshape(B * T, K)
    if method == "exact":
        _in_threads(partial(_search.enumerate_range, unit, rows, found), B * T)
    elif method != "sign":
        weak = WEAK_INPUT + damping
        _search_codes(unit, rows, found, method, weak, steps, seed)

    b = found.reshape(B, T, K).transpose(0, 2, 1)
    still = _diagonal(G)[:, :, None] <= 1e-12 * level
    b = np.where(still, start, b)
    # Searches decide in float32: where the start is as good in float64, keep it.
    better = _objective(unit, g_unit, b) > _objective(unit, g_unit, start)
    b = np.where(better[:, None, :], b, start)
    solution = _scaled(G, g, b)
    if batched:
        return solution
    return HashCodes(solution.codes[0], solution.scales[0], solution.objective[0])


def _scaled(G: NDArray, g: NDArray, b: NDArray) -> HashCodes:
    """The codes, signed so that g·b ≥ 0, with formulas (2) and (4) in float64."""
    p, q = _forms(G, g, b)
    codes = np.where(p[:, None, :] < 0, -b, b).astype(np.int8)
    return HashCodes(codes, np.maximum(_ratio(np.abs(p), q), MIN_SCALE), _ratio(p * p, q))


def _objective(G: NDArray, g: NDArray, b: NDArray) -> NDArray:
    p, q = _forms(G, g, b)
    return _ratio(p * p, q)


def _forms(G: NDArray, g: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """The forms g·b and bᵀ G b of every channel, [B, T]."""
    return (g * b).sum(axis=1), ((G @ b) * b).sum(axis=1)


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    """The quotient, 0 where the denominator is not positive."""
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _diagonal(G: NDArray) -> NDArray:
    """Writable view of the diagonals [B, K] of G [B, K, K]."""
    return np.einsum("bii->bi", G)


def _search_codes(
    G: NDArray,
    g: NDArray,
    codes: NDArray,
    method: str,
    weak: float,
    steps: int,
    seed: int,
) -> None:
    """Run the compiled search on all channels; ``codes`` [B·T, K] is changed in place."""
    work = codes.astype(np.float32)
    run = partial(
        _search.search_range,
        G.astype(np.float32),
        g.astype(np.float32),
        work,
        method=("dcc", "one_opt", "tabu").index(method),
        sweeps=SWEEPS,
        weak=weak,
        steps=steps,
        seed=np.uint64(seed % 2**64),
    )
    _in_threads(run, len(work))
    codes[:] = work


def _in_threads(run: Any, problems: int) -> None:
    """Call ``run(first, last)`` on ranges of problems in as many threads as there are cores."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    threads = min(problems, len(affinity(0)) if affinity else os.cpu_count() or 1)
    # Several ranges a thread, because searches differ in length.
    edges = np.linspace(0, problems, min(problems, 4 * threads) + 1).astype(int)
    pool = ThreadPoolExecutor(threads)
    try:
        for job in [pool.submit(run, int(a), int(b)) for a, b in pairwise(edges)]:
            job.result()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for the running ranges only


def _checked(
    gram: ArrayLike, cross: ArrayLike, init: ArrayLike | None
) -> tuple[NDArray, NDArray, NDArray]:
    """The moments as float64 [B, K, K] and [B, K, T] and the start codes [B, K, T]."""
    G = np.asarray(gram, np.float64)
    g = np.asarray(cross, np.float64)
    if G.ndim not in (2, 3) or G.shape[-1] != G.shape[-2]:
        raise HashBWNError(f"gram has shape {G.shape}: give [K, K] or [B, K, K].")
    if g.ndim != G.ndim or g.shape[:-1] != G.shape[:-1] or 0 in g.shape:
        raise HashBWNError(
            f"cross has shape {g.shape}, which does not fit gram {G.shape}: "
            "give [K, T] with [K, K], or [B, K, T] with [B, K, K]."
        )
    w = g if init is None else np.asarray(init, np.float64)
    if w.shape != g.shape:
        raise HashBWNError(f"init has shape {w.shape}, cross {g.shape}: give them the same shape.")
    for name, value in (("gram", G), ("cross", g), ("init", w)):
        if not np.isfinite(value).all():
            raise HashBWNError(
                f"{name} holds NaN or infinite values: check the weights and calibration data."
            )
    if G.ndim == 2:
        G, g, w = G[None], g[None], w[None]
    start = np.where(w != 0, np.sign(w), np.where(g < 0, -1.0, 1.0))
    transposed = G.transpose(0, 2, 1)
    asymmetry = np.abs(G - transposed).max()
    if asymmetry > SLACK * np.abs(G).max():
        raise HashBWNError(
            f"gram is not symmetric (entries differ by {asymmetry:.3g}): give XᵀX or a covariance."
        )
    G = 0.5 * (G + transposed)
    # No entry of a positive semidefinite matrix exceeds its trace; the rest shows below.
    if (np.abs(G).max(axis=(1, 2)) > (1 + SLACK) * np.trace(G, axis1=1, axis2=2)).any():
        raise HashBWNError(_NOT_A_GRAM)
    return G, g, start


def _check_semidefinite(G: NDArray) -> None:
    """Refuse matrices [B, K, K] that cannot be Gram matrices.

    Those of inputs that depend on each other are, with the slack their rounding needs, positive
    definite, and only such matrices have Cholesky factors.
    """
    G = G.copy()
    _diagonal(G)[...] += SLACK * G.shape[1]
    try:
        np.linalg.cholesky(G)
    except np.linalg.LinAlgError:
        raise HashBWNError(_NOT_A_GRAM) from None
