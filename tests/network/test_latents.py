"""Latent kernels carry given codes and scales, and nothing jumps when training goes on."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from hashbwn_keras.network.latents import NEAR_EDGE, latent_kernel
from hashbwn_keras.network.quantizers import hash_levels, hash_scale, hash_sign, top_level


@settings(deadline=None, max_examples=80)
@given(
    bits=st.integers(1, 4),
    rows=st.integers(1, 60),
    exponent=st.integers(-20, 10),
    most=st.integers(0, 7),
    seed=st.integers(0, 99),
)
def test_codes_and_scales_come_back(bits, rows, exponent, most, seed):
    """Whatever the levels: also channels of one level alone, and float weights far from them."""
    random = np.random.default_rng(seed)
    odd = np.arange(1, min(2 * most + 1, top_level(bits)) + 1, 2)
    levels = random.choice(np.concatenate([odd, -odd]), size=(rows, 3)).astype(np.int8)
    scales = (2.0**exponent * random.uniform(0.5, 2, size=(1, 3))).astype(np.float32)
    kernel = random.normal(size=levels.shape) * scales * random.uniform(0.1, 10)
    latent = tf.constant(latent_kernel(levels, scales, kernel, (0,), bits))
    product = hash_sign(latent, (0,), bits).numpy()
    np.testing.assert_allclose(product, levels * scales, rtol=2e-6)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_small_step_of_training_changes_little(bits):
    random = np.random.default_rng(bits)
    kernel = random.normal(size=(300, 8)).astype(np.float32)
    levels = hash_levels(tf.constant(kernel), (0,), bits).numpy()
    scales = 1.07 * hash_scale(tf.constant(kernel), (0,), bits).numpy()
    latent = latent_kernel(levels, scales, kernel, (0,), bits)
    moved = latent + 1e-3 * scales * random.normal(size=latent.shape).astype(np.float32)
    after = hash_scale(tf.constant(moved), (0,), bits).numpy()
    np.testing.assert_allclose(after, scales, rtol=1e-3)
    same = hash_levels(tf.constant(moved), (0,), bits).numpy() == levels
    assert same.mean() > 0.99


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_weights_at_the_edge_of_their_cell_stay_nearest_to_it(bits):
    random = np.random.default_rng(bits)
    kernel = random.normal(size=(300, 1))
    levels = hash_levels(tf.constant(kernel, tf.float32), (0,), bits).numpy()
    scales = hash_scale(tf.constant(kernel, tf.float32), (0,), bits).numpy()
    latent = latent_kernel(levels, scales, kernel, (0,), bits)
    inner = np.abs(levels) < top_level(bits)
    wanted, found = (np.abs(w) / scales - np.abs(levels) for w in (kernel, latent))
    assert (np.abs(found[inner]) <= NEAR_EDGE + 1e-5).all()
    assert np.corrcoef(wanted[inner], found[inner])[0, 1] > 0.9


def test_one_bit_keeps_the_proportions_of_the_float_weights():
    kernel = np.array([[1.0], [-2.0], [3.0]])
    latent = latent_kernel(np.array([[1], [1], [-1]]), np.array([[0.5]]), kernel, (0,), 1)
    np.testing.assert_allclose(latent, [[0.25], [0.5], [-0.75]])
