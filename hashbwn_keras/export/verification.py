"""verify: does a file compute what the Keras model computes, in every interpreter there is?"""

import os
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.errors import HashBWNError, first_line
from hashbwn_keras.export.convert import check_model
from hashbwn_keras.export.matching import missing_layers, name_filters
from hashbwn_keras.export.storing import is_own
from hashbwn_keras.export.verified import RuntimeResult, Verification
from hashbwn_keras.files import read_file
from hashbwn_keras.network.batches import Batch, batches_of
from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.outputs import Kind, output_kinds
from hashbwn_keras.runtime.apart import Apart, Limits
from hashbwn_keras.runtime.engines import Engine, Installed, installed, why_not
from hashbwn_keras.runtime.feeding import outputs_of
from hashbwn_keras.tflite.filters import Filter, read_filters
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.signature import FREE, Interface, Port, read_interface
from hashbwn_keras.tflite.storage import why_kept
from hashbwn_keras.tflite.subgraph import operator_histogram


def verify(
    model: tf_keras.Model,
    path_or_bytes: bytes | str | os.PathLike[str],
    data: Any,
    *,
    tolerance: float | None = None,
) -> Verification:
    """Compare a file with the Keras model it was made from, in every installed interpreter.

    A file that was not just written in this process runs in one of its own, with limits of time
    and memory (:mod:`hashbwn_keras.runtime.apart`), which takes some seconds to start.

    Args:
        model: the binarised Keras model.
        path_or_bytes: a .tflite file, for LCE as well, or its content.
        data: inputs to compare on, as ``binarize`` takes them.
        tolerance: largest error allowed, as a share of the output's range (max − min over the
            data); 1e-4 when omitted, 0.1 for files with int8 activations.

    Returns:
        A report; print it, or look at ``.ok``.

    Raises:
        HashBWNError: no such file, a damaged one, one whose inputs or outputs are not the
            model's, or unusable data.
    """
    model = to_keras2(model)
    check_model(model)
    content, name = read_file(path_or_bytes)
    flat, filters = read_filters(content, name)
    batches = batches_of(data, model, "data")
    interface = _interface(model, flat, name)
    reference = [_keras_outputs(model, batch) for batch in batches]
    asked = _Question(interface, batches, reference, output_kinds(model)[0].kind)
    if tolerance is None:
        tolerance = 0.1 if _has_int8_activations(filters) else 1e-4
    results = _results(content, flat, asked)
    ran = [r for r in results if r.ran]
    good = bool(ran) and all(r.finite and r.relative_error <= tolerance for r in ran)
    kernels = binary_kernels(model)
    missing = missing_layers(filters, kernels)
    layers = dict(zip(name_filters(filters, kernels), filters, strict=True))
    found = {k.name: layers[k.name] for k in kernels if k.name in layers}
    kept = {name: (f.storage, why_kept(f)) for name, f in found.items() if not f.packed}
    return Verification(
        ok=good and not missing,
        tolerance=tolerance,
        nbytes=len(content),
        samples=sum(len(batch[0]) for batch in batches),
        binary_expected=len(kernels),
        binary_found=len(kernels) - len(missing),
        binary_packed=len(kernels) - len(missing) - len(kept),
        missing=missing,
        kept=kept,
        first_output=asked.first_output.value,
        bits={name: f.bits for name, f in found.items()},
        storage=dict(Counter(found.storage for found in filters)),
        operators=operator_histogram(flat),
        runtimes=results,
    )


def _has_int8_activations(filters: list[Filter]) -> bool:
    return any(f.integers is not None and f.storage != Storage.INT8_DEQUANTIZE for f in filters)


def _interface(model: tf_keras.Model, flat: schema.ModelT, name: str) -> Interface:
    """Return inputs and outputs of the file in the order of the model, checked against it."""
    found = read_interface(flat, name)
    sides = []
    for side, names, ports, tensors in (
        ("inputs", model.input_names, found.inputs, model.inputs),
        ("outputs", model.output_names, found.outputs, model.outputs),
    ):
        if len(ports) != len(tensors):
            raise HashBWNError(
                f"{name} has {len(ports)} {side} but model {model.name!r} has {len(tensors)}: "
                "give the model the file was made from."
            )
        by_name = {port.name: port for port in ports}
        if set(by_name) == set(names):
            ports = tuple(by_name[n] for n in names)
        for port, tensor in zip(ports, tensors, strict=True):
            wanted = tuple(tensor.shape)
            if not _fits(port, wanted):
                raise HashBWNError(
                    f"{name} has {side} of shape {port.shape[1:]} but model {model.name!r} of "
                    f"{wanted[1:]}: give the model the file was made from."
                )
        sides.append(ports)
    return Interface(*sides)


