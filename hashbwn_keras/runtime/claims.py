"""Which layers of a file the native kernels would take, on which CPUs, and why not others."""

import os
from dataclasses import dataclass
from typing import Any

from hashbwn_keras.files import read_file
from hashbwn_keras.runtime.library import LayerShape, Native, delegate_path
from hashbwn_keras.text import aligned
from hashbwn_keras.tflite.filters import Filter, filter_names, read_filters
from hashbwn_keras.tflite.flatbuffer import Type
from hashbwn_keras.tflite.names import CONV_2D, FULLY_CONNECTED, Storage
from hashbwn_keras.tflite.provenance import read_provenance

_FASTER = "the runtime's kernel is faster there"


@dataclass(frozen=True)
class Cpu:
    """A kind of CPU: the kernels that run there, and whether it has 8-bit dot products."""

    kernels: str
    dot_product: bool

    @property
    def name(self) -> str:
        """How tables name it."""
        return f"{self.kernels}, 8-bit dot" if self.dot_product else self.kernels


@dataclass(frozen=True)
class Claim:
    """What becomes of one layer.

    Attributes:
        layer: name of its filter, the Keras layer where the file says so.
        operator: TFLite's name of the operator.
        storage: of its filter, see docs/format.md.
        float32: whether its activations are float32, not int8.
        refused: why no CPU's kernels take it; "" where that depends on the CPU.
        measured: for each kind of CPU, by which measurement it is taken; ""
            where it is not.
    """

    layer: str
    operator: str
    storage: Storage
    float32: bool
    refused: str
    measured: dict[Cpu, str]


@dataclass(frozen=True)
class Claims:
    """All layers with a filter, in the order of execution."""

    claims: tuple[Claim, ...]
    cpus: tuple[Cpu, ...]

    def taken(self, cpu: Cpu) -> int:
        """Return how many layers are taken on a kind of CPU."""
        return sum(bool(claim.measured.get(cpu)) for claim in self.claims)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        return {
            "taken": {cpu.name: self.taken(cpu) for cpu in self.cpus},
            "layers": [
                {
                    "layer": claim.layer,
                    "operator": claim.operator,
                    "storage": claim.storage,
                    "activations": "float32" if claim.float32 else "int8",
                    "refused": claim.refused,
                    "measured": {cpu.name: text for cpu, text in claim.measured.items()},
                }
                for claim in self.claims
            ],
        }

    def __str__(self) -> str:
        rows = [("layer", "operator", "stored as", *(cpu.name for cpu in self.cpus), "why not")]
        for claim in self.claims:
            marks = ["taken" if claim.measured.get(cpu) else "–" for cpu in self.cpus]
            why = claim.refused or (_FASTER if "–" in marks else "")
            rows.append((claim.layer, claim.operator, claim.storage, *marks, why))
        total = ["", "", "taken", *(str(self.taken(cpu)) for cpu in self.cpus), ""]
        return "\n".join(aligned([*rows, total], left=4 + len(self.cpus)))


def claims_of(file: str | os.PathLike[str], native: Native | None = None) -> Claims:
    """Say which layers of a .tflite file the native kernels would take.

    Args:
        file: its path; nothing in it is run.
        native: the library, whose table of measurements decides; this machine's by default.

    Raises:
        HashBWNError: no such file, no .tflite file, a damaged one, or there is no library.
    """
    native = native or Native(delegate_path())
    content, title = read_file(file)
    model, filters = read_filters(content, title)
    called = filter_names(read_provenance(model), filters)
    cpus = tuple(Cpu(name, dot) for name in native.policy_sets for dot in (False, True))
    found = [
        _claim(name, each, operator, native, cpus)
        for name, each in zip(called, filters, strict=True)
        for operator in each.consumers
    ]
    return Claims(tuple(found), cpus)


def _claim(name: str, found: Filter, operator: Any, native: Native, cpus: tuple[Cpu, ...]) -> Claim:
    types = {found.graph.tensor(int(i)).type for i in (operator.inputs[0], operator.outputs[0])}
    refused = _refused(found, operator, types)
    measured = dict.fromkeys(cpus, "")
    if not refused:
        shape = _shape(found, types == {Type.FLOAT32})
        measured = {cpu: native.worth(shape, cpu.kernels, cpu.dot_product) for cpu in cpus}
    return Claim(
        name,
        found.kind.name,
        found.storage,
        types == {Type.FLOAT32},
        refused,
        measured,
    )


def _refused(found: Filter, operator: Any, types: set[int]) -> str:
    """Return why no CPU's kernels take a layer, "" where some may."""
    if found.storage in (Storage.LCE, Storage.LCE_DEQUANTIZE):
        return "Larq Compute Engine's own interpreter runs it"
    if found.kind not in (CONV_2D, FULLY_CONNECTED):
        return f"there are no kernels for {found.kind.name}"
    if found.bits < 1:
        return "its filter has many values in an output channel"
    if types not in ({Type.FLOAT32}, {Type.INT8}):
        return "its activations are neither float32 nor int8 throughout"
    image = found.graph.shape(int(operator.inputs[0]))
    if found.kind == CONV_2D and image[-1:] != found.shape[-1:]:
        return "it is a grouped convolution"
    return ""


def _shape(found: Filter, is_float: bool) -> LayerShape:
    if found.kind == FULLY_CONNECTED:
        outputs, inputs = found.shape
        return LayerShape(False, is_float, outputs, 1, 1, inputs, found.bits)
    outputs, rows, columns, inputs = found.shape
    return LayerShape(True, is_float, outputs, rows, columns, inputs, found.bits)
