"""Training a binary network: the hash solve in ``fit``, distillation, step sizes that work.

    binary = hashbwn_keras.binarize(model, images)
    trainer = hashbwn_keras.distil(binary, model)
    trainer.compile(hashbwn_keras.training.adam(epochs * len(batches)))
    trainer.fit(batches, epochs=epochs)                          # trains ``binary``

What was measured about it, and which other ways to solve while training did worse, is in
docs/training.md.
"""

from hashbwn_keras.schedules import RATE, adam, schedule
from hashbwn_keras.training.code_metrics import CodeMetrics
from hashbwn_keras.training.distillation import TEMPERATURE, distil, divergence
from hashbwn_keras.training.hash_solve import HashSolve

__all__ = [
    "RATE",
    "TEMPERATURE",
    "CodeMetrics",
    "HashSolve",
    "adam",
    "distil",
    "divergence",
    "schedule",
]
