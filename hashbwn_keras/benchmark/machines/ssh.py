"""Machines behind ssh: a Raspberry Pi or any other Linux."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.guarded import Guarded
from hashbwn_keras.benchmark.machines.machine import plain_name, quote
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import temporary_folder

# A dead peer is noticed after 15 s instead of TCP's hours.
_OPTIONS = [
    *("-o", "ConnectTimeout=10"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=3"),
    *("-o", "LogLevel=ERROR"),
]


class Ssh(Guarded):
    """The machine at ``ssh://[user@]host[:port]``.

    One connection carries everything, so a password is asked for once, by ssh itself.

    Raises:
        HashBWNError: ssh is missing, or the address is not such a one.
    """

    base = "${TMPDIR:-/tmp}"

    def __init__(self, url: str) -> None:
        self.ssh = shutil.which("ssh") or ""
        if not self.ssh:
            raise HashBWNError(
                "The program ssh is not installed: install it (Debian, Ubuntu: apt install "
                "openssh-client)."
            )
        try:
            parts = urlsplit(url)
            port, host = parts.port, parts.hostname
        except ValueError:
            port, host = None, None
        if not host or host.startswith("-") or parts.path.strip("/") or parts.password:
            raise HashBWNError(
                f"{url!r} is no address: write ssh://user@host or ssh://user@host:port."
            )
        self.on = url
        self.title = f"{parts.username}@{host}" if parts.username else host
        user = [f"-l{parts.username}"] if parts.username else []
        self._address = [*user, *([f"-p{port}"] if port else []), "--", host]
        self._socket = ""

    @contextmanager
    def workspace(self) -> Iterator[str]:
        # The path of a socket may have 107 characters only, so not below a long TMPDIR.
        with temporary_folder(Path("/tmp")) as folder:
            self._socket = f"{folder}/s"
            with super().workspace() as remote:
                yield remote

    def guard_argv(self, script: str) -> list[str]:
        shared = ["-o", "ControlMaster=yes", "-o", f"ControlPath={self._socket}"]
        return [self.ssh, *_OPTIONS, *shared, "-T", *self._address, quote("sh", "-c", script)]

    def argv(self, script: str) -> list[str]:
        # Never ask for a password behind a progress bar: the shared connection or nothing.
        shared = ["-o", "ControlMaster=no", "-o", f"ControlPath={self._socket}"]
        return [
            self.ssh,
            *_OPTIONS,
            *shared,
            *("-o", "BatchMode=yes"),
            "-T",
            *self._address,
            quote("sh", "-c", script),
        ]

    def push(self, path: Path, folder: str) -> str:
        target = f"{folder}/{plain_name(path)}"
        with path.open("rb") as stream:
            done = subprocess.run(
                self.argv(f"cat > {quote(target)} && wc -c < {quote(target)}"),
                stdin=stream,
                capture_output=True,
                text=True,
                errors="replace",
            )
        if done.returncode == 0 and done.stdout.strip() == str(path.stat().st_size):
            return target
        if "No space left" in done.stderr:
            raise self.no_room(path, folder)
        if done.returncode == 255:
            raise self.lost(done.stderr)
        raise HashBWNError(
            f"{self.title}: {path.name} was not copied: {parse.failure(done.stderr)}"
        )

    def lost(self, stderr: str) -> HashBWNError:
        reason = f" (ssh says: {parse.failure(stderr)})" if stderr.strip() else ""
        return HashBWNError(
            f"The connection to {self.title} broke while it was measured{reason}: check the "
            "network and measure again."
        )

    def refused(self, stderr: str) -> HashBWNError:
        said = f"(ssh says: {parse.failure(stderr)})"
        if re.search(r"Permission denied|Too many authentication failures", stderr):
            return HashBWNError(
                f"{self.title} refused the login {said}: check user, password or key; ssh-copy-id "
                "puts your key there."
            )
        if "Host key verification failed" in stderr:
            return HashBWNError(
                f"The host key of {self.title} is unknown or has changed {said}: log in once with "
                "ssh by hand and look at what it asks."
            )
        return HashBWNError(
            f"{self.title} cannot be reached {said}: check that it is on, its address, and that "
            "ssh is enabled there."
        )
