"""Runs both networks side by side, one batch at a time."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.batches import as_fed, read
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.layers import BinaryKernel, binary_kernels, flat_layers
from hashbwn_keras.network.saving import get_recipe
from hashbwn_keras.reporting.data import LayerReport, Report
from hashbwn_keras.reporting.differences import Difference, Output, class_numbers

_KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel")
_MAC_LAYERS = (
    tf_keras.layers.Conv1D,
    tf_keras.layers.Conv2D,
    tf_keras.layers.Conv3D,
    tf_keras.layers.Dense,
    tf_keras.layers.DepthwiseConv2D,
    tf_keras.layers.SeparableConv1D,
    tf_keras.layers.SeparableConv2D,
)
_TRANSPOSED = (tf_keras.layers.Conv1DTranspose, tf_keras.layers.Conv2DTranspose)
_Call = tuple[tf.Tensor, tf.Tensor]


def report(
    float_model: tf_keras.Model,
    binary_model: tf_keras.Model,
    data: Any,
    labels: Any = None,
    batch_size: int = 64,
) -> Report:
    """Compare ``binary_model`` with the ``float_model`` it came from, in one pass over ``data``.

    Memory is bounded by the activations of one batch in both networks, whatever the amount of data.

    Args:
        float_model: the float network.
        binary_model: what :func:`hashbwn_keras.binarize` made of it; layers are matched by name.
        data: array ``[n, ...]``; list, tuple or dict of arrays for a network with several inputs;
            or an iterable of batches of these, each alone or as a tuple ``(inputs, labels)``.
        labels: class numbers ``[n]`` or one-hot rows ``[n, classes]``. Omit them if ``data`` has
            them.
        batch_size: images per step, for ``data`` given as arrays.

    Raises:
        HashBWNError: no Keras graph, no data, data that do not suit the network or that hold NaN,
            labels that do not suit the data, or models whose layers do not match.
    """
    float_model, binary_model = to_keras2(float_model), to_keras2(binary_model)
    for model in (float_model, binary_model):
        if not getattr(model, "inputs", None):
            raise HashBWNError(
                f"{getattr(model, 'name', model)!r} is no Sequential or functional Keras model "
                "with known inputs: give one."
            )
    pairs = _pairs(float_model, binary_model)
    step = _step(float_model, binary_model, pairs)
    differences = {pair.name: Difference() for pair in pairs}
    outputs = [Output(name) for name in float_model.output_names]
    places: dict[str, int] = {}
    images = 0
    pieces = read(data, float_model, labels, batch_size=batch_size)
    for piece in tqdm(pieces, desc="compare", unit="batch", disable=None):
        truth = class_numbers(piece.labels[0]) if piece.labels else None
        if truth is not None and not (len(outputs) == 1 and _classifies(float_model)):
            raise HashBWNError("The network is no classifier with one output: leave labels out.")
        expected, actual, moments, positions = step(piece.inputs, piece.images)
        for output, wanted, got in zip(outputs, expected, actual, strict=True):
            output.add(
                _finite(wanted.numpy(), output.name)[: piece.images],
                got.numpy()[: piece.images],
                truth,
            )
        for name, values in moments.items():
            count, *parts = (value.numpy() for value in values)
            differences[name].add(int(count), *parts)
        images += piece.images
        places = {name: int(count) for name, count in positions.items()}
    if not images:
        raise HashBWNError("There are no data to compare the networks on: give one image or more.")
    recipe = get_recipe(binary_model)
    rows = [_layer(pair, differences[pair.name], places[pair.name], recipe) for pair in pairs]
    kernels = [kernel for pair in pairs for kernel in pair.kernels]
    return Report(
        model=binary_model.name,
        images=images,
        outputs=tuple(output.summary() for output in outputs),
        layers=tuple(rows),
        float_bytes=4 * float_model.count_params(),
        binary_bytes=4 * binary_model.count_params() - sum(map(_saved_bytes, kernels)),
        recipe=recipe,
    )


def _classifies(model: tf_keras.Model) -> bool:
    shape = model.outputs[0].shape
    return len(shape) == 2 and shape[1] is not None and shape[1] > 1


def _finite(values: np.ndarray, name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise HashBWNError(
            f"Output {name!r} of the float network is not finite on these data: check its weights."
        )
    return values


class _Pair(NamedTuple):
    """A layer of the float network, its counterpart, and the counterpart's binary kernels."""

    name: str
    wanted: tf_keras.layers.Layer
    got: tf_keras.layers.Layer
    kernels: list[BinaryKernel]


def _pairs(float_model: tf_keras.Model, binary_model: tf_keras.Model) -> list[_Pair]:
    """Match the layers with multiply-accumulates of both networks by name."""
    counterparts = dict(flat_layers(binary_model))
    kernels = binary_kernels(binary_model)
    pairs = []
    for name, layer in flat_layers(float_model):
        twin = counterparts.get(name)
        if not isinstance(layer, _MAC_LAYERS) or twin is None:
            continue
        shapes = [[tuple(v.shape) for _, v in _kernels(each)] for each in (layer, twin)]
        if shapes[0] != shapes[1]:
            raise HashBWNError(
                f"Layer {name!r} has kernels {shapes[0]} in the float model and {shapes[1]} in the "
                "binary one: give the model that was binarised."
            )
        pairs.append(_Pair(name, layer, twin, [k for k in kernels if k.layer is twin]))
    matched = {id(pair.got) for pair in pairs}
    for kernel in kernels:
        if id(kernel.layer) not in matched:
            raise HashBWNError(
                f"The float model has no layer {kernel.name!r}: give the model that was binarised."
            )
    return pairs


