import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras import HashBWNError, export
from hashbwn_keras.network.quantizers import hash_sign
from hashbwn_keras.tflite.filters import read_filters

pytest.importorskip("tensorflow_model_optimization")
from tensorflow_model_optimization.quantization import keras as tfmot

from hashbwn_keras.network.annotate import quantize_annotate
from hashbwn_keras.network.tfmot import HashBinaryQuantizeConfig, HashSignInt8

L = tf_keras.layers
# What TensorFlow and tfmot say of themselves.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs were expected"),
    pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated"),
]


def residual_net():
    """Every way that batch-norm, ReLU and addition can follow a binary layer."""
    x = image = tf_keras.Input((8, 8, 1))
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    y = hk.HashBinaryConv2D(16, 3, padding="same", use_bias=False, name="norm_relu")(x)
    y = L.ReLU()(L.BatchNormalization()(y))
    y = hk.HashBinaryConv2D(16, 3, padding="same", use_bias=False, name="norm_add")(y)
    x = L.ReLU()(L.Add()([x, L.BatchNormalization()(y)]))
    x = hk.HashBinaryDepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = L.Activation("relu")(L.BatchNormalization()(x))
    x = L.ReLU()(hk.HashBinaryConv2D(32, 1, name="relu_layer")(x))
    return tf_keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def awkward_net():
    """The awkward network, as far as TensorFlow's converter makes integers of it.

    Without dilation, separable convolution and Dense on a map, and no gamma is exactly zero.
    """
    image, extra = (tf_keras.Input(shape) for shape in awkward.SHAPES)
    # tfmot itself forgets to quantize the kernel of a layer with a ReLU layer right behind it.
    x = L.Conv2D(15, 3, strides=2, padding="same", activation="relu", name="first")(image)
    x = hk.HashBinaryConv2D(12, 3, use_bias=False, padding="same", name="same")(x)
    x = L.ReLU(6.0)(L.BatchNormalization()(x))
    x = hk.HashBinaryConv2D(16, 3, groups=2, strides=2, padding="same", name="grouped")(x)
    x = L.ReLU()(L.BatchNormalization()(x))
    shared = hk.HashBinaryConv2D(16, 3, padding="same", name="shared")
    x = shared(L.ReLU()(shared(x)))
    x = hk.HashBinaryDepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    y = hk.HashBinaryDense(8, activation="relu", use_bias=False, name="extra_dense")(extra)
    x = L.Concatenate()([L.Flatten()(x), y])
    x = hk.HashBinaryDense(33, activation="relu", name="wide")(x)
    model = tf_keras.Model([image, extra], L.Dense(3, name="last")(x))
    awkward._make_awkward(model)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            layer.gamma.assign(tf.where(layer.gamma == 0.0, -0.2, layer.gamma))
    return model


def random_inputs(model, count=256):
    rng = np.random.default_rng(5)
    return [rng.normal(size=(count, *i.shape[1:])).astype(np.float32) for i in model.inputs]


def aware(model, x, y, loss, steps=300):
    """Train a quantize-aware model; its ranges start at ±6 and need many steps to settle."""
    result = tfmot.quantize_apply(quantize_annotate(model))
    result.compile(tf_keras.optimizers.legacy.Adam(1e-3), loss, steps_per_execution=50)
    data = tf.data.Dataset.from_tensor_slices((tuple(x), y)).shuffle(2000, seed=1).repeat()
    result.fit(data.batch(16), steps_per_epoch=steps, verbose=0)
    return result


def on_digits():
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    x = [digits.images[..., None].astype(np.float32) / 16]
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return aware(residual_net(), x, digits.target, loss), [x[0][:256]]


def on_noise():
    model = awkward_net()
    x = random_inputs(model)
    return aware(model, x, model.predict(x, verbose=0), "mse"), x


@pytest.fixture(scope="module", params=[on_digits, on_noise], ids=["residual", "awkward"])
def trained(request):
    """A trained model, its file and its inputs."""
    tf_keras.utils.set_random_seed(7)
    model, x = request.param()
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return model, converter.convert(), x


