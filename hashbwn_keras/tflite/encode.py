"""Writing filters made of codes in the forms of docs/format.md."""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import names, packing
from hashbwn_keras.tflite.decode import Decoder
from hashbwn_keras.tflite.filters import Filter
from hashbwn_keras.tflite.flatbuffer import Builtin, Type, operator_code
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.pattern import Activation, level_values
from hashbwn_keras.tflite.requantize import exact_integers
from hashbwn_keras.tflite.subgraph import Graph


def to_int8(found: Filter) -> None:
    """Store a filter as int8.

    A float layer gets the codes with scale α per channel behind DEQUANTIZE: code · α is what the
    layer computed with, and XNNPACK undoes it once, at load. A layer with int8 input gets integers.
    """
    graph = found.graph
    decoder = Decoder(graph)
    if _is_quantized(found):
        units, quantization = exact_integers(found)
        target = graph.add_constant(_times(found, units), quantization)
    else:
        _drop_hybrid(found)
        # Scales have to be positive: a dead channel is 0 · 1.
        live = found.scales > 0
        quantization = _per_channel(np.where(live, found.scales, np.float32(1)), found.axis)
        target = graph.add_tensor(found.shape, Type.FLOAT32)
        decoder.dequantize(graph.add_constant(_times(found, live), quantization), target)
    _replace(found, target, decoder.operators)


def _times(found: Filter, factors: np.ndarray) -> np.ndarray:
    """Multiply the codes by one small integer per channel."""
    aligned = [1] * len(found.shape)
    aligned[found.axis] = -1
    return (found.codes * factors.reshape(aligned)).astype(np.int8)


def to_packed(found: Filter) -> None:
    """Store a filter as n bits a weight, decoded by builtin operators at load.

    A float layer gets float32 code · α; a layer with int8 input keeps its integers. Those of a
    depthwise filter must have the same magnitude in all channels.
    """
    decoder = Decoder(found.graph)
    if _is_quantized(found):
        target = _packed_integers(found, decoder)
    else:
        _drop_hybrid(found)
        target = _packed_floats(found, decoder)
    _replace(found, target, decoder.operators)


def _packed_integers(found: Filter, decoder: Decoder) -> int:
    graph = found.graph
    units, quantization = exact_integers(found)
    index = decoder.indices(found.codes, found.bits)
    target = graph.add_tensor(found.shape, Type.INT8, quantization)
    table = units[:, None] * level_values(found.bits).astype(np.int16)
    same = (table == table[0]).all()
    assert same or found.axis == 0
    # The first version of the format has a pair for every channel.
    batches = int(found.axis == 0 and (found.bits == 1 or not same))
    values = graph.add_constant((table if batches else table[0]).astype(np.int8))
    decoder.gather(values, index, target, axis=batches, batches=batches)
    return target


def _packed_floats(found: Filter, decoder: Decoder) -> int:
    graph = found.graph
    target = graph.add_tensor(found.shape, Type.FLOAT32)
    if found.axis == 0:
        table = decoder.table(found.scales, found.bits)
        index = decoder.indices(found.codes, found.bits)
        decoder.gather(table, index, target, axis=1, batches=1)
        return target
    # Channels last, where GATHER cannot choose from a row per channel.
    index = decoder.indices(found.codes, found.bits)
    levels = graph.add_tensor(found.shape, Type.FLOAT32)
    values = graph.add_constant(level_values(found.bits))
    decoder.gather(values, index, levels, axis=0, batches=0)
    decoder.multiply(levels, graph.add_constant(found.scales), target)
    return target


