"""The stock programs that measure: benchmark_model, the Android app, litert-benchmark."""

import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar, TypeVar

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.benchmark.parse import Extras
from hashbwn_keras.benchmark.results import Latency, Memory
from hashbwn_keras.benchmark.tools.job import Job, JobFile, Measured, guarded, with_cure
from hashbwn_keras.errors import HashBWNError

APP = "org.tensorflow.lite.benchmark"
_Number = TypeVar("_Number", int, float)


class Binary:
    """``benchmark_model`` or ``lce_benchmark_model``.

    Each file is run by a fresh process in each round, so every round has its own warm-up.

    Args:
        program: path on the device.
        runtime: name of the runtime that is linked into it.
    """

    delegates: ClassVar[bool] = True
    takes_inputs: ClassVar[bool] = False

    def __init__(self, program: str, runtime: str) -> None:
        self.program = program
        self.runtime = runtime
        self.name = os.path.basename(program)

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, Extras]]] = [[] for _ in job.files]
        for number in range(job.rounds):
            if not (share := job.share(number)):
                continue
            for index in rotated(len(job.files), number):
                command = quote(self.program, *arguments(job.files[index], job, share))
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


def arguments(file: JobFile, job: Job, runs: int) -> list[str]:
    """Return the options of ``benchmark_model`` for one file; min_secs 0 makes num_runs exact."""
    options = [
        f"--graph={file.path}",
        f"--num_threads={job.threads}",
        f"--num_runs={runs}",
        f"--warmup_runs={max(job.warmup, 1)}",
        "--min_secs=0",
        "--warmup_min_secs=0",
        "--report_peak_memory_footprint=true",
    ]
    if file.library:
        options.append(f"--external_delegate_path={file.library}")
    return options


def rotated(count: int, by: int) -> list[int]:
    """Return 0 ... count − 1, starting at ``by``."""
    return [(by + index) % count for index in range(count)]


def _merged(parts: list[tuple[Latency, Extras]], runtime: str) -> Measured:
    """Join the rounds of one file.

    Minimum and maximum are over all rounds, the mean is over all inferences; percentiles, standard
    deviation and initialisation are medians of the rounds' own, as single times are not printed.
    """
    latencies = [latency for latency, _ in parts]
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
    extras = [extra for _, extra in parts]
    memory = Memory(_most(e.peak_mb for e in extras), _most(e.model_mb for e in extras))
    return Measured(latency, runtime, memory=memory, nodes=_most(e.nodes for e in extras))


def _most(values: Iterable[_Number | None]) -> _Number | None:
    """Return the largest value that is known."""
    return max((value for value in values if value is not None), default=None)


class AndroidApp:
    """The stock benchmark app; its result stands in the device's log.

    An app may not load a library from /data/local/tmp, so it is measured without our delegate.
    """

    name = "Android benchmark app"
    delegates: ClassVar[bool] = False
    takes_inputs: ClassVar[bool] = False
    patience_s = 300.0

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, Extras]]] = [[] for _ in job.files]
        try:
            for number in range(job.rounds):
                if not (share := job.share(number)):
                    continue
                for index in rotated(len(job.files), number):
                    file = job.files[index]
                    log = self._run(machine, file.path, arguments(file, job, share))
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
    delegates: ClassVar[bool] = False
    takes_inputs: ClassVar[bool] = False

    def __init__(self, python: str) -> None:
        self.python = python

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        rounds: list[list[tuple[Latency, Extras]]] = [[] for _ in job.files]
        version = machine.check(
            f"{quote(self.python)} -c 'from importlib.metadata import version as v; "
            'print(v("ai-edge-litert"))\''
        ).strip()
        for number in range(job.rounds):
            if not (share := job.share(number)):
                continue
            for index in rotated(len(job.files), number):
                rounds[index].append((self._run(machine, folder, job, index, share), Extras()))
            step()
        return [replace(_merged(parts, "litert"), version=version) for parts in rounds]

    def _run(self, machine: Machine, folder: str, job: Job, index: int, share: int) -> Latency:
        command = quote(
            self.python,
            *("-m", "ai_edge_litert.tools.benchmark_litert_model"),
            f"--model={job.files[index].path}",
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
        return parse.parse_litert(json.loads(machine.check(f"cat {quote(folder)}/result.json")))
