"""What one measurement is: the JSON of ``litert-benchmark`` with what it leaves out.

``litert-benchmark --result_json`` (ai-edge-litert) writes ``model``, ``model_size_mb``,
``accelerators``, ``signature``, ``fully_accelerated``, ``num_threads``, ``latency`` and
``throughput_mb_s``. A :class:`Result` has all of these under the same names and units, and adds the
device, the runtime and its version, the delegate and the nodes it took, hashes, memory, the thermal
state and the time of day.
"""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write

SCHEMA = 1


@dataclass(frozen=True)
class Latency:
    """Times of one inference in milliseconds; None where the tool did not say.

    Attributes:
        init_ms: loading the file, building the interpreter, applying the delegate.
        warmup_first_ms: the very first inference.
        warmup_avg_ms: mean of the warm-up inferences, the first one included.
        num_warmup_runs: their number.
        avg_ms: mean of the timed inferences.
        min_ms: fastest one.
        max_ms: slowest one.
        median_ms: median (p50) of the timed inferences.
        std_ms: their standard deviation.
        p5_ms: 5th percentile.
        p95_ms: 95th percentile.
        num_runs: number of timed inferences.
        rounds_ms: median of each round, in the order run; the rounds of several files alternate.
    """

    avg_ms: float
    num_runs: int
    init_ms: float | None = None
    warmup_first_ms: float | None = None
    warmup_avg_ms: float | None = None
    num_warmup_runs: int | None = None
    min_ms: float | None = None
    max_ms: float | None = None
    median_ms: float | None = None
    std_ms: float | None = None
    p5_ms: float | None = None
    p95_ms: float | None = None
    rounds_ms: tuple[float, ...] = ()

    @property
    def typical_ms(self) -> float:
        """The median, or the mean where the tool prints no median."""
        return self.avg_ms if self.median_ms is None else self.median_ms


@dataclass(frozen=True)
class Device:
    """Where it ran.

    Attributes:
        on: the target as given to ``--on``: host, android:SERIAL or ssh://user@host.
        name: model of the machine, as it names itself.
        arch: ``uname -m``: x86_64, aarch64, armv7l, ...
        bits: 32 or 64, of the user programs.
        os: operating system and version.
        cpu: model of the processor.
        cores: number of processors online.
        governor: frequency governor of the first processor.
        affinity: processors the program was allowed to use.
        emulated: whether an emulator executed the instructions, so that times mean nothing.
    """

    on: str = ""
    name: str = ""
    arch: str = ""
    bits: int | None = None
    os: str = ""
    cpu: str = ""
    cores: int | None = None
    governor: str = ""
    affinity: str = ""
    emulated: bool = False

    @property
    def x86(self) -> bool:
        """Whether this is an x86 processor."""
        return self.arch.lower() in ("x86_64", "amd64", "i386", "i486", "i586", "i686", "x86")


@dataclass(frozen=True)
class Runtime:
    """What ran the file: litert, tflite or lce, its version, and the program that measured."""

    name: str = ""
    version: str = ""
    tool: str = ""


@dataclass(frozen=True)
class Delegate:
    """The external delegate; ``path`` is empty where none was used.

    Attributes:
        path: file name of the library.
        sha256: of the library.
        nodes: nodes of the graph it took; None if the tool did not say.
    """

    path: str = ""
    sha256: str = ""
    nodes: int | None = None


@dataclass(frozen=True)
class State:
    """The device before and after the measurement, first and last value of each pair.

    Attributes:
        temperature_c: of the processor, °C.
        throttled: as the device says it: ``vcgencmd get_throttled`` on a Raspberry Pi, the thermal
            status on Android; empty where it is not known.
        battery_percent: charge before the measurement.
        charging: whether it was on a charger.
    """

    temperature_c: tuple[float | None, float | None] = (None, None)
    throttled: tuple[str, str] = ("", "")
    battery_percent: int | None = None
    charging: bool | None = None


@dataclass(frozen=True)
class Memory:
    """Peak memory in MB (10^6 bytes).

    Attributes:
        peak_mb: largest resident set of the process that ran the model.
        model_mb: the part of it that came after the runtime was loaded: file, weights, activations.
    """

    peak_mb: float | None = None
    model_mb: float | None = None


