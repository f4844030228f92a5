"""Every layer of a model, with the label that people know it by: its name, or ``submodel/layer``.

A label is for people: in ``filters``, recipes and reports. Inside the package a layer is told by
the object that it is.
"""

from collections.abc import Iterator
from typing import Any

import larq as lq
import tf_keras

Layer = Any
"""A ``tf_keras.layers.Layer``; TensorFlow has no types that say more."""

_LEAVES = ("tf_keras", "larq", "hashbwn_keras")
"""Packages whose layers, but for models and wrappers, are one layer whatever they consist of."""


def flat_layers(model: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield label and layer of every layer that computes, each shared layer once.

    Models, wrappers such as ``TimeDistributed`` and a user's own layers of layers are entered; a
    layer inside has their names in front, joined by ``/``. Where two layers would have one label,
    as a layer ``b/c`` beside a model ``b`` with a layer ``c``, the second one's ends in ``~2``. The
    wrappers of tensorflow-model-optimization are not entered: the layer inside computes with other
    weights than it has.
    """
    return ((label, layer) for label, layer in all_layers(model) if not parts_of(layer))


def all_layers(model: Layer) -> Iterator[tuple[str, Layer]]:
    """Yield what :func:`flat_layers` does, and before its parts each layer that has some."""
    labels: set[str] = set()
    seen: set[int] = set()
    for path, layer in _walk(model):
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        label, number = path, 2
        while label in labels:
            label, number = f"{path}~{number}", number + 1
        labels.add(label)
        yield label, layer


def parts_of(layer: Layer) -> list[Layer]:
    """The layers that ``layer`` consists of; none where it is one layer."""
    if is_quantize_wrapper(layer):
        return []
    if isinstance(layer, tf_keras.Model):
        return list(layer.layers)
    if isinstance(layer, tf_keras.layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    if isinstance(layer, tf_keras.layers.Wrapper):
        return [layer.layer]
    if type(layer).__module__.partition(".")[0] in _LEAVES:
        return []
    own = getattr(layer, "activation", None)
    found = layer._flatten_layers(recursive=False, include_self=False)
    return [x for x in found if x is not own and not isinstance(x, lq.quantizers.Quantizer)]


def is_quantize_wrapper(layer: Layer) -> bool:
    """Whether it is tensorflow-model-optimization's, which keeps the variables of its layer."""
    return hasattr(layer, "quantize_config")


def is_quantize_aware(model: tf_keras.Model) -> bool:
    """Whether tensorflow-model-optimization made ``model``, for 8-bit activations."""
    return any(is_quantize_wrapper(layer) for layer in model.layers)


def _walk(layer: Layer) -> Iterator[tuple[str, Layer]]:
    """Paths and layers inside of ``layer``; the layer itself where there is nothing inside."""
    parts = parts_of(layer)
    if not parts:
        yield layer.name, layer
    for part in parts:
        yield part.name, part
        if parts_of(part):
            yield from ((f"{part.name}/{path}", inner) for path, inner in _walk(part))
