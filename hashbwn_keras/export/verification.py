"""verify: does a file compute what the Keras model computes, in every interpreter there is?"""

import os
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.export.convert import check_model, first_line
from hashbwn_keras.export.litert import read_file
from hashbwn_keras.export.matching import missing_layers, name_filters
from hashbwn_keras.network.batches import batches_of
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.layers import BinaryKernel, binary_kernels
from hashbwn_keras.runtime import engines as interpreters
from hashbwn_keras.tflite.filters import Filter, read_filters
from hashbwn_keras.tflite.storage import packing_summary, why_kept
from hashbwn_keras.tflite.subgraph import Graph, operator_histogram


@dataclass
class RuntimeResult:
    """What one interpreter made of the file.

    Attributes:
        name: the Python module of the interpreter.
        version: of its distribution.
        ran: whether it ran the file.
        reason: why not.
        finite: whether all outputs are finite.
        max_error: largest absolute difference from Keras, over all outputs.
        relative_error: the largest over the outputs of max error / range (max − min) of the output.
        top1_agreement: share of samples whose largest output is the same, of the first output;
            None where it has fewer than two values a sample.
    """

    name: str
    version: str
    ran: bool = False
    reason: str = ""
    finite: bool = False
    max_error: float = float("nan")
    relative_error: float = float("nan")
    top1_agreement: float | None = None


@dataclass
class Verification:
    """The report of :func:`verify`.

    Attributes:
        ok: every binary layer is in the file with two values per channel, at least one interpreter
            ran it, and each that did was finite and within the tolerance.
        tolerance: the largest relative error allowed.
        nbytes: size of the file.
        samples: how many samples were compared.
        binary_expected: binary layers of the Keras model.
        binary_found: those whose codes are in the file, two values per channel.
        binary_packed: those of them that take one bit a weight.
        missing: names of the binary layers that are not in the file.
        kept: storage and reason of each binary layer that is there, but not packed, by name.
        storage: number of filters by storage.
        operators: number of operators by name.
        runtimes: one result per interpreter.
    """

    ok: bool
    tolerance: float
    nbytes: int
    samples: int
    binary_expected: int
    binary_found: int
    binary_packed: int
    missing: list[str]
    kept: dict[str, tuple[str, str]]
    storage: dict[str, int]
    operators: dict[str, int]
    runtimes: list[RuntimeResult] = field(default_factory=list)

    @property
    def max_error(self) -> float:
        """Largest absolute difference from Keras over the interpreters that ran."""
        return max((r.max_error for r in self.runtimes if r.ran), default=float("nan"))

    @property
    def relative_error(self) -> float:
        """Largest error as a share of the output's range, over the interpreters that ran."""
        return max((r.relative_error for r in self.runtimes if r.ran), default=float("nan"))

    @property
    def top1_agreement(self) -> float | None:
        """Smallest agreement over the interpreters that ran."""
        values = [r.top1_agreement for r in self.runtimes if r.top1_agreement is not None]
        return min(values, default=None)

    @property
    def finite(self) -> bool:
        """Whether every interpreter that ran gave finite outputs."""
        return all(r.finite for r in self.runtimes if r.ran)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        summary = {
            name: getattr(self, name)
            for name in ("max_error", "relative_error", "top1_agreement", "finite")
        }
        return {**asdict(self), **summary}

    def __str__(self) -> str:
        """Return the report as a few lines of text."""
        lines = [
            f"{'OK' if self.ok else 'FAILED'}: {self.nbytes:,} bytes, "
            f"{self.binary_found}/{self.binary_expected} binary layers two-valued"
        ]
        packed = [("", "", "")] * self.binary_packed
        lines.append(packing_summary(packed + [(n, *facts) for n, facts in self.kept.items()]))
        if self.missing:
            lines.append(f"missing: {', '.join(self.missing)}")
        for result in self.runtimes:
            head = f"{result.name} {result.version}:"
            if not result.ran:
                lines.append(f"{head} not run, {result.reason}")
                continue
            agreement = (
                "" if result.top1_agreement is None else f", top-1 {result.top1_agreement:.2%}"
            )
            lines.append(
                f"{head} max error {result.max_error:.3g} "
                f"({result.relative_error:.2g} of the range){agreement}"
            )
        lines.append(", ".join(f"{count} {name}" for name, count in self.operators.items()))
        return "\n".join(lines)


