"""Codes of more than one bit: which layer gets how many, and what comes of it."""

from itertools import pairwise

import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer.lengths import Lengths
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.recipe import get_recipe

layers = tf_keras.layers
BY_NAME = {"head": 3, "^b$": "float", "stem|deep": 4, "": 2}


def network():
    x = tf_keras.Input((10, 10, 3))
    y = layers.Conv2D(12, 3, activation="relu", name="stem")(x)
    y = layers.Conv2D(16, 3, use_bias=False, name="a")(y)
    y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.DepthwiseConv2D(3, name="deep")(y)
    y = layers.Conv2D(32, 1, activation="relu", name="b")(y)
    y = layers.SeparableConv2D(20, 3, name="separable")(y)
    return tf_keras.Model(x, layers.Dense(4, name="head")(layers.Flatten()(y)))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(400, 10, 10, 3)).astype(np.float32)


def top(codes):
    return {name: int(np.abs(found.codes).max()) for name, found in codes.items()}


def test_one_number_is_for_all_layers_that_are_chosen(images):
    binary = hk.binarize(network(), images, bits=2, repair=False)
    assert top(hk.codes(binary)) == {"a": 3, "b": 3, "separable": 3}
    assert {solved["bits"] for solved in get_recipe(binary)["layers"].values()} == {2}


@pytest.mark.filterwarnings("ignore:Only 400 patches")
def test_expressions_choose_length_and_layer_and_the_first_that_fits_counts(images):
    binary = hk.binarize(network(), images, bits=BY_NAME, repair=False)
    assert top(hk.codes(binary)) == {"stem": 15, "a": 3, "deep": 15, "separable": 3, "head": 7}
    assert get_recipe(binary)["skipped"] == {"b": "float by bits"}


def test_layers_that_no_expression_fits_have_one_bit_if_they_are_chosen_at_all(images):
    binary = hk.binarize(network(), images, bits={"separable": 2}, repair=False)
    assert top(hk.codes(binary)) == {"a": 1, "b": 1, "separable": 3}


def test_filters_choose_alone_beside_bits(images):
    binary = hk.binarize(network(), images, filters=["a"], bits=3, repair=False)
    assert top(hk.codes(binary)) == {"a": 7}


@pytest.mark.parametrize(
    ("bits", "message"),
    [
        (5, "bits=5: a code has 1, 2, 3 or 4 bits"),
        ({"": "half"}, "bits='half': a code has 1, 2, 3 or 4 bits"),
        ({"(": 2}, "'\\(', which is no regular expression"),
        ({7: 2}, "7, which is no regular expression"),
    ],
)
def test_bad_bits_are_one_sentence(bits, message):
    with pytest.raises(HashBWNError, match=message):
        Lengths(bits)


def test_an_expression_that_fits_no_layer_is_refused_with_those_there_are(images):
    with pytest.raises(HashBWNError, match=r"'nix', which fits no layer .* stem, a, deep, b"):
        hk.binarize(network(), images, bits={"nix": 2})


def test_each_bit_more_lowers_the_error(images):
    model = network()
    wanted = model.predict(images, verbose=0)
    errors = []
    for bits in (1, 2, 3, 4):
        found = hk.binarize(model, images, bits=bits, repair=False).predict(images, verbose=0)
        errors.append(np.square(found - wanted).mean() / wanted.var())
    assert all(after < 0.75 * before for before, after in pairwise(errors))


def test_repair_and_saving_keep_levels_and_scales(images, tmp_path, monkeypatch):
    monkeypatch.setattr("hashbwn_keras.binarizer.repair.IMAGES_SEEN", 20 * 400)
    model = network()
    solved = hk.binarize(model, images, bits=3, repair=False)
    binary = hk.binarize(model, images, bits=3)
    wanted = model.predict(images, verbose=0)
    before, after = (
        np.square(m.predict(images, verbose=0) - wanted).mean() for m in (solved, binary)
    )
    assert after < before
    assert top(hk.codes(binary)) == {"a": 7, "b": 7, "separable": 7}
    hk.save_model(binary, tmp_path / "model.keras")
    loaded = hk.load_model(tmp_path / "model.keras")
    for name, (codes, scales) in hk.codes(binary).items():
        np.testing.assert_array_equal(hk.codes(loaded)[name].codes, codes)
        np.testing.assert_array_equal(hk.codes(loaded)[name].scales, scales)
    np.testing.assert_allclose(loaded.predict(images, verbose=0), binary.predict(images, verbose=0))


@pytest.mark.filterwarnings("ignore:Only 400 patches")
def test_hash_solve_solves_each_layer_at_its_own_bits(images):
    model = tf_keras.Sequential(
        [
            layers.Input((10, 10, 3)),
            hk.HashBinaryConv2D(12, 3, bits=2, name="two"),
            layers.BatchNormalization(),
            hk.HashBinaryConv2D(12, 3, name="one"),
            layers.Flatten(),
            hk.HashBinaryDense(3, bits=4, name="four"),
        ]
    )
    hk.HashSolve(images, repair=False).solve(model)
    assert top(hk.codes(model)) == {"two": 3, "one": 1, "four": 15}
    with pytest.raises(HashBWNError, match="bits=2 makes no sense here"):
        hk.HashSolve(images, bits=2)


def test_training_goes_on_from_longer_codes_without_a_jump(images):
    model = network()
    binary = hk.binarize(model, images, bits=2, repair=False)
    wanted = model.predict(images, verbose=0)
    binary.compile(tf_keras.optimizers.SGD(1e-9), "mse")
    before = binary.evaluate(images, wanted, verbose=0)
    binary.fit(images, wanted, batch_size=100, verbose=0)
    np.testing.assert_allclose(binary.evaluate(images, wanted, verbose=0), before, rtol=0.02)
    assert top(hk.codes(binary)) == {"a": 3, "b": 3, "separable": 3}
