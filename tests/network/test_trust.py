"""Model files with code in them: refused by one rule, run only with consent."""

import json

import h5py
import keras
import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.network import trust

RAN = []


def mark(x):
    RAN.append(1)
    return x


def model_of(module, layer):
    return module.Sequential([module.layers.Input((3,)), layer, module.layers.Dense(2)])


@pytest.fixture(
    params=["keras 2 .keras", "keras 2 .h5", "keras 2 folder", "keras 3 .keras", "keras 3 .h5"]
)
def with_lambda(request, tmp_path):
    _, version, suffix = request.param.split()
    module = tf_keras if version == "2" else keras
    model = model_of(module, module.layers.Lambda(lambda x: 2 * x, name="twice"))
    path = tmp_path / f"model{suffix.replace('folder', '')}"
    model.save(path)
    return model, path


@pytest.mark.filterwarnings("ignore:.*lambda:UserWarning", "ignore:.*HDF5:UserWarning")
def test_a_lambda_is_refused_without_consent_and_runs_with_it(with_lambda):
    model, path = with_lambda
    with pytest.raises(hk.HashBWNError, match=r"'twice'.*safe_mode=False \(--allow-code") as error:
        hk.load_model(path)
    assert "\n" not in str(error.value)
    x = np.ones((1, 3), np.float32)
    loaded = hk.load_model(path, safe_mode=False)
    np.testing.assert_allclose(loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6)


def edited(path, edit):
    """Change the configuration in an .h5 file."""
    with h5py.File(path, "r+") as file:
        configuration = json.loads(file.attrs["model_config"])
        edit(configuration["config"]["layers"][1])
        file.attrs["model_config"] = json.dumps(configuration)


@pytest.mark.filterwarnings("ignore:.*HDF5:UserWarning")
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"class_name": "Popen", "module": "subprocess"}, "Popen of the Python module subprocess"),
        ({"class_name": "TFSMLayer", "config": {"filepath": "x"}}, "a TFSMLayer of another file"),
        (
            {"class_name": "TFOpLambda", "config": {"name": "w", "function": "io.write_file"}},
            r"the operation io.write_file \(layer 'w'\)",
        ),
        (
            {"class_name": "function", "module": "keras.utils", "config": "get_file"},
            "the function get_file of keras.utils",
        ),
    ],
)
def test_other_ways_to_code_are_refused(change, sentence, tmp_path):
    path = tmp_path / "m.h5"
    model_of(tf_keras, tf_keras.layers.Dense(3)).save(path)
    hk.load_model(path)
    edited(path, lambda layer: layer.update(change))
    with pytest.raises(hk.HashBWNError, match=sentence):
        hk.load_model(path)


def test_functions_that_the_caller_gives_are_no_code_of_the_file(tmp_path):
    model = model_of(keras, keras.layers.Lambda(mark, name="marked"))
    path = tmp_path / "m.keras"  # Keras 2 would store the code of the function, Keras 3 its name
    model.save(path)
    with pytest.raises(hk.HashBWNError, match="the code of a Lambda layer"):
        hk.load_model(path)
    RAN.clear()
    assert hk.load_model(path, {"mark": mark}).count_params() == 8 and RAN


def test_models_of_this_package_and_operations_hold_no_code(tmp_path):
    x = tf_keras.Input((3,))
    model = tf_keras.Model(x, hk.HashBinaryDense(2)(x * 2.0 + 1.0))
    for name in ("m.keras", "m.h5"):
        trust.refuse_code(hk.save_model(model, tmp_path / name), {})
