"""Finding the filters of a .tflite file and reading codes and scales out of any storage."""

from dataclasses import dataclass, field

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import packing, pattern
from hashbwn_keras.tflite.flatbuffer import Builtin, damage_named, read_model
from hashbwn_keras.tflite.subgraph import Graph, graphs

# Consumers of filters, and the filter axis that counts output channels.
CHANNEL_AXIS = {Builtin.CONV_2D: 0, Builtin.FULLY_CONNECTED: 0, Builtin.DEPTHWISE_CONV_2D: 3}
LCE_CONVOLUTION = "LceBconv2d"

# One bit a weight in the file.
PACKED = ("packed", "lce", "lce-dequantize")


@dataclass
class Filter:
    """A filter of a file.

    Attributes:
        graph: the subgraph it is in.
        tensor: index of the tensor that the consumers read.
        consumers: the operators that use it, in the order of execution.
        kind: "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED" or "LceBconv2d".
        axis: the axis that counts output channels.
        shape: shape of the filter as TFLite has it (OHWI, 1HWO or OI).
        storage: "float32"; "float16" or "int8-dequantize" (a constant behind DEQUANTIZE); "int8";
            "packed" (docs/format.md); "lce" (a filter of LceBconv2d); "lce-dequantize";
            "other" (computed, or of another type).
        nbytes: bytes of the constants that hold the filter, scales included.
        codes: int8 ±1 in ``shape`` if the filter is two-valued per channel, else None.
        scales: float32 ``[channels]``, ≥ 0, if two-valued, else None.
        levels: int8 filters only: the magnitude of the stored integers per channel.
        quantization: int8 filters only: the scales of the stored integers.
    """

    graph: Graph
    tensor: int
    consumers: list[schema.OperatorT]
    kind: str
    axis: int
    shape: tuple[int, ...]
    storage: str = "other"
    nbytes: int = 0
    codes: np.ndarray | None = field(default=None, repr=False)
    scales: np.ndarray | None = field(default=None, repr=False)
    levels: np.ndarray | None = field(default=None, repr=False)
    quantization: schema.QuantizationParametersT | None = field(default=None, repr=False)

    @property
    def binary(self) -> bool:
        """Whether the filter holds two values per output channel."""
        return self.codes is not None

    @property
    def packed(self) -> bool:
        """Whether the file spends one bit on a weight."""
        return self.storage in PACKED

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))

    def rows(self) -> np.ndarray:
        """Return the codes of a binary filter as ``[channels, weights per channel]``."""
        assert self.codes is not None
        return np.moveaxis(self.codes, self.axis, 0).reshape(self.shape[self.axis], -1)


