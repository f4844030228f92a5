"""What a converter refuses ends in one sentence with a cure, and the cure works."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import HashBWNError, export

layers = tf_keras.layers


def recurrent(batch_size=None, binary_input=False, **options):
    """An LSTM, which the converter unrolls only if the batch is known."""
    sequence = tf_keras.Input((8, 8), batch_size=batch_size)
    x = layers.LSTM(4, **options)(sequence)
    quantizer = "ste_sign" if binary_input else None
    return tf_keras.Model(sequence, hashbwn_keras.HashBinaryDense(32, input_quantizer=quantizer)(x))


@pytest.mark.parametrize("export_as", [export.to_tflite, export.to_lce])
def test_recurrent_layers_are_refused_with_the_cure(export_as):
    if export_as is export.to_lce:
        pytest.importorskip("larq_compute_engine")
    model = recurrent(binary_input=export_as is export.to_lce)
    sentence = r"refuses model .* \(.+\): build .* unroll=True"
    with pytest.raises(HashBWNError, match=sentence) as caught:
        export_as(model)
    assert "\n" not in str(caught.value) and ":1: error" not in str(caught.value)


@pytest.mark.parametrize("cure", [{"unroll": True}, {"batch_size": 1}])
def test_the_cure_of_recurrent_layers_works(cure):
    model = recurrent(**cure)
    x = np.random.default_rng(0).normal(size=(3, 8, 8)).astype(np.float32)
    assert export.verify(model, export.to_tflite(model), x).ok


def with_step(step, binary_input=False):
    image = tf_keras.Input((8, 8, 3))
    quantizer = "ste_sign" if binary_input else None
    x = hashbwn_keras.HashBinaryConv2D(32, 3, input_quantizer=quantizer, name="last")(image)
    return tf_keras.Model(image, step(x))


@pytest.mark.parametrize("export_as", [export.to_tflite, export.to_lce])
def test_operations_that_no_interpreter_has_are_named(export_as):
    if export_as is export.to_lce:
        pytest.importorskip("larq_compute_engine")
    model = with_step(tf.math.erf, binary_input=export_as is export.to_lce)
    with pytest.raises(HashBWNError, match=r"has no operator Erf, which .* end the model before"):
        export_as(model)
    ended = tf_keras.Model(model.input, model.get_layer("last").output)
    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    assert export.verify(ended, export_as(ended), x).ok


def test_what_fails_while_ranges_are_measured_is_one_sentence():
    def spectrum(x):
        return tf.math.real(tf.signal.fft(tf.cast(x, tf.complex64)))

    x = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype(np.float32)
    with pytest.raises(HashBWNError, match=r"refuses model .*: cut the model in front") as caught:
        export.to_tflite(with_step(spectrum), activations="int8", calibration_data=x)
    assert "\n" not in str(caught.value)


def test_a_fixed_batch_is_calibrated_as_one():
    image = tf_keras.Input((8, 8, 3), batch_size=4)
    model = tf_keras.Model(image, hashbwn_keras.HashBinaryConv2D(32, 3)(image))
    x = np.random.default_rng(0).normal(size=(10, 8, 8, 3)).astype(np.float32)
    content = export.to_tflite(model, activations="int8", calibration_data=x)
    assert export.verify(model, content, x).ok
