import warnings

import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import HashBWNError, export
from hashbwn_keras.export import constant_kernels as frozen
from hashbwn_keras.tflite.filters import read_filters

SMALL = {"extra_dense", "on_map", "separable", "depthwise"}  # stay int8 in packed files
BINARY = {"same", "dilated", "grouped", "shared", "wide"} | SMALL


def binary_filters(content):
    """Name -> filter as float32, put together from the codes and scales in the file."""
    report = export.inspect(content)
    values = {}
    for layer in report.layers:
        if layer.binary:
            axis = 3 if layer.operator == "DEPTHWISE_CONV_2D" else 0
            shape = [-1 if i == axis else 1 for i in range(len(layer.shape))]
            values[layer.name] = layer.codes * layer.scales.reshape(shape)
    return values


def test_packed_file_equals_keras_in_every_interpreter(awkward_model, packed_file):
    report = export.verify(awkward_model, packed_file, awkward.inputs())
    assert report.ok and report.finite
    assert report.relative_error <= 1e-5
    assert report.binary_found == report.binary_expected == len(BINARY)
    assert report.binary_packed == len(BINARY - SMALL)
    assert {r.name for r in report.runtimes if r.ran} >= {"tf.lite"}


@pytest.mark.parametrize("weights", ["packed", "int8"])
def test_filters_are_bit_equal_to_the_converters(float_file, weights):
    # From the converted file, whose batch-norm is folded already.
    stored = binary_filters(export.to_tflite(float_file, weights=weights))
    wanted = binary_filters(float_file)
    assert set(stored) == set(wanted) == BINARY
    for name, values in wanted.items():
        assert np.array_equal(stored[name], values), name


def test_the_filters_are_decoded_at_load_and_exact(float_file):
    """TensorFlow's own operators give what the reader reads, before anything is run."""
    packed = export.to_tflite(float_file)
    interpreter = tf.lite.Interpreter(model_content=packed)
    interpreter.allocate_tensors()
    _, filters = read_filters(packed)
    assert sum(found.storage == "packed" for found in filters) == 5
    for found in filters:
        if found.storage == "packed":
            scales = found.scales.reshape([-1] + [1] * (len(found.shape) - 1))
            decoded = interpreter.get_tensor(found.tensor)
            assert np.array_equal(decoded, found.codes * scales)


def test_int8_file_equals_keras(awkward_model, float_file):
    content = export.to_tflite(float_file, weights="int8")
    report = export.verify(awkward_model, content, awkward.inputs())
    assert report.ok and report.relative_error <= 1e-5
    assert report.storage["int8-dequantize"] == len(BINARY)


def test_plain_keras_layers_with_two_valued_kernels_are_found():
    model = awkward.two_valued(awkward.float_model())
    report = export.inspect(export.to_tflite(model))
    assert sum(layer.binary for layer in report.layers) == len(BINARY)


def test_dead_channel_stays_dead(packed_file):
    layer = next(x for x in export.inspect(packed_file).layers if x.name == "same")
    assert layer.scales[1] == 0 and (layer.codes[1] == 1).all()
    assert (np.delete(layer.scales, 1) > 0).all()


def test_integer_file_has_two_values_per_channel(awkward_model, integer_file):
    _, filters = read_filters(integer_file)
    assert {found.storage for found in filters} == {"int8"}  # first and last layers, too
    assert sum(found.binary for found in filters) == len(BINARY)
    report = export.verify(awkward_model, integer_file, awkward.inputs())
    assert report.ok and report.relative_error < 0.05


def test_packed_integer_file_computes_the_same(awkward_model, integer_file):
    packed = export.to_tflite(integer_file)
    assert np.all(
        [np.array_equal(a, b) for a, b in zip(*map(_values, (integer_file, packed)), strict=True)]
    )
    report = export.verify(awkward_model, packed, awkward.inputs())
    assert report.ok and report.binary_packed == len(BINARY - SMALL)
    one_step = _output_scale(packed)
    assert np.abs(_run(packed) - _run(integer_file)).max() <= 1.01 * one_step


def test_packed_integer_file_can_become_int8_again(integer_file):
    again = export.to_tflite(export.to_tflite(integer_file), weights="int8")
    np.testing.assert_array_equal(_run(again), _run(integer_file))


def _values(content):
    _, filters = read_filters(content)
    return [
        f.codes * f.scales.reshape(-1, *[1] * (len(f.shape) - 1))
        for f in filters
        if f.binary and f.axis == 0
    ]


def _run(content):
    runner = tf.lite.Interpreter(model_content=content).get_signature_runner()
    image, extra = awkward.inputs(1)
    return next(iter(runner(image=image, extra=extra).values()))


def _output_scale(content):
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    details = interpreter.get_tensor_details()
    quantize = interpreter.get_output_details()[0]["index"]
    scales = [d["quantization"][0] for d in details if tuple(d["shape"]) == (1, 3)]
    assert quantize is not None
    return max(scales)


