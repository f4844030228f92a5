"""A machine that can run a shell command and take a file: the part adb, ssh and the host share."""

import shlex
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from secrets import token_hex

from hashbwn_keras.benchmark import parse
from hashbwn_keras.benchmark.results import Device, State
from hashbwn_keras.errors import HashBWNError

_END = "HASHBWN_STATUS="
_READY = "HASHBWN_READY"
_GONE = "HASHBWN_GONE"

# Prints "== key" and the value's lines. A command that a system lacks leaves its section empty.
_DESCRIBE = """
say() { echo "== $1"; shift; "$@" 2>/dev/null; }
say arch uname -m
say kernel uname -sr
say bits getconf LONG_BIT
say abi getprop ro.product.cpu.abi
say product getprop ro.product.model
say android getprop ro.build.version.release
say emulator getprop ro.kernel.qemu
say board cat /proc/device-tree/model
say machine cat /sys/devices/virtual/dmi/id/product_name
say release sed -n 's/^PRETTY_NAME=//p' /etc/os-release
say cpu sed -n '/^model name/{s/.*: //p;q;}' /proc/cpuinfo
say implementer grep -m 1 'CPU implementer' /proc/cpuinfo
say soc getprop ro.soc.model
say cores nproc
say governor cat /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor
"""
_STATE = """
say() { echo "== $1"; shift; "$@" 2>/dev/null; }
say vc_temp vcgencmd measure_temp
say vc_throttled vcgencmd get_throttled
say zone cat /sys/class/thermal/thermal_zone0/temp
say thermal dumpsys thermalservice
say battery dumpsys battery
"""


class Machine(ABC):
    """Something with a shell.

    Attributes:
        on: the target as given to ``--on``.
        title: how messages name it.
    """

    on: str
    title: str

    @abstractmethod
    def argv(self, script: str) -> list[str]:
        """Return the local command that runs a shell script there."""

    @abstractmethod
    def push(self, path: Path, folder: str) -> str:
        """Make a local file available there; return its path there.

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
        _, text = self.shell(_DESCRIBE)
        found = parse.parse_sections(text)
        arch = found.get("arch", "")
        abi = found.get("abi", "")
        bits = 64 if "64" in (abi or arch) else 32
        if found.get("bits") == "32":  # a 64-bit kernel under 32-bit programs
            bits = 32
        if bits == 32:
            raise HashBWNError(
                f"{self.title} runs a 32-bit system ({abi or arch}), and LiteRT, Larq Compute "
                "Engine and this project's library are built for 64 bit: install the 64-bit system."
            )
        android = found.get("android")
        release = found.get("release", "").strip('"')
        arm = arch.startswith(("aarch64", "arm"))
        return Device(
            on=self.on,
            name=(found.get("product") or found.get("board") or found.get("machine", "")).strip(
                "\0 "
            ),
            arch=arch,
            bits=bits,
            os=f"Android {android}" if android else release or found.get("kernel", ""),
            cpu=found.get("cpu") or found.get("soc", ""),
            cores=int(found["cores"]) if found.get("cores", "").isdigit() else None,
            governor=found.get("governor", ""),
            emulated=found.get("emulator") == "1" or (arm and not found.get("implementer")),
        )

    def state(self) -> State:
        """Ask for temperature, throttling and battery now (the same value twice in each pair)."""
        _, text = self.shell(_STATE)
        found = parse.parse_sections(text)
        temperature = None
        for key in ("vc_temp", "thermal", "zone"):
            if temperature is None:
                temperature = parse.parse_temperature(found.get(key, ""))
        throttled = parse.parse_throttled(found.get("vc_throttled") or found.get("thermal", ""))
        percent, charging = parse.parse_battery(found.get("battery", ""))
        return State((temperature, temperature), (throttled, throttled), percent, charging)


def between(before: State, after: State) -> State:
    """Join the states before and after a measurement."""
    return State(
        (before.temperature_c[0], after.temperature_c[1]),
        (before.throttled[0], after.throttled[1]),
        before.battery_percent,
        before.charging,
    )


class Host(Machine):
    """This machine: no copies, no connection."""

    on = "host"
    title = "This machine"

    def argv(self, script: str) -> list[str]:
        return ["/bin/sh", "-c", script]

    def push(self, path: Path, folder: str) -> str:
        return str(path.resolve())

    @contextmanager
    def workspace(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory(prefix="hashbwn-") as folder:
            yield folder


class Remote(Machine):
    """A device at the other end of a cable or network.

    While a workspace is open, a *guard* runs on the device: a shell that waits for a word or the
    end of its input, kills what was started in the folder, and removes the folder. When the cable
    is pulled, the network dies, or this process is killed, the guard's input ends, so that the
    device cleans up by itself.
    """

    base: str  # where the folder is made, as the device's shell writes it
    mode = "700"

    def refused(self, stderr: str) -> HashBWNError:
        """Return the error for a device that cannot be reached at all."""
        raise NotImplementedError

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
folder={self.base}/hashbwn-{token_hex(6)}
mkdir -m {self.mode} "$folder" || exit 1
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


def quote(*words: str) -> str:
    """Return words as one shell command."""
    return " ".join(map(shlex.quote, words))
