"""What a report holds, as plain data, and its table for a terminal."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hashbwn_keras.text import aligned, amount, percent, ratio, size

_HEADS = (
    "layer",
    "weights",
    "MACs",
    "float",
    "bits",
    "binary",
    "error",
    "solved",
    "sign",
    "flipped",
)


@dataclass(frozen=True)
class LayerReport:
    """One layer with multiply-accumulates.

    Attributes:
        name: name of the layer, ``submodel/layer`` inside nested models.
        kind: class of the layer in the float model.
        kernel_shapes: shapes of its kernels (two in a separable convolution).
        binary_weights: how many of their weights are binary; 0 in a float layer.
        macs: multiply-accumulates for one image, all kernels and uses of the layer together.
        binary_macs: those of them whose weight is binary.
        float_bytes: weights of the layer in the float network at 4 bytes each.
        binary_bytes: its weights in the binary network, ``bits`` per binary weight, 4 bytes for
            each scale and each other weight.
        relative_error: Σ var(binary − float output) / Σ var(float output), sums over the output
            channels, variances over images and positions; each network on its own real input.
            Centred, because a layer's mean error goes into its bias or batch-norm.
        solve_error: the same ratio as the solver saw it on the calibration data, if recorded.
        sign_error: that of the rounded float weights, at one bit sign(w) · mean|w|, on the
            calibration data, if recorded.
        flipped: share of codes that differ from those of the rounded float weights, their signs at
            one bit; None in float layers.
        method: solver of this layer, if recorded.
        why_float: reason why it was not binarised, if recorded.
        scales: α of each output channel; empty in float layers.
        bits: of a binary weight; None in float layers.
    """

    name: str
    kind: str
    kernel_shapes: tuple[tuple[int, ...], ...]
    binary_weights: int
    macs: int
    binary_macs: int
    float_bytes: int
    binary_bytes: int
    relative_error: float
    solve_error: float | None = None
    sign_error: float | None = None
    flipped: float | None = None
    method: str | None = None
    why_float: str | None = None
    scales: tuple[float, ...] = ()
    bits: int | None = None


@dataclass(frozen=True)
class Worst:
    """An image on which the two networks are far apart at an output.

    Attributes:
        image: its number in the data, from 0.
        distance: Σ (binary − float)² over the entries of the output.
        wanted: what the float network says, in words; empty where no word says it.
        got: what the binary network says.
        label: what the label says; empty without labels.
        picture: the image, where an input is one, as a PNG file.
        wanted_picture: the float network's output, where that is a map, as a PNG file.
        got_picture: that of the binary network.
    """

    image: int
    distance: float
    wanted: str = ""
    got: str = ""
    label: str = ""
    picture: bytes | None = field(default=None, repr=False)
    wanted_picture: bytes | None = field(default=None, repr=False)
    got_picture: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class OutputReport:
    """One output of the whole network, judged as what it is.

    Attributes:
        name: name of the output.
        relative_error: Σ var(binary − float) / Σ var(float) over the entries of the output; None
            where no distance says anything, see ``left_out``.
        agreement: share of decisions that are the same in both networks: the class of an image or
            of each position of a map, yes or no of each entry, the largest of several scores, an
            integer. None for measured values.
        float_accuracy: share of the float network's decisions that are as labelled; None without
            labels.
        binary_accuracy: that of the binary network.
        finite: whether every value of the binary network is finite.
        kind: what the output is: "classes", "yes or no", "scores", "values", "discrete",
            "passed through".
        by_position: whether an image has a decision for each of many positions.
        by_class: share of agreement among the decisions for each class by the float network; None
            for a class that it never chose. Empty without classes.
        uneven: whether one class has more than 1.5 times the decisions of the average one, so that
            ``agreement`` says little about the others.
        float_rmse: root mean squared difference of the float network's values from the labels;
            None without labels.
        binary_rmse: that of the binary network.
        left_out: why no relative error is given; empty if one is.
        worst: the images on which the networks are furthest apart, the furthest first.
    """

    name: str
    relative_error: float | None
    agreement: float | None = None
    float_accuracy: float | None = None
    binary_accuracy: float | None = None
    finite: bool = True
    kind: str = "values"
    by_position: bool = False
    by_class: tuple[float | None, ...] = ()
    uneven: bool = False
    float_rmse: float | None = None
    binary_rmse: float | None = None
    left_out: str = ""
    worst: tuple[Worst, ...] = ()

    @property
    def class_agreement(self) -> float | None:
        """Mean of ``by_class``: agreement if all classes were as frequent."""
        known = [share for share in self.by_class if share is not None]
        return sum(known) / len(known) if known else None

    def agreement_in_words(self) -> str:
        """Return what ``agreement`` is a share of."""
        if self.kind == "classes":
            return "of positions in the same class" if self.by_position else "top-1 agreement"
        return {
            "yes or no": "the same yes or no",
            "scores": "with the largest score in the same place",
        }.get(self.kind, "the same value")

    def worst_class_in_words(self) -> str:
        """Return the agreement of the class that agrees least; there must be classes."""
        known = [(share, at) for at, share in enumerate(self.by_class) if share is not None]
        share, at = min(known)
        return f"{percent(share)} in class {at}"


@dataclass(frozen=True)
class Comparison:
    """How a binarised network compares with the float network it was made from.

    ``str()`` of it is the table for a terminal.

    Attributes:
        model: name of the binary model.
        images: number of images compared.
        outputs: one entry per output.
        layers: one entry per layer with multiply-accumulates, in the order of the network.
        float_bytes: all weights of the float network at 4 bytes each.
        binary_bytes: all weights of the binary network, ``bits`` per binary weight, 4 bytes for
            each scale and each other weight.
        recipe: how the network was binarised; empty if not recorded.
    """

    model: str
    images: int
    outputs: tuple[OutputReport, ...]
    layers: tuple[LayerReport, ...]
    float_bytes: int
    binary_bytes: int
    recipe: dict[str, Any] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all layers for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def binary_macs(self) -> int:
        """Multiply-accumulates with a binary weight for one image."""
        return sum(layer.binary_macs for layer in self.layers)

    @property
    def binary_weights(self) -> int:
        """Number of binary weights."""
        return sum(layer.binary_weights for layer in self.layers)

    def to_json(self) -> str:
        """Return everything but the pictures as JSON; a value that is not finite becomes null."""
        content = asdict(self) | {
            "macs": self.macs,
            "binary_macs": self.binary_macs,
            "binary_weights": self.binary_weights,
        }
        for output in content["outputs"]:
            output["worst"] = [
                {key: value for key, value in worst.items() if not key.endswith("picture")}
                for worst in output["worst"]
            ]
        return json.dumps(_plain(content), indent=2, allow_nan=False) + "\n"

    def __str__(self) -> str:
        rows = [_row(layer) for layer in self.layers]
        return "\n".join([*aligned([_HEADS, *rows], left=1), "", *_whole(self)])


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value


def _row(layer: LayerReport) -> tuple[str, ...]:
    shape = " + ".join("×".join(map(str, kernel)) for kernel in layer.kernel_shapes)
    return (
        layer.name,
        shape,
        amount(layer.macs),
        size(layer.float_bytes),
        str(layer.bits or "–"),
        size(layer.binary_bytes) if layer.binary_weights else "float",
        ratio(layer.relative_error),
        ratio(layer.solve_error),
        ratio(layer.sign_error),
        percent(layer.flipped),
    )


def _whole(report: Comparison) -> list[str]:
    lines = [
        f"{report.model}, compared on {report.images:,} images",
        f"weights  {size(report.float_bytes)} float → {size(report.binary_bytes)} binary, "
        f"{report.float_bytes / report.binary_bytes:.1f}× smaller; "
        f"{amount(report.binary_weights)} binary weights",
        f"MACs     {amount(report.macs)}, {percent(report.binary_macs / max(report.macs, 1))} "
        "with a binary weight",
    ]
    lines += [_output(output, named=len(report.outputs) > 1) for output in report.outputs]
    lines.append(
        "error    share of the float layer's output variance that is lost: now, in the solve and "
        "for sign · mean"
    )
    return lines


def _output(output: OutputReport, named: bool) -> str:
    parts = []
    if output.float_accuracy is not None:
        parts.append(
            f"accuracy {percent(output.float_accuracy)} float → {percent(output.binary_accuracy)} "
            "binary"
        )
    if output.float_rmse is not None and output.binary_rmse is not None:
        parts.append(f"RMSE {output.float_rmse:.4g} float → {output.binary_rmse:.4g} binary")
    if output.agreement is not None:
        parts.append(f"{percent(output.agreement)} {output.agreement_in_words()}")
    if output.uneven:
        parts.append(
            f"{percent(output.class_agreement)} as the mean of the classes, "
            f"{output.worst_class_in_words()}"
        )
    if output.relative_error is not None:
        parts.append(f"relative error {ratio(output.relative_error)}")
    if output.left_out:
        parts.append(f"no error: {output.left_out}")
    if not output.finite:
        parts.append("NOT FINITE in the binary network")
    if output.worst:
        numbers = ", ".join(str(worst.image) for worst in output.worst[:3])
        parts.append(f"furthest apart on image {numbers}")
    return ("output   " + (f"{output.name}: " if named else "")) + ", ".join(parts)
