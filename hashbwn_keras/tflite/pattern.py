"""Recognising the operator patterns of docs/format.md, from the consumer backwards."""

from typing import NamedTuple, TypeGuard

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import Builtin
from hashbwn_keras.tflite.levels import MOST_BITS
from hashbwn_keras.tflite.packing import WORD_BITS, unpack_stream
from hashbwn_keras.tflite.subgraph import Graph

Activation = schema.ActivationFunctionType
# RESHAPE, STRIDED_SLICE, RESHAPE; a damaged file may go in circles.
_MOST_RESHAPES = 3
MINUS_ONE = np.array([-1], np.int32)
TABLE_RANK = 7
"""Dimensions in which a table of levels times α is computed: more than XNNPACK takes."""
# Multiplying by powers[k] shifts bit k of a word into the sign.
POWERS = (1 << np.arange(WORD_BITS - 1, -1, -1, dtype=np.int64)).astype(np.int32).reshape(1, -1)


def level_values(bits: int) -> np.ndarray:
    """Return the levels of a code, from the lowest: float32 −(2ⁿ − 1), …, −1, 1, …, 2ⁿ − 1."""
    return np.arange(1 - 2**bits, 2**bits, 2, dtype=np.float32)


def doubled(bits: int) -> np.ndarray:
    """Return what a number of ``bits`` bits becomes with a 0 and with a 1 behind it."""
    return np.arange(2 ** (bits + 1), dtype=np.int32).reshape(-1, 2)


