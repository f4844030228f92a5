"""Memory that the moments and the solve of one large layer take: 3x3, K = 9 · channels.

    python benchmarks/solver_memory.py --channels 512

Prints the rise of the process's resident memory, MiB, sampled every 5 ms: while moments of 4,096
patches are gathered (more patches take no more), when they are divided, and in the search.
"""

import argparse
import threading
import time
import warnings
from pathlib import Path

import hashbwn_keras as hk

# isort: split
import numpy as np

from hashbwn_keras.errors import CalibrationWarning
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.solver import hashing
from hashbwn_keras.solver.moments import Moments

PAGE = 4096
IMAGES = 256
SIDE = 8


class Peak:
    """The largest rise of the resident memory since it was made."""

    def __init__(self):
        self._least, self._most, self._done = self._now(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()

    def _watch(self):
        while not self._done.wait(0.005):
            self._most = max(self._most, self._now())

    @staticmethod
    def _now():
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE

    def told(self, what):
        print(f"{what}: {(self._most - self._least) / 2**20:.0f} MiB", flush=True)


def main():
    """Gather, solve and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channels", type=int, default=512, help="in and out (512)")
    channels = parser.parse_args().channels
    layer = hk.HashBinaryConv2D(channels, 3, padding="same")
    images = np.random.default_rng(0).normal(size=(IMAGES, SIDE, SIDE, channels))
    images = images.astype(np.float32)
    outputs = layer(images).numpy()
    warnings.simplefilter("ignore", CalibrationWarning)
    with Peak() as peak:
        moments = Moments(patch_geometry(layer), IMAGES, patches=IMAGES * 16)
        for part in np.split(np.arange(IMAGES), 4):
            moments.update(images[part], outputs[part])
        peak.told("moments gathered")
        found = moments.statistics()
        peak.told("moments divided")
        start = time.perf_counter()
        hashing.solve(found.gram[0], found.cross[0], damping=found.damping)
        peak.told("solved")
        print(f"solved in {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
