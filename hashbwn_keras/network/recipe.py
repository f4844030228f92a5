"""How a network was binarised, as typed values; beside a model they are kept as JSON."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

_BY_FILTERS = "not chosen by filters"
"""What recipes say that were written before ``by_choice`` was kept of its own."""


@dataclass(frozen=True)
class Skipped:
    """Why a layer stays float.

    Attributes:
        reason: for people.
        by_choice: whether the caller chose so, who need not be told again.
    """

    reason: str
    by_choice: bool = False


@dataclass(frozen=True)
class SolvedLayer:
    """What the solve did to one layer; None where it was not recorded.

    Attributes:
        method: the solver's method.
        relative_error: squared error of the layer's outputs over their variance, with the codes.
        relative_error_before: the same for the float weights rounded by ``hash_sign``: at one bit
            their signs with their mean magnitude as scale (BWN).
        flipped: share of codes that differ from those.
        bits: of a code.
    """

    method: str | None = None
    relative_error: float | None = None
    relative_error_before: float | None = None
    flipped: float | None = None
    bits: int = 1


@dataclass(frozen=True)
class Repaired:
    """What the repair across layers did.

    Attributes:
        kept: whether it lowered the error of held-out images; if not, it was undone.
        error_before: the loss on held-out images before,
        error_after: and after.
    """

    kept: bool
    error_before: float
    error_after: float


@dataclass(frozen=True)
class Recipe:
    """How a network was binarised; None where it was not recorded.

    Attributes:
        hashbwn_keras: version of this package.
        tensorflow: version of TensorFlow.
        method: solver, as given to ``binarize``,
        seed: and its seed,
        centred: and whether it solved for covariances,
        compensate: and whether it made up for errors in shortcuts.
        float_sha256: of the float network's configuration and weights.
        calibration: "given" or "synthetic".
        calibration_images: how many.
        layers: what was done to each binarised layer, by label.
        skipped: why each other layer with a kernel stayed float, by label.
        repair: what the repair did; None without.
    """

    hashbwn_keras: str | None = None
    tensorflow: str | None = None
    method: str | None = None
    seed: int | None = None
    centred: bool | None = None
    compensate: bool | None = None
    float_sha256: str | None = None
    calibration: str | None = None
    calibration_images: int | None = None
    layers: Mapping[str, SolvedLayer] = field(default_factory=dict)
    skipped: Mapping[str, Skipped] = field(default_factory=dict)
    repair: Repaired | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON-able values: what :meth:`from_json` reads."""
        return {
            **asdict(self),
            "skipped": {label: skipped.reason for label, skipped in self.skipped.items()},
            "by_choice": [label for label, skipped in self.skipped.items() if skipped.by_choice],
            "repair": asdict(self.repair) if self.repair else False,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Recipe":
        """Read a recipe, of whatever version; what it lacks is None, what is unknown is left."""
        reasons = content.get("skipped", {})
        old = [label for label, reason in reasons.items() if reason == _BY_FILTERS]
        by_choice = content.get("by_choice", old)
        repair = content.get("repair")
        given = _known(cls, content)
        given["layers"] = {
            label: SolvedLayer(**_known(SolvedLayer, solved))
            for label, solved in content.get("layers", {}).items()
        }
        given["skipped"] = {
            label: Skipped(reason, label in by_choice) for label, reason in reasons.items()
        }
        given["repair"] = Repaired(**_known(Repaired, repair)) if repair else None
        return cls(**given)


def _known(cls: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that are fields of a dataclass."""
    return {each.name: content[each.name] for each in fields(cls) if each.name in content}
