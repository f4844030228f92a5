"""Models of Keras 3 rebuilt on Keras 2, which everything here computes with.

Keras 3 keeps the graph of a model in ``Functional._nodes_by_depth``; what this package needs of
those internals is in this module. Keras 3 is imported only where one of its models or files shows
up.
"""

import sys
from collections.abc import Iterator
from typing import Any

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.keras3 import operations
from hashbwn_keras.network.keras3.layers import Custom, copy_weights, rebuilt


def is_keras3(model: Any) -> bool:
    """Whether ``model`` is a model of Keras 3, which exists only where that was imported."""
    keras = sys.modules.get("keras")
    return keras is not None and isinstance(model, getattr(keras, "Model", ()))


def to_keras2(model: Any, custom_objects: dict[str, Any] | None = None) -> tf_keras.Model:
    """Rebuild a model of Keras 3 on Keras 2 (``tf_keras``), which computes the same.

    Every function here that takes a model does this by itself; call it where layers of your own
    need ``custom_objects``, or to save the time of doing it twice.

    Args:
        model: Sequential or functional model of Keras 3: nested models, shared layers, several
            inputs and outputs (lists, dicts) and operations of ``keras.ops`` included. It is not
            changed. Anything else is returned as it is.
        custom_objects: for layers and functions of your own, by the name of the class or function
            in Keras 3: a ``tf_keras`` layer class with the same arguments and weights, a function
            of TensorFlow. Classes registered with ``tf_keras`` need not be given.

    Returns:
        An uncompiled ``tf_keras`` model with the same names, structure and weights.

    Raises:
        HashBWNError: a model without a graph (subclassed, not built yet), a layer, an argument or
            an operation that Keras 2 lacks.
    """
    if not is_keras3(model):
        return model
    rebuilding = _Rebuilding(custom_objects or {})
    copy = rebuilding.model(model)
    rebuilding.copy_weights()
    return copy


class _Rebuilding:
    """One model on its way to Keras 2; a layer that is shared is rebuilt once."""

    def __init__(self, custom: Custom) -> None:
        self.custom = custom
        self.twins: dict[int, tuple[Any, Any]] = {}

    def copy_weights(self) -> None:
        """Copy the weights of all layers, once the models are built."""
        for layer, twin in self.twins.values():
            if not isinstance(twin, tf_keras.Model):
                copy_weights(layer, twin)

    def twin(self, layer: Any) -> Any:
        """The Keras 2 layer or model for one of Keras 3."""
        import keras

        if id(layer) not in self.twins:
            nested = isinstance(layer, keras.Model) and type(layer).__name__ not in self.custom
            twin = self.model(layer) if nested else rebuilt(layer, self.custom)
            self.twins[id(layer)] = (layer, twin)
        return self.twins[id(layer)][1]

    def model(self, model: Any) -> tf_keras.Model:
        """A model of Keras 2 for one of Keras 3, without its weights."""
        import keras

        graph = _graph(model)
        inputs = [_input(tensor) for tensor in graph.inputs]
        if isinstance(model, keras.Sequential):
            layers = [self.twin(layer) for layer in model.layers]
            return tf_keras.Sequential([*inputs, *layers], name=model.name)
        values = {id(tensor): value for tensor, value in zip(graph.inputs, inputs, strict=True)}
        for node in _nodes(graph):
            args, kwargs = node.arguments.convert(lambda value: _filled_in(value, values))
            if isinstance(node.operation, keras.layers.Layer):
                results = self.twin(node.operation)(*args, **kwargs)
            else:
                results = operations.run(node.operation, node.outputs[0].dtype, args, kwargs)
                _name(results, node.operation.name)
            for tensor, value in zip(node.outputs, keras.tree.flatten(results), strict=True):
                values[id(tensor)] = value
        structure = keras.tree.map_structure(
            lambda tensor: values[id(tensor)], (graph._inputs_struct, graph._outputs_struct)
        )
        copy = tf_keras.Model(*structure, name=model.name)
        copy.trainable = copy.trainable and model.trainable
        return copy


def _graph(model: Any) -> Any:
    """The functional model that holds the graph of a model of Keras 3."""
    import keras
    from keras.src.models.functional import Functional

    if isinstance(model, keras.Sequential):
        graph, cure = model._functional, "begin it with keras.Input, or call model.build"
    else:
        seen = isinstance(model, Functional) and type(model).call is Functional.call
        graph = model if seen else None
        cure = "rebuild it as a Sequential or functional model"
    if graph is None:
        raise HashBWNError(f"Model {model.name!r} has no graph of layers: {cure}.")
    return graph


def _nodes(graph: Any) -> Iterator[Any]:
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from (node for node in graph._nodes_by_depth[depth] if not node.is_input)


def _input(tensor: Any) -> Any:
    return tf_keras.Input(
        tensor.shape[1:],
        tensor.shape[0],
        name=tensor._keras_history.operation.name,
        dtype=tensor.dtype,
        sparse=tensor.sparse or None,
    )


def _filled_in(value: Any, values: dict[int, Any]) -> Any:
    """An argument of a call: a tensor of the graph, a constant of whatever backend, or neither."""
    import keras

    if isinstance(value, keras.KerasTensor):
        return values[id(value)]
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        return keras.ops.convert_to_numpy(value)
    return value


def _name(results: Any, name: str) -> None:
    """Give the layer that Keras 2 made of a function of TensorFlow the name of the operation."""
    if not isinstance(results, list | tuple):
        results.node.layer._name = name
