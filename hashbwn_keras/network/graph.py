"""A Keras model as a flat list of layer calls, nested models taken apart.

Layer-by-layer work needs to hold the tensors between the layers, which ``Model.predict`` does not
give. Keras 2 keeps the graph in ``Functional._nodes_by_depth``; what this package needs of those
internals is in this module and in :mod:`hashbwn_keras.network.rebuild`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras.src.engine.functional import Functional

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.codes import BinaryKernel, binary_kernels
from hashbwn_keras.network.labels import Layer, all_layers
from hashbwn_keras.network.layer_kinds import only_watches

Key = tuple[int, str]
"""A tensor of the graph: which call of which (nested) model, and the Keras tensor's id."""

Twins = Mapping[Layer, Layer]
"""For each layer of one network its counterpart in another."""


@dataclass(eq=False)
class Step:
    """One call of one layer.

    Attributes:
        name: label of the layer.
        layer: the layer that is called.
        inputs: its input tensors, flattened.
        outputs: its output tensors, flattened.
        node: Keras's record of the call.
    """

    name: str
    layer: Layer
    inputs: list[Key]
    outputs: list[Key]
    node: Any

    def run(self, layer: Layer, values: list[tf.Tensor]) -> list[tf.Tensor]:
        """Call ``layer``, this step's own or its twin, on values of the inputs, in inference mode.

        Args:
            layer: a layer with the call signature of this step's.
            values: one tensor for each of ``inputs``.

        Returns:
            One tensor for each of ``outputs``.
        """
        if only_watches(layer):
            return list(values)
        pool: dict[str, list[tf.Tensor]] = {}
        for tensor_id, value in zip(self.node.flat_input_ids, values, strict=True):
            pool.setdefault(str(tensor_id), []).append(value)
        args, kwargs = self.node.map_arguments(pool)
        if layer._expects_training_arg:
            kwargs["training"] = False
        return tf.nest.flatten(layer(*args, **kwargs))


@dataclass(eq=False)
class Network:
    """A model taken apart: its steps in an order in which they can run, its inputs and outputs.

    A layer is told by the object that it is; its label is for people. Whatever has
    layers inside but is no Sequential or functional model, such as a wrapper or a subclassed model,
    is one layer, as is a model that is called on tensors of another rank or type than its own.

    Attributes:
        model: the model.
        steps: the calls of its layers.
        inputs: the tensors that go in, in the model's order.
        outputs: the tensors that come out, in the model's order.
        submodels: the nested models that were taken apart.
        labels: the label of every layer, those inside of wrappers included.
    """

    model: tf_keras.Model
    steps: list[Step]
    inputs: list[Key]
    outputs: list[Key]
    submodels: set[Layer]
    labels: dict[Layer, str]

    @classmethod
    def of(cls, model: tf_keras.Model) -> "Network":
        """Take ``model`` apart.

        Raises:
            HashBWNError: not a Keras 2 model, or one without a graph: subclassed, or not built yet.
        """
        _check_graph(model)
        builder = _Builder(model)
        inputs = [(0, str(id(t))) for t in model.inputs]
        builder.add(model, 0, {})
        outputs = [builder.resolve((0, str(id(t)))) for t in model.outputs]
        return cls(model, builder.steps, inputs, outputs, builder.submodels, builder.labels)

    @cached_property
    def layers(self) -> list[Layer]:
        """The layers that are called, each once, in the order of their first calls."""
        return list(self.calls)

    @cached_property
    def calls(self) -> dict[Layer, list[Step]]:
        """The steps of each layer: several where it is shared."""
        found: dict[Layer, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.layer, []).append(step)
        return found

    @cached_property
    def readers(self) -> dict[Key, list[Step]]:
        """The steps that read each tensor that any reads."""
        found: dict[Key, list[Step]] = {}
        for step in self.steps:
            for key in step.inputs:
                found.setdefault(key, []).append(step)
        return found

    @cached_property
    def makers(self) -> dict[Key, Step]:
        """The step that makes each tensor; inputs are made by none."""
        return {key: step for step in self.steps for key in step.outputs}

    @property
    def kernels(self) -> list[BinaryKernel]:
        """The kernels that are quantized by ``hash_sign``, those inside of wrappers included."""
        return binary_kernels(self.model)

    def twins_in(self, other: "Network") -> dict[Layer, Layer]:
        """The counterpart in ``other``, of the same structure, for each layer.

        Raises:
            HashBWNError: the networks have different numbers of layers.
        """
        if len(self.layers) != len(other.layers):
            raise HashBWNError(
                f"Model {other.model.name!r} has {len(other.layers)} layers and "
                f"{self.model.name!r} {len(self.layers)}: give models of the same structure."
            )
        return dict(zip(self.layers, other.layers, strict=True))

    def run(
        self, inputs: list[tf.Tensor], wanted: list[Key], twins: Twins | None = None
    ) -> list[tf.Tensor]:
        """Run the network in inference mode and return tensors from its inside.

        Args:
            inputs: one tensor for each of the model's inputs.
            wanted: the tensors to return.
            twins: the layer to call instead of each layer.
        """
        values = dict(zip(self.inputs, inputs, strict=True))
        for step in self.steps:
            layer = twins[step.layer] if twins else step.layer
            results = step.run(layer, [values[key] for key in step.inputs])
            values.update(zip(step.outputs, results, strict=True))
        return [values[key] for key in wanted]


