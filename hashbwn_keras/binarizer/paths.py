"""Where layers lead to: the addition that ends a residual branch, the batch-norm behind a layer."""

from typing import NamedTuple

import numpy as np
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.network.graph import Key, Layer, Step, is_addition, is_batch_norm

Readers = dict[Key, list[Step]]


class Shortcut(NamedTuple):
    """What a layer's output is added to.

    Attributes:
        others: the other summands.
        gain: float32 [channels] or [1], by how much the layer's output is multiplied on its way.
    """

    others: list[Key]
    gain: NDArray[np.float32]


def shortcut_of(step: Step, readers: Readers) -> Shortcut | None:
    """Follow a layer's output through batch-norms to the addition it goes into.

    None where it goes elsewhere as well, or through anything that is not linear.
    """
    if getattr(step.layer, "data_format", None) == "channels_first":
        return None
    gain = np.ones(1, np.float32)
    (key,) = step.outputs
    while len(readers.get(key, [])) == 1:
        (reader,) = readers[key]
        if is_addition(reader):
            return Shortcut([other for other in reader.inputs if other != key], gain)
        if is_batch_norm(reader.layer):
            gain = gain * _gain(reader.layer)
        elif not _passes_through(reader.layer):
            return None
        (key,) = reader.outputs
    return None


def feeds_batch_norm(step: Step, readers: Readers) -> bool:
    """Whether all that reads a layer's output is batch-norm, right behind it."""
    found = [reader for key in step.outputs for reader in readers.get(key, [])]
    linear = getattr(step.layer, "activation", None) in (None, tf_keras.activations.linear)
    return linear and bool(found) and all(is_batch_norm(reader.layer) for reader in found)


def _gain(batch_norm: Layer) -> NDArray[np.float32]:
    deviation = np.sqrt(batch_norm.moving_variance.numpy() + batch_norm.epsilon)
    return (batch_norm.gamma.numpy() if batch_norm.scale else 1.0) / deviation


def _passes_through(layer: Layer) -> bool:
    """Whether a layer does nothing at inference."""
    if isinstance(layer, tf_keras.layers.Activation):
        return layer.activation is tf_keras.activations.linear
    return isinstance(layer, tf_keras.layers.Dropout | tf_keras.layers.SpatialDropout2D)
