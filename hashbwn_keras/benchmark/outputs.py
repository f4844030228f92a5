"""What files compute on this machine or on an emulated one, to tell whether both agree."""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.benchmark.machines.emulated import Emulated
from hashbwn_keras.benchmark.machines.host import Host
from hashbwn_keras.benchmark.plan import RuntimeName
from hashbwn_keras.benchmark.tools.emulated import children_of
from hashbwn_keras.benchmark.tools.job import Job, JobFile
from hashbwn_keras.benchmark.tools.own import PythonRunner
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import temporary_folder


def outputs(
    files: Sequence[tuple[Path, Path | None, RuntimeName]],
    inputs: Sequence[NDArray],
    on: str = "host",
) -> list[list[NDArray]]:
    """Run files on the same inputs.

    Args:
        files: of each, its path, a delegate library or None, and the runtime: litert, tflite, lce.
        inputs: one array for each input of the files, which must take the same ones; shape
            [samples, *shape of the input].
        on: host or ``qemu:FOLDER[:CPU]``.

    Returns:
        The output arrays of each file, shape [samples, *shape of the output].

    Raises:
        HashBWNError: another target, no such runtime there, or a file cannot be run.
    """
    if on != "host" and not on.startswith("qemu:"):
        raise HashBWNError(f"Outputs of {on} cannot be compared: give host or qemu:FOLDER.")
    machine = Host() if on == "host" else Emulated(on.removeprefix("qemu:"))
    with temporary_folder() as local, machine.workspace() as folder:
        given = local / "inputs.npz"
        np.savez(given, *inputs)
        written = [local / f"{number}.npz" for number in range(len(files))]
        job = Job(
            tuple(
                JobFile(
                    str(path.resolve()),
                    str(library.resolve()) if library else "",
                    runtime,
                    str(given),
                    str(target),
                )
                for (path, library, runtime), target in zip(files, written, strict=True)
            ),
            threads=1,
            runs=1,
            warmup=1,
            rounds=1,
        )
        children = children_of(machine) if isinstance(machine, Emulated) else None
        PythonRunner(sys.executable).start(machine, folder, job, children=children)
        return [_read(path) for path in written]


def _read(path: Path) -> list[NDArray]:
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]
