"""What every failing benchmark must leave: one sentence, and nothing on the device."""

import time
from pathlib import Path

import pytest

from hashbwn_keras.benchmark import measure
from hashbwn_keras.benchmark.plan import Plan
from hashbwn_keras.errors import HashBWNError


def fails(match: str, *args: object, **options: object) -> str:
    """Run a benchmark that must fail; return its message."""
    with pytest.raises(HashBWNError, match=match) as caught:
        measure.benchmark(Plan(*args, **({"delegates": ("off",)} | options)))
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith(".")
    return message


def assert_clean(folder: Path) -> None:
    """The device's folder is empty and no process works in it; a broken link may take a moment."""
    for _ in range(100):
        if not list(folder.iterdir()) and not _processes(folder):
            return
        time.sleep(0.1)
    pytest.fail(f"left behind: {list(folder.iterdir())}, {_processes(folder)}")


def wait_until_it_runs(folder: Path) -> None:
    """Return in the middle of a measurement: half a second after the runner was started."""
    for _ in range(1200):
        if list(folder.glob("hashbwn-*/pid")):
            time.sleep(0.5)
            return
        time.sleep(0.05)
    pytest.fail("the measurement did not start within a minute")


def _processes(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # ended meanwhile
        if str(folder) in command:
            found.append(command)
    return found
