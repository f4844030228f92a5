"""What is known of a layer once its moments are taken: the problem the solver gets."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.solver.hashing import HashCodes


@dataclass(frozen=True)
class Statistics:
    """Moments of B problems, all float64; covariances if ``centred``, else plain second moments.

    Attributes:
        gram: [B, K, K].
        cross: [B, K, T].
        variance: [B, T].
        input_mean: [B, K].
        target_mean: [B, T].
        count: patches they were taken of.
        centred: see above.
        damping: for :func:`hashbwn_keras.hashing.solve`; grows where patches are few.
    """

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    variance: NDArray[np.float64]
    input_mean: NDArray[np.float64]
    target_mean: NDArray[np.float64]
    count: int
    centred: bool
    damping: float

    def relative_error(self, solution: HashCodes) -> float:
        """Squared error of the layer's outputs left by ``solution``, divided by their variance."""
        total = self.variance.sum()
        return float((self.variance - solution.objective).sum() / total) if total > 0 else 0.0

    def bias(self, solution: HashCodes) -> NDArray[np.float64]:
        """What to add to the outputs so that their means are the targets', [B·T].

        Zero for plain moments, which ask for inner products without one.
        """
        if not self.centred:
            return np.zeros(self.target_mean.size)
        sums = np.einsum("bkt,bk->bt", solution.codes, self.input_mean)
        return (self.target_mean - solution.scales * sums).reshape(-1)
