"""The optimisation problem of a layer and its solvers; see :mod:`hashbwn_keras.solver.hashing`."""

from hashbwn_keras.solver.hashing import (
    EXACT_LIMIT,
    MIN_SCALE,
    SWEEPS,
    TABU_STEPS,
    WEAK_INPUT,
    HashCodes,
    solve,
)
from hashbwn_keras.solver.methods import BITS, METHODS

__all__ = [
    "BITS",
    "EXACT_LIMIT",
    "METHODS",
    "MIN_SCALE",
    "SWEEPS",
    "TABU_STEPS",
    "WEAK_INPUT",
    "HashCodes",
    "solve",
]
