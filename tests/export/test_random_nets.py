"""Random small nets, exported in each form, compute what Keras computes."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import export
from hashbwn_keras.tflite import flatbuffer, storage, subgraph

# No shrinking: every example costs seconds.
SETTINGS = hypothesis.settings(
    deadline=None,
    max_examples=4,
    derandomize=True,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)


@pytest.fixture(autouse=True, scope="module")
def _pack_small_filters():
    """Small nets are quick; their filters are to be packed all the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "SMALLEST_PACKED", 0)
        yield


@st.composite
def convolutions(draw):
    """Arguments of a binary convolution that fit any input of 8×7 and up to 24 channels."""
    stride = draw(st.sampled_from([1, 2]))
    return {
        "filters": draw(st.sampled_from([1, 5, 16, 24, 33])),
        "kernel_size": draw(st.sampled_from([1, 3, (2, 3)])),
        "strides": stride,
        "dilation_rate": draw(st.sampled_from([1, 2])) if stride == 1 else 1,
        "padding": draw(st.sampled_from(["same", "valid"])),
        "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from([None, "relu"])),
    }


@st.composite
def depthwise_convolutions(draw):
    """Arguments of a binary depthwise convolution."""
    stride = draw(st.sampled_from([1, 2]))
    return {
        "kernel_size": draw(st.sampled_from([1, 3, 5])),
        "strides": stride,
        "dilation_rate": draw(st.sampled_from([1, 2])) if stride == 1 else 1,
        "depth_multiplier": draw(st.sampled_from([1, 3])),
        "padding": "same",
        "use_bias": draw(st.booleans()),
        "activation": draw(st.sampled_from([None, "relu"])),
    }


@st.composite
def nets(draw):
    return {
        "channels": draw(st.sampled_from([1, 3, 8, 17])),
        "first": draw(convolutions()),
        "norm": draw(st.booleans()),
        "depthwise": draw(st.none() | depthwise_convolutions()),
        "second": draw(convolutions()) | {"padding": "same", "name": "second"},
        "units": draw(st.sampled_from([1, 7, 40])),
        "seed": draw(st.integers(0, 1000)),
    }


def build(net):
    tf_keras.utils.set_random_seed(net["seed"])
    image = tf_keras.Input((8, 7, net["channels"]))
    x = hashbwn_keras.HashBinaryConv2D(**net["first"])(image)
    if net["norm"]:
        x = tf_keras.layers.BatchNormalization(
            gamma_initializer=tf_keras.initializers.RandomNormal(),
            beta_initializer=tf_keras.initializers.RandomNormal(),
        )(x)
    if net["depthwise"]:
        x = hashbwn_keras.HashBinaryDepthwiseConv2D(**net["depthwise"])(x)
    x = hashbwn_keras.HashBinaryConv2D(**net["second"])(x)
    x = hashbwn_keras.HashBinaryDense(net["units"])(tf_keras.layers.Flatten()(x))
    return tf_keras.Model(image, x)


@SETTINGS
@hypothesis.given(nets())
def test_every_form_computes_the_same(net):
    model = build(net)
    data = np.random.default_rng(0).normal(size=(3, 8, 7, net["channels"])).astype(np.float32)
    converted = export.to_tflite(model, weights="float")
    for weights in ("packed", "int8"):
        report = export.verify(model, export.to_tflite(converted, weights=weights), data)
        assert report.ok and report.relative_error <= 1e-5, (weights, report)
        assert report.binary_found == report.binary_expected
        assert weights == "int8" or report.binary_packed == report.binary_expected


@SETTINGS
@hypothesis.given(nets())
def test_packing_changes_nothing_of_an_integer_file(net):
    model = build(net)
    data = np.random.default_rng(0).normal(size=(20, 8, 7, net["channels"])).astype(np.float32)
    integer = export.to_tflite(model, weights="int8", activations="int8", calibration_data=data)
    packed = export.to_tflite(integer)
    kept = [layer.kept for layer in export.inspect(packed).layers if layer.kept]
    assert all("differ between channels" in reason for reason in kept)
    one_step = packed_scale(packed)
    for image in data[:3]:
        difference = np.abs(run(packed, image[None]) - run(integer, image[None]))
        assert difference.max() <= 1.01 * one_step


def run(content, image):
    interpreter = tf.lite.Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def packed_scale(content):
    """Return the real value of one step of an integer file's output."""
    graph = subgraph.Graph(flatbuffer.read_model(content), 0)
    last = graph.producers[int(graph.graph.outputs[0])]
    return graph.tensor(int(last.inputs[0])).quantization.scale[0]


@SETTINGS
@hypothesis.given(nets())
def test_lce_computes_the_same(net):
    pytest.importorskip("larq_compute_engine")
    model = build(net)
    data = np.random.default_rng(0).normal(size=(3, 8, 7, net["channels"])).astype(np.float32)
    report = export.verify(model, export.to_lce(model), data)
    assert report.ok and report.binary_packed == report.binary_expected, report
