"""Which times may be compared, and how much faster one is."""

from hashbwn_keras.benchmark.results import Result
from hashbwn_keras.errors import HashBWNError


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
    if not result.latency.typical_ms or not baseline.latency.typical_ms:
        return "a time is 0 ms, too short for the tool that measured it"
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
