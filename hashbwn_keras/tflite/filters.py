"""Finding the filters of a .tflite file."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import names
from hashbwn_keras.tflite.flatbuffer import Builtin, Type, damage_named, read_model
from hashbwn_keras.tflite.levels import bits_of
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.provenance import Provenance
from hashbwn_keras.tflite.stored import Integers, Stored, read_lce, read_stored
from hashbwn_keras.tflite.subgraph import Graph, graphs

_CONSUMER = {getattr(Builtin, consumer.name): consumer for consumer in names.BUILTIN_CONSUMERS}


@dataclass(frozen=True)
class Filter:
    """A filter of a file.

    Attributes:
        graph: the subgraph it is in.
        tensor: index of the tensor that the consumers read.
        consumers: the operators that use it, in the order of execution.
        kind: what they are.
        shape: shape of the filter as TFLite has it (OHWI, 1HWO or OI).
        stored: how the file holds it, and what it says.
    """

    graph: Graph = field(repr=False)
    tensor: int
    consumers: tuple[schema.OperatorT, ...] = field(repr=False)
    kind: names.Consumer
    shape: tuple[int, ...]
    stored: Stored

    @property
    def axis(self) -> int:
        """The axis that counts output channels."""
        return self.kind.axis

    @property
    def storage(self) -> Storage:
        """In which form the file holds it."""
        return self.stored.storage

    @property
    def nbytes(self) -> int:
        """Bytes of the constants that hold it, scales included."""
        return self.stored.nbytes

    @property
    def binary(self) -> bool:
        """Whether the filter is codes times one α per output channel: ±α with one bit."""
        return self.stored.levels is not None

    @property
    def codes(self) -> np.ndarray:
        """The codes of a binary filter, int8 odd levels in ``shape``."""
        assert self.stored.levels is not None
        return self.stored.levels.codes

    @property
    def scales(self) -> np.ndarray:
        """The α of a binary filter, float32 ``[channels]``, ≥ 0."""
        assert self.stored.levels is not None
        return self.stored.levels.scales

    @property
    def integers(self) -> Integers | None:
        """Of an int8 binary filter, how it holds its codes."""
        return self.stored.integers

    @property
    def bits(self) -> int:
        """Bits of a code; 0 of a filter that is not binary."""
        return bits_of(self.codes) if self.binary else 0

    @property
    def packed(self) -> bool:
        """Whether the file spends one bit on a bit of a code."""
        return self.storage.packed

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def has_float_input(self) -> bool:
        """Whether the layer computes with float activations."""
        return self.graph.tensor(int(self.consumers[0].inputs[0])).type == Type.FLOAT32

    def rows(self) -> np.ndarray:
        """Return the codes of a binary filter as ``[channels, weights per channel]``."""
        return np.moveaxis(self.codes, self.axis, 0).reshape(self.shape[self.axis], -1)


def read_filters(data: bytes, name: str = "The file") -> tuple[schema.ModelT, list[Filter]]:
    """Parse a file and list its filters, each once, in the order of their first consumers.

    Args:
        data: the whole file.
        name: how an error calls it.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.tflite.flatbuffer.read_model`.
    """
    model = read_model(data, name)
    with damage_named(name):
        return model, [found for graph in graphs(model) for found in _graph_filters(graph)]


def filter_names(provenance: Provenance, filters: Sequence[Filter]) -> list[str]:
    """Return a name for each filter of a file: the Keras layer where the file says so.

    Args:
        provenance: what the file says about its making.
        filters: all of them, in order.
    """
    said = provenance.layers
    names = said if len(said) == len(filters) else [""] * len(filters)
    return [
        name or found.graph.name(found.tensor) or f"tensor {found.tensor}"
        for name, found in zip(names, filters, strict=True)
    ]


def _graph_filters(graph: Graph) -> list[Filter]:
    """List the filters of one subgraph, each once, in the order of their first consumers."""
    consumers: dict[int, list[schema.OperatorT]] = {}
    for operator in graph.operators:
        if _consumer(graph, operator) is not None and operator.inputs[1] >= 0:
            consumers.setdefault(int(operator.inputs[1]), []).append(operator)
    return [_filter(graph, tensor, tuple(users)) for tensor, users in consumers.items()]


def _consumer(graph: Graph, operator: schema.OperatorT) -> names.Consumer | None:
    if graph.custom_name(operator) == names.LCE_CONVOLUTION.name:
        return names.LCE_CONVOLUTION
    return _CONSUMER.get(graph.kind(operator))


def _filter(graph: Graph, tensor: int, consumers: tuple[schema.OperatorT, ...]) -> Filter:
    kind = _consumer(graph, consumers[0])
    assert kind is not None
    shape = graph.shape(tensor)
    if kind == names.LCE_CONVOLUTION:
        shape, stored = read_lce(graph, consumers[0])
    else:
        stored = read_stored(graph, consumers[0], kind.axis)
    return Filter(graph, tensor, consumers, kind, shape, stored)
