"""Which layers of a float model are binarised, and why the others are not."""

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import tf_keras

from hashbwn_keras.binarizer.lengths import FLOAT, Bits, Lengths
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Key, Network
from hashbwn_keras.network.kernels import has_binary_form, has_kernel, has_quantizer, kernel_of
from hashbwn_keras.network.labels import Layer, flat_layers, parts_of
from hashbwn_keras.network.layer_kinds import is_addition, is_dense, is_depthwise
from hashbwn_keras.network.recipe import Skipped
from hashbwn_keras.tflite import storage

_log = logging.getLogger("hashbwn_keras")

Filters = str | Sequence[str] | Callable[[Layer], bool] | None

_KEPT = "; name it in filters or bits to binarise it"


@dataclass(frozen=True)
class Selection:
    """What to binarise.

    Attributes:
        chosen: the layers, in the order of the graph, with their bits a weight.
        skipped: why each other layer with a kernel stays float, by label.
    """

    chosen: dict[Layer, int]
    skipped: dict[str, Skipped]


@dataclass(frozen=True)
class _Candidate:
    """A layer with a kernel; ``unfit`` tells why it cannot be binarised, if it cannot."""

    label: str
    layer: Layer
    unfit: str | None


def select(network: Network, filters: Filters, bits: Bits = 1) -> Selection:
    """Choose the layers to binarise.

    Without ``filters``: every Conv2D, SeparableConv2D (its pointwise part) and Dense, but not

    - the first convolution behind each input;
    - the last layer with weights before an output: a Dense, or a convolution where that is what
      classifies, right before the output or a global pooling. A convolution whose result is added
      to another branch first, or has another kernel behind it, is not the last layer;
    - depthwise convolutions, which hold few of the weights and suffer most;
    - kernels that are too small to be packed, which would lose accuracy for nothing.

    Where that leaves no layer at all, small kernels and last convolutions are taken, and said so.

    Args:
        network: of the float model.
        filters: regular expression searched in layer names, list of layer names, or function of a
            layer that tells whether to binarise it. It chooses alone: the defaults above are off.
        bits: length of the codes, or by regular expression a length or "float". A layer that it
            names with a length is chosen whatever the defaults say; with "float" it stays float.

    Raises:
        HashBWNError: nothing to binarise, unknown names or bits, a bad regular expression, or a
            named layer that has no binary form.
    """
    candidates, lengths = _candidates(network), Lengths(bits)
    lengths.check_used([each.label for each in candidates])
    skipped = {each.label: Skipped(each.unfit) for each in candidates if each.unfit}
    fit = [each for each in candidates if not each.unfit]
    if filters is None:
        free = [each for each in fit if lengths.asked(each.label) is None]
        skipped |= _kept_by_default(network, free, needed=len(free) == len(fit))
    else:
        wanted = _wanted(filters, candidates)
        skipped |= {
            each.label: Skipped("not chosen by filters", by_choice=True)
            for each in fit
            if each.label not in wanted
        }
    for each in fit:
        if lengths.asked(each.label) == FLOAT:
            skipped[each.label] = Skipped("float by bits", by_choice=True)
    chosen = {each.layer: lengths.of(each.label) for each in fit if each.label not in skipped}
    if not chosen:
        reasons = "; ".join(f"{label}: {why.reason}" for label, why in skipped.items())
        raise HashBWNError(
            f"Model {network.model.name!r} has no layer to binarise "
            f"({reasons or 'no layer has a kernel'}): choose layers with filters=."
        )
    return Selection(chosen, skipped)


def _candidates(network: Network) -> list[_Candidate]:
    """Every layer with a kernel, those inside of wrappers and their like included."""
    found = []
    for layer in network.layers:
        opaque = bool(parts_of(layer))
        for part in [part for _, part in flat_layers(layer)] if opaque else [layer]:
            if has_kernel(part):
                found.append(_Candidate(network.labels[part], part, _unfit(part, opaque)))
    return found


def _unfit(layer: Layer, inside: bool) -> str | None:
    if has_quantizer(layer):
        return "it has a kernel quantizer already"
    if not has_binary_form(layer):
        return f"{type(layer).__name__} has no binary form"
    return "it is inside a wrapper or a model without a graph" if inside else None


def _wanted(filters: Filters, candidates: list[_Candidate]) -> set[str]:
    """Labels of the layers that ``filters`` asks for."""
    if callable(filters):
        return {each.label for each in candidates if filters(each.layer)}
    if isinstance(filters, str):
        try:
            pattern = re.compile(filters)
        except re.error as error:
            raise HashBWNError(
                f"filters={filters!r} is no regular expression ({error}): mend it or pass a list "
                "of layer names."
            ) from None
        return {each.label for each in candidates if pattern.search(each.label)}
    known = {each.label: each for each in candidates}
    for label in filters or ():
        if label not in known:
            raise HashBWNError(
                f"filters names {label!r}, which is no layer with a kernel: choose from "
                f"{', '.join(known)}."
            )
        if known[label].unfit:
            raise HashBWNError(
                f"Layer {label!r} cannot be binarised ({known[label].unfit}): leave it out of "
                "filters."
            )
    return set(filters or ())


def _kept_by_default(network: Network, fit: list[_Candidate], needed: bool) -> dict[str, Skipped]:
    """Layers that can be binarised but should not, with the reason.

    Args:
        network: all of it.
        fit: the layers to judge.
        needed: whether one of them has to be left, if at all possible.
    """
    kept, weakly = {}, {}
    first, last = _reached(network, forward=True), _reached(network, forward=False)
    classifying = _reached(network, forward=False, through_additions=False)
    for each in fit:
        size = int(kernel_of(each.layer).shape.num_elements())
        if is_depthwise(each.layer):
            kept[each.label] = Skipped(f"depthwise convolution{_KEPT}")
        elif each.layer in last and is_dense(each.layer):
            kept[each.label] = Skipped(f"last layer{_KEPT}")
        elif each.layer in first and isinstance(each.layer, tf_keras.layers.Conv2D):
            kept[each.label] = Skipped(f"first convolution{_KEPT}")
        elif size < storage.SMALLEST_PACKED:
            few = f"fewer than {storage.SMALLEST_PACKED} weights, too few to be packed"
            weakly[each.label] = Skipped(f"{few}{_KEPT}")
        elif each.layer in classifying:
            weakly[each.label] = Skipped(f"last convolution{_KEPT}")
    if needed and weakly and len(kept) + len(weakly) == len(fit):
        _log.warning(
            "%s would stay float, small or last as they are, but nothing else can be binarised.",
            ", ".join(weakly),
        )
        return kept
    return kept | weakly


def _reached(network: Network, forward: bool, through_additions: bool = True) -> set[Layer]:
    """Layers with a kernel that no other such layer separates from an input (or output)."""
    open_keys: set[Key] = set(network.inputs if forward else network.outputs)
    found = set()
    for step in network.steps if forward else reversed(network.steps):
        near, far = (step.inputs, step.outputs) if forward else (step.outputs, step.inputs)
        if not open_keys.intersection(near):
            continue
        if has_kernel(step.layer):
            found.add(step.layer)
        elif through_additions or not is_addition(step.layer, len(step.inputs)):
            open_keys.update(far)
    return found
