"""Mean and variance of values that come in batches.

The update is that of Chan, Golub and LeVeque ("Algorithms for computing the sample variance",
The American Statistician 37, 1983): nothing is computed as a difference of large numbers.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def shares(before: int, added: int) -> tuple[float, float]:
    """The two factors of the update, for ``added`` > 0 values that join ``before`` others.

    Returns:
        The part of the new values in all, n₂ / (n₁ + n₂), by which the mean moves towards theirs;
        and n₁ n₂ / (n₁ + n₂), which the squared difference of the means adds to the squares.
    """
    share = added / (before + added)
    return share, before * share


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
        share, weight = shares(self.count, count)
        shift = mean - self.mean
        self.mean = self.mean + shift * share
        self.squares = self.squares + squares + shift**2 * weight
        self.count += count

    def add(self, values: NDArray) -> None:
        """Add a batch of values ``[n, channels]``."""
        mean = values.mean(axis=0, dtype=np.float64) if len(values) else 0.0
        deviations = values - np.asarray(mean).astype(values.dtype)
        self.join(len(values), mean, np.square(deviations, dtype=np.float64).sum(axis=0))

    @property
    def variance(self) -> NDArray[np.float64]:
        """Variance of all values, ``[channels]``; 0 before the first batch."""
        return np.asarray(self.squares) / max(self.count, 1)
