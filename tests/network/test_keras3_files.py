"""Files of Keras 3, and models of Keras 3 at every public entrance."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk

L = keras.layers


def network(name="net", operation=True):
    x = L.Input((12, 12, 3), name="picture")
    y = L.Rescaling(1 / 255)(x)
    y = L.Conv2D(16, 3, name="first")(y)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = L.Conv2D(16, 3, name="second", activation="hard_silu")(y)
    y = L.GlobalAveragePooling2D()(y)
    y = y + 1.0 if operation else y
    return keras.Model(x, L.Dense(5, activation="softmax", name="classes")(y), name=name)


@pytest.fixture
def pictures():
    return np.random.default_rng(0).uniform(0, 255, (300, 12, 12, 3)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:.*HDF5:UserWarning")
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_files_of_keras_3_load(suffix, tmp_path, pictures):
    # Keras 3 itself does not load operations on numbers from .h5.
    model = network(operation=suffix == ".keras")
    model.save(tmp_path / f"m{suffix}")
    loaded = hk.load_model(tmp_path / f"m{suffix}")
    assert isinstance(loaded, tf_keras.Model) and loaded.name == "net"
    wanted = model.predict(pictures, verbose=0)
    np.testing.assert_allclose(loaded.predict(pictures, verbose=0), wanted, atol=1e-5)
    for name in ("first", "second", "classes"):
        weights = [each.get_layer(name).get_weights() for each in (model, loaded)]
        for a, b in zip(*weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_damaged_and_unknown_files_of_keras_3_are_one_sentence(tmp_path):
    path = tmp_path / "m.keras"
    network().save(path)
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"class_name"', b'"class_nome"'))
    with pytest.raises(hk.HashBWNError, match="cannot be loaded as a Keras") as error:
        hk.load_model(path)
    assert "\n" not in str(error.value)


def test_own_layers_of_a_file_need_both_classes(tmp_path):
    @keras.saving.register_keras_serializable("test", "Twice")
    class Twice(L.Layer):
        def call(self, x):
            return 2 * x

    class Twice2(tf_keras.layers.Layer):
        def call(self, x):
            return 2 * x

    path = tmp_path / "m.keras"
    model = keras.Sequential([L.Input((3,)), Twice(name="twice")])
    model.save(path)
    with pytest.raises(hk.HashBWNError, match=r"Twice of the Python module test_keras3_files"):
        hk.load_model(path)
    loaded = hk.load_model(path, {"Twice": Twice2})
    x = np.ones((2, 3), np.float32)
    np.testing.assert_array_equal(loaded.predict(x, verbose=0), 2 * x)


def test_without_keras_3_its_files_say_what_to_install(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    network().save(path)
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(hk.HashBWNError, match=r"saved by Keras 3.*pip install keras"):
        hk.load_model(path)


@pytest.mark.slow
def test_every_entrance_takes_models_of_keras_3(pictures):
    model = network()
    before = [weight.copy() for weight in model.get_weights()]
    binary = hk.binarize(model, pictures, filters="second", repair=False)
    assert isinstance(binary, tf_keras.Model) and list(hk.codes(binary)) == ["second"]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    rebuilt = hk.binarize(hk.to_keras2(model), pictures, filters="second", repair=False)
    np.testing.assert_array_equal(
        hk.codes(binary)["second"].codes, hk.codes(rebuilt)["second"].codes
    )
    assert hk.report(model, binary, pictures).images == 300
    trainer = hk.distil(binary, model)
    trainer.compile("adam")
    assert np.isfinite(trainer.evaluate(pictures[:8], verbose=0))
    with pytest.raises(hk.HashBWNError, match=r"student 'net' is a Keras 3 model.*to_keras2"):
        hk.distil(model, model)
    hk.distil(hk.to_keras2(model), model)
    file = hk.export.to_tflite(model, weights="float")
    assert hk.export.verify(model, file, pictures[:4]).ok
    assert hk.export.to_lce(model, weights="float", allow_float=True)


OTHER_BACKEND = """
import numpy as np, keras
L = keras.layers
x = L.Input((6, 6, 3))
y = L.BatchNormalization()(L.Conv2D(4, 3, activation="hard_silu")(x))
y = keras.ops.mean(y + keras.ops.convert_to_tensor([1.0, 2, 3, 4]), axis=(1, 2))
model = keras.Model(x, L.Dense(3)(y))
data = np.random.default_rng(0).normal(size=(4, 6, 6, 3)).astype(np.float32)
model.save("m.keras")
import hashbwn_keras as hk
for each in (hk.to_keras2(model), hk.to_keras3(hk.to_keras2(model)), hk.load_model("m.keras")):
    found = each.predict(data, verbose=0)
    np.testing.assert_allclose(found, model.predict(data, verbose=0), atol=1e-5)
print(keras.backend.backend())
"""


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_models_of_other_backends_are_rebuilt(backend, tmp_path):
    pytest.importorskip(backend)
    root = str(Path(hk.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, "-c", OTHER_BACKEND],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": root, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stdout.split()[-1] == backend
