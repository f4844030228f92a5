"""Label-free repair across layers: the binarised network learns to follow the float network.

The layer-by-layer solve leaves each layer the best codes for its own outputs. What no layer can
mend alone, errors that add up over the depth, is tuned here on the calibration images: codes,
scales, the gains and offsets of batch-norms and the layers that stayed float, all together, by
gradient descent on

    Σ_taps  ‖ a_float − a_binary ‖² / var(a_float)   +   divergence of the outputs

where a tap is the feature map that a binarised layer ends in, behind its batch-norm, addition and
activation. Many taps are what keeps a few unlabelled images from being learnt by heart: the outputs
alone have too little to say. Batch-norms keep the statistics that the layer-by-layer pass gave
them, so that what is trained is what is used.

How codes move is in :mod:`hashbwn_keras.binarizer.latents`.
"""

import logging
import math
from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras.binarizer.latents import Latent
from hashbwn_keras.binarizer.misfit import Misfit
from hashbwn_keras.network.batches import Batch, image_count
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.rebuild import Rebuilt
from hashbwn_keras.network.recipe import Repaired

_log = logging.getLogger("hashbwn_keras")

IMAGES_SEEN = 24 * 1024
"""Images the network is trained on in all, every calibration image equally often."""
CODE_RATE = 1e-3
"""Step size of latent weights, whose mean magnitude is 1, and :data:`RATE` of everything else.

Chosen by the error of held-out calibration images. Larger steps flip more codes and fit the other
images better but the held-out ones worse: codes of a solved layer are not free to move one by one.
"""
RATE = 3e-3
WARM_UP = 0.1
HELD_OUT = 1 / 16
"""Share of the calibration images that is not trained on and decides whether the repair helped."""


def repair(network: Network, binary: Rebuilt, batches: list[Batch], *, seed: int = 0) -> Repaired:
    """Tune ``binary``, in place, to follow ``network`` on the calibration images.

    Args:
        network: the float network.
        binary: its binarised form.
        batches: calibration images, see :func:`hashbwn_keras.network.batches.batches_of`.
        seed: of the order of the images.

    Returns:
        Whether it helped. Where it did not, the network is as before.
    """
    images = _of_one_shape(batches)
    held_out = max(1, round(len(images[0]) * HELD_OUT))
    random = np.random.default_rng(seed)
    order = random.permutation(len(images[0]))
    train, test = ([x[part] for x in images] for part in (order[held_out:], order[:held_out]))
    if not len(train[0]):
        train = test
    misfit = Misfit(network, binary.twins)
    before, start = misfit.error(test), binary.model.get_weights()
    _descend(misfit, binary.model, train, random)
    after = misfit.error(test)
    kept = bool(after < before)
    if not kept:
        binary.model.set_weights(start)
        _log.warning(
            "Repair did not lower the error of held-out images (%.4g, was %.4g) and was undone.",
            after,
            before,
        )
    return Repaired(kept, before, after)


def _descend(
    misfit: Misfit, model: tf_keras.Model, images: list[NDArray], random: np.random.Generator
) -> None:
    """Adam with warm-up and cosine decay over :data:`IMAGES_SEEN` images."""
    latents = [Latent(kernel) for kernel in misfit.kernels]
    kernels = [kernel.variable for kernel in misfit.kernels]
    own = {id(v) for v in kernels}
    others = [v for v in model.trainable_variables if id(v) not in own]
    for_codes, for_others = tf_keras.optimizers.Adam(), tf_keras.optimizers.Adam()

    @tf.function(autograph=False, reduce_retracing=True)
    def step(inputs: list[tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = misfit.loss(inputs)
        found = tape.gradient(loss, kernels + others, unconnected_gradients="zero")
        relative, scales = [], []
        for latent, upstream in zip(latents, found, strict=False):
            of_relative, of_scale = latent.gradients(upstream)
            relative.append((of_relative, latent.relative))
            scales.append((of_scale, latent.log_scale))
        for_codes.apply_gradients(relative)
        for_others.apply_gradients(scales + list(zip(found[len(kernels) :], others, strict=True)))
        for latent in latents:
            latent.write()
        return loss

    size = misfit.batch_for(len(images[0]))
    steps = math.ceil(IMAGES_SEEN / size)
    queue = _endless_order(len(images[0]), size, random)
    with tqdm(range(steps), desc="repair", unit="step", disable=None) as progress:
        for number in progress:
            rate = _schedule((number + 0.5) / steps)
            for_codes.learning_rate.assign(CODE_RATE * rate)
            for_others.learning_rate.assign(RATE * rate)
            chosen = next(queue)
            inputs = [tf.constant(x[chosen]) for x in images]
            loss = step(inputs)
            if number % 10 == 0:
                progress.set_postfix(loss=f"{float(loss):.4g}")
    for latent in latents:
        latent.finish()


def _of_one_shape(batches: list[Batch]) -> Batch:
    """The calibration images of the commonest shape, which can be mixed in batches."""
    groups: dict[tuple, list[Batch]] = {}
    for batch in batches:
        groups.setdefault(tuple(x.shape[1:] for x in batch), []).append(batch)
    largest = max(groups.values(), key=image_count)
    return [np.concatenate(parts) for parts in zip(*largest, strict=True)]


def _schedule(done: float) -> float:
    """Step size at a share ``done`` of the training, relative to the largest."""
    return min(1.0, done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))


def _endless_order(count: int, size: int, random: np.random.Generator) -> Iterator[NDArray]:
    """Batches of indices, each image once before any comes again."""
    left = np.empty(0, int)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(count)])
        yield left[:size]
        left = left[size:]
