import json

import awkward
import numpy as np
import pytest
import tf_keras

from hashbwn_keras import HashBWNError, export
from hashbwn_keras.export import storing
from hashbwn_keras.runtime import engines
from hashbwn_keras.tflite import flatbuffer, names, subgraph


def changed(content, change):
    """Return the file with ``change`` done to the float32 constant with the most values."""
    model = flatbuffer.read_model(content)
    (graph,) = subgraph.graphs(model)
    values = {i: graph.constant(i) for i in range(len(graph.graph.tensors))}
    floats = {i: v for i, v in values.items() if v is not None and v.dtype == np.float32}
    index = max(floats, key=lambda i: floats[i].size)
    data = np.frombuffer(change(floats[index].copy()).tobytes(), np.uint8)
    model.buffers[graph.tensor(index).buffer].data = data
    return flatbuffer.write_model(model)


def swap_sign(values):
    values[:, ::2] *= -1
    return values


def third_value(values):
    values.flat[0] *= 1.0001
    return values


def not_a_number(values):
    values.flat[0] = np.nan
    return values


def test_flipped_weights_are_noticed(awkward_model, float_file):
    report = export.verify(awkward_model, changed(float_file, swap_sign), awkward.inputs())
    assert not report.ok and report.relative_error > 1e-4
    assert report.missing == ["wide"]  # the codes are not the layer's any more
    assert "FAILED" in str(report) and "missing: wide" in str(report)


def test_a_third_value_is_noticed(awkward_model, float_file):
    report = export.verify(awkward_model, changed(float_file, third_value), awkward.inputs())
    assert not report.ok and report.missing == ["wide"]
    assert report.binary_found == report.binary_expected - 1


def test_infinite_outputs_are_noticed(awkward_model, float_file):
    report = export.verify(awkward_model, changed(float_file, not_a_number), awkward.inputs())
    assert not report.ok and not report.finite


def test_report(awkward_model, packed_file):
    data = awkward.inputs(3)
    report = export.verify(awkward_model, packed_file, data)
    record = json.loads(json.dumps(report.to_dict()))
    assert record["samples"] == 3 and record["nbytes"] == len(packed_file)
    assert record["top1_agreement"] == 1 and record["finite"] is True
    assert record["max_error"] < 1e-5
    assert sum(record["storage"].values()) == len(export.inspect(packed_file).layers)
    assert record["operators"]["CONV_2D"] == 7
    assert "9/9 binary layers" in str(report)
    assert "5 of 9 binary layers packed to 1 bit; 4 kept int8 (fewer than 512 weights)" in str(
        report
    )
    assert record["kept"]["depthwise"] == ["int8-dequantize", "fewer than 512 weights"]
    assert not export.verify(awkward_model, packed_file, data, tolerance=0).ok


def test_inputs_are_matched_by_name():
    """Two inputs of the same shape: their order in the file is the converter's choice."""
    inputs = [tf_keras.Input((4,), name=name) for name in ("zebra", "ant")]
    outputs = {
        "minus": tf_keras.layers.Subtract(name="minus")(inputs),
        "first": tf_keras.layers.Dense(2, name="first")(inputs[0]),
    }
    model = tf_keras.Model(inputs, list(outputs.values()))
    rng = np.random.default_rng(0)
    data = {name: rng.normal(size=(3, 4)).astype(np.float32) for name in ("ant", "zebra")}
    assert export.verify(model, export.to_tflite(model, weights="float"), data).ok


def test_a_file_of_another_model(packed_file):
    model = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(4,))])
    with pytest.raises(HashBWNError, match="2 inputs but model"):
        export.verify(model, packed_file, np.zeros((1, 4)))
    other = tf_keras.Sequential([tf_keras.layers.Dense(3, input_shape=(5,))])
    content = export.to_tflite(other, weights="float")
    with pytest.raises(HashBWNError, match=r"inputs of shape \(5,\)"):
        export.verify(model, content, np.zeros((1, 4)))


def test_an_interpreter_that_refuses_the_file_says_why(awkward_model, float_file):
    model = flatbuffer.read_model(float_file)
    for code in model.operatorCodes:
        if flatbuffer.builtin_code(code) == flatbuffer.Builtin.CONV_2D:
            code.version = 999
    content = flatbuffer.write_model(model)
    report = export.verify(awkward_model, content, awkward.inputs())
    assert not report.ok
    assert all(not r.ran and "refuses the file" in r.reason for r in report.runtimes)


def test_runtimes_that_are_not_installed_are_left_out(monkeypatch):
    missing = names.LITERT._replace(module="no_such_module")
    monkeypatch.setattr(names, "RUNTIMES", (names.TENSORFLOW, missing))
    assert "ai_edge_litert" not in {runtime.name for runtime in engines.installed()}


def one_dense(**options):
    image = tf_keras.Input((6,))
    hidden = tf_keras.layers.Dense(40, name="hidden")(image)
    return tf_keras.Model(image, tf_keras.layers.Dense(4, **options)(hidden))


@pytest.mark.parametrize(
    ("options", "loss", "kind", "text"),
    [
        ({"activation": "softmax"}, None, "classes", "top-1 the same in 100.00%"),
        ({}, None, "scores", "largest score the same in 100.00%"),
        ({}, "mse", "values", None),
        ({"activation": "sigmoid"}, None, "yes or no", None),
    ],
)
def test_regression_is_not_called_top_1(options, loss, kind, text):
    model = one_dense(**options)
    if loss:
        model.compile(loss=loss)
    data = np.random.default_rng(0).normal(size=(5, 6)).astype(np.float32)
    report = export.verify(model, export.to_tflite(model, weights="float"), data)
    assert report.ok and report.first_output == kind
    assert (text in str(report)) if text else ("the same" not in str(report))
    assert (report.top1_agreement is None) == (text is None)


def test_the_limit_that_was_applied_is_printed(awkward_model, packed_file):
    data = awkward.inputs(2)
    report = export.verify(awkward_model, packed_file, data)
    assert "error allowed: 0.0001 of the output's range" in str(report)
    report = export.verify(awkward_model, packed_file, data, tolerance=0.02)
    assert "error allowed: 0.02 of" in str(report) and report.to_dict()["tolerance"] == 0.02


def test_files_of_others_run_in_a_process_of_their_own(awkward_model, packed_file, monkeypatch):
    monkeypatch.setattr(storing, "_OWN", set())
    monkeypatch.setattr(engines.LiteEngine, "prepare", None)  # would fail here
    report = export.verify(awkward_model, packed_file, awkward.inputs(2))
    assert report.ok and all(result.ran for result in report.runtimes)


def test_images_of_several_sizes_are_compared():
    image = tf_keras.Input((None, None, 3))
    model = tf_keras.Model(image, tf_keras.layers.Conv2D(2, 3, padding="same")(image))
    rng = np.random.default_rng(0)
    data = [rng.normal(size=(2, *size, 3)).astype(np.float32) for size in ((8, 8), (7, 9))]
    report = export.verify(model, export.to_tflite(model, weights="float"), iter(data))
    assert report.ok and report.samples == 4
