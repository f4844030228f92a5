"""What to measure, where and how."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from hashbwn_keras.errors import HashBWNError

_MOST_CPUS = 4096
RuntimeName = Literal["auto", "litert", "tflite", "lce"]


@dataclass(frozen=True)
class Plan:
    """One benchmark: every file with every delegate setting, on one device.

    Attributes:
        files: .tflite files; the first one is the baseline.
        on: host, android, android:SERIAL, ssh://user@host[:port] or qemu:FOLDER[:CPU].
        threads: threads of the runtime.
        runs: timed inferences of each file, over all rounds.
        warmup: inferences before those.
        rounds: how often the files take turns; at most ``runs``.
        delegates: for each of these, all files are measured: auto (the library of this project if
            it can be had for the device), off, or the path of a library.
        runtime: litert, tflite, lce, or auto: lce for files with its operators, else what is there.
        tool: program that measures, see :func:`hashbwn_keras.benchmark.choice.choose_tool`.
        python: Python of the device, likewise.
        cpus: processors to run on, such as ``4-7`` or ``0,2``; empty: all.
        data: ``.npy`` or ``.npz`` file of samples to run, ``[n, *shape]`` for each input; None for
            random ones.
        shapes: of one sample, for each input of any size; None where the files know.

    Raises:
        HashBWNError: a value that cannot be.
    """

    files: Sequence[str | Path]
    on: str = "host"
    threads: int = 1
    runs: int = 50
    warmup: int = 5
    rounds: int = 5
    delegates: Sequence[str] = ("auto",)
    runtime: RuntimeName = "auto"
    tool: str = ""
    python: str = ""
    cpus: str = ""
    data: Path | None = None
    shapes: Sequence[tuple[int, ...]] | None = None

    def __post_init__(self) -> None:
        counts = (("--threads", self.threads), ("--runs", self.runs), ("--rounds", self.rounds))
        for name, value in counts:
            if value < 1:
                raise HashBWNError(f"{name} {value} is too small: give 1 or more.")
        if self.warmup < 0:
            raise HashBWNError(f"--warmup {self.warmup} is negative: give 0 or more.")
        if self.runtime not in get_args(RuntimeName):
            raise HashBWNError(
                f"--runtime {self.runtime} is unknown: choose {', '.join(get_args(RuntimeName))}."
            )
        if not self.files:
            raise HashBWNError("There is no file to measure: give one or more .tflite files.")
        for file in self.files:
            _check(Path(file))
        _ = self.mask

    @property
    def mask(self) -> str:
        """The hexadecimal mask of ``cpus``, as every taskset takes it; empty for all."""
        mask = 0
        try:
            for part in filter(None, self.cpus.split(",")):
                first, _, last = part.partition("-")
                for cpu in range(int(first), min(int(last or first), _MOST_CPUS) + 1):
                    mask |= 1 << cpu
        except ValueError as error:
            raise HashBWNError(
                f"--cpus {self.cpus} is no list of processors: write it like 4-7 or 0,2."
            ) from error
        return f"{mask:x}" if mask else ""


def _check(path: Path) -> None:
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise HashBWNError(f"{path} cannot be read: {error.strerror}.") from error
    if head[4:] != b"TFL3":
        raise HashBWNError(f"{path} is no TFLite file: export the model with hashbwn export first.")
