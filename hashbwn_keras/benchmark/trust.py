"""What to distrust in a result, and whether it says all that others need."""

from collections.abc import Callable, Sequence

from hashbwn_keras.benchmark.results import Device, Result, State

_ENOUGH_RUNS = 20
_STEADY = 1.1
"""Medians of rounds that differ by more than this ratio show a clock or a neighbour that moved."""
_TAIL = 1.5
"""A 95th percentile of more than this many medians shows that something else ran."""
_IDLE = 0.5
"""Processes that may want to run before a measurement begins."""
_FULL_CLOCK = 0.95
_HOT_C = 80
_LOW_BATTERY = 20


def doubts(result: Result) -> list[str]:
    """Return what makes the times of a result doubtful, one sentence with a cure each."""
    device, state = result.device, result.state
    return [*_of_device(device, result.num_threads), *_of_state(device, state), *_of_times(result)]


def _of_device(device: Device, threads: int) -> list[str]:
    found = []
    if device.emulated:
        found.append("it ran under an emulator, whose times mean nothing: count instructions only")
    if device.governor not in ("", "performance"):
        found.append(
            f"the governor is {device.governor}, so that the clock follows the load: set it to "
            "performance"
        )
    if device.cores is not None and threads > device.cores:
        found.append(
            f"{threads} threads shared {device.cores} processors: give --threads {device.cores}"
        )
    return found


def _of_state(device: Device, state: State) -> list[str]:
    found = []
    when = ("before", "after")
    for moment, text in zip(when, state.throttled, strict=True):
        now = [word for word in text.split(", ") if word and not word.endswith("since boot")]
        if now and now != ["no"]:
            found.append(
                f"it was throttled {moment} the measurement ({', '.join(now)}): let it cool, and "
                "use a power supply that is strong enough"
            )
    if state.throttled[0].endswith("since boot"):
        found.append("it was throttled since it was started: restart it and measure again")
    after = state.temperature_c[1]
    if after is not None and after >= _HOT_C:
        found.append(f"it ended at {after:.0f} °C, where processors slow down: cool it")
    for moment, mhz in zip(when, state.clock_mhz, strict=True):
        top = device.max_clock_mhz
        if mhz is not None and top and mhz < _FULL_CLOCK * top:
            found.append(
                f"its clock was at {mhz:.0f} of {top:.0f} MHz {moment} the measurement: set the "
                "governor to performance and let it cool"
            )
    load = state.load[0]
    if load is not None and load > _IDLE:
        found.append(
            f"{load:.1f} other processes wanted to run before the measurement: end them, or wait a "
            "minute"
        )
    if state.battery_percent is not None and state.battery_percent < _LOW_BATTERY:
        found.append(
            f"its battery was at {state.battery_percent} %, which may save power: charge it"
        )
    return found


def _of_times(result: Result) -> list[str]:
    latency, rounds = result.latency, result.latency.rounds_ms
    found = []
    if latency.num_runs < _ENOUGH_RUNS:
        found.append(f"it has {latency.num_runs} timed runs only: give --runs 50 or more")
    if latency.median_ms is None:
        found.append("it has no median, and a mean holds every disturbance: use another --tool")
    least, most = min(rounds, default=0.0), max(rounds, default=0.0)
    if least and most > _STEADY * least:
        found.append(
            f"the medians of its rounds differ by {100 * (most / least - 1):.0f} %: "
            "end what else runs there, and give more --rounds"
        )
    if not latency.typical_ms:
        found.append("its times are 0 ms, too short for the tool: use another --tool")
    elif latency.p95_ms is not None and latency.p95_ms > _TAIL * latency.typical_ms:
        found.append(
            f"its 95th percentile is {latency.p95_ms / latency.typical_ms:.1f} times the median, "
            "as other programs ran beside it: end them"
        )
    if result.delegate.path and not result.delegate.nodes:
        found.append("the delegate took no node or did not say: hashbwn doctor FILE tells why")
    return found


_NEEDED: dict[str, Callable[[Result], object]] = {
    "model_sha256": lambda r: r.model_sha256,
    "model_bytes": lambda r: r.model_bytes,
    "latency.median_ms": lambda r: r.latency.median_ms is not None,
    "latency.p95_ms": lambda r: r.latency.p95_ms is not None,
    "latency.rounds_ms (3 or more)": lambda r: len(r.latency.rounds_ms) >= 3,
    "device.on": lambda r: r.device.on,
    "device.name or device.cpu": lambda r: r.device.name or r.device.cpu,
    "device.arch": lambda r: r.device.arch,
    "device.os": lambda r: r.device.os,
    "device.cores": lambda r: r.device.cores,
    "runtime.name": lambda r: r.runtime.name,
    "runtime.version": lambda r: r.runtime.version,
    "runtime.tool": lambda r: r.runtime.tool,
    "delegate.sha256": lambda r: r.delegate.sha256 or not r.delegate.path,
    "time": lambda r: r.time,
}


def lacks(results: Sequence[Result]) -> list[str]:
    """Return what results do not say that others need to compare them, as names of fields."""
    return [name for name, has in _NEEDED.items() if not all(has(result) for result in results)]
