"""Reading codes and scales of a filter out of any storage."""

from dataclasses import dataclass, field

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import lce, levels, packing, pattern
from hashbwn_keras.tflite.flatbuffer import Builtin, indices
from hashbwn_keras.tflite.levels import Levels
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.subgraph import Graph


@dataclass(frozen=True)
class Integers:
    """What an int8 filter holds.

    Attributes:
        units: int16 ``[channels]``, the integer that a code of 1 is stored as; 0 in a dead channel.
            None where the integers are levels times α, rounded: n bits, as converters write them.
        quantization: the scales of the integers.
    """

    units: np.ndarray | None
    quantization: schema.QuantizationParametersT


@dataclass(frozen=True)
class Stored:
    """How a file holds a filter, and what it says.

    Attributes:
        storage: in which form.
        nbytes: bytes of the constants that hold the filter, scales included.
        levels: codes (int8 odd levels in the shape of the filter: ±1 with one bit) and scales
            (float32 ``[channels]``, ≥ 0); None of a filter that is no codes times α.
        integers: of int8 filters made of codes.
    """

    storage: Storage = Storage.OTHER
    nbytes: int = 0
    levels: Levels | None = field(default=None, repr=False)
    integers: Integers | None = field(default=None, repr=False)


def read_stored(graph: Graph, consumer: schema.OperatorT, axis: int) -> Stored:
    """Return what the filter of an operator holds, which may be float or int8.

    Args:
        graph: the subgraph.
        consumer: the operator.
        axis: the filter's axis of output channels.
    """
    tensor = int(consumer.inputs[1])
    producer = graph.producers.get(tensor)
    if producer is None:
        return _constant(graph, tensor, axis, Storage.INT8)
    if graph.kind(producer) in (Builtin.DEQUANTIZE, Builtin.DENSIFY):
        return _constant(graph, int(producer.inputs[0]), axis, Storage.INT8_DEQUANTIZE)
    stream = pattern.match_packed(graph, tensor, axis)
    if stream is not None:
        return _packed(graph, tensor, axis, stream)
    rows = lce.match_dequantize(graph, tensor)
    if rows is None:
        return Stored()
    return _lce_dequantize(graph.shape(tensor), rows, lce.scale_after(graph, consumer))


def _constant(graph: Graph, source: int, axis: int, int8: Storage) -> Stored:
    """Read the constant tensor ``source``; ``int8`` is the storage if it holds int8."""
    if graph.tensor(source).sparsity is not None:
        return Stored(Storage.SPARSE, _sparse_bytes(graph, source))
    values = graph.constant(source)
    if values is None or not values.ndim:
        return Stored()
    quantization = graph.tensor(source).quantization
    if values.dtype in (np.float32, np.float16):
        storage = Storage(values.dtype.name)
        return Stored(storage, values.nbytes, levels.split(values, axis))
    if values.dtype == np.int8 and quantization is not None and quantization.scale is not None:
        nbytes = values.nbytes + _scale_bytes(quantization)
        return Stored(int8, nbytes, *_integers(values, axis, quantization))
    return Stored()


def _sparse_bytes(graph: Graph, source: int) -> int:
    """Bytes of a sparse constant's values and of the indices that say where they stand."""
    tensor = graph.tensor(source)
    data = graph.model.buffers[tensor.buffer].data
    total = 0 if data is None else len(data)
    for dimension in tensor.sparsity.dimMetadata or []:
        for vector in (dimension.arraySegments, dimension.arrayIndices):
            values = getattr(vector, "values", None)
            total += 0 if values is None else np.asarray(values).nbytes
    return total


def _scale_bytes(quantization: schema.QuantizationParametersT) -> int:
    """Bytes of float32 scales and of int64 zero points, which files hold even where all are 0."""
    return 4 * len(quantization.scale) + 8 * len(indices(quantization.zeroPoint))


def _integers(
    values: np.ndarray, axis: int, quantization: schema.QuantizationParametersT
) -> tuple[Levels | None, Integers | None]:
    """Take a filter of signed integers apart, with one scale or one per channel."""
    scales = np.asarray(quantization.scale, np.float32)
    on_axis = quantization.quantizedDimension == axis and len(scales) == values.shape[axis]
    if np.any(quantization.zeroPoint) or not (len(scales) == 1 or on_axis):
        return None, None
    # Wider than int8, where the magnitude of -128 would overflow.
    found = levels.split_integers(values.astype(np.int16), axis)
    if found is None:
        return None, None
    whole = np.array_equal(found.scales, np.rint(found.scales))
    if not whole and not on_axis:  # one scale for all channels: too coarse to tell α by
        return None, None
    units = found.scales.astype(np.int16) if whole else None
    return Levels(found.codes, found.scales * scales), Integers(units, quantization)


def _packed(graph: Graph, tensor: int, axis: int, stream: pattern.Stream) -> Stored:
    codes = stream.codes(graph.shape(tensor))
    scales, nbytes, integers = stream.values.astype(np.float32), stream.nbytes, None
    if stream.values.dtype == np.int8:
        quantization = graph.tensor(tensor).quantization
        integers = Integers(stream.values.astype(np.int16), quantization)
        scales = scales * np.asarray(quantization.scale, np.float32)
        nbytes += _scale_bytes(quantization)
    # Channels lie along `axis`: move it to the front to index them.
    np.moveaxis(codes, axis, 0)[scales == 0] = 1
    return Stored(Storage.PACKED, nbytes, Levels(codes, scales), integers)


def _lce_dequantize(shape: tuple[int, ...], rows: np.ndarray, scaled: np.ndarray | None) -> Stored:
    outputs = shape[0]
    codes = packing.unpack_lce(rows.reshape(outputs, -1), int(np.prod(shape[1:], dtype=np.int64)))
    scales = np.ones(outputs, np.float32) if scaled is None else scaled
    found = Levels(codes.reshape(shape), scales)
    return Stored(Storage.LCE_DEQUANTIZE, rows.nbytes + scales.nbytes, found)


def read_lce(graph: Graph, operator: schema.OperatorT) -> tuple[tuple[int, ...], Stored]:
    """Return shape and content of the filter of an ``LceBconv2d``."""
    tensor = int(operator.inputs[1])
    words = graph.constant(tensor)
    if words is None or words.dtype != np.int32 or words.ndim != 4:
        return graph.shape(tensor), Stored()
    channels = lce.input_channels(graph, operator, words.shape)
    multiplier = None if operator.inputs[2] == -1 else graph.constant(int(operator.inputs[2]))
    # LCE's result is multiplier · (count of equal bits): α may sit there, or in a threshold.
    scales = np.ones(len(words), np.float32) if multiplier is None else np.abs(multiplier)
    nbytes = words.nbytes + (0 if multiplier is None else multiplier.nbytes)
    codes = packing.unpack_lce(words, channels)
    return codes.shape, Stored(Storage.LCE, nbytes, Levels(codes, scales))
