"""How far a binarised network is from its float network: what the repair minimises."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.binarizer.paths import ends_of
from hashbwn_keras.network.codes import BinaryKernel, binary_kernels
from hashbwn_keras.network.graph import Key, Network, Twins
from hashbwn_keras.network.layer_kinds import is_softmax
from hashbwn_keras.network.slots import fixed_batch
from hashbwn_keras.network.subsampling import take_pixels_first

BATCH = 128
STEP_MEMORY = 2**31
"""Bytes of activations of one training step; the batch gets smaller where 128 images need more."""
FEATURE_WEIGHT = 10.0
OUTPUT_WEIGHT = 0.3

Distance = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Misfit:
    """The distance between a float network and its binarised form on the same images.

    Attributes:
        kernels: the binary kernels.
        taps: the tensors that binarised layers end in.
        batch: how many images to look at at a time.
        fixed: whether the network takes no other number.

    Args:
        network: the float network.
        twins: the layer of the binarised network for each layer.
    """

    def __init__(self, network: Network, twins: Twins) -> None:
        self._network = network
        self._twins = take_pixels_first(twins)
        by_layer = {layer: binary_kernels(twin) for layer, twin in twins.items()}
        self.kernels: list[BinaryKernel] = [k for found in by_layer.values() for k in found]
        self.taps = ends_of(network, {layer for layer, found in by_layer.items() if found})
        self._outputs = _compared_outputs(network)
        size = fixed_batch(network.model)
        self.fixed = size is not None
        self.batch = size or _batch_size(network)

    def loss(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """The function that is minimised, for one batch."""
        wanted = [*self.taps, *self._outputs]
        a = [tf.stop_gradient(value) for value in self._network.run(inputs, wanted)]
        b = self._network.run(inputs, wanted, self._twins)
        taps = len(self.taps)
        loss = tf.constant(0.0)
        if self._outputs:
            rows = zip(self._outputs.values(), a[taps:], b[taps:], strict=True)
            loss = OUTPUT_WEIGHT * tf.add_n([far(x, y) for far, x, y in rows]) / len(self._outputs)
        if taps:
            features = [_relative_error(x, y) for x, y in zip(a[:taps], b[:taps], strict=True)]
            loss += FEATURE_WEIGHT * tf.add_n(features) / taps
        return loss

    def error(self, images: list[NDArray]) -> float:
        """Mean loss over images in inference mode."""
        measure = tf.function(self.loss, autograph=False, reduce_retracing=True)
        total, count = 0.0, len(images[0])
        size = self.batch_for(count)
        for start in range(0, count, size):
            part = np.arange(start, start + size)
            part = part % count if self.fixed else part[part < count]
            weight = min(size, count - start)
            total += float(measure([tf.constant(x[part]) for x in images])) * weight
        return total / count

    def batch_for(self, count: int) -> int:
        """How many of ``count`` images to look at at a time; images come again in a fixed batch."""
        return self.batch if self.fixed else min(self.batch, count)


def _compared_outputs(network: Network) -> dict[Key, Distance]:
    """How to compare each output that is a distance apart: integers and passed inputs are not."""
    found: dict[Key, Distance] = {}
    for key, tensor in zip(network.outputs, network.model.outputs, strict=True):
        if key in network.makers and tensor.dtype.is_floating:
            softmax = is_softmax(network.makers[key].layer)
            found[key] = _divergence if softmax else _relative_error
    return found


def _divergence(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf_keras.losses.kullback_leibler_divergence(a, b))


def _relative_error(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.square(a - b)) / (tf.math.reduce_variance(a) + 1e-12)


def _batch_size(network: Network) -> int:
    """Images of a training step, from the bytes of all activations of an image."""
    values = sum(
        int(np.prod([size or 1 for size in tensor.shape[1:]])) if tensor.shape.rank else 1
        for step in network.steps
        for tensor in tf.nest.flatten(step.node.outputs)
    )
    return int(np.clip(STEP_MEMORY // (3 * 4 * max(values, 1)), 16, BATCH))
