"""Plots of a report as inline SVG; colours come from the page's style."""

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

import numpy as np

from hashbwn_keras.reporting.data import LayerReport
from hashbwn_keras.text import percent, ratio, shortened, size

_WIDTH = 980
_ROW = 22


class _Area(NamedTuple):
    """The part of the plot between the names on the left and the values on the right."""

    left: float
    right: float
    top: float

    @classmethod
    def of(cls, layers: Sequence[LayerReport], margin: float, largest: float) -> "_Area":
        longest = max((len(shortened(layer.name)) for layer in layers), default=0)
        return cls(left=24 + 6.6 * longest, right=_WIDTH - margin, top=_nice(largest))

    def x(self, value: float) -> float:
        """Where ``value`` is; what is beyond the end, or no number, is drawn at the end."""
        share = min(value / self.top, 1) if math.isfinite(value) else 1
        return self.left + share * (self.right - self.left)


def errors(layers: Sequence[LayerReport]) -> str:
    """Return a bar for each layer's error, with marks for the solve and for sign · mean."""
    area = _Area.of(
        layers, 60, max((e for each in layers for e in _finite_errors(each)), default=0)
    )
    rows = []
    for i, layer in enumerate(layers):
        y = i * _ROW
        parts = [_bar("binary" if layer.binary_weights else "float", area, layer.relative_error, y)]
        if layer.solve_error is not None:
            x = f"{area.x(layer.solve_error):.1f}"
            parts.append(f'<line class=tick x1="{x}" x2="{x}" y1={y + 2} y2={y + 20} />')
        if layer.sign_error is not None:
            x = f"{area.x(layer.sign_error):.1f}"
            parts.append(f'<circle class=ring cx="{x}" cy={y + 11} r=4.5 />')
        about = (
            f"error {ratio(layer.relative_error)}, solved {ratio(layer.solve_error)}, "
            f"sign · mean {ratio(layer.sign_error)}, flipped {percent(layer.flipped)}"
        )
        rows.append(_row(layer, y, area, "".join(parts), ratio(layer.relative_error), about))
    return _frame(rows, _axis(area, len(layers), lambda value: f"{value:g}"), "Error by layer")


def _finite_errors(layer: LayerReport) -> list[float]:
    found = (layer.relative_error, layer.solve_error, layer.sign_error)
    return [e for e in found if e is not None and math.isfinite(e)]


def error_key(layers: Sequence[LayerReport]) -> str:
    """Return the legend of :func:`errors`, with the marks that occur."""
    entries = [("<rect class=binary y=1 width=16 height=10 rx=2 />", "now, on these images")]
    if any(not layer.binary_weights for layer in layers):
        entries.append(("<rect class=float y=1 width=16 height=10 rx=2 />", "layer left float"))
    if any(layer.solve_error is not None for layer in layers):
        entries.append(
            ("<line class=tick x1=8 x2=8 y1=0 y2=12 />", "as solved, on the calibration images")
        )
    if any(layer.sign_error is not None for layer in layers):
        entries.append(("<circle class=ring cx=8 cy=6 r=4.5 />", "sign · mean, before the solve"))
    return _key(entries)


def sizes(layers: Sequence[LayerReport]) -> str:
    """Return two bars for each layer: bytes in the float and in the binary network."""
    area = _Area.of(layers, 170, max((layer.float_bytes for layer in layers), default=0))
    rows = []
    for i, layer in enumerate(layers):
        y = i * _ROW
        bars, change = _bar("float", area, layer.float_bytes, y), size(layer.float_bytes)
        if layer.binary_weights:
            bars += _bar("binary", area, layer.binary_bytes, y)
            change += f" → {size(layer.binary_bytes)}"
        rows.append(_row(layer, y, area, bars, change, change))
    return _frame(rows, _axis(area, len(layers), size), "Size by layer")


def size_key() -> str:
    """Return the legend of :func:`sizes`."""
    return _key(
        [
            ("<rect class=float y=1 width=16 height=10 rx=2 />", "float"),
            ("<rect class=binary y=1 width=16 height=10 rx=2 />", "binary"),
        ]
    )


def scales(layer: LayerReport) -> str:
    """Return a small histogram of a layer's scales, nothing for a float layer."""
    if not layer.scales:
        return ""
    values = np.asarray(layer.scales)
    counts, _ = np.histogram(values, bins=int(np.clip(len(values) // 3, 8, 24)))
    width, height = 150, 46
    step = width / len(counts)
    bars = "".join(
        f'<rect class=binary x="{i * step + 0.5:.1f}" width="{step - 1:.1f}" '
        f'y="{height - count / counts.max() * height:.1f}" '
        f'height="{count / counts.max() * height:.1f}" />'
        for i, count in enumerate(counts)
        if count
    )
    low, middle, high = values.min(), np.median(values), values.max()
    name = escape(layer.name)
    return (
        f'<figure><figcaption title="{name}">{name}</figcaption>'
        f'<svg viewBox="0 0 {width} {height + 16}" role=img aria-label="Scales of {name}">'
        f"<title>{len(values)} scales, median {middle:.4g}</title>{bars}"
        f"<line class=grid x1=0 x2={width} y1={height + 0.5} y2={height + 0.5} />"
        f"<text class=soft x=0 y={height + 13}>{low:.3g}</text>"
        f"<text class=soft x={width} y={height + 13} text-anchor=end>{high:.3g}</text>"
        "</svg></figure>"
    )


def _nice(top: float) -> float:
    """Return the next value whose quarters are round, for the grid lines."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(
        m * power for m in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if m * power >= top * 0.999
    )


def _bar(kind: str, area: _Area, value: float, y: int) -> str:
    width = area.x(value) - area.left
    if value > 0:
        width = max(width, 2)  # small, but not nothing
    return f'<rect class={kind} x="{area.left:.1f}" y={y + 4} width="{width:.1f}" height=14 rx=2 />'


def _row(layer: LayerReport, y: int, area: _Area, marks: str, value: str, about: str) -> str:
    """Return one row: name, marks, value on the right, and what a reader's pointer brings up."""
    kind = "" if layer.binary_weights else " class=soft"
    name = escape(shortened(layer.name))
    return (
        f"<g><title>{escape(layer.name)}: {about}</title>"
        f'<text{kind} x="{area.left - 10:.1f}" y={y + 15} text-anchor=end>{name}</text>{marks}'
        f'<text x="{area.right + 12:.1f}" y={y + 15}>{value}</text></g>'
    )


def _axis(area: _Area, rows: int, label: Callable[[float], str]) -> str:
    lines = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        value = share * area.top
        x = area.x(value)
        lines.append(f'<line class=grid x1="{x:.1f}" x2="{x:.1f}" y1=0 y2={rows * _ROW + 4} />')
        lines.append(
            f'<text class=soft x="{x:.1f}" y={rows * _ROW + 18} text-anchor=middle>'
            f"{label(value)}</text>"
        )
    return "".join(lines)


def _frame(rows: list[str], axis: str, label: str) -> str:
    height = len(rows) * _ROW + 24
    content = axis + "".join(rows)
    return (
        f'<div class=wide><svg class=plot viewBox="0 0 {_WIDTH} {height}" role=img '
        f'aria-label="{label}">{content}</svg></div>'
    )


def _key(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(
        f'<span><svg viewBox="0 0 16 12">{mark}</svg>{text}</span>' for mark, text in entries
    )
    return f"<div class=key>{items}</div>"
