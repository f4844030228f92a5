"""Which layers of a float model are binarised, and why the others are not."""

import re
from collections.abc import Callable, Sequence

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Graph, Key, Layer
from hashbwn_keras.network.layers import flat_layers, has_binary_form

Filters = str | Sequence[str] | Callable[[Layer], bool] | None

_QUANTIZERS = ("kernel_quantizer", "depthwise_quantizer", "pointwise_quantizer")


def select(
    model: tf_keras.Model, graph: Graph, filters: Filters
) -> tuple[list[str], dict[str, str]]:
    """Choose the layers to binarise.

    Without ``filters``: every Conv2D, SeparableConv2D (its pointwise part) and Dense, but not the
    first convolution behind each input, nor a Dense (or a convolution of a 1 × 1 image, which is a
    Dense in other words) that is the last layer with weights before an output, nor depthwise
    convolutions, which hold few of the weights and suffer most.

    Args:
        model: the float model.
        graph: its graph.
        filters: regular expression searched in layer names, list of layer names, or function of a
            layer that tells whether to binarise it. It chooses alone: the defaults above are off.

    Returns:
        The names of the chosen layers in the order of the graph, and for each other layer with a
        kernel the reason why it stays float.

    Raises:
        HashBWNError: nothing to binarise, unknown names, a bad regular expression, or a named
            layer that has no binary form.
    """
    calls = graph.calls()
    candidates = {name: layer for name, layer in flat_layers(model) if _has_kernel(layer)}
    unfit = {
        name: reason
        for name, layer in candidates.items()
        if (reason := _unfit(layer, name in calls))
    }
    fit = {name: layer for name, layer in candidates.items() if name not in unfit}
    if filters is None:
        kept = _kept_by_default(graph, fit, candidates)
    else:
        wanted = _wanted(filters, candidates)
        refused = [name for name in wanted if name in unfit]
        if refused and not isinstance(filters, str) and not callable(filters):
            raise HashBWNError(
                f"Layer {refused[0]!r} cannot be binarised ({unfit[refused[0]]}): leave it out of "
                "filters."
            )
        kept = {name: "not chosen by filters" for name in fit if name not in wanted}
    chosen = [name for name in calls if name in fit and name not in kept]
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in {**unfit, **kept}.items())
        raise HashBWNError(
            f"Model {model.name!r} has no layer to binarise ({reasons or 'no layer has a kernel'})"
            ": choose layers with filters=."
        )
    skipped = {name: (unfit | kept)[name] for name in candidates if name not in chosen}
    return chosen, skipped


def _has_kernel(layer: Layer) -> bool:
    normalisation = (tf_keras.layers.BatchNormalization, tf_keras.layers.LayerNormalization)
    if isinstance(layer, (*normalisation, tf_keras.layers.PReLU, tf_keras.layers.Embedding)):
        return False
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def _unfit(layer: Layer, in_graph: bool) -> str | None:
    if any(getattr(layer, name, None) is not None for name in _QUANTIZERS):
        return "it has a kernel quantizer already"
    if not has_binary_form(layer):
        return f"{type(layer).__name__} has no binary form"
    if not in_graph:
        return "it is inside a wrapper or a model without a graph"
    return None


def _wanted(filters: Filters, candidates: dict[str, Layer]) -> list[str]:
    if callable(filters):
        return [name for name, layer in candidates.items() if filters(layer)]
    if isinstance(filters, str):
        try:
            pattern = re.compile(filters)
        except re.error as error:
            raise HashBWNError(
                f"filters={filters!r} is no regular expression ({error}): mend it or pass a list "
                "of layer names."
            ) from None
        return [name for name in candidates if pattern.search(name)]
    names = list(filters or ())
    unknown = [name for name in names if name not in candidates]
    if unknown:
        raise HashBWNError(
            f"filters names {unknown[0]!r}, which is no layer with a kernel: choose from "
            f"{', '.join(candidates)}."
        )
    return names


def _kept_by_default(
    graph: Graph, fit: dict[str, Layer], candidates: dict[str, Layer]
) -> dict[str, str]:
    """Layers that can be binarised but should not, with the reason."""
    kept = {}
    first = _reached(graph, candidates, forward=True)
    last = _reached(graph, candidates, forward=False)
    for name, layer in fit.items():
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            kept[name] = "depthwise convolution; name it in filters to binarise it"
        elif name in last and _is_dense(layer):
            kept[name] = "last layer; name it in filters to binarise it"
        elif name in first and isinstance(layer, tf_keras.layers.Conv2D):
            kept[name] = "first convolution; name it in filters to binarise it"
    return kept


def _is_dense(layer: Layer) -> bool:
    """Whether it is a Dense layer, or a convolution of one pixel, which computes the same."""
    if isinstance(layer, tf_keras.layers.Dense):
        return True
    sizes = layer.get_input_shape_at(0)
    space = sizes[2:] if layer.data_format == "channels_first" else sizes[1:3]
    return len(space) == 2 and all(size == 1 for size in space)


def _reached(graph: Graph, candidates: dict[str, Layer], forward: bool) -> set[str]:
    """Layers with a kernel that no other such layer separates from an input (or output)."""
    open_keys: set[Key] = set(graph.inputs if forward else graph.outputs)
    found = set()
    for step in graph.steps if forward else reversed(graph.steps):
        near, far = (step.inputs, step.outputs) if forward else (step.outputs, step.inputs)
        if not open_keys.intersection(near):
            continue
        if step.name in candidates:
            found.add(step.name)
        else:
            open_keys.update(far)
    return found
