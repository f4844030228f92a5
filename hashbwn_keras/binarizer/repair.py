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

Codes move by the straight-through estimator (Bengio, Léonard, Courville, "Estimating or
propagating gradients through stochastic neurons", 2013) on latent weights u that are relative to
their channel's scale, w = α · sign(u), so that one step size suits all layers; log α is a variable
of its own.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras.network.batches import Batch
from hashbwn_keras.network.graph import (
    Graph,
    Key,
    Layer,
    Step,
    graph_of,
    is_addition,
    is_batch_norm,
    is_softmax,
)
from hashbwn_keras.network.layers import BinaryKernel, binary_kernels, flat_layers
from hashbwn_keras.network.subsampling import take_pixels_first
from hashbwn_keras.solver.hashing import MIN_SCALE

_log = logging.getLogger("hashbwn_keras")

IMAGES_SEEN = 24 * 1024
"""Images the network is trained on in all, every calibration image equally often."""
BATCH = 128
STEP_MEMORY = 2**31
"""Bytes of activations of one training step; the batch gets smaller where 128 images need more."""
CODE_RATE = 1e-3
"""Step size of latent weights, whose mean magnitude is 1, and :data:`RATE` of everything else.

Chosen by the error of held-out calibration images. Larger steps flip more codes and fit the other
images better but the held-out ones worse: codes of a solved layer are not free to move one by one.
"""
RATE = 3e-3
WARM_UP = 0.1
FEATURE_WEIGHT = 10.0
OUTPUT_WEIGHT = 0.3
LATENT_LIMIT = 1.5
"""Latent weights beyond this get no gradient that would take them further."""
HELD_OUT = 1 / 16
"""Share of the calibration images that is not trained on and decides whether the repair helped."""


@dataclass(frozen=True)
class Repaired:
    """What the repair did.

    Attributes:
        kept: whether it lowered the error of held-out images; if not, it was undone.
        error_before: the loss on held-out images before,
        error_after: and after.
    """

    kept: bool
    error_before: float
    error_after: float


def repair(
    model: tf_keras.Model, binary: tf_keras.Model, batches: list[Batch], *, seed: int = 0
) -> Repaired:
    """Tune ``binary``, in place, to follow ``model`` on the calibration images.

    Args:
        model: the float network.
        binary: its binarised form, of the same structure and layer names.
        batches: calibration images, see :func:`hashbwn_keras.network.batches.batches_of`.
        seed: of the order of the images.

    Returns:
        Whether it helped. Where it did not, the network is as before.
    """
    images = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    held_out = max(1, round(len(images[0]) * HELD_OUT))
    random = np.random.default_rng(seed)
    order = random.permutation(len(images[0]))
    train, test = ([x[part] for x in images] for part in (order[held_out:], order[:held_out]))
    if not len(train[0]):
        train = test
    pair = _Pair(model, binary)
    before, start = pair.error(test), binary.get_weights()
    _descend(pair, train, random)
    after = pair.error(test)
    kept = bool(after < before)
    if not kept:
        binary.set_weights(start)
        _log.warning(
            "Repair did not lower the error of held-out images (%.4g, was %.4g) and was undone.",
            after,
            before,
        )
    return Repaired(kept, before, after)


class _Pair:
    """The float network and the binary one, and how far apart they are."""

    def __init__(self, model: tf_keras.Model, binary: tf_keras.Model) -> None:
        self.graph = graph_of(model)
        self.binary = binary
        self.float_layers = dict(flat_layers(model))
        self.binary_layers = dict(flat_layers(binary))
        self._called = take_pixels_first(self.binary_layers)
        self.kernels = binary_kernels(binary)
        names = {kernel.name for kernel in self.kernels}
        self.taps = _taps(self.graph, names)
        self._distances = [_distance(self.graph, key) for key in self.graph.outputs]
        self.batch = _batch_size(self.graph)

    def loss(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """The function that is minimised, for one batch."""
        wanted = self.taps + self.graph.outputs
        a = self.graph.run(self.float_layers, inputs, wanted)
        b = self.graph.run(self._called, inputs, wanted)
        a = [tf.stop_gradient(value) for value in a]
        taps = len(self.taps)
        features = [_relative_error(x, y) for x, y in zip(a[:taps], b[:taps], strict=True)]
        outputs = [
            distance(x, y)
            for distance, x, y in zip(self._distances, a[taps:], b[taps:], strict=True)
        ]
        loss = OUTPUT_WEIGHT * tf.add_n(outputs) / len(outputs)
        return loss + FEATURE_WEIGHT * tf.add_n(features) / taps if taps else loss

    def error(self, images: list[NDArray]) -> float:
        """Mean loss over images in inference mode."""
        measure = tf.function(self.loss, autograph=False, reduce_retracing=True)
        total = 0.0
        for part in _parts(len(images[0]), self.batch):
            total += float(measure([tf.constant(x[part]) for x in images])) * len(images[0][part])
        return total / len(images[0])


class _Latent:
    """The variables behind one binary kernel: relative latent weights and log scales."""

    def __init__(self, kernel: BinaryKernel) -> None:
        self.kernel = kernel
        latent = kernel.latent()
        scale = np.abs(latent).mean(axis=kernel.axes, keepdims=True)
        self.relative = tf.Variable(latent / np.maximum(scale, MIN_SCALE))
        self.log_scale = tf.Variable(np.log(np.maximum(scale, MIN_SCALE)))

    def gradients(self, upstream: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of the two variables from that of the binary kernel."""
        u, scale = self.relative, tf.exp(self.log_scale)
        outward = (tf.abs(u) > LATENT_LIMIT) & (u * upstream < 0)
        sign = tf.where(u >= 0, 1.0, -1.0)
        return [
            tf.where(outward, 0.0, upstream * scale),
            tf.reduce_sum(upstream * sign, self.kernel.axes, keepdims=True) * scale,
        ]

    def write(self) -> None:
        """Put the variables into the layer's latent kernel: signs and, as their mean, scales."""
        size = tf.maximum(tf.abs(self.relative), 1e-3)
        size /= tf.reduce_mean(size, self.kernel.axes, keepdims=True)
        scale = tf.maximum(tf.exp(self.log_scale), MIN_SCALE)
        sign = tf.where(self.relative >= 0, 1.0, -1.0)
        self.kernel.variable.assign(sign * size * scale)


def _descend(pair: _Pair, images: list[NDArray], random: np.random.Generator) -> None:
    """Adam with warm-up and cosine decay over :data:`IMAGES_SEEN` images."""
    latents = [_Latent(kernel) for kernel in pair.kernels]
    kernels = [kernel.variable for kernel in pair.kernels]
    own = {id(v) for v in kernels}
    others = [v for v in pair.binary.trainable_variables if id(v) not in own]
    for_codes, for_others = tf_keras.optimizers.Adam(), tf_keras.optimizers.Adam()

    @tf.function(autograph=False, reduce_retracing=True)
    def step(inputs: list[tf.Tensor]) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = pair.loss(inputs)
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

    size = min(pair.batch, len(images[0]))
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


def _schedule(done: float) -> float:
    """Step size at a share ``done`` of the training, relative to the largest."""
    return min(1.0, done / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))


def _endless_order(count: int, size: int, random: np.random.Generator) -> Any:
    """Batches of indices, each image once before any comes again."""
    left = np.empty(0, int)
    while True:
        while len(left) < size:
            left = np.concatenate([left, random.permutation(count)])
        yield left[:size]
        left = left[size:]


def _taps(graph: Graph, targets: set[str]) -> list[Key]:
    """The tensors that binarised layers end in, in the order of the graph, outputs left out."""
    readers = graph.consumers()
    found: dict[Key, None] = {}  # an ordered set: layers may end in the same tensor
    for step in graph.steps:
        if step.name in targets:
            key = _end_of(step, readers)
            if key not in graph.outputs:
                found[key] = None
    return list(found)


def _end_of(step: Step, readers: dict[Key, list[Step]]) -> Key:
    (key,) = step.outputs
    added = False
    while len(readers.get(key, [])) == 1:
        (reader,) = readers[key]
        if is_addition(reader) and not added:
            added = True
        elif not (_is_elementwise(reader.layer) or (is_batch_norm(reader.layer) and not added)):
            break
        (key,) = reader.outputs
    return key


def _is_elementwise(layer: Layer) -> bool:
    layers = tf_keras.layers
    if isinstance(layer, layers.Activation):
        return layer.activation is not tf_keras.activations.softmax
    return isinstance(layer, layers.ReLU | layers.LeakyReLU | layers.ELU | layers.PReLU)


def _distance(graph: Graph, key: Key) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """How to compare an output of the two networks: divergence of probabilities, else error."""
    (step,) = (step for step in graph.steps if key in step.outputs)
    if is_softmax(step.layer):
        return lambda a, b: tf.reduce_mean(tf_keras.losses.kullback_leibler_divergence(a, b))
    return _relative_error


def _relative_error(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(a - b)) / (tf.math.reduce_variance(a) + 1e-12)


def _batch_size(graph: Graph) -> int:
    """Images of a training step, from the bytes of all activations of an image."""
    values = sum(
        int(np.prod([size or 1 for size in tensor.shape[1:]]))
        for step in graph.steps
        for tensor in tf.nest.flatten(step.node.outputs)
    )
    return int(np.clip(STEP_MEMORY // (3 * 4 * max(values, 1)), 16, BATCH))


def _parts(count: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, count)) for i in range(0, count, size)]
