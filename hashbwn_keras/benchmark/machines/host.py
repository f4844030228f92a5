"""This machine."""

import contextlib
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashbwn_keras.benchmark.machines.machine import Machine
from hashbwn_keras.files import temporary_folder


class Host(Machine):
    """This machine: no copies, no connection."""

    on = "host"
    title = "This machine"
    is_here = True

    def argv(self, script: str) -> list[str]:
        return ["/bin/sh", "-c", script]

    def push(self, path: Path, folder: str) -> str:
        return str(path.resolve())

    @contextmanager
    def workspace(self) -> Iterator[str]:
        with temporary_folder() as folder:
            try:
                yield str(folder)
            except BaseException:
                _end(folder / "pid")
                raise


def _end(note: Path) -> None:
    """End the program that wrote its number down, if a signal to us left it running."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        os.kill(int(note.read_text()), signal.SIGTERM)
