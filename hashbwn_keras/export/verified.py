"""The report of verify: what each interpreter made of a file."""

from dataclasses import asdict, dataclass, field
from typing import Any

from hashbwn_keras.network.outputs import Kind
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.storage import Placed, packing_summary


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
        top1_agreement: share of samples whose largest value of the first output is the same; None
            where that is not one row of classes or scores a sample.
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
        ok: every binary layer is in the file with its codes, at least one interpreter ran it, and
            each that did was finite and within the tolerance.
        tolerance: the largest relative error allowed.
        nbytes: size of the file.
        samples: how many samples were compared.
        binary_expected: binary layers of the Keras model.
        binary_found: those whose codes are in the file, times one α per channel.
        binary_packed: those of them that take no more than their bits a weight.
        missing: names of the binary layers that are not in the file.
        kept: storage and reason of each binary layer that is there, but not packed, by name.
        first_output: what the first output is, "classes" or "scores" among others
            (:class:`hashbwn_keras.network.outputs.Kind`).
        bits: of a code of each binary layer that is there, by name.
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
    kept: dict[str, tuple[Storage, str]]
    first_output: str
    bits: dict[str, int]
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
            f"{self.binary_found}/{self.binary_expected} binary layers found, error allowed: "
            f"{self.tolerance:.2g} of the output's range"
        ]
        lines.append(
            packing_summary(
                Placed(name, bits, *self.kept.get(name, (Storage.PACKED, "")))
                for name, bits in self.bits.items()
            )
        )
        if self.missing:
            lines.append(f"missing: {', '.join(self.missing)}")
        for result in self.runtimes:
            head = f"{result.name} {result.version}:"
            if not result.ran:
                lines.append(f"{head} not run, {result.reason}")
                continue
            agreement = ""
            if result.top1_agreement is not None:
                what = "top-1" if self.first_output == Kind.CLASSES.value else "largest score"
                agreement = f", {what} the same in {result.top1_agreement:.2%}"
            lines.append(
                f"{head} max error {result.max_error:.3g} "
                f"({result.relative_error:.2g} of the range){agreement}"
            )
        lines.append(", ".join(f"{count} {name}" for name, count in self.operators.items()))
        return "\n".join(lines)
