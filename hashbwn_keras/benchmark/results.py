"""What one measurement is: the JSON of ``litert-benchmark`` with what it leaves out.

``litert-benchmark --result_json`` (ai-edge-litert) writes ``model``, ``model_size_mb``,
``accelerators``, ``signature``, ``fully_accelerated``, ``num_threads``, ``latency`` and
``throughput_mb_s``. A :class:`Result` has all of these under the same names and units, and adds the
device, the runtime and its version, the delegate and the nodes it took, hashes, memory, the thermal
state and the time of day.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SCHEMA = 1

System = Literal["", "linux", "android"]
"""What runs programs on a device: "" where it is something else or not known."""


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
        system: which programs and libraries it runs; "" in results written before it was noted.
        max_clock_mhz: highest clock of the first processor, MHz.
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
    system: System = ""
    max_clock_mhz: float | None = None

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
        load: average number of processes that wanted to run, over the last minute.
        clock_mhz: of the first processor, MHz.
    """

    temperature_c: tuple[float | None, float | None] = (None, None)
    throttled: tuple[str, str] = ("", "")
    battery_percent: int | None = None
    charging: bool | None = None
    load: tuple[float | None, float | None] = (None, None)
    clock_mhz: tuple[float | None, float | None] = (None, None)


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