@dataclass(frozen=True)
class Result:
    """One file measured once, on one device, with one runtime and one delegate setting.

    ``instructions`` are those executed by one inference under an emulator: a proxy for energy and
    time that knows neither caches nor pipelines.
    """

    model: str
    num_threads: int
    latency: Latency
    model_bytes: int | None = None
    model_sha256: str = ""
    accelerators: tuple[str, ...] = ("CPU",)
    signature: str = ""
    fully_accelerated: bool | None = None
    throughput_mb_s: float | None = None
    device: Device = field(default_factory=Device)
    runtime: Runtime = field(default_factory=Runtime)
    delegate: Delegate = field(default_factory=Delegate)
    state: State = field(default_factory=State)
    memory: Memory = field(default_factory=Memory)
    instructions: int | None = None
    time: str = ""
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The file and what ran it, as tables name it."""
        with_delegate = " + delegate" if self.delegate.path else ""
        return f"{self.model} ({self.runtime.name or 'unknown runtime'}{with_delegate})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        content = {"schema": SCHEMA} | asdict(self)
        if self.model_bytes is not None:
            content["model_size_mb"] = round(self.model_bytes / 2**20, 2)
        return content

    @staticmethod
    def from_dict(content: Mapping[str, Any]) -> "Result":
        """Read what :meth:`to_dict` or ``litert-benchmark --result_json`` wrote.

        Raises:
            HashBWNError: a field is missing, of the wrong kind, or not a possible value.
        """
        if not isinstance(content, Mapping) or not isinstance(content.get("latency"), Mapping):
            raise HashBWNError(
                'This is no benchmark result: it has no "latency"; give a file that hashbwn '
                "benchmark --json or litert-benchmark --result_json wrote."
            )
        if content.get("schema", SCHEMA) != SCHEMA:
            raise HashBWNError(
                f"The benchmark result has schema {content['schema']!r}, this version reads "
                f"{SCHEMA}: use the hashbwn_keras that wrote it."
            )
        parts = {
            name: _build(kind, content.get(name, {}))
            for name, kind in (
                ("latency", Latency),
                ("device", Device),
                ("runtime", Runtime),
                ("delegate", Delegate),
                ("state", State),
                ("memory", Memory),
            )
        }
        if "schema" not in content:  # written by litert-benchmark itself
            parts["runtime"] = Runtime("litert", "", "litert-benchmark")
            content = dict(content) | {"model": os.path.basename(str(content.get("model", "")))}
        result = _build(Result, dict(content) | parts)
        _check(result)
        return result


def _build(kind: type, content: Any) -> Any:
    if not isinstance(content, Mapping):
        raise HashBWNError(f"The benchmark result holds {content!r} where it needs an object.")
    known = {f.name for f in fields(kind)}
    values = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content.items()
        if name in known
    }
    try:
        return kind(**values)
    except TypeError as error:
        raise HashBWNError(f"The benchmark result is incomplete: {error}.") from error


def _check(result: Result) -> None:
    if not isinstance(result.model, str) or not result.model:
        raise HashBWNError('The benchmark result does not name its "model".')
    for name in ("avg_ms", "median_ms", "min_ms", "max_ms", "p5_ms", "p95_ms", "init_ms"):
        value = getattr(result.latency, name)
        if value is None and name != "avg_ms":
            continue
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise HashBWNError(
                f"The benchmark result of {result.model} has {name} = {value!r}: it must be a "
                "number of milliseconds, 0 or more."
            )
    for name, value in (("num_runs", result.latency.num_runs), ("num_threads", result.num_threads)):
        if not isinstance(value, int) or value < 1:
            raise HashBWNError(
                f"The benchmark result of {result.model} has {name} = {value!r}: it must be 1 or "
                "more."
            )


def sha256(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def save(results: Iterable[Result], path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Write results as JSON: ``{"schema": 1, "results": [...]}``.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.files.atomic_write`.
    """
    content = {"schema": SCHEMA, "results": [result.to_dict() for result in results]}
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    return atomic_write(path, text.encode(), overwrite)


def is_result(content: Any) -> bool:
    """Tell whether parsed JSON is a benchmark result, so that ``hashbwn report`` can sort it."""
    return isinstance(content, Mapping) and ("results" in content or "latency" in content)


def load(path: str | os.PathLike[str]) -> list[Result]:
    """Read a result file of this project or of ``litert-benchmark``.

    Raises:
        HashBWNError: the file is missing, no JSON, or no benchmark result.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise HashBWNError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise HashBWNError(f"{path} is not JSON: {error}.") from error
    if not is_result(content):
        raise HashBWNError(f"{path} is no benchmark result: it has neither results nor latency.")
    entries = content.get("results", [content])
    if not isinstance(entries, list) or not entries:
        raise HashBWNError(f"{path} holds no results: measure again with --json.")
    try:
        return [Result.from_dict(entry) for entry in entries]
    except HashBWNError as error:
        raise HashBWNError(f"{path}: {error}") from error
