"""What the solver is given, checked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import HashBWNError

SLACK = 1e-5  # of the trace: how negative rounding may make an eigenvalue of a Gram matrix

_BLOCK_VALUES = 2**17  # of G at a time: 1 MiB
_NOT_A_GRAM = (
    "gram has clearly negative eigenvalues: give XᵀX or a covariance of real inputs, not a "
    "difference of two."
)


def checked(
    gram: ArrayLike, cross: ArrayLike, init: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float32]]:
    """The moments G [B, K, K] and g [B, K, T] and the weights [B, K, T], float64; and float32 G.

    The last is symmetric to the bit and in units of its mean diagonal: of order one.
    """
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
    unit = _unit_gram(G)
    _check_semidefinite(unit)
    return G, g, w, unit


def _unit_gram(G: NDArray) -> NDArray[np.float32]:
    """(G + Gᵀ) / 2 in units of its mean diagonal, if G [B, K, K] is symmetric.

    Goes through G once, in blocks of rows that stay in the cache.
    """
    B, K, _ = G.shape
    unit = np.empty(G.shape, np.float32)
    trace = np.trace(G, axis1=1, axis2=2)[:, None, None]
    scale = np.divide(0.5 * K, trace, out=np.zeros_like(trace), where=trace > 0)
    asymmetry, largest = 0.0, np.zeros_like(trace)
    rows = max(1, _BLOCK_VALUES // (B * K))
    for start in range(0, K, rows):
        part = slice(start, start + rows)
        upper, lower = G[:, part], G[:, :, part].transpose(0, 2, 1)
        asymmetry = max(asymmetry, np.abs(upper - lower).max())
        largest = np.maximum(largest, np.abs(upper).max(axis=(1, 2), keepdims=True))
        unit[:, part] = (upper + lower) * scale
    if asymmetry > SLACK * largest.max():
        raise HashBWNError(
            f"gram is not symmetric (entries differ by {asymmetry:.3g}): give XᵀX or a covariance."
        )
    # No entry of a positive semidefinite matrix exceeds its trace.
    if (largest > (1 + SLACK) * trace).any():
        raise HashBWNError(_NOT_A_GRAM)
    return unit


def _check_semidefinite(G: NDArray) -> None:
    """Refuse matrices [B, K, K] that cannot be Gram matrices.

    Those of inputs that depend on each other are, with the slack their rounding needs, positive
    definite, and only such matrices have Cholesky factors. G is in units of its mean diagonal.
    """
    G = G.copy()
    diagonal(G)[...] += SLACK * G.shape[1]
    try:
        np.linalg.cholesky(G)
    except np.linalg.LinAlgError:
        raise HashBWNError(_NOT_A_GRAM) from None


def diagonal(G: NDArray) -> NDArray:
    """Writable view of the diagonals [B, K] of G [B, K, K]."""
    return np.einsum("bii->bi", G)
