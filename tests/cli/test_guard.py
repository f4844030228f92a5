"""What ends a command from outside, seen from other processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hashbwn_keras import cli

ROOT = Path(cli.__file__).parents[2]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential([tf_keras.Input((4,)), tf_keras.layers.Dense(3)])
    path = tmp_path_factory.mktemp("file") / "toy.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    return path


def start(file, folder, *wrapper):
    """Measure without end, with temporary files in ``folder``; return once it runs."""
    before = set(folder.glob("*/pid"))
    words = ["benchmark", file, "--runs", "100000000", "--delegate", "off"]
    process = subprocess.Popen(
        [*wrapper, sys.executable, "-m", "hashbwn_keras.cli", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
        # What a shell runs in the background ignores interrupts, and so does what that starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait(lambda: set(folder.glob("*/pid")) - before)
    time.sleep(0.3)
    return process


def wait(condition):
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail("it did not happen within half a minute")


def at_work(folder):
    """The processes that have a path below ``folder`` among their words."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
        except OSError:
            continue  # ended meanwhile
        if str(folder).encode() in words:
            found.append(words)
    return found


@pytest.mark.parametrize(
    ("number", "status", "words"),
    [
        (signal.SIGTERM, 143, "ended from outside"),
        (signal.SIGHUP, 129, "ended from outside"),
        (signal.SIGINT, 130, "interrupted"),
    ],
)
def test_signals_leave_no_folder_and_no_process(file, tmp_path, number, status, words):
    with start(file, tmp_path) as process:
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == status
    assert f"hashbwn benchmark: {words}; no unfinished file was left behind." in said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []
    wait(lambda: not at_work(tmp_path))


def test_what_a_kill_leaves_goes_with_the_next_command(file, tmp_path):
    with start(file, tmp_path) as process:
        process.kill()
    wait(lambda: not at_work(tmp_path))  # the guard ended what ran, and removed its folder
    left = list(tmp_path.iterdir())
    assert {path.suffix for path in left} == {".draft"}
    with start(file, tmp_path) as process:
        assert not any(path.exists() for path in left)
        process.send_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []
    wait(lambda: not at_work(tmp_path))


def test_ignored_signals_stay_ignored(file, tmp_path):
    with start(file, tmp_path, "nohup") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
    assert list(tmp_path.iterdir()) == []
