"""Batch-norm statistics, re-estimated where the inputs of the binarised network differ."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import channel_axis
from hashbwn_keras.running import Running


def reestimate(norm: Layer, of_float: Iterable[NDArray], of_binary: Iterable[NDArray]) -> None:
    """Fit the moving statistics of a batch-norm to its inputs in the binarised network.

    The change between the two networks on the calibration images is carried over to the moving
    statistics, instead of taking those of the few images: what makes the images special is in
    both networks and cancels.

    Args:
        norm: of the binarised network, with the statistics of the float one.
        of_float: batches of its inputs in the float network.
        of_binary: batches of its inputs in the binarised network.
    """
    axis = channel_axis(norm)
    before, now = _running(of_float, axis), _running(of_binary, axis)
    mean = norm.moving_mean.numpy().astype(np.float64)
    variance = norm.moving_variance.numpy().astype(np.float64)
    ratio = np.divide(
        now.variance, before.variance, out=np.ones_like(variance), where=before.variance > 0
    )
    ratio = np.clip(ratio, 1e-4, 1e4)
    norm.moving_mean.assign(now.mean - (before.mean - mean) * np.sqrt(ratio))
    norm.moving_variance.assign(variance * ratio)


def _running(arrays: Iterable[NDArray], axis: int) -> Running:
    """Mean and variance of all arrays together, along all axes but ``axis``."""
    running = Running()
    for array in arrays:
        x = np.moveaxis(array, axis, -1)
        running.add(x.reshape(-1, x.shape[-1]))
    return running