def _kernels(layer: tf_keras.layers.Layer) -> list[tuple[str, tf.Variable]]:
    found = [(name, getattr(layer, name, None)) for name in _KERNELS]
    return [(name, variable) for name, variable in found if variable is not None]


def _step(
    float_model: tf_keras.Model, binary_model: tf_keras.Model, pairs: list[_Pair]
) -> Callable[[list[np.ndarray], int], Any]:
    """Return a compiled function: inputs -> outputs of both networks, moments and positions.

    Layers are overheard while the graph is traced, so the graph frees each activation as soon as
    its moments are known, and nested, shared and wrapped layers need no special case.
    """

    @tf.function(reduce_retracing=True)
    def step(inputs: list[tf.Tensor], images: tf.Tensor) -> Any:
        with _overheard([pair.wanted for pair in pairs]) as wanted:
            expected = tf.nest.flatten(float_model(as_fed(float_model, inputs), training=False))
        with _overheard([pair.got for pair in pairs]) as got:
            actual = tf.nest.flatten(binary_model(as_fed(binary_model, inputs), training=False))
        # Images that only fill up the batch do not count.
        part = images, tf.shape(inputs[0])[0]
        moments, positions = {}, {}
        for pair in pairs:
            data_format = getattr(pair.wanted, "data_format", None)
            a = _channel_rows([y for _, y in wanted[id(pair.wanted)]], data_format, part)
            b = _channel_rows([y for _, y in got[id(pair.got)]], data_format, part)
            # Each variance is taken about its mean, so nothing large is subtracted.
            moments[pair.name] = (
                tf.shape(a)[0],
                *tf.nn.moments(b - a, [0]),
                *tf.nn.moments(a, [0]),
            )
            # Every weight meets each output position once, in a transposed convolution each input.
            side = 0 if isinstance(pair.wanted, _TRANSPOSED) else 1
            met = [call[side] for call in wanted[id(pair.wanted)]]
            positions[pair.name] = tf.shape(_channel_rows(met, data_format, part))[0] // images
        return expected, actual, moments, positions

    def checked(inputs: list[np.ndarray], images: int) -> Any:
        return step([tf.constant(array) for array in inputs], tf.constant(images))

    return checked


def _channel_rows(
    calls: list[tf.Tensor], data_format: str | None, part: tuple[tf.Tensor, tf.Tensor]
) -> tf.Tensor:
    """Return the outputs of all calls of a layer as one ``[images * positions, channels]``.

    Args:
        calls: what the layer gave, images or parts of them along the first axis.
        data_format: Keras's name for where the channels are.
        part: how many images, from the first, to keep of how many.
    """
    images, batch = part
    rows = []
    for x in calls:
        x = x[: tf.shape(x)[0] * images // batch]
        if data_format == "channels_first":
            x = tf.transpose(x, [0, *range(2, len(x.shape)), 1])
        rows.append(tf.cast(tf.reshape(x, [-1, x.shape[-1]]), tf.float32))
    return tf.concat(rows, 0)


@contextmanager
def _overheard(layers: list[tf_keras.layers.Layer]) -> Iterator[dict[int, list[_Call]]]:
    """Collect what ``layers`` get and return inside the block, by ``id`` of the layer."""
    heard: dict[int, list[_Call]] = {id(layer): [] for layer in layers}

    def listening(layer: tf_keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            heard[id(layer)].append((args[0], result))
            return result

        return wrapper

    before = [(layer, vars(layer).get("call")) for layer in layers]
    for layer in layers:
        object.__setattr__(layer, "call", listening(layer, layer.call))
    try:
        yield heard
    finally:
        for layer, own_call in before:
            if own_call is None:
                object.__delattr__(layer, "call")
            else:
                object.__setattr__(layer, "call", own_call)


def _saved_bytes(kernel: BinaryKernel) -> int:
    """Bytes that 1 bit a weight and 4 bytes a scale save against 4 bytes a weight."""
    shape = tuple(kernel.variable.shape)
    weights = math.prod(shape)
    scales = math.prod(n for axis, n in enumerate(shape) if axis not in kernel.axes)
    return 4 * weights - (math.ceil(weights / 8) + 4 * scales)


def _layer(pair: _Pair, difference: Difference, places: int, recipe: dict[str, Any]) -> LayerReport:
    solved = recipe.get("layers", {}).get(pair.name, {})
    kernels = _kernels(pair.wanted)
    binary_weights = sum(math.prod(kernel.variable.shape) for kernel in pair.kernels)
    weights = sum(math.prod(variable.shape) for _, variable in kernels)
    return LayerReport(
        name=pair.name,
        kind=type(pair.wanted).__name__,
        kernel_shapes=tuple(tuple(variable.shape) for _, variable in kernels),
        binary_weights=binary_weights,
        macs=weights * places,
        binary_macs=binary_weights * places,
        float_bytes=4 * pair.wanted.count_params(),
        binary_bytes=4 * pair.got.count_params() - sum(map(_saved_bytes, pair.kernels)),
        relative_error=difference.relative_error(),
        solve_error=solved.get("relative_error"),
        sign_error=solved.get("relative_error_before"),
        flipped=_flipped(pair),
        method=solved.get("method"),
        why_float=recipe.get("skipped", {}).get(pair.name),
        scales=tuple(float(scale) for k in pair.kernels for scale in k.codes().scales),
    )


def _flipped(pair: _Pair) -> float | None:
    """Return the share of codes that differ from the signs of the float weights."""
    if not pair.kernels:
        return None
    float_kernel = {
        id(variable): getattr(pair.wanted, name).numpy() for name, variable in _kernels(pair.got)
    }
    flips = [
        ((float_kernel[id(kernel.variable)] >= 0) != (kernel.codes().codes > 0)).ravel()
        for kernel in pair.kernels
    ]
    return float(np.mean(np.concatenate(flips)))
