"""The compiled inner loops of :mod:`hashbwn_keras.hashing`.

One channel at a time, in the letters of the formulas there: Gram matrix ``G``, cross moments
``g``, codes ``b`` (±1 as floats, changed in place), ``r = G b``, ``p = g·b``, ``q = bᵀ G b``; the
objective is J(b) = p² / q. Every loop keeps r, p and q up to date through

    p' = p − 2 b_j g_j        q' = q − 4 b_j r_j + 4 G_jj        r' = r − 2 b_j G[:, j]

so that trying one flip costs O(1) and making it O(K). r is float32 (memory-bound), p and q are
float64 (they decide). Numba releases the GIL here: ``hashing`` runs ranges of channels in threads.
"""

import numpy as np
from numba import njit

# Without the numpy error model every division checks for zero, and no loop with one is vectorised.
_OPTIONS = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def _compiled(function):
    """Compile at first use, and keep the result on disk where there is a place for it."""
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return njit(**_OPTIONS)(function)


# A step up must exceed the rounding of float32, or a search could climb for ever.
_GAIN = 1.0 + 1e-6
_NEVER = np.int32(2**31 - 1)


@_compiled
def _copy(source, target):
    """Copy a row; slice assignment would double the time the loops take to compile."""
    for i in range(target.size):
        target[i] = source[i]


@_compiled
def _state(G, g, b, r):
    """Set r = G b; return p and q."""
    K = b.size
    p = np.float64(0.0)
    q = np.float64(0.0)
    for i in range(K):
        row = G[i]
        total = np.float32(0.0)
        for j in range(K):
            total += row[j] * b[j]
        r[i] = total
        p += np.float64(g[i] * b[i])
        q += np.float64(total * b[i])
    return p, q


@_compiled
def _after_flip(G, g, b, r, j, p, q):
    """The forms p and q with code j flipped."""
    return p - 2.0 * b[j] * g[j], q + 4.0 * (G[j, j] - b[j] * r[j])


@_compiled
def _flip(G, b, r, j):
    """Flip code j and update r."""
    twice = np.float32(2.0) * b[j]
    row = G[j]
    for i in range(b.size):
        r[i] -= twice * row[i]
    b[j] = -b[j]


@_compiled
def _best_flip(diagonal, g, b, r, p, q, floor, free_at, step, best, price):
    """The flip with the largest J among those that are free at ``step`` or would beat ``best``.

    ``price`` is scratch. Returns its index, or −1 if no flip is allowed. The three loops are apart,
    and the second and third compare the bits of the (positive) prices as integers, because so each
    becomes vector instructions: a plain search for the largest float takes several times as long.
    """
    K = np.int32(b.size)
    p32 = np.float32(p)
    q32 = np.float32(q)
    low = np.float32(floor)
    aspired = np.float32(best)
    two = np.float32(2.0)
    four = np.float32(4.0)
    now = np.int32(step)
    for i in range(K):
        pi = p32 - two * b[i] * g[i]
        qi = q32 + four * (diagonal[i] - b[i] * r[i])
        value = pi * pi / max(qi, low)
        free = (free_at[i] <= now) | ((value > aspired) & (free_at[i] != _NEVER))
        price[i] = value if free else np.float32(-1.0)
    bits = price.view(np.int32)
    highest = np.int32(-1)
    for i in range(K):
        highest = max(highest, bits[i])
    found = K
    for i in range(K):
        found = min(found, np.int32(i) if bits[i] == highest else K)
    return found if found < K else np.int32(-1)


@_compiled
def _cyclic_descent(G, g, b, r, floor):
    """The paper's alternation: best scale for the codes, then codes for the scale, until stable."""
    p, q = _state(G, g, b, r)
    changed = True
    while changed and p > 0.0 and q > floor:
        p, q, changed = _sweep_fixed_scale(G, g, b, r, p, q)


