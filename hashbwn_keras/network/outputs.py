"""What the outputs of a model are: classes, yes or no, measured values, or nothing to compare.

What they are is read off the model: the type of the output, the activation it comes from, and the
loss the model was compiled with. Where none of them tells classes from measured values, several
numbers an image are :attr:`Kind.SCORES`, of which nothing is claimed.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any

import tf_keras

from hashbwn_keras.network.graph import Key, Network, Step
from hashbwn_keras.network.layer_kinds import is_softmax


class Kind(Enum):
    """What an output is; the value is its name for people."""

    CLASSES = "classes"
    """Logits or probabilities of classes along the last axis, for an image or each position."""
    BINARY = "yes or no"
    """Probabilities or logits, each of a decision of its own."""
    SCORES = "scores"
    """Several numbers an image, logits or measured values: nothing tells which."""
    VALUES = "values"
    """Measured values: regression, maps, features."""
    DISCRETE = "discrete"
    """Integers, booleans, strings: class numbers, masks."""
    PASSED = "passed through"
    """An input of the model as it is."""


@dataclass(frozen=True)
class OutputKind:
    """An output of a model.

    Attributes:
        name: of the output.
        kind: what it is.
        threshold: of :attr:`Kind.BINARY`: from where on it says yes, 0.5 for probabilities and 0
            for logits.
    """

    name: str
    kind: Kind
    threshold: float = 0.5

    @property
    def decides(self) -> bool:
        """Whether the network decides something there: a class, yes or no, a number."""
        return self.kind not in (Kind.VALUES, Kind.PASSED)

    @property
    def has_error(self) -> bool:
        """Whether it holds real values that the network computes, of which a distance is one."""
        return self.kind not in (Kind.DISCRETE, Kind.PASSED)


def output_kinds(model: tf_keras.Model, loss: Any = None) -> tuple[OutputKind, ...]:
    """What each output of ``model`` is, in their order.

    Args:
        model: a graph.
        loss: what it was compiled with, in any of Keras's forms, if not known to the model.

    Raises:
        HashBWNError: the model has no graph of layers.
    """
    network = Network.of(model)
    loss = getattr(model, "loss", None) if loss is None else loss
    found = zip(model.output_names, model.outputs, network.outputs, strict=True)
    return tuple(
        _kind(name, tensor, key, network, _loss_name(loss, name, position))
        for position, (name, tensor, key) in enumerate(found)
    )


def _kind(name: str, tensor: Any, key: Key, network: Network, loss: str) -> OutputKind:
    if key in network.inputs:
        return OutputKind(name, Kind.PASSED)
    if not tensor.dtype.is_floating:
        return OutputKind(name, Kind.DISCRETE)
    several = bool(tensor.shape.rank) and (tensor.shape[-1] or 0) > 1
    step = _source(key, network)
    if _is_sigmoid(step):
        return OutputKind(name, Kind.BINARY)
    if several and (is_softmax(step.layer) or _is_operation(step, "nn.softmax")):
        return OutputKind(name, Kind.CLASSES)
    if several and ("categorical" in loss or loss.startswith(("kl", "kullback"))):
        return OutputKind(name, Kind.CLASSES)
    if loss.startswith("binary"):
        return OutputKind(name, Kind.BINARY, threshold=0.0)
    if not loss and several and tensor.shape.rank == 2:
        return OutputKind(name, Kind.SCORES)
    return OutputKind(name, Kind.VALUES)


def _source(key: Key, network: Network) -> Step:
    """The step that computes an output; those that only reshape or pass it on are skipped."""
    makers = network.makers
    step = makers[key]
    while len(step.inputs) == 1 and step.inputs[0] in makers and _passes_on(step):
        step = makers[step.inputs[0]]
    return step


def _passes_on(step: Step) -> bool:
    layers = tf_keras.layers
    if isinstance(step.layer, layers.Reshape | layers.Flatten):
        return bool(step.layer.input_shape[-1] == step.layer.output_shape[-1])
    if isinstance(step.layer, layers.Activation):
        return step.layer.activation is tf_keras.activations.linear
    return isinstance(step.layer, layers.Dropout)


def _is_sigmoid(step: Step) -> bool:
    activation = getattr(step.layer, "activation", None)
    return activation is tf_keras.activations.sigmoid or _is_operation(step, "math.sigmoid")


def _is_operation(step: Step, symbol: str) -> bool:
    return getattr(step.layer, "symbol", None) == symbol


def _loss_name(loss: Any, output: str, position: int) -> str:
    """The loss of an output in lower case without underscores; empty if there is none."""
    if isinstance(loss, dict):
        loss = loss.get(output)
    elif isinstance(loss, list | tuple):
        loss = loss[position] if position < len(loss) else None
    if loss is None:
        return ""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return str(name).lower().replace("_", "")
