"""What a program that measures is asked and answers, and our own runner."""

import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.host import Machine, quote
from hashbwn_keras.benchmark.results import Latency, Memory
from hashbwn_keras.benchmark.tools import runner
from hashbwn_keras.errors import HashBWNError


@dataclass(frozen=True)
class Job:
    """What to measure, in paths of the device.

    Attributes:
        files: one entry per measurement: path of the model, of the delegate library (or empty), and
            the runtime: litert, tflite, lce or auto.
        threads: threads of the runtime.
        runs: timed inferences of each file, over all rounds.
        warmup: inferences before that.
        rounds: how often the files take turns.
        cpus: processors to run on, as hexadecimal mask for ``taskset``; empty for no choice.
    """

    files: tuple[tuple[str, str, str], ...]
    threads: int = 1
    runs: int = 50
    warmup: int = 5
    rounds: int = 5
    cpus: str = ""

    def share(self, number: int) -> int:
        """Timed inferences of a file in round ``number``."""
        return self.runs * (number + 1) // self.rounds - self.runs * number // self.rounds


@dataclass(frozen=True)
class Measured:
    """What a tool found out about one file."""

    latency: Latency
    runtime: str
    version: str = ""
    memory: Memory = field(default_factory=Memory)
    nodes: int | None = None
    throughput_mb_s: float | None = None
    affinity: str = ""
    emulated: bool = False
    instructions: int | None = None


class Tool(Protocol):
    """A program on the device that measures files."""

    @property
    def name(self) -> str:
        """What results call it."""

    @property
    def delegates(self) -> bool:
        """Whether it can load an external delegate."""

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        """Run the job; ``step`` is called after each round.

        Raises:
            HashBWNError: the program is missing or failed.
        """


def guarded(folder: str, command: str, cpus: str) -> str:
    """Return the script that runs a command so that the device's guard can end it."""
    if cpus:
        command = f"taskset {cpus} {command}"
    # exec keeps the process id that was written down.
    return quote("sh", "-c", f"echo $$ > {folder}/pid; cd {folder}; exec {command}")


@dataclass(frozen=True)
class PythonRunner:
    """Our own runner, by the Python of the device."""

    python: str
    name: ClassVar[str] = "hashbwn runner"
    delegates: ClassVar[bool] = True

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        found = self.start(machine, folder, plan(job), step, job.cpus)
        emulated = bool(found["machine"]["emulated"])
        return [replace(self.measured(entry), emulated=emulated) for entry in found["files"]]

    def start(
        self,
        machine: Machine,
        folder: str,
        content: dict[str, Any],
        step: Callable[[], None],
        cpus: str = "",
    ) -> dict[str, Any]:
        """Run what the runner's docstring calls a job; return what the runner printed.

        Raises:
            HashBWNError: there is no Python, no runtime, or a file cannot be run.
        """
        with tempfile.TemporaryDirectory() as local:
            job = Path(local) / "job.json"
            job.write_text(json.dumps(content))
            there = machine.push(job, folder)
            script = machine.push(Path(runner.__file__), folder)
            command = quote(self.python, script, there)

            def watch(line: str) -> None:
                if line.startswith("round "):
                    step()

            _, output = machine.shell(guarded(folder, command, cpus), watch)
        found = parse.parse_marked_json(output, runner.MARKER)
        if found is None:
            raise HashBWNError(
                f"{machine.title}: {self.python} could not run the benchmark: "
                f"{parse.failure(output)}"
            )
        if "error" in found:
            raise HashBWNError(f"{machine.title}: {with_cure(found['error'])}")
        return found

    @staticmethod
    def measured(entry: dict[str, Any]) -> Measured:
        """Return one file's times as statistics."""
        return _from_runner(entry)


def plan(job: Job) -> dict[str, Any]:
    """Return a job as the runner reads it."""
    return {
        "files": [
            {"path": path, "delegate": library, "runtime": runtime}
            for path, library, runtime in job.files
        ],
        "threads": job.threads,
        "runs": job.runs,
        "warmup": job.warmup,
        "rounds": job.rounds,
    }


_CURES = {
    "ai_edge_litert": "pip install ai-edge-litert numpy",
    "tflite_runtime": "pip install tflite-runtime numpy",
    "tensorflow": "pip install ai-edge-litert numpy",
    "numpy": "pip install ai-edge-litert numpy",
    "larq_compute_engine": 'pip install "hashbwn_keras[lce]"',
}


def with_cure(error: str) -> str:
    """Return a runtime's error with what helps against it."""
    for module, cure in _CURES.items():
        if f"No module named '{module}" in error:
            return f"its Python has no {module}: run {cure} there, or name another with --python."
    if "unresolved custom op" in error or "Encountered unresolved" in error:
        return f"{error} (a file for Larq Compute Engine needs --runtime lce)."
    return error if error.endswith(".") else error + "."


def _from_runner(entry: dict[str, Any]) -> Measured:
    times = [ms for round_ in entry["rounds"] for ms in round_]
    average = statistics.fmean(times)
    p5, p95 = (_percentile(times, share) for share in (0.05, 0.95))
    latency = Latency(
        init_ms=entry["init_ms"],
        warmup_first_ms=entry["first_ms"],
        warmup_avg_ms=statistics.fmean(entry["warmup_ms"]),
        num_warmup_runs=len(entry["warmup_ms"]),
        avg_ms=average,
        min_ms=min(times),
        max_ms=max(times),
        median_ms=statistics.median(times),
        std_ms=statistics.stdev(times) if len(times) > 1 else 0.0,
        p5_ms=p5,
        p95_ms=p95,
        num_runs=len(times),
        rounds_ms=tuple(statistics.median(round_) for round_ in entry["rounds"]),
    )
    memory = Memory(*(_mb(entry.get(key)) for key in ("peak_bytes", "model_bytes")))
    throughput = entry["input_bytes"] / 2**20 / (average / 1e3) if average else None
    return Measured(
        latency,
        entry["runtime"],
        entry["version"],
        memory,
        entry.get("nodes"),
        throughput,
        entry.get("affinity", ""),
    )


def _mb(count: int | None) -> float | None:
    return None if count is None else count / 1e6


def _percentile(values: list[float], share: float) -> float:
    """Linear between the two neighbours, as litert-benchmark computes it."""
    ordered = sorted(values)
    position = (len(ordered) - 1) * share
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (position - low) * (ordered[high] - ordered[low])
