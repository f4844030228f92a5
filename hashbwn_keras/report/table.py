"""The report as plain text for a terminal."""

from collections.abc import Sequence

from hashbwn_keras.report.data import LayerReport, OutputReport, Report

_HEADS = ("layer", "weights", "MACs", "float", "binary", "error", "solved", "sign", "flipped")


def text(report: Report) -> str:
    """Return the table by layer and the lines about the whole network."""
    rows = [_row(layer) for layer in report.layers]
    lines = aligned([_HEADS, *rows], left=1)
    return "\n".join([*lines, "", *_whole(report)])


def aligned(rows: Sequence[Sequence[str]], left: int) -> list[str]:
    """Return lines with columns of equal width and a rule under the first row.

    Args:
        rows: cells; the first row is the head.
        left: how many of the first columns are flush left; the others are flush right.
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return [lines[0], "  ".join("─" * width for width in widths), *lines[1:]]


def size(count: float) -> str:
    """Return bytes for people: 1,234 B, 12.3 kB, 4.56 MB (powers of 1000)."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} B" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def amount(count: float) -> str:
    """Return a number for people: 999, 12.3 k, 4.56 M, 1.2 G."""
    for unit in ("", " k", " M"):
        if count < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g} G"


def percent(share: float | None) -> str:
    """Return a share in percent with two digits behind the point, "–" for None."""
    return "–" if share is None else f"{100 * share:.2f} %"


def ratio(error: float | None) -> str:
    """Return a relative error with three digits, "–" for None."""
    return "–" if error is None else f"{error:.3f}"


def _row(layer: LayerReport) -> tuple[str, ...]:
    shape = " + ".join("×".join(map(str, kernel)) for kernel in layer.kernel_shapes)
    return (
        layer.name,
        shape,
        amount(layer.macs),
        size(layer.float_bytes),
        size(layer.binary_bytes) if layer.binary_weights else "float",
        ratio(layer.relative_error),
        ratio(layer.solve_error),
        ratio(layer.sign_error),
        percent(layer.flipped),
    )


def _whole(report: Report) -> list[str]:
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
    parts = [f"relative error {ratio(output.relative_error)}"]
    if output.agreement is not None:
        parts.insert(0, f"{percent(output.agreement)} top-1 agreement")
    if output.float_accuracy is not None:
        parts.insert(
            0,
            f"accuracy {percent(output.float_accuracy)} float → {percent(output.binary_accuracy)} "
            "binary",
        )
    if not output.finite:
        parts.append("NOT FINITE in the binary network")
    return ("output   " + (f"{output.name}: " if named else "")) + ", ".join(parts)
