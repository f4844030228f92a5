"""The interpreters that may be installed, behind one protocol."""

import importlib
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.tflite import names
from hashbwn_keras.tflite.flatbuffer import read_model, shape_of
from hashbwn_keras.tflite.signature import FREE, read_interface, with_input_shapes
from hashbwn_keras.tflite.subgraph import custom_operators, operator_histogram

Shapes = Sequence[tuple[int, ...]]


class Engine(Protocol):
    """A file, loaded. Inputs and outputs are in the order of the file.

    Recurrent layers keep their state from run to run in TensorFlow Lite and begin anew in Keras:
    every run begins anew.

    Whatever does not work raises RuntimeError or ValueError, as the interpreters do.
    """

    def prepare(self, shapes: Shapes) -> None:
        """Make room for inputs of these shapes; cheap where they are those of before."""

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Compute once, on arrays of the shapes prepared for and of the file's own types."""


class Installed(NamedTuple):
    """An interpreter that can be imported here."""

    runtime: names.Runtime
    version: str
    module: Any

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.runtime.name

    def load(self, content: bytes, num_threads: int = 1) -> Engine:
        """Load a file.

        Raises:
            RuntimeError, ValueError: the interpreter refuses it.
        """
        if self.runtime == names.LCE:
            return LceEngine(content, num_threads)
        return LiteEngine(content, num_threads, self.module)


def installed() -> list[Installed]:
    """Return the interpreters that can be imported here."""
    found = []
    for runtime in names.RUNTIMES:
        try:
            module = importlib.import_module(runtime.module)
            found.append(Installed(runtime, version(runtime.distribution), module))
        except ImportError:  # PackageNotFoundError is one, too
            continue
    return found


def tensorflow_lite() -> Installed:
    """Return TensorFlow's own interpreter, which is always there."""
    return next(found for found in installed() if found.runtime == names.TENSORFLOW)


def why_not(runtime: names.Runtime, flat: schema.ModelT) -> str:
    """Return why ``runtime`` lacks an operator of the file, "" where it does not."""
    known = set(names.LCE_OPERATORS) if runtime == names.LCE else set()
    used = set(operator_histogram(flat))
    missing = sorted((custom_operators(flat) - known) & used)
    return f"it has no operator {missing[0]}" if missing else ""


def needs_lce(flat: schema.ModelT) -> bool:
    """Whether a file has operators that only Larq Compute Engine knows."""
    return bool(custom_operators(flat) & set(names.LCE_OPERATORS))


class LiteEngine:
    """An interpreter of TensorFlow Lite or LiteRT, with our delegate if asked."""

    def __init__(
        self, content: bytes, num_threads: int, module: Any, delegate: Path | None = None
    ) -> None:
        """Load a file; ``module`` holds the interpreter's class and ``load_delegate``."""
        delegates = [module.load_delegate(str(delegate))] if delegate else None
        with warnings.catch_warnings():
            # TensorFlow's announces its move to LiteRT.
            warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
            self._interpreter = module.Interpreter(
                model_content=content, num_threads=num_threads, experimental_delegates=delegates
            )
        self._inputs = self._interpreter.get_input_details()
        self._outputs = [detail["index"] for detail in self._interpreter.get_output_details()]
        self._shapes: list[tuple[int, ...]] | None = None

    def prepare(self, shapes: Shapes) -> None:
        """As :meth:`Engine.prepare`."""
        if self._shapes == list(shapes):
            return
        before = self._shapes or [tuple(map(int, detail["shape"])) for detail in self._inputs]
        self._shapes = None
        for detail, old, new in zip(self._inputs, before, shapes, strict=True):
            if old != new:
                self._interpreter.resize_tensor_input(detail["index"], new)
        self._interpreter.allocate_tensors()
        self._shapes = list(shapes)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As :meth:`Engine.run`."""
        for detail, array in zip(self._inputs, arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.reset_all_variables()
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]


class LceEngine:
    """Larq Compute Engine's interpreter."""

    def __init__(self, content: bytes, num_threads: int) -> None:
        """Load a file.

        Raises:
            ImportError: larq_compute_engine is not installed.
            RuntimeError: NumPy is not the one that it was built for.
        """
        if not np.__version__.startswith("1."):
            raise RuntimeError(
                f"it was built for NumPy 1 and gets no data from NumPy {np.__version__}: run it "
                "where numpy<2 is installed"
            )
        try:
            from larq_compute_engine.tflite.python.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                "This file has Larq Compute Engine's operators; running it needs "
                'larq_compute_engine: pip install "hashbwn_keras[lce]".'
            ) from error
        self._load = lambda data: Interpreter(data, num_threads=num_threads)
        self._content = content
        flat = read_model(content)
        self._keeps_state = any(t.isVariable for g in flat.subgraphs for t in g.tensors)
        self._shapes = [shape_of(flat.subgraphs[0].tensors[i]) for i in flat.subgraphs[0].inputs]
        free = any(FREE in port.shape[1:] for port in read_interface(flat).inputs)
        # Where sizes are open, the file stands for images of 1×1, for which it may not load.
        self._interpreter = None if free else self._load(content)

    def prepare(self, shapes: Shapes) -> None:
        """As :meth:`Engine.prepare`; the file is changed and loaded again, it cannot resize."""
        # Loading again is the only way to begin anew here.
        if self._interpreter is None or self._keeps_state or self._shapes != list(shapes):
            self._interpreter = self._load(with_input_shapes(self._content, shapes))
            self._shapes = list(shapes)

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As :meth:`Engine.run`."""
        assert self._interpreter is not None
        # Not the wrapper's own predict: it takes every batch apart into samples.
        return list(self._interpreter.interpreter.predict(list(arrays)))
