"""Second moments of a layer's inputs and outputs; see :mod:`hashbwn_keras.solver.moments`."""

from hashbwn_keras.solver.moments import (
    CHUNK_VALUES,
    DAMPING,
    PATCHES,
    PATCHES_PER_INPUT,
    Moments,
)
from hashbwn_keras.solver.statistics import Statistics

__all__ = [
    "CHUNK_VALUES",
    "DAMPING",
    "PATCHES",
    "PATCHES_PER_INPUT",
    "Moments",
    "Statistics",
]
