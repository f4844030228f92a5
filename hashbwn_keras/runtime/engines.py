"""Running a file in every interpreter that is installed."""

import importlib
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite.flatbuffer import Type
from hashbwn_keras.tflite.subgraph import Graph, operator_histogram

Batch = list[np.ndarray]
Run = Callable[[list[Batch]], list[Batch]]
"""Takes samples, each a list of arrays ``[1, ...]`` in the order of the subgraph's inputs."""

# Name -> module of the interpreter, distribution that holds it.
_RUNTIMES = {
    "tf.lite": ("tensorflow.lite.python.interpreter", "tensorflow"),
    "ai_edge_litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime"),
    "larq_compute_engine": (
        "larq_compute_engine.tflite.python.interpreter",
        "larq-compute-engine",
    ),
}
_LCE_OPERATORS = {"LceBconv2d", "LceBMaxPool2d", "LceDequantize", "LceQuantize"}


class Runtime(NamedTuple):
    """An installed interpreter."""

    name: str
    version: str
    module: Any


def installed() -> list[Runtime]:
    """Return the interpreters that can be imported here."""
    found = []
    for name, (module, distribution) in _RUNTIMES.items():
        try:
            found.append(Runtime(name, version(distribution), importlib.import_module(module)))
        except ImportError:  # PackageNotFoundError is one, too
            continue
    return found


def why_not(runtime: Runtime, flat: schema.ModelT) -> str:
    """Return why ``runtime`` lacks an operator of the file, "" where it does not."""
    custom = {
        (code.customCode or b"").decode(errors="replace")
        for code in flat.operatorCodes
        if code.customCode
    }
    known = _LCE_OPERATORS if runtime.name == "larq_compute_engine" else set()
    missing = sorted((custom - known) & set(operator_histogram(flat)))
    return f"it has no operator {missing[0]}" if missing else ""


def runner(runtime: Runtime, data: bytes, num_threads: int = 1) -> Run:
    """Load a file into an interpreter.

    Raises:
        RuntimeError, ValueError: the interpreter refuses the file.
    """
    if runtime.name == "larq_compute_engine":
        return _lce_runner(runtime, data, num_threads)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        interpreter = runtime.module.Interpreter(model_content=data, num_threads=num_threads)
    interpreter.allocate_tensors()
    inputs = [detail["index"] for detail in interpreter.get_input_details()]
    outputs = [detail["index"] for detail in interpreter.get_output_details()]

    def run(samples: list[Batch]) -> list[Batch]:
        results = []
        for sample in samples:
            for index, array in zip(inputs, sample, strict=True):
                interpreter.set_tensor(index, array)
            interpreter.invoke()
            results.append([interpreter.get_tensor(index) for index in outputs])
        return results

    return run


def _lce_runner(runtime: Runtime, data: bytes, num_threads: int) -> Run:
    interpreter = runtime.module.Interpreter(data, num_threads=num_threads)

    def run(samples: list[Batch]) -> list[Batch]:
        results = []
        for sample in samples:
            output = interpreter.predict(sample)
            results.append(output if isinstance(output, list) else [output])
        return results

    return run


def input_positions(flat: schema.ModelT, names: list[str]) -> list[int]:
    """Return, for each input of the main subgraph, which of the Keras inputs it is."""
    return _positions(flat, names, "inputs")


def output_positions(flat: schema.ModelT, names: list[str]) -> list[int]:
    """Return, for each output of the main subgraph, which of the Keras outputs it is."""
    return _positions(flat, names, "outputs")


def _positions(flat: schema.ModelT, names: list[str], side: str) -> list[int]:
    """Match by the names of the first signature; by order where there is none."""
    tensors = [int(index) for index in getattr(flat.subgraphs[0], side)]
    signatures = [s for s in flat.signatureDefs or [] if s.subgraphIndex == 0]
    entries = getattr(signatures[0], side) if signatures else []
    name_of = {entry.tensorIndex: entry.name.decode() for entry in entries}
    found = [names.index(n) if (n := name_of.get(t)) in names else -1 for t in tensors]
    return found if sorted(found) == list(range(len(names))) else list(range(len(tensors)))


def quantize(graph: Graph, tensor: int, values: np.ndarray) -> np.ndarray:
    """Convert real values to what the tensor holds."""
    dtype = {Type.INT8: np.int8, Type.UINT8: np.uint8}.get(graph.tensor(tensor).type)
    if dtype is None:
        return values
    scale, zero = _scale(graph, tensor)
    limits = np.iinfo(dtype)
    return np.clip(np.rint(values / scale) + zero, limits.min, limits.max).astype(dtype)


def dequantize(graph: Graph, tensor: int, values: np.ndarray) -> np.ndarray:
    """Convert what the tensor holds to real values."""
    if graph.tensor(tensor).type not in (Type.INT8, Type.UINT8):
        return values
    scale, zero = _scale(graph, tensor)
    return (values.astype(np.float32) - zero) * scale


def _scale(graph: Graph, tensor: int) -> tuple[float, int]:
    quantization = graph.tensor(tensor).quantization
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])
