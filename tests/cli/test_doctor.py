"""doctor of an installation, a file and a result."""

import json
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from hashbwn_keras import cli
from hashbwn_keras.cli import installation

DEVICES = Path(__file__).parents[2] / "benchmarks" / "devices.json"


def run(*words):
    return cli.main([str(word) for word in words])


def test_names_what_is_there_and_the_cure_for_what_is_not(capsys, monkeypatch, tmp_path):
    def version(name):
        if name == "larq":
            return "0.14.0"
        raise PackageNotFoundError(name)

    monkeypatch.setattr(installation, "version", version)
    assert run("doctor", "--json", tmp_path / "d.json") == 0
    out = capsys.readouterr().out
    assert "larq                           0.14.0" in out
    assert 'pip install "hashbwn_keras[lce]"' in out
    assert json.loads((tmp_path / "d.json").read_text())["packages"]["larq"]["version"] == "0.14.0"


def test_json_alone_is_all_that_is_printed(capsys):
    assert run("doctor", "--json") == 0
    assert {"packages", "runtime", "python"} <= set(json.loads(capsys.readouterr().out))


def test_file_has_its_layers_and_a_form_for_each_runtime(packed_file, tmp_path, capsys):
    file = tmp_path / "x.tflite"
    file.write_bytes(packed_file)
    assert run("doctor", file) == 0
    out = capsys.readouterr().out
    assert "DEPTHWISE_CONV_2D" in out
    assert "neon" in out
    assert all(form in out for form in ("--weights int8", "lce_convert", "packed"))
    assert run("doctor", file, "--runtime", "lce", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content["forms"]) == ["lce"]
    assert content["layers"]


def test_result_says_what_to_distrust_and_what_it_lacks(capsys, tmp_path):
    assert run("doctor", DEVICES, "--json", tmp_path / "d.json") == 1
    out = capsys.readouterr().out
    assert "ran under an emulator" in out
    assert "Not whole: it lacks" in out
    content = json.loads((tmp_path / "d.json").read_text())
    assert not content["whole"]
    whole = [r for r in json.loads(DEVICES.read_text())["results"] if not r["device"]["emulated"]]
    for result in whole:
        result["device"]["cores"] = 4
    (tmp_path / "whole.json").write_text(json.dumps({"results": whole}))
    assert run("doctor", tmp_path / "whole.json") == 0
    assert "Whole: it says all" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("nix.tflite", None, "Cannot read"),
        ("x.tflite", b"\x1c\0\0\0TFL3", "damaged or truncated"),
        ("x.json", b"{}", "is no benchmark result"),
        ("x.png", b"", "is neither a .tflite file nor"),
    ],
)
def test_files_that_are_none(name, content, sentence, tmp_path, capsys):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run("doctor", tmp_path / name) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line
