"""HashBinary layers under whatever Larq's users train with."""

from itertools import pairwise

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk

L = tf_keras.layers
legacy = tf_keras.optimizers.legacy


def network(**arguments):
    return tf_keras.Sequential(
        [
            L.Input((6, 6, 2)),
            hk.HashBinaryConv2D(4, 3, name="conv", **arguments),
            L.BatchNormalization(),
            L.ReLU(),
            L.Flatten(),
            hk.HashBinaryDense(1, name="dense", **arguments),
        ]
    )


def fit(model, optimizer, epochs=6):
    """Train in a graph on a task that codes can learn; the first and the last loss."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(128, 6, 6, 2)).astype(np.float32)
    y = x.mean((1, 2)) @ np.array([[3.0], [-3.0]], np.float32)
    model.compile(optimizer, "mse")
    losses = model.fit(x, y, batch_size=16, epochs=epochs, verbose=0, shuffle=False)
    return losses.history["loss"][0], losses.history["loss"][-1]


def binary_and_float():
    """Larq's split of the variables, by its own test for those of binary kernels."""
    return lq.optimizers.CaseOptimizer(
        (lq.optimizers.Bop.is_binary_variable, legacy.Adam(0.01)),
        default_optimizer=legacy.SGD(0.02),
    )


OPTIMIZERS = {
    "sgd": lambda: tf_keras.optimizers.SGD(0.02),
    "momentum": lambda: tf_keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: tf_keras.optimizers.Adam(0.01),
    "adamw": lambda: tf_keras.optimizers.AdamW(0.01),
    "legacy adam": lambda: legacy.Adam(0.01),
    "case": binary_and_float,
}


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_longer_codes_train(bits):
    before, after = fit(network(bits=bits), tf_keras.optimizers.Adam(0.01))
    assert after < 0.7 * before


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer(name):
    model = network()
    before = hk.codes(model)
    first, last = fit(model, OPTIMIZERS[name]())
    assert last < 0.8 * first
    after = hk.codes(model)
    assert any((before[k].codes != after[k].codes).any() for k in before)


@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_regularizer": "l2"},
        {"kernel_constraint": lq.constraints.WeightClip(0.05)},
        {"kernel_constraint": "unit_norm"},
    ],
    ids=["l2", "weight_clip", "unit_norm"],
)
def test_regularizers_and_constraints_act_on_the_latent_kernel(arguments):
    model, plain = network(**arguments), network()
    plain.set_weights(model.get_weights())
    for each in (model, plain):
        assert np.isfinite(fit(each, tf_keras.optimizers.Adam(0.01), epochs=2)).all()
    kernel, free = (m.get_layer("conv").kernel.numpy() for m in (model, plain))
    assert not np.array_equal(kernel, free)
    if isinstance(arguments.get("kernel_constraint"), lq.constraints.WeightClip):
        assert np.abs(kernel).max() == np.float32(0.05) < np.abs(free).max()
    if "kernel_regularizer" in arguments:
        with lq.context.quantized_scope(False):
            expected = sum(0.01 * np.square(layer.kernel.numpy()).sum() for layer in (
                model.get_layer("conv"), model.get_layer("dense")
            ))  # fmt: skip
        assert sum(map(float, model.losses)) == pytest.approx(expected, rel=1e-5)


def test_larqs_flip_ratio_counts_codes():
    with lq.context.metrics_scope(["flip_ratio"]):
        model = network()
    shapes = [weight.shape for weight in model.weights]
    assert shapes == [weight.shape for weight in network().weights]
    x = np.random.default_rng(2).normal(size=(4, 6, 6, 2))
    model.compile(legacy.SGD(5.0), "mse")
    name = f"flip_ratio/{model.get_layer('conv').kernel_quantizer.name}"
    shares, codes = [], [hk.codes(model)["conv"].codes]
    for _ in range(3):  # the kernel is read before each step, and compared from the second on
        logs = model.train_on_batch(x, np.zeros((4, 1)), reset_metrics=False, return_dict=True)
        shares.append(float(logs[name]))
        codes.append(hk.codes(model)["conv"].codes)
    changed = [np.mean(a != b) for a, b in pairwise(codes)]
    assert shares == pytest.approx([0, changed[0], np.mean(changed[:2])], abs=1e-6)
    assert changed[0] > 0


def test_a_custom_loop_in_a_graph():
    model, optimizer = network(), tf_keras.optimizers.Adam(0.01)
    x = tf.random.normal((16, 6, 6, 2))

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(x, training=True) - 3.0))
        weights = model.trainable_weights
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
        return loss

    losses = [float(step()) for _ in range(30)]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize(
    "make",
    [
        lambda **a: hk.HashBinaryConv2D(2, 3, **a),
        lambda **a: hk.HashBinaryDense(2, **a),
        lambda **a: hk.HashBinaryDepthwiseConv2D(3, **a),
        lambda **a: hk.HashBinarySeparableConv2D(2, 3, **a),
    ],
    ids=["conv", "dense", "depthwise", "separable"],
)
def test_mixed_precision_is_refused(policy, make):
    before = tf_keras.mixed_precision.global_policy()
    try:
        tf_keras.mixed_precision.set_global_policy(policy)
        with pytest.raises(hk.HashBWNError, match=f"policy '{policy}'.*dtype=\"float32\""):
            make()
        assert make(dtype="float32").compute_dtype == "float32"
    finally:
        tf_keras.mixed_precision.set_global_policy(before)
