"""Calibration images made from what a network itself knows: its batch-norm statistics.

Images are found by gradient descent so that, at every batch-norm, means and variances over the
batch become those the network stored in training (Yin et al., "Dreaming to distill", CVPR 2020;
Cai et al., "ZeroQ", CVPR 2020). They look like nothing, but the layers see inputs with the moments
of real ones, and moments are all the solver wants.
"""

import warnings

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.network.batches import BATCH, Batch
from hashbwn_keras.network.graph import Network, Step
from hashbwn_keras.network.layer_kinds import channel_axis, is_batch_norm
from hashbwn_keras.network.subsampling import take_pixels_first

IMAGES = 384
STEPS = 100
RATE = 0.1


def synthesise(network: Network, seed: int) -> list[Batch]:
    """Make calibration images for ``network``; shows progress on stderr.

    Args:
        network: the float network. Without batch-norm there is nothing to go by, and the images are
            standard noise.
        seed: of the noise they start from.

    Returns:
        Batches like those of :func:`hashbwn_keras.network.batches.batches_of`.

    Raises:
        HashBWNError: an input has an unknown size or takes no floats.

    Warns:
        CalibrationWarning: always, for real images would be better.
    """
    shapes = [_shape(spec) for spec in network.model.inputs]
    norms = _norms(network)
    known = "the network's batch-norm statistics" if norms else "noise (it has no batch-norm)"
    warnings.warn(
        f"No calibration data: images are made from {known}, and accuracy will suffer; pass some "
        "hundred real images, no labels needed.",
        CalibrationWarning,
        stacklevel=3,
    )
    random = np.random.default_rng(seed)
    batches = [
        [random.standard_normal((BATCH, *shape)).astype(np.float32) for shape in shapes]
        for _ in range(IMAGES // BATCH)
    ]
    if not norms:
        return batches
    with tqdm(
        total=len(batches) * STEPS, desc="make images", unit="step", disable=None
    ) as progress:
        return [_fitted(network, batch, random, progress) for batch in batches]


def _shape(spec: tf.Tensor) -> tuple[int, ...]:
    shape = tuple(spec.shape[1:])
    if None in shape or not spec.dtype.is_floating:
        raise HashBWNError(
            f"Input {spec.node.layer.name!r} has shape {tuple(spec.shape)} and type "
            f"{spec.dtype.name}, for which no images can be made: pass calibration_data."
        )
    return shape


def _norms(network: Network) -> list[Step]:
    return [step for step in network.steps if is_batch_norm(step.layer)]


def _fitted(network: Network, batch: Batch, random: np.random.Generator, progress: tqdm) -> Batch:
    """The images nearest to ``batch`` downhill of :func:`_misfit`."""
    images = [tf.Variable(x) for x in batch]
    optimizer = tf_keras.optimizers.Adam()

    @tf.function(autograph=False)
    def step(shift: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            # Moving the images about keeps them free of patterns that hold at one position only.
            moved = [tf.roll(x, shift, [1, 2]) if len(x.shape) == 4 else x for x in images]
            loss = _misfit(network, moved)
        found = tape.gradient(loss, images, unconnected_gradients="zero")
        optimizer.apply_gradients(zip(found, images, strict=True))
        return loss

    for number in range(STEPS):
        optimizer.learning_rate.assign(RATE * 0.5 * (1 + np.cos(np.pi * number / STEPS)))
        loss = step(tf.constant(random.integers(-2, 3, 2), tf.int32))
        progress.update()
        if number % 10 == 0:
            progress.set_postfix(loss=f"{float(loss):.4g}")
    return [x.numpy() for x in images]


def _misfit(network: Network, images: list[tf.Tensor]) -> tf.Tensor:
    """How far the batch statistics at all batch-norms are from the stored ones."""
    norms = _norms(network)
    layers = take_pixels_first({layer: layer for layer in network.layers})
    values = network.run(images, [step.inputs[0] for step in norms], layers)
    terms = []
    for step, value in zip(norms, values, strict=True):
        norm = step.layer
        axes = [axis for axis in range(len(value.shape)) if axis != channel_axis(norm)]
        mean, variance = tf.nn.moments(value, axes)
        deviation = tf.sqrt(norm.moving_variance + norm.epsilon)
        terms.append(
            tf.reduce_mean(tf.square((mean - norm.moving_mean) / deviation))
            + tf.reduce_mean(tf.square(tf.sqrt(variance + norm.epsilon) / deviation - 1))
        )
    return tf.add_n(terms) / len(terms)
