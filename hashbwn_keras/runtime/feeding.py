"""Arrays of any number of samples through an engine that takes one batch after the other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime.engines import Engine
from hashbwn_keras.tflite.signature import FREE, Interface, Port

_LARGEST_BATCH = 2**30


def arrays_of(x: Any, interface: Interface) -> list[np.ndarray]:
    """Return one array for each input, in order, with what the file takes.

    Args:
        x: an array, a list of arrays, or a dict of them by the names of the inputs.
        interface: of the file.

    Raises:
        HashBWNError: the number of inputs, a name, shape, type or value does not fit.
    """
    ports = interface.inputs
    if isinstance(x, Mapping):
        names = [port.name for port in ports]
        if set(x) != set(names):
            raise HashBWNError(f"The file has the inputs {names}: {sorted(map(str, x))} are given.")
        x = [x[name] for name in names]
    arrays = [np.asarray(a) for a in (x if isinstance(x, list | tuple) else [x])]
    if len(arrays) != len(ports):
        raise HashBWNError(f"The file has {len(ports)} inputs, {len(arrays)} were given.")
    arrays = [_checked(array, port) for array, port in zip(arrays, ports, strict=True)]
    counts = {len(a) for a, port in zip(arrays, ports, strict=True) if port.shape}
    if len(counts) > 1:
        raise HashBWNError("The inputs have different numbers of samples: give equal ones.")
    return arrays


def _checked(array: np.ndarray, port: Port) -> np.ndarray:
    fits = array.ndim == len(port.shape) and all(
        want in (FREE, have) for want, have in zip(port.shape[1:], array.shape[1:], strict=True)
    )
    if not fits or 0 in array.shape:
        sizes = ["any" if size == FREE else str(size) for size in port.shape[1:]]
        wanted = ", ".join(["n", *sizes] if port.shape else [])
        raise HashBWNError(
            f"The input {port.name!r} has shape {array.shape}: the file takes ({wanted}), n >= 1."
        )
    if array.dtype == port.dtype:
        return array
    wanted = f"float32 or {port.dtype}" if port.scale else str(port.dtype)
    if np.issubdtype(array.dtype, np.floating) and (port.scale or port.dtype.kind == "f"):
        return port.quantized(array)
    if port.dtype.kind in "iu" and not port.scale and array.dtype.kind in "iuf":
        return _whole(array, port)
    raise HashBWNError(f"The input {port.name!r} has type {array.dtype}: give {wanted}.")


def _whole(array: np.ndarray, port: Port) -> np.ndarray:
    """Convert to the integers that an input takes, if every value is one of them."""
    limits = np.iinfo(port.dtype)
    inside = (array >= limits.min) & (array <= limits.max) & (array == np.floor(array))
    if not inside.all():
        raise HashBWNError(
            f"The input {port.name!r} takes {port.dtype} and {array[~inside].flat[0]} is none: "
            f"give whole numbers from {limits.min} to {limits.max}, such as the bytes of an image."
        )
    return array.astype(port.dtype)


def outputs_of(
    engine: Engine, interface: Interface, arrays: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """Run an engine on any number of samples.

    A file of any batch size gets one sample after the other, so that what comes out for a sample
    does not depend on its company; one of a fixed batch gets batches, the last one filled up.

    Args:
        engine: the file, loaded.
        interface: of the file.
        arrays: one for each input, as :func:`arrays_of` returns them.

    Returns:
        One array of real values for each output, in the order of the interface.

    Raises:
        RuntimeError, ValueError: the interpreter cannot run the file.
    """
    ports = interface.inputs
    size = next((port.batch for port in ports if port.shape), 1)
    sample = sum(a[:1].nbytes for a in arrays if a.ndim)
    if size * sample > _LARGEST_BATCH:
        raise ValueError(f"it takes {size} samples at a time, more than 1 GiB")
    order = sorted(range(len(ports)), key=lambda i: ports[i].position)
    rows = []
    for batch, kept in in_batches(arrays, size):
        engine.prepare([batch[i].shape for i in order])
        rows.append((engine.run([batch[i] for i in order]), kept))
    return [
        port.real(_joined([(results[port.position], kept) for results, kept in rows]))
        for port in interface.outputs
    ]


def in_batches(arrays: Sequence[np.ndarray], size: int) -> Iterator[tuple[list[np.ndarray], int]]:
    """Yield batches of ``size`` samples, the last filled up, and how many of each count.

    Arrays without a batch, of rank 0, go with every one as they are.
    """
    count = next((len(a) for a in arrays if a.ndim), 1)
    for start in range(0, count, size):
        rows = np.minimum(np.arange(start, start + size), count - 1)
        yield [a[rows] if a.ndim else a for a in arrays], min(size, count - start)


def _joined(parts: Sequence[tuple[np.ndarray, int]]) -> np.ndarray:
    """Join the results of all batches; one of rank 0 is that of the last."""
    if not parts[0][0].ndim:
        return parts[-1][0]
    return np.concatenate([values[:kept] for values, kept in parts])
