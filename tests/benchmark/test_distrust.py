"""What doctor says about results: what to distrust, and what they lack."""

from dataclasses import replace

import pytest
from test_results import FAST, PI, SLOW

from hashbwn_keras.benchmark import trust
from hashbwn_keras.benchmark.results import Delegate, Device, State

GOOD = replace(
    SLOW,
    model_sha256="ab",
    device=replace(PI, governor="performance", max_clock_mhz=1800.0),
    latency=replace(SLOW.latency, rounds_ms=(10.0, 10.1, 10.2)),
    state=State((45.0, 50.0), ("no", "no"), None, None, (0.1, 1.0), (1800.0, 1790.0)),
)


def test_a_quiet_device_is_trusted() -> None:
    assert trust.doubts(GOOD) == []
    assert trust.lacks([GOOD]) == []


@pytest.mark.parametrize(
    ("change", "doubt"),
    [
        ({"device": replace(GOOD.device, emulated=True)}, "under an emulator"),
        ({"device": replace(GOOD.device, governor="ondemand")}, "the governor is ondemand"),
        ({"num_threads": 8}, "8 threads shared 4 processors"),
        (
            {"state": replace(GOOD.state, throttled=("no", "throttled, throttled since boot"))},
            "throttled after the measurement (throttled)",
        ),
        (
            {"state": replace(GOOD.state, throttled=("throttled since boot",) * 2)},
            "since it was started: restart it",
        ),
        ({"state": replace(GOOD.state, throttled=("severe", "no"))}, "before the measurement"),
        ({"state": replace(GOOD.state, temperature_c=(60.0, 84.0))}, "ended at 84 °C"),
        ({"state": replace(GOOD.state, clock_mhz=(1800.0, 1500.0))}, "1500 of 1800 MHz after"),
        ({"state": replace(GOOD.state, load=(1.7, 2.0))}, "1.7 other processes"),
        ({"state": replace(GOOD.state, battery_percent=9)}, "battery was at 9 %"),
        ({"latency": replace(GOOD.latency, num_runs=3)}, "3 timed runs only"),
        ({"latency": replace(GOOD.latency, median_ms=None)}, "no median"),
        ({"latency": replace(GOOD.latency, rounds_ms=(10.0, 12.0))}, "differ by 20 %"),
        ({"latency": replace(GOOD.latency, p95_ms=30.0)}, "is 3.0 times the median"),
        ({"latency": replace(GOOD.latency, median_ms=0.0)}, "its times are 0 ms"),
        ({"delegate": Delegate("libhashbwn.so", "cd", 0)}, "the delegate took no node"),
    ],
)
def test_each_disturbance_is_one_sentence_with_a_cure(change: dict, doubt: str) -> None:
    (found,) = trust.doubts(replace(GOOD, **change))
    assert doubt in found
    assert ": " in found


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"model_sha256": ""}, "model_sha256"),
        ({"device": Device("host", arch="aarch64", os="x", cores=4)}, "device.name or device.cpu"),
        ({"latency": replace(GOOD.latency, rounds_ms=(1.0,))}, "latency.rounds_ms (3 or more)"),
        ({"delegate": Delegate("libhashbwn.so", "", 7)}, "delegate.sha256"),
        ({"time": ""}, "time"),
    ],
)
def test_what_others_need_is_named(change: dict, field: str) -> None:
    assert trust.lacks([GOOD, replace(GOOD, **change)]) == [field]
    assert trust.lacks([FAST]) == ["latency.rounds_ms (3 or more)"]
