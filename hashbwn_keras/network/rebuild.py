"""Models rebuilt layer by layer, the structure kept: names, nested models, what is shared."""

from collections.abc import Callable
from dataclasses import dataclass

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.labels import Layer

Make = Callable[[Layer], Layer]
"""Makes the new layer, unbuilt, from the old one."""


@dataclass(frozen=True, eq=False)
class Rebuilt:
    """A rebuilt model, and the new layer for each layer of the network it was rebuilt from."""

    model: tf_keras.Model
    twins: dict[Layer, Layer]


def rebuild(network: Network, make: Make) -> Rebuilt:
    """Rebuild a model from new layers; weights are not copied.

    Args:
        network: of the model.
        make: called once for each layer of the network.

    Raises:
        HashBWNError: a layer cannot be rebuilt from its own configuration, or has a layer inside
            that is used outside as well.
    """
    _refuse_shared_parts(network)
    made: dict[Layer, Layer] = {}

    def new(layer: Layer) -> Layer:
        if layer not in made:
            inside = layer in network.submodels
            made[layer] = _clone(layer, new) if inside else _make(network, layer, make)
        return made[layer]

    copy = _clone(network.model, new)
    return Rebuilt(copy, {layer: made[layer] for layer in network.layers})


def clone(model: tf_keras.Model, make: Make) -> tf_keras.Model:
    """Rebuild a model, see :func:`rebuild`, and return the new model alone."""
    return rebuild(Network.of(model), make).model


def copy_of(network: Network) -> Rebuilt:
    """Copy a model: new layers of the same kinds with the same weights."""
    copy = rebuild(network, same_layer)
    for layer, twin in copy.twins.items():
        twin.set_weights(layer.get_weights())
    return copy


def same_layer(layer: Layer) -> Layer:
    """Return a new, unbuilt layer like ``layer``."""
    return type(layer).from_config(layer.get_config())


def _clone(model: tf_keras.Model, new: Make) -> tf_keras.Model:
    copy = tf_keras.models.clone_model(model, clone_function=new)
    copy._name = model.name
    return copy


def _make(network: Network, layer: Layer, make: Make) -> Layer:
    try:
        return make(layer)
    except (TypeError, NotImplementedError) as error:
        raise HashBWNError(
            f"Layer {network.labels[layer]!r} cannot be rebuilt from its configuration "
            f"({type(error).__name__}): give {type(layer).__name__} a get_config that names all "
            "its arguments."
        ) from error


def _refuse_shared_parts(network: Network) -> None:
    """Refuse a layer inside a wrapper, say, that is elsewhere, too: it would become two layers."""
    owners: dict[int, Layer] = {}
    for layer in network.layers:
        inside = (part for part in layer.submodules if isinstance(part, tf_keras.layers.Layer))
        for part in (layer, *(part for part in inside if part.weights)):
            owner = owners.setdefault(id(part), layer)
            if owner is not layer:
                raise HashBWNError(
                    f"Layer {part.name!r} belongs to {network.labels[owner]!r} and to "
                    f"{network.labels[layer]!r}, of which one has it inside: give each a layer of "
                    "its own with the same weights."
                )
