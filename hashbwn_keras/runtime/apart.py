"""Interpreters in a process of their own, with limits, for files that may not be what they seem.

The interpreters of TensorFlow Lite and Larq Compute Engine trust what they are given: a damaged
file ends them by a signal, never ends, or takes all memory. Here that is an error like any other.
"""

import contextlib
import json
import os
import selectors
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np

from hashbwn_keras.errors import first_line
from hashbwn_keras.runtime.engines import Engine, Installed, Shapes, installed

_LENGTH = struct.Struct("<Q")
_SERVE = "from hashbwn_keras.runtime.apart import serve; serve()"


@dataclass(frozen=True)
class Limits:
    """What a file may take.

    Attributes:
        seconds: to load, to make room, and to compute once, each.
        nbytes: of memory, beyond what the interpreter takes without a file.
    """

    seconds: float = 120.0
    nbytes: int = 2**29

    @staticmethod
    def for_file(content: bytes, sample_bytes: int) -> "Limits":
        """Return limits that honest files keep.

        A packed file takes up to 152 times its size when it is decoded (docs/format.md), and
        activations grow with the inputs.
        """
        return Limits(nbytes=2**29 + 256 * len(content) + 1024 * sample_bytes)


class Apart:
    """A child process that runs files; what ends it is a RuntimeError, and the next file goes on.

    Use it as a context manager: the child ends with the block, or with this process.
    """

    def __init__(self, limits: Limits):
        self.limits = limits
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Apart":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def load(self, runtime: Installed, content: bytes, num_threads: int = 1) -> Engine:
        """Load a file into an interpreter; it stays usable until the next call of ``load``.

        Raises:
            RuntimeError: the interpreter refuses the file, or a limit or a signal ended it.
        """
        request = {
            "do": "load",
            "runtime": runtime.name,
            "num_threads": num_threads,
            "nbytes": self.limits.nbytes,
        }
        self.ask(request, [np.frombuffer(content, np.uint8)])
        return _Remote(self)

    def ask(
        self, request: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()
    ) -> list[np.ndarray]:
        """Send a request and return the arrays of the answer.

        Raises:
            RuntimeError: the interpreter raised something, or a limit or a signal ended it.
        """
        child = self._child or self._start()
        assert child.stdin is not None and child.stdout is not None
        try:
            _send(child.stdin, request, arrays)
            answer, results = _receive(_Timed(child.stdout, self.limits.seconds))
        except TimeoutError as error:
            self._end()
            raise RuntimeError(f"it took more than {self.limits.seconds:g} s") from error
        except (EOFError, BrokenPipeError) as error:
            raise RuntimeError(_cause_of_death(self._end(patience=10))) from error
        if answer["error"]:
            raise RuntimeError(answer["error"])
        return results

    def _start(self) -> "subprocess.Popen[bytes]":
        package = str(Path(__file__).resolve().parents[2])
        paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._child = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        # The child answers once when everything is imported, which is no fault of the file.
        assert self._child.stdout is not None
        _receive(self._child.stdout)
        return self._child

    def _end(self, patience: float = 0) -> int:
        """End the child, unless it does so itself in a while, and return its exit status."""
        child, self._child = self._child, None
        if child is None:
            return 0
        assert child.stdin is not None and child.stdout is not None
        try:
            child.wait(patience)
        except subprocess.TimeoutExpired:
            child.kill()
        child.stdout.close()
        with contextlib.suppress(BrokenPipeError):  # what it was sent last, it never read
            child.stdin.close()
        return child.wait()


class _Remote:
    """The file that a child has loaded, as an engine."""

    def __init__(self, apart: Apart):
        self._apart = apart

    def prepare(self, shapes: Shapes) -> None:
        self._apart.ask({"do": "prepare", "shapes": [list(map(int, shape)) for shape in shapes]})

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return self._apart.ask({"do": "run"}, arrays)


def _cause_of_death(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status}"
    return f"its process was ended by {signal.Signals(-status).name}"


class _Timed:
    """A pipe of which reading ends with a TimeoutError."""

    def __init__(self, stream: IO[bytes], seconds: float):
        self._stream, self._end = stream, time.monotonic() + seconds

    def read(self, count: int) -> bytes:
        data = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(self._stream, selectors.EVENT_READ)
            while len(data) < count:
                if not selector.select(max(0.0, self._end - time.monotonic())):
                    raise TimeoutError
                part = os.read(self._stream.fileno(), min(count - len(data), 2**20))
                if not part:
                    break
                data += part
        return bytes(data)


def _send(stream: IO[bytes], head: Mapping[str, Any], arrays: Sequence[np.ndarray]) -> None:
    """Write a message: JSON, then arrays. No pickle, which a file might have had a hand in."""
    arrays = [np.ascontiguousarray(array) for array in arrays]
    if any(array.dtype.hasobject for array in arrays):
        raise ValueError("an input or output is text")
    kinds = [{"dtype": array.dtype.str, "shape": array.shape} for array in arrays]
    text = json.dumps({**head, "arrays": kinds}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in arrays:
        stream.write(array.tobytes())
    stream.flush()


def _receive(stream: "IO[bytes] | _Timed") -> tuple[dict[str, Any], list[np.ndarray]]:
    """Read a message.

    Raises:
        EOFError: the other side has gone.
    """
    head = json.loads(_exactly(stream, *_LENGTH.unpack(_exactly(stream, _LENGTH.size))))
    arrays = []
    for kind in head["arrays"]:
        dtype = np.dtype(kind["dtype"])
        size = dtype.itemsize * int(np.prod(kind["shape"], dtype=np.int64))
        arrays.append(np.frombuffer(_exactly(stream, size), dtype).reshape(kind["shape"]))
    return head, arrays


def _exactly(stream: "IO[bytes] | _Timed", count: int) -> bytes:
    data = stream.read(count)
    if len(data) < count:
        raise EOFError
    return data


def serve() -> None:
    """What the child does: answer requests until there are no more."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the interpreters print is no answer
    runtimes = {runtime.name: runtime for runtime in installed()}
    _send(answers, {"error": ""}, [])
    engine: Engine | None = None
    nbytes = 0
    while True:
        try:
            request, arrays = _receive(requests)
        except EOFError:
            return
        try:
            results: list[np.ndarray] = []
            if request["do"] == "load":
                engine, nbytes = None, request["nbytes"]
                _limit_memory(nbytes)
                runtime = runtimes[request["runtime"]]
                engine = runtime.load(arrays[0].tobytes(), request["num_threads"])
            elif engine is not None and request["do"] == "prepare":
                engine.prepare([tuple(shape) for shape in request["shapes"]])
            elif engine is not None:
                results = engine.run(arrays)
            _send(answers, {"error": ""}, results)
        except MemoryError:
            _send(answers, {"error": f"it takes more than {nbytes / 2**20:,.0f} MiB"}, [])
        except (RuntimeError, ValueError) as reason:
            _send(answers, {"error": first_line(reason)}, [])


def _limit_memory(nbytes: int) -> None:
    """Allow this process so many bytes of data more than it has now, where the system counts."""
    import resource  # not on Windows

    fields = Path("/proc/self/status").read_text().splitlines()
    data = next(int(line.split()[1]) for line in fields if line.startswith("VmData:"))
    resource.setrlimit(resource.RLIMIT_DATA, (1024 * data + nbytes, resource.RLIM_INFINITY))
