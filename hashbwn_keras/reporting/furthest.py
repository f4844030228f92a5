"""The images on which two networks are furthest apart, in one pass and little memory."""

import heapq
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.network.outputs import Kind, OutputKind
from hashbwn_keras.reporting.data import Worst
from hashbwn_keras.reporting.labels import decisions
from hashbwn_keras.reporting.pictures import is_picture, png

KEPT = 8
"""Images of an output that are kept."""


@dataclass(frozen=True)
class _Found:
    """An image that was kept: what it is drawn and told from in the end."""

    what: OutputKind
    inputs: list[NDArray]
    wanted: NDArray
    got: NDArray
    truth: NDArray | None

    def worst(self, image: int, distance: float) -> Worst:
        truth, what = self.truth, self.what
        return Worst(
            image=image,
            distance=distance,
            wanted=_words(self.wanted, what),
            got=_words(self.got, what),
            label="" if truth is None else _words(truth, what, decided=what.decides),
            picture=_picture_of(self.inputs),
            **_maps(self.wanted, self.got, what),
        )


class Furthest:
    """Keeps the images that differ most: other decisions first, then the larger distance."""

    def __init__(self) -> None:
        # The key: whether decisions differ, the distance, and minus the number of the image.
        self._kept: list[tuple[tuple[bool, float, int], _Found]] = []

    def add(
        self,
        what: OutputKind,
        first: int,
        inputs: list[NDArray],
        outputs: tuple[NDArray, NDArray],
        truth: NDArray | None,
    ) -> None:
        """Look through a batch.

        Args:
            what: the output.
            first: number of its first image in the data.
            inputs: of the model.
            outputs: the float network's values and the binary network's, ``[n, ...]``.
            truth: labels, as decisions or values ``[n, ...]``, or None.
        """
        wanted, got = outputs
        distances = _distances(wanted, got)
        others = _others(wanted, got, what)
        for i in np.flatnonzero(distances > 0):
            key = (bool(others[i]), float(distances[i]), -(first + int(i)))
            if len(self._kept) == KEPT and key < self._kept[0][0]:
                continue
            # Copies, for a view would keep its whole batch alive.
            found = _Found(
                what,
                [np.array(x[i]) for x in inputs],
                np.array(wanted[i]),
                np.array(got[i]),
                None if truth is None else np.array(truth[i]),
            )
            heapq.heappush(self._kept, (key, found))
            if len(self._kept) > KEPT:
                heapq.heappop(self._kept)

    def worst(self) -> tuple[Worst, ...]:
        """The images kept, the furthest first."""
        kept = sorted(self._kept, key=lambda entry: entry[0], reverse=True)
        return tuple(found.worst(-number, far) for (_, far, number), found in kept)


def _words(values: NDArray, what: OutputKind, *, decided: bool = False) -> str:
    """What an image's values say, or a decision; nothing where there are many."""
    if what.kind in (Kind.CLASSES, Kind.SCORES):
        found = values if decided else values.argmax(-1)
        noun = "class" if what.kind is Kind.CLASSES else "entry"
        return "" if found.ndim else f"{noun} {found}"
    if values.size != 1:
        return ""
    value = values.reshape(-1)[0]
    if what.kind is Kind.BINARY and decided:
        return "yes" if value else "no"
    if what.kind is Kind.BINARY:
        return f"{'yes' if value >= what.threshold else 'no'} ({value:.3g})"
    return f"{value:.4g}" if values.dtype.kind == "f" else str(value)


def _others(wanted: NDArray, got: NDArray, what: OutputKind) -> NDArray[np.bool_]:
    """On which images another decision is made, where an image has one."""
    if what.decides:
        ours, theirs = decisions(wanted, what), decisions(got, what)
        if ours.size == len(ours):
            return (ours != theirs).reshape(-1)
    return np.zeros(len(wanted), np.bool_)


def _maps(wanted: NDArray, got: NDArray, what: OutputKind) -> dict[str, bytes]:
    """Pictures of an output that is a map, on one scale."""
    if what.kind is Kind.CLASSES and wanted.ndim == 3:
        wanted, got = wanted.argmax(-1)[..., None], got.argmax(-1)[..., None]
    elif what.kind is Kind.DISCRETE and wanted.ndim == 2:
        wanted, got = wanted[..., None], got[..., None]
    if not is_picture(wanted.shape) or wanted.dtype.kind not in "fiub":
        return {}
    low, high = (float(f([f(wanted), f(got)])) for f in (np.min, np.max))
    if what.kind is Kind.BINARY and what.threshold:
        low, high = 0.0, 1.0
    return {"wanted_picture": png(wanted, low, high), "got_picture": png(got, low, high)}


def _distances(wanted: NDArray, got: NDArray) -> NDArray:
    """Of each image; where the binary network is not finite, infinite."""
    a, b = (x.reshape(len(x), -1) for x in (wanted, got))
    if a.dtype.kind != "f":
        return (a != b).sum(1).astype(np.float64)
    distances = np.square(b.astype(np.float64) - a).sum(1)
    return np.where(np.isnan(distances), math.inf, distances)


def _picture_of(inputs: list[NDArray]) -> bytes | None:
    """The first input that is a picture, on the scale that its values seem to have."""
    for image in inputs:
        if is_picture(image.shape) and image.dtype.kind in "fiub":
            bottom, top = float(image.min()), float(image.max())
            if bottom < 0 or top > 255:
                return png(image)
            return png(image, 0, 1 if top <= 1 else 255)
    return None
