"""What breaks an installation is said in one sentence."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

import hashbwn_keras
from hashbwn_keras import environment


def installed(**versions):
    def version(name):
        if name not in versions:
            raise PackageNotFoundError(name)
        return versions[name]

    return version


@pytest.mark.parametrize(
    "versions",
    [
        {},
        {"tensorflow": "2.21.0"},
        {"tensorflow-cpu": "2.18.0"},
        {"tensorflow": "2.21.0", "tensorflow-cpu": "2.21.0"},
    ],
)
def test_one_tensorflow_is_no_conflict(monkeypatch, versions):
    monkeypatch.setattr(environment, "version", installed(**versions))
    assert environment.conflict() is None


def test_two_tensorflows_are_named_with_the_cure(monkeypatch):
    versions = {"tensorflow": "2.21.0", "tensorflow-cpu": "2.18.0"}
    monkeypatch.setattr(environment, "version", installed(**versions))
    sentence = environment.conflict()
    assert sentence.startswith("tensorflow 2.21.0 and tensorflow-cpu 2.18.0 are installed over")
    assert "pip uninstall -y tensorflow tensorflow-cpu" in sentence and "\n" not in sentence


def test_the_first_import_and_doctor_say_so(tmp_path):
    for name, number in (("tensorflow_cpu", "2.18.0"), ("tensorflow", "2.21.0")):
        folder = tmp_path / f"{name}-{number}.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {number}\n"
        )
    root = str(Path(hashbwn_keras.__file__).parents[1])
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{tmp_path}:{root}"}
    environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

    def python(code):
        return subprocess.run(
            [sys.executable, "-c", code],
            env=environ,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    first = python("import hashbwn_keras; hashbwn_keras.binarize")
    assert first.returncode == 1
    last = first.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: tensorflow 2.21.0 and tensorflow-cpu 2.18.0")
    code = "from hashbwn_keras.cli import main; raise SystemExit(main(['doctor']))"
    doctor = python(code)
    assert doctor.returncode == 1 and "are installed over each other" in doctor.stderr
