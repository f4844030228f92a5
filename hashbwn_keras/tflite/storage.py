"""Which binary filters are packed, and why the others are not."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from hashbwn_keras.tflite.filters import Filter
from hashbwn_keras.tflite.names import Storage

# Below this many weights, the operators that decode a filter take more room than they save.
SMALLEST_PACKED = 512
_NOT_ASKED = "weights='packed' packs them"


@dataclass(frozen=True)
class Placed:
    """How a file holds a binary layer.

    Attributes:
        name: of the layer.
        bits: of a code.
        storage: in which form.
        kept: :func:`why_kept`.
    """

    name: str
    bits: int
    storage: Storage
    kept: str


def why_not_packed(found: Filter) -> str:
    """Return why n bits a weight are not the better storage for a binary filter, "" if they are."""
    if found.size < SMALLEST_PACKED:
        return f"fewer than {SMALLEST_PACKED} weights"
    if found.integers is None or found.has_float_input:
        return ""
    units = found.integers.units
    if found.bits == 1 and units is not None and np.max(units) > np.iinfo(np.int8).max:
        return "-128 has no opposite in int8"
    # Their channels are last, where GATHER cannot choose from a row per channel.
    if found.axis != 0 and len(np.unique(found.scales > 0 if units is None else units)) > 1:
        return "a depthwise filter whose integers differ between channels"
    return ""


def why_kept(found: Filter) -> str:
    """Return why a filter takes more than its bits a weight; "" if it does not or is not binary."""
    if found.packed or not found.binary:
        return ""
    return why_not_packed(found) or _NOT_ASKED


def packing_summary(layers: Iterable[Placed]) -> str:
    """Say how many binary layers are packed, and which are kept in which other storage, and why."""
    count, packed, kept = 0, Counter[int](), dict[tuple[str, str], list[str]]()
    for layer in layers:
        count += 1
        if layer.kept:
            storage = layer.storage.removesuffix("-dequantize")
            kept.setdefault((storage, layer.kept), []).append(layer.name)
        else:
            packed[layer.bits] += 1
    if len(packed) < 2:
        lengths = f"to {_bits(next(iter(packed), 1))}"
    else:
        lengths = "(" + ", ".join(f"{n} to {_bits(b)}" for b, n in sorted(packed.items())) + ")"
    parts = [f"{packed.total()} of {count} binary layers packed {lengths}"]
    for (storage, reason), names in kept.items():
        parts.append(f"{len(names)} kept {storage} ({reason}): {', '.join(names)}")
    return "; ".join(parts)


def _bits(count: int) -> str:
    return f"{count} bit{'s' if count > 1 else ''}"
