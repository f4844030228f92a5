"""Filters that a file computes from constants at every run, as constants.

TensorFlow's converter folds most kernel quantizers, but leaves those of large kernels and of layers
that are called twice.
"""

import copy

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.errors import HashBWNError, first_line
from hashbwn_keras.runtime.apart import Apart, Limits
from hashbwn_keras.runtime.engines import Engine, tensorflow_lite
from hashbwn_keras.tflite.filters import read_filters
from hashbwn_keras.tflite.flatbuffer import compact, damage_named, indices, write_model
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.subgraph import Graph

_Operators = list[schema.OperatorT]


def with_folded_filters(content: bytes, name: str, trusted: bool) -> bytes:
    """Return the file with every filter as a constant that is computed from nothing but constants.

    Args:
        content: the file.
        name: how an error calls it.
        trusted: whether it may be computed in this process.

    Raises:
        HashBWNError: the file is damaged, or TensorFlow Lite cannot compute its filters.
    """
    flat, filters = read_filters(content, name)
    with damage_named(name):
        chains: dict[int, tuple[Graph, dict[int, _Operators]]] = {}
        for found in filters:
            chain = _chain(found.graph, found.tensor) if found.storage == Storage.OTHER else None
            if chain is not None:
                chains.setdefault(found.graph.index, (found.graph, {}))[1][found.tensor] = chain
        if not chains:
            return content
        for graph, targets in chains.values():
            _fold(graph, targets, _compute(_part(graph, targets), name, trusted))
        compact(flat)
        return write_model(flat)


def _chain(graph: Graph, tensor: int) -> _Operators | None:
    """Return the operators that compute a tensor, in order; None if not from constants alone."""
    chain: dict[int, schema.OperatorT] = {}
    waiting = [tensor]
    while waiting:
        index = waiting.pop()
        operator = graph.producers.get(index)
        if operator is None:
            data = graph.model.buffers[graph.tensor(index).buffer].data
            if data is None or not len(data):
                return None
        elif id(operator) not in chain:
            if graph.custom_name(operator) or not len(indices(operator.inputs)):
                return None
            chain[id(operator)] = operator
            waiting += [i for i in indices(operator.inputs) if i >= 0]
    return [operator for operator in graph.operators if id(operator) in chain]


def _part(graph: Graph, targets: dict[int, _Operators]) -> bytes:
    """Return a file without inputs that computes the targets."""
    wanted = {id(operator) for chain in targets.values() for operator in chain}
    part = schema.ModelT()
    part.version = graph.model.version
    part.buffers = list(graph.model.buffers)
    part.operatorCodes = list(graph.model.operatorCodes)
    subgraph = schema.SubGraphT()
    subgraph.tensors = copy.deepcopy(graph.graph.tensors)
    subgraph.operators = copy.deepcopy([o for o in graph.operators if id(o) in wanted])
    subgraph.inputs, subgraph.outputs = np.zeros(0, np.int32), np.array(list(targets), np.int32)
    part.subgraphs = [subgraph]
    compact(part)
    return write_model(part)


def _compute(part: bytes, name: str, trusted: bool) -> list[np.ndarray]:
    try:
        if trusted:
            return _run(tensorflow_lite().load(part))
        with Apart(Limits.for_file(part, 0)) as apart:
            return _run(apart.load(tensorflow_lite(), part))
    except (RuntimeError, ValueError) as error:
        raise HashBWNError(
            f"{name} computes filters from constants, which TensorFlow Lite cannot do "
            f"({first_line(error)}): convert the Keras model with hashbwn_keras.export.to_tflite."
        ) from error


def _run(engine: Engine) -> list[np.ndarray]:
    engine.prepare([])
    return engine.run([])


def _fold(graph: Graph, targets: dict[int, _Operators], values: list[np.ndarray]) -> None:
    """Make constants of the targets, and drop the operators that nothing needs any more."""
    for tensor, value in zip(targets, values, strict=True):
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(value).tobytes(), np.uint8)
        graph.model.buffers.append(buffer)
        graph.tensor(tensor).buffer = len(graph.model.buffers) - 1
    candidates = {id(operator) for chain in targets.values() for operator in chain}
    used = set(indices(graph.graph.outputs)) - set(targets)
    kept: _Operators = []
    for operator in reversed(graph.operators):
        outputs = set(indices(operator.outputs)) - set(targets)
        if id(operator) in candidates and not outputs & used:
            continue
        kept.append(operator)
        used |= set(indices(operator.inputs)) - set(targets)
    graph.graph.operators = kept[::-1]
