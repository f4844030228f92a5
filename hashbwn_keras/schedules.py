"""Step sizes that suit the training of solved codes."""

import tf_keras

from hashbwn_keras.errors import HashBWNError

RATE = 1e-3
"""Largest step of Adam. Latent weights are as large as the scales, some hundredths."""
WARM_UP = 0.05
"""Share of the steps in which the step size rises."""


def adam(steps: int, rate: float = RATE) -> tf_keras.optimizers.Optimizer:
    """Return Adam for training solved codes, its step size that of :func:`schedule`.

    There is no weight decay: shrinking latent weights shrinks the scales, and pushes codes towards
    flips that no gradient asked for.

    Args:
        steps: batches of the whole training.
        rate: largest step size.

    Raises:
        HashBWNError: no step, or a rate that is not positive.
    """
    return tf_keras.optimizers.Adam(schedule(steps, rate))


def schedule(steps: int, rate: float = RATE) -> tf_keras.optimizers.schedules.LearningRateSchedule:
    """Return step sizes for training solved codes: warm-up, then a cosine to 0 at the last step.

    Args:
        steps: batches of the whole training.
        rate: largest step size.

    Raises:
        HashBWNError: no step, or a rate that is not positive.
    """
    if steps < 1 or not rate > 0:
        raise HashBWNError(
            f"steps={steps} and rate={rate}: give 1 step or more and a rate above 0."
        )
    rise = min(max(1, round(WARM_UP * steps)), steps)
    return tf_keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=rate, warmup_steps=rise
    )
