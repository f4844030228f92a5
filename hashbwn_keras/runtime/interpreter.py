"""An interpreter for every file this project writes."""

import os
import struct
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime.library import Native, delegate_path


class Interpreter:
    """Runs a .tflite file, binary layers on the native 1-bit kernels where those can be had.

    Files with Larq Compute Engine's operators run in its interpreter, without the delegate.

    Attributes:
        delegated: how many layers the native kernels took over.
        status: one sentence on who runs the file and why.
    """

    def __init__(self, model: str | os.PathLike[str] | bytes, num_threads: int = 1) -> None:
        """Loads the file.

        Args:
            model: path or content of a .tflite file.
            num_threads: threads of the interpreter and of the native kernels, at least 1.

        Raises:
            HashBWNError: the file is missing or not a TFLite model, or ``num_threads`` < 1.
            ImportError: the file has LCE operators and larq_compute_engine is not installed.
        """
        if isinstance(num_threads, bool) or not isinstance(num_threads, int) or num_threads < 1:
            raise HashBWNError(f"num_threads is {num_threads!r}: give an integer of at least 1.")
        content = _read(model)
        self.delegated = 0
        self._engine: _Lite | _Lce
        if any(name.startswith("Lce") for name in _custom_operators(content)):
            self._engine = _Lce(content, num_threads)
            self.status = "larq_compute_engine's interpreter: the file has its operators"
            return
        try:
            path = delegate_path()
            native = Native(path)
        except HashBWNError as error:
            warnings.warn(f"Running without 1-bit kernels: {error}", RuntimeWarning, stacklevel=2)
            self._engine = _Lite(content, num_threads, None)
            self.status = f"TensorFlow Lite alone: {error}"
            return
        self._engine = _Lite(content, num_threads, path)
        self.delegated = native.claimed()
        self.status = f"TensorFlow Lite with {self.delegated} layers on {native.kernels} kernels"

    def predict(self, x: Any) -> Any:
        """Runs the model on a batch.

        Args:
            x: array [n, ...], or a list of arrays for several inputs, in the file's input order.
                Float arrays are quantised where the input is int8; arrays of the input's own type
                go in as they are.

        Returns:
            float32 array [n, ...], dequantised where the output is int8; a list for several
            outputs.

        Raises:
            HashBWNError: the number of inputs, a shape or a type does not fit.
        """
        inputs = [np.asarray(a) for a in (x if isinstance(x, list | tuple) else [x])]
        details = self._engine.inputs
        if len(inputs) != len(details):
            raise HashBWNError(f"The file has {len(details)} inputs, {len(inputs)} were given.")
        for array, detail in zip(inputs, details, strict=True):
            _check_input(array, detail)
        if len({len(a) for a in inputs}) != 1:
            raise HashBWNError("The inputs have different numbers of samples: give equal ones.")
        rows = [
            self._engine.run(
                [_quantise(a[i : i + 1], d) for a, d in zip(inputs, details, strict=True)]
            )
            for i in range(len(inputs[0]))
        ]
        outputs = [
            np.concatenate([_dequantise(row[k], d) for row in rows])
            for k, d in enumerate(self._engine.outputs)
        ]
        return outputs[0] if len(outputs) == 1 else outputs


def _read(model: str | os.PathLike[str] | bytes) -> bytes:
    if isinstance(model, bytes | bytearray):
        content = bytes(model)
    else:
        try:
            content = Path(model).read_bytes()
        except OSError as error:
            raise HashBWNError(f"{os.fspath(model)} cannot be read: {error.strerror}.") from error
    if content[4:8] != b"TFL3":
        raise HashBWNError("This is not a TFLite model (no TFL3 identifier): give a .tflite file.")
    return content


def _custom_operators(content: bytes) -> set[str]:
    from tensorflow.lite.python import schema_py_generated as schema

    try:
        model = schema.Model.GetRootAs(content, 0)
        codes = [model.OperatorCodes(i).CustomCode() for i in range(model.OperatorCodesLength())]
    except (struct.error, ValueError, IndexError, TypeError, OverflowError) as error:
        raise HashBWNError("The TFLite model is damaged: export it again.") from error
    return {code.decode(errors="replace") for code in codes if code}


