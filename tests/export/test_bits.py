"""Files of n bits a weight: int8, packed, full-integer and for Larq Compute Engine, all exact."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import Interpreter, export
from hashbwn_keras.tflite.filters import read_filters

BITS = [2, 3, 4]


def kernel(shape, bits, rng, axis):
    """Odd levels times one α per channel along ``axis``; channel 1 of several is dead."""
    codes = rng.integers(0, 2**bits, shape) * 2 - (2**bits - 1)
    scales = (rng.uniform(0.02, 0.05, shape[axis]).astype(np.float32).view(np.int32) & -256).view(
        np.float32
    )
    aligned = [1] * len(shape)
    aligned[axis] = -1
    return (codes * scales.reshape(aligned)).astype(np.float32)


def build(bits, norm=True):
    """Convolutions (odd sizes, stride, batch-norm with negative gamma), depthwise, Dense."""
    rng = np.random.default_rng(bits)
    image = x = tf_keras.Input((9, 8, 16))
    layers = tf_keras.layers
    for layer, axis in (
        (layers.Conv2D(24, 3, padding="same", activation=None if norm else "relu"), 3),
        (layers.Conv2D(33, 3, strides=2, use_bias=False), 3),
        (layers.DepthwiseConv2D(5, padding="same"), 2),
        (layers.Conv2D(40, 1), 3),
        (layers.Dense(14), 1),
    ):
        if isinstance(layer, layers.Dense):
            x = layers.Flatten()(x)
        x = layer(x)
        weights = layer.get_weights()
        weights[0] = kernel(weights[0].shape, bits, rng, axis)
        layer.set_weights(weights)
        if norm and isinstance(layer, layers.Conv2D) and axis == 3:
            normalise = layers.BatchNormalization()
            x = layers.ReLU()(normalise(x))
            size = x.shape[-1]
            statistics = rng.normal(size=size), rng.normal(size=size), rng.uniform(0.5, 2, size)
            normalise.set_weights([rng.uniform(-1, 1.5, size), *statistics])
    return tf_keras.Model(image, x)


def images(count=5):
    return np.random.default_rng(9).normal(size=(count, 9, 8, 16)).astype(np.float32)


@pytest.fixture(scope="module", params=BITS)
def converted(request):
    model = build(request.param)
    return request.param, model, export.to_tflite(model, weights="float")


@pytest.mark.parametrize(
    ("weights", "storage"), [("packed", "packed"), ("int8", "int8-dequantize")]
)
def test_float_layers_are_exact_in_every_interpreter(converted, weights, storage):
    bits, model, floats = converted
    content = export.to_tflite(floats, weights=weights)
    assert {(x.storage, x.bits) for x in export.inspect(content).layers} == {(storage, bits)}
    report = export.verify(model, content, images())
    assert report.ok and report.relative_error < 2e-6
    assert all(result.ran for result in report.runtimes), report
    assert np.abs(Interpreter(content).predict(images()) - model(images())).max() < 1e-4


def test_the_filters_are_decoded_at_load(converted):
    bits, _, floats = converted
    packed = export.to_tflite(floats)
    interpreter = tf.lite.Interpreter(model_content=packed)
    interpreter.allocate_tensors()
    rows = [found for found in read_filters(packed)[1] if found.axis == 0]
    assert len(rows) == 4
    for found, before in zip(
        rows, [f for f in read_filters(floats)[1] if f.axis == 0], strict=True
    ):
        scales = found.scales.reshape([-1] + [1] * (len(found.shape) - 1))
        np.testing.assert_array_equal(interpreter.get_tensor(found.tensor), found.codes * scales)
        np.testing.assert_array_equal(found.codes, before.codes)
        np.testing.assert_array_equal(found.scales, before.scales)
    assert bits == rows[0].bits


def test_bits_a_weight_are_the_planes_and_one_scale_a_channel(converted):
    bits, _, floats = converted
    for layer in export.inspect(export.to_tflite(floats)).layers:
        channels = len(layer.scales)
        size = int(np.prod(layer.shape))
        assert layer.nbytes == bits * 4 * -(-size // 32) + 4 * channels
    assert f"5 of 5 binary layers packed to {bits} bits" in str(
        export.inspect(export.to_tflite(floats))
    )


def test_packed_becomes_int8_and_packed_again(converted):
    _, model, floats = converted
    again = export.to_tflite(export.to_tflite(export.to_tflite(floats), weights="int8"))
    for found, before in zip(read_filters(again)[1], read_filters(floats)[1], strict=True):
        assert found.storage == "packed"
        np.testing.assert_array_equal(found.codes, before.codes)
        np.testing.assert_array_equal(found.scales, before.scales)
    assert export.verify(model, again, images()).ok


@pytest.mark.parametrize("bits", BITS)
def test_integer_files_hold_exact_multiples(bits):
    model = build(bits)
    integer = export.to_tflite(
        model, weights="int8", activations="int8", calibration_data=images(40)
    )
    exact = read_filters(integer)[1]
    unit = 127 // (2**bits - 1)
    for found in exact:
        assert (found.storage, found.bits) == ("int8", bits)
        assert set(found.integers.units) == {unit}
    kernels = {found.size: found for found in exact}
    plain = model.layers[-1].get_weights()[0]  # Dense: no batch-norm is folded into it
    dense = kernels[plain.size]
    np.testing.assert_allclose((dense.codes * dense.scales[:, None]).T, plain, rtol=1e-6)
    packed = export.to_tflite(integer)
    assert {(x.storage, x.bits) for x in export.inspect(packed).layers} == {("packed", bits)}
    both = [export.verify(model, content, images()) for content in (integer, packed)]
    assert all(report.ok and report.relative_error < 0.03 for report in both), both
    for a, b in zip(exact, read_filters(packed)[1], strict=True):
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_allclose(a.scales, b.scales, rtol=1e-6)


def test_a_dead_channel_of_an_integer_file_stays_dead():
    model = build(2, norm=False)
    weights = model.layers[1].get_weights()
    weights[0][..., 3] = 0
    model.layers[1].set_weights(weights)
    for form in ("int8", "packed"):
        content = export.to_tflite(
            model, weights=form, activations="int8", calibration_data=images(40)
        )
        layer = export.inspect(content).layers[0]
        assert layer.storage == form and layer.bits == 2
        assert (layer.scales == 0).tolist() == [i == 3 for i in range(24)]
        assert export.verify(model, content, images()).ok


@pytest.mark.parametrize("bits", BITS)
def test_files_for_lce_with_real_activations(bits):
    pytest.importorskip("larq_compute_engine")
    model = build(bits)
    content = export.to_lce(model)
    assert {(x.storage, x.bits) for x in export.inspect(content).layers} == {("packed", bits)}
    assert export.verify(model, content, images()).ok


def test_layers_of_several_lengths_are_counted():
    image = x = tf_keras.Input((8, 8, 16))
    rng = np.random.default_rng(0)
    for bits in (1, 2, 2):
        layer = tf_keras.layers.Conv2D(16, 3, padding="same")
        x = layer(x)
        layer.set_weights([kernel((3, 3, 16, 16), bits, rng, 3), np.zeros(16)])
    content = export.to_tflite(tf_keras.Model(image, x))
    assert "3 of 3 binary layers packed (1 to 1 bit, 2 to 2 bits)" in str(export.inspect(content))


@pytest.mark.slow
@pytest.mark.parametrize("bits", BITS)
def test_layers_with_bits_are_found_in_every_form(bits):
    image = x = tf_keras.Input((10, 10, 3))
    x = hashbwn_keras.HashBinaryConv2D(32, 3, bits=bits, name="convolution")(x)
    x = tf_keras.layers.BatchNormalization()(x)
    x = hashbwn_keras.HashBinaryDepthwiseConv2D(5, bits=bits, name="depthwise")(x)
    x = hashbwn_keras.HashBinarySeparableConv2D(40, 3, bits=bits, name="separable")(x)
    x = hashbwn_keras.HashBinaryDense(20, bits=bits, name="dense")(tf_keras.layers.Flatten()(x))
    model = tf_keras.Model(image, x)
    data = np.random.default_rng(0).normal(size=(5, 10, 10, 3)).astype(np.float32)
    forms = [{}, {"weights": "int8"}, {"activations": "int8", "calibration_data": data}]
    for form in forms:
        content = export.to_tflite(model, **form)
        report = export.verify(model, content, data)
        assert report.ok and report.binary_found == 4, report
        assert set(report.bits.values()) == {bits}
        assert export.inspect(content).provenance["format"] == 2
