"""Recognising the operator patterns of docs/format.md, from the consumer backwards."""

from typing import Any, NamedTuple

import numpy as np
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import Builtin, Type
from hashbwn_keras.tflite.packing import WORD_BITS
from hashbwn_keras.tflite.subgraph import Graph

Activation = schema.ActivationFunctionType
MINUS_ONE = np.array([-1], np.int32)
SIGNS = np.array([-1, 1], np.float32)
# Multiplying by powers[k] shifts bit k of a word into the sign.
POWERS = (1 << np.arange(WORD_BITS - 1, -1, -1, dtype=np.int64)).astype(np.int32).reshape(1, -1)


class Stream(NamedTuple):
    """The constants of a packed filter.

    Attributes:
        words: int32 ``[n, 1]``.
        values: float32 or int8 ``[channels]``, what the bits give a sign to.
        nbytes: bytes of all the constants of this filter alone.
    """

    words: np.ndarray
    values: np.ndarray
    nbytes: int


def match_packed(graph: Graph, tensor: int, axis: int) -> Stream | None:
    """Return what the filter ``tensor`` is decoded from, or None if it is not packed.

    Args:
        graph: the subgraph.
        tensor: index of the filter.
        axis: its axis of output channels.
    """
    outputs = graph.shape(tensor)[axis]
    found = (_match_pairs if axis == 0 else _match_depthwise)(graph, tensor, outputs)
    if found is None:
        return None
    values, nbytes, shaped = found
    words = _match_words(graph, shaped, int(np.prod(graph.shape(tensor), dtype=np.int64)))
    return None if words is None else Stream(words, values, nbytes + words.nbytes)


def _match_pairs(graph: Graph, tensor: int, outputs: int) -> tuple[np.ndarray, int, int] | None:
    """Return the values, their bytes and the tensor of bits, of a filter with channels first."""
    found = _match_gather(graph, tensor, 1)
    if found is None or found[0].shape != (outputs, 2):
        return None
    pairs, shaped = found
    return pairs[:, 1], pairs.nbytes, shaped


def _match_depthwise(graph: Graph, tensor: int, outputs: int) -> tuple[np.ndarray, int, int] | None:
    """Return the same of a filter with channels last."""
    if not is_float(graph, tensor):
        found = _match_gather(graph, tensor, 0)
        if found is None or found[0].shape != (2,) or found[0].dtype != np.int8:
            return None
        return np.repeat(found[0][1:], outputs), found[0].nbytes, found[1]
    scale = _producer(graph, tensor, Builtin.MUL)
    if scale is None or scale.builtinOptions is None:
        return None
    found = _match_gather(graph, int(scale.inputs[0]), 0)
    values = graph.constant(int(scale.inputs[1]))
    if found is None or values is None or values.shape != (outputs,):
        return None
    if not np.array_equal(found[0], SIGNS) or not np.all(values >= 0):
        return None
    if scale.builtinOptions.fusedActivationFunction != Activation.NONE:
        return None
    return values, values.nbytes, found[1]


def _match_gather(graph: Graph, tensor: int, axis: int) -> tuple[np.ndarray, int] | None:
    """Return the constant pairs and the tensor of bits that chooses from them."""
    gather = _producer(graph, tensor, Builtin.GATHER)
    options = None if gather is None else gather.builtinOptions
    if gather is None or options is None or (options.axis, options.batchDims) != (axis, axis):
        return None
    pairs = graph.constant(int(gather.inputs[0]))
    if pairs is None or not pairs.ndim or pairs.shape[-1] != 2:
        return None
    if np.any(pairs[..., 0] != -pairs[..., 1]) or np.any(pairs[..., 1] < 0):
        return None
    return pairs, int(gather.inputs[1])


