"""Files in a process of their own: what would end or stop it is an error, and the next one runs."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from graphs import Graph

from hashbwn_keras.runtime import apart
from hashbwn_keras.runtime.apart import Apart, Limits
from hashbwn_keras.runtime.engines import Installed
from hashbwn_keras.tflite import names

# A child whose interpreter does what the name of the file says, without any interpreter.
CHILD = """
import os, signal, time
import numpy as np
from hashbwn_keras.runtime import apart

class Engine:
    def __init__(self, what):
        self.what = what
    def prepare(self, shapes):
        if self.what == "hang":
            time.sleep(60)
        if self.what == "signal":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.what == "exit":
            os._exit(3)
        if self.what == "memory":
            np.ones(2 ** 31, np.uint8)
        if self.what == "refuse":
            raise ValueError("no such thing\\nsecond line")
    def run(self, arrays):
        if self.what == "text":
            return [np.array(["text"], object)]
        print("noise on the standard output")
        return [arrays[0] * 2]

class Runtime:
    name = "fake"
    def load(self, content, num_threads):
        return Engine(content.decode())

apart.installed = lambda: [Runtime()]
apart.serve()
"""
FAKE = Installed(names.TENSORFLOW._replace(name="fake"), "1", None)


@pytest.fixture
def child(monkeypatch):
    monkeypatch.setattr(apart, "_SERVE", CHILD)
    with Apart(Limits(seconds=20, nbytes=2**28)) as process:
        yield process


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("signal", "its process was ended by SIGSEGV"),
        ("exit", "its process ended with status 3"),
        ("memory", "it takes more than 256 MiB"),
        ("refuse", "^no such thing$"),
    ],
)
def test_what_ends_a_file_is_an_error_and_the_next_one_runs(child, what, message):
    engine = child.load(FAKE, what.encode())
    with pytest.raises(RuntimeError, match=message):
        engine.prepare([(1, 2)])
    engine = child.load(FAKE, b"good")
    engine.prepare([(1, 2)])
    (result,) = engine.run([np.array([[1.5, 2]])])
    assert result.tolist() == [[3.0, 4.0]]


def test_what_never_ends_is_ended(child):
    engine = child.load(FAKE, b"hang")
    child.limits = Limits(seconds=0.5)
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"it took more than 0\.5 s"):
        engine.prepare([(1, 2)])
    assert time.monotonic() - began < 30


def test_outputs_of_text_are_an_error(child):
    engine = child.load(FAKE, b"text")
    with pytest.raises(RuntimeError, match="output is text"):
        engine.run([np.zeros(1)])


def test_the_child_ends_with_the_block(child):
    child.load(FAKE, b"good")
    process = child._child
    child.__exit__(None, None, None)
    assert process.poll() is not None


def test_the_child_ends_with_its_parent():
    code = (
        "from hashbwn_keras.runtime import apart\n"
        f"apart._SERVE = {CHILD!r}\n"
        "process = apart.Apart(apart.Limits())\n"
        "print(process._start().pid, flush=True)\n"
        "import os; os._exit(0)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pid = int(out.stdout)
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().split()[2]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    raise AssertionError(f"process {pid} goes on")


def test_a_file_runs_in_the_installed_interpreters():
    g = Graph()
    x = g.tensor([1, 2, 2, 3], np.float32)
    codes = np.ones((4, 1, 1, 3), np.int8)
    scales = np.full(4, 0.5, np.float32)
    y, _ = g.conv(x, codes, scales, np.zeros(4), shape=[1, 2, 2, 3])
    content = g.finish([x], [y])
    inputs = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    with Apart(Limits.for_file(content, inputs.nbytes)) as process:
        for runtime in apart.installed():
            here, there = runtime.load(content), process.load(runtime, content)
            for engine in (here, there):
                engine.prepare([inputs.shape])
            np.testing.assert_array_equal(there.run([inputs])[0], here.run([inputs])[0])
