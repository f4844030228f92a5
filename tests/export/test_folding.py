"""Kernel quantizers that a converter leaves in the file are computed once, at export."""

import awkward
import numpy as np
import pytest
import tensorflow as tf

from hashbwn_keras import HashBWNError, export
from hashbwn_keras.export import folding, storing
from hashbwn_keras.tflite import flatbuffer, subgraph


@pytest.fixture(scope="module")
def foreign(awkward_model):
    """What TensorFlow's converter makes of the model: it leaves two quantizers as they are."""
    return tf.lite.TFLiteConverter.from_keras_model(awkward_model).convert()


def test_a_foreign_file_with_quantizers_in_it_is_packed(foreign, awkward_model):
    before = export.inspect(foreign)
    assert [x.storage for x in before.layers].count("other") == 2
    content = export.to_tflite(foreign)  # computed in a process of its own
    report = export.inspect(content)
    assert sum(layer.binary for layer in report.layers) == 9
    assert "SELECT_V2" in before.operators and "SELECT_V2" not in report.operators
    assert "TRANSPOSE" in before.operators and "TRANSPOSE" not in report.operators
    verified = export.verify(awkward_model, content, awkward.inputs())
    assert verified.ok and verified.binary_packed == 5


def test_a_model_that_cannot_be_rebuilt_is_packed(awkward_model, monkeypatch, packed_file):
    monkeypatch.setattr("hashbwn_keras.export.convert.with_constant_kernels", lambda model: model)
    content = export.to_tflite(awkward_model)
    assert export.verify(awkward_model, content, awkward.inputs()).binary_packed == 5
    for a, b in zip(
        export.inspect(content).layers, export.inspect(packed_file).layers, strict=True
    ):
        assert a.storage == b.storage


def test_files_without_such_filters_stay_as_they_are(packed_file):
    assert folding.with_folded_filters(packed_file, "The file", trusted=True) is packed_file


def test_what_tensorflow_lite_cannot_compute_is_one_sentence(foreign):
    model = flatbuffer.read_model(foreign)
    for code in model.operatorCodes:
        if flatbuffer.builtin_code(code) == flatbuffer.Builtin.SELECT_V2:
            code.version = 999
    with pytest.raises(HashBWNError, match="computes filters from constants, which") as caught:
        export.to_tflite(flatbuffer.write_model(model))
    assert "\n" not in str(caught.value)


def test_what_depends_on_inputs_is_left(foreign):
    model = flatbuffer.read_model(foreign)
    (graph,) = subgraph.graphs(model)
    select = next(o for o in graph.operators if graph.kind(o) == flatbuffer.Builtin.SELECT_V2)
    select.inputs = np.array(select.inputs)
    select.inputs[0] = graph.graph.inputs[0]
    report = export.inspect(
        folding.with_folded_filters(flatbuffer.write_model(model), "The file", trusted=True)
    )
    assert [x.storage for x in report.layers].count("other") == 1


def test_only_files_made_here_are_computed_in_this_process(foreign, monkeypatch):
    compute, trusts = folding._compute, []

    def recorded(part, name, trusted):
        trusts.append(trusted)
        return compute(part, name, trusted=True)

    monkeypatch.setattr(storing, "_OWN", set())
    monkeypatch.setattr(folding, "_compute", recorded)
    export.to_tflite(foreign)
    export.to_tflite(storing.own(foreign))
    assert trusts == [False, True]
