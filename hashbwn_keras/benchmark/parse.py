"""Reading what the measuring tools and the devices print.

Formats (TensorFlow's ``benchmark_model.cc`` and ``stats_calculator.h``, which
``lce_benchmark_model`` and the Android benchmark app share)::

    INFO: Initialized session in 92.318ms.
    INFO: count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 ...
    INFO: count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 ...
    INFO: Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, ...

All in microseconds. What bites: means are printed with six digits, so 1.24 s reads ``1.24e+06``;
the first ``count=`` line is the warm-up; a single run prints ``count=1 curr=40000`` and nothing
else; p5, median and p95 are missing before TensorFlow 2.16; adb adds carriage returns; the prefix
is ``INFO: `` on a shell and a date, ids and a tag in the Android log.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hashbwn_keras.benchmark.results import Latency
from hashbwn_keras.errors import HashBWNError

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_COUNT = re.compile(
    rf"\bcount=(?P<count>\d+)(?P<rest>(?: (?:first|curr|min|max|avg|std|p5|median|p95)={NUMBER})+)"
)
_PAIR = re.compile(rf"(\w+)=({NUMBER})")
_TIMINGS = re.compile(
    rf"Inference timings in us: Init: (?P<init>{NUMBER}), First inference: (?P<first>{NUMBER}), "
    rf"Warmup \(avg\): (?P<warmup>{NUMBER}), Inference \(avg\): (?P<avg>{NUMBER})"
)
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: ({NUMBER})")
_OVERALL = re.compile(rf"[Mm]emory footprint.*\(MB\): init=({NUMBER}) overall=({NUMBER})")
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate \(([^)]*)\)")
_FAILURES = re.compile(
    r"^(?:ERROR: |\S+ \S+ +\d+ +\d+ E tflite *: |E )?(?P<what>.*(?:"
    r"Didn't find op for builtin|Encountered unresolved custom op|Failed to |failed to |"
    r"Benchmarking failed|Could not open|CANNOT LINK|not found|Permission denied|"
    r"cannot execute|Exec format error|No such file|error while loading).*)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Extras:
    """What ``benchmark_model`` may say beside the times; None where it does not.

    Attributes:
        peak_mb: largest resident set of the process, MB.
        model_mb: the part of it that came after the start.
        nodes: taken by a delegate other than XNNPACK.
    """

    peak_mb: float | None = None
    model_mb: float | None = None
    nodes: int | None = None


def clean(text: str) -> str:
    """Return text without the carriage returns that terminals add."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parse_benchmark_model(text: str) -> tuple[Latency, Extras]:
    """Read the output of ``benchmark_model``, ``lce_benchmark_model`` or the Android app's log.

    Returns:
        The times, and what else it says.

    Raises:
        HashBWNError: the output holds no result; the message quotes the line that says why.
    """
    text = clean(text)
    timings = _TIMINGS.search(text)
    counts = [_count(match) for match in _COUNT.finditer(text)]
    if timings is None or not counts:
        raise HashBWNError(f"The benchmark program gave no result: {failure(text)}")
    timed = counts[-1]
    warmup = counts[-2] if len(counts) > 1 else {}
    # The summary line rounds to six digits; the count line of the same run is no finer, so either.
    latency = Latency(
        init_ms=_ms(timings["init"]),
        warmup_first_ms=_ms(timings["first"]),
        warmup_avg_ms=_ms(timings["warmup"]),
        num_warmup_runs=int(warmup["count"]) if warmup else None,
        avg_ms=_ms(timings["avg"]),
        num_runs=int(timed["count"]),
        min_ms=_ms(timed.get("min", timed.get("curr"))),
        max_ms=_ms(timed.get("max", timed.get("curr"))),
        std_ms=_ms(timed.get("std", 0)),
        median_ms=_ms(timed["median"]) if "median" in timed else None,
        p5_ms=_ms(timed["p5"]) if "p5" in timed else None,
        p95_ms=_ms(timed["p95"]) if "p95" in timed else None,
    )
    return latency, _extras(text)


def _count(match: re.Match[str]) -> dict[str, float]:
    return {"count": float(match["count"])} | {k: float(v) for k, v in _PAIR.findall(match["rest"])}


def _ms(microseconds: Any) -> float:
    return float(microseconds) / 1e3


def _extras(text: str) -> Extras:
    peak, overall = _PEAK.search(text), _OVERALL.search(text)
    ours = [int(n) for n, _, name in _REPLACED.findall(text) if "xnnpack" not in name.lower()]
    return Extras(
        float(peak[1]) if peak else None,
        float(overall[2]) if overall else None,
        sum(ours) if ours else None,
    )


def failure(text: str) -> str:
    """Return the line of a tool's output that best says why it failed, or its last line."""
    text = clean(text)
    if found := _FAILURES.search(text):
        return _sentence(found["what"])
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return _sentence(lines[-1]) if lines else "it printed nothing."


def _sentence(line: str) -> str:
    line = re.sub(r"^(?:ERROR|INFO|WARNING): *", "", line.strip())
    return line if line.endswith((".", "!")) else line + "."


def parse_logcat(text: str, graph: str) -> str | None:
    """Return the part of an Android log that belongs to the run of ``graph``, once it has ended.

    Args:
        text: output of ``logcat -d -v threadtime``.
        graph: path of the model on the device; runs of other files in the same log are left out.

    Returns:
        The messages without date, ids and tag, or None while the run has not ended.
    """
    messages: list[str] = []
    inside = ended = False
    for line in clean(text).splitlines():
        match = re.match(r"\S+ \S+ +\d+ +\d+ ([VDIWEF]) (tflite\w*) *: (.*)$", line)
        if match is None:
            continue
        level, _, message = match.groups()
        if message.startswith("Graph: ["):
            inside = message == f"Graph: [{graph}]"
            messages, ended = ([], False) if inside else (messages, ended)
        if inside:
            messages.append(message)
            failed = level in "EF" and "ailed" in message
            ended = ended or failed or "Inference timings in us" in message
    return "\n".join(messages) if ended else None


def parse_litert(content: Mapping[str, Any]) -> Latency:
    """Read the JSON of ``litert-benchmark --result_json``.

    Raises:
        HashBWNError: it has no ``latency``.
    """
    latency = content.get("latency")
    if not isinstance(latency, Mapping) or "avg_ms" not in latency or "num_runs" not in latency:
        raise HashBWNError("litert-benchmark wrote no latency: run it by hand to see why.")
    names = Latency.__dataclass_fields__
    return Latency(**{name: value for name, value in latency.items() if name in names})


def parse_marked_json(text: str, marker: str) -> Any | None:
    """Return the JSON after ``marker`` on its line, or None if no line starts with it."""
    for line in clean(text).splitlines():
        if line.startswith(marker):
            return json.loads(line[len(marker) :])
    return None
