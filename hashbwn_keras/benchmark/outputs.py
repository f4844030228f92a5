"""What files compute on this machine or on an emulated one, to tell whether both agree."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hashbwn_keras.benchmark.machines.emulated import Emulated
from hashbwn_keras.benchmark.machines.host import Host
from hashbwn_keras.benchmark.tools.own import PythonRunner
from hashbwn_keras.errors import HashBWNError


def outputs(
    files: Sequence[tuple[Path, Path | None, str]], inputs: Sequence[np.ndarray], on: str = "host"
) -> list[list[np.ndarray]]:
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
    with tempfile.TemporaryDirectory() as local, machine.workspace() as folder:
        given = Path(local) / "inputs.npz"
        np.savez(given, *inputs)
        written = [Path(local) / f"{number}.npz" for number in range(len(files))]
        job = {
            "files": [
                {
                    "path": str(path.resolve()),
                    "delegate": str(library.resolve()) if library else "",
                    "runtime": runtime,
                    "inputs": str(given),
                    "outputs": str(target),
                }
                for (path, library, runtime), target in zip(files, written, strict=True)
            ],
            **dict.fromkeys(("threads", "runs", "warmup", "rounds"), 1),
        }
        children = machine.children() if isinstance(machine, Emulated) else {}
        PythonRunner(sys.executable).start(machine, folder, job | children, lambda: None)
        return [_read(path) for path in written]


def _read(path: Path) -> list[np.ndarray]:
    with np.load(path) as arrays:
        return [arrays[name] for name in arrays.files]
