"""What goes into a file and comes out of it: names, order, shapes, types, quantization."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import DTYPE, damage_named, indices, read_model, write_model
from hashbwn_keras.tflite.provenance import read_provenance

FREE = -1
"""A size that is fixed only when the file is run."""


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: in the signature, which is the name of the Keras input or output, else the tensor's.
        position: among the inputs or outputs of the file.
        shape: batch first; :data:`FREE` where the file takes any size.
        dtype: element type; object for one that arrays do not have.
        scale: of quantized values, 0 for others.
        zero: zero point of quantized values.
    """

    name: str
    position: int
    shape: tuple[int, ...]
    dtype: np.dtype
    scale: float = 0.0
    zero: int = 0

    @property
    def batch(self) -> int:
        """How many samples the file takes at a time; 1 where it takes any number."""
        return self.shape[0] if self.shape and self.shape[0] != FREE else 1

    def quantized(self, values: np.ndarray) -> np.ndarray:
        """Convert real values to what the file holds; arrays of its own type stay as they are."""
        if not self.scale or values.dtype == self.dtype:
            return np.ascontiguousarray(values, self.dtype)
        limits = np.iinfo(self.dtype)
        with np.errstate(over="ignore"):  # what is out of range is clipped
            steps = np.rint(values / np.float32(self.scale)) + self.zero
        return np.clip(steps, limits.min, limits.max).astype(self.dtype)

    def real(self, values: np.ndarray) -> np.ndarray:
        """Convert what the file holds to real values."""
        if not self.scale:
            return values
        with np.errstate(over="ignore"):
            return (values.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


@dataclass(frozen=True)
class Interface:
    """Inputs and outputs of a file, in the order of the Keras model it was made from.

    Of files that do not tell that order, in the order of the first signature; without one, in
    that of the file.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


def read_interface(model: schema.ModelT, name: str = "The file") -> Interface:
    """Return what goes into the first subgraph of a checked model and comes out of it.

    Args:
        model: the parsed file.
        name: how an error calls it.

    Raises:
        HashBWNError: a size or scale is none.
    """
    told = read_provenance(model)
    with damage_named(name):
        return Interface(
            _ports(model, "inputs", told.inputs), _ports(model, "outputs", told.outputs)
        )


def _ports(model: schema.ModelT, side: str, order: list[str]) -> tuple[Port, ...]:
    graph = model.subgraphs[0]
    tensors = indices(getattr(graph, side))
    signature = next((s for s in model.signatureDefs or [] if s.subgraphIndex == 0), None)
    entries = [] if signature is None else getattr(signature, side) or []
    names = {_text(entry.name): entry.tensorIndex for entry in entries}
    if sorted(names.values()) != sorted(tensors):  # a signature of something else
        return tuple(_port(graph, tensor, i, "") for i, tensor in enumerate(tensors))
    if sorted(order) == sorted(names):
        names = {name: names[name] for name in order}
    return tuple(
        _port(graph, tensor, tensors.index(tensor), name) for name, tensor in names.items()
    )


def _port(graph: schema.SubGraphT, index: int, position: int, name: str) -> Port:
    tensor = graph.tensors[index]
    shape, free = indices(tensor.shape), indices(tensor.shapeSignature)
    if len(free) == len(shape):
        shape = [FREE if size == FREE else shape[i] for i, size in enumerate(free)]
    if any(size < 1 and size != FREE for size in shape):
        raise ValueError(f"an input or output has the shape {shape}")
    dtype: np.dtype = np.dtype(DTYPE.get(tensor.type, object))
    quantization = tensor.quantization
    scale, zero = 0.0, 0
    quantized = dtype.kind in "iu" and quantization is not None and quantization.scale is not None
    if quantized and len(quantization.scale):
        points = indices(quantization.zeroPoint) or [0]
        scale, zero = float(quantization.scale[0]), points[0]
        if not 0 < scale < np.inf:
            raise ValueError(f"an input or output has the scale {scale}")
    return Port(name or _text(tensor.name), position, tuple(shape), dtype, scale, zero)


def _text(name: bytes | None) -> str:
    return (name or b"").decode(errors="replace")


def with_input_shapes(content: bytes, shapes: Sequence[tuple[int, ...]]) -> bytes:
    """Return the file with other input shapes, in its own order, for runtimes that cannot resize.

    They work out the other shapes when they load it.
    """
    model = read_model(content)
    graph = model.subgraphs[0]
    for tensor, shape in zip(indices(graph.inputs), shapes, strict=True):
        graph.tensors[tensor].shape = np.array(shape, np.int32)
    return write_model(model)
