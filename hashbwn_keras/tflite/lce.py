"""Where files for Larq Compute Engine hold filters."""

from typing import Any

import numpy as np
from flatbuffers import flexbuffers
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import Builtin
from hashbwn_keras.tflite.names import LCE_DEQUANTIZE
from hashbwn_keras.tflite.packing import WORD_BITS
from hashbwn_keras.tflite.subgraph import Graph


def match_dequantize(graph: Graph, tensor: int) -> np.ndarray | None:
    """Return the int32 words that LceDequantize makes the filter ``tensor`` from, or None."""
    operator = graph.producers.get(tensor)
    if operator is not None and graph.kind(operator) == Builtin.RESHAPE:
        operator = graph.producers.get(int(operator.inputs[0]))
    if operator is None or graph.custom_name(operator) != LCE_DEQUANTIZE:
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


def _options(operator: schema.OperatorT) -> dict[str, Any]:
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


def input_channels(graph: Graph, operator: schema.OperatorT, words: tuple[int, ...]) -> int:
    """Return how many channels each filter of an ``LceBconv2d`` sees.

    Args:
        graph: the subgraph.
        operator: the convolution.
        words: shape of its packed filter, ``[O, H, W, ceil(channels / 32)]``.
    """
    total = int(_options(operator).get("channels_in", words[-1] * WORD_BITS))
    packed_input = graph.shape(int(operator.inputs[0]))[-1]
    # A grouped convolution sees its group's share of the words, always whole ones.
    return total if words[-1] == packed_input else words[-1] * WORD_BITS
