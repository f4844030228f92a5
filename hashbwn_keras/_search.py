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

_compiled = njit(nogil=True, cache=True, fastmath=True)

# Flips are priced in blocks of this many, so that the best one is found without a second full pass.
_BLOCK = 64
# A step up must exceed the rounding of float32, or a search could climb for ever.
_GAIN = 1.0 + 1e-6
_NEVER = np.int32(2**31 - 1)


@_compiled
def _state(G, g, b, r):
    """Set r = G b; return p and q."""
    K = b.size
    p = 0.0
    q = 0.0
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
def _flip(G, g, b, r, j, p, q):
    """Flip code j; return the new p and q."""
    p -= 2.0 * b[j] * g[j]
    q += 4.0 * (G[j, j] - b[j] * r[j])
    twice = np.float32(2.0) * b[j]
    row = G[j]
    for i in range(b.size):
        r[i] -= twice * row[i]
    b[j] = -b[j]
    return p, q


@_compiled
def _best_flip(diagonal, g, b, r, p, q, floor, free_at, step, best, price):
    """The flip with the largest J among those that are free at ``step`` or would beat ``best``.

    ``price`` is scratch for one block. Returns (index, J), index −1 if no flip is allowed.
    """
    K = b.size
    p32 = np.float32(p)
    q32 = np.float32(q)
    low = np.float32(floor)
    aspired = np.float32(best)
    two = np.float32(2.0)
    four = np.float32(4.0)
    found = -1
    highest = np.float32(-1.0)
    for start in range(0, K, _BLOCK):
        size = min(_BLOCK, K - start)
        top = np.float32(-1.0)
        for k in range(size):
            i = start + k
            pi = p32 - two * b[i] * g[i]
            qi = q32 + four * (diagonal[i] - b[i] * r[i])
            value = pi * pi / max(qi, low)
            free = (free_at[i] <= step) | ((value > aspired) & (free_at[i] != _NEVER))
            value = value if free else np.float32(-1.0)
            price[k] = value
            top = max(top, value)
        if top > highest:
            highest = top
            for k in range(size):
                if price[k] == top:
                    found = start + k
                    break
    return found, np.float64(highest)


@_compiled
def _sweep_fixed_scale(G, g, b, r, free_at, p, q):
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
            if pull * b[j] < -margin and free_at[j] != _NEVER:
                p, q = _flip(G, g, b, r, j, p, q)
                changed = True
        any_change |= changed
    return p, q, any_change


@_compiled
def _cyclic_descent(G, g, b, r, free_at, floor):
    """The paper's alternation: best scale for the codes, then codes for the scale, until stable."""
    p, q = _state(G, g, b, r)
    changed = q > floor and p > 0.0
    while changed:
        p, q, changed = _sweep_fixed_scale(G, g, b, r, free_at, p, q)
        changed &= q > floor and p > 0.0


@_compiled
def _climb(G, diagonal, g, b, r, free_at, floor, price):
    """Make the best single flip until none raises J. Returns J."""
    p, q = _state(G, g, b, r)
    J = p * p / max(q, floor)
    while True:
        j, value = _best_flip(diagonal, g, b, r, p, q, floor, free_at, 0, np.inf, price)
        if j < 0 or value <= J * _GAIN:
            return J
        p, q = _flip(G, g, b, r, j, p, q)
        J = p * p / max(q, floor)


@_compiled
def _babai(L, z, scale, b, rest):
    """Round G⁻¹ g / scale to codes one by one, each making up for the errors of those before.

    ``L`` is the Cholesky factor (G = L Lᵀ) and z = L⁻¹ g, so the residual of codes b is
    |z / scale − Lᵀ b|² plus a constant: back substitution with every unknown rounded to ±1.
    """
    K = b.size
    for i in range(K):
        rest[i] = z[i] / scale
    for j in range(K - 1, -1, -1):
        b[j] = np.float32(1.0) if rest[j] >= 0 else np.float32(-1.0)
        row = L[j]
        for i in range(j):
            rest[i] -= row[i] * b[j]


@_compiled
def _tabu(G, diagonal, g, b, r, free_at, floor, price, steps, state):
    """Tabu search on J from b; leaves the best codes met in b.

    Every step makes the best flip, up or down, and forbids undoing it for the tenure,
    max(10, K/50) + 0..9 steps drawn by ``state``; a flip that beats everything so far is always
    allowed (aspiration).
    """
    K = b.size
    tenure = max(10, K // 50)
    p, q = _state(G, g, b, r)
    best = p * p / max(q, floor)
    champion = b.copy()
    for step in range(1, steps + 1):
        j, value = _best_flip(diagonal, g, b, r, p, q, floor, free_at, step, best * _GAIN, price)
        if j < 0:  # K is so small that everything is forbidden: wait
            continue
        p, q = _flip(G, g, b, r, j, p, q)
        state = (state * np.uint64(6364136223846793005)) + np.uint64(1442695040888963407)
        free_at[j] = step + tenure + np.int32((state >> np.uint64(33)) % np.uint64(10))
        value = p * p / max(q, floor)
        if value > best * _GAIN:
            best = value
            champion[:] = b
    b[:] = champion


@_compiled
def search_range(grams, factors, cross, reduced, fixed, codes, first, last, method, steps, seed):
    """Search the channels ``first..last−1`` of flattened problems; changes ``codes`` in place.

    Args:
        grams: float32 [B, K, K].
        factors: float32 [B, K, K], lower Cholesky factors; unused by method 0.
        cross: float32 [B·T, K], problem b·T + t being channel t of Gram matrix b.
        reduced: float32 [B·T, K], L⁻¹ g; unused by method 0.
        fixed: bool [B, K], codes that no moment depends on and that stay as they are.
        codes: float32 [B·T, K] of ±1, the sign start.
        method: 0 = cyclic descent, 1 = climbing from two starts, 2 = and tabu search from the best.
        steps: tabu steps.
        seed: of the tenures; every channel starts from the same one, so that its result does not
            depend on which others are solved with it.
    """
    K = cross.shape[1]
    T = cross.shape[0] // grams.shape[0]
    r = np.empty(K, np.float32)
    price = np.empty(_BLOCK, np.float32)
    diagonal = np.empty(K, np.float32)
    free_at = np.empty(K, np.int32)
    other = np.empty(K, np.float32)
    for problem in range(first, last):
        G = grams[problem // T]
        g = cross[problem]
        b = codes[problem]
        trace = 0.0
        for i in range(K):
            diagonal[i] = G[i, i]
            trace += np.float64(G[i, i])
            free_at[i] = _NEVER if fixed[problem // T, i] else np.int32(0)
        floor = 1e-9 * trace
        if method == 0:
            _cyclic_descent(G, g, b, r, free_at, floor)
            continue
        J = _climb(G, diagonal, g, b, r, free_at, floor, price)
        p, q = _state(G, g, b, r)
        if p > 0.0 and q > floor:
            other[:] = b
            _babai(factors[problem // T], reduced[problem], np.float32(p / q), other, r)
            for i in range(K):
                if fixed[problem // T, i]:
                    other[i] = b[i]
            if _climb(G, diagonal, g, other, r, free_at, floor, price) > J * _GAIN:
                b[:] = other
        if method == 2:
            _tabu(G, diagonal, g, b, r, free_at, floor, price, steps, np.uint64(seed))


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
                codes[problem] = b
