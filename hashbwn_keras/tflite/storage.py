"""Which binary filters are packed, and why the others are not."""

from collections.abc import Iterable

import numpy as np

from hashbwn_keras.tflite.encode import has_float_input
from hashbwn_keras.tflite.filters import Filter

# Below this many weights, the operators that decode a filter take more room than they save.
SMALLEST_PACKED = 512
_NOT_ASKED = "weights='packed' packs them"


def why_not_packed(found: Filter) -> str:
    """Return why one bit a weight is not the better storage for a binary filter, "" if it is."""
    if found.size < SMALLEST_PACKED:
        return f"fewer than {SMALLEST_PACKED} weights"
    if found.levels is None or has_float_input(found):
        return ""
    if np.max(found.levels) > np.iinfo(np.int8).max:
        return "-128 has no opposite in int8"
    # Their channels are last, where GATHER cannot choose a pair per channel.
    if found.axis != 0 and len(np.unique(found.levels)) > 1:
        return "a depthwise filter whose integers differ between channels"
    return ""


def why_kept(found: Filter) -> str:
    """Return why a filter does not take one bit a weight; "" if it does or is not binary."""
    if found.packed or not found.binary:
        return ""
    return why_not_packed(found) or _NOT_ASKED


def packing_summary(layers: Iterable[tuple[str, str, str]]) -> str:
    """Say how many binary layers are packed, and which are kept in which other storage, and why.

    Args:
        layers: name, storage and :func:`why_kept` of each binary layer.
    """
    count, kept = 0, dict[tuple[str, str], list[str]]()
    for name, storage, reason in layers:
        count += 1
        if reason:
            kept.setdefault((storage.removesuffix("-dequantize"), reason), []).append(name)
    packed = count - sum(map(len, kept.values()))
    parts = [f"{packed} of {count} binary layers packed to 1 bit"]
    for (storage, reason), names in kept.items():
        parts.append(f"{len(names)} kept {storage} ({reason}): {', '.join(names)}")
    return "; ".join(parts)
