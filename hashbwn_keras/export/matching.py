"""Which filter of a file is which layer of the Keras model."""

import numpy as np

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.codes import BinaryKernel
from hashbwn_keras.tflite.filters import Filter


def name_filters(filters: list[Filter], kernels: list[BinaryKernel]) -> list[str]:
    """Return a name for each filter: its binary layer's, else the converter's name of the tensor.

    Filters are told apart by their codes, since the converter makes up names of its own. Must be
    called before the names of tensors are dropped.
    """
    rows = {kernel.name: kernel.rows() for kernel in kernels}
    names, free = [], dict(rows)
    for found in filters:
        name = next((n for n, r in free.items() if _same(found, r)), None)
        name = name or next((n for n, r in rows.items() if _same(found, r)), None)
        free.pop(name or "", None)
        names.append(name or found.graph.name(found.tensor))
    return names


def check_all_found(filters: list[Filter], kernels: list[BinaryKernel]) -> None:
    """Check that the filter of each binary layer came out two-valued.

    Raises:
        HashBWNError: names the layers that did not.
    """
    missing = missing_layers(filters, kernels)
    if missing:
        raise HashBWNError(
            f"{len(missing)} of {len(kernels)} binary layers did not come out of the converter "
            f"with two values per channel: {', '.join(missing)}."
        )


def missing_layers(filters: list[Filter], kernels: list[BinaryKernel]) -> list[str]:
    """Return the names of the binary layers that no binary filter of the file belongs to."""
    missing = []
    for kernel in kernels:
        rows = kernel.rows()
        if rows.shape[1] and not any(_same(found, rows) for found in filters):
            missing.append(kernel.name)
    return missing


def layers_with_binary_input(kernels: list[BinaryKernel]) -> set[str]:
    """Return the names of the binary layers whose input quantizer is binary as well."""
    quantizers = {k.name: getattr(k.layer, "input_quantizer", None) for k in kernels}
    return {name for name, q in quantizers.items() if getattr(q, "precision", 32) == 1}


def _same(found: Filter, rows: np.ndarray) -> bool:
    """Whether a filter has these codes, up to a factor per channel.

    That is its sign (a negative gamma of batch-norm), or what all levels of a channel have in
    common. Channels whose scale is zero in the file have lost their codes and fit any.
    """
    if not found.binary or found.size != rows.size or found.shape[found.axis] != len(rows):
        return False
    live = found.scales > 0
    stored, wanted = found.rows()[live], rows[live]
    return np.array_equal(_reduced(stored), _reduced(wanted))


def _reduced(rows: np.ndarray) -> np.ndarray:
    """Divide each row by the greatest common divisor of its levels, with the sign of the first."""
    if not rows.size:
        return rows
    divisors = np.gcd.reduce(rows, axis=1, keepdims=True) * np.sign(rows[:, :1])
    return rows // divisors
