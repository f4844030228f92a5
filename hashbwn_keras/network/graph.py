"""A Keras model as a flat list of layer calls, nested models taken apart.

Layer-by-layer work needs to hold the tensors between the layers, which ``Model.predict`` does not
give. Keras 2 keeps the graph in ``Functional._nodes_by_depth``; everything this package needs of
those internals is in this one module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError

Layer = Any
"""A ``tf_keras.layers.Layer``; TensorFlow has no types that say more."""

Key = tuple[int, str]
"""A tensor of the graph: which call of which (nested) model, and the Keras tensor's id."""


@dataclass(eq=False)
class Step:
    """One call of one layer.

    Attributes:
        name: of the layer, ``submodel/layer`` inside nested models.
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
        pool: dict[str, list[tf.Tensor]] = {}
        for tensor_id, value in zip(self.node.flat_input_ids, values, strict=True):
            pool.setdefault(str(tensor_id), []).append(value)
        args, kwargs = self.node.map_arguments(pool)
        if layer._expects_training_arg:
            kwargs["training"] = False
        return tf.nest.flatten(layer(*args, **kwargs))


@dataclass(eq=False)
class Graph:
    """The steps of a model in an order in which they can run, its inputs and its outputs."""

    steps: list[Step]
    inputs: list[Key]
    outputs: list[Key]

    def run(
        self,
        layers: dict[str, Layer],
        inputs: list[tf.Tensor],
        wanted: list[Key],
    ) -> list[tf.Tensor]:
        """Run the network in inference mode and return tensors from its inside.

        Args:
            layers: the layer to call for each layer name: this graph's own or twins of them.
            inputs: one tensor for each of the model's inputs.
            wanted: the tensors to return.
        """
        values = dict(zip(self.inputs, inputs, strict=True))
        for step in self.steps:
            results = step.run(layers[step.name], [values[key] for key in step.inputs])
            values.update(zip(step.outputs, results, strict=True))
        return [values[key] for key in wanted]

    def consumers(self) -> dict[Key, list[Step]]:
        """The steps that read each tensor."""
        readers: dict[Key, list[Step]] = {}
        for step in self.steps:
            for key in step.inputs:
                readers.setdefault(key, []).append(step)
        return readers

    def calls(self) -> dict[str, list[Step]]:
        """The steps of each layer by its name: several where the layer is shared."""
        found: dict[str, list[Step]] = {}
        for step in self.steps:
            found.setdefault(step.name, []).append(step)
        return found


def is_graph(layer: Layer) -> bool:
    """Whether ``layer`` is a Sequential or functional model whose inside can be seen."""
    return bool(getattr(layer, "_is_graph_network", False)) and hasattr(layer, "_nodes_by_depth")


def is_batch_norm(layer: Layer) -> bool:
    """Whether ``layer`` normalises by statistics of the training data."""
    return isinstance(layer, tf_keras.layers.BatchNormalization)


def is_softmax(layer: Layer) -> bool:
    """Whether ``layer`` gives probabilities: a Softmax layer, or one with that activation."""
    activation = getattr(layer, "activation", None)
    return activation is tf_keras.activations.softmax or isinstance(layer, tf_keras.layers.Softmax)


def channel_axis(batch_norm: Layer) -> int:
    """The axis of a built batch-norm's input that it has statistics for, counted from 0."""
    (axis,) = batch_norm.axis  # Keras 2 makes a list of it
    return int(axis)


def is_addition(step: Step) -> bool:
    """Whether a step adds tensors of the same kind: an Add layer, or ``x + y`` of two tensors."""
    if isinstance(step.layer, tf_keras.layers.Add):
        return True
    operator = getattr(step.layer, "symbol", None)
    return operator in ("__operators__.add", "math.add") and len(step.inputs) == 2


def graph_of(model: tf_keras.Model) -> Graph:
    """Take ``model`` apart.

    Raises:
        HashBWNError: not a Keras 2 model, or one without a graph: subclassed, or not built yet.
    """
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
    builder = _Builder()
    inputs = [(0, str(id(t))) for t in model.inputs]
    builder.add(model, "", 0, {})
    outputs = [builder.resolve((0, str(id(t)))) for t in model.outputs]
    return Graph(builder.steps, inputs, outputs)


class _Builder:
    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.scopes = 0
        # Tensors of nested models that are a tensor of another scope: their inputs and outputs.
        self.same: dict[Key, Key] = {}

    def resolve(self, key: Key) -> Key:
        while key in self.same:
            key = self.same[key]
        return key

    def add(self, model: tf_keras.Model, prefix: str, scope: int, fed: dict[Key, Key]) -> None:
        self.same.update(fed)
        for node in _nodes(model):
            if node.is_input:
                continue
            inputs = [self.resolve((scope, str(i))) for i in node.flat_input_ids]
            outputs = [(scope, str(i)) for i in node.flat_output_ids]
            layer = node.layer
            if is_graph(layer):
                self.scopes += 1
                inner = self.scopes
                given = {
                    (inner, str(id(t))): key for t, key in zip(layer.inputs, inputs, strict=True)
                }
                self.add(layer, f"{prefix}{layer.name}/", inner, given)
                for key, tensor in zip(outputs, layer.outputs, strict=True):
                    self.same[key] = self.resolve((inner, str(id(tensor))))
            else:
                self.steps.append(Step(f"{prefix}{layer.name}", layer, inputs, outputs, node))


def _nodes(model: tf_keras.Model) -> Iterator[Any]:
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from model._nodes_by_depth[depth]


def clone(model: tf_keras.Model, make: Callable[[str, Layer], Layer]) -> tf_keras.Model:
    """Rebuild ``model`` from new layers, nested models included; weights are not copied.

    Args:
        model: a graph, see :func:`is_graph`.
        make: makes the new layer from a layer's full name and the layer.

    Raises:
        HashBWNError: a layer cannot be rebuilt from its own configuration.
    """

    def inside(prefix: str) -> Callable[[Layer], Layer]:
        def rebuild(layer: Layer) -> Layer:
            name = f"{prefix}{layer.name}"
            if is_graph(layer):
                return _clone(layer, inside(f"{name}/"))
            try:
                return make(name, layer)
            except (TypeError, NotImplementedError) as error:
                raise HashBWNError(
                    f"Layer {name!r} cannot be rebuilt from its configuration "
                    f"({type(error).__name__}): give {type(layer).__name__} a get_config that "
                    "names all its arguments."
                ) from error

        return rebuild

    return _clone(model, inside(""))


def _clone(model: tf_keras.Model, rebuild: Callable) -> tf_keras.Model:
    copy = tf_keras.models.clone_model(model, clone_function=rebuild)
    copy._name = model.name
    return copy


def same_layer(name: str, layer: Layer) -> Layer:
    """Rebuild a layer as it is; for :func:`clone`."""
    del name
    return type(layer).from_config(layer.get_config())
