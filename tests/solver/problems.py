"""Problems for the solver, and its objective in the plainest form."""

import numpy as np


def layer(K, T, seed=0, patches=None):
    """Moments of a layer with correlated, rectified inputs: (G, g, v, W)."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((K, K)) / np.sqrt(K) + np.eye(K)
    x = np.maximum(random.standard_normal((patches or 8 * K, K)) @ mix, 0)
    x -= x.mean(0)
    w = random.standard_normal((K, T))
    s = x @ w
    return x.T @ x / len(x), x.T @ s / len(x), (s**2).mean(0), w


def objective(G, g, b):
    b = b.astype(np.float64)
    return (g * b).sum(0) ** 2 / ((G @ b) * b).sum(0)