def to_lce_dequantize(found: Filter) -> None:
    """Store a one-bit filter of a float layer as words that ``LceDequantize`` decodes.

    The layer computes with ±1; α multiplies its output, then comes the bias, and the fused
    activation moves to the end.
    """
    graph, outputs = found.graph, found.shape[0]
    assert found.axis == 0 and found.bits == 1
    words = graph.add_constant(packing.pack_lce(found.codes.reshape(outputs, -1)))
    target = graph.add_tensor([outputs, found.size // outputs], Type.FLOAT32)
    decoder = Decoder(graph)
    decoder.operators.append(
        graph.new_operator(Builtin.CUSTOM, [words], [target], custom_name=names.LCE_DEQUANTIZE)
    )
    if len(found.shape) != 2:
        rows, target = target, graph.add_tensor(found.shape, Type.FLOAT32)
        decoder.reshape(rows, target)
    _replace(found, target, decoder.operators)
    for consumer in found.consumers:
        _scale_output(graph, consumer, found.scales)


def _scale_output(graph: Graph, consumer: schema.OperatorT, scales: np.ndarray) -> None:
    """Move bias and activation of ``consumer`` behind a multiplication by ``scales``."""
    output = int(consumer.outputs[0])
    bias = int(consumer.inputs[2]) if len(consumer.inputs) > 2 else -1
    activation = consumer.builtinOptions.fusedActivationFunction
    consumer.builtinOptions.fusedActivationFunction = Activation.NONE
    raw = _like(graph, output)
    consumer.outputs = np.array([raw], np.int32)
    if graph.kind(consumer) == Builtin.CONV_2D:  # needs a bias
        zeros = graph.add_constant(np.zeros(len(scales), np.float32))
        consumer.inputs = np.array([*consumer.inputs[:2], zeros], np.int32)
    else:
        consumer.inputs = np.array([*consumer.inputs[:2], -1], np.int32)
    after, factor = Decoder(graph), graph.add_constant(scales)
    if bias == -1:
        after.multiply(raw, factor, output, activation)
    else:
        scaled = _like(graph, output)
        after.multiply(raw, factor, scaled)
        options = schema.AddOptionsT()
        options.fusedActivationFunction = activation
        after.operators.append(graph.new_operator(Builtin.ADD, [scaled, bias], [output], options))
    graph.insert_after(consumer, after.operators)


def _like(graph: Graph, tensor: int) -> int:
    """Add a float tensor of the shape of another one, as far as that is known."""
    added = graph.add_tensor(graph.shape(tensor), Type.FLOAT32)
    graph.tensor(added).shapeSignature = graph.tensor(tensor).shapeSignature
    return added


def _is_quantized(found: Filter) -> bool:
    return found.integers is not None and not found.has_float_input


def _drop_hybrid(found: Filter) -> None:
    """Give layers that had int8 filters and float activations the version of plain float ones."""
    if found.storage != Storage.INT8:
        return
    for consumer in found.consumers:
        version = _float_version(found, consumer)
        kind = found.graph.kind(consumer)
        consumer.opcodeIndex = operator_code(found.graph.model, kind, version)


def _float_version(found: Filter, consumer: schema.OperatorT) -> int:
    """Return the oldest version with what a float layer uses (TensorFlow's op_version.cc)."""
    if found.kind == names.FULLY_CONNECTED:
        if len(consumer.inputs) < 3 or consumer.inputs[2] == -1:
            return 6
        return 5 if consumer.builtinOptions.keepNumDims else 1
    if found.kind == names.DEPTHWISE_CONV_2D:
        options = consumer.builtinOptions
        return 2 if (options.dilationWFactor, options.dilationHFactor) != (1, 1) else 1
    channels = found.graph.shape(int(consumer.inputs[0]))[-1]
    return 1 if channels == found.shape[-1] else 6


def _per_channel(scales: np.ndarray, axis: int) -> schema.QuantizationParametersT:
    quantization = schema.QuantizationParametersT()
    quantization.scale = scales.astype(np.float32)
    quantization.zeroPoint = np.zeros(len(scales), np.int64)
    quantization.quantizedDimension = axis
    return quantization


def _replace(found: Filter, target: int, operators: list[schema.OperatorT]) -> None:
    """Make the consumers read ``target`` and put ``operators`` before the first of them."""
    for consumer in found.consumers:
        consumer.inputs = np.array(consumer.inputs)  # what was read from a file is read-only
        consumer.inputs[1] = target
    found.graph.insert_before(found.consumers[0], operators)
