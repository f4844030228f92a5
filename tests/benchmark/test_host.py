"""Measuring on this machine, and the runner by itself."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from failures import fails

from hashbwn_keras import cli
from hashbwn_keras.benchmark import measure, result_files
from hashbwn_keras.benchmark.plan import Plan
from hashbwn_keras.benchmark.tools import runner
from hashbwn_keras.benchmark.tools.job import Job
from hashbwn_keras.benchmark.tools.stock import rotated


def test_two_files_take_turns(toy: Path, tmp_path: Path, capsys) -> None:
    twin = tmp_path / "twin.tflite"
    twin.write_bytes(toy.read_bytes())
    written = tmp_path / "r.json"
    options = ["--runs", "9", "--rounds", "3", "--warmup", "2", "--delegate", "off", "--json"]
    assert cli.main(["benchmark", str(toy), str(twin), *options, str(written)]) == 0
    results = result_files.load(written)
    assert [result.model for result in results] == ["toy.tflite", "twin.tflite"]
    for result in results:
        latency = result.latency
        assert latency.num_runs == 9
        assert latency.num_warmup_runs == 2
        assert len(latency.rounds_ms) == 3
        assert latency.min_ms <= latency.p5_ms <= latency.median_ms <= latency.p95_ms
        assert latency.p95_ms <= latency.max_ms
        assert latency.init_ms > 0
        assert latency.warmup_first_ms > 0
        assert result.memory.peak_mb > result.memory.model_mb >= 0
        assert result.model_sha256 == result_files.sha256(toy)
        assert result.runtime.name in ("litert", "tflite")
        assert result.runtime.version
        assert not result.device.emulated
    assert capsys.readouterr().out.count("toy.tflite") == 1
    assert cli.main(["benchmark", str(toy), "--json", str(written)]) == 1
    assert "exists" in capsys.readouterr().err


def test_larq_runtime(toy: Path) -> None:
    pytest.importorskip("larq_compute_engine", reason="the extra 'lce' is not installed")
    both = ("some.so", "off")  # the same for Larq's runtime, so measured once
    (result,) = measure.benchmark(Plan([toy], runs=2, rounds=1, runtime="lce", delegates=both))
    assert result.runtime.name == "lce"
    assert result.delegate.path == ""


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"runs": 0}, "--runs 0"),
        ({"threads": 0}, "--threads 0"),
        ({"rounds": 0}, "--rounds 0"),
        ({"warmup": -1}, "--warmup -1"),
        ({"runtime": "onnx"}, "--runtime onnx"),
        ({"on": "fridge"}, "--on fridge"),
        ({"cpus": "all"}, "--cpus all"),
        ({"tool": "app"}, "Android only"),
        ({"tool": "/nowhere"}, "--tool /nowhere"),
        ({"delegates": ("/nowhere.so",)}, "cannot be read"),
        ({"delegates": (__file__,)}, "is no shared library"),
        ({"delegates": ("x.so",), "tool": "litert-benchmark"}, "loads no delegates"),
    ],
)
def test_bad_arguments(options: dict, match: str, toy: Path) -> None:
    fails(match, [toy], **options)


def test_files_that_cannot_be_measured(tmp_path: Path) -> None:
    text = tmp_path / "text.tflite"
    text.write_text("not a flatbuffer")
    fails("is no TFLite file", [text])
    fails("cannot be read", [tmp_path / "missing.tflite"])
    fails("no file to measure", [])
    hollow = tmp_path / "hollow.tflite"
    hollow.write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    fails("hollow.tflite", [hollow])


def test_library_for_another_processor(toy: Path, tmp_path: Path) -> None:
    library = tmp_path / "libother.so"
    library.write_bytes(b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00\xb7\x00" + bytes(44))
    fails("is built for aarch64, the device is x86_64", [toy], delegates=(str(library),))


def test_larqs_files_are_told_by_their_operators(tmp_path: Path) -> None:
    larq = tmp_path / "larq.tflite"
    larq.write_bytes(b"\x1c\0\0\0TFL3...LceBconv2d...")
    assert measure.runtime_of(larq, "auto") == "lce"
    assert measure.runtime_of(larq, "litert") == "litert"


def test_masks_of_processors(toy: Path) -> None:
    assert Plan([toy], cpus="4-7").mask == "f0"
    assert Plan([toy], cpus="0,2").mask == "5"
    assert Plan([toy]).mask == ""


def test_runs_are_shared_out_whole() -> None:
    job = Job((), runs=11, rounds=4)
    assert sum(job.share(number) for number in range(4)) == 11
    assert [rotated(3, number) for number in range(3)] == [[0, 1, 2], [1, 2, 0], [2, 0, 1]]


def test_runner_alone_needs_no_package(toy: Path, tmp_path: Path) -> None:
    alone = tmp_path / "runner.py"
    alone.write_bytes(Path(runner.__file__).read_bytes())
    job = tmp_path / "job.json"
    entry = {"path": str(toy), "runtime": "auto", "delegate": ""}
    job.write_text(
        json.dumps({"files": [entry], "threads": 1, "runs": 3, "warmup": 1, "rounds": 2})
    )
    done = subprocess.run(
        [sys.executable, "-I", str(alone), str(job)], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(runner.MARKER)
    (found,) = json.loads(done.stdout[len(runner.MARKER) :])["files"]
    assert [len(round_) for round_ in found["rounds"]] == [1, 2]
