"""Plots of a report as inline SVG; colours come from the page's style."""

import math
from collections.abc import Callable, Sequence
from html import escape

import numpy as np

from hashbwn_keras.report.data import LayerReport
from hashbwn_keras.report.table import percent, ratio, size

_WIDTH = 980
_LEFT = 210
_ROW = 22


def errors(layers: Sequence[LayerReport]) -> str:
    """Return a bar for each layer's error, with marks for the solve and for sign · mean."""
    values = [e for layer in layers for e in _finite_errors(layer)]
    top = _nice(max(values, default=0.0))
    right = 60
    rows = []
    for i, layer in enumerate(layers):
        y = i * _ROW
        end = _x(min(layer.relative_error, top), top, right)
        kind = "binary" if layer.binary_weights else "float"
        bar = f'<rect class={kind} x={_LEFT} y={y + 4} width="{end - _LEFT:.1f}" height=14 rx=2 />'
        marks = ""
        if layer.solve_error is not None:
            x = _x(min(layer.solve_error, top), top, right)
            marks += f'<line class=tick x1="{x:.1f}" x2="{x:.1f}" y1={y + 2} y2={y + 20} />'
        if layer.sign_error is not None:
            x = _x(min(layer.sign_error, top), top, right)
            marks += f'<circle class=ring cx="{x:.1f}" cy={y + 11} r=4.5 />'
        value = f"<text x={_WIDTH - right + 12} y={y + 15}>{ratio(layer.relative_error)}</text>"
        tip = (
            f"<title>{escape(layer.name)}: error {ratio(layer.relative_error)}, solved "
            f"{ratio(layer.solve_error)}, sign · mean {ratio(layer.sign_error)}, flipped "
            f"{percent(layer.flipped)}</title>"
        )
        rows.append(f"<g>{tip}{_name(layer, y)}{bar}{marks}{value}</g>")
    return _frame(rows, _axis(top, len(layers), right, lambda v: f"{v:g}"), "Error by layer")


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
    top = _nice(max((layer.float_bytes for layer in layers), default=0))
    right = 170
    rows = []
    for i, layer in enumerate(layers):
        y = i * _ROW
        bars = (
            f"<rect class=float x={_LEFT} y={y + 4} height=14 rx=2 "
            f'width="{_x(layer.float_bytes, top, right) - _LEFT:.1f}" />'
        )
        change = size(layer.float_bytes)
        if layer.binary_weights:
            bars += (
                f"<rect class=binary x={_LEFT} y={y + 4} height=14 rx=2 "
                f'width="{max(_x(layer.binary_bytes, top, right) - _LEFT, 2):.1f}" />'
            )
            change += f" → {size(layer.binary_bytes)}"
        text = f"<text x={_WIDTH - right + 12} y={y + 15}>{change}</text>"
        tip = f"<title>{escape(layer.name)}: {change}</title>"
        rows.append(f"<g>{tip}{_name(layer, y)}{bars}{text}</g>")
    return _frame(rows, _axis(top, len(layers), right, size), "Size by layer")


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


def _x(value: float, top: float, right: int) -> float:
    return _LEFT + value / top * (_WIDTH - _LEFT - right)


def _nice(top: float) -> float:
    """Return the next value whose quarters are round, for the grid lines."""
    if top <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(top))
    return next(
        m * power for m in (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10) if m * power >= top * 0.999
    )


def _name(layer: LayerReport, y: int) -> str:
    name = layer.name if len(layer.name) <= 30 else f"…{layer.name[-29:]}"
    kind = "" if layer.binary_weights else " class=soft"
    return f"<text{kind} x={_LEFT - 10} y={y + 15} text-anchor=end>{escape(name)}</text>"


def _axis(top: float, rows: int, right: int, label: Callable[[float], str]) -> str:
    lines = []
    for share in (0, 0.25, 0.5, 0.75, 1):
        x = _x(share * top, top, right)
        lines.append(f'<line class=grid x1="{x:.1f}" x2="{x:.1f}" y1=0 y2={rows * _ROW + 4} />')
        lines.append(
            f'<text class=soft x="{x:.1f}" y={rows * _ROW + 18} text-anchor=middle>'
            f"{label(share * top)}</text>"
        )
    return "".join(lines)


def _frame(rows: list[str], axis: str, label: str) -> str:
    height = len(rows) * _ROW + 24
    return (
        f'<svg viewBox="0 0 {_WIDTH} {height}" role=img aria-label="{label}">'
        f"{axis}{''.join(rows)}</svg>"
    )


def _key(entries: Sequence[tuple[str, str]]) -> str:
    items = "".join(
        f'<span><svg viewBox="0 0 16 12">{mark}</svg>{text}</span>' for mark, text in entries
    )
    return f"<div class=key>{items}</div>"
