"""An interpreter for every file this project writes."""

import importlib
import os
import threading
import warnings
from typing import Any

from hashbwn_keras.errors import HashBWNError, first_line
from hashbwn_keras.files import read_file
from hashbwn_keras.runtime.engines import Engine, LceEngine, LiteEngine, needs_lce
from hashbwn_keras.runtime.feeding import arrays_of, outputs_of
from hashbwn_keras.runtime.library import Native, delegate_path
from hashbwn_keras.tflite import names
from hashbwn_keras.tflite.flatbuffer import read_model
from hashbwn_keras.tflite.signature import read_interface


class Interpreter:
    """Runs a .tflite file, binary layers on the native 1-bit kernels where those can be had.

    Files with Larq Compute Engine's operators run in its interpreter, without the delegate.
    Several threads may call one interpreter: a lock lets them in one after the other. To compute
    at the same time, give each thread an interpreter of its own.

    Attributes:
        delegated: how many layers the native kernels took over.
        status: one sentence on who runs the file and why.
        input_names: of the inputs, in the order in which :meth:`predict` takes them.
        output_names: of the outputs, in the order in which :meth:`predict` returns them.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, num_threads: int = 1) -> None:
        """Loads the file.

        Args:
            model: path or content of a .tflite file.
            num_threads: threads of the interpreter and of the native kernels, at least 1.

        Raises:
            HashBWNError: the file is missing, damaged or not a TFLite model, the interpreter
                refuses it, or ``num_threads`` < 1.
            ImportError: the file has LCE operators and larq_compute_engine is not installed.
        """
        if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
            raise HashBWNError(f"num_threads is {num_threads!r}: give an integer of at least 1.")
        content, name = read_file(model)
        flat = read_model(content, name)
        self._interface = read_interface(flat, name)
        self.input_names = [port.name for port in self._interface.inputs]
        self.output_names = [port.name for port in self._interface.outputs]
        self.delegated = 0
        self._lock = threading.Lock()
        try:
            self._engine = self._load(content, num_threads, needs_lce(flat))
        except (ValueError, RuntimeError) as error:
            raise HashBWNError(f"The interpreter refuses {name}: {first_line(error)}.") from error

    def _load(self, content: bytes, num_threads: int, lce: bool) -> Engine:
        if lce:
            self.status = "larq_compute_engine's interpreter: the file has its operators"
            return LceEngine(content, num_threads)
        module = importlib.import_module(names.TENSORFLOW.module)
        try:
            path = delegate_path()
            native = Native(path)
        except HashBWNError as error:
            warnings.warn(f"Running without 1-bit kernels: {error}", RuntimeWarning, stacklevel=3)
            self.status = f"TensorFlow Lite alone: {error}"
            return LiteEngine(content, num_threads, module)
        engine = LiteEngine(content, num_threads, module, path)
        self.delegated = native.claimed()
        self.status = f"TensorFlow Lite with {self.delegated} layers on {native.kernels} kernels"
        if unpacked := native.unpacked():
            self.status += f", {unpacked} packed filters unpacked for its own"
        return engine

    def predict(self, x: Any) -> Any:
        """Runs the model on a batch, of whatever size of image the file leaves open.

        Args:
            x: array [n, ...]; for several inputs a list of arrays in the order of the Keras model
                (of files of other makers, of their signature), or a dict by the names of the
                inputs. Float arrays are quantised where the input is int8; arrays of the input's
                own type go in as they are.

        Returns:
            float32 array [n, ...], dequantised where the output is int8; a list for several
            outputs, in the order of ``output_names``.

        Raises:
            HashBWNError: the number of inputs, a name, a shape or a type does not fit, values
                would be truncated, or the interpreter cannot run the file.
        """
        arrays = arrays_of(x, self._interface)
        try:
            with self._lock:
                outputs = outputs_of(self._engine, self._interface, arrays)
        except (ValueError, RuntimeError) as error:
            raise HashBWNError(
                f"The interpreter cannot run the file on inputs of shape "
                f"{[a.shape for a in arrays]}: {first_line(error)}."
            ) from error
        return outputs[0] if len(outputs) == 1 else outputs
