"""What the solver is given, checked."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import HashBWNError

SLACK = 1e-5  # of the trace: how negative rounding may make an eigenvalue of a Gram matrix

_NOT_A_GRAM = (
    "gram has clearly negative eigenvalues: give XᵀX or a covariance of real inputs, not a "
    "difference of two."
)


def checked(
    gram: ArrayLike, cross: ArrayLike, init: ArrayLike | None
) -> tuple[NDArray, NDArray, NDArray]:
    """The moments as float64 [B, K, K] and [B, K, T] and the weights of the start [B, K, T]."""
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
    return G, g, w


def check_semidefinite(G: NDArray) -> None:
    """Refuse matrices [B, K, K] that cannot be Gram matrices.

    Those of inputs that depend on each other are, with the slack their rounding needs, positive
    definite, and only such matrices have Cholesky factors. G is in units of its mean diagonal,
    float32 will do.
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
