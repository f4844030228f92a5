"""Float Keras model in, binarised Keras model out."""

import hashlib
import json
import logging
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.binarizer.activations import MEMORY_LIMIT, ActivationStore
from hashbwn_keras.binarizer.data_free import synthesise
from hashbwn_keras.binarizer.layerwise import LayerwisePass, Options
from hashbwn_keras.binarizer.lengths import Bits
from hashbwn_keras.binarizer.paths import feeds_batch_norm
from hashbwn_keras.binarizer.repair import repair as repair_across_layers
from hashbwn_keras.binarizer.selection import Filters, select
from hashbwn_keras.binarizer.two_networks import TwoNetworks
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.batches import batches_of, image_count
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.kernels import binary_form
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import is_linear
from hashbwn_keras.network.rebuild import Rebuilt, rebuild, same_layer
from hashbwn_keras.network.recipe import Recipe
from hashbwn_keras.network.saving import set_recipe
from hashbwn_keras.solver.methods import METHODS
from hashbwn_keras.version import __version__

_log = logging.getLogger("hashbwn_keras")


def binarize(
    model: tf_keras.Model,
    calibration_data: Any = None,
    *,
    filters: Filters = None,
    bits: Bits = 1,
    method: str = "auto",
    repair: bool = True,
    seed: int = 0,
    centred: bool = True,
    compensate: bool = True,
    memory_limit: int = MEMORY_LIMIT,
) -> tf_keras.Model:
    """Make a binary-weight network of a trained float network, without labels or training.

    Layer by layer, in the order of the graph, codes and scales are chosen so that the binarised
    network's inner products come closest to the float network's (see
    :mod:`hashbwn_keras.hashing`); batch-norm statistics are re-estimated on the way. Then, with
    ``repair``, the codes, scales and batch-norms of all layers are tuned together until the
    network's features and outputs on the calibration images follow the float network's (see
    :mod:`hashbwn_keras.binarizer.repair`).

    Args:
        model: Sequential or functional model of Keras 2 or 3, nested models, shared layers,
            several inputs and outputs included. It is not changed.
        calibration_data: images as the model takes them, without labels (labels are ignored): an
            array or one per input, a finite ``tf.data.Dataset`` of batches, or an iterable of
            batches. 1,000 to 2,000 images are a good number. Without it, images are made from the
            network's own batch-norm statistics, which costs accuracy.
        filters: which layers to binarise: regular expression searched in their names, list of
            names (``submodel/layer`` inside nested models), or function of a layer. By default all
            Conv2D, SeparableConv2D and Dense but the first convolution, the last layer before an
            output and kernels too small to be packed (fewer than 512 weights).
        bits: length of the codes, 1 to 4 bits a weight, for all layers or by regular expression
            searched in their names, for example ``{"head": 3, "block_1": "float", "": 2}``, of
            which the first that fits counts. A layer named with a number is binarised whatever
            ``filters`` does by default; layers that no expression fits get 1 bit.
        method: solver, see :func:`hashbwn_keras.hashing.solve`.
        repair: whether to tune across layers after the layer-by-layer solve.
        seed: of all sampling; the same seed gives the same codes on one machine.
        centred: solve for covariances, means going into bias or batch-norm, instead of plain
            second moments as in the paper.
        compensate: aim each layer that ends a residual branch also at the error in its shortcut.
        memory_limit: bytes of activations kept in memory; the rest is spilled to temporary files.

    Returns:
        A new, uncompiled model of the same structure and layer names in which the chosen layers
        are HashBinary layers. ``hashbwn_keras.recipe.get_recipe`` tells how it was made and which
        layers stayed float for which reason.

    Raises:
        HashBWNError: not a Keras 2 graph, no layer to binarise, NaN or infinite weights, mixed
            precision, or calibration data that does not fit.
    """
    if method not in METHODS:
        raise HashBWNError(f"Unknown method {method!r}: choose one of {', '.join(METHODS)}.")
    model = to_keras2(model)
    network = Network.of(model)
    _check_weights(network)
    selection = select(network, filters, bits)
    for label, skipped in selection.skipped.items():
        if not skipped.by_choice:
            _log.warning("%s stays float: %s.", label, skipped.reason)
    if calibration_data is None:
        batches = synthesise(network, seed)
    else:
        batches = batches_of(calibration_data, model)

    binary = _binary_copy(network, selection.chosen, centred)
    options = Options(method=method, seed=seed, centred=centred, compensate=compensate)
    with ActivationStore(memory_limit) as store:
        networks = TwoNetworks(network, binary.twins, batches, store)
        solved = LayerwisePass(networks, selection.chosen, options).run()
    repaired = repair_across_layers(network, binary, batches, seed=seed) if repair else None
    recipe = Recipe(
        hashbwn_keras=__version__,
        tensorflow=tf.__version__,
        **vars(options),
        float_sha256=_digest(model),
        calibration="synthetic" if calibration_data is None else "given",
        calibration_images=image_count(batches),
        layers=solved,
        skipped=selection.skipped,
        repair=repaired,
    )
    set_recipe(binary.model, recipe.to_json())
    return binary.model


def _check_weights(network: Network) -> None:
    for layer in network.layers:
        label = network.labels[layer]
        if getattr(layer, "compute_dtype", "float32") in ("float16", "bfloat16", "float64"):
            raise HashBWNError(
                f"Layer {label!r} computes in {layer.compute_dtype}: build the model with the "
                "float32 policy and load its weights there."
            )
        for weight in layer.get_weights():
            if weight.dtype.kind == "f" and not np.isfinite(weight).all():
                raise HashBWNError(
                    f"Layer {label!r} has NaN or infinite weights: train or load the model again."
                )


def _binary_copy(network: Network, chosen: dict[Layer, int], centred: bool) -> Rebuilt:
    """A copy in which the chosen layers are HashBinary layers, their weights still the float ones.

    A layer whose inner products' mean no batch-norm takes, or takes behind an activation only, gets
    a bias for it.
    """
    biased = set()
    for layer in chosen if centred else ():
        normalised = all(feeds_batch_norm(step, network) for step in network.calls[layer])
        if not (normalised and is_linear(layer)):
            biased.add(layer)

    def make(layer: Layer) -> Layer:
        if layer not in chosen:
            return same_layer(layer)
        binary = binary_form(layer, chosen[layer])
        if layer in biased:
            binary.use_bias = True
        return binary

    copy = rebuild(network, make)
    for layer, twin in copy.twins.items():
        added = layer in biased and not layer.use_bias
        given = iter(layer.get_weights())
        twin.set_weights(
            [
                np.zeros(weight.shape, np.float32) if added and weight is twin.bias else next(given)
                for weight in twin.weights
            ]
        )
    return copy


def _digest(model: tf_keras.Model) -> str:
    """SHA-256 of a model's configuration and weights, which its file's bytes do not determine."""
    state = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        state.update(str(weight.shape).encode() + weight.tobytes())
    return state.hexdigest()
