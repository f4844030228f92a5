"""Filters taken apart into odd levels times one α per output channel, where they are that. NumPy.

With n bits a weight the levels are ±1, ±3, … ±(2ⁿ − 1); n = 1 is ±α.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MOST_BITS = 4
# Of a value: a kernel's α · level, times a folded batch-norm's factor, is rounded twice or thrice.
_TOLERANCE = 2.0**-21

_Fits = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""From magnitudes ``[channels, K]``, α ``[channels, 1]`` and levels: which channels are that."""


class Levels(NamedTuple):
    """Codes of a filter.

    Attributes:
        codes: int8 odd levels, shape of the filter; no common divisor in a channel.
        scales: float32 α ``[channels]``, ≥ 0; 0 for a channel of zeros, whose codes are +1.
    """

    codes: np.ndarray
    scales: np.ndarray


def bits_of(codes: np.ndarray) -> int:
    """Return how many bits a weight these levels take: the least n with all below 2ⁿ."""
    return int(np.abs(codes).max(initial=1)).bit_length()


def split(values: np.ndarray, axis: int) -> Levels | None:
    """Take a real filter apart.

    Args:
        values: the filter.
        axis: the axis of the output channels.

    Returns:
        Its codes and scales, or None where a channel is no such multiple of one α, a value is not
        finite, or all weights are zero. ``codes · scales`` is the filter: bit for bit with one
        bit, or where α has room for the levels; else but for a rounding error of float32.
    """
    rows = _magnitudes(values.astype(np.float64), axis)
    if rows is None:
        return None
    top = rows.max(axis=1, keepdims=True)

    def close(rows: np.ndarray, alpha: np.ndarray, levels: np.ndarray) -> np.ndarray:
        # Almost two-valued is not ±α: those are stored bit for bit.
        allowed = np.where(levels.max(axis=1, keepdims=True) > 1, _TOLERANCE * rows, 0)
        return (np.abs(rows - levels * alpha) <= allowed).all(axis=1)

    found = _fitting(rows, close)
    if found is None:
        return None
    scales = (top[:, 0] / found.max(axis=1)).astype(np.float32)
    return Levels(_signed(found, values, axis), scales)


def split_integers(values: np.ndarray, axis: int) -> Levels | None:
    """Take a filter of integers apart that are odd levels of one real α per channel, rounded.

    A converter maps the largest weight of a channel to 127, so that α falls between integers.

    Args:
        values: int8.
        axis: the axis of the output channels.

    Returns:
        As :func:`split`, the scales in units of the integers.
    """
    rows = _magnitudes(values.astype(np.float64), axis)
    if rows is None:
        return None

    def meet(rows: np.ndarray, alpha: np.ndarray, levels: np.ndarray) -> np.ndarray:
        del alpha
        low = ((rows - 0.5) / levels).max(axis=1)
        high = ((rows + 0.5) / levels).min(axis=1)
        exact = (rows / levels == rows[:, :1] / levels[:, :1]).all(axis=1)
        return exact | ((low < high) & (levels.max(axis=1) > 1))

    found = _fitting(rows, meet)
    if found is None:
        return None
    scales = rows.max(axis=1) / found.max(axis=1)
    return Levels(_signed(found, values, axis), scales.astype(np.float32))


def _magnitudes(values: np.ndarray, axis: int) -> np.ndarray | None:
    """Return ``[channels, weights per channel]``, None where no filter can be odd levels."""
    if not values.size:
        return None
    rows = np.abs(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1))
    if not np.isfinite(rows).all() or not rows.any():
        return None
    zero = rows == 0
    return None if (zero.any(axis=1) != zero.all(axis=1)).any() else rows


def _fitting(rows: np.ndarray, fits: _Fits) -> np.ndarray | None:
    """Return the levels of all magnitudes, each channel's largest as small as it can be, or None.

    Channels of zeros have level 1.
    """
    first = _levels(rows[:1], fits)
    if first is None or len(rows) == 1:  # a filter of another kind shows in its first channel
        return first
    return _levels(rows, fits)


def _levels(rows: np.ndarray, fits: _Fits) -> np.ndarray | None:
    found = np.ones(rows.shape, np.int8)
    left = np.flatnonzero(rows.any(axis=1))
    for largest in range(1, 2**MOST_BITS, 2):
        part = rows[left]
        alpha = part.max(axis=1, keepdims=True, initial=0) / largest
        levels = np.minimum(2 * np.floor(part / (2 * alpha)) + 1, largest).astype(np.int8)
        good = fits(part, alpha, levels) & (np.gcd.reduce(levels, axis=1) == 1)
        found[left[good]] = levels[good]
        left = left[~good]
        if not len(left):
            return found
    return None


def _signed(levels: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Give the levels the shape and the signs of ``values``."""
    moved = np.moveaxis(values, axis, 0)
    signed = np.where(moved.reshape(levels.shape) >= 0, levels, -levels)
    return np.ascontiguousarray(np.moveaxis(signed.reshape(moved.shape), 0, axis))
