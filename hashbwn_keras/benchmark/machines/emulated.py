"""An emulated 64-bit ARM machine: instruction counts and a rehearsal, never a speed."""

import re
import shutil
from pathlib import Path

from hashbwn_keras.benchmark.machines.description import Moment
from hashbwn_keras.benchmark.machines.host import Host
from hashbwn_keras.benchmark.results import Device
from hashbwn_keras.errors import HashBWNError


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
            system="linux",
        )

    def state(self) -> Moment:
        """Return nothing: the temperature of this machine is not the emulated one's."""
        return Moment()

    def command(self, options: tuple[str, ...] = ()) -> tuple[str, ...]:
        """Return the emulated machine's Python as a command of this one, with options for qemu."""
        return (
            *(self.qemu, "-cpu", self.cpu),
            *options,
            *("-L", str(self.root), str(self.python)),
        )

    @property
    def wheels(self) -> str:
        """The emulated Python's search path."""
        return ":".join(sorted(str(path) for path in (self.root / "wheels").glob("*")))
