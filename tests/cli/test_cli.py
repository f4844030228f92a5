import json
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras import cli
from hashbwn_keras.cli import common, demo, doctor, images, inspect
from hashbwn_keras.cli.parser import COMMANDS
from hashbwn_keras.demo import run as demo_run
from hashbwn_keras.errors import CalibrationWarning
from hashbwn_keras.network import saving
from hashbwn_keras.network.codes import binary_kernels

L = tf_keras.layers
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a float model, data and, through the command line, a binary model and file."""
    folder = tmp_path_factory.mktemp("made")
    tf_keras.utils.set_random_seed(1)
    model = tf_keras.Sequential(
        [
            L.Input((8, 8, 3)),
            L.Conv2D(8, 3, use_bias=False, name="first"),
            L.BatchNormalization(name="norm"),
            L.ReLU(name="relu"),
            L.Conv2D(64, 3, name="middle"),
            L.Flatten(name="flatten"),
            L.Dense(5, name="last"),
        ],
        name="net",
    )
    model.save(folder / "float.keras")
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    np.save(folder / "x.npy", x)
    np.savez(folder / "xy.npz", x=x, y=np.arange(40) % 5)
    status = run(
        "binarize", folder / "float.keras", folder / "binary.keras", "--data", folder / "x.npy",
        "--preprocess", "unit", "--no-repair",
    )  # fmt: skip
    assert status == 0
    assert run("export", folder / "binary.keras", folder / "binary.tflite") == 0
    return folder


def run(*words):
    return cli.main([str(word) for word in words])


def fails(capsys, *words, status=1):
    """Run a command that must fail, and return the one sentence it says."""
    capsys.readouterr()
    assert run(*words) == status
    output = capsys.readouterr()
    assert output.out == ""
    assert "Traceback" not in output.err
    (line,) = output.err.strip().splitlines()
    return line


def test_binarize_writes_model_and_recipe(made):
    model = hk.load_model(made / "binary.keras")
    assert [kernel.name for kernel in binary_kernels(model)] == ["middle"]
    recipe = json.loads((made / "binary.keras.recipe.json").read_text())
    assert list(recipe["layers"]) == ["middle"]
    assert recipe["calibration_images"] == 40


def test_binarize_prints_a_line_per_layer_and_json(made, tmp_path, capsys):
    status = run(
        "binarize", made / "float.keras", tmp_path / "b.h5", "--data", made / "x.npy",
        "--no-repair", "--method", "sign", "--filters", "first|middle", "--max-images", "7",
        "--json", tmp_path / "r.json",
    )  # fmt: skip
    assert status == 0
    out = capsys.readouterr().out
    assert "2 layers binarised" in out
    assert "last stays float" in out
    recipe = json.loads((tmp_path / "r.json").read_text())
    assert (recipe["method"], recipe["calibration_images"]) == ("sign", 7)


def test_export_verify_inspect_agree(made, tmp_path, capsys):
    assert run("verify", made / "binary.keras", made / "binary.tflite") == 0
    assert "1/1 binary layers" in capsys.readouterr().out
    assert run("inspect", made / "binary.tflite", "--json", tmp_path / "i.json") == 0
    layers = {
        layer["name"]: layer for layer in json.loads((tmp_path / "i.json").read_text())["layers"]
    }
    assert layers["middle"]["storage"] == "packed"


def test_export_packs_an_int8_file(made, tmp_path, capsys):
    int8, packed = tmp_path / "int8.tflite", tmp_path / "packed.tflite"
    assert run("export", made / "binary.keras", int8, "--weights", "int8") == 0
    assert run("export", int8, packed) == 0
    assert run("verify", made / "binary.keras", packed, "--data", made / "x.npy") == 0
    assert run("inspect", packed) == 0
    assert "packed" in capsys.readouterr().out


def test_export_int8_activations(made, tmp_path):
    words = ["export", made / "binary.keras", tmp_path / "i.tflite", "--activations", "int8"]
    assert (
        run(*words, "--data", made / "x.npy", "--preprocess", "unit", "--input-type", "int8") == 0
    )


def test_verify_has_status_1_when_the_file_is_of_another_model(made, tmp_path, capsys):
    other = hk.load_model(made / "binary.keras")
    kernel = other.get_layer("middle").kernel
    kernel.assign(-kernel)
    hk.save_model(other, tmp_path / "other.keras")
    assert run("verify", tmp_path / "other.keras", made / "binary.tflite") == 1
    output = capsys.readouterr()
    assert "FAILED" in output.out
    assert "does not compute what" in output.err


def test_report_writes_table_page_and_json(made, tmp_path, capsys):
    words = ["report", made / "float.keras", made / "binary.keras", "--data", made / "xy.npz"]
    words += ["--html", tmp_path / "r.html", "--json", tmp_path / "r.json"]
    assert run(*words) == 0
    assert "top-1 agreement" in capsys.readouterr().out
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    content = json.loads((tmp_path / "r.json").read_text())
    assert content["outputs"][0]["float_accuracy"] is not None
    np.save(tmp_path / "y.npy", np.arange(40) % 5)
    again = ["report", made / "float.keras", made / "binary.keras", "--data", made / "x.npy"]
    assert run(*again, "--labels", tmp_path / "y.npy", "--json", tmp_path / "r2.json") == 0
    assert json.loads((tmp_path / "r2.json").read_text()) == content


def test_lce_convert(made, tmp_path, capsys):
    pytest.importorskip("larq_compute_engine")
    target = tmp_path / "lce.tflite"
    assert cli.lce_convert([str(made / "binary.keras"), str(target)]) == 0
    out = capsys.readouterr().out
    assert "lce-dequantize" in out
    assert "1 LceDequantize" in out
    assert "verified on" in out
    assert cli.lce_convert([str(made / "binary.keras"), str(target)]) == 1
    assert "exists" in capsys.readouterr().err
    again = ["export", made / "binary.keras", target, "--runtime", "lce", "--overwrite"]
    assert run(*again) == 0
    assert "lce-dequantize" in capsys.readouterr().out
    assert run(*again, "--input-type", "int8") == 1
    assert "Larq Compute Engine refuses" in capsys.readouterr().err


def test_lce_convert_refuses_without_leaving_a_file(made, tmp_path, capsys, monkeypatch):
    pytest.importorskip("larq_compute_engine")
    target = tmp_path / "lce.tflite"
    convert = [str(made / "binary.keras"), str(target)]
    # Its converter's own words, not those of the other way that it tries on failure.
    assert cli.lce_convert([*convert, "--inference-input-type", "int8"]) == 1
    assert "Larq Compute Engine refuses" in capsys.readouterr().err
    monkeypatch.setattr("hashbwn_keras.export.lce._pack", lambda _: None)
    assert cli.lce_convert(convert) == 1
    said = capsys.readouterr().err
    assert "not packed: middle" in said and "lce_convert --allow-float" in said
    assert not target.exists()
    assert cli.lce_convert([*convert, "--allow-float", "--no-verify", "--target", "xcore"]) == 0
    assert "verified" not in capsys.readouterr().out


NO_MODEL = "cannot be loaded as a Keras 2 model"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("binarize nix.keras out.keras", "nix.keras does not exist"),
        ("binarize x.npy out.keras", NO_MODEL),
        ("binarize cut.keras out.keras", NO_MODEL),
        ("binarize weights.h5 out.keras", NO_MODEL),
        ("binarize keras3.keras out.keras", "no layer to binarise"),
        ("binarize float.keras out.txt", "name it .keras or .h5"),
        ("binarize float.keras nix/out.keras", "folder nix does not exist"),
        ("binarize float.keras binary.keras", "binary.keras exists"),
        ("binarize float.keras out.keras --json x.npy", "x.npy exists"),
        ("binarize float.keras out.keras --data nix", "nix does not exist"),
        ("binarize float.keras out.keras --data float.keras", "float.keras holds no arrays"),
        ("binarize float.keras out.keras --data empty.npy", "holds no images"),
        ("binarize float.keras out.keras --data words.npy", "give numbers"),
        ("binarize float.keras out.keras --data grey.npy", "shape (4, 8, 8, 1)"),
        ("binarize float.keras out.keras --data pictures", "give --preprocess"),
        ("binarize float.keras out.keras --data nan.npy", "NaN or infinite"),
        ("binarize float.keras out.keras --data x.npy --filters nix", "no layer to binarise"),
        ("binarize float.keras out.keras --data grey.npy --preprocess imagenet", "needs RGB"),
        ("export float.keras out.tflite --activations int8", "calibration"),
        ("export binary.keras out.tflite --data x.npy", "--data is for --activations int8"),
        ("export binary.tflite out.tflite --data x.npy --activations int8", "for Keras models"),
        ("export binary.tflite out.tflite --runtime lce", "takes a Keras model"),
        ("export binary.keras out.tflite --runtime lce --data x.npy", "takes a Keras model"),
        ("export binary.keras binary.tflite", "binary.tflite exists"),
        ("export cut.tflite out.tflite", "cut.tflite"),
        ("inspect nix.tflite", "nix.tflite"),
        ("inspect x.npy", "no .tflite file"),
        ("verify binary.keras x.npy --data x.npy", "no .tflite file"),
        ("report float.keras binary.keras", "give --data"),
        ("report float.keras --data x.npy", "Give the float model and the binary model"),
        ("report float.keras binary.keras --data x.npy --html x.npy", "x.npy exists"),
        ("report float.keras binary.keras --data x.npy --labels nix.npy", "check --labels"),
        ("report float.keras binary.keras --data x.npy --labels y3.npy", "40 images"),
        ("report nix.json", "nix.json"),
        ("demo --output full", "full is not empty"),
        ("demo --dataset mnist --data-dir pictures --output out", "cannot be read"),
        ("demo --dataset cifar10 --data-dir pictures --output out", "cannot be read"),
        ("demo --data-dir pictures --output out", "digits needs no files"),
        ("demo --epochs 0 --output out", "give 1 or more"),
    ],
)
def test_failures_are_one_sentence_and_leave_nothing(made, capsys, monkeypatch, words, sentence):
    monkeypatch.chdir(made)
    prepare(made)
    before = sorted(made.rglob("*"))
    line = fails(capsys, *words.split())
    assert line.startswith(f"hashbwn {words.split()[0]}: ")
    assert sentence in line
    assert sorted(made.rglob("*")) == before


def prepare(folder):
    """Add every kind of bad file."""
    if (folder / "full").exists():
        return
    for name in ("keras", "tflite"):
        content = (folder / f"binary.{name}").read_bytes()
        (folder / f"cut.{name}").write_bytes(content[: len(content) // 2])
    hk.load_model(folder / "float.keras").save_weights(folder / "weights.h5")
    keras3 = "import keras; m = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]);"
    subprocess.run(
        [sys.executable, "-c", keras3 + "m.save('keras3.keras')"],
        cwd=folder,
        env={"PATH": "", "KERAS_BACKEND": "tensorflow"},
        check=True,
        capture_output=True,
    )
    np.save(folder / "empty.npy", np.zeros((0, 8, 8, 3)))
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "grey.npy", np.zeros((4, 8, 8, 1)))
    np.save(folder / "nan.npy", np.full((4, 8, 8, 3), np.nan))
    np.save(folder / "y3.npy", np.arange(3))
    for name in ("pictures", "full"):
        (folder / name).mkdir()
        (folder / name / "a.png").write_bytes(b"no picture")


@pytest.mark.filterwarnings("ignore:.*HDF5:UserWarning")
def test_code_in_a_model_file_runs_only_with_consent(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tf_keras.Sequential([L.Input((3,)), L.Lambda(lambda x: x), L.Dense(2)]).save("code.h5")
    words = ["binarize", "code.h5", "out.keras"]
    assert "--allow-code" in fails(capsys, *words)
    assert "no layer to binarise" in fails(capsys, *words, "--allow-code")


def test_unreadable_pictures_are_named(made, capsys):
    prepare(made)
    words = ["report", made / "float.keras", made / "binary.keras", "--data", made / "pictures"]
    assert "a.png is no picture" in fails(capsys, *words, "--preprocess", "unit")


def test_pictures_are_resized_and_preprocessed(tmp_path):
    model = tf_keras.Sequential([L.Input((4, 6, 3)), L.Flatten()])
    for i in range(3):
        (tmp_path / f"class{i}").mkdir()
        png = tf.io.encode_png(np.full((8, 12, 3), 51 * (i + 1), np.uint8)).numpy()
        (tmp_path / f"class{i}" / "p.PNG").write_bytes(png)
    found, labels = images.load(tmp_path, model, "unit", 2)
    assert labels is None
    assert found.shape == (2, 4, 6, 3)
    np.testing.assert_allclose(found[:, 0, 0, 0], [0.2, 0.4], rtol=1e-6)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (None, 51),
        ("none", 51),
        ("unit", 0.2),
        ("signed", -0.6),
        ("imagenet", (0.2 - 0.485) / 0.229),
    ],
)
def test_preprocessing(tmp_path, choice, expected):
    np.save(tmp_path / "x.npy", np.full((2, 1, 1, 3), 51, np.uint8))
    model = tf_keras.Sequential([L.Input((1, 1, 3)), L.Flatten()])
    found, _ = images.load(tmp_path / "x.npy", model, choice, 5)
    assert found[0, 0, 0, 0] == pytest.approx(expected, rel=1e-5)


def test_images_and_labels_are_picked_evenly_and_alike(tmp_path):
    np.savez(tmp_path / "xy.npz", x=np.arange(10.0)[:, None], y=np.arange(10))
    model = tf_keras.Sequential([L.Input((1,)), L.Dense(2)])
    found, labels = images.load(tmp_path / "xy.npz", model, None, 4)
    assert found[:, 0].tolist() == labels.tolist() == [0, 2, 5, 7]
    np.save(tmp_path / "y.npy", np.arange(10))
    assert images.load_labels(tmp_path / "y.npy", 4).tolist() == labels.tolist()


def test_choices_are_those_of_the_modules_that_are_not_imported_for_help():
    assert set(common.PREPROCESSING) == set(images._PREPROCESS)
    assert set(demo.DATASETS) == set(demo_run._EPOCHS)


def test_interrupt_says_so_and_leaves_nothing(made, tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(saving, "save_model", interrupted)
    words = ["binarize", made / "float.keras", tmp_path / "o.keras", "--data", made / "x.npy"]
    assert run(*words, "--no-repair", "--method", "sign") == 130
    assert "interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_real_interrupt_of_the_demo(tmp_path):
    pytest.importorskip("sklearn")
    command = [sys.executable, "-m", "hashbwn_keras.cli", "demo", "--output", tmp_path / "demo"]
    # Jobs that a shell runs in the background ignore interrupts, and so would what they start.
    options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            lines = [process.stderr.readline()]
            while lines[-1] and "data:" not in lines[-1]:
                lines.append(process.stderr.readline())
            assert any(tmp_path.iterdir()), lines
            process.send_signal(signal.SIGINT)
            _, rest = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "hashbwn demo: interrupted" in rest
    assert "Traceback" not in rest
    assert list(tmp_path.iterdir()) == []


def test_bugs_are_one_sentence_unless_asked_for(made, capsys, monkeypatch):
    def broken(_):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(inspect, "run", broken)
    line = fails(capsys, "inspect", made / "binary.tflite")
    assert "internal error, ZeroDivisionError: two lines" in line
    monkeypatch.setenv("HASHBWN_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run("inspect", made / "binary.tflite")


def test_warnings_are_one_line(capsys, monkeypatch):
    def warn(_):
        warnings.warn("careful", CalibrationWarning, stacklevel=1)
        warnings.warn("of no use to users", DeprecationWarning, stacklevel=1)
        return 0

    monkeypatch.setattr(doctor, "run", warn)
    assert run("doctor") == 0
    assert capsys.readouterr().err == "hashbwn doctor: warning: careful\n"


def test_reader_that_leaves_is_no_error(made):
    command = f"{sys.executable} -m hashbwn_keras.cli inspect {made / 'binary.tflite'}"
    result = subprocess.run(
        f"{command} | true", shell=True, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in result.stderr
    assert "Exception ignored" not in result.stderr


@pytest.mark.parametrize("words", [[], ["nix"], ["binarize"], ["demo", "--dataset", "nix"]])
def test_usage_errors_have_status_2(words, capsys):
    with pytest.raises(SystemExit) as error:
        run(*words)
    assert error.value.code == 2
    assert "usage: hashbwn" in capsys.readouterr().err


def test_every_option_has_help(capsys):
    for command in COMMANDS:
        with pytest.raises(SystemExit) as error:
            run(command, "--help")
        assert error.value.code == 0
