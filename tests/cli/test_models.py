"""Models with objects of the user's own and inputs of any size, through the command line."""

import json
import sys

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras import cli
from hashbwn_keras.cli import images, models

L = tf_keras.layers

CODE = """
import tf_keras

class Scale(tf_keras.layers.Layer):
    def call(self, x):
        return 2 * x
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module that holds a layer."""
    (tmp_path / "own_layers.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("own_layers", None)


def run(*words):
    return cli.main([str(word) for word in words])


def save(folder, layer):
    model = tf_keras.Sequential(
        [
            L.Input((6, 6, 3)),
            L.Conv2D(4, 3, name="first"),
            layer,
            L.Conv2D(64, 3, name="middle"),
            L.Flatten(),
            L.Dense(3, name="last"),
        ]
    )
    model.save(folder / "own.keras")
    np.save(folder / "x.npy", np.random.default_rng(0).normal(size=(20, 6, 6, 3)))


@pytest.mark.slow
def test_a_layer_of_ones_own_is_found_by_name(folder, capsys):
    sys.path.append(str(folder))
    from own_layers import Scale

    save(folder, Scale())
    words = ["binarize", "own.keras", "out.keras", "--data", "x.npy", "--no-repair"]
    assert run(*words) == 1
    assert "Scale" in capsys.readouterr().err
    own = ["--custom-objects", "own_layers:Scale"]
    assert run(*words, *own) == 0
    assert run("export", "out.keras", "out.tflite", *own) == 0
    assert run("verify", "out.keras", "out.tflite", *own) == 0
    assert run("report", "own.keras", "out.keras", "--data", "x.npy", *own) == 0


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Scale", "is no MODULE:NAME: write it like"),
        ("nowhere:Scale", "cannot be imported (No module named 'nowhere')"),
        ("own_layers:Nix", "own_layers has no Nix; give a class or function of it"),
    ],
)
def test_names_that_lead_nowhere(folder, capsys, text, sentence):
    save(folder, L.ReLU())
    assert run("binarize", "own.keras", "out.keras", "--custom-objects", text) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert sentence in line


@pytest.fixture
def any_size(folder):
    model = tf_keras.Sequential(
        [L.Input((None, None, 3)), L.Conv2D(4, 3, name="c"), L.GlobalAveragePooling2D()]
    )
    model.save(folder / "any.keras")
    return model


def test_shape_for_inputs_of_any_size(any_size, folder, capsys):
    assert run("export", "any.keras", "any.tflite", "--weights", "float") == 0
    capsys.readouterr()
    assert run("verify", "any.keras", "any.tflite") == 1
    assert "any size [(None, None, 3)]: give --data or --shape." in capsys.readouterr().err
    run("verify", "any.keras", "any.tflite", "--shape", "9,8,3", "--json", "v.json")
    assert json.loads((folder / "v.json").read_text())["samples"] == models.RANDOM_INPUTS
    assert models.random_inputs(any_size, [(9, 8, 3)]).shape == (models.RANDOM_INPUTS, 9, 8, 3)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--shape", "9,8,4"], "--shape 9,8,4 does not fit the model's input (None, None, 3)"),
        (["--shape", "9,8"], "--shape 9,8 does not fit"),
        (["--shape", "9,8,3", "--shape", "3"], "was given 2 times and the model has 1 inputs"),
    ],
)
def test_shapes_that_do_not_fit(any_size, folder, capsys, words, sentence):
    assert run("export", "any.keras", "any.tflite", "--weights", "float") == 0
    capsys.readouterr()
    assert run("verify", "any.keras", "any.tflite", *words) == 1
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("text", ["224x224", "0,3", "-1,3", "a", ""])
def test_shapes_are_numbers(text, capsys):
    with pytest.raises(SystemExit) as error:
        run("verify", "m.keras", "m.tflite", f"--shape={text}")
    assert error.value.code == 2
    assert "write it like 224,224,3" in capsys.readouterr().err


def test_pictures_for_inputs_of_any_size(any_size, tmp_path):
    png = tf.io.encode_png(np.full((8, 12, 3), 51, np.uint8)).numpy()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "p.png").write_bytes(png)
    with pytest.raises(ValueError, match="or --shape where only the size is open"):
        images.load(tmp_path / "pictures", any_size, "unit", 2)
    found, _ = images.load(tmp_path / "pictures", any_size, "unit", 2, [(4, 5, 3)])
    assert found.shape == (1, 4, 5, 3)


def test_random_inputs_are_valid():
    """An index of every embedding, either boolean, normal numbers."""
    inputs = [L.Input((5,), dtype=kind) for kind in ("int32", "bool", "float32")]
    table = L.Embedding(1, 2)(inputs[0])
    cast = L.Lambda(lambda x: tf.cast(x, tf.float32))(inputs[1])
    model = tf_keras.Model(inputs, [table, cast, L.Dense(1)(inputs[2])])
    indices, booleans, numbers = models.random_inputs(model, None)
    assert (indices.dtype, booleans.dtype, numbers.dtype) == (np.int32, bool, np.float32)
    assert not indices.any()
    assert 0 < booleans.mean() < 1
    assert abs(numbers).mean() > 0.1


def test_arrays_for_several_inputs(tmp_path):
    left, right = L.Input((2,), name="left"), L.Input((3,), name="right")
    model = tf_keras.Model([left, right], L.Concatenate()([left, right]))
    arrays = {"right": np.ones((4, 3)), "left": np.zeros((4, 2)), "y": np.arange(4)}
    np.savez(tmp_path / "d.npz", **arrays)
    found = images.load(tmp_path / "d.npz", model, None, 3)
    assert [x.shape for x in found.images] == [(3, 2), (3, 3)]
    assert found.labels.tolist() == [0, 1, 2]
    np.savez(tmp_path / "d.npz", left=arrays["left"])
    with pytest.raises(ValueError, match=r"holds no array 'right': give an \.npz file with one"):
        images.load(tmp_path / "d.npz", model, None, 3)
    np.savez(tmp_path / "d.npz", left=arrays["left"], right=np.ones((5, 3)))
    with pytest.raises(ValueError, match=r"holds \[4, 5\] images for the inputs"):
        images.load(tmp_path / "d.npz", model, None, 3)
