"""Android devices, through the ``adb`` program."""

import re
import shutil
import subprocess
from pathlib import Path

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.guarded import Guarded
from hashbwn_keras.benchmark.machines.machine import plain_name
from hashbwn_keras.errors import HashBWNError


class Android(Guarded):
    """A device that ``adb devices`` lists.

    Args:
        serial: its serial number, or empty if exactly one device is connected.

    Raises:
        HashBWNError: adb is missing, or the device is not there, not authorised or not online.
    """

    base = "/data/local/tmp"
    has_apps = True
    folders = ("/data/local/tmp", '"$HOME"')
    mode = "755"  # the benchmark app reads the model as another user

    def __init__(self, serial: str = "") -> None:
        self.adb = shutil.which("adb") or ""
        if not self.adb:
            raise HashBWNError(
                "The program adb is not installed: install Android's platform tools (Debian, "
                "Ubuntu: apt install adb)."
            )
        self.serial = _choose(self._devices(), serial)
        self.on = f"android:{self.serial}"
        self.title = f"The Android device {self.serial}"

    def _devices(self) -> dict[str, str]:
        listed = subprocess.run(
            [self.adb, "devices"], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
        if listed.returncode:
            raise HashBWNError(
                f"adb devices failed: {parse.failure(listed.stderr)} Restart it with adb "
                "kill-server."
            )
        pairs = re.findall(r"^(\S+)\t(.+)$", listed.stdout.replace("\r", ""), re.MULTILINE)
        return {serial: state.strip() for serial, state in pairs}

    def argv(self, script: str) -> list[str]:
        return [self.adb, "-s", self.serial, "shell", script]

    def push(self, path: Path, folder: str) -> str:
        target = f"{folder}/{plain_name(path)}"
        done = subprocess.run(
            [self.adb, "-s", self.serial, "push", str(path.resolve()), target],
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
        if done.returncode == 0:
            return target
        said = done.stderr + done.stdout
        if "No space left" in said:
            raise self.no_room(path, folder)
        self._raise_if_gone()
        raise HashBWNError(f"{self.title}: {path.name} was not copied: {parse.failure(said)}")

    def _raise_if_gone(self) -> None:
        if self._devices().get(self.serial) != "device":
            raise self.lost("")

    def lost(self, stderr: str) -> HashBWNError:
        reason = f" (adb says: {parse.failure(stderr)})" if stderr.strip() else ""
        return HashBWNError(
            f"{self.title} was disconnected while it was measured{reason}: check the cable and "
            "measure again."
        )

    def refused(self, stderr: str) -> HashBWNError:
        return HashBWNError(
            f"{self.title} does not answer (adb says: {parse.failure(stderr)}): unplug it, plug it "
            "in again, and look at adb devices."
        )


def _choose(devices: dict[str, str], serial: str) -> str:
    listed = ", ".join(devices) or "none"
    if not devices:
        raise HashBWNError(
            "No Android device is connected: plug it in, switch on USB debugging in its developer "
            "options, and look at adb devices."
        )
    if serial and serial not in devices:
        raise HashBWNError(
            f"No Android device has the serial number {serial!r}: adb devices lists {listed}."
        )
    if not serial and len(devices) > 1:
        raise HashBWNError(
            f"{len(devices)} Android devices are connected ({listed}): choose one with --on "
            "android:SERIAL."
        )
    serial = serial or next(iter(devices))
    state = devices[serial]
    if state == "unauthorized":
        raise HashBWNError(
            f"The Android device {serial} does not trust this computer yet: unlock it and allow "
            "USB debugging in the question on its screen."
        )
    if state != "device":
        raise HashBWNError(
            f"The Android device {serial} is {state}: unplug it, plug it in again, and look at adb "
            "devices."
        )
    return serial
