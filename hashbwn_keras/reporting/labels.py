"""Labels as decisions or values that an output can be compared with."""

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.outputs import Kind, OutputKind


def decisions(values: NDArray, what: OutputKind) -> NDArray:
    """What a network decides at an output that decides something.

    Args:
        values: of the output, ``[n, ...]``.
        what: the output.
    """
    if what.kind in (Kind.CLASSES, Kind.SCORES):
        return values.argmax(-1)
    if what.kind is Kind.BINARY:
        return (values >= what.threshold).astype(np.int64)
    return values


def judged_by(labels: NDArray, values: NDArray, kind: Kind) -> Kind:
    """What :attr:`Kind.SCORES` are after a look at their labels; other kinds stay.

    Measured values have labels of their shape that are no one-hot rows.
    """
    if kind is not Kind.SCORES or labels.shape != values.shape:
        return Kind.CLASSES if kind is Kind.SCORES else kind
    one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(-1) == 1).all()
    return Kind.CLASSES if one_hot else Kind.VALUES


def as_decisions(labels: NDArray, values: NDArray, what: OutputKind) -> NDArray:
    """Labels in the shape of :func:`decisions`.

    Args:
        labels: class numbers or one-hot rows for classes; 0 and 1 for yes or no.
        values: of the output, for their shape.
        what: the output.
    """
    classes = what.kind is Kind.CLASSES
    if classes and labels.shape == values.shape:
        return labels.argmax(-1)
    shape = values.shape[:-1] if classes else values.shape
    numbers = labels.dtype.kind in "iub" or (what.kind is Kind.BINARY and labels.dtype.kind == "f")
    if not (numbers or what.kind is Kind.DISCRETE) or not _same(labels.shape, shape):
        wanted = "whole class numbers [n] or one-hot rows [n, classes]"
        if what.kind is Kind.DISCRETE or len(shape) > 1:
            wanted = f"one for each of the output's {shape}"
        raise HashBWNError(
            f"The labels have shape {labels.shape} and type {labels.dtype}: give {wanted}."
        )
    labels = labels.reshape(shape)
    return (labels >= 0.5).astype(np.int64) if what.kind is Kind.BINARY else labels


def as_values(labels: NDArray, values: NDArray, name: str) -> NDArray:
    """Labels of measured values, in the shape of those."""
    if labels.dtype.kind not in "fiub" or not _same(labels.shape, values.shape):
        raise HashBWNError(
            f"The labels have shape {labels.shape} and type {labels.dtype} and output {name!r} has "
            f"shape {values.shape}: give a number for each of its values, or leave labels out."
        )
    return labels.reshape(values.shape).astype(np.float64)


def _same(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether shapes are the same but for axes of 1 at the end."""

    def bare(sizes: tuple[int, ...]) -> tuple[int, ...]:
        while len(sizes) > 1 and sizes[-1] == 1:
            sizes = sizes[:-1]
        return sizes

    return bare(shape) == bare(wanted)
