"""What a report holds, as plain data."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np


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
        binary_bytes: its weights in the binary network, 1 bit per binary weight, 4 bytes for each
            scale and each other weight.
        relative_error: Σ var(binary − float output) / Σ var(float output), sums over the output
            channels, variances over images and positions; each network on its own real input.
            Centred, because a layer's mean error goes into its bias or batch-norm.
        solve_error: the same ratio as the solver saw it on the calibration data, if recorded.
        sign_error: that of sign(w) · mean|w| on the calibration data, if recorded.
        flipped: share of codes that differ from the sign of the float weight; None in float layers.
        method: solver of this layer, if recorded.
        why_float: reason why it was not binarised, if recorded.
        scales: α of each output channel; empty in float layers.
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


@dataclass(frozen=True)
class OutputReport:
    """One output of the whole network.

    Attributes:
        name: name of the output.
        relative_error: Σ var(binary − float) / Σ var(float) over the entries of the output.
        agreement: share of images with the same top-1 class; None unless the output is
            ``[batch, classes]`` with two classes or more.
        float_accuracy: top-1 accuracy of the float network; None without labels.
        binary_accuracy: top-1 accuracy of the binary network; None without labels.
        finite: whether every value of the binary network is finite.
    """

    name: str
    relative_error: float
    agreement: float | None = None
    float_accuracy: float | None = None
    binary_accuracy: float | None = None
    finite: bool = True


@dataclass(frozen=True)
class Report:
    """How a binarised network compares with the float network it was made from.

    ``str(report)`` is the table for a terminal.

    Attributes:
        model: name of the binary model.
        images: number of images compared.
        outputs: one entry per output.
        layers: one entry per layer with multiply-accumulates, in the order of the network.
        float_bytes: all weights of the float network at 4 bytes each.
        binary_bytes: all weights of the binary network, 1 bit per binary weight and 4 bytes for
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
        """Return the report as JSON; a value that is not finite becomes null."""
        content = asdict(self) | {
            "macs": self.macs,
            "binary_macs": self.binary_macs,
            "binary_weights": self.binary_weights,
        }
        return json.dumps(_finite(content), indent=2, allow_nan=False) + "\n"

    def to_html(self) -> str:
        """Return the report as a page with plots that needs no other file."""
        from hashbwn_keras.reporting.page import page

        return page(self)

    def __str__(self) -> str:
        from hashbwn_keras.reporting.table import text

        return text(self)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
