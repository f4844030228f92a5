"""Depthwise filters at one bit a weight: channels last, they have a form of their own."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import export
from hashbwn_keras.export.constant_kernels import with_constant_kernels
from hashbwn_keras.tflite.filters import read_filters
from hashbwn_keras.tflite.flatbuffer import write_model

CHANNELS = 60  # 540 weights: no multiple of 32


def inputs(count=6):
    return np.random.default_rng(0).normal(size=(count, 9, 9, CHANNELS)).astype(np.float32)


@pytest.fixture(scope="module")
def model():
    """Two depthwise layers with batch-norm and ReLU6, as MobileNet has them; one dead channel."""
    tf_keras.utils.set_random_seed(7)
    image = x = tf_keras.Input((9, 9, CHANNELS))
    for name, stride in (("one", 1), ("two", 2)):
        x = hashbwn_keras.HashBinaryDepthwiseConv2D(
            3, strides=stride, padding="same", use_bias=False, name=name
        )(x)
        norm = tf_keras.layers.BatchNormalization()
        x = tf_keras.layers.ReLU(6.0)(norm(x))
        gamma = np.linspace(-1, 1, CHANNELS)
        gamma[3] = 0 if name == "one" else 1
        beta, ones = np.linspace(0, 2, CHANNELS), np.ones(CHANNELS)
        norm.set_weights([gamma, beta, 0 * ones, ones])
    return tf_keras.Model(image, x)


@pytest.fixture(scope="module")
def float_file(model):
    return export.to_tflite(model, weights="float")


def assert_same_filters(content, wanted, storage=None):
    for after, before in zip(*(read_filters(file)[1] for file in (content, wanted)), strict=True):
        assert storage in (None, after.storage)
        assert np.array_equal(after.scales, before.scales)
        assert np.array_equal(after.codes, before.codes)


def test_packed_equals_keras_in_every_interpreter(model, float_file):
    content = export.to_tflite(float_file)
    report = export.verify(model, content, inputs())
    assert report.ok and report.relative_error <= 1e-6
    assert report.binary_packed == report.binary_expected == 2
    assert len(content) < len(export.to_tflite(float_file, weights="int8"))


def test_codes_and_scales_are_bit_equal_to_the_converters(float_file):
    packed = export.to_tflite(float_file)
    assert_same_filters(packed, float_file, "packed")
    assert [layer.scales[3] > 0 for layer in export.inspect(packed).layers] == [False, True]


def test_bits_per_weight_counts_words_and_scales(float_file):
    layer = export.inspect(export.to_tflite(float_file)).layers[0]
    assert layer.nbytes == 4 * -(-9 * CHANNELS // 32) + 4 * CHANNELS
    assert "2 of 2 binary layers packed" in str(export.inspect(export.to_tflite(float_file)))


def test_signs_are_decoded_at_load(float_file):
    content = export.to_tflite(float_file)
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    for found in read_filters(content)[1]:
        scale = found.graph.producers[found.tensor]
        assert np.array_equal(interpreter.get_tensor(int(scale.inputs[0])), found.codes)


@pytest.mark.parametrize("scale", [-1, np.nan])
def test_scales_that_are_none_are_not_read(float_file, scale):
    flat, filters = read_filters(export.to_tflite(float_file))
    graph, tensor = filters[1].graph, filters[1].tensor
    constant = graph.tensor(int(graph.producers[tensor].inputs[1]))
    values = graph.constant(int(graph.producers[tensor].inputs[1])) * np.float32(scale)
    flat.buffers[constant.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
    storages = [layer.storage for layer in export.inspect(write_model(flat)).layers]
    assert storages == ["packed", "other"]


def test_packed_can_become_int8_again(float_file):
    again = export.to_tflite(export.to_tflite(float_file), weights="int8")
    assert_same_filters(again, float_file, "int8-dequantize")


def test_dynamic_range_file_of_another_writer(model):
    converter = tf.lite.TFLiteConverter.from_keras_model(with_constant_kernels(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    content = export.to_tflite(converter.convert())
    assert {layer.storage for layer in export.inspect(content).layers} == {"packed"}
    assert export.verify(model, content, inputs(), tolerance=1e-6).ok


def test_integer_files(model):
    integer = export.to_tflite(
        model, weights="int8", activations="int8", calibration_data=inputs(40)
    )
    packed = export.to_tflite(integer)
    report = export.inspect(packed)
    assert [layer.storage for layer in report.layers] == ["int8", "packed"]
    assert "1 of 2 binary layers packed to 1 bit; 1 kept int8 (a depthwise" in str(report)
    assert_same_filters(packed, integer)
    assert export.verify(model, packed, inputs()).ok
    assert_same_filters(export.to_tflite(packed, weights="int8"), integer, "int8")


def test_lce_files(model):
    pytest.importorskip("larq_compute_engine")
    report = export.verify(model, export.to_lce(model), inputs(), tolerance=1e-6)
    assert report.ok and report.storage == {"packed": 2}
