"""Layers of Keras 3 as layers of Keras 2: by class name and configuration, then the weights.

Most classes have the same name, arguments and weights in both; what differs is in the tables here.
An argument that Keras 2 lacks is left out where it has its default value, and an error elsewhere.
"""

import inspect
import logging
from collections import Counter
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.keras3 import additions

Custom = Mapping[str, Any]
"""Classes and functions of the user's own, by the name of the class or function in Keras 3."""

_log = logging.getLogger("hashbwn_keras")

_RENAMED = {"LeakyReLU": {"negative_slope": "alpha"}}
_NOT_COMPUTED_WITH = {"seed", "quantization_config", "flash_attention", "use_cudnn", "adapt_size"}
"""Arguments that change no value of the network in inference."""
_SAME_ACTIVATIONS = {*dir(tf_keras.activations), "silu", "relu6", "leaky_relu", "log_softmax"}
_SAME_ACTIVATIONS -= {"hard_sigmoid"}
_ONLY_IN_TRAINING = {"RandAugment", "AugMix", "MixUp", "CutMix"}


def rebuilt(layer: Any, custom: Custom) -> Any:
    """Return a new Keras 2 layer with the name and arguments of a layer of Keras 3, not built yet.

    Args:
        layer: the layer of Keras 3.
        custom: what stands for classes and functions that Keras 2 does not know.

    Raises:
        HashBWNError: a class or an argument that Keras 2 lacks.
    """
    kind = type(layer)
    own = _own_class(layer, custom)
    if own is not None:
        config = layer.get_config()
        return own.from_config({**config, "dtype": layer.dtype_policy.name})
    if not kind.__module__.startswith("keras.src."):
        raise HashBWNError(_unknown(layer, f"{kind.__module__}.{kind.__name__}"))
    if getattr(layer, "quantization_mode", None):
        raise HashBWNError(
            f"Layer {layer.name!r} is quantized to {layer.quantization_mode}: give the model as it "
            "was before quantize()."
        )
    if kind.__name__ == "Lambda":
        return _lambda(layer)
    target = additions.LAYERS.get(kind.__name__) or getattr(tf_keras.layers, kind.__name__, None)
    if target is None and _does_nothing_in_inference(kind.__name__):
        _log.warning(
            "Layer %s (%s) only augments in training and is left out.", layer.name, kind.__name__
        )
        return tf_keras.layers.Activation("linear", name=layer.name)
    if target is None:
        raise HashBWNError(_unknown(layer, kind.__name__))
    return target(**_arguments(layer, target, custom))


def _own_class(layer: Any, custom: Custom) -> Any:
    """The user's Keras 2 class for a layer of Keras 3: from ``custom``, or registered."""
    import keras

    name = type(layer).__name__
    find = tf_keras.utils.get_registered_object
    registered = find(keras.saving.get_registered_name(type(layer))), find(name)
    for found in (custom.get(name), *registered):
        if isinstance(found, type) and issubclass(found, tf_keras.layers.Layer):
            return found
    return None


def _unknown(layer: Any, kind: str) -> str:
    name = type(layer).__name__
    return (
        f"Layer {layer.name!r} is a {kind}, which Keras 2 does not know: give "
        f"hashbwn_keras.to_keras2 custom_objects={{{name!r}: a tf_keras layer with its arguments "
        "and weights}, or cut the model before it with keras.Model(model.input, "
        "layer_before.output)."
    )


def _does_nothing_in_inference(name: str) -> bool:
    return name.startswith("Random") or name in _ONLY_IN_TRAINING


def _lambda(layer: Any) -> Any:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise HashBWNError(
            f"Layer {layer.name!r} is a Lambda for {keras.backend.backend()}: set "
            "KERAS_BACKEND=tensorflow, or cut the model before it."
        )
    return tf_keras.layers.Lambda(layer.function, arguments=layer.arguments, name=layer.name)


def _arguments(layer: Any, target: type, custom: Custom) -> dict[str, Any]:
    """The arguments of a layer of Keras 3 as ``target``, a class of Keras 2, takes them."""
    renamed = _RENAMED.get(target.__name__, {})
    import keras

    known = parameters_of(target)
    kind: Any = type(layer)
    defaults = parameters_of(kind, keras.layers.Layer)
    arguments = {}
    for key, value in _full_config(layer).items():
        name = renamed.get(key, key)
        if name in known:
            value = _value(layer, key, value, custom)
            if value is not _LEFT_OUT:
                arguments[name] = value
        elif key not in _NOT_COMPUTED_WITH and not is_unset(value, defaults.get(key, False)):
            raise HashBWNError(
                f"Layer {layer.name!r} has {key}={value!r}, which {target.__name__} of Keras 2 "
                "lacks: give hashbwn_keras.to_keras2 custom_objects="
                f"{{{type(layer).__name__!r}: a tf_keras layer that has it}}, or cut the model "
                "before it."
            )
    return arguments


