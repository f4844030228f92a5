"""The way back: a model of Keras 2, binary or not, as a plain model of Keras 3.

Quantized kernels become what their layers compute with, ±α for each output channel, in ordinary
layers: Keras 3 needs neither Larq nor this package to run, save, train or convert the result.
"""

import inspect
from collections.abc import Iterator
from typing import Any

import larq as lq
import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.keras3 import additions
from hashbwn_keras.network.keras3.functions import FUNCTIONS
from hashbwn_keras.network.keras3.layers import is_unset, parameters_of
from hashbwn_keras.network.kernels import PLACES
from hashbwn_keras.network.layer_kinds import channel_axis, is_batch_norm

_OURS = ("larq.", "hashbwn_keras.")
_ALIKE = {"elu", "exponential", "gelu", "leaky_relu", "linear", "log_softmax", "mish", "relu"}
_ALIKE |= {"relu6", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh"}
_NOT_COMPUTED_WITH = {"implementation", "metrics", "rng_type", *(p.quantizer for p in PLACES)}
_PARTS = ("_initializer", "_regularizer", "_constraint")


def to_keras3(model: tf_keras.Model) -> Any:
    """Rebuild a model of Keras 2 on Keras 3 as plain layers that compute the same.

    Args:
        model: Sequential or functional ``tf_keras`` model, for example from
            :func:`hashbwn_keras.binarize`. It is not changed.

    Returns:
        An uncompiled ``keras.Model`` with the same names and structure. Binary kernels have the
        values that their layers compute with: two for each output channel.

    Raises:
        HashBWNError: a model without a graph, an input that is quantized, or a layer or an
            operation that Keras 3 lacks.
        ImportError: Keras 3 is not installed.
    """
    if not getattr(model, "_is_graph_network", False):
        raise HashBWNError(
            f"{getattr(model, 'name', model)!r} has no graph of Keras 2 layers: give a built "
            "Sequential or functional tf_keras model."
        )
    return _Rebuilding().whole(model)


class _Rebuilding:
    """One model on its way to Keras 3; a layer that is shared is rebuilt once."""

    def __init__(self) -> None:
        self.twins: dict[int, tuple[Any, Any]] = {}

    def whole(self, model: tf_keras.Model) -> Any:
        copy = self.model(model)
        for layer, twin in self.twins.values():
            if not isinstance(layer, tf_keras.Model):
                _copy_weights(layer, twin)
        return copy

    def twin(self, layer: Any) -> Any:
        """The Keras 3 layer or model for one of Keras 2."""
        if id(layer) not in self.twins:
            nested = isinstance(layer, tf_keras.Model)
            self.twins[id(layer)] = (layer, self.model(layer) if nested else _rebuilt(layer))
        return self.twins[id(layer)][1]

    def model(self, model: tf_keras.Model) -> Any:
        """A model of Keras 3 for one of Keras 2, without its weights."""
        import keras

        inputs = [_input(tensor) for tensor in model.inputs]
        if isinstance(model, tf_keras.Sequential):
            layers = [self.twin(layer) for layer in model.layers]
            return keras.Sequential([*inputs, *layers], name=model.name)
        values = {id(tensor): value for tensor, value in zip(model.inputs, inputs, strict=True)}

        def filled_in(value: Any) -> Any:
            return values.get(id(value), value)

        for node in _nodes(model):
            args, kwargs = tf.nest.map_structure(filled_in, (node.call_args, node.call_kwargs))
            symbol = getattr(node.layer, "symbol", None)
            if symbol is not None:
                results = _call(node.layer, symbol, args, kwargs)
            elif isinstance(node.layer, additions.Einsum):
                results = keras.ops.einsum(node.layer.equation, *args[0])
            else:
                results = self.twin(node.layer)(*args, **kwargs)
            flat = keras.tree.flatten(results)
            for tensor, value in zip(tf.nest.flatten(node.outputs), flat, strict=True):
                values[id(tensor)] = value
        structure = tf.nest.map_structure(
            lambda tensor: values[id(tensor)], (model._nested_inputs, model._nested_outputs)
        )
        return keras.Model(*structure, name=model.name)


def _nodes(model: tf_keras.Model) -> Iterator[Any]:
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def _input(tensor: Any) -> Any:
    import keras

    shape = tuple(tensor.shape)
    return keras.Input(batch_shape=shape, dtype=tensor.dtype.name, name=tensor.node.layer.name)


def _call(layer: Any, symbol: str, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call what Keras 3 has for a function of TensorFlow."""
    if symbol not in FUNCTIONS:
        raise HashBWNError(
            f"Operation {layer.name!r} is tf.{symbol}, which cannot be rebuilt with Keras 3: put "
            "it into a layer, or cut the model before it."
        )
    given = inspect.signature(layer.function).bind(*args, **kwargs)
    given.apply_defaults()
    given.arguments.pop("name", None)
    return FUNCTIONS[symbol](**given.arguments)


def _rebuilt(layer: Any) -> Any:
    """A new Keras 3 layer with the name and arguments of a layer of Keras 2."""
    import keras

    kind = _plain_class(layer)
    if kind.__name__ == "Lambda":
        return keras.layers.Lambda(layer.function, arguments=layer.arguments, name=layer.name)
    target = getattr(keras.layers, kind.__name__, None)
    if kind.__name__ in ("LayerScale", "StochasticDepth"):  # which Keras 3 keeps to itself
        from keras.src.applications import convnext

        target = getattr(convnext, kind.__name__)
    if target is None or not kind.__module__.startswith(("tf_keras.", *_OURS)):
        raise HashBWNError(
            f"Layer {layer.name!r} is a {kind.__name__}, which Keras 3 does not know: cut the "
            "model before it."
        )
    return target(**_arguments(layer, kind, target))


def _plain_class(layer: Any) -> Any:
    """The class of Keras 2 that computes what ``layer`` does once its kernels are constant."""
    if getattr(layer, "input_quantizer", None) is not None:
        raise HashBWNError(
            f"Layer {layer.name!r} quantizes its input, which Keras 3 has no layer for: set "
            "input_quantizer=None."
        )
    for kind in type(layer).__mro__:
        if not kind.__module__.startswith(_OURS) or kind.__name__ in additions.LAYERS:
            return kind
    raise AssertionError("unreachable: every layer has a class of Keras")


def _arguments(layer: Any, kind: Any, target: Any) -> dict[str, Any]:
    import keras

    renamed = {"alpha": "negative_slope"} if kind.__name__ == "LeakyReLU" else {}
    known = parameters_of(target, keras.layers.Layer)
    own_kind: Any = type(layer)
    defaults = parameters_of(own_kind)
    arguments = {}
    for key, value in _full_config(layer).items():
        name = renamed.get(key, key)
        if name in known:
            if not key.endswith(_PARTS):  # how to train: what matters to Keras 2 alone
                arguments[name] = _value(layer, key, value)
        elif not (
            key in _NOT_COMPUTED_WITH
            or key.endswith(_PARTS)
            or is_unset(value, defaults.get(key, False))
        ):
            raise HashBWNError(
                f"Layer {layer.name!r} has {key}={value!r}, which {target.__name__} of Keras 3 "
                "lacks: cut the model before it."
            )
    return arguments


def _full_config(layer: Any) -> dict[str, Any]:
    config = layer.get_config()
    if isinstance(layer, tf_keras.layers.Normalization):
        for name in ("mean", "variance"):
            config[name] = np.squeeze(getattr(layer, name)).tolist()
    return config


def _value(layer: Any, key: str, value: Any) -> Any:
    if key == "dtype":
        return layer.dtype_policy.name
    if key.endswith("activation"):
        return _activation(layer, getattr(layer, key, None))
    if key in ("layer", "cell", "forward_layer", "backward_layer") and value is not None:
        return _rebuilt(getattr(layer, key))
    if key == "cells":
        return [_rebuilt(cell) for cell in layer.cells]
    if key == "axis" and is_batch_norm(layer):
        return channel_axis(layer)
    return list(value) if isinstance(value, list) else value  # Keras 2 has lists of its own


def _activation(layer: Any, function: Any) -> Any:
    if function is None or isinstance(function, str):
        return function
    if isinstance(function, tf_keras.layers.Layer):
        return _rebuilt(function)
    if isinstance(function, additions.Keras3Activation):
        return function.name
    name = getattr(function, "__name__", repr(function))
    if name in _ALIKE:
        return name
    raise HashBWNError(
        f"Layer {layer.name!r} has the activation {name}, which Keras 3 lacks: cut the model "
        "before it."
    )


def _copy_weights(layer: Any, twin: Any) -> None:
    """Give a built Keras 3 layer the values that the layer of Keras 2 computes with."""
    if isinstance(layer, tf_keras.layers.Normalization):
        return  # they became arguments
    with lq.context.quantized_scope(True):
        values = [tf.convert_to_tensor(weight).numpy() for weight in layer.weights]
    twin.set_weights(values)
