"""Sums over batches that say how far one tensor is from another."""

import math

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.reporting.data import OutputReport
from hashbwn_keras.running import Running


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

    def relative_error(self) -> float:
        """Return Σ var(binary − float) / Σ var(float); infinite if only float is constant."""
        wanted, difference = float(np.sum(self.wanted.squares)), np.sum(self.difference.squares)
        if wanted > 0:
            return float(difference / wanted)
        return 0.0 if difference == 0 else math.inf


class Output:
    """Error, agreement and accuracy at one output of the network."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.difference = Difference()
        self.images = self.labelled = 0
        self.agreeing: int | None = None
        self.float_right = self.binary_right = 0
        self.finite = True

    def add(self, wanted: np.ndarray, got: np.ndarray, labels: np.ndarray | None) -> None:
        """Add a batch of the float network's and the binary network's values."""
        self.images += len(wanted)
        self.finite = self.finite and bool(np.isfinite(got).all())
        a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (wanted, got))
        self.difference.add(len(a), (b - a).mean(0), (b - a).var(0), a.mean(0), a.var(0))
        if wanted.ndim != 2 or wanted.shape[1] < 2:
            return
        expected, actual = a.argmax(1), b.argmax(1)
        self.agreeing = (self.agreeing or 0) + int((expected == actual).sum())
        if labels is not None:
            self.labelled += len(labels)
            self.float_right += int((expected == labels).sum())
            self.binary_right += int((actual == labels).sum())

    def summary(self) -> OutputReport:
        """Return what the batches amount to."""
        return OutputReport(
            name=self.name,
            relative_error=self.difference.relative_error(),
            agreement=None if self.agreeing is None else self.agreeing / self.images,
            float_accuracy=self.float_right / self.labelled if self.labelled else None,
            binary_accuracy=self.binary_right / self.labelled if self.labelled else None,
            finite=self.finite,
        )


def class_numbers(labels: NDArray) -> NDArray:
    """Return class numbers ``[n]`` of labels that are such, or one-hot rows ``[n, classes]``."""
    if labels.ndim == 2 and labels.shape[1] > 1:
        return labels.argmax(1)
    if labels.size != len(labels) or labels.dtype.kind not in "iub":
        raise HashBWNError(
            f"The labels have shape {labels.shape} and type {labels.dtype}: give whole class "
            "numbers [n] or one-hot rows [n, classes]."
        )
    return labels.reshape(-1)
