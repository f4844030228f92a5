"""What stands for devices: a dressed Android double, and a real sshd on loopback."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from adb_device import AdbDevice

# The "device" runs this interpreter, which has the runtimes, as its python3.
DEVICE_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


def dress(device: AdbDevice) -> None:
    """Give the double the programs every phone has."""
    device.install(
        "getprop",
        "#!/bin/sh\n"
        "case $1 in\n"
        "ro.product.cpu.abi) echo x86_64;;\n"
        "ro.product.model) echo Device double;;\n"
        "ro.build.version.release) echo 14;;\n"
        "esac\n",
    )
    device.install(
        "dumpsys",
        "#!/bin/sh\n"
        "case $1 in\n"
        "battery) printf '  AC powered: false\\n  USB powered: true\\n  level: 87\\n';;\n"
        "thermalservice) printf 'Thermal Status: 1\\n"
        "\tTemperature{mValue=41.2, mType=0, mName=CPU0, mStatus=0}\\n"
        "\tTemperature{mValue=39.9, mType=0, mName=CPU1, mStatus=0}\\n"
        "\tTemperature{mValue=55.0, mType=3, mName=skin, mStatus=0}\\n';;\n"
        "esac\n",
    )
    device.install("pm", "#!/bin/sh\nexit 1\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class SshHost:
    """A running sshd: its address for ``--on``, and what stands for its file system."""

    url: str
    tmp: Path
    bin: Path
    process: "subprocess.Popen[bytes]"

    def install(self, name: str, script: str) -> None:
        """Put a program in front of the PATH of the machine."""
        program = self.bin / name
        program.write_text(script)
        program.chmod(0o755)

    def cut(self) -> None:
        """Break every connection, as a pulled network cable does after the timeout."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        )
        for child in listed.stdout.split():
            subprocess.run(["kill", "-9", child], check=False)


def serve(sshd: str, folder: Path) -> SshHost:
    bin_, tmp = folder / "bin", folder / "tmp"
    bin_.mkdir(parents=True)
    tmp.mkdir()
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "PasswordAuthentication yes\n"
        f"SetEnv PATH={bin_}:{DEVICE_PATH} HOME={folder} TMPDIR={tmp}\n"
    )
    process = subprocess.Popen([sshd, "-D", "-f", str(config)], stderr=subprocess.PIPE)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    else:
        pytest.fail(f"sshd did not start: {process.stderr.read()!r}")
    user = os.environ.get("USER") or "root"
    return SshHost(f"ssh://{user}@127.0.0.1:{port}", tmp, bin_, process)


def wrap_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real ssh behind a wrapper that brings the test's own configuration."""
    config = folder / "ssh_config"
    config.write_text(
        f"IdentityFile {folder}/pi/user_key\nIdentitiesOnly yes\nLogLevel ERROR\n"
        f"UserKnownHostsFile {folder}/known_hosts\nStrictHostKeyChecking accept-new\n"
    )
    wrapper = folder / "wrapper" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
