import json

import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.network.saving import check_model_path, get_recipe, recipe_path, set_recipe

RECIPE = {"method": "auto", "layers": {"d": {"relative_error": 0.25, "tags": ["a", "b"]}}}


@pytest.fixture
def model():
    return tf_keras.Sequential([tf_keras.layers.Input((3,)), hk.HashBinaryDense(2, name="d")])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("how", ["function", "attribute"])
def test_recipe_travels_beside_the_model(model, tmp_path, suffix, how):
    if how == "function":
        set_recipe(model, RECIPE)
    else:
        model.hashbwn_recipe = RECIPE  # Keras wraps the dicts
    path = hk.save_model(model, tmp_path / f"m{suffix}")
    assert json.loads(recipe_path(path).read_text()) == RECIPE
    assert get_recipe(hk.load_model(path)) == RECIPE
    assert type(get_recipe(hk.load_model(path))["layers"]) is dict


def test_model_without_recipe_gets_no_second_file(model, tmp_path):
    set_recipe(model, RECIPE)
    path = hk.save_model(model, tmp_path / "m.keras")
    set_recipe(model, {})
    hk.save_model(model, path, overwrite=True)
    assert [each.name for each in tmp_path.iterdir()] == ["m.keras"]
    assert get_recipe(hk.load_model(path)) == {}


def test_existing_files_are_kept(model, tmp_path):
    path = hk.save_model(model, tmp_path / "m.keras")
    before = path.read_bytes()
    with pytest.raises(hk.HashBWNError, match=r"m\.keras exists"):
        hk.save_model(model, path)
    assert path.read_bytes() == before
    recipe_path(tmp_path / "n.keras").write_text("{}")
    with pytest.raises(hk.HashBWNError, match=r"n\.keras\.recipe\.json exists"):
        check_model_path(tmp_path / "n.keras")


def test_unknown_suffix_is_refused(model, tmp_path):
    with pytest.raises(hk.HashBWNError, match=r"name it \.keras or \.h5"):
        hk.save_model(model, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("content", "message"), [("{", "is not valid JSON"), ("[1]", "holds no recipe")]
)
def test_damaged_recipe_is_named(model, tmp_path, content, message):
    path = hk.save_model(model, tmp_path / "m.keras")
    recipe_path(path).write_text(content)
    with pytest.raises(hk.HashBWNError, match=message):
        hk.load_model(path)


def test_folder_that_holds_no_keras_model(tmp_path):
    module = tf.Module()
    module.f = tf.function(lambda x: x, input_signature=[tf.TensorSpec([2])])
    tf.saved_model.save(module, str(tmp_path / "module"))
    with pytest.raises(hk.HashBWNError, match="holds no Keras model"):
        hk.load_model(tmp_path / "module")
    (tmp_path / "empty").mkdir()
    with pytest.raises(hk.HashBWNError, match="cannot be loaded as a Keras 2 model"):
        hk.load_model(tmp_path / "empty")


def test_custom_objects_are_passed_on(tmp_path):
    class Twice(tf_keras.layers.Layer):
        def call(self, x):
            return 2 * x

    model = tf_keras.Sequential([tf_keras.layers.Input((3,)), Twice()])
    path = hk.save_model(model, tmp_path / "m.keras")
    with pytest.raises(hk.HashBWNError, match="Twice"):
        hk.load_model(path)
    assert hk.load_model(path, custom_objects={"Twice": Twice}).count_params() == 0
