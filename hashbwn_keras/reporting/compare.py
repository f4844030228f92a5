"""Compares a binarised network with its float network, one batch at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.batches import Piece, read
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.outputs import output_kinds
from hashbwn_keras.network.saving import get_recipe, recipe_of
from hashbwn_keras.reporting.differences import Difference
from hashbwn_keras.reporting.outputs import Output
from hashbwn_keras.reporting.pairs import layer_report, pairs_of, saved_bytes
from hashbwn_keras.reporting.report import Report
from hashbwn_keras.reporting.side_by_side import side_by_side


def report(
    float_model: tf_keras.Model,
    binary_model: tf_keras.Model,
    data: Any,
    labels: Any = None,
    batch_size: int = 64,
) -> Report:
    """Compare ``binary_model`` with the ``float_model`` it came from, in one pass over ``data``.

    Memory is bounded by the activations of one batch in both networks, whatever the amount of data.
    Each output is judged as what it is: classes, decisions of yes or no, measured values; outputs
    that are integers, booleans or an input passed through have no error.

    Args:
        float_model: the float network.
        binary_model: what :func:`hashbwn_keras.binarize` made of it; layers are matched by name.
        data: array ``[n, ...]``, or a list of images; a list, tuple or dict (by input name) of
            arrays for a network with several inputs; ``(x, y)`` or ``(x, y, weights)`` of these;
            or an iterable of batches in any of these forms. Weights are ignored.
        labels: class numbers ``[n]`` or one-hot rows ``[n, classes]``, 0 or 1 for yes or no, or
            measured values, in the shape of the output; for several outputs one of these for each,
            as a list, tuple or dict by output name. Omit them if ``data`` has them.
        batch_size: images per step, for ``data`` given as arrays.

    Raises:
        HashBWNError: no Keras graph, no data, data that do not suit the network or that hold NaN,
            labels that do not suit the data, or models whose layers do not match.
    """
    loss = getattr(float_model, "loss", None)
    float_model, binary_model = to_keras2(float_model), to_keras2(binary_model)
    for model in (float_model, binary_model):
        if not getattr(model, "inputs", None):
            raise HashBWNError(
                f"{getattr(model, 'name', model)!r} is no Sequential or functional Keras model "
                "with known inputs: give one."
            )
    pairs = pairs_of(float_model, binary_model)
    step = side_by_side(float_model, binary_model, pairs)
    differences = {pair.name: Difference() for pair in pairs}
    outputs = [Output(what) for what in output_kinds(float_model, loss)]
    places: dict[str, int] = {}
    images = 0
    pieces = read(data, float_model, labels, batch_size=batch_size)
    with _metrics_kept(float_model, binary_model):
        for piece in tqdm(pieces, desc="compare", unit="batch", disable=None):
            truth = _labels_of(piece, len(outputs))
            expected, actual, moments, positions = step(piece.inputs, piece.images)
            for output, wanted, got, y in zip(outputs, expected, actual, truth, strict=True):
                output.add(piece.inputs, (wanted.numpy(), got.numpy()), y, piece.images)
            for name, values in moments.items():
                count, *parts = (value.numpy() for value in values)
                differences[name].add(int(count), *parts)
            images += piece.images
            places = {name: int(count) for name, count in positions.items()}
    if not images:
        raise HashBWNError("There are no data to compare the networks on: give one image or more.")
    recipe = recipe_of(binary_model)
    kernels = [kernel for pair in pairs for kernel in pair.kernels]
    return Report(
        model=binary_model.name,
        images=images,
        outputs=tuple(output.summary() for output in outputs),
        layers=tuple(
            layer_report(pair, differences[pair.name].relative_error(), places[pair.name], recipe)
            for pair in pairs
            if pair.name in places
        ),
        float_bytes=4 * float_model.count_params(),
        binary_bytes=4 * binary_model.count_params() - sum(map(saved_bytes, kernels)),
        recipe=get_recipe(binary_model),
    )


def _labels_of(piece: Piece, outputs: int) -> list[NDArray | None]:
    """Labels for each output."""
    if not piece.labels:
        return [None] * outputs
    if len(piece.labels) != outputs:
        raise HashBWNError(
            f"The network is no classifier with one output: give labels for each of its {outputs} "
            "outputs, as a list or by name, or leave labels out."
        )
    return list(piece.labels)


@contextmanager
def _metrics_kept(*models: tf_keras.Model) -> Iterator[None]:
    """Put back what ``add_metric`` in a model adds up whenever the model is called."""
    variables = [v for model in models for metric in model.metrics for v in metric.variables]
    before = [variable.numpy() for variable in variables]
    yield
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
