"""Converted once for all tests of the exporters: conversions take seconds each."""

import warnings

import awkward
import pytest
import tf_keras

from hashbwn_keras import export


@pytest.fixture(autouse=True)
def _quiet_interpreters():
    """Every interpreter of TensorFlow says that it will be replaced by LiteRT's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*Warning: tf.lite.Interpreter is deprecated")
        yield


@pytest.fixture(scope="session")
def awkward_model():
    tf_keras.utils.set_random_seed(7)
    return awkward.float_model(binary=True)


@pytest.fixture(scope="session")
def float_file(awkward_model):
    return export.to_tflite(awkward_model, weights="float")


@pytest.fixture(scope="session")
def packed_file(awkward_model):
    return export.to_tflite(awkward_model)


@pytest.fixture(scope="session")
def integer_file(awkward_model):
    return export.to_tflite(
        awkward_model,
        weights="int8",
        activations="int8",
        calibration_data=awkward.inputs(40, seed=9),
    )


@pytest.fixture(scope="session")
def lce_file(awkward_model):
    pytest.importorskip("larq_compute_engine")
    return export.to_lce(awkward_model)
