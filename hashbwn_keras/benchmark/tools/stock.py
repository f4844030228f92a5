"""The stock programs that measure: benchmark_model, the Android app, litert-benchmark."""

import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.host import Machine, quote
from hashbwn_keras.benchmark.results import Latency, Memory
from hashbwn_keras.benchmark.tools.own import Job, Measured, guarded, with_cure
from hashbwn_keras.errors import HashBWNError

APP = "org.tensorflow.lite.benchmark"


class Binary:
    """``benchmark_model`` or ``lce_benchmark_model``.

    Each file is run by a fresh process in each round, so every round has its own warm-up.

    Args:
        program: path on the device.
        runtime: name of the runtime that is linked into it.
    """

    delegates = True

    def __init__(self, program: str, runtime: str) -> None:
        self.program = program
        self.runtime = runtime
        self.name = os.path.basename(program)

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, dict[str, Any]]]] = [[] for _ in job.files]
        for number in range(job.rounds):
            if not (share := job.share(number)):
                continue
            for index in rotated(len(job.files), number):
                model, library, _ = job.files[index]
                command = quote(self.program, *arguments(model, library, job, share))
                status, output = machine.shell(guarded(folder, command, job.cpus))
                if status:
                    raise self._failed(machine, status, output)
                rounds[index].append(parse.parse_benchmark_model(output))
            step()
        return [_merged(parts, self.runtime) for parts in rounds]

    def _failed(self, machine: Machine, status: int, output: str) -> HashBWNError:
        if status == 127 or status == 126:
            return HashBWNError(
                f"{machine.title} cannot run {self.program}: {parse.failure(output)} Put a build "
                "for this device there, or give a local one with --tool PATH."
            )
        return HashBWNError(f"{machine.title}: {self.name} failed: {parse.failure(output)}")


def arguments(model: str, library: str, job: Job, runs: int) -> list[str]:
    """Return the options of ``benchmark_model`` for one file; min_secs 0 makes num_runs exact."""
    options = [
        f"--graph={model}",
        f"--num_threads={job.threads}",
        f"--num_runs={runs}",
        f"--warmup_runs={max(job.warmup, 1)}",
        "--min_secs=0",
        "--warmup_min_secs=0",
        "--report_peak_memory_footprint=true",
    ]
    return [*options, f"--external_delegate_path={library}"] if library else options


def rotated(count: int, by: int) -> list[int]:
    """Return 0 ... count − 1, starting at ``by``."""
    return [(by + index) % count for index in range(count)]


def _merged(parts: list[tuple[Latency, dict[str, Any]]], runtime: str) -> Measured:
    """Join the rounds of one file.

    Minimum and maximum are over all rounds, the mean is over all inferences; percentiles, standard
    deviation and initialisation are medians of the rounds' own, as single times are not printed.
    """
    latencies = [latency for latency, _ in parts]
    extras: dict[str, Any] = {}
    for _, extra in parts:
        extras.update({key: max(value, extras.get(key, value)) for key, value in extra.items()})
    total = sum(latency.num_runs for latency in latencies)

    def middle(name: str) -> float | None:
        values = [getattr(latency, name) for latency in latencies]
        return None if None in values else statistics.median(values)

    latency = Latency(
        init_ms=middle("init_ms"),
        warmup_first_ms=middle("warmup_first_ms"),
        warmup_avg_ms=middle("warmup_avg_ms"),
        num_warmup_runs=latencies[0].num_warmup_runs,
        avg_ms=sum(latency.avg_ms * latency.num_runs for latency in latencies) / total,
        min_ms=min(latency.min_ms for latency in latencies if latency.min_ms is not None),
        max_ms=max(latency.max_ms for latency in latencies if latency.max_ms is not None),
        median_ms=middle("median_ms"),
        std_ms=middle("std_ms"),
        p5_ms=middle("p5_ms"),
        p95_ms=middle("p95_ms"),
        num_runs=total,
        rounds_ms=tuple(latency.typical_ms for latency in latencies),
    )
    memory = Memory(extras.get("peak_mb"), extras.get("model_mb"))
    return Measured(latency, runtime, memory=memory, nodes=extras.get("nodes"))


class AndroidApp:
    """The stock benchmark app; its result stands in the device's log.

    An app may not load a library from /data/local/tmp, so it is measured without our delegate.
    """

    name = "Android benchmark app"
    delegates = False
    patience_s = 300.0

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, dict[str, Any]]]] = [[] for _ in job.files]
        try:
            for number in range(job.rounds):
                if not (share := job.share(number)):
                    continue
                for index in rotated(len(job.files), number):
                    model = job.files[index][0]
                    log = self._run(machine, model, arguments(model, "", job, share))
                    rounds[index].append(parse.parse_benchmark_model(log))
                step()
        finally:
            machine.shell(f"am force-stop {APP}")
        return [_merged(parts, "tflite") for parts in rounds]

    def _run(self, machine: Machine, model: str, options: list[str]) -> str:
        # The app splits the string at spaces; the inner quotes must reach it.
        words = '"' + " ".join(options) + '"'
        since = machine.check("date '+%m-%d %H:%M:%S.000'").strip()
        machine.check(
            quote(
                "am", "start", "-S", "-n", f"{APP}/.BenchmarkModelActivity", "--es", "args", words
            )
        )
        read = quote("logcat", "-d", "-v", "threadtime", "-T", since)
        deadline = time.monotonic() + self.patience_s
        while time.monotonic() < deadline:
            if parse.parse_logcat(machine.check(read), model) is not None:
                time.sleep(0.2)  # the memory line follows the times
                return parse.parse_logcat(machine.check(read), model) or ""
            time.sleep(0.5)
        raise HashBWNError(
            f"{machine.title}: the benchmark app logged no result for {os.path.basename(model)} "
            f"within {self.patience_s:.0f} s: start it by hand and read adb logcat."
        )


class LitertBenchmark:
    """``litert-benchmark`` of the ai-edge-litert wheel; it cannot load external delegates."""

    name = "litert-benchmark"
    delegates = False

    def __init__(self, python: str) -> None:
        self.python = python

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, dict[str, Any]]]] = [[] for _ in job.files]
        version = machine.check(
            f"{quote(self.python)} -c 'from importlib.metadata import version as v; "
            'print(v("ai-edge-litert"))\''
        ).strip()
        for number in range(job.rounds):
            if not (share := job.share(number)):
                continue
            for index in rotated(len(job.files), number):
                rounds[index].append((self._run(machine, folder, job, index, share), {}))
            step()
        return [replace(_merged(parts, "litert"), version=version) for parts in rounds]

    def _run(self, machine: Machine, folder: str, job: Job, index: int, share: int) -> Latency:
        command = quote(
            self.python,
            *("-m", "ai_edge_litert.tools.benchmark_litert_model"),
            f"--model={job.files[index][0]}",
            f"--num_threads={job.threads}",
            f"--num_runs={share}",
            f"--warmup_runs={max(job.warmup, 1)}",
            f"--result_json={folder}/result.json",
        )
        status, output = machine.shell(guarded(folder, command, job.cpus))
        if status:
            raise HashBWNError(
                f"{machine.title}: litert-benchmark failed: {with_cure(parse.failure(output))}"
            )
        return parse.parse_litert(json.loads(machine.check(f"cat {folder}/result.json")))
