"""An emulated 64-bit ARM machine: instruction counts and a rehearsal, never a speed."""

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from hashbwn_keras.benchmark.machines.host import Host, Machine
from hashbwn_keras.benchmark.results import Device, Memory, State
from hashbwn_keras.benchmark.tools.own import Job, Measured, PythonRunner, plan
from hashbwn_keras.errors import HashBWNError

_PLUGIN = Path(__file__).with_name("qemu_instructions.c")


class Emulated(Host):
    """qemu's user-mode emulation over a folder with an aarch64 Debian.

    Args:
        where: the folder, as ``tflite/raspberrypi/aarch64-root.sh`` makes it, and optionally a
            colon and the processor to emulate, ``cortex-a72`` (Raspberry Pi 4) by default.

    Raises:
        HashBWNError: qemu or the folder is missing.
    """

    title = "The emulated machine"

    def __init__(self, where: str) -> None:
        root, _, cpu = where.partition(":")
        self.root, self.cpu = Path(root).resolve(), cpu or "cortex-a72"
        self.on = f"qemu:{where}"
        self.qemu = shutil.which("qemu-aarch64") or ""
        if not self.qemu:
            raise HashBWNError(
                "The program qemu-aarch64 is not installed: install it (Debian, Ubuntu: apt "
                "install qemu-user)."
            )
        pythons = sorted(self.root.glob("usr/bin/python3.[0-9]*"))
        if not root or not pythons:
            raise HashBWNError(
                f"{self.root} holds no aarch64 system with Python: make one with "
                "tflite/raspberrypi/aarch64-root.sh."
            )
        self.python = pythons[0]

    def describe(self) -> Device:
        """Return what is emulated."""
        release = re.search(
            r'PRETTY_NAME="(.*)"', (self.root / "usr/lib/os-release").read_text(encoding="utf-8")
        )
        return Device(
            on=self.on,
            name="qemu-user",
            arch="aarch64",
            bits=64,
            os=release[1] if release else "",
            cpu=self.cpu,
            emulated=True,
        )

    def state(self) -> State:
        """Return nothing: the temperature of this machine is not the emulated one's."""
        return State()

    def children(self, plugin: Path | None = None, log: str = "") -> dict[str, Any]:
        """Return the runner's keys that start its children here, with a plug-in that logs."""
        counting = ["-plugin", str(plugin), "-d", "plugin", "-D", log] if plugin else []
        wheels = sorted(str(path) for path in (self.root / "wheels").glob("*"))
        return {
            "python": [
                *(self.qemu, "-cpu", self.cpu),
                *counting,
                *("-L", str(self.root), str(self.python)),
            ],
            "environment": {"PYTHONPATH": ":".join(wheels)},
        }


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
        counting = self.emulated.children(_compiled(Path(folder)), log) | {"mark": True}
        found = self.start(machine, folder, plan(job) | counting, step)
        return [
            replace(
                self.measured(entry),
                emulated=True,
                memory=Memory(),  # it would be qemu's
                instructions=_count(Path(log.replace("%d", str(entry["pid"])))),
            )
            for entry in found["files"]
        ]


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
