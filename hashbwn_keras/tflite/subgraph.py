"""One subgraph of a .tflite file: what its readers and editors ask for."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import (
    DTYPE,
    Builtin,
    builtin_code,
    indices,
    operator_code,
    shape_of,
)

_TYPE_OF: dict[Any, int] = {np.dtype(dtype): code for code, dtype in DTYPE.items()}
# Constants up to this size are looked for before a new one is added.
_SHAREABLE_BYTES = 256


class Graph:
    """One subgraph of a model, with what its readers and editors ask for."""

    def __init__(self, model: schema.ModelT, index: int):
        self.model = model
        self.index = index
        self.graph = model.subgraphs[index]
        self.producers = {
            tensor: operator for operator in self.operators for tensor in indices(operator.outputs)
        }
        self.uses = Counter(
            [t for operator in self.operators for t in indices(operator.inputs)]
            + indices(self.graph.outputs)
        )
        self._constants: dict[tuple[Any, ...] | None, int] = {}

    @property
    def operators(self) -> list[schema.OperatorT]:
        """Return the operators, in the order of execution."""
        return self.graph.operators or []

    def kind(self, operator: schema.OperatorT) -> int:
        """Return the builtin code of ``operator``."""
        return builtin_code(self.model.operatorCodes[operator.opcodeIndex])

    def custom_name(self, operator: schema.OperatorT) -> str:
        """Return the name of a custom operator, "" for a builtin one."""
        name = self.model.operatorCodes[operator.opcodeIndex].customCode
        return name.decode(errors="replace") if name else ""

    def tensor(self, index: int) -> schema.TensorT:
        """Return the tensor of that index."""
        return self.graph.tensors[index]

    def shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of a tensor."""
        return shape_of(self.tensor(index))

    def name(self, index: int) -> str:
        """Return the name of a tensor."""
        return (self.tensor(index).name or b"").decode(errors="replace")

    def constant(self, index: int) -> np.ndarray | None:
        """Return the value of a dense constant tensor, or None for any other."""
        tensor = self.tensor(index)
        data = self.model.buffers[tensor.buffer].data
        if data is None or not len(data) or tensor.sparsity is not None:
            return None
        if tensor.type not in DTYPE or tensor.isVariable:
            return None
        dtype: Any = np.dtype(DTYPE[tensor.type]).newbyteorder("<")
        return np.frombuffer(np.asarray(data, np.uint8).tobytes(), dtype).reshape(shape_of(tensor))

    def add_tensor(
        self,
        shape: Iterable[int],
        tensor_type: int,
        quantization: schema.QuantizationParametersT | None = None,
    ) -> int:
        """Add a tensor that an operator computes, and return its index."""
        self.graph.tensors.append(_computed_tensor(shape, tensor_type, quantization))
        return len(self.graph.tensors) - 1

    def add_constant(
        self, value: np.ndarray, quantization: schema.QuantizationParametersT | None = None
    ) -> int:
        """Add a constant and return its index; equal ones without scales are added once."""
        value = np.ascontiguousarray(value)
        shareable = quantization is None and value.nbytes <= _SHAREABLE_BYTES
        key = (value.dtype.str, value.shape, value.tobytes()) if shareable else None
        if key in self._constants:
            return self._constants[key]
        index = self.add_tensor(value.shape, _TYPE_OF[value.dtype], quantization)
        self.tensor(index).buffer = _buffer_of(
            self.model, value.astype(value.dtype.newbyteorder("<"))
        )
        if key is not None:
            self._constants[key] = index
        return index

    def new_operator(
        self,
        builtin: int,
        inputs: list[int],
        outputs: list[int],
        options: Any = None,
        version: int = 1,
        custom_name: str = "",
    ) -> schema.OperatorT:
        """Return an operator that is not in the subgraph yet.

        Args:
            builtin: code of the operator.
            inputs: tensor indices.
            outputs: tensor indices.
            options: its options object, such as ``schema.MulOptionsT``.
            version: operator version.
            custom_name: name of a custom operator.
        """
        operator = schema.OperatorT()
        operator.opcodeIndex = operator_code(self.model, builtin, version, custom_name)
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        return operator

    def insert_before(self, following: schema.OperatorT, operators: list[schema.OperatorT]) -> None:
        """Put ``operators`` right before ``following``."""
        position = next(i for i, o in enumerate(self.operators) if o is following)
        self.graph.operators[position:position] = operators

    def insert_after(self, preceding: schema.OperatorT, operators: list[schema.OperatorT]) -> None:
        """Put ``operators`` right after ``preceding``."""
        position = next(i for i, o in enumerate(self.operators) if o is preceding) + 1
        self.graph.operators[position:position] = operators


def _computed_tensor(
    shape: Iterable[int], tensor_type: int, quantization: schema.QuantizationParametersT | None
) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.shape = np.array(list(shape), np.int32)
    tensor.type = tensor_type
    tensor.buffer = 0
    tensor.name = b""
    tensor.quantization = quantization
    tensor.hasRank = True
    return tensor


def _buffer_of(model: schema.ModelT, value: np.ndarray) -> int:
    """The index of a buffer that holds ``value``: a small one may be there already."""
    data = np.frombuffer(value.tobytes(), np.uint8)
    if len(data) <= _SHAREABLE_BYTES:
        for index, buffer in enumerate(model.buffers[1:], 1):
            if buffer.data is not None and np.array_equal(buffer.data, data):
                return index
    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def graphs(model: schema.ModelT) -> list[Graph]:
    """Return all subgraphs of ``model``."""
    return [Graph(model, index) for index in range(len(model.subgraphs))]


def custom_operators(model: schema.ModelT) -> set[str]:
    """Return the names of the custom operators that a file declares."""
    codes = (code.customCode for code in model.operatorCodes)
    return {code.decode(errors="replace") for code in codes if code}


def operator_histogram(model: schema.ModelT) -> dict[str, int]:
    """Count the operators by name, custom ones by their own, most frequent first."""
    names = {code: name for name, code in vars(Builtin).items() if isinstance(code, int)}
    counts: Counter[str] = Counter()
    for graph in graphs(model):
        for operator in graph.operators:
            kind = graph.kind(operator)
            counts[graph.custom_name(operator) or names.get(kind, f"operator {kind}")] += 1
    return dict(counts.most_common())
