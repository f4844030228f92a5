"""Activations of all calibration images, kept in memory up to a bound and on disk beyond it."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.files import temporary_folder

MEMORY_LIMIT = 2**30
"""Bytes of activations kept in memory, of both networks together; the rest goes to disk."""


class ActivationStore:
    """Tensors of all calibration batches by key; beyond a limit they are kept on disk.

    Memory: at most ``limit`` bytes, and the batch in use. Disk: what the network's widest cut
    needs, in a temporary folder that goes away with the store.
    """

    def __init__(self, limit: int = MEMORY_LIMIT) -> None:
        self._limit = limit
        self._used = 0
        self._kept: dict[tuple[Any, int], NDArray | Path] = {}
        self._folder: Path | None = None
        self._cleanup = ExitStack()
        self._files = 0

    def __enter__(self) -> "ActivationStore":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._kept.clear()
        self._cleanup.close()

    def put(self, key: Any, batch: int, value: NDArray) -> None:
        """Keep the value of tensor ``key`` for batch number ``batch``."""
        # Strings are objects, which only pickle writes.
        if self._used + value.nbytes <= self._limit or value.dtype == object:
            self._used += value.nbytes
            self._kept[key, batch] = value
            return
        if self._folder is None:
            self._folder = self._cleanup.enter_context(temporary_folder())
        path = self._folder / f"{self._files}.npy"
        self._files += 1
        np.save(path, value)
        self._kept[key, batch] = path

    def get(self, key: Any, batch: int) -> NDArray:
        """The value kept."""
        value = self._kept[key, batch]
        return np.load(value) if isinstance(value, Path) else value

    def drop(self, key: Any) -> None:
        """Forget tensor ``key`` in all batches."""
        for found in [k for k in self._kept if k[0] == key]:
            value = self._kept.pop(found)
            if isinstance(value, Path):
                value.unlink()
            else:
                self._used -= value.nbytes