def two_valued(values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Split a filter into codes and scales if every channel holds ±one value.

    Args:
        values: real filter.
        axis: the axis of the output channels.

    Returns:
        int8 codes of ``values.shape`` and float32 scales ``[channels]``, or None where a channel
        has a third value, a value is not finite, or all weights are zero. A channel of zeros has
        scale 0 and codes +1.
    """
    if not values.size:
        return None
    rows = np.abs(np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1))
    scales = rows[:, 0].astype(np.float32)
    if not np.isfinite(scales).all() or not scales.any() or (rows != rows[:, :1]).any():
        return None
    return np.where(values >= 0, np.int8(1), np.int8(-1)), scales


def read_filters(data: bytes, name: str = "The file") -> tuple[schema.ModelT, list[Filter]]:
    """Parse a file and list its filters, each once, in the order of their first consumers.

    Args:
        data: the whole file.
        name: how an error calls it.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.tflite.flatbuffer.read_model`.
    """
    model = read_model(data, name)
    with damage_named(name):
        return model, [found for graph in graphs(model) for found in _graph_filters(graph)]


def _graph_filters(graph: Graph) -> list[Filter]:
    """List the filters of one subgraph, each once, in the order of their first consumers."""
    found: dict[int, Filter] = {}
    for operator in graph.operators:
        kind = graph.kind(operator)
        is_lce = graph.custom_name(operator) == LCE_CONVOLUTION
        if kind not in CHANNEL_AXIS and not is_lce:
            continue
        tensor = int(operator.inputs[1])
        if tensor in found:
            found[tensor].consumers.append(operator)
        elif is_lce:
            found[tensor] = _lce_filter(graph, tensor, operator)
        else:
            found[tensor] = _filter(graph, tensor, operator, kind)
    return list(found.values())


def _filter(graph: Graph, tensor: int, operator: schema.OperatorT, kind: int) -> Filter:
    name = next(
        n
        for n in ("CONV_2D", "FULLY_CONNECTED", "DEPTHWISE_CONV_2D")
        if getattr(Builtin, n) == kind
    )
    result = Filter(graph, tensor, [operator], name, CHANNEL_AXIS[kind], graph.shape(tensor))
    producer = graph.producers.get(tensor)
    if producer is None:
        _read_constant(result, tensor)
    elif graph.kind(producer) == Builtin.DEQUANTIZE:
        _read_constant(result, int(producer.inputs[0]))
        if result.storage == "int8":
            result.storage = "int8-dequantize"
    else:
        _read_decoded(result)
    return result


def _read_constant(result: Filter, source: int) -> None:
    """Fill in a filter whose values are the constant tensor ``source``."""
    values = result.graph.constant(source)
    if values is None:
        return
    quantization = result.graph.tensor(source).quantization
    if values.dtype in (np.float32, np.float16):
        result.storage = values.dtype.name
        result.nbytes = values.nbytes
        _split(result, values)
    elif values.dtype == np.int8 and quantization is not None and quantization.scale is not None:
        result.storage = "int8"
        result.nbytes = values.nbytes + _scale_bytes(quantization)
        _read_int8(result, values, quantization)


def _scale_bytes(quantization: schema.QuantizationParametersT) -> int:
    """Bytes of float32 scales and of int64 zero points, which files hold even where all are 0."""
    points = quantization.zeroPoint
    return 4 * len(quantization.scale) + (0 if points is None else 8 * len(points))


def _split(result: Filter, values: np.ndarray) -> None:
    parts = two_valued(values, result.axis)
    if parts is not None:
        result.codes, result.scales = parts


def _read_int8(
    result: Filter, values: np.ndarray, quantization: schema.QuantizationParametersT
) -> None:
    """Fill in a filter of signed integers, with one scale or one per channel."""
    scales = np.asarray(quantization.scale, np.float32)
    per_channel = len(scales) == result.shape[result.axis]
    on_axis = quantization.quantizedDimension == result.axis or len(scales) == 1
    symmetric = quantization.zeroPoint is None or not np.any(quantization.zeroPoint)
    if not symmetric or not (len(scales) == 1 or per_channel) or not on_axis:
        return
    # Wider than int8, where the magnitude of -128 would overflow.
    parts = two_valued(values.astype(np.int16), result.axis)
    if parts is not None:
        result.codes, levels = parts
        result.levels = levels.astype(np.int16)
        result.quantization = quantization
        result.scales = levels * scales


def _read_decoded(result: Filter) -> None:
    """Fill in a filter that constants are decoded to."""
    stream = pattern.match_packed(result.graph, result.tensor, result.axis)
    if stream is not None:
        result.storage = "packed"
        result.nbytes = stream.nbytes
        result.codes = packing.unpack_stream(stream.words, result.shape)
        result.scales = stream.values.astype(np.float32)
        if stream.values.dtype == np.int8:
            quantization = result.graph.tensor(result.tensor).quantization
            result.levels = stream.values.astype(np.int16)
            result.quantization = quantization
            result.scales = result.scales * np.asarray(quantization.scale, np.float32)
            result.nbytes += _scale_bytes(quantization)
        # Channels lie along `axis`: move it to the front to index them.
        np.moveaxis(result.codes, result.axis, 0)[result.scales == 0] = 1
        return
    rows = pattern.match_lce_dequantize(result.graph, result.tensor)
    if rows is not None:
        result.storage = "lce-dequantize"
        outputs = result.shape[0]
        codes = packing.unpack_lce(rows.reshape(outputs, -1), result.size // outputs)
        result.codes = codes.reshape(result.shape)
        scales = pattern.scale_after(result.graph, result.consumers[0])
        result.scales = np.ones(outputs, np.float32) if scales is None else scales
        result.nbytes = rows.nbytes + result.scales.nbytes


def _lce_filter(graph: Graph, tensor: int, operator: schema.OperatorT) -> Filter:
    result = Filter(graph, tensor, [operator], LCE_CONVOLUTION, 0, graph.shape(tensor))
    words = graph.constant(tensor)
    if words is None or words.dtype != np.int32 or words.ndim != 4:
        return result
    channels = pattern.lce_input_channels(graph, operator, words.shape)
    result.shape = (*words.shape[:3], channels)
    result.storage = "lce"
    result.codes = packing.unpack_lce(words, channels)
    multiplier = None if operator.inputs[2] == -1 else graph.constant(int(operator.inputs[2]))
    outputs = words.shape[0]
    # LCE's result is multiplier · (count of equal bits): α may sit there, or in a threshold.
    result.scales = np.ones(outputs, np.float32) if multiplier is None else np.abs(multiplier)
    result.nbytes = words.nbytes + (0 if multiplier is None else multiplier.nbytes)
    return result