def _fits(port: Port, wanted: tuple[int | None, ...]) -> bool:
    """Whether a port has the shape that the model has, as far as both are known."""
    if FREE in port.shape[1:] or None in wanted[1:]:
        return True
    return port.shape[1:] == wanted[1:]


def _keras_outputs(model: tf_keras.Model, batch: Batch) -> Batch:
    outputs = tf.nest.flatten(model(_as_fed(model, batch), training=False))
    return [np.asarray(output) for output in outputs]


def _as_fed(model: tf_keras.Model, batch: list[np.ndarray]) -> Any:
    """Return a batch in the structure in which the model takes its inputs."""
    return tf.nest.pack_sequence_as(model.input, batch)


class _Question(NamedTuple):
    """What an interpreter is asked, and what Keras answers, batch by batch."""

    interface: Interface
    batches: list[Batch]
    reference: list[Batch]
    first_output: Kind

    def ranges(self) -> list[float]:
        """Return max − min of each output over the data, 1 where all values are equal."""
        return [
            float(max(map(np.max, parts)) - float(min(map(np.min, parts)))) or 1.0
            for parts in zip(*self.reference, strict=True)
        ]


def _results(content: bytes, flat: schema.ModelT, asked: _Question) -> list[RuntimeResult]:
    """Run the file in each interpreter, in a process of its own unless it was just written here."""
    if is_own(content):
        return [_result(runtime, runtime.load, content, asked, flat) for runtime in installed()]
    sample = sum(array[:1].nbytes for array in asked.batches[0])
    with Apart(Limits.for_file(content, sample)) as apart:
        return [
            _result(runtime, partial(apart.load, runtime), content, asked, flat)
            for runtime in installed()
        ]


def _result(
    runtime: Installed,
    load: Callable[[bytes], Engine],
    content: bytes,
    asked: _Question,
    flat: schema.ModelT,
) -> RuntimeResult:
    result = RuntimeResult(runtime.name, runtime.version)
    result.reason = why_not(runtime.runtime, flat)
    if result.reason:
        return result
    try:
        answers = _answers(load(content), asked)
    except (RuntimeError, ValueError) as error:
        result.reason = f"it refuses the file ({first_line(error)})"
        return result
    result.ran = True
    result.finite = all(np.isfinite(output).all() for answer in answers for output in answer)
    errors = [
        [_error(output, wanted) for output, wanted in zip(*pair, strict=True)]
        for pair in zip(answers, asked.reference, strict=True)
    ]
    worst = np.max(errors, axis=0)
    result.max_error = float(worst.max())
    result.relative_error = float(np.max(worst / asked.ranges()))
    if asked.first_output in (Kind.CLASSES, Kind.SCORES):
        result.top1_agreement = _agreement(answers, asked.reference)
    return result


def _error(output: np.ndarray, wanted: np.ndarray) -> float:
    if output.shape != wanted.shape:
        raise HashBWNError(
            f"The file gives outputs of shape {output.shape} where the model gives "
            f"{wanted.shape}: give the model the file was made from."
        )
    return float(np.max(np.abs(output.astype(np.float64) - wanted), initial=0))


def _agreement(answers: list[Batch], reference: list[Batch]) -> float | None:
    """Return how often the first output's largest value is the same; None if it is no such row."""
    if reference[0][0].ndim != 2 or reference[0][0].shape[1] < 2:
        return None
    same = [
        answer[0].argmax(1) == wanted[0].argmax(1)
        for answer, wanted in zip(answers, reference, strict=True)
    ]
    return float(np.mean(np.concatenate(same)))


def _answers(engine: Engine, asked: _Question) -> list[Batch]:
    """Return the interpreter's outputs as real values, in the order of the model's outputs."""
    ports = asked.interface.inputs
    return [
        outputs_of(
            engine,
            asked.interface,
            [port.quantized(array) for port, array in zip(ports, batch, strict=True)],
        )
        for batch in asked.batches
    ]
