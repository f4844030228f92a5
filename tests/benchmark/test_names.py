"""File names that shells, options and tables could mistake, on every way to a device."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from adb_device import AdbDevice
from doubles import BENCHMARK_MODEL, SshHost, install_app
from failures import assert_clean, fails

from hashbwn_keras import cli
from hashbwn_keras.benchmark import measure, result_files, table
from hashbwn_keras.benchmark.plan import Plan

NAMES = [
    "-x.tflite",
    "--runs=3",
    "two words.tflite",
    'it\'s "quoted".tflite',
    "line\nend.tflite",
    "$(touch pwned); `touch pwned` & |*.tflite",
    "größe\udcff.tflite",
    ".hidden.tflite",
]


@pytest.fixture
def named(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The toy under every awkward name in the current folder, as relative paths."""
    folder = tmp_path / "current"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in NAMES:
        Path(name).write_bytes(toy.read_bytes())
    return NAMES


def measured(named: list[str], on: str) -> None:
    """Measure all files: each must arrive, and nothing else may happen."""
    found = measure.benchmark(Plan(named, on, runs=2, rounds=1, warmup=1, delegates=("off",)))
    assert [result.model for result in found] == named
    assert {result.latency.num_runs for result in found} == {2}
    assert sorted(os.listdir()) == sorted(named)
    result_files.save(found, "r.json")
    assert result_files.load("r.json") == found
    assert len(table.text(found).splitlines()) == 3 + len(named)


def test_host(named: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    temporary = tmp_path / "a b'c"  # commands name files below it
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr("tempfile.tempdir", None)
    measured(named, "host")
    assert list(temporary.iterdir()) == []


@pytest.mark.slow
@pytest.mark.devices
def test_ssh(named: list[str], pi: SshHost) -> None:
    measured(named, pi.url)
    assert_clean(pi.tmp)


@pytest.mark.slow
@pytest.mark.devices
def test_adb(named: list[str], phone: AdbDevice) -> None:
    measured(named, "android")
    assert_clean(phone.root)


@pytest.mark.devices
def test_app(named: list[str], phone: AdbDevice) -> None:
    install_app(phone)
    chosen = ["two words.tflite", "-x.tflite"]
    found = measure.benchmark(Plan(chosen, "android", runs=2, rounds=1, tool="app"))
    assert [result.model for result in found] == chosen
    assert_clean(phone.root)


@pytest.mark.devices
def test_a_local_program_and_library(named: list[str], phone: AdbDevice) -> None:
    Path("-tool name").write_text(BENCHMARK_MODEL)
    Path("-lib.so").write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\x3e\x00" + bytes(44))
    plan = Plan(named[:1], "android", runs=2, rounds=1, tool="-tool name", delegates=("-lib.so",))
    (result,) = measure.benchmark(plan)
    assert result.delegate.path == "-lib.so"
    assert result.delegate.nodes == 7
    assert result.runtime.tool == "_-tool_name"
    assert_clean(phone.root)


def test_missing_file_is_one_sentence(tmp_path: Path, capsys) -> None:
    message = fails("cannot be read", [tmp_path / "no such.tflite"])
    assert "no such.tflite" in message
    assert cli.main(["benchmark", "--", str(tmp_path / "a\nb")]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.slow
def test_command_line(named: list[str]) -> None:
    command = [sys.executable, "-m", "hashbwn_keras.cli", "benchmark", "--delegate", "off"]
    root = Path(measure.__file__).parents[2]
    done = subprocess.run(
        [*command, "--runs", "2", "--", *named],
        env=os.environ | {"PYTHONPATH": str(root), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.strip().splitlines()) == 3 + len(named)
