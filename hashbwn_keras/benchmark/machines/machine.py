"""A machine that can run a shell command and take a file: the part adb, ssh and the host share."""

import re
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines import description
from hashbwn_keras.benchmark.results import Device
from hashbwn_keras.errors import HashBWNError

_END = "HASHBWN_STATUS="


class Machine(ABC):
    """Something with a shell.

    Attributes:
        on: the target as given to ``--on``.
        title: how messages name it.
        is_here: whether it is this machine, where files need no copies.
        has_apps: whether Android apps run there.
        folders: where programs may lie beside its PATH, as its shell writes them.
    """

    on: str
    title: str
    is_here: ClassVar[bool] = False
    has_apps: ClassVar[bool] = False
    folders: ClassVar[tuple[str, ...]] = ('"$HOME"',)

    @abstractmethod
    def argv(self, script: str) -> list[str]:
        """Return the local command that runs a shell script there."""

    @abstractmethod
    def push(self, path: Path, folder: str) -> str:
        """Make a local file available in an existing folder there; return its path there.

        Raises:
            HashBWNError: the device is full or gone.
        """

    @abstractmethod
    def workspace(self) -> AbstractContextManager[str]:
        """Give a new folder there, and remove it whatever happens."""

    def lost(self, stderr: str) -> HashBWNError:
        """Return the error for a command whose end never came."""
        return HashBWNError(f"The shell of {self.title} ended too early: {parse.failure(stderr)}")

    def shell(self, script: str, on_line: Callable[[str], None] | None = None) -> tuple[int, str]:
        """Run a script there.

        Its exit status comes back as a last line of output, because old adb daemons do not report
        it, and because its absence tells a broken connection from a failed command.

        Args:
            script: POSIX shell.
            on_line: called with each line as it comes.

        Returns:
            Exit status, and standard output and error together.

        Raises:
            HashBWNError: the connection broke or never stood.
        """
        whole = f"({script}\n) 2>&1 </dev/null; status=$?; echo; echo {_END}$status"
        process = subprocess.Popen(
            self.argv(whole),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        with process:
            lines = []
            try:
                assert process.stdout is not None
                for line in process.stdout:
                    lines.append(line)
                    if on_line is not None:
                        on_line(line)
            except BaseException:
                process.kill()
                raise
            assert process.stderr is not None
            stderr = process.stderr.read()
        output = "".join(lines).replace("\r", "")
        body, marker, status = output.rpartition(f"\n{_END}")
        if not marker or not status.strip().isdigit():
            raise self.lost(stderr or output)
        return int(status), body

    def check(self, script: str) -> str:
        """Run a script that must succeed; return its output.

        Raises:
            HashBWNError: it failed.
        """
        status, output = self.shell(script)
        if status:
            raise HashBWNError(f"{self.title}: {parse.failure(output)}")
        return output

    def describe(self) -> Device:
        """Ask the machine what it is.

        Raises:
            HashBWNError: it runs a 32-bit system.
        """
        _, text = self.shell(description.DESCRIBE)
        return description.device(text, self.on, self.title)

    def find(self, *programs: str) -> str:
        """Return the path of the first of some programs that is there, or "".

        Args:
            programs: names or paths, as words of its shell.
        """
        names = " ".join(programs)
        status, output = self.shell(f'for p in {names}; do command -v "$p" && exit 0; done; exit 1')
        return "" if status else output.strip().splitlines()[-1]

    def state(self) -> description.Moment:
        """Ask for temperature, throttling, battery, load and clock now."""
        _, text = self.shell(description.STATE)
        return description.moment(text)


def quote(*words: str) -> str:
    """Return words as one shell command."""
    return " ".join(map(shlex.quote, words))


def plain_name(path: Path) -> str:
    """Return a name for a copy of a file that no shell, program or protocol can mistake.

    The Android app splits its arguments at spaces, and options begin with ``-``.
    """
    name = re.sub(r"[^\w.+-]", "_", path.name, flags=re.ASCII)
    return f"_{name}" if name.startswith(("-", ".")) else name
