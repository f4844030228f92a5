import awkward
import numpy as np
import pytest
import tf_keras

import hashbwn_keras
from hashbwn_keras import HashBWNError, export

lce = pytest.importorskip("larq_compute_engine")


def mixed_model(**last):
    """Binary and real inputs, odd channel counts; statistics that keep sign(0) from occurring."""
    conv = hashbwn_keras.HashBinaryConv2D
    image = tf_keras.Input((9, 9, 3))
    x = tf_keras.layers.Conv2D(33, 3, name="first")(image)
    x = tf_keras.layers.BatchNormalization()(x)
    x = conv(40, 3, input_quantizer="ste_sign", padding="same", pad_values=1, name="both")(x)
    x = tf_keras.layers.BatchNormalization()(x)
    x = conv(36, 3, padding="same", strides=2, activation="relu", name="real")(x)
    x = tf_keras.layers.BatchNormalization()(x)
    x = conv(20, 3, input_quantizer="ste_sign", use_bias=False, name="bare", **last)(x)
    x = tf_keras.layers.BatchNormalization()(x)
    x = hashbwn_keras.HashBinaryDense(30, name="dense")(tf_keras.layers.Flatten()(x))
    model = tf_keras.Model(image, x)
    rng = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.BatchNormalization):
            size = layer.gamma.shape
            gamma = rng.uniform(0.5, 1.5, size) * np.where(rng.random(size) < 0.4, -1, 1)
            stats = rng.normal(size=size), rng.normal(size=size), rng.uniform(0.5, 2, size)
            layer.set_weights([gamma, *stats])
    return model


@pytest.fixture(scope="module")
def mixed():
    tf_keras.utils.set_random_seed(7)
    model = mixed_model()
    return model, export.to_lce(model)


def data():
    return np.random.default_rng(1).normal(size=(6, 9, 9, 3)).astype(np.float32)


def test_mixed_net_equals_keras_and_all_layers_are_packed(mixed):
    model, content = mixed
    report = export.verify(model, content, data())
    assert report.ok and report.relative_error <= 1e-4
    assert report.binary_packed == report.binary_expected == 4
    assert report.storage == {"float32": 1, "lce": 2, "lce-dequantize": 2}
    assert [r.name for r in report.runtimes if r.ran] == ["larq_compute_engine"]


def test_codes_and_scales_are_those_of_the_layers(mixed):
    model, content = mixed
    codes = hashbwn_keras.codes(model)
    layers = {layer.name: layer for layer in export.inspect(content).layers}
    for name in ("both", "real", "bare", "dense"):
        kernel = np.moveaxis(codes[name].codes, -1, 0)
        stored = layers[name].codes
        signs = np.where(
            stored.reshape(len(stored), -1)[:, 0] == kernel.reshape(len(kernel), -1)[:, 0], 1, -1
        )
        flip = signs.reshape([-1] + [1] * (stored.ndim - 1))
        assert np.array_equal(stored * flip, kernel), name
        assert layers[name].bits_per_weight < 3
    assert np.array_equal(layers["dense"].scales, codes["dense"].scales)


def test_awkward_model(awkward_model, lce_file):
    report = export.verify(awkward_model, lce_file, awkward.inputs())
    assert report.ok and report.relative_error <= 1e-5
    assert report.binary_expected == report.binary_packed == 9  # however small
    assert report.kept == {}


def test_float_weights_leave_real_layers_alone(mixed):
    model, packed = mixed
    content = export.to_lce(model, weights="float")
    report = export.verify(model, content, data())
    assert report.ok and report.storage == {"float32": 3, "lce": 2}
    assert len(packed) < len(content)


def test_a_lost_binary_convolution_is_named(mixed):
    tf_keras.utils.set_random_seed(7)
    model = mixed_model()
    kernel = model.get_layer("bare").kernel
    kernel.assign(np.concatenate([np.zeros((3, 3, 36, 1)), kernel.numpy()[..., 1:]], -1))
    with pytest.warns(UserWarning, match="no binary kernel for bare"):
        content = export.to_lce(model)
    assert export.verify(model, content, data()).ok


def test_lce_files_are_not_repacked(mixed):
    with pytest.raises(HashBWNError, match="packed already"):
        export.to_tflite(mixed[1])


def test_bad_arguments(mixed):
    with pytest.raises(HashBWNError, match="weights is 'int8'"):
        export.to_lce(mixed[0], weights="int8")
    with pytest.raises(HashBWNError, match="give a built Keras 2 model"):
        export.to_lce(b"")


def padded_model(size, **options):
    """ZeroPadding2D before a strided convolution, as ResNets have it."""
    image = tf_keras.Input((size, size, 32))
    x = tf_keras.layers.ZeroPadding2D(1, name="pad")(image)
    conv = hashbwn_keras.HashBinaryConv2D
    x = conv(32, 3, strides=2, padding="valid", name="strided", **options)(x)
    return tf_keras.Model(image, x)


@pytest.mark.parametrize("size", [8, 9])
def test_padding_before_a_stride_stays_where_it_is(size):
    """LCE's own converter puts the zeros of the even size on one side."""
    model = padded_model(size)
    x = np.random.default_rng(1).normal(size=(3, size, size, 32)).astype(np.float32)
    assert export.verify(model, export.to_lce(model), x).ok


def test_padding_that_lces_converter_would_shift_is_refused():
    even, odd = (padded_model(size, input_quantizer="ste_sign") for size in (8, 9))
    with pytest.raises(HashBWNError, match=r"shift the padding of 'pad' .* strided 'strided'"):
        export.to_lce(even)
    with pytest.raises(HashBWNError, match="shift the padding"):
        export.to_lce(padded_model(8), target="xcore")
    export.to_lce(odd)  # "same" puts one zero on each side, too


@pytest.mark.filterwarnings("ignore:Larq Compute Engine has no binary kernel")
def test_a_layer_that_stays_float_is_named(mixed, monkeypatch):
    monkeypatch.setattr("hashbwn_keras.export.lce._pack", lambda filters: None)
    with pytest.raises(HashBWNError, match="2 of 4 binary layers are not packed: real, dense"):
        export.to_lce(mixed[0])
    content = export.to_lce(mixed[0], allow_float=True)
    assert export.inspect(content).operators["LceBconv2d"] == 2
