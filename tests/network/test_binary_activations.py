"""Layers whose input is binary as well: solved for it, trained, exported to LceBconv2d."""

import itertools

import larq as lq
import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras import export

L = tf_keras.layers


def gain(x, target, codes):
    """J of each row of ``codes`` [n, K]: how much of the target's variance they explain."""
    x, target = x - x.mean(0), target - target.mean()
    outputs = x @ codes.T
    return (target @ outputs) ** 2 / np.square(outputs).sum(0)


def test_codes_are_the_best_for_binarised_inputs():
    """Against all 2⁷ codes of each channel, on inputs whose signs tell another story."""
    rng = np.random.default_rng(4)
    mixing = rng.normal(size=(7, 7)) * np.geomspace(0.1, 10, 7)
    x = (rng.normal(size=(4096, 7)) @ mixing + rng.normal(size=7)).astype(np.float32)
    model = tf_keras.Sequential(
        [L.Input((7,)), lq.layers.QuantDense(5, input_quantizer="ste_sign", name="dense")]
    )
    binary = hk.binarize(model, x, filters=["dense"], repair=False)
    found = hk.codes(binary)["dense"].codes
    signs, target = np.where(x >= 0, 1.0, -1.0), model.predict(x, verbose=0).astype(np.float64)
    every = np.array(list(itertools.product((-1.0, 1.0), repeat=7)))
    raw_is_worse = False
    for channel in range(5):
        best = gain(signs, target[:, channel], every).max()
        assert gain(signs, target[:, channel], found[None, :, channel])[0] >= 0.999 * best
        from_raw = every[gain(x.astype(np.float64), target[:, channel], every).argmax()]
        raw_is_worse |= gain(signs, target[:, channel], from_raw[None])[0] < 0.99 * best
    assert raw_is_worse  # else the inputs do not tell the two apart


def binary_network(conv):
    x = image = tf_keras.Input((8, 8, 3))
    x = L.BatchNormalization()(L.Conv2D(32, 3, padding="same", name="first")(x))
    options = {"input_quantizer": "ste_sign", "padding": "same", "pad_values": 1.0}
    x = L.BatchNormalization()(conv(32, 3, use_bias=False, name="a", **options)(x))
    x = L.BatchNormalization()(conv(64, 3, use_bias=False, strides=2, name="b", **options)(x))
    return tf_keras.Model(image, L.Dense(4, name="last")(L.Flatten()(x)))


def test_binarised_trained_and_exported_to_lce():
    pytest.importorskip("larq_compute_engine")
    rng = np.random.default_rng(6)
    x = rng.normal(size=(256, 8, 8, 3)).astype(np.float32)
    y = np.stack([x[:, :4].mean((1, 2, 3)), x[..., 0].mean((1, 2))], 1).argmax(1)
    model = hk.binarize(binary_network(lq.layers.QuantConv2D), x, filters=["a", "b"], repair=False)
    assert all(isinstance(model.get_layer(n), hk.HashBinaryConv2D) for n in "ab")
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(3e-3), loss)
    before = hk.codes(model)
    losses = model.fit(x, y, batch_size=32, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    codes = hk.codes(model)
    assert all((codes[n].codes != before[n].codes).any() for n in "ab")

    content = export.to_lce(model)
    report = export.verify(model, content, x[:16])
    assert report.ok and report.relative_error <= 1e-4
    assert [r.name for r in report.runtimes if r.ran] == ["larq_compute_engine"]
    layers = {layer.name: layer for layer in export.inspect(content).layers}
    for name in "ab":
        assert (layers[name].operator, layers[name].storage) == ("LceBconv2d", "lce")
        scales = layers[name].scales / codes[name].scales
        assert np.ptp(scales) > 0 or scales[0] == 1  # α is there, times batch-norm's gain
