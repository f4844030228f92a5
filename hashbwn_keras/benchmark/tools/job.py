"""What a program that measures is asked and answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.benchmark.plan import RuntimeName
from hashbwn_keras.benchmark.results import Latency, Memory
from hashbwn_keras.errors import HashBWNError


@dataclass(frozen=True)
class JobFile:
    """One file to measure, in paths of the device.

    Attributes:
        path: of the model.
        library: of the delegate; empty for none.
        runtime: what runs it.
        inputs: ``.npz`` file with an array ``[samples, *shape]`` for each input; empty for random
            samples.
        outputs: ``.npz`` file to write what comes out to; empty for none.
        shapes: of one sample with its batch of 1, for each input of any size; empty where the file
            knows.
    """

    path: str
    library: str = ""
    runtime: RuntimeName = "auto"
    inputs: str = ""
    outputs: str = ""
    shapes: tuple[tuple[int, ...], ...] = ()


@dataclass(frozen=True)
class Job:
    """What to measure.

    Attributes:
        files: one entry per measurement.
        threads: threads of the runtime.
        runs: timed inferences of each file, over all rounds.
        warmup: inferences before that.
        rounds: how often the files take turns.
        cpus: processors to run on, as hexadecimal mask for ``taskset``; empty for no choice.
    """

    files: tuple[JobFile, ...]
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

    @property
    def takes_inputs(self) -> bool:
        """Whether it runs given samples and shapes."""

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
    place = quote(folder)
    # exec keeps the process id that was written down.
    return quote("sh", "-c", f"echo $$ > {place}/pid; cd {place}; exec {command}")


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


def failed(machine: Machine, what: str) -> HashBWNError:
    """Return the error of a tool on a machine."""
    return HashBWNError(f"{machine.title}: {what}")
