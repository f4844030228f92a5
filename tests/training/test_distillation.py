"""Distillation and the step sizes of further training."""

import warnings

import awkward
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras import training
from hashbwn_keras.errors import CalibrationWarning


@pytest.fixture(scope="module")
def pair():
    """A small float network that gives logits, its binary form, and images."""
    tf_keras.utils.set_random_seed(3)
    layers = tf_keras.layers
    model = tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, input_shape=(8, 8, 3), activation="relu"),
            layers.Conv2D(8, 3, use_bias=False, name="inner"),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    images = np.random.default_rng(0).normal(size=(64, 8, 8, 3)).astype(np.float32)
    last = model.layers[-1]
    last.set_weights([5 * w for w in last.get_weights()])
    for _ in range(20):
        model(images, training=True)  # statistics that fit the images
    return model, images


def _binary(pair):
    model, images = pair
    return hk.binarize(model, images, filters=["inner"], repair=False)


def _softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_the_loss_is_the_formula(pair):
    model, images = pair
    binary = _binary(pair)
    p, q = (_softmax(m.predict(images, verbose=0).astype(np.float64) / 3) for m in (model, binary))
    wanted = 9 * (p * np.log(p / q)).sum(axis=-1).mean()
    trainer = hk.distil(binary, model, temperature=3)
    trainer.compile()
    assert trainer.evaluate(images, batch_size=64, verbose=0) == pytest.approx(wanted, rel=1e-4)


def test_training_lowers_the_loss_and_leaves_the_teacher_alone(pair):
    model, images = pair
    binary = _binary(pair)
    trainer = hk.distil(binary, model)
    trainer.compile(training.adam(40, 1e-2))
    teacher = [w.copy() for w in model.get_weights()]
    before = trainer.evaluate(images, verbose=0)
    trainer.fit(images, epochs=40, batch_size=64, verbose=0)
    assert trainer.evaluate(images, verbose=0) < 0.7 * before
    assert all(np.array_equal(a, b) for a, b in zip(teacher, model.get_weights(), strict=True))
    assert model.trainable and len(model.trainable_weights) == 7


def test_the_student_is_what_is_trained(pair):
    model, images = pair
    binary = _binary(pair)
    start = binary.predict(images, verbose=0)
    trainer = hk.distil(binary, model)
    assert np.array_equal(trainer.predict(images, verbose=0), start)
    trainer.compile(training.adam(4, 1e-2))
    trainer.fit(images, batch_size=16, verbose=0)
    assert not np.allclose(binary.predict(images, verbose=0), start)
    assert np.array_equal(trainer.predict(images, verbose=0), binary.predict(images, verbose=0))
    for kernel in hk.codes(binary).values():
        assert set(np.unique(kernel.codes)) == {-1, 1}
    assert len(binary.weights) == len(model.weights)


