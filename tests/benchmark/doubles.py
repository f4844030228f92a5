"""What stands for devices: a dressed Android double, and a real sshd on loopback."""

import os
import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from adb_device import AdbDevice

# The "device" runs this interpreter, which has the runtimes, as its python3.
DEVICE_PATH = f"{Path(sys.executable).parent}:/usr/bin:/bin"

# Stands for the benchmark_model that a user has: checks its options, prints what the real one
# prints, with the numbers of TensorFlow's own output.
BENCHMARK_MODEL = """#!/bin/sh
for option in "$@"; do
  case $option in
    --graph=*) [ -r "${option#--graph=}" ] || { echo 'ERROR: Could not open graph.'; exit 1; };;
    --num_runs=*) runs=${option#--num_runs=};;
    --external_delegate_path=*) library=${option#--external_delegate_path=};;
  esac
done
echo 'INFO: STARTING!' >&2
[ -n "$library" ] && echo "INFO: EXTERNAL delegate created." && echo "INFO: Replacing 7 out of \
31 node(s) with delegate (HashBWN) node, yielding 14 partitions for subgraph 0."
echo 'INFO: Initialized session in 92.318ms.'
echo 'INFO: count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613'
echo
echo "INFO: count=$runs first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583"
echo
echo 'INFO: Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, \
Inference (avg): 145528'
echo 'INFO: Overall peak memory footprint (MB) via periodic monitoring: 81.5'
"""


def dress(device: AdbDevice) -> None:
    """Give the double the programs every phone has."""
    device.install(
        "getprop",
        "#!/bin/sh\n"
        "case $1 in\n"
        "ro.product.cpu.abi) echo x86_64;;\n"
        "ro.product.model) echo Device double;;\n"
        "ro.build.version.release) echo 14;;\n"
        "esac\n",
    )
    device.install(
        "dumpsys",
        "#!/bin/sh\n"
        "case $1 in\n"
        "battery) printf '  AC powered: false\\n  USB powered: true\\n  level: 87\\n';;\n"
        "thermalservice) printf 'Thermal Status: 1\\n"
        "\tTemperature{mValue=41.2, mType=0, mName=CPU0, mStatus=0}\\n"
        "\tTemperature{mValue=39.9, mType=0, mName=CPU1, mStatus=0}\\n"
        "\tTemperature{mValue=55.0, mType=3, mName=skin, mStatus=0}\\n';;\n"
        "esac\n",
    )
    device.install("pm", "#!/bin/sh\nexit 1\n")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class SshHost:
    """A running sshd: its address for ``--on``, and what stands for its file system."""

    url: str
    tmp: Path
    bin: Path
    process: "subprocess.Popen[bytes]"

    def install(self, name: str, script: str) -> None:
        """Put a program in front of the PATH of the machine."""
        program = self.bin / name
        program.write_text(script)
        program.chmod(0o755)

    def cut(self) -> None:
        """Break every connection, as a pulled network cable does after the timeout."""
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True
        )
        for child in listed.stdout.split():
            subprocess.run(["kill", "-9", child], check=False)


def serve(sshd: str, folder: Path) -> SshHost:
    bin_, tmp = folder / "bin", folder / "tmp"
    bin_.mkdir(parents=True)
    tmp.mkdir()
    for name in ("host_key", "user_key"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    port = free_port()
    config = folder / "sshd_config"
    config.write_text(
        f"ListenAddress 127.0.0.1:{port}\n"
        f"HostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/user_key.pub\n"
        f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\n"
        "PasswordAuthentication yes\n"
        f"SetEnv PATH={bin_}:{DEVICE_PATH} HOME={folder} TMPDIR={tmp}\n"
    )
    process = subprocess.Popen([sshd, "-D", "-f", str(config)], stderr=subprocess.PIPE)
    for _ in range(100):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    else:
        pytest.fail(f"sshd did not start: {process.stderr.read()!r}")
    user = os.environ.get("USER") or "root"
    return SshHost(f"ssh://{user}@127.0.0.1:{port}", tmp, bin_, process)


def wrap_ssh(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real ssh behind a wrapper that brings the test's own configuration."""
    config = folder / "ssh_config"
    config.write_text(
        f"IdentityFile {folder}/pi/user_key\nIdentitiesOnly yes\nLogLevel ERROR\n"
        f"UserKnownHostsFile {folder}/known_hosts\nStrictHostKeyChecking accept-new\n"
    )
    wrapper = folder / "wrapper" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {config} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")


def install_app(phone: AdbDevice) -> None:
    """A stand-in that splits its arguments as the app does and logs the real app's lines."""
    phone.install("pm", "#!/bin/sh\necho package:/data/app/base.apk\n")
    phone.install(
        "am",
        f"""#!/bin/sh
[ "$1" = force-stop ] && touch {phone.bin}/stopped && exit 0
[ "$1 $2 $3 $4 $5 $6" = "start -S -n org.tensorflow.lite.benchmark/.BenchmarkModelActivity \
--es args" ] || exit 1
case $7 in '"'*'"') ;; *) exit 1;; esac
words=${{7#?}}; words=${{words%?}}
for option in $words; do
  case $option in --graph=*) graph=${{option#--graph=}};; esac
done
tag() {{ echo "07-14 13:14:56.520 22838 22838 I tflite  : $1" >> {phone.bin}/log; }}
tag "Num threads: [1]"; tag "Graph: [$graph]"
tag "count=3 first=235158 curr=200386 min=199462 max=235158 avg=211669 std=16613 p5=199462 \
median=200386 p95=235158"
tag "count=25 first=187533 curr=140990 min=140071 max=195121 avg=145528 std=13583 p5=140545 \
median=141253 p95=187533"
tag "Inference timings in us: Init: 92318, First inference: 235158, Warmup (avg): 211669, \
Inference (avg): 145528"
tag "Memory footprint delta from the start of the tool (MB): init=54.2852 overall=73.4102"
""",
    )
    phone.install("logcat", f"#!/bin/sh\ncat {phone.bin}/log\n")
