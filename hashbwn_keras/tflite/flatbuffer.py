"""Reading, checking, tidying and writing .tflite flatbuffers as TensorFlow's schema objects."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flatbuffers
import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.errors import HashBWNError

Builtin = schema.BuiltinOperator
Type = schema.TensorType

# A flatbuffer's offsets are signed 32-bit; larger models keep buffers outside, which we refuse.
_LARGEST = 2**31 - 1
_IDENTIFIER = b"TFL3"
# The schema asks for this alignment of constants; the generated Python code does not provide it.
_ALIGNMENT = 16
# What the generated readers raise on bytes that are not what they should be.
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)

DTYPE: dict[int, type] = {
    Type.FLOAT32: np.float32,
    Type.FLOAT16: np.float16,
    Type.INT32: np.int32,
    Type.INT16: np.int16,
    Type.INT8: np.int8,
    Type.UINT8: np.uint8,
    Type.INT64: np.int64,
    Type.UINT16: np.uint16,
    Type.UINT32: np.uint32,
    Type.UINT64: np.uint64,
    Type.FLOAT64: np.float64,
    Type.BOOL: np.bool_,
}


class _AlignedBuffer(schema.BufferT):
    """A buffer whose data start at a multiple of 16 bytes in the file."""

    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  (the schema's name)
        if self.data is not None:
            data = np.asarray(self.data, np.uint8).tobytes()
            builder.StartVector(1, len(data), _ALIGNMENT)
            builder.head -= len(data)
            builder.Bytes[builder.head : builder.head + len(data)] = data
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def read_model(data: bytes, name: str = "The file") -> schema.ModelT:
    """Parse a .tflite file into schema objects and check that all its references hold.

    Args:
        data: the whole file.
        name: how an error calls the file.

    Raises:
        HashBWNError: no .tflite file, damaged, truncated, or over 2 GB.
    """
    if len(data) > _LARGEST:
        raise HashBWNError(f"{name} has {len(data)} bytes: files over 2 GB cannot be edited.")
    if data[4:8] != _IDENTIFIER:
        raise HashBWNError(
            f"{name} is no .tflite file (identifier {bytes(data[4:8])!r}, not TFL3): give one that "
            "a converter wrote."
        )
    with damage_named(name):
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        _check(model)
    if any(getattr(buffer, "offset", 0) > 1 for buffer in model.buffers):
        raise HashBWNError(f"{name} keeps weights outside the flatbuffer, as files over 2 GB do.")
    return model


@contextmanager
def damage_named(name: str) -> Iterator[None]:
    """Turn what readers raise on senseless bytes into a HashBWNError about the file ``name``."""
    try:
        yield
    except HashBWNError:
        raise
    except _DAMAGE as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise HashBWNError(
            f"{name} is damaged or truncated ({reason[0][:200]}): convert it again."
        ) from error


def _check(model: schema.ModelT) -> None:
    """Raise ValueError unless every index points somewhere and every constant has its size."""
    if not model.subgraphs or not model.buffers or model.operatorCodes is None:
        raise ValueError("no subgraph, buffer or operator code")
    _check_names(model)
    for graph in model.subgraphs:
        count = len(graph.tensors)
        operators = graph.operators or []
        used = [*indices(graph.inputs), *indices(graph.outputs)]
        used += [i for operator in operators for i in _references(operator) if i != -1]
        if any(not 0 <= index < count for index in used):
            raise ValueError("an operator refers to a missing tensor")
        if any(not 0 <= o.opcodeIndex < len(model.operatorCodes) for o in operators):
            raise ValueError("an operator has no operator code")
        for tensor in graph.tensors:
            if not 0 <= tensor.buffer < len(model.buffers):
                raise ValueError("a tensor refers to a missing buffer")
            _check_size(model, tensor)


def _check_names(model: schema.ModelT) -> None:
    """Raise ValueError unless signatures and metadata name what is there."""
    for signature in model.signatureDefs or []:
        if not 0 <= signature.subgraphIndex < len(model.subgraphs):
            raise ValueError("a signature refers to a missing subgraph")
        count = len(model.subgraphs[signature.subgraphIndex].tensors)
        entries = [*(signature.inputs or []), *(signature.outputs or [])]
        if any(not 0 <= entry.tensorIndex < count for entry in entries):
            raise ValueError("a signature refers to a missing tensor")
    if any(not 0 <= entry.buffer < len(model.buffers) for entry in model.metadata or []):
        raise ValueError("metadata refer to a missing buffer")


def _check_size(model: schema.ModelT, tensor: schema.TensorT) -> None:
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data) or tensor.sparsity is not None or tensor.type not in DTYPE:
        return
    expected = (
        int(np.prod(shape_of(tensor), dtype=np.int64)) * np.dtype(DTYPE[tensor.type]).itemsize
    )
    if len(data) != expected:
        raise ValueError(f"a constant has {len(data)} bytes where its shape needs {expected}")


def write_model(model: schema.ModelT) -> bytes:
    """Serialise ``model``, with every constant aligned to 16 bytes.

    Raises:
        HashBWNError: the file would exceed 2 GB.
    """
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    size = sum(len(b.data) for b in model.buffers if b.data is not None)
    if size > _LARGEST - 2**20:
        raise HashBWNError(f"The file would have {size} bytes: .tflite files end at 2 GB.")
    builder = flatbuffers.Builder(size + 2**16)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def indices(values: Any) -> list[int]:
    """Return a vector of the schema, which may be None or an array, as a list."""
    return [] if values is None else [int(value) for value in values]


def _references(operator: schema.OperatorT) -> list[int]:
    fields = (operator.inputs, operator.outputs, operator.intermediates)
    return [index for field in fields for index in indices(field)]


def shape_of(tensor: schema.TensorT) -> tuple[int, ...]:
    """Return the shape of a tensor, () for scalars and unknown ranks."""
    return tuple(indices(tensor.shape))


def builtin_code(code: schema.OperatorCodeT) -> int:
    """Return the builtin code; files written before 2020 only fill the deprecated field."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def operator_code(
    model: schema.ModelT, builtin: int, version: int = 1, custom_name: str = ""
) -> int:
    """Return the index of an operator code, adding it where the model has none such."""
    wanted = (builtin, version, custom_name.encode())
    for index, code in enumerate(model.operatorCodes):
        if (builtin_code(code), code.version, code.customCode or b"") == wanted:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode = builtin
    # The old field is 8 bits; 127 says "look at the new one".
    code.deprecatedBuiltinCode = min(builtin, 127)
    code.version = version
    code.customCode = custom_name.encode() or None
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def compact(model: schema.ModelT) -> None:
    """Drop tensors, buffers and operator codes that nothing uses, and the names of inner tensors.

    Inputs, outputs, signatures and metadata keep their meaning.
    """
    for index, graph in enumerate(model.subgraphs):
        signatures = [s for s in model.signatureDefs or [] if s.subgraphIndex == index]
        _compact_tensors(graph, signatures)
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]
    metadata = model.metadata or []
    # Buffer 0 is the empty one by convention.
    used = sorted({0} | {owner.buffer for owner in [*tensors, *metadata]})
    place = {old: new for new, old in enumerate(used)}
    model.buffers = [model.buffers[old] for old in used]
    for owner in [*tensors, *metadata]:
        owner.buffer = place[owner.buffer]
    # The oldest form of metadata: bare buffer indices, which no reader of today uses.
    model.metadataBuffer = None
    operators = [o for graph in model.subgraphs for o in graph.operators or []]
    codes = sorted({operator.opcodeIndex for operator in operators})
    model.operatorCodes = [model.operatorCodes[old] for old in codes]
    for operator in operators:
        operator.opcodeIndex = codes.index(operator.opcodeIndex)


def _compact_tensors(graph: schema.SubGraphT, signatures: list[schema.SignatureDefT]) -> None:
    maps = [m for s in signatures for m in [*(s.inputs or []), *(s.outputs or [])]]
    named = {*indices(graph.inputs), *indices(graph.outputs), *(m.tensorIndex for m in maps)}
    used = sorted(named.union(*(_references(o) for o in graph.operators or [])) - {-1})
    place = {old: new for new, old in enumerate(used)} | {-1: -1}

    def moved(values: Any) -> Any:
        return None if values is None else np.array([place[i] for i in indices(values)], np.int32)

    for index in set(used) - named:
        graph.tensors[index].name = b""
    graph.tensors = [graph.tensors[old] for old in used]
    graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)
    for operator in graph.operators or []:
        operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
        operator.intermediates = moved(operator.intermediates)
    for entry in maps:
        entry.tensorIndex = place[entry.tensorIndex]
