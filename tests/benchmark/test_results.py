"""The result schema, the table, the plot, and what must never become a speed-up."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from hashbwn_keras import cli
from hashbwn_keras.benchmark import result_files, table, trust
from hashbwn_keras.benchmark.plot import plot as draw
from hashbwn_keras.benchmark.results import Delegate, Device, Latency, Memory, Result, Runtime
from hashbwn_keras.benchmark.speed_up import speed_up
from hashbwn_keras.errors import HashBWNError

PI = Device("ssh://pi@a", "Raspberry Pi 4", "aarch64", 64, "Debian", "Cortex-A72", 4)
X86 = Device("host", "", "x86_64", 64, "Debian", "AMD EPYC", 2)
SLOW = Result(
    "float.tflite",
    1,
    Latency(10.5, 50, 5.0, 20.0, 12.0, 5, 9.0, 30.0, 10.0, 0.5, 9.1, 12.0, (10.0, 10.2)),
    1_000_000,
    "ab",
    device=PI,
    runtime=Runtime("litert", "2.3.0", "hashbwn runner"),
    memory=Memory(60.0, 8.5),
    time="2026-01-01T12:00:00+00:00",
)
FAST = replace(
    SLOW,
    model="packed.tflite",
    latency=replace(SLOW.latency, median_ms=4.0),
    delegate=Delegate("libhashbwn.so", "cd", 7),
)
# As ai-edge-litert 2.3.0 wrote it.
LITERT_BENCHMARK = {
    "model": "/home/pi/net.tflite",
    "model_size_mb": 0.11,
    "accelerators": ["CPU"],
    "signature": "serving_default",
    "fully_accelerated": True,
    "num_threads": 1,
    "latency": {
        "init_ms": 2.22,
        "warmup_first_ms": 0.1,
        "warmup_avg_ms": 0.04,
        "num_warmup_runs": 5,
        "avg_ms": 0.03,
        "min_ms": 0.03,
        "max_ms": 0.05,
        "median_ms": 0.03,
        "std_ms": 0.0,
        "p5_ms": 0.03,
        "p95_ms": 0.04,
        "num_runs": 50,
    },
    "throughput_mb_s": 236.59,
}


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    result_files.save([SLOW, FAST], path)
    assert result_files.load(path) == [SLOW, FAST]
    with pytest.raises(HashBWNError, match="exists"):
        result_files.save([SLOW], path)


def test_every_field_of_litert_benchmark_keeps_its_name() -> None:
    ours = SLOW.to_dict()
    assert set(LITERT_BENCHMARK) <= set(ours)
    assert set(LITERT_BENCHMARK["latency"]) <= set(ours["latency"])


def test_reads_litert_benchmark(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text(json.dumps(LITERT_BENCHMARK))
    (result,) = result_files.load(path)
    assert result.model == "net.tflite"
    assert result.latency.p95_ms == 0.04
    assert result.runtime.tool == "litert-benchmark"
    assert "net.tflite" in table.text([result])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"latency": {}}, "incomplete"),
        ({"latency": {"avg_ms": -1.0, "num_runs": 3}}, "avg_ms = -1.0"),
        ({"latency": {"avg_ms": "fast", "num_runs": 3}}, "avg_ms = 'fast'"),
        ({"latency": {"avg_ms": 1.0, "num_runs": 0}}, "num_runs = 0"),
        ({"latency": 3}, 'no "latency"'),
        ({"device": "pi"}, "holds 'pi'"),
        ({"num_threads": 0}, "num_threads = 0"),
        ({"model": ""}, 'does not name its "model"'),
        ({"schema": 99}, "schema 99"),
    ],
)
def test_bad_content_is_named(change: dict, match: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"results": [SLOW.to_dict() | change]}))
    with pytest.raises(HashBWNError, match=match) as caught:
        result_files.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"results": []}', '{"results": 3}'])
def test_files_that_hold_no_results(content: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(HashBWNError, match=r"bad\.json"):
        result_files.load(path)
    with pytest.raises(HashBWNError, match="cannot be read"):
        result_files.load(tmp_path / "missing.json")


ODD = [
    None,
    True,
    -1,
    0,
    1e308,
    10**40,
    float("nan"),
    "",
    "x\ny",
    "\x00",
    [],
    [1],
    [None],
    {},
    {"a": 1},
]


def mutant(value: object, random: Random) -> object:
    """Return JSON content with one value replaced, taken away or doubled."""
    if isinstance(value, dict) and value and random.random() < 0.8:
        name = random.choice(sorted(value))
        changed = dict(value)
        if random.random() < 0.1:
            del changed[name]
        else:
            changed[name] = mutant(value[name], random)
        return changed
    if isinstance(value, list) and value and random.random() < 0.8:
        place = random.randrange(len(value))
        return [
            *value[:place],
            mutant(value[place], random),
            *value[place + random.choice((0, 1)) :],
        ]
    return random.choice(ODD)


def test_mutants_are_read_or_refused_in_one_sentence(tmp_path: Path) -> None:
    path, random, read = tmp_path / "r.json", Random(0), 0
    content = {"schema": 1, "results": [SLOW.to_dict(), FAST.to_dict()]}
    for number in range(500):
        changed = json.dumps(mutant(json.loads(json.dumps(content)), random)).encode()
        if number % 5 == 0:  # bytes, too
            place = random.randrange(len(changed))
            changed = changed[:place] + random.randbytes(random.randrange(4)) + changed[place + 1 :]
        path.write_bytes(changed)
        try:
            found = result_files.load(path)
        except HashBWNError as error:
            assert "\n" not in str(error), changed
            continue
        read += 1
        table.text(found)
        trust.lacks(found)
        assert all("\n" not in doubt for result in found for doubt in trust.doubts(result))
    assert 50 < read < 450


def test_speed_up_is_by_medians() -> None:
    assert speed_up(FAST, SLOW) == 2.5
    lines = table.text([SLOW, FAST]).splitlines()
    assert lines[3].endswith("1.00x")
    assert lines[4].endswith("2.50x")
    assert "7 nodes" in lines[4]


@pytest.mark.parametrize(
    ("result", "why"),
    [
        (replace(FAST, device=replace(PI, emulated=True)), "emulator"),
        (replace(FAST, device=X86, runtime=Runtime("lce", "0.16.0")), "on x86"),
        (replace(FAST, device=X86), "different devices"),
        (replace(FAST, device=Device()), "does not say which device"),
        (replace(FAST, num_threads=4), r"threads, .* on \d"),
    ],
)
def test_times_that_must_not_be_compared(result: Result, why: str) -> None:
    for pair in ((result, SLOW), (SLOW, result)):
        with pytest.raises(HashBWNError, match=f"No speed-up: .*{why}"):
            speed_up(*pair)


def test_lce_is_compared_where_its_kernels_are() -> None:
    assert speed_up(replace(FAST, runtime=Runtime("lce", "0.16.0")), SLOW) == 2.5


def test_table_refuses_in_words() -> None:
    host = replace(SLOW, device=X86)
    lce = replace(host, model="lce.tflite", runtime=Runtime("lce", "0.16.0"))
    shown = table.text([host, lce])
    row = next(line for line in shown.splitlines() if line.startswith("lce.tflite"))
    assert row.endswith("refused")
    assert "x86" in shown.splitlines()[-1]
    emulated = table.text([replace(SLOW, device=replace(PI, emulated=True))])
    assert "EMULATED" in emulated.splitlines()[0]
    assert "refused" in emulated


def test_devices_get_tables_of_their_own() -> None:
    blocks = table.text([SLOW, replace(SLOW, device=X86), FAST]).split("\n\n")
    assert len(blocks) == 2
    assert "packed.tflite" in blocks[0]


def test_means_are_marked() -> None:
    mean = replace(SLOW, latency=Latency(10.5, 50))
    assert "10.5 (mean)" in table.text([mean])


def test_report_of_result_files(tmp_path: Path, capsys) -> None:
    pytest.importorskip("matplotlib", reason="the extra 'plot' is not installed")
    first, second, plot = tmp_path / "a.json", tmp_path / "b.json", tmp_path / "plot.png"
    result_files.save([SLOW], first)
    result_files.save([FAST], second)
    assert cli.main(["report", str(first), str(second), "--plot", str(plot)]) == 0
    assert "2.50x" in capsys.readouterr().out
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_emulated_times_are_not_drawn(tmp_path: Path) -> None:
    with pytest.raises(HashBWNError, match="emulated"):
        draw([replace(SLOW, device=replace(PI, emulated=True))], tmp_path / "x.png")
