"""The report as one HTML page with inline plots, light or dark as the reader's system."""

import json
from html import escape

from hashbwn_keras.reporting import gallery, plots
from hashbwn_keras.reporting.data import Comparison, OutputReport
from hashbwn_keras.reporting.style import STYLE
from hashbwn_keras.text import amount, percent, ratio, shortened, size


def page(report: Comparison) -> str:
    """Return the whole page; it loads nothing from elsewhere."""
    title = escape(report.model)
    parts = [
        f"<h1>{title}</h1><p class=lead>{_lead(report)}</p>",
        f"<div class=cards>{''.join(_cards(report))}</div>",
        _section(
            "Error by layer",
            "Share of the variance of the float layer's output that the binary network does not "
            "reproduce, each network on its own input. 0 is perfect; 1 is as bad as a constant.",
            plots.error_key(report.layers) + plots.errors(report.layers),
        ),
        _section(
            "Size by layer",
            "Bytes of each layer's weights: 4 bytes each in the float network; a few bits per "
            "weight and 4 bytes per scale in the binary one.",
            plots.size_key() + plots.sizes(report.layers),
        ),
    ]
    if any(layer.scales for layer in report.layers):
        parts.append(
            _section(
                "Scales",
                "Every weight of an output channel is +α or −α. How the α are spread over the "
                "channels of each layer:",
                f"<div class=small>{''.join(map(plots.scales, report.layers))}</div>",
            )
        )
    if any(output.worst for output in report.outputs):
        parts.append(
            _section(
                "Furthest apart",
                "The images on which the two networks differ most, with what the float and the "
                "binary one make of them.",
                gallery.worst(report.outputs),
            )
        )
    parts += [_section("Layers", "", f"<div class=wide>{_table(report)}</div>"), _recipe(report)]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{title}: float and binary</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}<footer>Written by hashbwn_keras."
        "</footer></main></body></html>\n"
    )


def _lead(report: Comparison) -> str:
    binary = sum(1 for layer in report.layers if layer.binary_weights)
    return (
        f"{binary} of {len(report.layers)} weight layers binary, compared with the float network "
        f"on {report.images:,} images"
    )


def _section(title: str, text: str, content: str) -> str:
    paragraph = f"<p>{text}</p>" if text else ""
    return f"<section><h2>{title}</h2>{paragraph}{content}</section>"


def _card(value: str, what: str) -> str:
    what = what.replace(" %", "&nbsp;%")
    return f"<div class=card><b>{value}</b><span>{what}</span></div>"


def _cards(report: Comparison) -> list[str]:
    cards = [card for output in report.outputs for card in _output_cards(report, output)]
    smaller = report.float_bytes / report.binary_bytes
    return [
        *cards,
        _card(
            f"{smaller:.1f}<i>×</i>",
            f"smaller weights: {size(report.float_bytes)} → {size(report.binary_bytes)}",
        ),
        _card(
            amount(report.binary_weights),
            f"binary weights, in {percent(report.binary_macs / max(report.macs, 1))} of "
            f"{amount(report.macs)} multiply-accumulates",
        ),
    ]


def _output_cards(report: Comparison, output: OutputReport) -> list[str]:
    where = f" at {escape(shortened(output.name))}" if len(report.outputs) > 1 else ""
    cards = []
    if output.binary_accuracy is not None:
        cards.append((percent(output.binary_accuracy), "accuracy{}; float: "
                      f"{percent(output.float_accuracy)}"))  # fmt: skip
    if output.float_rmse is not None and output.binary_rmse is not None:
        cards.append((f"{output.binary_rmse:.4g}", "root mean squared error{}; float: "
                      f"{output.float_rmse:.4g}"))  # fmt: skip
    if output.agreement is not None:
        cards.append((percent(output.agreement), _agreement(output) + "{}"))
    if output.uneven:
        cards.append((percent(output.class_agreement), "agreement as the mean of the classes{}; "
                      f"{output.worst_class_in_words()}"))  # fmt: skip
    if output.agreement is None and output.relative_error is not None:
        cards.append((ratio(output.relative_error), "relative error{}"))
    if output.agreement is None and output.left_out:
        cards.append(("–", f"no error{{}}: {output.left_out}"))
    if not output.finite:
        cards.append(("NaN or ∞", "in the binary network's output{}"))
    return [_card(value, what.format(where)) for value, what in cards]


def _agreement(output: OutputReport) -> str:
    if output.kind == "classes" and not output.by_position:
        return "same top-1 class as float"
    return output.agreement_in_words()


def _table(report: Comparison) -> str:
    heads = ("Layer", "Kind", "Kernels", "MACs", "Float", "Bits", "Binary", "Error", "Solved",
             "Sign", "Flipped", "Solver or reason")  # fmt: skip
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads[:-1])}"]
    lines.append(f"<th class=left>{heads[-1]}</th></tr>")
    for layer in report.layers:
        cells = (
            escape(layer.name),
            escape(layer.kind),
            " + ".join("×".join(map(str, shape)) for shape in layer.kernel_shapes),
            amount(layer.macs),
            size(layer.float_bytes),
            str(layer.bits or "–"),
            size(layer.binary_bytes) if layer.binary_weights else "float",
            ratio(layer.relative_error),
            ratio(layer.solve_error),
            ratio(layer.sign_error),
            percent(layer.flipped),
        )
        still = "" if layer.binary_weights else " class=still"
        note = escape(layer.method or layer.why_float or "")
        lines.append(f"<tr{still}>{''.join(f'<td>{cell}</td>' for cell in cells)}")
        lines.append(f"<td class=left>{note}</td></tr>")
    return f"<table>{''.join(lines)}</table>"


def _recipe(report: Comparison) -> str:
    if not report.recipe:
        return ""
    content = escape(json.dumps(report.recipe, indent=2, default=str))
    return f"<section><details><summary>Recipe</summary><pre>{content}</pre></details></section>"
