"""The release tool: what it refuses, and the wheels that setup.py makes for it."""

import importlib.util
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from hashbwn_keras.runtime import compiling
from hashbwn_keras.version import __version__

TOP = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def release():
    spec = importlib.util.spec_from_file_location("release", TOP / "tools" / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wheel(folder: Path, tag: str, **files: bytes) -> Path:
    path = folder / f"hashbwn_keras-1.0-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"hashbwn_keras/runtime/{name}.so", content)
    return path


def elf(machine: int, size: int = 64) -> bytes:
    return (b"\x7fELF\x02".ljust(18, b"\0") + machine.to_bytes(2, "little")).ljust(size, b"\0")


LINUX = "py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64"


@pytest.mark.parametrize(
    ("tag", "files", "target", "message"),
    [
        (LINUX, {}, "x86_64-linux", "one library, holds \\[\\]"),
        (LINUX, {"libhashbwn": elf(183)}, "x86_64-linux", "another processor"),
        (LINUX, {"libhashbwn": elf(62, 250_001)}, "x86_64-linux", "250,001 bytes"),
        (LINUX, {"libhashbwn": b"text"}, "x86_64-linux", "no 64-bit ELF"),
        (LINUX, {"libhashbwn": elf(62), "other": elf(62)}, "x86_64-linux", "other.so"),
        ("py3-none-linux_x86_64", {"libhashbwn": elf(62)}, "x86_64-linux", "manylinux_2_17"),
        ("py3-none-any", {"libhashbwn": elf(62)}, "none", "libhashbwn.so"),
        ("cp311-none-any", {}, "none", "for every machine"),
    ],
)
def test_wrong_wheels_are_refused(release, tmp_path, tag, files, target, message):
    with pytest.raises(release.ReleaseError, match=message):
        release.check_wheel(wheel(tmp_path, tag, **files), target)


def test_good_wheels_pass(release, tmp_path):
    good = wheel(tmp_path, LINUX, libhashbwn=elf(62, 250_000))
    assert release.check_wheel(good, "x86_64-linux") == "library of 250,000 bytes"
    assert release.check_wheel(wheel(tmp_path, "py3-none-any"), "none") == "no library"


def test_a_failing_command_is_told_with_its_last_words(release):
    with pytest.raises(release.ReleaseError, match=r"(?s)-c .*failed:.*broken"):
        release.run(sys.executable, "-c", "raise SystemExit('broken')")


def test_an_existing_folder_is_kept(tmp_path):
    command = [sys.executable, str(TOP / "tools" / "release.py"), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == f"{tmp_path} exists: move it away or give another folder with --out.\n"


def test_the_version_is_in_one_place():
    found = []
    for pattern in ("*.cfg", "*.toml", "*.cff", "*.py", "hashbwn_keras/**/*.py", "tools/*"):
        for path in TOP.glob(pattern):
            if re.search(rf'version\S* *[=:] *"?{re.escape(__version__)}\b', path.read_text()):
                found.append(str(path.relative_to(TOP)))
    assert found == ["hashbwn_keras/version.py"]


def built(folder: Path, target: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(folder / "build")]
    command += ["egg_info", "--egg-base", str(folder), "bdist_wheel", "--dist-dir", str(folder)]
    environment = os.environ | {"HASHBWN_TARGET": target}
    return subprocess.run(
        command, cwd=TOP, env=environment, capture_output=True, text=True, check=False
    )


def test_an_unknown_target_is_refused(tmp_path):
    done = built(tmp_path, "riscv64-linux")
    assert done.returncode == 1
    assert "HASHBWN_TARGET=riscv64-linux is not among none, x86_64-linux," in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("target", ["none", "aarch64-linux"])
def test_wheels_for_other_machines(release, tmp_path, target):
    if target != "none" and importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is missing (the extra 'cross')")
    done = built(tmp_path, target)
    assert done.returncode == 0, done.stderr
    (made,) = tmp_path.glob("*.whl")
    assert release.check_wheel(made, target)
    with zipfile.ZipFile(made) as archive:
        names = set(archive.namelist())
    for path in compiling.source_files(TOP / "tflite"):
        assert f"hashbwn_keras/runtime/native/{path.relative_to(TOP / 'tflite')}" in names
