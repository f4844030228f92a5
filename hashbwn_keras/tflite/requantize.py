"""Integers for the codes of a full-integer layer, exact where the converter's were rounded."""

import copy

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.filters import Filter
from hashbwn_keras.tflite.flatbuffer import Type
from hashbwn_keras.tflite.subgraph import Graph

_LARGEST = np.iinfo(np.int8).max


def exact_integers(found: Filter) -> tuple[np.ndarray, schema.QuantizationParametersT]:
    """Return what a code of 1 is stored as, int16 ``[channels]``, and the scales of the integers.

    A converter maps the largest weight of a channel to 127, of which a third is no integer. Then a
    code of 1 becomes the largest integer whose multiples fit into int8, the scales become larger
    by as much, and the layers' biases are counted in the new steps.
    """
    assert found.integers is not None
    units, before = found.integers.units, found.integers.quantization
    largest = 2**found.bits - 1
    if units is not None and (found.bits == 1 or units.max() * largest <= _LARGEST):
        return units, before
    unit = _LARGEST // largest
    old = np.asarray(before.scale, np.float32)
    live = found.scales > 0
    quantization = copy.copy(before)
    quantization.scale = np.where(live, found.scales / np.float32(unit), old).astype(np.float32)
    quantization.min = quantization.max = None
    for consumer in found.consumers:
        _rescale_bias(found.graph, consumer, old, quantization.scale)
    return np.where(live, unit, 0).astype(np.int16), quantization


def _rescale_bias(
    graph: Graph, consumer: schema.OperatorT, old: np.ndarray, new: np.ndarray
) -> None:
    """Count the bias of a layer in steps of the new filter scales times the input's scale."""
    if len(consumer.inputs) < 3 or consumer.inputs[2] == -1:
        return
    bias = int(consumer.inputs[2])
    values = graph.constant(bias)
    if values is None or graph.tensor(bias).type != Type.INT32:
        raise ValueError("a full-integer layer has a bias that is no int32 constant")
    quantization = copy.copy(graph.tensor(bias).quantization)
    ratio = old.astype(np.float64) / new
    quantization.scale = (np.asarray(quantization.scale) / ratio).astype(np.float32)
    steps = np.rint(values * ratio).astype(np.int32)
    consumer.inputs = np.array(consumer.inputs)
    consumer.inputs[2] = graph.add_constant(steps, quantization)