class Stream(NamedTuple):
    """The constants of a packed filter.

    Attributes:
        planes: int32 words of each bit of the codes, the most significant first.
        values: float32 or int8 ``[channels]``, what a code of 1 stands for.
        nbytes: bytes of all the constants of this filter alone.
    """

    planes: tuple[np.ndarray, ...]
    values: np.ndarray
    nbytes: int

    def codes(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return int8 odd levels in the shape of the filter."""
        codes = np.zeros(shape, np.int8)
        for words in self.planes:
            codes = 2 * codes + unpack_stream(words, shape)
        return codes


class _Chosen(NamedTuple):
    """What the numbers of levels, a tensor, choose from; values and nbytes as in Stream."""

    values: np.ndarray
    nbytes: int
    bits: int
    numbers: int


def match_packed(graph: Graph, tensor: int, axis: int) -> Stream | None:
    """Return what the filter ``tensor`` is decoded from, or None if it is not packed.

    Args:
        graph: the subgraph.
        tensor: index of the filter.
        axis: its axis of output channels.
    """
    shape = graph.shape(tensor)
    if len(shape) <= axis:
        return None
    match = _match_rows if axis == 0 else _match_scaled
    found = match(graph, tensor, shape[axis]) or _match_row(graph, tensor, shape[axis])
    if found is None:
        return None
    planes = _match_index(graph, found.numbers, int(np.prod(shape, dtype=np.int64)))
    if planes is None or len(planes) != found.bits:
        return None
    return Stream(planes, found.values, found.nbytes + sum(words.nbytes for words in planes))


def _match_rows(graph: Graph, tensor: int, outputs: int) -> _Chosen | None:
    """Match a filter whose channels each have a row of values to choose from."""
    gather = _gather(graph, tensor, axis=1, batches=1)
    if gather is None:
        return None
    source, index = int(gather.inputs[0]), int(gather.inputs[1])
    table = graph.constant(source)
    if table is None:
        return _match_computed(graph, source, outputs, index)
    if table.ndim != 2 or table.shape[0] != outputs:
        return None
    return _chosen(table, table.nbytes, index)


def _match_row(graph: Graph, tensor: int, outputs: int) -> _Chosen | None:
    """Match an int8 filter whose channels all choose from the same values."""
    gather = _gather(graph, tensor, axis=0, batches=0)
    table = None if gather is None else graph.constant(int(gather.inputs[0]))
    if gather is None or table is None or table.ndim != 1 or table.dtype != np.int8:
        return None
    found = _chosen(table[None], table.nbytes, int(gather.inputs[1]))
    return None if found is None else found._replace(values=np.repeat(found.values, outputs))


def _match_scaled(graph: Graph, tensor: int, outputs: int) -> _Chosen | None:
    """Match a float filter with channels last: levels, multiplied by α."""
    scale = _producer(graph, tensor, Builtin.MUL)
    gather = None if scale is None else _gather(graph, int(scale.inputs[0]), axis=0, batches=0)
    if scale is None or gather is None or _activation(scale) != Activation.NONE:
        return None
    levels, values = graph.constant(int(gather.inputs[0])), graph.constant(int(scale.inputs[1]))
    if levels is None or not _are_scales(values, outputs) or levels.ndim != 1:
        return None
    found = _chosen(levels[None], values.nbytes, int(gather.inputs[1]))
    return None if found is None or found.values[0] != 1 else found._replace(values=values)


def _match_computed(graph: Graph, tensor: int, outputs: int, index: int) -> _Chosen | None:
    """Match a table ``[channels, 2ⁿ]`` of all levels times all α, computed at load."""
    reshape = _producer(graph, tensor, Builtin.RESHAPE)
    product = None if reshape is None else _producer(graph, int(reshape.inputs[0]), Builtin.MUL)
    if product is None or _activation(product) != Activation.NONE:
        return None
    values, levels = (_match_tiled(graph, int(i), outputs) for i in product.inputs)
    if values is None or levels is None or not _are_scales(values.reshape(-1), outputs):
        return None
    found = _chosen(levels.reshape(1, -1), values.nbytes, index)
    if found is None or found.values[0] != 1 or graph.shape(tensor) != (outputs, levels.size):
        return None
    return found._replace(values=values.reshape(-1))


def _match_tiled(graph: Graph, tensor: int, outputs: int) -> np.ndarray | None:
    """Return the constant that TILE repeats to ``[1, …, 1, channels, 2ⁿ]``."""
    tile = _producer(graph, tensor, Builtin.TILE)
    constant = None if tile is None else graph.constant(int(tile.inputs[0]))
    if tile is None or constant is None or constant.ndim < 2:
        return None
    times = graph.constant(int(tile.inputs[1]))
    if times is None or times.shape != (constant.ndim,):
        return None
    tiled = [size * int(n) for size, n in zip(constant.shape, times, strict=True)]
    fits = tiled[:-1] == [1] * (constant.ndim - 2) + [outputs]
    return constant if fits and 1 in constant.shape[-2:] else None


def _are_scales(values: np.ndarray | None, outputs: int) -> TypeGuard[np.ndarray]:
    return (
        values is not None
        and values.dtype == np.float32
        and values.shape == (outputs,)
        and bool(np.all(values >= 0))
    )


def _chosen(table: np.ndarray, nbytes: int, index: int) -> _Chosen | None:
    """Check that the rows of a table are the levels of some length of code times one value each."""
    bits = table.shape[1].bit_length() - 1
    if not 1 <= bits <= MOST_BITS or table.shape[1] != 2**bits:
        return None
    values = table[:, 2 ** (bits - 1)]
    wanted = values[:, None].astype(np.float32) * level_values(bits)
    if not np.all(values >= 0) or not np.array_equal(table.astype(np.float32), wanted):
        return None
    return _Chosen(values, nbytes, bits, index)


def _gather(graph: Graph, tensor: int, axis: int, batches: int) -> schema.OperatorT | None:
    operator = _producer(graph, tensor, Builtin.GATHER)
    options = None if operator is None else operator.builtinOptions
    return operator if options and (options.axis, options.batchDims) == (axis, batches) else None


def _match_index(graph: Graph, shaped: int, size: int) -> tuple[np.ndarray, ...] | None:
    """Return the words of all bits of the ``size`` numbers in the tensor ``shaped``."""
    index = _skip_reshapes(graph, shaped)
    planes: list[np.ndarray | None] = []
    tables: list[np.ndarray | None] = []
    while (low := _gather(graph, index, axis=2, batches=2)) is not None:
        both = _gather(graph, int(low.inputs[0]), axis=0, batches=0)
        if both is None or len(planes) == MOST_BITS:
            return None
        planes.append(_match_plane(graph, int(low.inputs[1]), size))
        tables.append(graph.constant(int(both.inputs[0])))
        index = int(both.inputs[1])
    planes.append(_match_plane(graph, index, size))
    if any(not _is(t, doubled(k)) for k, t in enumerate(reversed(tables), 1)):
        return None
    found = tuple(words for words in reversed(planes) if words is not None)
    return found if len(found) == len(planes) else None


def _match_plane(graph: Graph, bits: int, size: int) -> np.ndarray | None:
    """Return the words that ``size`` bits, 32 a row, come from."""
    ones_and_zeros = _producer(graph, bits, Builtin.MUL)
    if ones_and_zeros is None:
        return None
    signs = _producer(graph, int(ones_and_zeros.inputs[0]), Builtin.MUL)
    if signs is None or not (
        _multiplies(graph, ones_and_zeros, MINUS_ONE, Activation.RELU6)
        and _multiplies(graph, signs, POWERS, Activation.RELU_N1_TO_1)
    ):
        return None
    words = graph.constant(int(signs.inputs[0]))
    if words is None or words.dtype != np.int32 or words.size != -(-size // WORD_BITS):
        return None
    return words


def _producer(graph: Graph, tensor: int, kind: int) -> schema.OperatorT | None:
    operator = graph.producers.get(tensor)
    return operator if operator is not None and graph.kind(operator) == kind else None


def _skip_reshapes(graph: Graph, tensor: int) -> int:
    """Follow RESHAPE and a STRIDED_SLICE from the start back to what they rearrange."""
    for _ in range(_MOST_RESHAPES):
        operator = graph.producers.get(tensor)
        if operator is None or graph.kind(operator) not in (
            Builtin.RESHAPE,
            Builtin.STRIDED_SLICE,
        ):
            return tensor
        if graph.kind(operator) == Builtin.STRIDED_SLICE:
            begin, strides = (graph.constant(int(operator.inputs[i])) for i in (1, 3))
            if begin is None or strides is None or begin.any() or (strides != 1).any():
                return tensor
        tensor = int(operator.inputs[0])
    return tensor


def _multiplies(
    graph: Graph, operator: schema.OperatorT, factor: np.ndarray, activation: int
) -> bool:
    value = graph.constant(int(operator.inputs[1]))
    return _is(value, factor) and _activation(operator) == activation


def _is(value: np.ndarray | None, wanted: np.ndarray) -> bool:
    return value is not None and value.dtype == wanted.dtype and np.array_equal(value, wanted)


def _activation(operator: schema.OperatorT) -> int | None:
    options = operator.builtinOptions
    return None if options is None else options.fusedActivationFunction
