"""Results as one plot."""

import os
from collections.abc import Sequence
from pathlib import Path

from hashbwn_keras.benchmark.results import Result
from hashbwn_keras.benchmark.table import by_device
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import staged
from hashbwn_keras.text import printable


def plot(results: Sequence[Result], path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Draw p50 with p5 to p95 as bars, one colour a device, into a PNG, SVG or PDF file.

    Emulated times are left out.

    Raises:
        HashBWNError: nothing is left to draw, the path is not writable or has another ending.
        ImportError: matplotlib is missing.
    """
    shown = [result for result in results if not result.device.emulated]
    if not shown:
        raise HashBWNError("All results are emulated, so there are no times to draw.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "hashbwn_keras[plot]".') from error
    labels = [printable(r.label) + f"\n{printable(r.device.on) or '?'}" for r in shown]
    figure = Figure(figsize=(8, 1 + 0.5 * len(shown)), layout="constrained")
    axes = figure.subplots()
    colours = {id(r): f"C{n}" for n, group in enumerate(by_device(shown)) for r in group}
    for place, result in enumerate(shown):
        latency, middle = result.latency, result.latency.typical_ms
        low = middle if latency.p5_ms is None else min(latency.p5_ms, middle)
        high = middle if latency.p95_ms is None else max(latency.p95_ms, middle)
        axes.barh(
            place,
            middle,
            xerr=[[middle - low], [high - middle]],
            color=colours[id(result)],
            capsize=3,
        )
    # A dollar sign would begin a formula.
    axes.set_yticks(range(len(shown)), [label.replace("$", r"\$") for label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("ms per inference (p50; whiskers p5 to p95)")
    suffix, kinds = Path(path).suffix[1:], figure.canvas.get_supported_filetypes()
    if suffix not in kinds:
        raise HashBWNError(f"{path} has the ending {suffix!r}: name it .png, .svg or .pdf.")
    with staged(path, overwrite) as draft:
        figure.savefig(draft)
    return Path(path)
