"""Repair across layers."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer import repair
from hashbwn_keras.binarizer.latents import Latent
from hashbwn_keras.binarizer.misfit import Misfit
from hashbwn_keras.binarizer.paths import ends_of
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.saving import get_recipe

layers = tf_keras.layers
RNG = np.random.default_rng(6)
IMAGES = RNG.normal(size=(96, 8, 8, 3)).astype("f")

pytestmark = pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")


def residual_net(softmax: bool) -> tf_keras.Model:
    conv = {"padding": "same", "use_bias": False}
    x = tf_keras.Input((8, 8, 3))
    y = layers.ReLU(name="relu0")(layers.Conv2D(8, 3, **conv)(x))
    for block in range(2):
        z = layers.Conv2D(8, 3, name=f"a{block}", **conv)(y)
        z = layers.ReLU(name=f"mid{block}")(layers.BatchNormalization()(z))
        z = layers.BatchNormalization()(layers.Conv2D(8, 3, name=f"b{block}", **conv)(z))
        y = layers.ReLU(name=f"end{block}")(layers.Add()([y, z]))
    y = layers.Dense(5, activation="softmax" if softmax else None)(layers.Flatten()(y))
    model = tf_keras.Model(x, y)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
            model(IMAGES, training=True)
    return model


@pytest.mark.parametrize("softmax", [False, True])
def test_repair_lowers_the_error_of_unseen_images(monkeypatch, softmax):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 1536)
    model = residual_net(softmax)
    plain = hk.binarize(model, IMAGES, repair=False)
    mended = hk.binarize(model, IMAGES)
    outcome = get_recipe(mended)["repair"]
    assert outcome["kept"]
    assert outcome["error_after"] < outcome["error_before"]
    unseen = RNG.normal(size=(200, 8, 8, 3)).astype("f")
    network = Network.of(model)
    errors = [
        Misfit(network, network.twins_in(Network.of(m))).error([unseen]) for m in (plain, mended)
    ]
    assert errors[1] < errors[0]
    for kernel in hk.layers.binary_kernels(mended):
        assert (kernel.codes().scales > 1.2e-7).all()


def test_repair_that_does_not_help_is_undone(monkeypatch, caplog):
    monkeypatch.setattr(repair, "IMAGES_SEEN", 256)
    monkeypatch.setattr(repair, "RATE", 3.0)
    model = residual_net(False)
    plain = hk.binarize(model, IMAGES, repair=False)
    mended = hk.binarize(model, IMAGES)
    assert not get_recipe(mended)["repair"]["kept"]
    assert "undone" in caplog.text
    for a, b in zip(plain.get_weights(), mended.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_taps_are_where_binarised_layers_end():
    model = residual_net(False)
    network = Network.of(model)
    taps = ends_of(network, {model.get_layer(name) for name in ("a0", "b0", "a1", "b1")})
    assert [network.makers[key].name for key in taps] == ["mid0", "end0", "mid1", "end1"]


def test_latents_move_scales_and_signs():
    layer = hk.HashBinaryConv2D(3, 2)
    layer.build((None, 4, 4, 2))
    (kernel,) = hk.layers.binary_kernels(layer)
    before = kernel.codes()
    latent = Latent(kernel)
    latent.write()
    np.testing.assert_array_equal(kernel.codes().codes, before.codes)
    np.testing.assert_allclose(kernel.codes().scales, before.scales, rtol=1e-6)
    latent.relative.assign(-latent.relative)
    latent.log_scale.assign_add(np.full(latent.log_scale.shape, np.log(2), "f"))
    latent.write()
    np.testing.assert_array_equal(kernel.codes().codes, -before.codes)
    np.testing.assert_allclose(kernel.codes().scales, 2 * before.scales, rtol=1e-6)


def test_latents_beyond_the_limit_are_only_pulled_back():
    layer = hk.HashBinaryDense(1)
    layer.build((None, 4))
    layer.kernel.assign([[1.0], [3.0], [-3.0], [-0.5]])
    (kernel,) = hk.layers.binary_kernels(layer)
    latent = Latent(kernel)  # relative: 0.53, 1.6, −1.6, −0.27
    outward, _ = latent.gradients(tf.constant([[-1.0], [-1.0], [1.0], [1.0]]))
    inward, _ = latent.gradients(tf.constant([[1.0], [1.0], [-1.0], [-1.0]]))
    np.testing.assert_array_equal(np.sign(outward)[:, 0], [-1, 0, 0, 1])
    np.testing.assert_array_equal(np.sign(inward)[:, 0], [1, 1, -1, -1])