def _match_words(graph: Graph, shaped: int, size: int) -> np.ndarray | None:
    """Return the words that ``size`` bits in the tensor ``shaped`` come from."""
    ones_and_zeros = _producer(graph, _skip_reshapes(graph, shaped), Builtin.MUL)
    if ones_and_zeros is None:
        return None
    signs = _producer(graph, int(ones_and_zeros.inputs[0]), Builtin.MUL)
    if signs is None or not (
        _multiplies(graph, ones_and_zeros, MINUS_ONE, Activation.RELU6)
        and _multiplies(graph, signs, POWERS, Activation.RELU_N1_TO_1)
    ):
        return None
    words = graph.constant(int(signs.inputs[0]))
    if words is None or words.dtype != np.int32 or words.size != -(-size // WORD_BITS):
        return None
    return words


def _producer(graph: Graph, tensor: int, kind: int) -> schema.OperatorT | None:
    operator = graph.producers.get(tensor)
    return operator if operator is not None and graph.kind(operator) == kind else None


def _skip_reshapes(graph: Graph, tensor: int) -> int:
    """Follow RESHAPE and a STRIDED_SLICE from the start back to what they rearrange."""
    while True:
        operator = graph.producers.get(tensor)
        if operator is None or graph.kind(operator) not in (
            Builtin.RESHAPE,
            Builtin.STRIDED_SLICE,
        ):
            return tensor
        if graph.kind(operator) == Builtin.STRIDED_SLICE:
            begin, strides = (graph.constant(int(operator.inputs[i])) for i in (1, 3))
            if begin is None or strides is None or begin.any() or (strides != 1).any():
                return tensor
        tensor = int(operator.inputs[0])


def _multiplies(
    graph: Graph, operator: schema.OperatorT, factor: np.ndarray, activation: int
) -> bool:
    value = graph.constant(int(operator.inputs[1]))
    options = operator.builtinOptions
    return (
        value is not None
        and np.array_equal(value, factor)
        and options is not None
        and options.fusedActivationFunction == activation
    )


def match_lce_dequantize(graph: Graph, tensor: int) -> np.ndarray | None:
    """Return the int32 words that LceDequantize makes the filter ``tensor`` from, or None."""
    operator = graph.producers.get(tensor)
    if operator is not None and graph.kind(operator) == Builtin.RESHAPE:
        operator = graph.producers.get(int(operator.inputs[0]))
    if operator is None or graph.custom_name(operator) != "LceDequantize":
        return None
    words = graph.constant(int(operator.inputs[0]))
    channels = graph.shape(int(operator.outputs[0]))[-1]
    rows = graph.shape(tensor)[0]
    if words is None or words.dtype != np.int32 or words.shape[0] != rows:
        return None
    return words if words.shape[-1] == -(-channels // WORD_BITS) else None


def scale_after(graph: Graph, consumer: schema.OperatorT) -> np.ndarray | None:
    """Return the constant per channel that the output of ``consumer`` is multiplied by."""
    output = int(consumer.outputs[0])
    for operator in graph.operators:
        if graph.kind(operator) == Builtin.MUL and int(operator.inputs[0]) == output:
            scale = graph.constant(int(operator.inputs[1]))
            if scale is not None and scale.shape == (graph.shape(output)[-1],):
                return scale.astype(np.float32)
    return None


def lce_options(operator: schema.OperatorT) -> dict[str, Any]:
    """Return the options of an LCE operator.

    Raises:
        ValueError: they are no flexbuffer map.
    """
    if operator.customOptions is None:
        return {}
    options = flexbuffers.Loads(bytes(bytearray(operator.customOptions)))
    if not isinstance(options, dict):
        raise ValueError(f"LCE options are {options!r}, not a map.")
    return options


def is_float(graph: Graph, tensor: int) -> bool:
    """Whether a tensor is float32."""
    return graph.tensor(tensor).type == Type.FLOAT32


def lce_input_channels(graph: Graph, operator: schema.OperatorT, words: tuple[int, ...]) -> int:
    """Return how many channels each filter of an ``LceBconv2d`` sees.

    Args:
        graph: the subgraph.
        operator: the convolution.
        words: shape of its packed filter, ``[O, H, W, ceil(channels / 32)]``.
    """
    total = int(lce_options(operator).get("channels_in", words[-1] * WORD_BITS))
    packed_input = graph.shape(int(operator.inputs[0]))[-1]
    # A grouped convolution sees its group's share of the words, always whole ones.
    return total if words[-1] == packed_input else words[-1] * WORD_BITS
