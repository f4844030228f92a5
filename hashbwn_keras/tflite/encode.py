"""Writing binary filters in the forms of docs/format.md."""

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import packing
from hashbwn_keras.tflite.filters import Filter
from hashbwn_keras.tflite.flatbuffer import Builtin, Type, operator_code
from hashbwn_keras.tflite.pattern import MINUS_ONE, POWERS, SIGNS, Activation, is_float
from hashbwn_keras.tflite.subgraph import Graph


def to_int8(filter_: Filter) -> None:
    """Store a binary filter as int8.

    A float layer gets ±1 with scale α per channel behind DEQUANTIZE: ±1 · α is exact in float32,
    and XNNPACK undoes it once, at load. A layer with int8 input gets its integers.
    """
    graph, axis = filter_.graph, filter_.axis
    assert filter_.codes is not None and filter_.scales is not None
    quantized = _is_quantized(filter_)
    live = filter_.scales > 0
    factors = filter_.levels if quantized else live
    assert factors is not None
    aligned = [1] * len(filter_.shape)
    aligned[axis] = -1
    stored = (filter_.codes * factors.reshape(aligned)).astype(np.int8)
    if quantized:
        _replace(filter_, graph.add_constant(stored, filter_.quantization), [])
        return
    _drop_hybrid(filter_)
    # Scales have to be positive: a dead channel is 0 · 1.
    quantization = _per_channel(np.where(live, filter_.scales, np.float32(1)), axis)
    source = graph.add_constant(stored, quantization)
    target = graph.add_tensor(filter_.shape, Type.FLOAT32)
    operator = graph.new_operator(
        Builtin.DEQUANTIZE, [source], [target], schema.DequantizeOptionsT(), version=5
    )
    _replace(filter_, target, [operator])


def to_packed(filter_: Filter) -> None:
    """Store a binary filter as one bit a weight, decoded by builtin operators at load.

    A float layer gets float32 ±α; a layer with int8 input keeps its integers. Those of a depthwise
    filter must have the same magnitude in all channels.
    """
    graph = filter_.graph
    assert filter_.codes is not None and filter_.scales is not None
    quantized = _is_quantized(filter_)
    if not quantized:
        _drop_hybrid(filter_)
    words = graph.add_constant(packing.pack_stream(filter_.codes).reshape(-1, 1))
    bits, operators = _decoded_bits(graph, words, filter_.shape)
    target = graph.add_tensor(
        filter_.shape,
        Type.INT8 if quantized else Type.FLOAT32,
        filter_.quantization if quantized else None,
    )
    values = filter_.levels.astype(np.int8) if quantized else filter_.scales  # type: ignore[union-attr]
    if filter_.axis == 0:
        operators.append(_gather(graph, np.stack([-values, values], 1), bits, target))
    elif quantized:
        operators.append(_gather(graph, np.array([-values[0], values[0]]), bits, target))
    else:
        signs = graph.add_tensor(filter_.shape, Type.FLOAT32)
        operators.append(_gather(graph, SIGNS, bits, signs))
        operators.append(_multiply(graph, signs, values, target, Activation.NONE))
    _replace(filter_, target, operators)


def _gather(graph: Graph, values: np.ndarray, bits: int, target: int) -> schema.OperatorT:
    """Let bits choose from ``values``, ``[2]`` for all channels or ``[channels, 2]``."""
    options = schema.GatherOptionsT()
    options.axis = options.batchDims = values.ndim - 1
    # TensorFlow's op_version.cc: batches are version 5, int8 is 2.
    version = 5 if values.ndim == 2 else 2 if values.dtype == np.int8 else 1
    inputs = [graph.add_constant(values), bits]
    return graph.new_operator(Builtin.GATHER, inputs, [target], options, version)


