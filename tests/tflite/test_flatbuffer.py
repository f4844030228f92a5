"""Damaged files, foreign files, and files with more than one subgraph, signature or input."""

import flatbuffers
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras import HashBWNError, export
from hashbwn_keras.tflite import flatbuffer, subgraph


class TwoSignatures(tf.Module):
    """Two functions over shared ±α weights, one of them with a loop: several subgraphs."""

    def __init__(self):
        rng = np.random.default_rng(2)
        codes = np.where(rng.random((20, 40)) < 0.5, -1, 1)
        self.weights = tf.constant((codes * rng.uniform(0.1, 1, 40)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec((2, 20)), tf.TensorSpec((2, 40))])
    def plain(self, x, offset):
        return {"sum": x @ self.weights + offset, "difference": x @ self.weights - offset}

    @tf.function(input_signature=[tf.TensorSpec((2, 20))])
    def looped(self, x):
        def body(i, total):
            return i + 1, tf.tanh((x + tf.cast(i, tf.float32)) @ self.weights) + total

        return {"total": tf.while_loop(lambda i, _: i < 3, body, (0, tf.zeros((2, 40))))[1]}


@pytest.fixture(scope="module")
def two_signatures():
    module = TwoSignatures()
    functions = [module.plain.get_concrete_function(), module.looped.get_concrete_function()]
    folder_signatures = dict(zip(("plain", "looped"), functions, strict=True))
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=folder_signatures)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=["plain", "looped"]
        )
        return converter.convert()


def run_signatures(content):
    interpreter = tf.lite.Interpreter(model_content=content)
    rng = np.random.default_rng(4)
    x, offset = (rng.normal(size=(2, n)).astype(np.float32) for n in (20, 40))
    results = dict(interpreter.get_signature_runner("plain")(x=x, offset=offset))
    return results | interpreter.get_signature_runner("looped")(x=x)


@pytest.mark.parametrize("weights", ["packed", "int8"])
def test_subgraphs_and_signatures_survive(two_signatures, weights):
    content = export.to_tflite(two_signatures, weights=weights)
    before, after = run_signatures(two_signatures), run_signatures(content)
    assert set(before) == set(after) == {"sum", "difference", "total"}
    for name, values in before.items():
        np.testing.assert_allclose(after[name], values, rtol=0, atol=1e-5)
    layers = export.inspect(content).layers
    assert len(layers) == 2 and all(layer.binary for layer in layers)
    model = flatbuffer.read_model(content)
    assert len(model.subgraphs) == len(flatbuffer.read_model(two_signatures).subgraphs) > 2


def test_constants_are_aligned(packed_file):
    model = schema.Model.GetRootAs(packed_file, 0)
    checked = 0
    for index in range(model.BuffersLength()):
        buffer = model.Buffers(index)
        if buffer.DataLength():
            field = flatbuffers.number_types.UOffsetTFlags.py_type(buffer._tab.Offset(4))
            assert buffer._tab.Vector(field) % 16 == 0
            checked += 1
    assert checked > 20


def test_operator_codes_carry_their_versions(packed_file):
    names = {code: name for name, code in vars(flatbuffer.Builtin).items()}
    versions = {}
    for code in flatbuffer.read_model(packed_file).operatorCodes:
        assert code.deprecatedBuiltinCode == min(code.builtinCode, 127)
        versions.setdefault(names[code.builtinCode], set()).add(code.version)
    assert versions["MUL"] == {1} and versions["STRIDED_SLICE"] == {1}
    assert 5 in versions["GATHER"] and versions["DEQUANTIZE"] == {5}


def test_nothing_unused_and_no_inner_names_stay(packed_file):
    model = flatbuffer.read_model(packed_file)
    (graph,) = subgraph.graphs(model)
    outside = {*graph.graph.inputs, *graph.graph.outputs}
    for index, tensor in enumerate(graph.graph.tensors):
        assert index in outside or (graph.uses[index] and not tensor.name)
    buffers = [tensor.buffer for tensor in graph.graph.tensors]
    buffers += [entry.buffer for entry in model.metadata]
    assert set(buffers) | {0} == set(range(len(model.buffers)))
    assert [tensor.name for tensor in (graph.tensor(i) for i in graph.graph.inputs)]


def test_truncated_files(packed_file):
    for share in (0, 7, 8, 30, 200, 2000, len(packed_file) // 2, len(packed_file) - 600):
        with pytest.raises(HashBWNError, match=r"no \.tflite file|damaged or truncated"):
            export.inspect(packed_file[:share])


@hypothesis.settings(deadline=None, max_examples=60, derandomize=True)
@hypothesis.given(st.data())
def test_damaged_bytes_give_one_clear_error_or_a_readable_file(packed_file, data):
    content = bytearray(packed_file)
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        export.inspect(bytes(content))
    except HashBWNError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("content", [b"", b"GIF89a..............", bytes(64)])
def test_other_files(content, tmp_path):
    path = tmp_path / "picture.tflite"
    path.write_bytes(content)
    for use in (export.inspect, export.to_tflite):
        with pytest.raises(HashBWNError, match=r"picture\.tflite is no \.tflite file"):
            use(path)
    with pytest.raises(HashBWNError, match="Cannot read"):
        export.inspect(tmp_path / "missing.tflite")
    with pytest.raises(HashBWNError, match="Cannot read"):
        export.inspect(tmp_path)


def test_files_over_two_gigabytes(packed_file, monkeypatch):
    monkeypatch.setattr(flatbuffer, "_LARGEST", len(packed_file) - 1)
    with pytest.raises(HashBWNError, match="over 2 GB"):
        export.inspect(packed_file)
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(packed_file, 0))
    monkeypatch.setattr(flatbuffer, "_LARGEST", 2**20 + 1000)
    with pytest.raises(HashBWNError, match=r"end at 2 GB"):
        flatbuffer.write_model(model)


def test_weights_outside_the_flatbuffer(packed_file):
    model = flatbuffer.read_model(packed_file)
    for buffer in model.buffers:
        buffer.__class__ = schema.BufferT
    model.buffers[3].data, model.buffers[3].offset, model.buffers[3].size = None, 4096, 64
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(HashBWNError, match="outside the flatbuffer"):
        export.inspect(bytes(builder.Output()))


def test_unknown_operators_are_left_alone(float_file):
    model = flatbuffer.read_model(float_file)
    graph = subgraph.Graph(model, 0)
    output = int(graph.graph.outputs[0])
    shadow = graph.add_tensor(graph.shape(output), flatbuffer.Type.FLOAT32)
    graph.graph.operators.append(
        graph.new_operator(flatbuffer.Builtin.CUSTOM, [output], [shadow], custom_name="Mystery")
    )
    graph.graph.outputs = np.array([shadow], np.int32)
    for signature in model.signatureDefs:
        signature.outputs[0].tensorIndex = shadow
    content = export.to_tflite(flatbuffer.write_model(model))
    assert export.inspect(content).operators["Mystery"] == 1
    builtin = max(vars(flatbuffer.Builtin).values(), key=lambda v: v if isinstance(v, int) else 0)
    model.operatorCodes[-1].builtinCode = builtin + 40
    model.operatorCodes[-1].customCode = None
    content = export.to_tflite(flatbuffer.write_model(model))
    assert export.inspect(content).operators[f"operator {builtin + 40}"] == 1