@pytest.mark.parametrize("io_type", ["int8", "uint8"])
def test_integer_inputs_and_outputs(io_type):
    model = tf_keras.Sequential(
        [hashbwn_keras.HashBinaryDense(40, input_shape=(30,)), tf_keras.layers.Dense(3)]
    )
    data = np.random.default_rng(0).normal(size=(50, 30)).astype(np.float32)
    content = export.to_tflite(
        model,
        activations="int8",
        calibration_data=data,
        input_type=io_type,
        output_type=io_type,
    )
    interpreter = tf.lite.Interpreter(model_content=content)
    assert interpreter.get_input_details()[0]["dtype"] == np.dtype(io_type)
    assert interpreter.get_output_details()[0]["dtype"] == np.dtype(io_type)
    assert export.verify(model, content, data[:5]).ok


def test_a_quantizer_that_the_converter_leaves_in_the_graph_is_an_error(monkeypatch, awkward_model):
    monkeypatch.setattr("hashbwn_keras.export.convert.with_constant_kernels", lambda model: model)
    monkeypatch.setattr(
        "hashbwn_keras.export.litert.with_folded_filters", lambda content, name, trusted: content
    )
    with pytest.raises(HashBWNError, match=r"2 of 9 binary layers .*: shared, wide"):
        export.to_tflite(awkward_model)


def test_the_twin_computes_the_same_and_the_model_is_left_alone(awkward_model):
    before = [np.array(weight) for weight in awkward_model.get_weights()]
    twin = frozen.with_constant_kernels(awkward_model)
    data = awkward.inputs()
    np.testing.assert_array_equal(twin(data), awkward_model(data))
    for old, new in zip(before, awkward_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_packed_already(packed_file):
    with pytest.raises(HashBWNError, match="packed already"):
        export.to_tflite(packed_file)


def test_packed_can_become_int8_again(float_file, packed_file):
    again = export.to_tflite(export.to_tflite(float_file), weights="int8")
    wanted = binary_filters(float_file)
    assert all(np.array_equal(v, wanted[n]) for n, v in binary_filters(again).items())


def test_a_file_without_binary_filters_is_refused(tmp_path):
    model = tf_keras.Sequential([tf_keras.layers.Dense(40, input_shape=(30,))])
    path = tmp_path / "dense.tflite"
    export.to_tflite(model, path, weights="float")
    with pytest.raises(HashBWNError, match=r"dense\.tflite has no filter with two values"):
        export.to_tflite(path)


def test_files_appear_whole_or_not_at_all(tmp_path, float_file):
    path = tmp_path / "model.tflite"
    content = export.to_tflite(float_file, path)
    assert path.read_bytes() == content
    with pytest.raises(HashBWNError, match="exists"):
        export.to_tflite(float_file, path)
    with pytest.raises(HashBWNError, match="does not exist"):
        export.to_tflite(float_file, tmp_path / "nowhere" / "model.tflite")
    export.to_tflite(float_file, path, weights="int8", overwrite=True)
    assert path.read_bytes() != content
    assert [p.name for p in tmp_path.iterdir()] == ["model.tflite"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": "one-bit"}, "weights is 'one-bit': choose one of packed, int8, float"),
        ({"activations": "int4"}, "activations is 'int4'"),
        ({"activations": "int8"}, "need calibration_data"),
        ({"calibration_data": np.zeros((1, 4))}, "only serves int8"),
        ({"input_type": "int8"}, "need activations='int8'"),
        ({"activations": "int8", "calibration_data": np.zeros((9, 5))}, "shape"),
        ({"activations": "int8", "calibration_data": np.full((9, 4), np.nan)}, "NaN"),
    ],
)
def test_bad_arguments(arguments, message):
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    with pytest.raises(HashBWNError, match=message):
        export.to_tflite(model, **arguments)


def test_weights_that_are_not_finite_are_named():
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,), name="rotten")])
    model.layers[0].kernel.assign(np.full((4, 3), np.nan))
    with pytest.raises(HashBWNError, match=r"rotten/kernel.*NaN"):
        export.to_tflite(model)


@pytest.mark.parametrize("nonsense", [None, 3, [1, 2], tf_keras.layers.Dense(3)])
def test_no_model(nonsense):
    with pytest.raises(HashBWNError, match=r"give a built Keras 2 model or a \.tflite file"):
        export.to_tflite(nonsense)


def test_unbuilt_model():
    with pytest.raises(HashBWNError, match="no defined inputs"):
        export.to_tflite(tf_keras.Sequential([tf_keras.layers.Dense(3)]))


def test_options_that_a_file_cannot_have(float_file):
    with pytest.raises(HashBWNError, match="give the Keras model"):
        export.to_tflite(float_file, activations="int8", calibration_data=np.zeros((3, 4)))


def test_no_warning_escapes(recwarn):
    model = tf_keras.Sequential([hashbwn_keras.HashBinaryDense(40, input_shape=(30,))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export.to_tflite(model)
