"""The scripts of the guides, run against the doubles as the guides say."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from adb_device import AdbDevice
from doubles import SshHost

from hashbwn_keras.benchmark import result_files, trust

NATIVE = Path(__file__).resolve().parents[2] / "tflite"


def run(script: str, *arguments: object, **options: object) -> "subprocess.CompletedProcess[str]":
    command = ["/bin/sh", str(NATIVE / script), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture
def programs(tmp_path: Path) -> list[Path]:
    """Files as they are called after the download."""
    names = (
        "android_aarch64_benchmark_model",
        "lce_benchmark_model_android_arm64",
        "android_aarch64_benchmark_model.apk",
    )
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_text(f"content of {path.name}")
    return paths


@pytest.mark.devices
def test_push(phone: AdbDevice, programs: list[Path]) -> None:
    phone.install("pm", f'#!/bin/sh\necho "$@" >> {phone.bin}/asked\necho Success\n')
    done = run("android/push.sh", "-s", phone.serial, *programs)
    assert done.returncode == 0, done.stderr
    there = {path.name: path for path in phone.root.iterdir()}
    assert sorted(there) == ["benchmark_model", "lce_benchmark_model"]
    for name, source in zip(sorted(there), programs[:2], strict=True):
        assert there[name].read_text() == source.read_text()
        assert there[name].stat().st_mode & 0o777 == 0o755
    words = (phone.bin / "asked").read_text().split()
    assert words[0] == "install"
    assert {"-r", "-d", "-g"} < set(words)


@pytest.mark.devices
def test_push_refuses(phone: AdbDevice, programs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "notes.txt"
    other.write_text("")
    for arguments, reason in (
        ((), "usage: "),
        (("-s",), "usage: "),
        ((tmp_path / "missing_benchmark_model",), "is no file"),
        ((programs[0], other), "is neither an .apk nor a benchmark_model"),
        (("-s", "emulator-1", programs[0]), "emulator-1"),
    ):
        done = run("android/push.sh", *arguments)
        assert done.returncode == 1, done
        assert reason in done.stderr
        assert not list(phone.root.iterdir())  # nothing is pushed before all is checked


@pytest.mark.devices
def test_setup_of_a_pi_refuses(pi: SshHost, monkeypatch: pytest.MonkeyPatch) -> None:
    pi.install("getconf", "#!/bin/sh\necho 32\n")
    command = ["ssh", *_address(pi), "sh", "-s"]
    with (NATIVE / "raspberrypi/setup.sh").open() as script:
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "This is a 32-bit system: install the 64-bit Raspberry Pi OS.\n"
    pi.install("getconf", "#!/bin/sh\necho 64\n")
    pi.install("python3", "#!/bin/sh\nexit 1\n")
    with (NATIVE / "raspberrypi/setup.sh").open() as script:
        done = subprocess.run(command, stdin=script, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "Python's venv is missing: sudo apt install python3-venv\n"
    assert not (pi.tmp.parent / "hashbwn").exists()


@pytest.mark.devices
def test_one_script_from_a_pi_to_a_whole_result(
    pi: SshHost, toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = pi.tmp.parent / "hashbwn" / "bin" / "python"  # as setup.sh leaves it
    prepared.parent.mkdir(parents=True)
    prepared.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    prepared.chmod(0o755)
    command = Path(shutil.which("ssh") or "").with_name("hashbwn")  # the wrapper's folder
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m hashbwn_keras.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(NATIVE.parent))
    result = tmp_path / "pi.json"
    words = (pi.url.removeprefix("ssh://"), "-o", result, toy)
    done = run("raspberrypi/measure.sh", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("ready: ")
    assert "toy.tflite" in done.stdout
    assert "Whole: it says all" in done.stdout
    assert {found.delegate.path for found in result_files.load(result)} == {"", "libhashbwn.so"}
    again = run("raspberrypi/measure.sh", *words)
    assert again.returncode == 1
    assert "exists: name another file with -o" in again.stderr
    for wrong in ((), ("-o", "x"), ("pi@pi", "-o")):
        assert "usage: " in run("raspberrypi/measure.sh", *wrong).stderr


def test_contributed_results_are_whole() -> None:
    for path in sorted((NATIVE.parent / "experiments/results/devices").glob("*.json")):
        assert trust.lacks(result_files.load(path)) == [], path


def _address(pi: SshHost) -> list[str]:
    """Words for ssh itself."""
    user, _, place = pi.url.removeprefix("ssh://").partition("@")
    host, _, port = place.partition(":")
    return ["-l", user, "-p", port, host]


def test_root_is_not_overwritten(tmp_path: Path) -> None:
    done = run("raspberrypi/aarch64-root.sh", tmp_path)
    assert done.returncode == 1
    assert "exists: choose another folder" in done.stderr
    assert run("raspberrypi/aarch64-root.sh").returncode == 1
    missing = run("raspberrypi/aarch64-root.sh", tmp_path / "new", env={"PATH": "/nowhere"})
    assert missing.returncode
    assert not (tmp_path / "new").exists()
