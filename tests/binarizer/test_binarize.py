"""From float to binary network: exactness of the layer step, structures, bad input."""

import warnings

import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer import data_free
from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.network.saving import get_recipe
from hashbwn_keras.solver import hashing

layers = tf_keras.layers
RNG = np.random.default_rng(5)
IMAGES = RNG.normal(size=(40, 10, 10, 3)).astype("f")

pytestmark = pytest.mark.filterwarnings(
    "ignore::hashbwn_keras.errors.CalibrationWarning"  # tests are short of images
)


def chain(*middle: layers.Layer, inputs=(10, 10, 3)) -> tf_keras.Model:
    """A model of layers one behind the other, its batch-norms as if trained on IMAGES."""
    x = y = tf_keras.Input(inputs)
    for layer in middle:
        y = layer(y)
    return trained(tf_keras.Model(x, y))


def trained(model: tf_keras.Model) -> tf_keras.Model:
    """Give batch-norms the statistics they would have learnt, and other weights some life."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            layer.gamma.assign(RNG.uniform(-1.5, 1.5, layer.gamma.shape))
            model(IMAGES, training=True)
    return model


@pytest.mark.parametrize("form", ["Conv2D", "grouped", "Dense", "Depthwise", "Separable"])
def test_first_layer_is_the_best_code_of_its_patches(form):
    """K is small, so that trying all codes on patches cut by TensorFlow gives the truth."""
    conv = {
        "Conv2D": layers.Conv2D(4, 2, strides=2, padding="same", name="target"),
        "grouped": layers.Conv2D(4, 2, groups=2, name="target"),
        "Dense": layers.Dense(4, name="target"),
        "Depthwise": layers.DepthwiseConv2D(3, depth_multiplier=2, name="target"),
        "Separable": layers.SeparableConv2D(4, 3, name="target"),
    }[form]
    depth = 2 if form == "grouped" else 3
    x = tf_keras.Input((10, 10, depth))
    model = tf_keras.Model(x, layers.Flatten()(conv(x)))
    images = IMAGES[..., :depth] + 3
    binary = hk.binarize(model, images, filters=["target"], repair=False)
    target = binary.get_layer("target")
    a = model.get_layer("target")(images).numpy()
    b = target(images).numpy()
    channels = a.shape[-1]
    a, b = a.reshape(-1, channels), b.reshape(-1, channels)
    np.testing.assert_allclose(a.mean(0), b.mean(0), atol=1e-4)
    for t in range(channels):
        kernel = hk.codes(binary)["target"]
        inside = patches_of(form, model.get_layer("target"), images, t)
        inside = inside - inside.mean(0)
        codes = np.array(np.meshgrid(*[[-1, 1]] * inside.shape[1])).reshape(inside.shape[1], -1)
        s = a[:, t] - a[:, t].mean()
        p, q = s @ inside @ codes, np.square(inside @ codes).sum(0)
        best = (np.square(s).sum() - np.max(p * p / q)) / np.square(s).sum()
        error = a[:, t] - b[:, t]
        assert np.square(error).sum() / np.square(s).sum() == pytest.approx(best, abs=1e-3)
        assert kernel.scales[t] > 0


def patches_of(form, layer, images, channel):
    """Inputs of one output channel, [patches, K], by tf.image.extract_patches."""
    if form == "Dense":
        return images.reshape(-1, images.shape[-1])
    if form == "Separable":
        kernel = layer.depthwise_kernel
        inside = tf.nn.depthwise_conv2d(images, kernel, [1, 1, 1, 1], "VALID").numpy()
        return inside.reshape(-1, inside.shape[-1])
    size, stride = layer.kernel_size[0], layer.strides[0]
    found = tf.image.extract_patches(
        images, [1, size, size, 1], [1, stride, stride, 1], [1, 1, 1, 1], layer.padding.upper()
    ).numpy()
    found = found.reshape(-1, size * size, images.shape[-1])
    if form == "grouped":
        found = found[:, :, channel // 2 : channel // 2 + 1]
    if form == "Depthwise":
        found = found[:, :, channel // 2 : channel // 2 + 1]
    return found.reshape(len(found), -1)


def test_awkward_network_keeps_structure_and_the_float_model():
    model, data = awkward.float_model(), awkward.inputs(48)
    before = [w.copy() for w in model.get_weights()]
    nodes = {layer.name: len(layer.inbound_nodes) for layer in model.layers}
    binary = hk.binarize(model, data, filters="^(?!first|last)", repair=False)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
    assert nodes == {layer.name: len(layer.inbound_nodes) for layer in model.layers}
    assert [layer.name for layer in binary.layers] == [layer.name for layer in model.layers]
    chosen = set(hk.codes(binary))
    assert chosen == set(get_recipe(binary)["layers"])
    assert chosen == {
        *("same", "dilated", "grouped", "shared", "depthwise", "separable", "on_map"),
        *("extra_dense", "wide"),
    }
    for kernel in hk.layers.binary_kernels(binary):
        effective = np.abs(hk.quantizers.hash_sign(kernel.variable, kernel.axes))
        assert (effective.max(kernel.axes) == effective.min(kernel.axes)).all()
        assert (effective > 1.2e-7).all()
    a, b = model.predict(data, verbose=0), binary.predict(data, verbose=0)
    assert np.square(a - b).mean() < 0.5 * a.var()
    summed = [layer["relative_error"] for layer in get_recipe(binary)["layers"].values()]
    naive = [layer["relative_error_before"] for layer in get_recipe(binary)["layers"].values()]
    assert all(now < before for now, before in zip(summed, naive, strict=True))


def test_same_seed_same_codes_other_seed_other_codes():
    model = chain(layers.Conv2D(8, 3), layers.ReLU(), layers.Conv2D(8, 3, name="b"))
    found = [
        hk.codes(hk.binarize(model, IMAGES, repair=False, seed=seed))["b"].codes
        for seed in (0, 0, 1)
    ]
    np.testing.assert_array_equal(found[0], found[1])
    assert found[2].shape == found[0].shape


def test_nested_sequential_and_activations():
    inside = tf_keras.Sequential(
        [layers.Conv2D(6, 3, activation="relu", name="conv", input_shape=(8, 8, 4))], name="inside"
    )
    x = tf_keras.Input((10, 10, 3))
    y = inside(layers.Conv2D(4, 3, name="stem")(x))
    y = layers.GlobalAveragePooling2D()(y)
    model = tf_keras.Model(x, [layers.Dense(2)(y), layers.Dense(3)(y)])
    binary = hk.binarize(model, IMAGES, repair=False)
    assert set(hk.codes(binary)) == {"inside/conv"}
    for a, b in zip(
        model.predict(IMAGES, verbose=0), binary.predict(IMAGES, verbose=0), strict=True
    ):
        assert np.square(a - b).mean() < 0.6 * np.square(a).mean()


def test_mean_goes_into_batch_norm_or_bias():
    conv = {"use_bias": False, "padding": "same"}
    model = chain(
        layers.Conv2D(4, 3, **conv),
        layers.ReLU(),
        layers.Conv2D(6, 3, name="before_norm", **conv),
        layers.BatchNormalization(name="norm"),
        layers.ReLU(),
        layers.Conv2D(5, 3, name="bare", **conv),
    )
    binary = hk.binarize(model, IMAGES + 2, repair=False)
    assert not binary.get_layer("before_norm").use_bias
    assert binary.get_layer("bare").use_bias
    for name in ("norm", "bare"):
        a = tf_keras.Model(model.input, model.get_layer(name).output)(IMAGES + 2).numpy()
        b = tf_keras.Model(binary.input, binary.get_layer(name).output)(IMAGES + 2).numpy()
        # Of all positions, of which the bias has seen a sample, so not to the last digit.
        spread = a.std((0, 1, 2)) + 1e-3
        np.testing.assert_allclose((a - b).mean((0, 1, 2)) / spread, 0, atol=0.05)


def test_uncentred_moments_need_no_bias():
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3, use_bias=False, name="bare"))
    binary = hk.binarize(model, IMAGES, repair=False, centred=False, method="dcc")
    assert not binary.get_layer("bare").use_bias


def test_a_shortcut_error_is_made_up_for():
    conv = {"padding": "same", "use_bias": False}
    x = tf_keras.Input((10, 10, 3))
    y = layers.ReLU()(layers.Conv2D(8, 3, **conv)(x))
    y = layers.BatchNormalization()(layers.Conv2D(8, 3, name="a", **conv)(y))
    for block in range(3):
        z = layers.ReLU()(layers.Conv2D(8, 3, name=f"b{block}", **conv)(y))
        z = layers.BatchNormalization()(layers.Conv2D(8, 3, name=f"c{block}", **conv)(z))
        y = layers.Add(name=f"add{block}")([y, z]) if block % 2 else y + z
    model = trained(tf_keras.Model(x, y))
    a = model.predict(IMAGES, verbose=0)
    error = {
        compensate: np.square(
            a
            - hk.binarize(model, IMAGES, repair=False, compensate=compensate).predict(
                IMAGES, verbose=0
            )
        ).mean()
        for compensate in (True, False)
    }
    assert error[True] < 0.95 * error[False]


@pytest.mark.parametrize("method", hashing.METHODS)
def test_every_method(method):
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 2, name="target"))
    binary = hk.binarize(model, IMAGES, repair=False, method=method)
    assert get_recipe(binary)["layers"]["target"]["method"] == method


def test_spilled_activations_give_the_same_codes():
    model = chain(layers.Conv2D(4, 3), layers.ReLU(), layers.Conv2D(5, 3), layers.Conv2D(5, 3))
    a, b = (hk.binarize(model, IMAGES, repair=False, memory_limit=m) for m in (2**30, 0))
    for one, other in zip(a.get_weights(), b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("images", [32, 1])
def test_each_image_passes_each_layer_once_a_network(monkeypatch, images):
    calls = []
    original = layers.Conv2D.call

    def count(self, x):
        calls.append((self.name, x.shape[0] or 0))  # 0 while a graph is traced
        return original(self, x)

    depth = 6
    model = chain(*(layers.Conv2D(4, 3, padding="same", name=f"c{i}") for i in range(depth)))
    monkeypatch.setattr(layers.Conv2D, "call", count)
    data = IMAGES[:images]
    hk.binarize(model, data, repair=False)
    for i in range(depth):
        seen = sum(n for name, n in calls if name == f"c{i}")
        assert seen == (2 if i else 1) * images


def test_dead_channels_and_inputs_stay_harmless():
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3, name="target"))
    kernel, bias = model.get_layer("target").get_weights()
    kernel[..., 2] = 0
    model.get_layer("target").set_weights([kernel, bias])
    binary = hk.binarize(model, IMAGES, repair=False)
    assert 1.2e-7 < hk.codes(binary)["target"].scales[2] < 1e-5
    nothing = hk.binarize(model, np.zeros_like(IMAGES), repair=False)
    np.testing.assert_allclose(
        nothing.predict(IMAGES * 0, verbose=0), model.predict(IMAGES * 0, verbose=0), atol=1e-3
    )


def test_without_data_images_are_made_from_batch_norm(monkeypatch):
    monkeypatch.setattr(data_free, "STEPS", 40)
    monkeypatch.setattr(data_free, "IMAGES", data_free.BATCH)
    conv = {"padding": "same", "use_bias": False}
    model = chain(
        layers.Conv2D(6, 3, **conv),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(6, 3, name="target", **conv),
        layers.BatchNormalization(),
    )
    with pytest.warns(CalibrationWarning, match="batch-norm statistics"):
        binary = hk.binarize(model, repair=False)
    assert get_recipe(binary)["calibration"] == "synthetic"
    a, b = model.predict(IMAGES, verbose=0), binary.predict(IMAGES, verbose=0)
    assert np.square(a - b).mean() < 0.5 * a.var()


def test_without_data_or_batch_norm_there_is_noise():
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3, name="target"))
    with pytest.warns(CalibrationWarning, match="noise"):
        hk.binarize(model, repair=False)


def test_inputs_of_unknown_size_need_data():
    x = tf_keras.Input((None, None, 3))
    y = layers.Conv2D(4, 3)(layers.Conv2D(4, 3)(x))
    with (
        pytest.raises(HashBWNError, match="pass calibration_data"),
        warnings.catch_warnings(),
    ):
        hk.binarize(tf_keras.Model(x, y))


def test_bad_weights_methods_and_policies():
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3, name="target"))
    with pytest.raises(HashBWNError, match="'best'"):
        hk.binarize(model, IMAGES, method="best")
    kernel, bias = model.get_layer("target").get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.get_layer("target").set_weights([kernel, bias])
    with pytest.raises(HashBWNError, match=r"'target' has NaN"):
        hk.binarize(model, IMAGES)
    half = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3, name="half", dtype="mixed_float16"))
    with pytest.raises(HashBWNError, match="'half' computes in float16"):
        hk.binarize(half, IMAGES)


def test_an_interrupt_changes_nothing(monkeypatch):
    model = chain(layers.Conv2D(4, 3), layers.Conv2D(5, 3), layers.Conv2D(5, 3))
    before = model.get_weights()
    solve, calls = hashing.solve, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return solve(*args, **kwargs)

    monkeypatch.setattr(hashing, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        hk.binarize(model, IMAGES)
    for old, now in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)
