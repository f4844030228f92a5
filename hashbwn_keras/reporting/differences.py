"""Sums over batches that say how far one network's tensors and decisions are from another's."""

import math

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.running import Running

MAX_CLASSES = 65536
"""Agreement by class is kept for class numbers below this."""
UNEVEN = 1.5
"""Classes are uneven where one has more than this times the decisions of the average one."""


class Difference:
    """How far a tensor of the binary network is from the same tensor of the float network."""

    def __init__(self) -> None:
        self.difference = Running()
        self.wanted = Running()

    def add(
        self,
        count: int,
        mean: NDArray,
        variance: NDArray,
        wanted_mean: NDArray,
        wanted_variance: NDArray,
    ) -> None:
        """Add a batch: moments of ``binary - float`` and of ``float``, each ``[channels]``."""
        self.difference.join(count, mean, count * variance.astype(np.float64))
        self.wanted.join(count, wanted_mean, count * wanted_variance.astype(np.float64))

    def add_values(self, wanted: NDArray, got: NDArray) -> None:
        """Add a batch of values ``[n, channels]``, float64."""
        self.difference.add(got - wanted)
        self.wanted.add(wanted)

    def relative_error(self) -> float:
        """Return Σ var(binary − float) / Σ var(float); infinite if only float is constant."""
        wanted, difference = float(np.sum(self.wanted.squares)), np.sum(self.difference.squares)
        if wanted > 0:
            return float(difference / wanted)
        return 0.0 if difference == 0 else math.inf


class Decisions:
    """How often two networks, and the labels, decide the same, over all and by class."""

    def __init__(self) -> None:
        self.count = self.same = 0
        self.labelled = self.float_right = self.binary_right = 0
        self._chosen = np.zeros(0, np.int64)
        self._kept = np.zeros(0, np.int64)

    def add(self, wanted: NDArray, got: NDArray, labels: NDArray | None) -> None:
        """Add decisions of the float and the binary network, of one shape with their labels."""
        same = wanted == got
        self.count += same.size
        self.same += int(np.count_nonzero(same))
        if wanted.dtype.kind in "iub":
            self._chosen = _added(self._chosen, wanted)
            self._kept = _added(self._kept, wanted[same])
        if labels is not None:
            self.labelled += labels.size
            self.float_right += int(np.count_nonzero(wanted == labels))
            self.binary_right += int(np.count_nonzero(got == labels))

    def by_class(self) -> tuple[float | None, ...]:
        """Share of agreement for each class that the float network decided for."""
        kept = np.pad(self._kept, (0, len(self._chosen) - len(self._kept)))
        return tuple(float(k / n) if n else None for k, n in zip(kept, self._chosen, strict=True))

    def uneven(self) -> bool:
        """Whether a class has far more decisions than the average one."""
        chosen = self._chosen[self._chosen > 0]
        return bool(len(chosen) > 1 and chosen.max() > UNEVEN * chosen.mean())


class LabelDistance:
    """Squared differences of both networks' values from labels."""

    def __init__(self) -> None:
        self.count = 0
        self._float = self._binary = 0.0

    def add(self, wanted: NDArray, got: NDArray, labels: NDArray) -> None:
        """Add values and labels of one shape."""
        self.count += labels.size
        self._float += float(np.square(wanted - labels).sum())
        self._binary += float(np.square(got - labels).sum())

    def rmse(self) -> tuple[float | None, float | None]:
        """Root mean squared differences: float, binary; None without labels."""
        if not self.count:
            return None, None
        return math.sqrt(self._float / self.count), math.sqrt(self._binary / self.count)


def _added(counts: NDArray, classes: NDArray) -> NDArray:
    """``counts`` with those of ``classes``; classes that are no small numbers are not counted."""
    numbers = classes.reshape(-1).astype(np.int64, copy=False)
    if numbers.size and not 0 <= numbers.min() <= numbers.max() < MAX_CLASSES:
        numbers = numbers[(numbers >= 0) & (numbers < MAX_CLASSES)]
    more = np.bincount(numbers, minlength=len(counts))
    more[: len(counts)] += counts
    return more