def run(content, x):
    """Return the outputs of a file for each sample, and the step of the output."""
    interpreter = tf.lite.Interpreter(model_content=content)
    runner = interpreter.get_signature_runner()
    names = sorted(runner.get_input_details())
    rows = zip(*x, strict=True)
    feeds = [dict(zip(names, (a[None] for a in row), strict=True)) for row in rows]
    outputs = [next(iter(runner(**feed).values()))[0] for feed in feeds]
    (output,) = interpreter.get_output_details()
    shape = tuple(output["shape"])
    details = interpreter.get_tensor_details()
    (step,) = {d["quantization"][0] for d in details if tuple(d["shape"]) == shape} - {0.0}
    return np.stack(outputs), step


def test_full_integer_and_two_values_per_channel(trained):
    model, content, _ = trained
    _, filters = read_filters(content)
    assert {found.storage for found in filters} == {"int8"}
    assert sum(found.binary for found in filters) == len(hk.codes(model))
    operators = export.inspect(content).operators
    assert operators["DEQUANTIZE"] == 1  # of the output


def test_equals_keras_within_one_step(trained):
    model, content, x = trained
    expected = model.predict(x, verbose=0)
    values, step = run(content, x)
    assert np.ptp(expected) > 30 * step
    assert np.mean(np.abs(values - expected) < 1.01 * step) >= 0.99


def test_our_packing_recognises_the_filters(trained):
    model, content, x = trained
    packed = export.to_tflite(content)
    report = export.verify(model, packed, [a[:16] for a in x])
    assert report.ok and report.binary_found == report.binary_expected == len(hk.codes(model))
    assert report.binary_packed >= 3 and len(packed) < len(content)
    values, step = run(packed, x)
    assert np.mean(np.abs(values - model.predict(x, verbose=0)) < 1.01 * step) >= 0.99


def small_net(**arguments):
    return tf_keras.Sequential(
        [
            L.Input((6, 6, 4)),
            hk.HashBinaryConv2D(6, 3, activation="relu", name="conv", **arguments),
            L.Flatten(),
            L.Dense(2),
        ]
    )