def is_graph(layer: Layer) -> bool:
    """Whether ``layer`` is a Sequential or functional model whose inside can be seen."""
    return (
        isinstance(layer, Functional)
        and bool(getattr(layer, "_is_graph_network", False))
        and hasattr(layer, "_nodes_by_depth")
        and type(layer).call in (Functional.call, tf_keras.Sequential.call)
    )


def _check_graph(model: tf_keras.Model) -> None:
    if not isinstance(model, tf_keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        cure = "give a tf_keras model"
        if kind.startswith("keras."):
            cure = "give hashbwn_keras.to_keras2(model)"
        raise HashBWNError(f"The model is a {kind}, not a Keras 2 model: {cure}.")
    if not is_graph(model):
        cure = (
            "give its first layer an input_shape, or call model.build"
            if isinstance(model, tf_keras.Sequential)
            else "rebuild it as a Sequential or functional model"
        )
        raise HashBWNError(f"Model {model.name!r} has no graph of layers: {cure}.")


class _Builder:
    def __init__(self, model: tf_keras.Model) -> None:
        self.steps: list[Step] = []
        self.submodels: set[Layer] = set()
        self.scopes = 0
        self.labels = {layer: label for label, layer in all_layers(model)}
        # Tensors of nested models that are a tensor of another scope: their inputs and outputs.
        self.same: dict[Key, Key] = {}

    def resolve(self, key: Key) -> Key:
        while key in self.same:
            key = self.same[key]
        return key

    def add(self, model: tf_keras.Model, scope: int, fed: dict[Key, Key]) -> None:
        """Append the steps of ``model``, whose inputs are the tensors that it is fed."""
        self.same.update(fed)
        for node in _nodes(model):
            if node.is_input:
                continue
            layer = node.layer
            given = _given(node) if is_graph(layer) else None
            if given is not None:
                self._enter(layer, [self.resolve((scope, str(id(t)))) for t in given], node, scope)
                continue
            inputs = [self.resolve((scope, str(i))) for i in node.flat_input_ids]
            outputs = [(scope, str(i)) for i in node.flat_output_ids]
            self.steps.append(Step(self.labels[layer], layer, inputs, outputs, node))

    def _enter(self, model: tf_keras.Model, given: list[Key], node: Any, scope: int) -> None:
        self.submodels.add(model)
        self.scopes += 1
        inner = self.scopes
        own = [(inner, str(id(t))) for t in model.inputs]
        self.add(model, inner, dict(zip(own, given, strict=True)))
        for tensor_id, tensor in zip(node.flat_output_ids, model.outputs, strict=True):
            self.same[scope, str(tensor_id)] = self.resolve((inner, str(id(tensor))))


def _nodes(model: tf_keras.Model) -> Iterator[Any]:
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def _given(node: Any) -> list[Any] | None:
    """The Keras tensors that a call of a graph gives to its inputs, in the graph's order.

    None where the graph would first make other tensors of them, or gets anything else, a mask for
    example: such a call cannot be told by the graph's own steps.
    """
    model, arguments = node.layer, node.call_args
    given = arguments[0] if arguments else node.call_kwargs["inputs"]
    tensors = model._flatten_to_reference_inputs(given)
    known = {str(i) for i in node.flat_input_ids}
    if {str(id(tensor)) for tensor in tensors} != known or len(tensors) != len(model.inputs):
        return None
    for tensor, own in zip(tensors, model.inputs, strict=True):
        if tensor.dtype != own.dtype or tensor.shape.rank != own.shape.rank:
            return None
    return tensors
