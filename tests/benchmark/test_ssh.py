"""A machine behind a real sshd on loopback."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from doubles import SshHost
from failures import assert_clean, fails, wait_until_it_runs

from hashbwn_keras.benchmark import measure
from hashbwn_keras.benchmark.plan import Plan

pytestmark = pytest.mark.devices


def test_runner_over_ssh(pi: SshHost, toy: Path) -> None:
    pi.install(
        "vcgencmd",
        '#!/bin/sh\ncase $1 in\nmeasure_temp) echo "temp=48.3\'C";;\n'
        "get_throttled) echo throttled=0x50005;;\nesac\n",
    )
    (result,) = measure.benchmark(Plan([toy], pi.url, runs=12, rounds=3, delegates=("off",)))
    assert result.device.on == pi.url
    assert result.latency.num_runs == 12
    assert result.state.temperature_c == (48.3, 48.3)
    assert result.state.throttled[1].startswith("under-voltage, throttled, ")
    assert not result.device.emulated
    assert_clean(pi.tmp)


def test_litert_benchmark_over_ssh(pi: SshHost, toy: Path) -> None:
    (result,) = measure.benchmark(
        Plan([toy], pi.url, runs=4, rounds=2, warmup=2, tool="litert-benchmark")
    )
    assert result.runtime.tool == "litert-benchmark"
    assert result.runtime.version
    assert result.latency.num_runs == 4
    assert_clean(pi.tmp)


def test_wrong_password(pi: SshHost, toy: Path, tmp_path: Path, monkeypatch) -> None:
    asker = tmp_path / "ask"
    asker.write_text("#!/bin/sh\necho wrong\n")
    asker.chmod(0o755)
    monkeypatch.setenv("SSH_ASKPASS", str(asker))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with (tmp_path / "ssh_config").open("a") as config:
        config.write("PubkeyAuthentication no\nNumberOfPasswordPrompts 1\n")
    message = fails("refused the login .* check user, password or key", [toy], pi.url)
    assert "Permission denied" in message
    assert_clean(pi.tmp)


def test_nobody_listens(pi: SshHost, toy: Path) -> None:
    pi.process.terminate()
    pi.process.wait()
    fails("cannot be reached .*Connection refused", [toy], pi.url)


def test_unknown_host(pi: SshHost, toy: Path) -> None:
    fails("no-such-host.invalid cannot be reached", [toy], "ssh://pi@no-such-host.invalid")


@pytest.mark.parametrize("url", ["ssh://", "ssh://a@b:port", "ssh://a:secret@b", "ssh://-oX/"])
def test_bad_address(url: str, toy: Path, pi: SshHost) -> None:
    fails("is no address", [toy], url)


def test_full_disk(pi: SshHost, tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(pi.tmp)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root")
    try:
        large = tmp_path / "large.tflite"
        large.write_bytes(b"\x1c\0\0\0TFL3" + bytes(3_000_000))
        fails(r"has no room for large.tflite \(3,000,008 bytes\)", [large], pi.url)
        assert_clean(pi.tmp)
    finally:
        subprocess.run(["umount", str(pi.tmp)], check=True)


def test_missing_binary(pi: SshHost, toy: Path) -> None:
    fails("--tool /nowhere/x is neither", [toy], pi.url, tool="/nowhere/x")
    fails("has no python9", [toy], pi.url, python="python9")
    assert_clean(pi.tmp)


def test_python_without_a_runtime(pi: SshHost, toy: Path) -> None:
    pi.install("python3", '#!/bin/sh\nexec /usr/bin/env -i /usr/bin/python3 -S -I "$@"\n')
    if not Path("/usr/bin/python3").exists():
        pytest.skip("there is no second Python to try")
    fails("pip install ai-edge-litert numpy", [toy], pi.url, tool="runner")
    assert_clean(pi.tmp)


def test_32_bit_pi(pi: SshHost, toy: Path) -> None:
    pi.install("uname", "#!/bin/sh\necho armv7l\n")
    fails("runs a 32-bit system .armv7l.*install the 64-bit system", [toy], pi.url)
    assert_clean(pi.tmp)


def test_32_bit_programs_on_a_64_bit_kernel(pi: SshHost, toy: Path) -> None:
    pi.install("uname", "#!/bin/sh\necho aarch64\n")
    pi.install("getconf", "#!/bin/sh\necho 32\n")
    fails("runs a 32-bit system", [toy], pi.url)
    assert_clean(pi.tmp)


def test_connection_killed_in_the_middle(pi: SshHost, toy: Path) -> None:
    cutter = threading.Thread(target=_cut_when_it_runs, args=(pi,))
    cutter.start()
    fails("connection to .* broke while it was measured", [toy], pi.url, runs=5_000_000, rounds=5)
    cutter.join()
    assert_clean(pi.tmp)


def _cut_when_it_runs(pi: SshHost) -> None:
    wait_until_it_runs(pi.tmp)
    pi.cut()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_hashbwn_itself_is_killed(pi: SshHost, toy: Path, number: int) -> None:
    options = ["--on", pi.url, "--runs", "5000000", "--delegate", "off"]
    command = [sys.executable, "-m", "hashbwn_keras.cli", "benchmark", str(toy), *options]
    root = Path(measure.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment) as process:
        wait_until_it_runs(pi.tmp)
        process.send_signal(number)
    assert_clean(pi.tmp)