def to_lce_dequantize(filter_: Filter) -> None:
    """Store a binary filter of a float layer as one bit a weight, decoded by ``LceDequantize``.

    The layer computes with ±1; α multiplies its output, then comes the bias, and the fused
    activation moves to the end.
    """
    graph, outputs = filter_.graph, filter_.shape[0]
    assert filter_.codes is not None and filter_.scales is not None and filter_.axis == 0
    words = graph.add_constant(packing.pack_lce(filter_.codes.reshape(outputs, -1)))
    target = graph.add_tensor([outputs, filter_.size // outputs], Type.FLOAT32)
    operators = [graph.new_operator(Builtin.CUSTOM, [words], [target], custom_name="LceDequantize")]
    if len(filter_.shape) != 2:
        rows, target = target, graph.add_tensor(filter_.shape, Type.FLOAT32)
        operators.append(_reshape(graph, rows, target))
    _replace(filter_, target, operators)
    for consumer in filter_.consumers:
        _scale_output(graph, consumer, filter_.scales)


def _scale_output(graph: Graph, consumer: schema.OperatorT, scales: np.ndarray) -> None:
    """Move bias and activation of ``consumer`` behind a multiplication by ``scales``."""
    output = int(consumer.outputs[0])
    bias = int(consumer.inputs[2]) if len(consumer.inputs) > 2 else -1
    activation = consumer.builtinOptions.fusedActivationFunction
    consumer.builtinOptions.fusedActivationFunction = Activation.NONE
    raw = graph.add_tensor(graph.shape(output), Type.FLOAT32)
    graph.tensor(raw).shapeSignature = graph.tensor(output).shapeSignature
    consumer.outputs = np.array([raw], np.int32)
    if graph.kind(consumer) == Builtin.CONV_2D:  # needs a bias
        zeros = graph.add_constant(np.zeros(len(scales), np.float32))
        consumer.inputs = np.array([*consumer.inputs[:2], zeros], np.int32)
    else:
        consumer.inputs = np.array([*consumer.inputs[:2], -1], np.int32)
    multiply, add = schema.MulOptionsT(), schema.AddOptionsT()
    factor = graph.add_constant(scales)
    if bias == -1:
        multiply.fusedActivationFunction = activation
        steps = [graph.new_operator(Builtin.MUL, [raw, factor], [output], multiply)]
    else:
        add.fusedActivationFunction = activation
        scaled = graph.add_tensor(graph.shape(output), Type.FLOAT32)
        graph.tensor(scaled).shapeSignature = graph.tensor(output).shapeSignature
        steps = [
            graph.new_operator(Builtin.MUL, [raw, factor], [scaled], multiply),
            graph.new_operator(Builtin.ADD, [scaled, bias], [output], add),
        ]
    graph.insert_after(consumer, steps)


def has_float_input(filter_: Filter) -> bool:
    """Whether the layer computes with float activations."""
    return is_float(filter_.graph, int(filter_.consumers[0].inputs[0]))


def _is_quantized(filter_: Filter) -> bool:
    return filter_.levels is not None and not has_float_input(filter_)


def _drop_hybrid(filter_: Filter) -> None:
    """Give layers that had int8 filters and float activations the version of plain float ones."""
    if filter_.storage != "int8":
        return
    for consumer in filter_.consumers:
        version = _float_version(filter_, consumer)
        kind = filter_.graph.kind(consumer)
        consumer.opcodeIndex = operator_code(filter_.graph.model, kind, version)


def _float_version(filter_: Filter, consumer: schema.OperatorT) -> int:
    """Return the oldest version with what a float layer uses (TensorFlow's op_version.cc)."""
    if filter_.kind == "FULLY_CONNECTED":
        if len(consumer.inputs) < 3 or consumer.inputs[2] == -1:
            return 6
        return 5 if consumer.builtinOptions.keepNumDims else 1
    if filter_.kind == "DEPTHWISE_CONV_2D":
        options = consumer.builtinOptions
        return 2 if (options.dilationWFactor, options.dilationHFactor) != (1, 1) else 1
    channels = filter_.graph.shape(int(consumer.inputs[0]))[-1]
    return 1 if channels == filter_.shape[-1] else 6


def _decoded_bits(
    graph: Graph, words: int, shape: tuple[int, ...]
) -> tuple[int, list[schema.OperatorT]]:
    """Return the tensor of 0 and 1 in ``shape`` and the operators that decode it."""
    rows, size = graph.shape(words)[0], int(np.prod(shape))
    full = rows * packing.WORD_BITS
    signs = graph.add_tensor([rows, packing.WORD_BITS], Type.INT32)
    bits = graph.add_tensor([rows, packing.WORD_BITS], Type.INT32)
    operators = [
        _multiply(graph, words, POWERS, signs, Activation.RELU_N1_TO_1),
        _multiply(graph, signs, MINUS_ONE, bits, Activation.RELU6),
    ]
    if full != size:
        flat = graph.add_tensor([full], Type.INT32)
        cut = graph.add_tensor([size], Type.INT32)
        bounds = [graph.add_constant(np.array([value], np.int32)) for value in (0, size, 1)]
        operators.append(_reshape(graph, bits, flat))
        operators.append(
            graph.new_operator(
                Builtin.STRIDED_SLICE, [flat, *bounds], [cut], schema.StridedSliceOptionsT()
            )
        )
        bits = cut
    shaped = graph.add_tensor(shape, Type.INT32)
    operators.append(_reshape(graph, bits, shaped))
    return shaped, operators


def _multiply(
    graph: Graph, tensor: int, factor: np.ndarray, target: int, activation: int
) -> schema.OperatorT:
    options = schema.MulOptionsT()
    options.fusedActivationFunction = activation
    inputs = [tensor, graph.add_constant(factor)]
    return graph.new_operator(Builtin.MUL, inputs, [target], options)


def _reshape(graph: Graph, tensor: int, target: int) -> schema.OperatorT:
    options = schema.ReshapeOptionsT()
    options.newShape = np.array(graph.shape(target), np.int32)
    return graph.new_operator(Builtin.RESHAPE, [tensor], [target], options)


def _per_channel(scales: np.ndarray, axis: int) -> schema.QuantizationParametersT:
    quantization = schema.QuantizationParametersT()
    quantization.scale = scales.astype(np.float32)
    quantization.zeroPoint = np.zeros(len(scales), np.int64)
    quantization.quantizedDimension = axis
    return quantization


def _replace(filter_: Filter, target: int, operators: list[schema.OperatorT]) -> None:
    """Make the consumers read ``target`` and put ``operators`` before the first of them."""
    for consumer in filter_.consumers:
        consumer.inputs = np.array(consumer.inputs)  # what was read from a file is read-only
        consumer.inputs[1] = target
    filter_.graph.insert_before(filter_.consumers[0], operators)
