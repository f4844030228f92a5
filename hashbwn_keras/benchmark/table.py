"""Results as one table and one plot."""

import os
from collections.abc import Sequence
from pathlib import Path

from hashbwn_keras.benchmark.results import Result
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import staged


def why_incomparable(result: Result, baseline: Result) -> str:
    """Return why the times of two results give no speed-up, or an empty string if they do."""
    for one in (baseline, result):
        if one.device.emulated:
            return f"{one.label} ran under an emulator, whose times mean nothing"
        if one.runtime.name == "lce" and one.device.x86:
            return (
                f"{one.label} ran on x86, where Larq Compute Engine has only its slow reference "
                "kernels"
            )
    if not result.device.arch or not baseline.device.arch:
        one = baseline if result.device.arch else result
        return f"{one.label} does not say which device it ran on"
    places = [(r.device.name, r.device.arch, r.device.cpu) for r in (result, baseline)]
    if places[0] != places[1]:
        return f"{result.label} and {baseline.label} ran on different devices"
    if result.num_threads != baseline.num_threads:
        return (
            f"{result.label} ran on {result.num_threads} threads, {baseline.label} on "
            f"{baseline.num_threads}"
        )
    return ""


def speed_up(result: Result, baseline: Result) -> float:
    """Return how many times faster ``result`` is than ``baseline`` (typical time, median if known).

    Raises:
        HashBWNError: the two times must not be compared.
    """
    if why := why_incomparable(result, baseline):
        raise HashBWNError(f"No speed-up: {why}.")
    return baseline.latency.typical_ms / result.latency.typical_ms


_HEADER = (
    "file",
    "runtime",
    "delegate",
    "bytes",
    "init ms",
    "first ms",
    "p50 ms",
    "p95 ms",
    "rounds ms",
    "memory MB",
    "speed-up",
)


def text(results: Sequence[Result]) -> str:
    """Return a table for a terminal, grouped by device; speed-ups are against its first row.

    Times are in milliseconds. "rounds" is the range of the rounds' medians; "memory" is the peak
    beyond what the runtime itself needs.
    """
    blocks = []
    for group in _by_device(results):
        baseline = group[0]
        notes: list[str] = []
        rows = [_HEADER, *(_row(result, baseline, notes) for result in group)]
        if any(result.instructions for result in group):
            counts = ["instructions", *(_instructions(result) for result in group)]
            rows = [(*row, count) for row, count in zip(rows, counts, strict=True)]
            _note(notes, "instructions executed by one inference: a proxy, not a time")
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        lines[1:1] = ["  ".join("-" * width for width in widths)]
        blocks.append("\n".join([_heading(baseline), *lines, *notes]))
    return "\n\n".join(blocks) + "\n"


def _by_device(results: Sequence[Result]) -> list[list[Result]]:
    groups: dict[tuple[object, ...], list[Result]] = {}
    for result in results:
        device = result.device
        key = (device.on, device.name, device.arch, device.cpu, device.emulated, result.num_threads)
        groups.setdefault(key, []).append(result)
    return list(groups.values())


def _heading(result: Result) -> str:
    device = result.device
    emulated = "EMULATED, times mean nothing" if device.emulated else ""
    parts = [
        device.on or "unknown device",
        device.name,
        device.cpu,
        device.arch,
        device.os,
        f"{result.num_threads} thread{'s' if result.num_threads > 1 else ''}",
        f"governor {device.governor}" if device.governor else "",
        _thermal(result),
        emulated,
        result.time,
    ]
    return ", ".join(filter(None, parts))


def _thermal(result: Result) -> str:
    before, after = result.state.temperature_c
    words = []
    if before is not None and after is not None:
        words.append(f"{before:.0f} to {after:.0f} °C")
    if result.state.throttled[1]:
        words.append(f"throttled: {result.state.throttled[1]}")
    return ", ".join(words)


def _row(result: Result, baseline: Result, notes: list[str]) -> tuple[str, ...]:
    latency = result.latency
    why = why_incomparable(result, baseline)
    if why:
        _note(notes, f"no speed-up: {why}")
    for note in result.notes:
        _note(notes, f"{result.model}: {note}")
    delegate = "-"
    if result.delegate.path:
        nodes = "?" if result.delegate.nodes is None else str(result.delegate.nodes)
        delegate = f"{nodes} nodes"
    mark = "" if latency.median_ms is not None else " (mean)"
    rounds = latency.rounds_ms
    return (
        result.model,
        f"{result.runtime.name} {result.runtime.version}".strip() or "-",
        delegate,
        "-" if result.model_bytes is None else f"{result.model_bytes:,}",
        _ms(latency.init_ms),
        _ms(latency.warmup_first_ms),
        _ms(latency.typical_ms) + mark,
        _ms(latency.p95_ms),
        f"{_ms(min(rounds))}..{_ms(max(rounds))}" if rounds else "-",
        "-" if result.memory.model_mb is None else f"{result.memory.model_mb:.1f}",
        "refused" if why else f"{speed_up(result, baseline):.2f}x",
    )


def _note(notes: list[str], note: str) -> None:
    line = f"  * {note}"
    if line not in notes:
        notes.append(line)


def _instructions(result: Result) -> str:
    return "-" if result.instructions is None else f"{result.instructions:,}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def plot(results: Sequence[Result], path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Draw p50 with p5 to p95 as bars, one colour a device, into a PNG, SVG or PDF file.

    Emulated times are left out.

    Raises:
        HashBWNError: nothing is left to draw, or the path is not writable.
        ImportError: matplotlib is missing.
    """
    shown = [result for result in results if not result.device.emulated]
    if not shown:
        raise HashBWNError("All results are emulated, so there are no times to draw.")
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('Plots need matplotlib: pip install "hashbwn_keras[plot]".') from error
    figure = Figure(figsize=(8, 1 + 0.5 * len(shown)), layout="constrained")
    axes = figure.subplots()
    colours = {id(r): f"C{n}" for n, group in enumerate(_by_device(shown)) for r in group}
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
    axes.set_yticks(range(len(shown)), [f"{r.label}\n{r.device.on or '?'}" for r in shown])
    axes.invert_yaxis()
    axes.set_xlabel("ms per inference (p50; whiskers p5 to p95)")
    with staged(path, overwrite) as draft:
        figure.savefig(draft)
    return Path(path)
