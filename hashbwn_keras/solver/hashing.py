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

    "one_opt"   single flips until none raises J, from two starts: the signs of the weights, and
                the paper's descent (3) tightened slowly, from relaxed codes −1 ≤ b_j ≤ 1, for
                which (1) is convex, to ±1 (graduated non-convexity, Blake and Zisserman, 1987);
                the relaxed codes start at the clipped weights, near the convex optimum
    "tabu"      goes on from the better of the two, downhill too, without undoing recent flips;
                codes that hardly matter keep out, as they would take most of its moves, and of
                many codes the least certain take part, chosen anew every 2,048 steps
    "exact"     all codes, for K up to 16

**Longer codes.** With n bits a weight, α Σ_k 2^(n−1−k) b_k, a code stands for one of the odd levels
−(2^n − 1), …, −1, 1, …, 2^n − 1, and nothing else changes: b in (1)–(4) holds levels, a flip
becomes a move to the next level up or down, both priced from r = G b (flipping two of the n codes
at once where need be), the slow descent ends on levels. Two more starts, because the step matters:
weights rounded with the step that suits them, and Babai's rounding, which is what GPTQ does, with a
grid of steps; the best start goes on. Moves between levels leave a quarter less
error than GPTQ on the same moments (benchmarks/solver_bits.py).

The loops are compiled, in :mod:`hashbwn_keras.solver.search`; here is the problem.
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
from hashbwn_keras.solver.checks import checked, diagonal
from hashbwn_keras.solver.methods import BITS, METHODS
from hashbwn_keras.solver.search import GROUP, Problems, Rules, search_range
from hashbwn_keras.solver.starts import BABAI_STEPS, rounded, triangular
from hashbwn_keras.solver.trials import try_all

EXACT_LIMIT = 16
"""Largest bits · K that is solved by enumeration: 2^15 trials a channel take a millisecond."""
MIN_SCALE = 2.0**-20
"""Scale of a channel that keeps nothing, and lower bound of all others.

Small enough to add nothing, yet above 1.2e-7, the limit under which Larq Compute Engine takes a
channel for zero and turns its whole layer to float.
"""
# What follows was measured on ResNet-20 (benchmarks/solver.md); results hardly depend on it.
SWEEPS = (64, 160)  # of the slow descent, at least and at most; many inputs need fewer
SWEEPS_TIMES_K = 2**17
TABU_STEPS = 8192
WEAK_INPUT = 1e-3  # of the mean variance: codes of weaker inputs are left out of tabu search


