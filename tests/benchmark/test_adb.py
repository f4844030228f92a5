"""Android through the real adb, against the device double."""

import threading
from pathlib import Path

import pytest
from adb_device import TMP, AdbDevice
from doubles import BENCHMARK_MODEL, install_app
from failures import assert_clean, fails, wait_until_it_runs

from hashbwn_keras.benchmark import measure
from hashbwn_keras.benchmark.plan import Plan

pytestmark = pytest.mark.devices


def test_runner_on_the_phone(phone: AdbDevice, toy: Path) -> None:
    (result,) = measure.benchmark(Plan([toy], "android", runs=12, rounds=3, delegates=("off",)))
    assert result.device.on == f"android:{phone.serial}"
    assert (result.device.name, result.device.os) == ("Device double", "Android 14")
    assert result.latency.num_runs == 12
    assert len(result.latency.rounds_ms) == 3
    assert result.runtime.tool == "hashbwn runner"
    assert result.state.temperature_c == (41.2, 41.2)
    assert result.state.throttled == ("light", "light")
    assert (result.state.battery_percent, result.state.charging) == (87, True)
    assert_clean(phone.root)


@pytest.mark.parametrize("phone", ["shell_v1"], indirect=True)
def test_old_phone_without_exit_status(phone: AdbDevice, toy: Path) -> None:
    (result,) = measure.benchmark(Plan([toy], "android", runs=2, rounds=1, delegates=("off",)))
    assert result.latency.num_runs == 2
    program = phone.install("broken", "#!/bin/sh\necho 'ERROR: Failed to load.'; exit 1\n")
    fails("broken failed: Failed to load", [toy], "android", tool=str(program))
    assert_clean(phone.root)


def test_benchmark_model_of_the_user(phone: AdbDevice, toy: Path, tmp_path: Path) -> None:
    program = tmp_path / "benchmark_model"
    program.write_text(BENCHMARK_MODEL)
    library = Path(__file__).with_name("adb_device.py")  # any file: the stand-in does not load it
    (plain,) = measure.benchmark(
        Plan([toy], "android", runs=10, rounds=2, delegates=("off",), tool=str(program))
    )
    assert plain.latency.avg_ms == pytest.approx(145.528)
    assert plain.latency.num_runs == 10
    assert plain.latency.median_ms is None
    assert plain.runtime.tool == "benchmark_model"
    assert plain.memory.peak_mb == 81.5
    assert plain.delegate.path == ""
    fails("is no shared library", [toy], "android", tool=str(program), delegates=(str(library),))
    assert_clean(phone.root)


def test_binary_that_lies_on_the_phone_is_found(phone: AdbDevice, toy: Path) -> None:
    program = phone.root / "benchmark_model"
    program.write_text(BENCHMARK_MODEL)
    program.chmod(0o755)
    results = measure.benchmark(
        Plan([toy], "android", runs=4, rounds=2, delegates=("off",), cpus="0")
    )
    assert results[0].runtime.tool == "benchmark_model"
    program.unlink()
    assert_clean(phone.root)


def test_benchmark_app(phone: AdbDevice, toy: Path) -> None:
    install_app(phone)
    (result,) = measure.benchmark(Plan([toy], "android", runs=6, rounds=2))
    assert result.runtime.tool == "Android benchmark app"
    assert result.latency.avg_ms == pytest.approx(145.528)
    assert result.latency.median_ms == pytest.approx(141.253)
    assert result.memory.model_mb == pytest.approx(73.4102)
    assert "cannot load one" in result.notes[0]
    fails("loads no delegates", [toy], "android", delegates=("some.so",))
    assert (phone.bin / "stopped").exists()
    assert_clean(phone.root)


def test_no_phone(adb_server: None, toy: Path) -> None:
    fails("No Android device is connected", [toy], "android")


def test_wrong_serial(phone: AdbDevice, toy: Path) -> None:
    message = fails("has the serial number 'emulator-1'", [toy], "android:emulator-1")
    assert phone.serial in message
    assert_clean(phone.root)


def test_nothing_to_measure_with(phone: AdbDevice, toy: Path) -> None:
    phone.environment["PATH"] = str(_only_coreutils(phone))
    fails("has no program to measure with: put benchmark_model into", [toy], "android")
    fails("put lce_benchmark_model into", [toy], "android", runtime="lce")
    assert_clean(phone.root)


def _only_coreutils(phone: AdbDevice) -> Path:
    tools = phone.root.parent / "only"
    tools.mkdir()
    for name in ("mkdir", "rm", "uname", "getconf", "cat", "sed", "grep", "nproc", "chmod"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    for name in ("getprop", "dumpsys", "pm"):
        (tools / name).symlink_to(phone.bin / name)
    return tools


def test_missing_binary(phone: AdbDevice, toy: Path) -> None:
    fails("--tool .*/nothing is neither", [toy], "android", tool=f"{TMP}/nothing")
    assert_clean(phone.root)


def test_binary_for_another_processor(phone: AdbDevice, toy: Path) -> None:
    program = phone.install("alien", "\x7fELF but not for this processor")
    fails(r"cannot run .*alien: .*", [toy], "android", tool=str(program))
    assert_clean(phone.root)


def test_full_phone(phone: AdbDevice, toy: Path) -> None:
    phone.quota = 100
    fails(rf"has no room for toy.tflite \(3,868 bytes\) in {phone.root}: ", [toy], "android")
    assert_clean(phone.root)


def test_32_bit_phone(phone: AdbDevice, toy: Path) -> None:
    phone.install("getprop", "#!/bin/sh\n[ $1 = ro.product.cpu.abi ] && echo armeabi-v7a\n")
    fails("runs a 32-bit system .armeabi-v7a.", [toy], "android")
    assert_clean(phone.root)


def test_broken_file(phone: AdbDevice, tmp_path: Path) -> None:
    broken = tmp_path / "broken.tflite"
    broken.write_bytes(b"\x1c\0\0\0TFL3" + bytes(100))
    fails("broken.tflite", [broken], "android")
    assert_clean(phone.root)


def test_connection_killed_in_the_middle(phone: AdbDevice, toy: Path) -> None:
    phone.hang_up_at = "runner.py"
    fails("was disconnected while it was measured", [toy], "android", runs=5_000_000, rounds=5)
    assert_clean(phone.root)


def test_unplugged_in_the_middle(phone: AdbDevice, toy: Path) -> None:
    puller = threading.Thread(target=_unplug_when_it_runs, args=(phone,))
    puller.start()
    fails("was disconnected while it was measured", [toy], "android", runs=5_000_000, rounds=5)
    puller.join()
    assert_clean(phone.root)
    fails("is offline|No Android device", [toy], "android")


def _unplug_when_it_runs(phone: AdbDevice) -> None:
    wait_until_it_runs(phone.root)
    phone.unplug()
