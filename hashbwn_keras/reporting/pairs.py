"""Layers of the float network and their counterparts, and what is known of them without data."""

import math
from typing import NamedTuple

import numpy as np
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.codes import BinaryKernel, binary_kernels
from hashbwn_keras.network.kernels import kernels_of
from hashbwn_keras.network.labels import flat_layers
from hashbwn_keras.network.quantizers import hash_levels
from hashbwn_keras.network.recipe import Recipe, SolvedLayer
from hashbwn_keras.reporting.data import LayerReport


class Pair(NamedTuple):
    """A layer of the float network, its counterpart, and the counterpart's binary kernels."""

    name: str
    wanted: tf_keras.layers.Layer
    got: tf_keras.layers.Layer
    kernels: list[BinaryKernel]


def pairs_of(float_model: tf_keras.Model, binary_model: tf_keras.Model) -> list[Pair]:
    """Match the layers with multiply-accumulates of both networks by name.

    Raises:
        HashBWNError: the layers do not match.
    """
    counterparts = dict(flat_layers(binary_model))
    kernels = binary_kernels(binary_model)
    pairs = []
    for name, layer in flat_layers(float_model):
        twin = counterparts.get(name)
        if not kernels_of(layer) or twin is None:
            continue
        shapes = [[tuple(v.shape) for v in kernels_of(each)] for each in (layer, twin)]
        if shapes[0] != shapes[1]:
            raise HashBWNError(
                f"Layer {name!r} has kernels {shapes[0]} in the float model and {shapes[1]} in the "
                "binary one: give the model that was binarised."
            )
        pairs.append(Pair(name, layer, twin, [k for k in kernels if k.layer is twin]))
    matched = {id(pair.got) for pair in pairs}
    for kernel in kernels:
        if id(kernel.layer) not in matched:
            raise HashBWNError(
                f"The float model has no layer {kernel.name!r}: give the model that was binarised."
            )
    return pairs


def saved_bytes(kernel: BinaryKernel) -> int:
    """Bytes that a few bits a weight and 4 bytes a scale save against 4 bytes a weight."""
    shape = tuple(kernel.variable.shape)
    weights = math.prod(shape)
    scales = math.prod(n for axis, n in enumerate(shape) if axis not in kernel.axes)
    return 4 * weights - (math.ceil(kernel.bits * weights / 8) + 4 * scales)


def layer_report(pair: Pair, relative_error: float, places: int, recipe: Recipe) -> LayerReport:
    """What is known of a layer.

    Args:
        pair: the layer in both networks.
        relative_error: of its output, see :class:`LayerReport`.
        places: output positions of an image, of all its calls together.
        recipe: of the binary network.
    """
    solved = recipe.layers.get(pair.name, SolvedLayer())
    kernels = kernels_of(pair.wanted)
    skipped = recipe.skipped.get(pair.name)
    binary_weights = sum(math.prod(kernel.variable.shape) for kernel in pair.kernels)
    weights = sum(math.prod(variable.shape) for variable in kernels)
    return LayerReport(
        name=pair.name,
        kind=type(pair.wanted).__name__,
        kernel_shapes=tuple(tuple(variable.shape) for variable in kernels),
        binary_weights=binary_weights,
        macs=weights * places,
        binary_macs=binary_weights * places,
        float_bytes=4 * pair.wanted.count_params(),
        binary_bytes=4 * pair.got.count_params() - sum(map(saved_bytes, pair.kernels)),
        relative_error=relative_error,
        solve_error=solved.relative_error,
        sign_error=solved.relative_error_before,
        flipped=_flipped(pair),
        method=solved.method,
        why_float=skipped.reason if skipped else None,
        scales=tuple(float(scale) for k in pair.kernels for scale in k.codes().scales),
        bits=max((kernel.bits for kernel in pair.kernels), default=None),
    )


def _flipped(pair: Pair) -> float | None:
    """Return the share of codes that differ from those of the rounded float weights."""
    if not pair.kernels:
        return None
    matched = zip(kernels_of(pair.wanted), kernels_of(pair.got), strict=True)
    float_kernel = {id(binary): variable for variable, binary in matched}
    flips = [
        (hash_levels(float_kernel[id(k.variable)], k.axes, k.bits).numpy() != k.codes().codes)
        for k in pair.kernels
    ]
    return float(np.mean(np.concatenate([flip.ravel() for flip in flips])))
