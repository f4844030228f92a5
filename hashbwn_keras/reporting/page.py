"""The report as one HTML page with inline plots, light or dark as the reader's system."""

import json
from html import escape

from hashbwn_keras.reporting import plots
from hashbwn_keras.reporting.data import OutputReport, Report
from hashbwn_keras.text import amount, percent, ratio, size

_STYLE = """
:root { --paper:#fbfaf7; --card:#fff; --ink:#1d2430; --soft:#667085; --line:#e4e1d9;
  --binary:#0f766e; --float:#c9cdd6; --mark:#b45309; --font:system-ui,"Segoe UI",sans-serif; }
@media (prefers-color-scheme: dark) { :root { --paper:#12161d; --card:#1a202a; --ink:#e6e9ef;
  --soft:#98a2b3; --line:#2b3340; --binary:#2dd4bf; --float:#4a5568; --mark:#f59e0b; } }
* { box-sizing:border-box }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 var(--font) }
main { max-width:1040px; margin:0 auto; padding:40px 20px 64px }
h1 { font-size:28px; margin:0; letter-spacing:-.01em; overflow-wrap:anywhere }
h2 { font-size:17px; margin:0 0 2px } .lead { color:var(--soft); margin:4px 0 24px }
.cards { display:grid; grid-template-columns:repeat(auto-fit,minmax(200px,1fr)); gap:14px }
.card, section { background:var(--card); border:1px solid var(--line); border-radius:12px }
.card { padding:16px 18px } .card b { display:block; font-size:27px; letter-spacing:-.02em;
  font-variant-numeric:tabular-nums; line-height:1.25 } .card span { color:var(--soft);
  font-size:13px } .card i { font-style:normal;
  color:var(--soft); font-weight:400; font-size:19px; letter-spacing:0 }
section { margin-top:18px; padding:20px 22px } section > p { margin:0 0 12px; color:var(--soft);
  font-size:13.5px; max-width:92ch }
svg { display:block; width:100%; height:auto; font-family:var(--font) }
svg text { fill:var(--ink); font-size:12px } svg .soft { fill:var(--soft); font-size:11px }
svg.plot { min-width:560px } svg .grid { stroke:var(--line) }
svg .binary { fill:var(--binary) } svg .float { fill:var(--float) }
svg .tick { stroke:var(--ink); stroke-width:2 }
svg .ring { fill:var(--card); stroke:var(--mark); stroke-width:2 }
.key { display:flex; flex-wrap:wrap; gap:6px 20px; font-size:12.5px; color:var(--soft);
  margin-bottom:8px } .key svg { width:16px; height:12px; display:inline-block; margin-right:6px;
  vertical-align:-1px }
.small { display:grid; grid-template-columns:repeat(auto-fill,minmax(150px,1fr)); gap:14px 18px }
.small figure { margin:0; min-width:0 } .small figcaption { font-size:12px; overflow:hidden;
  text-overflow:ellipsis; white-space:nowrap }
.wide { overflow-x:auto } table { border-collapse:collapse; width:100%; font-size:13px;
  font-variant-numeric:tabular-nums } th, td { padding:6px 10px; text-align:right;
  border-bottom:1px solid var(--line); white-space:nowrap } th { color:var(--soft);
  font-weight:500 } th:first-child, td:first-child, th:nth-child(2), td:nth-child(2),
  td.left, th.left { text-align:left } tr:last-child td { border-bottom:0 }
td.left { white-space:normal; min-width:190px }
tr.still td { color:var(--soft) } summary { cursor:pointer; font-weight:600 }
pre { overflow:auto; font-size:12px; max-height:420px }
footer { color:var(--soft); font-size:12.5px; margin-top:22px }
"""


def page(report: Report) -> str:
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
            "Bytes of each layer's weights: 4 bytes each in the float network; 1 bit per binary "
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
    parts += [_section("Layers", "", f"<div class=wide>{_table(report)}</div>"), _recipe(report)]
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"<title>{title}: float and binary</title><style>{_STYLE}</style></head>"
        f"<body><main>{''.join(parts)}<footer>Written by hashbwn_keras."
        "</footer></main></body></html>\n"
    )


def _lead(report: Report) -> str:
    binary = sum(1 for layer in report.layers if layer.binary_weights)
    return (
        f"{binary} of {len(report.layers)} weight layers binary, compared with the float network "
        f"on {report.images:,} images"
    )


def _section(title: str, text: str, content: str) -> str:
    paragraph = f"<p>{text}</p>" if text else ""
    return f"<section><h2>{title}</h2>{paragraph}{content}</section>"


def _card(value: str, what: str) -> str:
    return f"<div class=card><b>{value}</b><span>{what}</span></div>"


def _cards(report: Report) -> list[str]:
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


def _output_cards(report: Report, output: OutputReport) -> list[str]:
    where = f" at {escape(output.name)}" if len(report.outputs) > 1 else ""
    cards = []
    if output.binary_accuracy is not None:
        cards.append(
            _card(
                percent(output.binary_accuracy),
                f"accuracy{where}; float: {percent(output.float_accuracy)}",
            )
        )
    if output.agreement is not None:
        cards.append(_card(percent(output.agreement), f"same top-1 class as float{where}"))
    else:
        cards.append(_card(ratio(output.relative_error), f"relative error{where}"))
    if not output.finite:
        cards.append(_card("NaN or ∞", f"in the binary network's output{where}"))
    return cards


def _table(report: Report) -> str:
    heads = ("Layer", "Kind", "Kernels", "MACs", "Float", "Binary", "Error", "Solved", "Sign",
             "Flipped", "Solver or reason")  # fmt: skip
    lines = [f"<tr>{''.join(f'<th>{head}</th>' for head in heads[:-1])}"]
    lines.append(f"<th class=left>{heads[-1]}</th></tr>")
    for layer in report.layers:
        cells = (
            escape(layer.name),
            escape(layer.kind),
            " + ".join("×".join(map(str, shape)) for shape in layer.kernel_shapes),
            amount(layer.macs),
            size(layer.float_bytes),
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


def _recipe(report: Report) -> str:
    if not report.recipe:
        return ""
    content = escape(json.dumps(report.recipe, indent=2, default=str))
    return f"<section><details><summary>Recipe</summary><pre>{content}</pre></details></section>"
