"""Mean and variance of values that come in batches.

The update is that of Chan, Golub and LeVeque ("Algorithms for computing the sample variance",
The American Statistician 37, 1983): nothing is computed as a difference of large numbers.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Running:
    """Count, mean and sum of squared deviations from the mean, of all batches so far.

    Attributes:
        count: how many values, of each channel.
        mean: of each channel, float64 ``[channels]``; 0 before the first batch.
        squares: sum of squared deviations from ``mean``, float64 ``[channels]``.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: Any = np.float64(0)
        self.squares: Any = np.float64(0)

    def join(self, count: int, mean: ArrayLike, squares: ArrayLike) -> None:
        """Add a batch by its own count, mean and sum of squared deviations, ``[channels]``."""
        if not count:
            return
        mean = np.asarray(mean, np.float64)
        total = self.count + count
        shift = mean - self.mean
        self.mean = self.mean + shift * (count / total)
        self.squares = self.squares + squares + shift**2 * (self.count * count / total)
        self.count = total

    def add(self, values: NDArray) -> None:
        """Add a batch of values ``[n, channels]``."""
        mean = values.mean(axis=0, dtype=np.float64) if len(values) else 0.0
        deviations = values - np.asarray(mean).astype(values.dtype)
        self.join(len(values), mean, np.square(deviations, dtype=np.float64).sum(axis=0))

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance of all values, ``[channels]``; 0 before the first batch."""
        return np.asarray(self.squares) / max(self.count, 1)
