"""Our own runner, ``runner.py``, by the Python of the device."""

import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.benchmark.results import Latency, Memory
from hashbwn_keras.benchmark.tools import runner
from hashbwn_keras.benchmark.tools.job import Job, JobFile, Measured, failed, guarded, with_cure
from hashbwn_keras.files import temporary_folder


@dataclass(frozen=True)
class Children:
    """How the runner starts the processes that run the files.

    Attributes:
        python: the command, such as an emulator's; empty for the runner's own Python.
        environment: variables beside the runner's own.
        mark: whether one more inference runs between two marks for qemu's plug-in.
    """

    python: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    mark: bool = False


@dataclass(frozen=True)
class Answer:
    """What the runner says about one file: the keys of its JSON, see ``runner.py``."""

    runtime: str
    version: str
    init_ms: float
    first_ms: float
    warmup_ms: list[float]
    rounds: list[list[float]]
    input_bytes: int
    peak_bytes: int | None
    model_bytes: int | None
    nodes: int | None
    affinity: str
    pid: int
    emulated: bool

    @property
    def measured(self) -> Measured:
        """The times as statistics."""
        times = [ms for round_ in self.rounds for ms in round_]
        average = statistics.fmean(times)
        latency = Latency(
            init_ms=self.init_ms,
            warmup_first_ms=self.first_ms,
            warmup_avg_ms=statistics.fmean(self.warmup_ms),
            num_warmup_runs=len(self.warmup_ms),
            avg_ms=average,
            min_ms=min(times),
            max_ms=max(times),
            median_ms=statistics.median(times),
            std_ms=statistics.stdev(times) if len(times) > 1 else 0.0,
            p5_ms=_percentile(times, 0.05),
            p95_ms=_percentile(times, 0.95),
            num_runs=len(times),
            rounds_ms=tuple(statistics.median(round_) for round_ in self.rounds),
        )
        return Measured(
            latency,
            self.runtime,
            self.version,
            Memory(_mb(self.peak_bytes), _mb(self.model_bytes)),
            self.nodes,
            self.input_bytes / 2**20 / (average / 1e3) if average else None,
            self.affinity,
            self.emulated,
        )


@dataclass(frozen=True)
class PythonRunner:
    """Our own runner, by the Python of the device."""

    python: str
    name: ClassVar[str] = "hashbwn runner"
    delegates: ClassVar[bool] = True
    takes_inputs: ClassVar[bool] = True

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        return [answer.measured for answer in self.start(machine, folder, job, step)]

    def start(
        self,
        machine: Machine,
        folder: str,
        job: Job,
        step: Callable[[], None] = lambda: None,
        children: Children | None = None,
    ) -> list[Answer]:
        """Run a job; return what the runner says of each file.

        Raises:
            HashBWNError: there is no Python, no runtime, or a file cannot be run.
        """
        with temporary_folder() as local:
            written = local / "job.json"
            written.write_text(json.dumps(_content(job, children or Children())))
            there = machine.push(written, folder)
            script = machine.push(Path(runner.__file__), folder)
            command = quote(self.python, script, there)

            def watch(line: str) -> None:
                if line.startswith("round "):
                    step()

            _, output = machine.shell(guarded(folder, command, job.cpus), watch)
        found = parse.parse_marked_json(output, runner.MARKER)
        if found is None:
            raise failed(
                machine, f"{self.python} could not run the benchmark: {parse.failure(output)}"
            )
        if "error" in found:
            raise failed(machine, with_cure(found["error"]))
        return [Answer(**entry) for entry in found["files"]]


def _content(job: Job, children: Children) -> dict[str, Any]:
    """Return a job as the runner reads it."""
    return {
        "files": [_file(file) for file in job.files],
        "threads": job.threads,
        "runs": job.runs,
        "warmup": job.warmup,
        "rounds": job.rounds,
        "python": list(children.python),
        "environment": dict(children.environment),
        "mark": children.mark,
    }


def _file(file: JobFile) -> dict[str, Any]:
    return {
        "path": file.path,
        "delegate": file.library,
        "runtime": file.runtime,
        "inputs": file.inputs,
        "outputs": file.outputs,
        "shapes": file.shapes,
    }


def _mb(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _percentile(values: list[float], share: float) -> float:
    """Linear between the two neighbours, as litert-benchmark computes it."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
