"""The kernels by themselves: the native test program, and what it takes to add a set of them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hashbwn_keras.runtime import compiling

NATIVE = Path(__file__).resolve().parents[2] / "tflite"


def run_test_kernels(root: Path, folder: Path, rounds: int = 3) -> subprocess.CompletedProcess:
    """test_kernels.c built from the sources under ``root`` and run."""
    program = folder / "test_kernels"
    command = [*compiling.host_compiler(), "-std=gnu11", "-O1", "-fno-math-errno"]
    files = [*compiling.sources(root), NATIVE / "tests" / "test_kernels.c"]
    command += [f"-I{root / 'include'}", "-o", program, *files, "-pthread", "-lm"]
    subprocess.run(command, check=True, capture_output=True)
    return subprocess.run([program, str(rounds)], capture_output=True, text=True, check=False)


@pytest.fixture
def with_trial_set(tmp_path):
    """The sources with one more set: its file, and its line as the first of isa.inc."""

    def add(change=("", "")):
        root = tmp_path / "tflite"
        for path in compiling.source_files(NATIVE):
            copy = root / path.relative_to(NATIVE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
        plain = (root / "kernels" / "portable.c").read_text()
        assert change[0] in plain
        trial = plain.replace("portable", "trial").replace(*change)
        (root / "kernels" / "trial.c").write_text(trial)
        lines = root / "kernels" / "isa.inc"
        lines.write_text("HB_SET(trial, 0, 0)\n" + lines.read_text())
        return root

    return add


def sets_tested(output: str) -> list[str]:
    return [line.split(":")[0] for line in output.splitlines()]


def test_every_set_of_this_cpu_agrees_with_plain_loops(tmp_path):
    done = run_test_kernels(NATIVE, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sets_tested(done.stdout)[-1] == "portable"


def test_a_new_set_is_its_file_and_one_line(tmp_path, with_trial_set):
    """It is listed, chosen because it stands first, selectable by name, and tested."""
    before = sets_tested(run_test_kernels(NATIVE, tmp_path).stdout)
    root = with_trial_set()
    done = run_test_kernels(root, tmp_path)
    assert done.returncode == 0, done.stderr
    assert sets_tested(done.stdout) == ["trial", *before]
    compiling.compile_library(root, tmp_path / "lib.so")
    code = (
        f"import ctypes; l = ctypes.CDLL({str(tmp_path / 'lib.so')!r})\n"
        "l.hb_isa.restype = ctypes.c_char_p\n"
        "print(l.hb_isa().decode(), l.hb_select(b'portable'), l.hb_isa().decode(),\n"
        "      l.hb_select(b'trial'), l.hb_isa().decode(), l.hb_select(b'nothing'))"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["trial", "0", "portable", "0", "trial", "1"]


def test_a_new_set_with_a_mistake_is_found(tmp_path, with_trial_set):
    root = with_trial_set(change=("+ (wide ? wide[i] : 0)", "+ (wide ? wide[i] : 1)"))
    done = run_test_kernels(root, tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("trial convolution, int8")