@_compiled
def _sweep_fixed_scale(G, g, b, r, p, q):
    """Discrete cyclic coordinate descent at the scale α = p / q until no code changes.

    b_j ← sign(α g_j − α² Σ_{i≠j} G_ji b_i), a zero keeps b_j. Returns p, q and whether any changed.
    """
    alpha = np.float32(p / q)
    any_change = False
    changed = True
    while changed:
        changed = False
        for j in range(b.size):
            pull = g[j] - alpha * (r[j] - G[j, j] * b[j])
            # The margin is float32's rounding: without it two codes could take turns for ever.
            margin = np.float32(1e-6) * (abs(g[j]) + alpha * (abs(r[j]) + G[j, j]))
            if pull * b[j] < -margin:
                p, q = _after_flip(G, g, b, r, j, p, q)
                _flip(G, b, r, j)
                changed = True
        any_change |= changed
    return p, q, any_change


@_compiled
def _climb(G, diagonal, g, b, r, floor, free_at, price):
    """Make the best single flip until none raises J. Returns J and the scale."""
    for i in range(b.size):
        free_at[i] = 0
    p, q = _state(G, g, b, r)
    J = p * p / max(q, floor)
    while True:
        j = _best_flip(diagonal, g, b, r, p, q, floor, free_at, 0, np.inf, price)
        p_next, q_next = _after_flip(G, g, b, r, j, p, q)
        value = p_next * p_next / max(q_next, floor)
        if value <= J * _GAIN:
            return J, abs(p) / max(q, floor)
        _flip(G, b, r, j)
        p, q, J = p_next, q_next, value


@_compiled
def _anneal(G, g, alpha, sweeps, b, r):
    """Cyclic descent at the scale ``alpha``, from relaxed codes −1 ≤ b_j ≤ 1 slowly to ±1.

    b_j ← clip((g_j / α − Σ_{i≠j} G_ji b_i) / ((1 − μ) G_jj), −1, 1), μ going from 0 to 1 in
    ``sweeps`` sweeps: at 0 exact descent on the relaxed, convex problem, at 1 the paper's rule. In
    between a term −μ Σ G_jj b_j², which is constant on codes, makes the relaxed problem gradually
    concave. Changes below 1e-3 wait until they have added up, as each costs as much as a flip.
    """
    K = b.size
    _state(G, g, b, r)
    for sweep in range(sweeps):
        convexity = np.float32(max(1.0 - sweep / max(1, sweeps - 1), 1e-6))
        for j in range(K):
            diagonal = G[j, j]
            if diagonal <= 0.0:
                continue
            value = (g[j] / alpha - r[j] + diagonal * b[j]) / (convexity * diagonal)
            change = min(np.float32(1.0), max(np.float32(-1.0), value)) - b[j]
            if abs(change) > np.float32(1e-3):
                row = G[j]
                for i in range(K):
                    r[i] += change * row[i]
                b[j] += change
    for j in range(K):
        b[j] = np.float32(1.0) if b[j] >= 0.0 else np.float32(-1.0)


@_compiled
def _draw(random, n):
    """A number from 0 to n−1; ``random`` [1] is the state of Knuth's linear generator (MMIX)."""
    random[0] = random[0] * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return np.int64((random[0] >> np.uint64(33)) % np.uint64(n))


