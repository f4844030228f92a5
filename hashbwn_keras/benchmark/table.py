"""Results as one table."""

from collections.abc import Sequence

from hashbwn_keras.benchmark.results import Result
from hashbwn_keras.benchmark.speed_up import speed_up, why_incomparable
from hashbwn_keras.text import aligned, printable

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
    for group in by_device(results):
        baseline = group[0]
        notes: list[str] = []
        rows = [_HEADER, *(_row(result, baseline, notes) for result in group)]
        if any(result.instructions for result in group):
            counts = ["instructions", *(_instructions(result) for result in group)]
            rows = [(*row, count) for row, count in zip(rows, counts, strict=True)]
            _note(notes, "instructions executed by one inference: a proxy, not a time")
        lines = aligned([[printable(cell) for cell in row] for row in rows], left=3)
        blocks.append("\n".join([printable(_heading(baseline)), *lines, *notes]))
    return "\n\n".join(blocks) + "\n"


def by_device(results: Sequence[Result]) -> list[list[Result]]:
    """Return the results in groups of one device and number of threads each."""
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
    line = f"  * {printable(note)}"
    if line not in notes:
        notes.append(line)


def _instructions(result: Result) -> str:
    return "-" if result.instructions is None else f"{result.instructions:,}"


def _ms(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"
