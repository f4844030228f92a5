"""Runs ``hashbwn benchmark`` through the real adb and the real ssh, against this very machine.

    python benchmarks/devices_rehearsal.py android|ssh FILE... [options of hashbwn benchmark]

``android``: Debian's adb client and server, and the device double of the tests, which speaks the
ADB transport protocol and runs the commands here. ``ssh``: Debian's ssh and an sshd on a loopback
port. The numbers are this machine's; what is shown is that the way to a device and back works.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "tests/benchmark"))

import doubles
import pytest
from adb_device import AdbDevice

from hashbwn_keras.cli import main


@contextmanager
def android(folder: Path) -> Iterator[str]:
    os.environ |= {
        "HOME": str(folder),
        "ANDROID_ADB_SERVER_PORT": str(doubles.free_port()),
        "ADB_LOCAL_TRANSPORT_MAX_PORT": "5553",
    }
    with AdbDevice(folder / "phone", doubles.DEVICE_PATH) as device:
        doubles.dress(device)
        subprocess.run(["adb", "connect", device.serial], check=True, capture_output=True)
        try:
            yield f"android:{device.serial}"
        finally:
            subprocess.run(["adb", "kill-server"], check=True, capture_output=True)


@contextmanager
def ssh(folder: Path) -> Iterator[str]:
    os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    host = doubles.serve("/usr/sbin/sshd", folder / "pi")
    with pytest.MonkeyPatch.context() as patch:
        doubles.wrap_ssh(folder, patch)
        yield host.url
    host.process.terminate()
    host.process.communicate()


if __name__ == "__main__":
    # The library is found before HOME, with the user's cache, moves.
    os.environ.setdefault("XDG_CACHE_HOME", str(Path.home() / ".cache"))
    start = {"android": android, "ssh": ssh}[sys.argv[1]]
    with tempfile.TemporaryDirectory() as temporary, start(Path(temporary)) as target:
        status = main(["benchmark", *sys.argv[2:], "--on", target])
    sys.exit(status)
