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
from hashbwn_keras.binarizer.layerwise import LayerwisePass, Options, Target
from hashbwn_keras.binarizer.paths import feeds_batch_norm
from hashbwn_keras.binarizer.repair import repair as repair_across_layers
from hashbwn_keras.binarizer.selection import Filters, select
from hashbwn_keras.binarizer.write import SolvedLayer
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.batches import Batch, batches_of, image_count
from hashbwn_keras.network.graph import Graph, Layer, clone, graph_of, same_layer
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.layers import binary_form, flat_layers
from hashbwn_keras.network.saving import set_recipe
from hashbwn_keras.solver.methods import METHODS
from hashbwn_keras.version import __version__

_log = logging.getLogger("hashbwn_keras")


def binarize(
    model: tf_keras.Model,
    calibration_data: Any = None,
    *,
    filters: Filters = None,
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
            Conv2D, SeparableConv2D and Dense but the first convolution and the last Dense.
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
    graph = graph_of(model)
    _check_weights(model)
    chosen, skipped = select(model, graph, filters)
    for name, reason in skipped.items():
        if "filters" not in reason:
            _log.warning("%s stays float: %s.", name, reason)
    if calibration_data is None:
        batches = synthesise(model, seed)
    else:
        batches = batches_of(calibration_data, model)

    teacher = _without_activations(model, set(chosen))
    binary = _binary_clone(model, graph, set(chosen), centred)
    originals = dict(flat_layers(model))
    linear, twins = dict(flat_layers(teacher)), dict(flat_layers(binary))
    targets = {
        name: Target(linear[name], twins[name], originals[name].activation) for name in chosen
    }
    options = Options(method=method, seed=seed, centred=centred, compensate=compensate)
    with ActivationStore(memory_limit) as store:
        solved = LayerwisePass(graph_of(teacher), twins, targets, batches, options, store).run()
    repaired = repair_across_layers(model, binary, batches, seed=seed) if repair else None
    recipe = _recipe(model, batches, solved, skipped, options)
    recipe["calibration"] = "synthetic" if calibration_data is None else "given"
    recipe["repair"] = vars(repaired) if repaired else False
    set_recipe(binary, recipe)
    return binary


def _check_weights(model: tf_keras.Model) -> None:
    for name, layer in flat_layers(model):
        if getattr(layer, "compute_dtype", "float32") in ("float16", "bfloat16"):
            raise HashBWNError(
                f"Layer {name!r} computes in {layer.compute_dtype}: build the model with the "
                "float32 policy and load its weights there."
            )
        for weight in layer.get_weights():
            if weight.dtype.kind == "f" and not np.isfinite(weight).all():
                raise HashBWNError(
                    f"Layer {name!r} has NaN or infinite weights: train or load the model again."
                )


def _without_activations(model: tf_keras.Model, chosen: set[str]) -> tf_keras.Model:
    """A copy of the float model in which the chosen layers give their bare inner products."""

    def make(name: str, layer: Layer) -> Layer:
        if name not in chosen:
            return same_layer(name, layer)
        return type(layer).from_config({**layer.get_config(), "activation": "linear"})

    copy = clone(model, make)
    copy.set_weights(model.get_weights())
    return copy


def _binary_clone(
    model: tf_keras.Model, graph: Graph, chosen: set[str], centred: bool
) -> tf_keras.Model:
    """A copy in which the chosen layers are HashBinary layers, their weights still the float ones.

    A layer whose outputs' mean no batch-norm takes gets a bias for it.
    """
    readers, calls = graph.consumers(), graph.calls()
    biased = {
        name
        for name in chosen
        if centred and not all(feeds_batch_norm(step, readers) for step in calls[name])
    }

    def make(name: str, layer: Layer) -> Layer:
        if name not in chosen:
            return same_layer(name, layer)
        binary = binary_form(layer)
        if name in biased:
            binary.use_bias = True
        return binary

    copy = clone(model, make)
    twins = dict(flat_layers(copy))
    for name, layer in flat_layers(model):
        weights = layer.get_weights()
        if len(twins[name].weights) > len(weights):
            weights = [*weights, np.zeros(twins[name].bias.shape, np.float32)]
        twins[name].set_weights(weights)
    return copy


def _recipe(
    model: tf_keras.Model,
    batches: list[Batch],
    solved: dict[str, SolvedLayer],
    skipped: dict[str, str],
    options: Options,
) -> dict[str, Any]:
    """How the model was made, as plain JSON-able values."""
    return {
        "hashbwn_keras": __version__,
        "tensorflow": tf.__version__,
        **vars(options),
        "float_sha256": _digest(model),
        "calibration_images": image_count(batches),
        "layers": {name: vars(layer) for name, layer in solved.items()},
        "skipped": skipped,
    }


def _digest(model: tf_keras.Model) -> str:
    """SHA-256 of a model's configuration and weights, which its file's bytes do not determine."""
    state = hashlib.sha256(json.dumps(model.get_config(), sort_keys=True, default=str).encode())
    for weight in model.get_weights():
        state.update(str(weight.shape).encode() + weight.tobytes())
    return state.hexdigest()
