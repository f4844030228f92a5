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

**The better one** puts (2) into (1): the residual becomes v − J(b) with

    J(b) = (g·b)² / bᵀ G b                                                                    (4)

and maximises J over the codes alone, the scale following every flip. Since every fixed point of
(2)–(3) can only be improved by a flip that raises J, this search sees all moves that the paper's
sees and more. It climbs by best single flips from two starts, the signs of the weights and Babai's
rounding of G⁻¹g (GPTQ without its clipping), "one_opt"; then goes on from the better of the two
through downhill moves by tabu search, "tabu". Up to K = 16 all codes are simply tried, "exact".

The loops are in :mod:`hashbwn_keras._search`; here are the problem, the starts and the checks.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras import _search
from hashbwn_keras.errors import HashBWNError

METHODS = ("auto", "sign", "dcc", "one_opt", "tabu", "exact")
EXACT_LIMIT = 16
"""Largest K that is solved by enumeration: 2^15 trials a channel take about a millisecond."""
TABU_STEPS_PER_CODE = 2
MIN_SCALE = 2.0**-20
"""Scale of a channel that keeps nothing, and lower bound of all others.

Small enough to add nothing, yet above 1.2e-7, the limit under which Larq Compute Engine takes a
channel for zero and turns its whole layer to float.
"""


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
        seed: of the tabu tenures. Same arguments, same result on one machine, for any number of
            threads; each channel's result is independent of the others.
        damping: λ; the search sees G + λ · mean(diag G) · I, which guards against few patches.
        steps: tabu steps a channel; by default 2 K.

    Returns:
        Codes of which g·b ≥ 0 in every channel. ``objective`` is never below that of "sign"
        (with ``damping``: of the damped problem).

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
        steps = TABU_STEPS_PER_CODE * K
    if steps < 0 or damping < 0:
        raise HashBWNError(f"steps={steps} and damping={damping} must not be negative.")

    # One row a channel, and moments of order one: J only changes by a factor, and float32 suffices.
    level = np.trace(G, axis1=1, axis2=2)[:, None, None] / K
    G_unit = np.divide(G, level, out=np.zeros_like(G), where=level > 0)
    rows = g.transpose(0, 2, 1).reshape(B * T, K)
    peak = np.abs(rows).max(axis=1, keepdims=True)
    rows = np.divide(rows, peak, out=np.zeros_like(rows), where=peak > 0)
    start_rows = start.transpose(0, 2, 1).reshape(B * T, K)
    damped = G_unit + damping * np.eye(K)

    found = start_rows.copy()
    if method == "exact":
        _in_threads(partial(_search.enumerate_range, damped, rows, found), B * T)
    elif method != "sign":
        _search_codes(damped, _fixed(G_unit), rows, found, method, steps, seed)

    b = found.reshape(B, T, K).transpose(0, 2, 1)
    p, q = _forms(damped, rows.reshape(B, T, K).transpose(0, 2, 1), b)
    p0, q0 = _forms(damped, rows.reshape(B, T, K).transpose(0, 2, 1), start)
    # Searches decide in float32: where the start was as good in float64, keep it.
    worse = _ratio(p * p, q) < _ratio(p0 * p0, q0)
    b = np.where(worse[:, None, :], start, b)
    return _finish(G, g, b, batched)


def _finish(G: NDArray, g: NDArray, b: NDArray, batched: bool) -> HashCodes:
    """Best scale and objective of the codes, from the moments as given, in float64."""
    p, q = _forms(G, g, b)
    b = np.where(p[:, None, :] < 0, -b, b)
    p = np.abs(p)
    codes = b.astype(np.int8)
    scales = np.maximum(_ratio(p, q), MIN_SCALE)
    objective = _ratio(p * p, q)
    if batched:
        return HashCodes(codes, scales, objective)
    return HashCodes(codes[0], scales[0], objective[0])


def _forms(G: NDArray, g: NDArray, b: NDArray) -> tuple[NDArray, NDArray]:
    """The forms p = g·b and q = bᵀ G b of every channel, [B, T]."""
    return (g * b).sum(axis=1), ((G @ b) * b).sum(axis=1)


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _fixed(G: NDArray) -> NDArray:
    """Codes of inputs that never vary: no flip of them matters, so none is tried."""
    return np.diagonal(G, axis1=1, axis2=2) <= 1e-12


def _search_codes(
    G: NDArray, fixed: NDArray, g: NDArray, codes: NDArray, method: str, steps: int, seed: int
) -> None:
    """Run the compiled search on all channels; ``codes`` [B·T, K] is changed in place."""
    B, K, _ = G.shape
    if method == "dcc":
        factors = reduced = np.zeros((B, 1, 1), np.float32)
        reduced = reduced[:, 0]
    else:
        # A little on the diagonal makes the factor exist where inputs repeat each other.
        factors = np.linalg.cholesky(G + 1e-4 * np.eye(K))
        columns = g.reshape(B, -1, K).transpose(0, 2, 1)
        reduced = np.linalg.solve(factors, columns).transpose(0, 2, 1).reshape(-1, K)
        reduced = reduced.astype(np.float32)
        factors = factors.astype(np.float32)
    work = codes.astype(np.float32)
    run = partial(
        _search.search_range,
        G.astype(np.float32),
        factors,
        g.astype(np.float32),
        reduced,
        fixed,
        work,
        method=("dcc", "one_opt", "tabu").index(method),
        steps=steps,
        seed=seed,
    )
    _in_threads(run, codes.shape[0])
    codes[:] = work


def _in_threads(run: Any, problems: int) -> None:
    """Call ``run(first, last)`` on ranges of problems in as many threads as there are cores."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    threads = min(threads or 1, problems)
    # Several ranges a thread, because searches differ in length.
    edges = np.linspace(0, problems, min(problems, 4 * threads) + 1).astype(int)
    with ThreadPoolExecutor(threads) as pool:
        jobs = [pool.submit(run, int(a), int(b)) for a, b in pairwise(edges)]
        for job in jobs:
            job.result()


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
    return _positive_semidefinite(G), g, start


def _positive_semidefinite(G: NDArray) -> NDArray:
    """The symmetric part of G, after checking that G is a Gram matrix up to rounding."""
    trace = np.trace(G, axis1=1, axis2=2)[:, None, None]
    transposed = G.transpose(0, 2, 1)
    asymmetry = np.abs(G - transposed).max()
    if asymmetry > 1e-5 * np.abs(G).max():
        raise HashBWNError(
            f"gram is not symmetric (entries differ by {asymmetry:.3g}): give XᵀX or a covariance."
        )
    G = 0.5 * (G + transposed)
    # Float32 moments of dependent inputs have eigenvalues down to about −1e-6 of the trace.
    slack = np.where(trace > 0, 1e-5 * trace, 1e-300)
    try:
        np.linalg.cholesky(G + slack * np.eye(G.shape[-1]))
    except np.linalg.LinAlgError:
        raise HashBWNError(
            "gram has clearly negative eigenvalues: give XᵀX or a covariance, not a correlation "
            "that was edited or a difference of moments."
        ) from None
    return G
