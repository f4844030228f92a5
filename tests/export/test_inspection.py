import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import export
from hashbwn_keras.export.constant_kernels import with_constant_kernels
from hashbwn_keras.network.saving import set_recipe
from hashbwn_keras.tflite.flatbuffer import Builtin, builtin_code, read_model


@pytest.fixture(scope="module")
def small():
    tf_keras.utils.set_random_seed(7)
    model = tf_keras.Sequential(
        [
            hashbwn_keras.HashBinaryConv2D(32, 3, input_shape=(8, 8, 5), name="conv"),
            tf_keras.layers.Flatten(),
            hashbwn_keras.HashBinaryDense(16, name="dense"),
            tf_keras.layers.Dense(4, name="last"),
        ]
    )
    recipe = {"method": "dcc", "seed": 3, "layers": {"conv": {"method": "dcc"}}}
    set_recipe(model, recipe)
    return model, export.to_tflite(model), recipe


def test_codes_and_scales_come_back_from_the_file(small):
    model, content, _ = small
    codes = hashbwn_keras.codes(model)
    report = export.inspect(content)
    assert [layer.name for layer in report.layers][:2] == ["conv", "dense"]
    for layer in report.layers[:2]:
        assert layer.storage == "packed" and layer.binary
        assert np.array_equal(layer.codes, np.moveaxis(codes[layer.name].codes, -1, 0))
        assert np.array_equal(layer.scales, codes[layer.name].scales)
    last = report.layers[2]
    assert (last.storage, last.bits_per_weight, last.codes, last.scales) == (
        "float32",
        32,
        None,
        None,
    )


def test_bits_per_weight_counts_words_and_pairs(small):
    conv = export.inspect(small[1]).layers[0]
    assert conv.shape == (32, 3, 3, 5)
    assert conv.nbytes == 32 * 45 // 8 + 32 * 8
    assert conv.bits_per_weight == pytest.approx(8 * conv.nbytes / (32 * 45))


def test_provenance(small):
    _, content, recipe = small
    provenance = export.inspect(content).provenance
    assert provenance["recipe"] == recipe
    assert provenance["hashbwn_keras"] == hashbwn_keras.__version__
    assert provenance["tensorflow"] == tf.__version__
    assert (provenance["format"], provenance["weights"]) == (1, "packed")
    again = export.inspect(export.to_tflite(content, weights="int8")).provenance
    assert again["recipe"] == recipe and again["weights"] == "int8"
    assert again["layers"] == provenance["layers"]


def test_report_as_text_and_as_json(small):
    report = export.inspect(small[1])
    text = str(report)
    assert "32×3×3×5" in text and "2 of 3 layers binary" in text and "recipe seed: 3" in text
    record = json.loads(json.dumps(report.to_dict()))
    assert record["layers"][0]["scale_min"] > 0
    assert "codes" not in record["layers"][0]


def test_layers_that_are_not_packed_are_named_with_the_reason(packed_file, integer_file):
    text = str(export.inspect(packed_file))
    assert "5 of 9 binary layers packed to 1 bit; 4 kept int8 (fewer than 512 weights): " in text
    text = str(export.inspect(integer_file))
    assert "0 of 9 binary layers packed to 1 bit; " in text
    assert "5 kept int8 (weights='packed' packs them): " in text


def test_files_of_other_writers(small):
    converter = tf.lite.TFLiteConverter.from_keras_model(small[0])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    report = export.inspect(converter.convert())
    assert report.provenance == {}
    assert {layer.storage for layer in report.layers} == {"float16"}
    assert all(layer.name for layer in report.layers)


def test_dynamic_range_file_is_packed_for_float_activations(small):
    """Hybrid layers round their activations; with the float filter, the result is the exact one."""
    model = small[0]
    converter = tf.lite.TFLiteConverter.from_keras_model(with_constant_kernels(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    hybrid = converter.convert()
    assert "int8" in {layer.storage for layer in export.inspect(hybrid).layers}
    content = export.to_tflite(hybrid)
    data = np.random.default_rng(0).normal(size=(3, 8, 8, 5)).astype(np.float32)
    report = export.verify(model, content, data, tolerance=1e-5)
    assert report.ok and report.binary_packed == 2
    codes = read_model(content).operatorCodes
    versions = {code.version for code in codes if builtin_code(code) == Builtin.CONV_2D}
    assert versions == {1}  # not that of hybrid layers, which older runtimes lack
