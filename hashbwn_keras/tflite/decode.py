"""The operators that decode a packed filter when the file is loaded, as docs/format.md has them."""

from collections.abc import Sequence

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import packing
from hashbwn_keras.tflite.flatbuffer import Builtin, Type
from hashbwn_keras.tflite.pattern import (
    MINUS_ONE,
    POWERS,
    TABLE_RANK,
    Activation,
    doubled,
    level_values,
)
from hashbwn_keras.tflite.subgraph import Graph


class Decoder:
    """Adds operators to a subgraph, in the order in which they have to be run.

    Attributes:
        operators: those added so far; not in the subgraph yet.
    """

    def __init__(self, graph: Graph):
        self.graph = graph
        self.operators: list[schema.OperatorT] = []

    def indices(self, codes: np.ndarray, bits: int) -> int:
        """Decode codes to the numbers of their levels, 0 for the lowest: int32 in their shape."""
        number = (codes.reshape(-1).astype(np.int16) + 2**bits - 1) // 2
        rows = -(-codes.size // packing.WORD_BITS)
        index = self._plane(number >> (bits - 1) & 1)
        for plane in range(1, bits):
            bit = self._plane(number >> (bits - 1 - plane) & 1)
            both = self.graph.add_tensor([rows, packing.WORD_BITS, 2], Type.INT32)
            next_index = self.graph.add_tensor([rows, packing.WORD_BITS], Type.INT32)
            self.gather(self.graph.add_constant(doubled(plane)), index, both, axis=0, batches=0)
            self.gather(both, bit, next_index, axis=2, batches=2)
            index = next_index
        return self._shaped(index, codes.shape)

    def _plane(self, bits: np.ndarray) -> int:
        """Decode one bit of each code to a tensor of 0 and 1, 32 a row."""
        words = packing.pack_stream(bits * 2 - 1).reshape(-1, 1)
        shape = [len(words), packing.WORD_BITS]
        signs = self.graph.add_tensor(shape, Type.INT32)
        ones = self.graph.add_tensor(shape, Type.INT32)
        powers, minus_one = self.graph.add_constant(POWERS), self.graph.add_constant(MINUS_ONE)
        self.multiply(self.graph.add_constant(words), powers, signs, Activation.RELU_N1_TO_1)
        self.multiply(signs, minus_one, ones, Activation.RELU6)
        return ones

    def _shaped(self, index: int, shape: Sequence[int]) -> int:
        """Cut the last row off behind the filter and give it the filter's shape."""
        full, size = int(np.prod(self.graph.shape(index))), int(np.prod(shape))
        if full != size:
            flat = self.graph.add_tensor([full], Type.INT32)
            cut = self.graph.add_tensor([size], Type.INT32)
            bounds = [self.graph.add_constant(np.array([n], np.int32)) for n in (0, size, 1)]
            self.reshape(index, flat)
            options = schema.StridedSliceOptionsT()
            self._add(Builtin.STRIDED_SLICE, [flat, *bounds], cut, options)
            index = cut
        shaped = self.graph.add_tensor(shape, Type.INT32)
        self.reshape(index, shaped)
        return shaped

    def table(self, scales: np.ndarray, bits: int) -> int:
        """Multiply every level by every α: float32 ``[channels, 2ⁿ]``; constant for one bit.

        In :data:`TABLE_RANK` dimensions, where XNNPACK leaves MUL and RESHAPE to TensorFlow Lite,
        which computes them at load; XNNPACK would repeat them, and all that follows, at every run.
        """
        channels, count = len(scales), 2**bits
        if bits == 1:
            return self.graph.add_constant(np.stack([-scales, scales], 1))
        ones = [1] * (TABLE_RANK - 2)
        tiled: list[int] = []
        for values, shape, times in (
            (scales, [channels, 1], [1, count]),
            (level_values(bits), [1, count], [channels, 1]),
        ):
            constant = self.graph.add_constant(values.reshape(*ones, *shape))
            multiples = self.graph.add_constant(np.array([*ones, *times], np.int32))
            tiled.append(self.graph.add_tensor([*ones, channels, count], Type.FLOAT32))
            options = schema.TileOptionsT()
            self._add(Builtin.TILE, [constant, multiples], tiled[-1], options)
        product = self.graph.add_tensor([*ones, channels, count], Type.FLOAT32)
        table = self.graph.add_tensor([channels, count], Type.FLOAT32)
        self.multiply(tiled[0], tiled[1], product)
        self.reshape(product, table)
        return table

    def gather(self, values: int, index: int, target: int, axis: int, batches: int) -> None:
        """Let ``index`` choose along ``axis`` of ``values``."""
        options = schema.GatherOptionsT()
        options.axis, options.batchDims = axis, batches
        # TensorFlow's op_version.cc: batches are version 5, int8 is 2.
        int8 = self.graph.tensor(values).type == Type.INT8
        self._add(Builtin.GATHER, [values, index], target, options, 5 if batches else 1 + int8)

    def multiply(
        self, first: int, second: int, target: int, activation: int = Activation.NONE
    ) -> None:
        """Multiply two tensors."""
        options = schema.MulOptionsT()
        options.fusedActivationFunction = activation
        self._add(Builtin.MUL, [first, second], target, options)

    def reshape(self, tensor: int, target: int) -> None:
        """Give a tensor the shape of ``target``."""
        options = schema.ReshapeOptionsT()
        options.newShape = np.array(self.graph.shape(target), np.int32)
        self._add(Builtin.RESHAPE, [tensor], target, options)

    def dequantize(self, source: int, target: int) -> None:
        """Multiply int8 by the scales of its channels."""
        self._add(Builtin.DEQUANTIZE, [source], target, schema.DequantizeOptionsT(), 5)

    def _add(
        self, builtin: int, inputs: list[int], target: int, options: object, version: int = 1
    ) -> None:
        operator = self.graph.new_operator(builtin, inputs, [target], options, version)
        self.operators.append(operator)
