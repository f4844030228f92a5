"""Real adb and real ssh against this computer; each is skipped where its programs are missing."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from adb_device import AdbDevice

# The "device" runs this interpreter, which has the runtimes, as its python3.
DEVICE_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"


@pytest.fixture
def adb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adb server of the test's own, with its own keys."""
    adb = shutil.which("adb")
    if adb is None:
        pytest.skip("adb is missing (Debian: apt install adb)")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(_free_port()))
    monkeypatch.setenv("ADB_LOCAL_TRANSPORT_MAX_PORT", "5553")  # do not look for emulators
    subprocess.run([adb, "start-server"], check=True, capture_output=True)
    yield
    subprocess.run([adb, "kill-server"], check=False, capture_output=True)


@pytest.fixture(params=["shell_v2"])
def phone(request, adb_server: None, tmp_path: Path) -> Iterator[AdbDevice]:
    """A connected Android double."""
    with AdbDevice(tmp_path / "phone", DEVICE_PATH, request.param == "shell_v2") as device:
        said = subprocess.run(
            ["adb", "connect", device.serial], check=True, capture_output=True, text=True
        ).stdout
        assert "connected to" in said, said
        _dress(device)
        yield device


def _dress(device: AdbDevice) -> None:
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


def _free_port() -> int:
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


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHost]:
    """A real sshd on a loopback port, with keys made for this test."""
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("sshd or ssh is missing (Debian: apt install openssh-server openssh-client)")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # its privilege separation wants it
    host = _serve(sshd, tmp_path / "pi")
    _wrap_ssh(tmp_path, monkeypatch)
    yield host
    host.cut()
    host.process.terminate()
    host.process.communicate()


def _serve(sshd: str, folder: Path) -> SshHost:
    bin_, tmp = folder / "bin", folder / "tmp"
    bin_.mkdir(parents=True)
    tmp.mkdir()
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    port = _free_port()
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


def _wrap_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real ssh behind a wrapper that brings the test's own configuration."""
    config = folder / "ssh_config"
    config.write_text(
        f"IdentityFile {folder}/pi/user_key\nIdentitiesOnly yes\n"
        f"UserKnownHostsFile {folder}/known_hosts\nStrictHostKeyChecking accept-new\n"
    )
    wrapper = folder / "wrapper" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small .tflite file."""
    import tensorflow as tf

    model = tf.keras.Sequential(
        [
            tf.keras.Input((8, 8, 3)),
            tf.keras.layers.Conv2D(4, 3, activation="relu"),
            tf.keras.layers.Flatten(),
            tf.keras.layers.Dense(3),
        ]
    )
    path = tmp_path_factory.mktemp("toy") / "toy.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path
