"""The samples that files are run on, from ``--data``."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError

_SAMPLES = 16
"""Samples that take turns: enough that none of them is a special one, few enough to be copied."""


def write_samples(data: Path, target: Path) -> None:
    """Write samples as the runner reads them: an array ``[samples, 1, ...]`` for each input.

    Args:
        data: ``.npy``, or ``.npz`` with ``x`` or an array for each input by its name; ``[n, ...]``
            each, ``y`` is left out.
        target: ``.npz`` file to write.

    Raises:
        HashBWNError: no such file, or nothing in it that a model could take.
    """
    arrays = _read(data)
    if "x" in arrays:
        arrays = {"x": arrays["x"]}
    arrays.pop("y", None)
    counts = {len(array) if array.ndim else 0 for array in arrays.values()}
    if len(counts) != 1 or 0 in counts:
        raise HashBWNError(
            f"{data} holds arrays of {sorted(counts)} samples: give as many, 1 or more, for each "
            "input."
        )
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise HashBWNError(f"{data} holds {name} of type {array.dtype}: give numbers.")
    (count,) = counts
    chosen = np.arange(min(count, _SAMPLES)) * max(count, _SAMPLES) // _SAMPLES
    np.savez(target, **{name: array[chosen][:, None] for name, array in arrays.items()})


def _read(data: Path) -> dict[str, NDArray]:
    if not data.exists():
        raise HashBWNError(f"{data} does not exist: check --data.")
    try:
        content = np.load(data)
        if isinstance(content, np.ndarray):
            return {"x": content}
        with content:
            return {name: np.asarray(content[name]) for name in content.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise HashBWNError(
            f"{data} cannot be read ({error}): give a .npy or .npz file of numbers."
        ) from error
