"""Centred sums of products, joined chunk by chunk without ever subtracting large numbers."""

import math

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.running import shares


class Sums:
    """Sums of products of inputs and targets about their means, for B problems at once.

    Chunks are joined by the update of :mod:`hashbwn_keras.running`: every chunk is centred by its
    own mean before it is multiplied, and the outer product of the difference of means, with its
    weight, goes in as one more row of the chunk. Products of one chunk are float32 (BLAS), sums
    over chunks and means are float64.

    Attributes:
        count: rows summed up so far.
        gram: float64 [B, K, K].
        cross: float64 [B, K, T].
        variance: float64 [B, T].
        input_mean: float64 [B, K].
        target_mean: float64 [B, T].
    """

    def __init__(self, problems: int, inputs: int, outputs: int) -> None:
        self.count = 0
        self.gram = np.zeros((problems, inputs, inputs))
        self.cross = np.zeros((problems, inputs, outputs))
        self.variance = np.zeros((problems, outputs))
        self.input_mean = np.zeros((problems, inputs))
        self.target_mean = np.zeros((problems, outputs))

    def add(self, inputs: NDArray, targets: NDArray) -> None:
        """Join a chunk: inputs [B, n, K] and targets [B, n, T]."""
        n = inputs.shape[1]
        share, weight = shares(self.count, n)
        weight = math.sqrt(weight)
        X = _centred_chunk(inputs, self.input_mean, share, weight)
        S = _centred_chunk(targets, self.target_mean, share, weight)
        transposed = X.transpose(0, 2, 1)
        self.gram += transposed @ X
        self.cross += transposed @ S
        self.variance += np.square(S, dtype=np.float64).sum(axis=1)
        self.count += n


def _centred_chunk(values: NDArray, mean: NDArray, share: float, weight: float) -> NDArray:
    """``values`` [B, n, C] minus their mean, with Chan's row, float32; moves ``mean``."""
    B, n, C = values.shape
    centred = np.empty((B, n + 1, C), np.float32)
    exact = values.mean(axis=1, dtype=np.float64)
    np.subtract(
        values, exact[:, None].astype(values.dtype), out=centred[:, :n], casting="same_kind"
    )
    # The rounding of the mean to the values' type is still in; it is small, so this is exact.
    rest = centred[:, :n].mean(axis=1, dtype=np.float64)
    centred[:, :n] -= rest[:, None].astype(np.float32)
    centred[:, n] = weight * (exact - mean)
    mean += share * (exact - mean)
    return centred
