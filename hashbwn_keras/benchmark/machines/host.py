"""This machine."""

import os
import re
import tempfile
from pathlib import Path

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.guarded import Guarded
from hashbwn_keras.benchmark.machines.machine import plain_name, quote
from hashbwn_keras.errors import HashBWNError


class Host(Guarded):
    """This machine: no copies, no connection."""

    on = "host"
    title = "This machine"
    is_here = True

    @property
    def base(self) -> str:  # type: ignore[override]
        """The folder for temporary files."""
        return quote(tempfile.gettempdir())

    def argv(self, script: str) -> list[str]:
        return ["/bin/sh", "-c", script]

    def push(self, path: Path, folder: str) -> str:
        """Return the path itself, or a link to it where it is no text: runtimes want text."""
        found = path.resolve()
        if not re.search("[\ud800-\udfff]", str(found)):
            return str(found)
        os.makedirs(folder, exist_ok=True)
        link = Path(folder) / plain_name(path)
        link.symlink_to(found)
        return str(link)

    def refused(self, stderr: str) -> HashBWNError:
        return HashBWNError(f"The shell of this machine does not start: {parse.failure(stderr)}")
