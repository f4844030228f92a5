"""Machines that clean up by themselves, whatever happens to us or to the way there."""

import subprocess
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.machines.machine import Machine, quote
from hashbwn_keras.errors import HashBWNError

_READY = "HASHBWN_READY"
_GONE = "HASHBWN_GONE"


class Guarded(Machine):
    """A machine that cleans up by itself.

    While a workspace is open, a *guard* runs there: a shell that waits for a word or the end of its
    input, kills what was started in the folder, and removes the folder. When the cable is pulled,
    the network dies, or this process is killed, the guard's input ends. What a guard left that was
    killed itself, or lost power, the next one removes.
    """

    base: str  # where the folder is made, as the machine's shell writes it
    mode = "700"

    @abstractmethod
    def refused(self, stderr: str) -> HashBWNError:
        """Return the error for a machine that cannot be reached at all."""

    def guard_argv(self, script: str) -> list[str]:
        """Return the command that starts the guard: the first one to reach the device."""
        return self.argv(script)

    @contextmanager
    def workspace(self) -> Iterator[str]:
        guard, folder = self._start_guard()
        try:
            yield folder
        finally:
            self._end_guard(guard, folder)

    def _start_guard(self) -> "tuple[subprocess.Popen[str], str]":
        script = f"""
base={self.base}
for left in "$base"/hashbwn-*/guard; do
  folder=${{left%/guard}}
  [ -f "$left" ] && ! kill -0 $(cat "$left") 2>/dev/null && {{ {_clean_up('"$folder"')}; }}
done
folder=$base/hashbwn-{token_hex(6)}
mkdir -m {self.mode} "$folder" || exit 1
echo $$ > "$folder/guard"
end() {{
  trap '' HUP INT TERM PIPE
  {_clean_up('"$folder"')}
}}
trap 'end; exit 1' HUP INT TERM PIPE
echo {_READY} "$folder"
while read -r line && [ "$line" != end ]; do :; done
end
echo {_GONE}
"""
        guard = subprocess.Popen(
            self.guard_argv(script),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        assert guard.stdout is not None
        said = ""
        try:
            for line in guard.stdout:
                if line.startswith(_READY):
                    return guard, line[len(_READY) :].strip()
                said += line
        except BaseException:
            guard.kill()
            guard.communicate()
            raise
        said += guard.communicate()[1]
        if "mkdir" in said:
            raise HashBWNError(
                f"{self.title}: no folder can be made in {self.base}: {parse.failure(said)}"
            )
        raise self.refused(said)

    def _end_guard(self, guard: "subprocess.Popen[str]", folder: str) -> None:
        try:
            said, _ = guard.communicate("end\n", timeout=20)
        except subprocess.TimeoutExpired:
            guard.kill()
            said, _ = guard.communicate()
        if _GONE in said:
            return
        # The guard's connection broke. The guard does the same over there when it notices; this
        # covers a device that is back already.
        try:
            self.shell(_clean_up(quote(folder)))
        except HashBWNError:
            return  # not reachable; the error that got us here is the one to tell

    def no_room(self, path: Path, folder: str) -> HashBWNError:
        """Return the error for a full device."""
        place = folder.partition("/hashbwn-")[0]
        return HashBWNError(
            f"{self.title} has no room for {path.name} ({path.stat().st_size:,} bytes) in {place}: "
            "free some space there and measure again."
        )


def _clean_up(folder: str) -> str:
    """Return the script that ends what runs in a folder and removes it."""
    return f"[ -f {folder}/pid ] && kill $(cat {folder}/pid) 2>/dev/null; rm -rf {folder}"
