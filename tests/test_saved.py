"""Models and files in tests/saved, written by the version before the packages, load and run."""

from pathlib import Path

import numpy as np
import pytest

import hashbwn_keras as hk
from hashbwn_keras import export
from hashbwn_keras.benchmark import result_files
from hashbwn_keras.recipe import get_recipe

SAVED = Path(__file__).parent / "saved"


@pytest.fixture(scope="module")
def expected():
    """What the version that wrote them computed: outputs, codes and scales by layer."""
    with np.load(SAVED / "expected.npz") as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", ["binary.keras", "binary.h5"])
def test_saved_models_load_with_their_codes_and_outputs(name, expected):
    model = hk.load_model(SAVED / name)
    for layer, (codes, scales) in hk.codes(model).items():
        shape = expected[f"shape/{layer}"]
        bits = np.unpackbits(expected[f"codes/{layer}"], count=shape.prod()).reshape(shape)
        np.testing.assert_array_equal(codes > 0, bits == 1)
        np.testing.assert_array_equal(scales, expected[f"scales/{layer}"])
    layers = {name.removeprefix("codes/") for name in expected if name.startswith("codes/")}
    assert set(hk.codes(model)) == layers
    output = model.predict(expected["input"], verbose=0)
    np.testing.assert_allclose(output, expected["output"], rtol=1e-5, atol=1e-5)


def test_saved_recipes_are_read(expected):
    recipe = get_recipe(hk.load_model(SAVED / "binary.keras"))
    assert "inner/conv" in str(recipe) and "not chosen by filters" in str(recipe)


@pytest.mark.parametrize("name", ["packed", "int8"])
def test_saved_files_compute_what_their_model_does(name, expected):
    path = SAVED / f"{name}.tflite"
    output = hk.Interpreter(path).predict(expected["input"])
    np.testing.assert_allclose(output, expected["output"], rtol=1e-4, atol=1e-4)
    verified = export.verify(hk.load_model(SAVED / "binary.keras"), path, expected["input"])
    assert verified.ok, str(verified)


def test_saved_files_with_int8_activations_compute_the_same(expected):
    output = hk.Interpreter(SAVED / "packed_int8_activations.tflite").predict(expected["input"])
    step = np.diff(np.unique(expected["output_int8_activations"])).min()
    np.testing.assert_allclose(output, expected["output_int8_activations"], atol=1.01 * step)


def test_saved_lce_file_computes_what_its_model_does(expected):
    pytest.importorskip("larq_compute_engine")
    model = hk.load_model(SAVED / "binary.keras")
    verified = export.verify(model, SAVED / "lce.tflite", expected["input"])
    assert verified.ok, str(verified)


@pytest.mark.parametrize("name", ["packed", "packed_int8_activations", "int8", "lce"])
def test_saved_files_show_their_codes(name, expected):
    layers = {layer.name: layer for layer in export.inspect(SAVED / f"{name}.tflite").layers}
    for key in ("inner/conv", "separable", "dense"):  # no batch-norm is folded into these
        np.testing.assert_allclose(
            layers[key].scales, expected[f"scales/{key}"], rtol=1e-6, err_msg=key
        )


def test_saved_benchmark_results_are_read():
    (result,) = result_files.load(SAVED / "benchmark.json")
    assert result.model == "packed.tflite" and result.latency.num_runs == 10
