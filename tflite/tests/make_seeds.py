"""Writes seed graphs for fuzz_delegate.c: python make_seeds.py FOLDER."""

import struct
import sys
from pathlib import Path

import numpy as np
from graphs import RELU, RELU6, VALID, Graph, schema

_TYPES = {
    schema.TensorType.FLOAT32: 1,
    schema.TensorType.INT32: 2,
    schema.TensorType.INT8: 9,
}
# Options in the order of the structures of delegate/tflite_abi.h; enumerations are not the file's.
_PADDING = {0: 1, 1: 2}
_OPTIONS = {
    schema.BuiltinOperator.CONV_2D: lambda o: [
        _PADDING[o.padding],
        o.strideW,
        o.strideH,
        o.fusedActivationFunction,
        o.dilationWFactor,
        o.dilationHFactor,
    ],
    schema.BuiltinOperator.DEPTHWISE_CONV_2D: lambda o: [_PADDING[o.padding], 1, 1, 1, 0, 1, 1],
    schema.BuiltinOperator.FULLY_CONNECTED: lambda o: [o.fusedActivationFunction, 0, 0],
    schema.BuiltinOperator.MUL: lambda o: [o.fusedActivationFunction],
    schema.BuiltinOperator.GATHER: lambda o: [o.axis, o.batchDims],
    schema.BuiltinOperator.STRIDED_SLICE: lambda o: [0, 0, 0, 0, 0],
}


def blob(graph: Graph, output: int, flags: int) -> bytes:
    """The graph in the byte form fuzz_delegate.c reads."""
    tensors, operators = graph.graph.tensors, graph.graph.operators
    out = [struct.pack("<bBBh", flags, len(tensors), len(operators), output)]
    for t in tensors:
        data = graph.model.buffers[t.buffer].data if t.buffer else None
        q = t.quantization
        out.append(struct.pack("<bbB", _TYPES[t.type], 1 if data is not None else 2, len(t.shape)))
        out.append(np.asarray(t.shape, "<i4").tobytes())
        one = q is not None
        out.append(struct.pack("<fi", q.scale[0] if one else 0, int(q.zeroPoint[0]) if one else 0))
        out.append(bytes([one]))
        if one:
            out.append(struct.pack("<hh", len(q.scale), len(q.zeroPoint)))
            out.append(np.asarray(q.scale, "<f4").tobytes())
            out.append(np.asarray(q.zeroPoint, "<i4").tobytes())
            out.append(struct.pack("<i", q.quantizedDimension or 0))
        if data is not None:
            out.append(struct.pack("<i", len(data)) + bytes(data))
    for o in operators:
        code = graph.model.operatorCodes[o.opcodeIndex].builtinCode
        options = _OPTIONS.get(code, lambda _: [])(o.builtinOptions)
        for group in (o.inputs, o.outputs):
            if group is o.inputs:
                out.append(bytes([code]))
            out.append(bytes([len(group)]) + np.asarray(group, "<i2").tobytes())
        out.append(bytes([len(options)]) + np.asarray(options, "<i4").tobytes())
    return b"".join(out)


def seeds():
    """(name, bytes) of graphs with every kind of filter and layer."""
    rng = np.random.default_rng(0)
    for storage in ("constant", "packed", "dequantised"):
        for int8 in (False, True):
            if storage == "dequantised" and int8:
                continue
            for flags in (0, 4, 5, 6, 12):
                yield f"conv_{storage}_{int8}_{flags}", _conv(rng, storage, int8, flags)
                yield f"dense_{storage}_{int8}_{flags}", _dense(rng, storage, int8, flags)

    for bits in (2, 3):
        for int8 in (False, True):
            for flags in (0, 4):
                yield f"bits_{bits}_{int8}_{flags}", _more_bits(rng, bits, int8, flags)
    for int8 in (False, True):
        for flags in (0, 1):
            yield f"depthwise_{int8}_{flags}", _depthwise(rng, int8, flags)


def _start(shape, int8):
    g = Graph()
    if int8:
        return g, g.tensor(shape, np.int8, scale=0.02, zero=-3)
    return g, g.tensor(shape, np.float32)


def _filter(rng, g, shape, storage, int8):
    codes = (rng.integers(0, 2, shape) * 2 - 1).astype(np.int8)
    alpha = (rng.random(shape[0]) + 0.1).astype(np.float32)
    return codes, alpha, g.stored_filter(codes, alpha, storage, int8)


def _conv(rng, storage, int8, flags):
    shape = [1, 6, 5, 3]
    g, x = _start(shape, int8)
    for size, options in (
        ((17, 3, 3, 3), {"activation": RELU}),
        ((5, 1, 2, 17), {"stride": 2, "padding": VALID, "activation": RELU6}),
    ):
        codes, alpha, f = _filter(rng, g, size, storage, int8)
        bias = rng.normal(size=size[0])
        out = (0.05, 7) if int8 else None
        x, shape = g.conv(x, codes, alpha, bias, out=out, shape=shape, filter_tensor=f, **options)
    return blob(g, x, flags)


def _dense(rng, storage, int8, flags):
    g, x = _start([2, 21], int8)
    codes, alpha, f = _filter(rng, g, (19, 21), storage, int8)
    out = (0.05, 7) if int8 else None
    y, _ = g.dense(x, codes, alpha, None, out=out, batch=2, filter_tensor=f)
    return blob(g, y, flags)


def _more_bits(rng, bits, int8, flags):
    g, x = _start([2, 21], int8)
    codes = (2 * rng.integers(0, 2**bits, (19, 21)) - (2**bits - 1)).astype(np.int8)
    alpha = (rng.random(19) + 0.1).astype(np.float32)
    f = g.stored_filter(codes, alpha, "packed", int8)
    out = (0.05, 7) if int8 else None
    y, _ = g.dense(x, codes, alpha, None, out=out, batch=2, filter_tensor=f)
    return blob(g, y, flags)


def _depthwise(rng, int8, flags):
    shape = [1, 6, 5, 9]
    g, x = _start(shape, int8)
    codes = (rng.integers(0, 2, (1, 3, 3, 9)) * 2 - 1).astype(np.int8)
    alpha = np.full(9, 0.3, np.float32)
    y, _ = g.depthwise(x, codes, alpha, out=(0.05, 7) if int8 else None, shape=shape, packed=True)
    return blob(g, y, flags)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds():
        (folder / name).write_bytes(data)