class _Detail:
    """Shape, type and quantisation of one input or output."""

    def __init__(self, shape: Any, dtype: Any, scale: float, zero: int) -> None:
        self.shape = tuple(int(n) for n in shape)
        self.dtype = np.dtype(dtype)
        self.scale, self.zero = float(scale), int(zero)


def _check_input(array: np.ndarray, detail: _Detail) -> None:
    if array.shape[1:] != detail.shape[1:] or array.ndim != len(detail.shape) or len(array) == 0:
        wanted = ", ".join(["n", *map(str, detail.shape[1:])])
        raise HashBWNError(f"The input has shape {array.shape}: the file takes ({wanted}), n >= 1.")
    if array.dtype != detail.dtype and not np.issubdtype(array.dtype, np.floating):
        wanted = f"float32 or {detail.dtype}" if detail.scale else str(detail.dtype)
        raise HashBWNError(f"The input has type {array.dtype}: give {wanted}.")


def _quantise(array: np.ndarray, detail: _Detail) -> np.ndarray:
    if array.dtype == detail.dtype or detail.scale == 0:
        return np.ascontiguousarray(array, detail.dtype)
    limits = np.iinfo(detail.dtype)
    return np.clip(np.rint(array / detail.scale) + detail.zero, limits.min, limits.max).astype(
        detail.dtype
    )


def _dequantise(array: np.ndarray, detail: _Detail) -> np.ndarray:
    if detail.scale == 0 or not np.issubdtype(array.dtype, np.integer):
        return array
    return (array.astype(np.float32) - np.float32(detail.zero)) * np.float32(detail.scale)


class _Lite:
    """TensorFlow's interpreter, with the delegate at `library` if given; one sample at a time."""

    def __init__(self, content: bytes, num_threads: int, library: Path | None) -> None:
        import tensorflow as tf

        try:
            with warnings.catch_warnings():
                # tf.lite.Interpreter announces its move to ai_edge_litert.
                warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
                delegates = [tf.lite.experimental.load_delegate(str(library))] if library else None
                self._interpreter = tf.lite.Interpreter(
                    model_content=content, num_threads=num_threads, experimental_delegates=delegates
                )
            self._set_batch_to_one()
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise HashBWNError(f"TensorFlow Lite refuses this file: {_line(error)}") from error
        self.inputs = [_lite_detail(d) for d in self._interpreter.get_input_details()]
        self.outputs = [_lite_detail(d) for d in self._interpreter.get_output_details()]

    def _set_batch_to_one(self) -> None:
        for detail in self._interpreter.get_input_details():
            shape = list(detail["shape"])
            if shape and shape[0] != 1:
                self._interpreter.resize_tensor_input(detail["index"], [1, *shape[1:]])

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        for detail, array in zip(self._interpreter.get_input_details(), arrays, strict=True):
            self._interpreter.set_tensor(detail["index"], array)
        self._interpreter.invoke()
        return [
            self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details()
        ]


def _lite_detail(detail: dict[str, Any]) -> _Detail:
    return _Detail(detail["shape"], detail["dtype"], *detail["quantization"])


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class _Lce:
    """Larq Compute Engine's interpreter."""

    def __init__(self, content: bytes, num_threads: int) -> None:
        try:
            from larq_compute_engine.tflite.python.interpreter import Interpreter as Engine
        except ImportError as error:
            raise ImportError(
                "This file has Larq Compute Engine's operators; running it needs "
                'larq_compute_engine: pip install "hashbwn_keras[lce]".'
            ) from error
        try:
            self._engine = Engine(content, num_threads=num_threads)
        except (ValueError, RuntimeError) as error:
            raise HashBWNError(f"larq_compute_engine refuses this file: {_line(error)}") from error
        e = self._engine
        self.inputs = _lce_details(
            e.input_shapes, e.input_types, e.input_scales, e.input_zero_points
        )
        self.outputs = _lce_details(
            e.output_shapes, e.output_types, e.output_scales, e.output_zero_points
        )

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        result = self._engine.predict(arrays if len(arrays) > 1 else arrays[0])
        return result if isinstance(result, list) else [result]


def _lce_details(shapes: Any, types: Any, scales: Any, zeros: Any) -> list[_Detail]:
    return [
        _Detail(shape, dtype, scale or 0, zero or 0)
        for shape, dtype, scale, zero in zip(shapes, types, scales, zeros, strict=True)
    ]