@dataclass(frozen=True)
class HashCodes:
    """Solution of one layer, or of a batch of them.

    Attributes:
        codes: int8 [..., K, T], odd levels: −1 or +1, for n bits −(2^n − 1), …, −1, 1, …, 2^n − 1.
            A weight is code · scale.
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
    bits: int = 1,
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
            "exact": all codes tried, bits · K ≤ 16. "auto": "exact" where it can be, else "tabu".
        init: float weights like ``cross``, in any unit. Rounded, to their signs for one bit, they
            are the first start, clipped the second; without ``init``, ``cross``. Zeros are rounded
            to the sign of ``cross``, or +1.
        seed: of the tabu tenures. Same arguments, same result on one machine, for any
            number of threads; each channel's result is independent of the others.
        bits: of a weight, 1 to 4. A search takes at most ``bits`` times as long as for one bit.
        damping: λ; the search sees G + λ · mean(diag G) · I, which guards against few patches.
        steps: tabu steps a channel, at most; by default 8,192.

    Returns:
        Codes with g·b ≥ 0 in every channel. ``objective`` is never below that of "sign" (with
        ``damping``: of the damped problem); after a search on J no single move improves it beyond
        float32's rounding. A channel that depends on no input keeps the start's codes and gets
        :data:`MIN_SCALE`; so do the codes of inputs that never vary.

    Raises:
        HashBWNError: shapes that do not fit, NaN or infinite values, a ``gram`` that is not
            symmetric or not positive semidefinite, an unknown method, bits other than 1 to 4,
            "exact" with bits · K > 16.
    """
    if method not in METHODS:
        raise HashBWNError(f"Unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    if bits not in BITS:
        raise HashBWNError(f"bits={bits!r}: choose {BITS[0]} to {BITS[-1]} bits a weight.")
    G, g, w, unit = checked(gram, cross, init)
    B, K, T = g.shape
    if method == "auto":
        method = "exact" if bits * K <= EXACT_LIMIT else "tabu"
    if method == "exact" and bits * K > EXACT_LIMIT:
        raise HashBWNError(
            f'method="exact" tries all codes and K={K} inputs of {bits} bits have too many: use it '
            f'up to {EXACT_LIMIT} bits a channel, or method="tabu".'
        )
    if steps is None:
        steps = TABU_STEPS
    if steps < 0 or not 0 <= damping < np.inf:
        raise HashBWNError(f"steps={steps} and damping={damping} must be finite and not negative.")

    problem = _Problem(G, g, unit, damping)
    top = 2**bits - 1
    start = problem.signed(rounded(G, g, w, top))
    found = _rows(start)
    if method == "exact":
        rows = _rows(problem.cross())
        _in_threads(partial(try_all, problem.damped_exactly(), rows, found, float(top)), B * T)
    elif method != "sign":
        rules = Rules(
            ("dcc", "one_opt", "tabu").index(method),
            np.float32(top),
            int(np.clip(SWEEPS_TIMES_K / K, *SWEEPS)),
            WEAK_INPUT + damping,
            steps,
            np.uint64(seed % 2**64),
        )
        found = _search_codes(problem, found, w, rules)
    found = problem.signed(found.reshape(B, T, K).transpose(0, 2, 1))
    solution = problem.solution(start, found)
    if np.ndim(gram) == 3:
        return solution
    return HashCodes(solution.codes[0], solution.scales[0], solution.objective[0])


class _Problem:
    """The moments G [B, K, K] and g [B, K, T], and in the units the searches use."""

    def __init__(self, G: NDArray, g: NDArray, unit: NDArray, damping: float) -> None:
        self._G, self._g, self._unit = G, g, unit
        self._damping = damping
        self._level = np.trace(G, axis1=1, axis2=2)[:, None, None] / G.shape[1]

    def damped(self) -> NDArray[np.float32]:
        """G in units of its mean diagonal, damped; of order one: float32 suffices to search."""
        G = self._unit.copy()
        diagonal(G)[...] += np.float32(self._damping)
        return G

    def damped_exactly(self) -> NDArray[np.float64]:
        """The same to the last digit."""
        G = _ratio(0.5 * (self._G + self._G.transpose(0, 2, 1)), self._level)
        diagonal(G)[...] += self._damping
        return G

    def cross(self) -> NDArray:
        """The cross moments g in units of the largest of each channel."""
        return _ratio(self._g, np.abs(self._g).max(axis=1, keepdims=True))

    def signed(self, b: NDArray) -> NDArray:
        """Codes b [B, K, T], those of channels with g·b < 0 negated."""
        return np.where((self._g * b).sum(axis=1, keepdims=True) < 0, -b, b)

    def solution(self, start: NDArray, found: NDArray) -> HashCodes:
        """The better codes in each channel, with formulas (2) and (4) in float64.

        Searches decide in float32: where the start is as good in float64, keep it. Inputs that
        never vary keep the start's codes.
        """
        still = diagonal(self._G)[:, :, None] <= 1e-12 * self._level
        b = np.where(still, start, found)
        p, q, J = self._forms(b)
        single = start.astype(np.float32)
        rough = ((self._unit @ single) * single).sum(axis=1, dtype=np.float64) * self._level[:, 0]
        # Only where the start comes close are its forms needed to the last digit.
        rough = self._objective(start, (self._g * start).sum(axis=1), rough)
        close = np.flatnonzero((1.001 * rough > J).any(axis=0))
        p_start, q_start, J_start = self._forms(start, close)
        worse = J[:, close] <= J_start
        b[:, :, close] = np.where(worse[:, None], start[:, :, close], b[:, :, close])
        p[:, close] = np.where(worse, p_start, p[:, close])
        q[:, close] = np.where(worse, q_start, q[:, close])
        scales = np.maximum(_ratio(p, q), MIN_SCALE)
        return HashCodes(b.astype(np.int8), scales, _ratio(p * p, q))

    def _forms(self, b: NDArray, channels: Any = slice(None)) -> tuple[NDArray, NDArray, NDArray]:
        """The forms g·b and bᵀ G b of channels [B, ...], and J with G damped."""
        b = b[:, :, channels]
        p = (self._g[:, :, channels] * b).sum(axis=1)
        q = ((self._G @ b) * b).sum(axis=1)
        return p, q, self._objective(b, p, q)

    def _objective(self, b: NDArray, p: NDArray, q: NDArray) -> NDArray:
        """J with G damped; p = g·b, q = bᵀ G b."""
        return _ratio(p * p, q + self._damping * self._level[:, 0] * (b * b).sum(axis=1))


def _ratio(numerator: NDArray, denominator: NDArray) -> NDArray:
    """The quotient, 0 where the denominator is not positive."""
    where = np.broadcast_to(denominator > 0, numerator.shape)
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=where)


def _search_codes(problem: _Problem, start: NDArray, w: NDArray, rules: Rules) -> NDArray:
    """The codes [B·T, K] that the compiled search finds from ``start`` and the weights."""
    single = np.float32
    grams, cross = problem.damped(), problem.cross()
    factors: NDArray = grams[:, :1]  # not used for one bit
    targets = cross
    if rules.top > 1:
        factors, targets = triangular(problem.damped_exactly(), cross)
    problems = Problems(
        grams,
        _rows(cross).astype(single),
        _rows(_ratio(w, np.abs(w).max(axis=1, keepdims=True))).astype(single),
        np.ascontiguousarray(factors, single),
        _rows(targets).astype(single),
        BABAI_STEPS,
    )
    codes = start.astype(single)
    _in_threads(partial(search_range, problems, codes, rules), len(codes))
    return codes


def _rows(values: NDArray) -> NDArray:
    """A copy of [B, K, T] as one row a channel, [B·T, K]."""
    return np.array(values.transpose(0, 2, 1), order="C").reshape(-1, values.shape[1])


def _in_threads(run: Any, problems: int) -> None:
    """Call ``run(first, last)`` on ranges of problems in as many threads as there are cores."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    threads = min(problems, len(affinity(0)) if affinity else os.cpu_count() or 1)
    # Several ranges a thread, because searches differ in length, but full groups first.
    ranges = min(problems, max(threads, min(4 * threads, problems // GROUP)))
    edges = np.linspace(0, problems, ranges + 1).astype(int)
    pool = ThreadPoolExecutor(threads)
    try:
        for job in [pool.submit(run, int(a), int(b)) for a, b in pairwise(edges)]:
            job.result()
    finally:
        pool.shutdown(cancel_futures=True)  # an interrupt waits for the running ranges only