def test_the_models_own_export_and_h5(tmp_path):
    model = tfmot.quantize_apply(quantize_annotate(small_net()))
    x = np.random.default_rng(1).normal(size=(8, 6, 6, 4)).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(x, np.ones((8, 2)), verbose=0)
    again = hk.load_model(hk.save_model(model, tmp_path / "model.h5"))
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    for ours, theirs in zip(
        hk.codes(again)["quant_conv"], hk.codes(model)["quant_conv"], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    content = export.to_tflite(again, input_type="int8", output_type="int8")
    interpreter = tf.lite.Interpreter(model_content=content)
    assert interpreter.get_input_details()[0]["dtype"] == np.int8
    assert {found.storage for found in read_filters(content)[1]} == {"int8"}
    with pytest.raises(HashBWNError, match="leave out calibration_data"):
        export.to_tflite(again, calibration_data=x)
    with pytest.raises(HashBWNError, match=r"does not load from a \.keras file"):
        hk.save_model(model, tmp_path / "model.keras")
    assert not (tmp_path / "model.keras").exists()


def test_codes_of_the_binary_model_count_before_any_training():
    model = small_net()
    aware_model = tfmot.quantize_apply(quantize_annotate(model))
    for ours, theirs in zip(
        hk.codes(aware_model)["quant_conv"], hk.codes(model)["conv"], strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "shape, axes", [((3, 3, 4, 5), None), ((3, 3, 4, 2), (0, 1)), ((7, 5), None)]
)
def test_quantizer_is_hash_sign_on_a_grid(shape, axes):
    kernel = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    kernel[..., 0] = 0  # dead channels
    quantizer = HashSignInt8(axes)
    with tf.GradientTape() as tape:
        x = tf.Variable(kernel)
        y = quantizer(x, True, {})
        loss = tf.reduce_sum(y * 3)
    np.testing.assert_array_equal(tape.gradient(loss, x), np.full(shape, 3))
    expected = hash_sign(kernel, axes).numpy()
    if len(shape) == 2:  # one step for all channels
        step = np.abs(expected).max() / 127
        np.testing.assert_allclose(y / step, np.round(expected / step), atol=1e-4)
    else:
        np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert HashSignInt8(**quantizer.get_config()).get_config() == quantizer.get_config()


def test_keras_own_layers_take_the_config():
    config = HashBinaryQuantizeConfig()
    layers = [L.Input((6, 6, 4)), L.Conv2D(6, 3), L.DepthwiseConv2D(2), L.Flatten(), L.Dense(3)]
    annotate = tfmot.quantize_annotate_layer
    plain = (L.Conv2D, L.DepthwiseConv2D, L.Dense)
    model = tf_keras.Sequential(
        [annotate(x, config) if isinstance(x, plain) else x for x in layers]
    )
    model = tfmot.quantize_apply(model)
    assert list(hk.codes(model)) == ["quant_conv2d", "quant_depthwise_conv2d", "quant_dense"]
    x = np.random.default_rng(1).normal(size=(8, 6, 6, 4)).astype(np.float32)
    model.compile("adam", "mse")
    model.fit(x, np.ones((8, 3)), verbose=0)
    assert all(found.binary for found in read_filters(export.to_tflite(model))[1])


def dense_before_norm():
    layers = [L.Input((5,)), hk.HashBinaryDense(3, name="d"), L.BatchNormalization(name="n")]
    return tf_keras.Sequential(layers)


REFUSED = {
    "no HashBinary layer": lambda: tf_keras.Sequential([L.Input((5,)), L.Dense(3)]),
    "batch-norm 'n' into the int8 Dense 'd'": dense_before_norm,
    r"'conv' has dilation_rate \(2, 2\)": lambda: small_net(dilation_rate=2),
    "'conv' quantizes its input itself": lambda: small_net(input_quantizer="ste_sign"),
    "contains the model 'inner'": lambda: tf_keras.Sequential(
        [L.Input((5,)), tf_keras.Sequential([L.Input((5,)), hk.HashBinaryDense(3)], name="inner")]
    ),
    "'s' is a HashBinarySeparableConv2D": lambda: tf_keras.Sequential(
        [L.Input((6, 6, 4)), hk.HashBinarySeparableConv2D(6, 3, name="s")]
    ),
    "'m' is a Dense on a feature map": lambda: tf_keras.Sequential(
        [L.Input((6, 4)), hk.HashBinaryDense(6, name="m")]
    ),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_would_stay_float_is_refused(message):
    with pytest.raises(HashBWNError, match=message):
        quantize_annotate(REFUSED[message]())


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_convolutions_of_longer_codes_are_exact_on_the_int8_grid(bits):
    model = tf_keras.Sequential(
        [
            L.Input((8, 8, 3)),
            L.Conv2D(16, 3, name="float"),
            L.ReLU(),
            hk.HashBinaryConv2D(16, 3, bits=bits, name="conv"),
        ]
    )
    images = np.random.default_rng(0).normal(size=(40, 8, 8, 3)).astype(np.float32)
    aware = tfmot.quantize_apply(quantize_annotate(model))
    aware.compile("adam", "mse")
    aware.fit(images, model.predict(images, verbose=0), verbose=0)
    (wanted,) = hk.codes(aware).values()
    assert 1 < np.abs(wanted.codes).max() <= 2**bits - 1
    (found,) = (layer for layer in export.inspect(export.to_tflite(aware)).layers if layer.binary)
    np.testing.assert_array_equal(np.moveaxis(wanted.codes, -1, 0), found.codes)
    np.testing.assert_allclose(found.scales, wanted.scales, rtol=1e-5)


def test_a_dense_of_longer_codes_is_refused_by_name():
    model = tf_keras.Sequential([L.Input((4,)), hk.HashBinaryDense(3, bits=2, name="long")])
    with pytest.raises(HashBWNError, match="'long' is a Dense with 2 bits a weight"):
        tfmot.quantize_apply(quantize_annotate(model))