@_compiled
def _tabu(G, diagonal, g, b, r, floor, weak, free_at, price, steps, random):
    """Tabu search on J from b; leaves the best codes met in b.

    Every step makes the best flip, up or down, and forbids undoing it for the tenure,
    max(10, K/50) + 0..9 steps (less if K < 40); a flip that beats everything so far is always
    allowed (aspiration). Codes of inputs with a variance up to ``weak`` keep out: going down by
    flipping them costs nothing, so that the search would do little else.
    """
    K = b.size
    tenure = min(max(10, K // 50), K // 4)
    spread = min(10, K // 4 + 1)
    for i in range(K):
        free_at[i] = _NEVER if diagonal[i] <= weak else np.int32(0)
    p, q = _state(G, g, b, r)
    best = p * p / max(q, floor)
    champion = b.copy()
    for step in range(1, steps + 1):
        j = _best_flip(diagonal, g, b, r, p, q, floor, free_at, step, best * _GAIN, price)
        if j < 0:  # all are forbidden: wait
            continue
        p, q = _after_flip(G, g, b, r, j, p, q)
        _flip(G, b, r, j)
        free_at[j] = step + tenure + _draw(random, spread)
        value = p * p / max(q, floor)
        if value > best * _GAIN:
            best = value
            _copy(b, champion)
    _copy(champion, b)


@_compiled
def search_range(grams, cross, codes, first, last, method, sweeps, weak, steps, seed):
    """Search the channels ``first..last−1`` of flattened problems; changes ``codes`` in place.

    Args:
        grams: float32 [B, K, K].
        cross: float32 [B·T, K], problem b·T + t being channel t of Gram matrix b.
        codes: float32 [B·T, K] of ±1, the sign start.
        method: 0 = cyclic descent, 1 = climbing from two starts, 2 = and tabu search from the
            better.
        sweeps: of the slow descent that makes the second start.
        weak: variance up to which an input's code keeps out of tabu search.
        steps: tabu steps.
        seed: of the tenures; every channel starts from the same one, so that its result does not
            depend on which others are solved with it.
    """
    K = cross.shape[1]
    T = cross.shape[0] // grams.shape[0]
    r = np.empty(K, np.float32)
    price = np.empty(K, np.float32)
    diagonal = np.empty(K, np.float32)
    other = np.empty(K, np.float32)
    free_at = np.empty(K, np.int32)
    random = np.empty(1, np.uint64)
    for problem in range(first, last):
        G = grams[problem // T]
        g = cross[problem]
        b = codes[problem]
        random[0] = seed
        trace = np.float64(0.0)
        for i in range(K):
            diagonal[i] = G[i, i]
            trace += np.float64(G[i, i])
        floor = 1e-9 * trace
        if method == 0:
            _cyclic_descent(G, g, b, r, floor)
            continue
        J, alpha = _climb(G, diagonal, g, b, r, floor, free_at, price)
        if alpha == 0.0:  # the channel depends on no input
            continue
        _copy(b, other)
        _anneal(G, g, np.float32(alpha), sweeps, other, r)
        if _climb(G, diagonal, g, other, r, floor, free_at, price)[0] > J:
            _copy(other, b)
        if method == 2:
            _tabu(G, diagonal, g, b, r, floor, weak, free_at, price, steps, random)
            # Whatever tabu search left out.
            _climb(G, diagonal, g, b, r, floor, free_at, price)


@_compiled
def enumerate_range(grams, cross, codes, first, last):
    """Best codes of channels ``first..last−1`` by trying all 2^(K−1) (b and −b have the same J).

    Consecutive trials differ in one code (Gray's order), so each costs O(K). Arrays as in
    :func:`search_range` but float64; codes that do better replace those in ``codes``.
    """
    K = cross.shape[1]
    T = cross.shape[0] // grams.shape[0]
    r = np.empty(K)
    for problem in range(first, last):
        G = grams[problem // T]
        g = cross[problem]
        b = codes[problem].copy()
        trace = 0.0
        for i in range(K):
            trace += G[i, i]
        floor = 1e-9 * trace
        p = 0.0
        q = 0.0
        for i in range(K):
            r[i] = 0.0
            for j in range(K):
                r[i] += G[i, j] * b[j]
            p += g[i] * b[i]
            q += r[i] * b[i]
        best = p * p / max(q, floor)
        for trial in range(1, 1 << (K - 1)):
            j = 0
            while not (trial >> j) & 1:
                j += 1
            p -= 2.0 * b[j] * g[j]
            q += 4.0 * (G[j, j] - b[j] * r[j])
            for i in range(K):
                r[i] -= 2.0 * b[j] * G[j, i]
            b[j] = -b[j]
            value = p * p / max(q, floor)
            if value > best * (1.0 + 1e-12):
                best = value
                _copy(b, codes[problem])