def _full_config(layer: Any) -> dict[str, Any]:
    """The configuration of a layer, with what it has learnt from data by ``adapt``."""
    import keras

    config = layer.get_config()
    if isinstance(layer, keras.layers.Normalization) and config["mean"] is None and layer.built:
        # Keras 2 forgets adapted statistics when such a layer is rebuilt; arguments it keeps.
        for name in ("mean", "variance"):
            values = keras.ops.convert_to_numpy(getattr(layer, f"adapt_{name}"))
            config[name] = values.tolist()
    if config.get("vocabulary", ...) is None and layer.vocabulary_size():
        config["vocabulary"] = layer.get_vocabulary(include_special_tokens=False)
    config.pop("vocabulary_size", None)
    return config


def is_unset(value: Any, default: Any) -> bool:
    """Whether an argument has the value that it has where nobody gave one."""
    return value is None or value == "channels_last" or value == default


@cache
def parameters_of(target: type, base: type = tf_keras.layers.Layer) -> dict[str, Any]:
    """The arguments of a class of layers, those that it inherits included, and their defaults.

    Args:
        target: the class.
        base: where its parents end: the class that has ``name``, ``trainable`` and ``dtype``.
    """
    found: dict[str, Any] = {}
    for kind in target.__mro__:
        if kind is base:
            return {"name": None, "trainable": True, "dtype": None, **found}
        if "__init__" not in vars(kind):
            continue
        parameters = inspect.signature(vars(kind)["__init__"]).parameters.values()
        found = {**{p.name: p.default for p in parameters if p.name != "self"}, **found}
        if all(p.kind is not p.VAR_KEYWORD for p in parameters):
            break
    return found


_LEFT_OUT = object()


def _value(layer: Any, key: str, value: Any, custom: Custom) -> Any:
    """One argument, from its form in a configuration of Keras 3."""
    if key == "dtype":
        return layer.dtype_policy.name
    if key.endswith("activation"):
        return _activation(layer, getattr(layer, key, None), custom)
    if isinstance(value, dict) and "class_name" in value:
        return _object(layer, key, value, custom)
    if key == "cells":
        return [rebuilt(cell, custom) for cell in layer.cells]
    return value


def _object(layer: Any, key: str, value: dict[str, Any], custom: Custom) -> Any:
    """An initializer, regularizer, constraint, array or layer inside a configuration."""
    import keras

    found = getattr(layer, key, None)
    if found is None:
        found = keras.saving.deserialize_keras_object(value)
    if isinstance(found, keras.layers.Layer):
        return rebuilt(found, custom)
    if hasattr(found, "__array__"):
        return np.asarray(keras.ops.convert_to_numpy(found))
    name = type(found).__name__
    for base, module in (
        (keras.initializers.Initializer, tf_keras.initializers),
        (keras.regularizers.Regularizer, tf_keras.regularizers),
        (keras.constraints.Constraint, tf_keras.constraints),
    ):
        kind = custom.get(name) or getattr(module, name, None)
        if isinstance(found, base) and kind is not None:
            known = parameters_of(kind)
            return kind(**{k: v for k, v in found.get_config().items() if k in known})
    if isinstance(found, keras.initializers.Initializer):
        return _LEFT_OUT  # the weights have their values already
    raise HashBWNError(
        f"Layer {layer.name!r} has {key}={name}, which Keras 2 does not know: give "
        f"hashbwn_keras.to_keras2 custom_objects={{{name!r}: its class for Keras 2}}, or set "
        f"{key} to None."
    )


def _activation(layer: Any, function: Any, custom: Custom) -> Any:
    """An activation function of Keras 3 as one of Keras 2, or a layer that is used as one."""
    import keras

    if function is None or isinstance(function, str):
        return function
    if isinstance(function, keras.layers.Layer):
        return rebuilt(function, custom)
    name = getattr(function, "__name__", repr(function))
    if name in custom:
        return custom[name]
    if getattr(keras.activations, name, None) is function:
        if name in _SAME_ACTIVATIONS:
            return name
        if name in additions.ACTIVATIONS:
            return additions.ACTIVATIONS[name]
    raise HashBWNError(
        f"Layer {layer.name!r} has the activation {name}, which Keras 2 does not know: give "
        f"hashbwn_keras.to_keras2 custom_objects={{{name!r}: a function of TensorFlow}}."
    )


def copy_weights(layer: Any, twin: Any) -> None:
    """Give a built Keras 2 layer the weights of the layer of Keras 3 that it was rebuilt from.

    Raises:
        HashBWNError: the two keep other weights.
    """
    import keras

    if isinstance(layer, keras.layers.Normalization):
        return  # they became arguments
    names = [weight.path.split("/")[-1] for weight in layer.weights]
    twins = [weight.name.split("/")[-1].partition(":")[0] for weight in twin.weights]
    order = list(range(len(names)))
    if names != twins and Counter(names) == Counter(twins) == Counter(set(names)):
        order = [names.index(name) for name in twins]
    values = [keras.ops.convert_to_numpy(layer.weights[i]) for i in order]
    shapes = [tuple(weight.shape) for weight in twin.weights]
    if [value.shape for value in values] != shapes:
        raise HashBWNError(
            f"Layer {layer.name!r} ({type(layer).__name__}) keeps weights of the shapes "
            f"{[value.shape for value in values]} in Keras 3 and {shapes} in Keras 2: cut the "
            "model before it."
        )
    twin.set_weights(values)
