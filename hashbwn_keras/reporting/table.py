"""The report as plain text for a terminal."""

from hashbwn_keras.reporting.data import LayerReport, OutputReport, Report
from hashbwn_keras.text import aligned, amount, percent, ratio, size

_HEADS = ("layer", "weights", "MACs", "float", "binary", "error", "solved", "sign", "flipped")


def text(report: Report) -> str:
    """Return the table by layer and the lines about the whole network."""
    rows = [_row(layer) for layer in report.layers]
    lines = aligned([_HEADS, *rows], left=1)
    return "\n".join([*lines, "", *_whole(report)])


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
