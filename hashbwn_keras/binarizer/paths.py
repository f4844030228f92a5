"""Where layers lead to: additions that end residual branches, batch-norms, the ends of blocks."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.network.graph import Key, Network, Step
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import (
    channel_axis,
    is_addition,
    is_batch_norm,
    is_elementwise,
    passes_through,
)


class Shortcut(NamedTuple):
    """What a layer's output is added to.

    Attributes:
        others: the other summands.
        gain: float32 [channels] or [1], by how much the layer's output is multiplied on its way.
    """

    others: list[Key]
    gain: NDArray[np.float32]


def shortcut_of(step: Step, network: Network) -> Shortcut | None:
    """Follow a layer's output through batch-norms to the addition it goes into.

    None where it goes elsewhere as well, or through anything that is not linear.
    """
    if getattr(step.layer, "data_format", None) == "channels_first":
        return None
    gain = np.ones(1, np.float32)
    (key,) = step.outputs
    while len(network.readers.get(key, [])) == 1:
        (reader,) = network.readers[key]
        if _adds(reader):
            return Shortcut([other for other in reader.inputs if other != key], gain)
        if _normalises_channels_of(reader, step):
            gain = gain * _gain(reader.layer)
        elif not passes_through(reader.layer):
            return None
        (key,) = reader.outputs
    return None


def feeds_batch_norm(step: Step, network: Network) -> bool:
    """Whether all that reads a layer's output is batch-norm of its channels, right behind it."""
    if not set(step.outputs).isdisjoint(network.outputs):
        return False
    found = [reader for key in step.outputs for reader in network.readers.get(key, [])]
    return bool(found) and all(_normalises_channels_of(reader, step) for reader in found)


def ends_of(network: Network, layers: set[Layer]) -> list[Key]:
    """The tensors that layers end in, each once in the order of the graph, outputs left out."""
    found: dict[Key, None] = {}  # an ordered set: layers may end in the same tensor
    for step in network.steps:
        if step.layer in layers:
            key = _end_of(step, network)
            if key not in network.outputs:
                found[key] = None
    return list(found)


def _end_of(step: Step, network: Network) -> Key:
    """The tensor behind a layer's batch-norm, addition and activation, as far as it has them."""
    (key,) = step.outputs
    added = False
    while len(network.readers.get(key, [])) == 1:
        (reader,) = network.readers[key]
        if _adds(reader) and not added:
            added = True
        elif not (is_elementwise(reader.layer) or (is_batch_norm(reader.layer) and not added)):
            break
        (key,) = reader.outputs
    return key


def _adds(step: Step) -> bool:
    return is_addition(step.layer, len(step.inputs))


def _normalises_channels_of(reader: Step, step: Step) -> bool:
    norm = reader.layer
    return is_batch_norm(norm) and channel_axis(norm) == channel_axis(step.layer)


def _gain(batch_norm: Layer) -> NDArray[np.float32]:
    deviation = np.sqrt(batch_norm.moving_variance.numpy() + batch_norm.epsilon)
    return (batch_norm.gamma.numpy() if batch_norm.scale else 1.0) / deviation
