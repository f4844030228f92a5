"""Models of keras.applications on Keras 2, there and back."""

import keras
import numpy as np
import pytest

import hashbwn_keras as hk

A = keras.applications


def pictures(count, size):
    return np.random.default_rng(0).uniform(0, 255, (count, size, size, 3)).astype(np.float32)


def worst(wanted, found):
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def made(make, **kwargs):
    keras.backend.clear_session()
    keras.utils.set_random_seed(3)
    return make(weights=None, input_shape=(64, 64, 3), classifier_activation=None, **kwargs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (A.MobileNet, {"alpha": 0.25}),
        (A.MobileNetV3Small, {}),
        (A.EfficientNetB0, {}),
        (A.ConvNeXtTiny, {}),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_applications_compute_the_same_there_and_back(make, arguments):
    model = made(make, **arguments)
    rebuilt = hk.to_keras2(model)
    x = pictures(2, 64)
    wanted = model.predict(x, verbose=0)
    assert worst(wanted, rebuilt.predict(x, verbose=0)) <= 1e-5
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Normalization):
            weights = layer.get_weights(), rebuilt.get_layer(layer.name).get_weights()
            for a, b in zip(*weights, strict=True):
                np.testing.assert_array_equal(a, b)
    assert worst(wanted, hk.to_keras3(rebuilt).predict(x, verbose=0)) <= 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")
def test_from_keras_3_to_a_verified_file_and_back_to_keras_3():
    model = made(A.MobileNet, alpha=0.25)
    binary = hk.binarize(model, pictures(64, 64), filters="conv_pw_(5|9)$", repair=False)
    x = pictures(4, 64)
    assert hk.export.verify(binary, hk.export.to_tflite(binary), x).ok
    plain = hk.to_keras3(binary)
    assert worst(binary.predict(x, verbose=0), plain.predict(x, verbose=0)) <= 1e-5
    for name, (codes, scales) in hk.codes(binary).items():
        np.testing.assert_array_equal(plain.get_layer(name).get_weights()[0], codes * scales)