def test_labels_are_added_where_given(pair):
    model, images = pair
    binary = _binary(pair)
    labels = np.arange(64) % 4
    trainer = hk.distil(binary, model)
    trainer.compile(
        training.adam(2),
        loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    with_labels, accuracy = trainer.evaluate(images, labels, verbose=0)
    trainer.compile()
    alone = trainer.evaluate(images, verbose=0)
    logits = binary.predict(images, verbose=0)
    assert accuracy == pytest.approx((logits.argmax(axis=-1) == labels).mean())
    cross = -np.log(_softmax(logits)[np.arange(64), labels]).mean()
    assert with_labels == pytest.approx(alone + cross, rel=1e-4)


def test_probabilities_count_as_their_logits(pair):
    model, images = pair
    softmax = tf_keras.layers.Softmax()
    probabilities = tf_keras.Sequential([*model.layers, softmax])
    binary = _binary(pair)
    of_binary = tf_keras.Model(binary.inputs, softmax(binary.output))
    a, b = hk.distil(binary, model), hk.distil(of_binary, probabilities)
    losses = []
    for trainer in (a, b):
        trainer.compile()
        losses.append(trainer.evaluate(images, verbose=0))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_outputs_without_a_distance_have_no_loss(pair):
    model, images = pair
    binary = _binary(pair)

    def with_classes(network, *others):
        classes = tf.argmax(network.output, -1)
        return tf_keras.Model(network.input, [network.output, classes, *others])

    several, plain = (
        hk.distil(with_classes(binary, binary.input), with_classes(model, model.input)),
        hk.distil(binary, model),
    )
    for trainer in (several, plain):
        trainer.compile()
    losses = [trainer.evaluate(images, verbose=0) for trainer in (several, plain)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_network_that_gives_class_numbers_alone_is_cut_before_them(pair):
    model, _ = pair
    binary = _binary(pair)
    numbers = [tf_keras.Model(m.input, tf.argmax(m.output, -1)) for m in (binary, model)]
    with pytest.raises(hk.HashBWNError, match=r"tf_keras.Model\(model.inputs, logits\)"):
        hk.distil(*numbers)
    cut = [tf_keras.Model(m.inputs, m.layers[-1].input) for m in numbers]
    assert hk.distil(*cut).losses


def test_an_awkward_network_can_be_trained():
    model = awkward.float_model()
    images = awkward.inputs(8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        binary = hk.binarize(model, images, repair=False)
    before = {name: kernel.codes.copy() for name, kernel in hk.codes(binary).items()}
    trainer = hk.distil(binary, model)
    trainer.compile(training.adam(8, 3e-2))
    trainer.fit(images, epochs=8, batch_size=8, verbose=0)
    after = hk.codes(binary)
    assert any((before[name] != after[name].codes).any() for name in before)
    assert all(np.isfinite(w).all() for w in binary.get_weights())


def test_bad_arguments_are_named(pair):
    model, _ = pair
    binary = _binary(pair)
    with pytest.raises(hk.HashBWNError, match="temperature is 0"):
        hk.distil(binary, model, temperature=0)
    other = tf_keras.Sequential([tf_keras.layers.Dense(4, input_shape=(3,))])
    with pytest.raises(hk.HashBWNError, match="inputs"):
        hk.distil(binary, other)
    with pytest.raises(hk.HashBWNError, match="steps=0"):
        training.adam(0)
    with pytest.raises(hk.HashBWNError, match="rate=-1"):
        training.adam(5, -1)


def test_the_step_size_rises_and_falls_to_nothing():
    schedule = training.adam(100, 1e-3).learning_rate
    optimizer = training.adam(100, 1e-3)
    rates = [float(optimizer._learning_rate(step)) for step in range(101)]
    assert float(schedule) == rates[0] == 0
    assert max(rates) == pytest.approx(1e-3) and rates.index(max(rates)) == 5
    assert rates[100] == pytest.approx(0, abs=1e-9)
    assert rates[5:] == sorted(rates[5:], reverse=True)


def _built_binary(model, images):
    """The float model's weights in a network built of HashBinary layers."""
    layers = tf_keras.layers
    binary = tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, input_shape=(8, 8, 3), activation="relu"),
            hk.HashBinaryConv2D(8, 3, use_bias=False, name="inner"),
            layers.BatchNormalization(momentum=0.5),
            layers.ReLU(),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    binary.set_weights(model.get_weights())
    return binary


def test_fit_starts_from_what_binarize_finds(pair):
    model, images = pair
    wanted = hk.binarize(model, images, filters=["inner"], repair=False, seed=5)
    binary = _built_binary(model, images)
    binary.layers[2].trainable = False  # so that its statistics stay those of the solve
    binary.compile(tf_keras.optimizers.Adam(0.0), loss="mse")
    solve = hk.HashSolve(images, repair=False, seed=5)
    binary.fit(images, np.zeros((64, 4)), verbose=0, callbacks=[solve])
    found, expected = hk.codes(binary)["inner"], hk.codes(wanted)["inner"]
    assert np.array_equal(found.codes, expected.codes)
    np.testing.assert_allclose(found.scales, expected.scales, rtol=1e-6)
    np.testing.assert_allclose(
        binary.predict(images, verbose=0), wanted.predict(images, verbose=0), atol=1e-5
    )


def test_a_solved_or_trained_model_is_not_solved_again(pair):
    _, images = pair
    for make in (_binary, lambda pair: _built_binary(*pair)):
        binary = make(pair)
        binary.compile(tf_keras.optimizers.Adam(0.0), loss="mse")
        if make is not _binary:
            binary.fit(images, np.zeros((64, 4)), verbose=0)  # without a solve
        before = hk.codes(binary)["inner"].codes
        binary.fit(images, np.zeros((64, 4)), verbose=0, callbacks=[hk.HashSolve(images)])
        assert np.array_equal(hk.codes(binary)["inner"].codes, before)


def test_a_custom_loop_solves_first(pair):
    model, images = pair
    binary = _built_binary(model, images)
    hk.HashSolve(images, repair=False).solve(binary)
    solved = hk.codes(binary)["inner"].codes.copy()
    assert (solved != np.sign(model.layers[1].get_weights()[0])).any()
    optimizer = training.adam(20, 1e-2)

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(binary(x, training=True)))
        gradients = tape.gradient(loss, binary.trainable_variables)
        optimizer.apply_gradients(zip(gradients, binary.trainable_variables, strict=True))
        return loss

    first = float(step(images))
    for _ in range(19):
        last = float(step(images))
    assert last < first
    assert (hk.codes(binary)["inner"].codes != solved).any()


def test_a_mean_that_goes_nowhere_is_refused(pair):
    _, images = pair
    layers = tf_keras.layers
    binary = tf_keras.Sequential(
        [
            layers.Conv2D(6, 3, input_shape=(8, 8, 3), activation="relu"),
            hk.HashBinaryConv2D(8, 3, use_bias=False, name="inner", activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4),
        ]
    )
    before = binary.get_weights()
    with pytest.raises(hk.HashBWNError, match="'inner' has neither a bias"):
        hk.HashSolve(images, repair=False).solve(binary)
    assert all(np.array_equal(a, b) for a, b in zip(before, binary.get_weights(), strict=True))
    hk.HashSolve(images, repair=False, centred=False).solve(binary)


def test_there_must_be_something_to_solve(pair):
    model, images = pair
    with pytest.raises(hk.HashBWNError, match="no HashBinary layer"):
        hk.HashSolve(images).solve(model)
    with pytest.raises(hk.HashBWNError, match="filters="):
        hk.HashSolve(images, filters="inner")
