"""Small TFLite files, built operator by operator: what tests, fuzz seeds and benchmarks run on.

They are made without a converter so that every shape, option and quantisation can be had exactly,
wrong ones included.
"""

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3

_TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
}


class Graph:
    """One subgraph under construction; tensors are named by their index."""

    def __init__(self):
        self.model = schema.ModelT()
        self.model.version = 3
        self.model.description = b"hashbwn test"
        self.model.buffers = [schema.BufferT()]
        self.model.operatorCodes = []
        self.graph = schema.SubGraphT()
        self.graph.name = b"main"
        self.graph.tensors, self.graph.operators = [], []
        self.model.subgraphs = [self.graph]

    def tensor(self, shape, dtype, scale=None, zero=0, axis=0, data=None) -> int:
        """A tensor; `scale` a number or one per channel along `axis`, `data` makes it constant."""
        t = schema.TensorT()
        t.shape = np.asarray(shape, np.int32)
        t.type = _TYPES[np.dtype(dtype)]
        t.name = f"t{len(self.graph.tensors)}".encode()
        t.hasRank = True
        t.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            t.buffer = len(self.model.buffers) - 1
        if scale is not None:
            q = schema.QuantizationParametersT()
            q.scale = np.atleast_1d(np.asarray(scale, np.float32))
            q.zeroPoint = np.broadcast_to(np.asarray(zero, np.int64), q.scale.shape).copy()
            q.quantizedDimension = axis
            t.quantization = q
        self.graph.tensors.append(t)
        return len(self.graph.tensors) - 1

    def constant(self, data, **kwargs) -> int:
        data = np.asarray(data)
        return self.tensor(data.shape, data.dtype, data=data, **kwargs)

    def op(self, name, inputs, outputs, options=None, version=1, **fields) -> None:
        """Appends operator `name` (as in BuiltinOperator) with the options table `options`."""
        code = getattr(schema.BuiltinOperator, name)
        codes = [c.builtinCode for c in self.model.operatorCodes]
        if code not in codes:
            c = schema.OperatorCodeT()
            c.builtinCode, c.deprecatedBuiltinCode, c.version = code, min(code, 127), version
            self.model.operatorCodes.append(c)
            codes.append(code)
        entry = self.model.operatorCodes[codes.index(code)]
        entry.version = max(entry.version, version)
        o = schema.OperatorT()
        o.opcodeIndex = codes.index(code)
        o.inputs, o.outputs = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32)
        if options:
            o.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            o.builtinOptions = getattr(schema, options + "T")()
            for key, value in fields.items():
                setattr(o.builtinOptions, key, value)
        self.graph.operators.append(o)

    def finish(self, inputs, outputs) -> bytes:
        self.graph.inputs = np.asarray(inputs, np.int32)
        self.graph.outputs = np.asarray(outputs, np.int32)
        builder = flatbuffers.Builder(1024)
        builder.ForceDefaults(True)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    # Layers. Codes are ±1 arrays, filters OHWI, Dense weights [out][in].

    def conv(
        self,
        x,
        codes,
        alpha,
        bias,
        *,
        out=None,
        stride=1,
        dilation=1,
        padding=SAME,
        activation=NONE,
        shape,
        filter_tensor=None,
    ):
        """CONV_2D; int8 when `out` = (scale, zero) is given; returns (tensor, output shape)."""
        kh, kw = codes.shape[1:3]
        y_shape = [
            shape[0],
            *(
                output_extent(n, k, stride, dilation, padding)
                for n, k in ((shape[1], kh), (shape[2], kw))
            ),
            codes.shape[0],
        ]
        y, inputs = self._weighted(x, codes, alpha, bias, out, y_shape, filter_tensor)
        self.op(
            "CONV_2D",
            inputs,
            [y],
            "Conv2DOptions",
            version=3 if out else 1,
            padding=padding,
            strideH=stride,
            strideW=stride,
            dilationHFactor=dilation,
            dilationWFactor=dilation,
            fusedActivationFunction=activation,
        )
        return y, y_shape

    def dense(self, x, codes, alpha, bias, *, out=None, activation=NONE, batch, filter_tensor=None):
        y_shape = [batch, codes.shape[0]]
        y, inputs = self._weighted(x, codes, alpha, bias, out, y_shape, filter_tensor)
        self.op(
            "FULLY_CONNECTED",
            inputs,
            [y],
            "FullyConnectedOptions",
            version=5 if out else 1,
            fusedActivationFunction=activation,
        )
        return y, y_shape

    def stored_filter(self, codes, alpha, storage, int8) -> int | None:
        """Tensor of a filter stored as "constant" (None), "dequantised" or "packed"."""
        if storage == "constant":
            return None
        if storage == "dequantised":
            w = self.constant(codes.astype(np.int8), scale=alpha)
            f = self.tensor(codes.shape, np.float32)
            self.op("DEQUANTIZE", [w], [f], "DequantizeOptions", version=5)
            return f
        return self._packed_filter(codes, alpha, int8)

    def depthwise(self, x, codes, alpha, *, out=None, shape, packed):
        """DEPTHWISE_CONV_2D, SAME, without bias; codes [1, kh, kw, channels], one alpha if int8."""
        y_shape = [*shape[:3], codes.shape[3]]
        if out is None:
            y, scale, f_type = self.tensor(y_shape, np.float32), None, np.float32
        else:
            y, f_type = self.tensor(y_shape, np.int8, scale=out[0], zero=out[1]), np.int8
            scale = np.asarray(alpha, np.float32) / np.float32(127)
        values = codes * (np.asarray(alpha, np.float32) if out is None else 127)
        if packed:
            shaped, f = self._numbers(codes), self.tensor(codes.shape, f_type, scale=scale, axis=3)
            signs = f if out else self.tensor(codes.shape, np.float32)
            two = self.constant(np.array([-1, 1]).astype(f_type) * f_type(127 if out else 1))
            self.op("GATHER", [two, shaped], [signs], "GatherOptions", version=2, axis=0)
            if not out:
                by = self.constant(np.asarray(alpha, np.float32))
                self.op("MUL", [signs, by], [f], "MulOptions", fusedActivationFunction=NONE)
        else:
            f = self.constant(values.astype(f_type), scale=scale, axis=3)
        self.op(
            "DEPTHWISE_CONV_2D",
            [
                x,
                f,
                self.constant(np.zeros(codes.shape[3], np.float32 if out is None else np.int32)),
            ],
            [y],
            "DepthwiseConv2DOptions",
            version=3 if out else 1,
            padding=SAME,
            strideH=1,
            strideW=1,
            dilationHFactor=1,
            dilationWFactor=1,
            depthMultiplier=1,
            fusedActivationFunction=NONE,
        )
        return y, y_shape

    def _packed_filter(self, codes, alpha, int8) -> int:
        """The packed form of docs/format.md, of as many bits as the codes need."""
        bits = int(np.abs(codes).max()).bit_length()
        levels, shaped = np.arange(1 - 2**bits, 2**bits, 2), self._numbers(codes, bits)
        axis = 1
        if int8 and bits > 1:
            unit, axis = 127 // (2**bits - 1), 0
            values = self.constant((levels * unit).astype(np.int8))
            f = self.tensor(codes.shape, np.int8, scale=np.float32(alpha) / np.float32(unit))
        elif int8:
            values = self.constant(np.tile(np.array([[-127, 127]], np.int8), (len(alpha), 1)))
            f = self.tensor(codes.shape, np.int8, scale=np.float32(alpha) / np.float32(127))
        else:
            table = np.stack([-alpha, alpha], 1).astype(np.float32)
            values = self.constant(table) if bits == 1 else self._table(alpha, levels)
            f = self.tensor(codes.shape, np.float32)
        batched = {"axis": axis, "batchDims": axis}
        version = 5 if axis else 2
        self.op("GATHER", [values, shaped], [f], "GatherOptions", version=version, **batched)
        return f

    def _table(self, alpha, levels) -> int:
        """Steps T1 to T4: every level times every alpha."""
        ones, shape = [1] * 5, [len(alpha), len(levels)]
        tiled = []
        for values, own, times in (
            (alpha, [shape[0], 1], [1, shape[1]]),
            (levels, [1, shape[1]], [shape[0], 1]),
        ):
            constant = self.constant(np.asarray(values, np.float32).reshape(*ones, *own))
            tiled.append(self.tensor([*ones, *shape], np.float32))
            multiples = self.constant(np.array([*ones, *times], np.int32))
            self.op("TILE", [constant, multiples], tiled[-1:], "TileOptions")
        product, table = self.tensor([*ones, *shape], np.float32), self.tensor(shape, np.float32)
        self.op("MUL", tiled, [product], "MulOptions", fusedActivationFunction=NONE)
        self.op("RESHAPE", [product], [table], "ReshapeOptions", newShape=shape)
        return table

    def _numbers(self, codes, bits=1) -> int:
        """Steps 1 to 3: numbers of levels, from 0 for the lowest, in the shape of the codes."""
        numbers = (codes.ravel().astype(np.int64) + 2**bits - 1) // 2
        words = -(-codes.size // 32)
        index = self._plane(numbers >> (bits - 1) & 1)
        for k in range(1, bits):
            plane = self._plane(numbers >> (bits - 1 - k) & 1)
            doubled = self.constant(np.arange(2 << k, dtype=np.int32).reshape(-1, 2))
            both = self.tensor([words, 32, 2], np.int32)
            self.op("GATHER", [doubled, index], [both], "GatherOptions")
            index = self.tensor([words, 32], np.int32)
            options = {"axis": 2, "batchDims": 2}
            self.op("GATHER", [both, plane], [index], "GatherOptions", version=5, **options)
        if codes.size != 32 * words:
            line = self.tensor([32 * words], np.int32)
            self.op("RESHAPE", [index], [line], "ReshapeOptions", newShape=[32 * words])
            index = self.tensor([codes.size], np.int32)
            ends = [self.constant(np.array([v], np.int32)) for v in (0, codes.size, 1)]
            self.op("STRIDED_SLICE", [line, *ends], [index], "StridedSliceOptions")
        shaped = self.tensor(codes.shape, np.int32)
        self.op("RESHAPE", [index], [shaped], "ReshapeOptions", newShape=list(codes.shape))
        return shaped

    def _plane(self, ones) -> int:
        """Steps 1 and 2: zeros and ones, 32 to a word."""
        words = -(-ones.size // 32)
        bits = np.zeros((words, 32), np.uint32)
        bits.flat[: ones.size] = ones
        packed = (bits << np.arange(32, dtype=np.uint32)).sum(1, dtype=np.uint32)
        powers = (np.uint32(1) << np.arange(31, -1, -1, dtype=np.uint32)).view(np.int32)
        top, flat = self.tensor([words, 32], np.int32), self.tensor([words, 32], np.int32)
        inputs = [self.constant(packed.view(np.int32)[:, None]), self.constant(powers[None])]
        self.op("MUL", inputs, [top], "MulOptions", fusedActivationFunction=2)
        inputs = [top, self.constant(np.array([-1], np.int32))]
        self.op("MUL", inputs, [flat], "MulOptions", fusedActivationFunction=RELU6)
        return flat

    def _weighted(self, x, codes, alpha, bias, out, y_shape, filter_tensor):
        by_channel = np.asarray(alpha, np.float32).reshape((-1,) + (1,) * (codes.ndim - 1))
        if out is None:
            y = self.tensor(y_shape, np.float32)
            w = (
                self.constant((codes * by_channel).astype(np.float32))
                if filter_tensor is None
                else filter_tensor
            )
            b = None if bias is None else self.constant(np.asarray(bias, np.float32))
        else:
            in_scale = float(self.graph.tensors[x].quantization.scale[0])
            y = self.tensor(y_shape, np.int8, scale=out[0], zero=out[1])
            unit = 127 // int(np.abs(codes).max())
            scale = np.asarray(alpha, np.float32) / np.float32(unit)
            w = (
                self.constant((codes * unit).astype(np.int8), scale=scale)
                if filter_tensor is None
                else filter_tensor
            )
            b = (
                None
                if bias is None
                else self.constant(
                    np.round(np.asarray(bias) / (in_scale * scale)).astype(np.int32),
                    scale=in_scale * scale,
                )
            )
        return y, [x, w] + ([] if b is None else [b])


def output_extent(n, k, stride, dilation, padding):
    """Output rows or columns of a convolution over n with kernel k."""
    if padding == SAME:
        return -(-n // stride)
    return (n - (k - 1) * dilation - 1) // stride + 1
