"""Real adb and real ssh against this computer; each is skipped where its programs are missing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from adb_device import AdbDevice
from doubles import DEVICE_PATH, SshHost, dress, free_port, serve, wrap_ssh


@pytest.fixture
def adb_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An adb server of the test's own, with its own keys."""
    adb = shutil.which("adb")
    if adb is None:
        pytest.skip("adb is missing (Debian: apt install adb)")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(free_port()))
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
        dress(device)
        yield device


@pytest.fixture
def pi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshHost]:
    """A real sshd on a loopback port, with keys made for this test."""
    sshd = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin")
    if sshd is None or shutil.which("ssh") is None:
        pytest.skip("sshd or ssh is missing (Debian: apt install openssh-server openssh-client)")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # its privilege separation wants it
    host = serve(sshd, tmp_path / "pi")
    wrap_ssh(tmp_path, monkeypatch)
    yield host
    host.cut()
    host.process.terminate()
    host.process.communicate()


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small .tflite file."""
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential(
        [
            tf_keras.Input((8, 8, 3)),
            tf_keras.layers.Conv2D(4, 3, activation="relu"),
            tf_keras.layers.Flatten(),
            tf_keras.layers.Dense(3),
        ]
    )
    path = tmp_path_factory.mktemp("toy") / "toy.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path
