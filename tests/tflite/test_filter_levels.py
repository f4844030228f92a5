"""Filters taken apart into odd levels times one α per channel."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from hashbwn_keras.tflite import levels


def filter_of(bits, channels=5, weights=64, seed=0):
    """Codes with every level in each channel, and α that their multiples are exact of."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 2**bits, (channels, weights)) * 2 - (2**bits - 1)
    codes[:, :2] = 2**bits - 1, 1
    scales = rng.uniform(0.01, 1, channels).astype(np.float32)
    return codes.astype(np.int8), (scales.view(np.int32) & -256).view(np.float32)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize("axis", [0, 1])
def test_codes_and_scales_come_back_bit_for_bit(bits, axis):
    codes, scales = filter_of(bits)
    values = np.moveaxis(codes * scales[:, None], 0, axis)
    found = levels.split(values, axis)
    assert found.codes.dtype == np.int8 and found.scales.dtype == np.float32
    np.testing.assert_array_equal(found.codes, np.moveaxis(codes, 0, axis))
    np.testing.assert_array_equal(found.scales, scales)
    assert levels.bits_of(found.codes) == bits


@hypothesis.settings(deadline=None, max_examples=50, derandomize=True)
@hypothesis.given(st.integers(1, 4), st.integers(0, 10**6), st.floats(0.1, 10))
def test_a_folded_factor_leaves_the_codes(bits, seed, factor):
    codes, scales = filter_of(bits, seed=seed)
    values = codes * scales[:, None] * np.float32(factor)
    found = levels.split(values, 0)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_allclose(found.codes * found.scales[:, None], values, rtol=1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_levels_that_a_converter_rounded_to_int8_come_back(bits):
    codes, scales = filter_of(bits)
    steps = scales * (2**bits - 1) / 127
    integers = np.rint(codes * scales[:, None] / steps[:, None]).astype(np.int16)
    found = levels.split_integers(integers, 0)
    np.testing.assert_array_equal(found.codes, codes)
    np.testing.assert_allclose(found.scales * steps, scales, rtol=1e-6)


def test_a_common_divisor_goes_into_the_scale():
    found = levels.split(np.array([[9.0, -3.0, 3.0], [5.0, 5.0, -5.0]]), 0)
    assert found.codes.tolist() == [[3, -1, 1], [1, 1, -1]]
    assert found.scales.tolist() == [3.0, 5.0]


def test_a_channel_of_zeros_has_scale_zero():
    found = levels.split(np.array([[0.0, 0.0], [3.0, -1.0]]), 0)
    assert found.scales.tolist() == [0.0, 1.0] and found.codes[0].tolist() == [1, 1]


@pytest.mark.parametrize(
    "values",
    [
        [[1.0, 2.0, 1.0]],  # an even level
        [[1.0, 17.0, 1.0]],  # five bits
        [[1.0, 0.0, 1.0]],
        [[1.0, np.nan, 1.0]],
        [[0.0, 0.0, 0.0]],
        [[1.0, 1.0001, 1.0]],
        [[1.0, 1.0000001, 1.0]],  # two values are told apart bit for bit
        [[1.0, 3.0, 3.0001]],
        np.zeros((2, 0)),
    ],
)
def test_other_filters_are_none(values):
    assert levels.split(np.array(values, np.float32), 0) is None


def test_random_filters_are_none():
    rng = np.random.default_rng(0)
    for weights in (9, 25, 100):
        assert levels.split(rng.normal(size=(8, weights)).astype(np.float32), 0) is None
        integers = rng.integers(1, 128, (8, weights)).astype(np.int16)
        assert levels.split_integers(integers, 0) is None