def verify(
    model: tf_keras.Model,
    path_or_bytes: bytes | str | os.PathLike[str],
    data: Any,
    *,
    tolerance: float | None = None,
) -> Verification:
    """Compare a file with the Keras model it was made from, in every installed interpreter.

    Args:
        model: the binarised Keras model.
        path_or_bytes: a .tflite file, for LCE as well, or its content.
        data: inputs to compare on, as ``binarize`` takes them; one sample is run at a time.
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
    _check_interface(model, flat, name)
    batches = batches_of(data, model, "data")
    reference = _keras_outputs(model, batches)
    kernels = binary_kernels(model)
    missing = missing_layers(filters, kernels)
    kept = _kept(filters, kernels)
    if tolerance is None:
        tolerance = 0.1 if _has_int8_activations(filters) else 1e-4
    results = [
        _run(runtime, content, flat, model, batches, reference)
        for runtime in interpreters.installed()
    ]
    ran = [r for r in results if r.ran]
    good = bool(ran) and all(r.finite and r.relative_error <= tolerance for r in ran)
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
        storage=dict(Counter(found.storage for found in filters)),
        operators=operator_histogram(flat),
        runtimes=results,
    )


def _kept(filters: list[Filter], kernels: list[BinaryKernel]) -> dict[str, tuple[str, str]]:
    """Return storage and reason of each binary layer that takes more than one bit a weight."""
    names = {kernel.name for kernel in kernels}
    return {
        name: (found.storage, why_kept(found))
        for name, found in zip(name_filters(filters, kernels), filters, strict=True)
        if name in names and not found.packed
    }


def _has_int8_activations(filters: list[Filter]) -> bool:
    return any(f.quantization is not None and f.storage != "int8-dequantize" for f in filters)


def _check_interface(model: tf_keras.Model, flat: schema.ModelT, name: str) -> None:
    graph = Graph(flat, 0)
    for side, tensors in (("inputs", model.inputs), ("outputs", model.outputs)):
        stored = [graph.shape(int(i))[1:] for i in getattr(graph.graph, side)]
        wanted = [tuple(tensor.shape)[1:] for tensor in tensors]
        if len(stored) != len(wanted):
            raise HashBWNError(
                f"{name} has {len(stored)} {side} but model {model.name!r} has {len(wanted)}: "
                "give the model the file was made from."
            )
        if len(wanted) == 1 and None not in wanted[0] and wanted != stored:
            raise HashBWNError(
                f"{name} has {side} of shape {stored[0]} but model {model.name!r} of "
                f"{wanted[0]}: give the model the file was made from."
            )


def _keras_outputs(model: tf_keras.Model, batches: list[list[np.ndarray]]) -> list[np.ndarray]:
    parts = [tf.nest.flatten(model(_as_fed(model, batch), training=False)) for batch in batches]
    return [np.concatenate([np.asarray(p[i]) for p in parts]) for i in range(len(parts[0]))]


def _as_fed(model: tf_keras.Model, batch: list[np.ndarray]) -> Any:
    """Return a batch in the structure in which the model takes its inputs."""
    return tf.nest.pack_sequence_as(model.input, batch)


def _run(
    runtime: interpreters.Runtime,
    content: bytes,
    flat: schema.ModelT,
    model: tf_keras.Model,
    batches: list[list[np.ndarray]],
    reference: list[np.ndarray],
) -> RuntimeResult:
    result = RuntimeResult(runtime.name, runtime.version)
    result.reason = interpreters.why_not(runtime, flat)
    if result.reason:
        return result
    try:
        outputs = _outputs(interpreters.runner(runtime, content), flat, model, batches)
    except (RuntimeError, ValueError) as error:
        result.reason = f"it refuses the file ({first_line(error)})"
        return result
    result.ran = True
    result.finite = all(bool(np.isfinite(output).all()) for output in outputs)
    errors = [
        float(np.max(np.abs(output - wanted), initial=0))
        for output, wanted in zip(outputs, reference, strict=True)
    ]
    ranges = [float(np.ptp(wanted)) or 1.0 for wanted in reference]
    result.max_error = max(errors)
    result.relative_error = max(e / r for e, r in zip(errors, ranges, strict=True))
    first, wanted = (part[0].reshape(len(part[0]), -1) for part in (outputs, reference))
    if wanted.shape[1] > 1:
        result.top1_agreement = float(np.mean(first.argmax(1) == wanted.argmax(1)))
    return result


def _outputs(
    run: interpreters.Run,
    flat: schema.ModelT,
    model: tf_keras.Model,
    batches: list[list[np.ndarray]],
) -> list[np.ndarray]:
    """Return the interpreter's outputs as real values, in the order of the model's outputs."""
    graph = Graph(flat, 0)
    fed = list(
        zip(graph.graph.inputs, interpreters.input_positions(flat, model.input_names), strict=True)
    )
    samples = [
        [interpreters.quantize(graph, int(t), batch[i][row : row + 1]) for t, i in fed]
        for batch in batches
        for row in range(len(batch[0]))
    ]
    results = run(samples)
    joined = [
        interpreters.dequantize(graph, int(tensor), np.concatenate([r[i] for r in results]))
        for i, tensor in enumerate(graph.graph.outputs)
    ]
    places = interpreters.output_positions(flat, model.output_names)
    return [joined[places.index(i)] for i in range(len(joined))]
