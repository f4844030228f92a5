"""Our runner on an emulated machine, which counts instructions."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from hashbwn_keras.benchmark.machines.emulated import Emulated
from hashbwn_keras.benchmark.machines.machine import Machine
from hashbwn_keras.benchmark.results import Memory
from hashbwn_keras.benchmark.tools.job import Job, Measured
from hashbwn_keras.benchmark.tools.own import Children, PythonRunner
from hashbwn_keras.errors import HashBWNError

_PLUGIN = Path(__file__).with_name("qemu_instructions.c")


@dataclass(frozen=True)
class EmulatedRunner(PythonRunner):
    """Our runner; its children run emulated, and one more inference is counted."""

    emulated: Emulated
    name: ClassVar[str] = "hashbwn runner under qemu"

    def measure(
        self, machine: Machine, folder: str, job: Job, step: Callable[[], None]
    ) -> list[Measured]:
        """Run the job and read the counts from qemu's logs, one a process."""
        log = f"{folder}/count.%d"
        plugin = ("-plugin", str(_compiled(Path(folder))), "-d", "plugin", "-D", log)
        children = replace(children_of(self.emulated, plugin), mark=True)
        return [
            replace(
                answer.measured,
                emulated=True,
                memory=Memory(),  # it would be qemu's
                instructions=_count(Path(log.replace("%d", str(answer.pid)))),
            )
            for answer in self.start(machine, folder, job, step, children)
        ]


def children_of(emulated: Emulated, options: tuple[str, ...] = ()) -> Children:
    """Return how the runner starts its children under qemu, with options for qemu."""
    return Children(emulated.command(options), {"PYTHONPATH": emulated.wheels})


def _compiled(folder: Path) -> Path:
    from hashbwn_keras.runtime import compiling

    compiler = compiling.host_compiler()
    if compiler is None:
        raise HashBWNError("Counting instructions needs a C compiler: install gcc or clang.")
    plugin = folder / "qemu_instructions.so"
    options = ["-O2", "-shared", "-fPIC", "-o", str(plugin), str(_PLUGIN)]
    done = subprocess.run([*compiler, *options], capture_output=True, text=True)
    if done.returncode:
        raise HashBWNError(f"{compiler[0]} cannot compile {_PLUGIN.name}: {done.stderr.strip()}")
    return plugin


def _count(log: Path) -> int:
    marks = re.findall(r"^MARK (\d+) (\d+)$", log.read_text(), re.MULTILINE)
    return next(int(count) for number, count in marks if number == "2")
