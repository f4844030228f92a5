import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings, strategies as st

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.quantizers import (
    SHARE,
    HashSign,
    Unclipped,
    hash_levels,
    hash_scale,
    hash_sign,
)

SHAPES = [((3, 3, 5, 7), None), ((11, 4), None), ((3, 3, 6, 2), (0, 1))]


def reference(kernel, axes):
    axes = tuple(range(kernel.ndim - 1)) if axes is None else axes
    scale = np.abs(kernel.astype(np.float64)).mean(axes, keepdims=True)
    return np.where(kernel >= 0, scale, -scale)


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_is_sign_times_mean_magnitude(shape, axes):
    kernel = np.random.normal(size=shape).astype(np.float32)
    np.testing.assert_allclose(hash_sign(kernel, axes), reference(kernel, axes), rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    # float32's normal numbers; TensorFlow's CPU kernels flush the smaller ones to zero.
    exponent=st.integers(-125, 126),
    mantissa=st.floats(1, 2, exclude_max=True, width=32),
    rows=st.integers(1, 70),
    signs=st.sampled_from(["mixed", "negative", "positive"]),
    half=st.booleans(),
)
def test_two_valued_kernels_come_back_bit_for_bit(exponent, mantissa, rows, signs, half):
    exponent = max(-13, min(exponent, 13)) if half else exponent
    scales = np.float32(mantissa) * np.float32(2.0) ** np.arange(exponent - 1, exponent + 2)
    scales = scales.astype(np.float16).astype(np.float32) if half else scales.astype(np.float32)
    codes = {
        "mixed": np.random.default_rng(rows).choice([-1, 1], size=(3, rows, 3)),
        "negative": -np.ones((3, rows, 3)),
        "positive": np.ones((3, rows, 3)),
    }[signs].astype(np.float32)
    kernel = codes * scales
    np.testing.assert_array_equal(hash_sign(kernel).numpy(), kernel)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_keeps_the_dtype_and_does_not_overflow(dtype):
    kernel = tf.cast(tf.fill([4096, 2], 60.0), dtype)
    result = hash_sign(kernel)
    assert result.dtype == kernel.dtype
    np.testing.assert_array_equal(result.numpy(), kernel.numpy())


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_is_idempotent_on_latent_kernels(shape, axes, bits):
    once = hash_sign(np.random.normal(size=shape).astype(np.float32), axes, bits)
    np.testing.assert_array_equal(hash_sign(once, axes, bits), once)


@settings(deadline=None, max_examples=60)
@given(
    bits=st.integers(2, 4),
    exponent=st.integers(-100, 100),
    mantissa=st.floats(1, 2, exclude_max=True, width=32),
    rows=st.integers(1, 70),
    smallest=st.integers(0, 7),
    dtype=st.sampled_from(["float32", "float16", "bfloat16", "float64"]),
)
def test_levels_times_a_scale_come_back_bit_for_bit(
    bits, exponent, mantissa, rows, smallest, dtype
):
    """Also where a channel uses only the larger levels, as long as its own α can be told."""
    exponent = max(-8, min(exponent, 8)) if dtype == "float16" else exponent
    digits = {"float16": 11, "bfloat16": 8}.get(dtype, 24) - bits
    scale = np.float32(np.round(mantissa * 2.0 ** (digits - 1)) * 2.0 ** (exponent - digits + 1))
    odd = np.arange(2 * min(smallest, 2 ** (bits - 1) - 1) + 1, 2**bits, 2)
    levels = np.random.default_rng(rows).choice(np.concatenate([odd, -odd]), size=(rows, 3))
    kernel = tf.cast(tf.constant(levels * scale, tf.float64), dtype)
    np.testing.assert_array_equal(hash_sign(kernel, bits=bits), kernel)


@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_longer_codes_are_the_nearest_odd_levels(shape, axes, bits):
    kernel = np.random.normal(size=shape).astype(np.float32)
    axes = tuple(range(kernel.ndim - 1)) if axes is None else axes
    scale = SHARE[bits] * np.abs(kernel).mean(axes, keepdims=True)
    np.testing.assert_allclose(hash_scale(tf.constant(kernel), axes, bits), scale, rtol=1e-6)
    odd = np.arange(1 - 2**bits, 2**bits, 2)
    nearest = odd[np.abs(kernel[..., None] - scale[..., None] * odd).argmin(-1)]
    np.testing.assert_array_equal(hash_levels(tf.constant(kernel), axes, bits), nearest)
    np.testing.assert_allclose(hash_sign(kernel, axes, bits), nearest * scale, rtol=1e-6)


def test_more_bits_are_closer_to_a_gaussian_kernel():
    kernel = np.random.normal(size=(4096, 4)).astype(np.float32)
    errors = [np.square(kernel - hash_sign(kernel, bits=bits)).mean() for bits in SHARE]
    # Max's distortions of the uniform quantizer with 2, 4, 8 and 16 levels.
    np.testing.assert_allclose(errors, [0.3634, 0.1188, 0.03744, 0.01154], rtol=0.1)


@pytest.mark.parametrize("bits", [0, 5, 1.5, True, "2", None, [2]])
def test_other_lengths_of_code_are_refused(bits):
    with pytest.raises(HashBWNError, match=r"bits=.*: a code has 1, 2, 3 or 4 bits a weight\.$"):
        HashSign(bits=bits)


def test_zero_counts_as_plus_one_and_a_dead_channel_stays_zero():
    kernel = np.array([[0.0, 0.0], [-0.0, 0.0], [-3.0, 0.0]], np.float32)
    np.testing.assert_array_equal(hash_sign(kernel), [[1, 0], [1, 0], [-1, 0]])
    longer = hash_sign(kernel, bits=2).numpy()
    assert longer[0, 0] == longer[1, 0] > 0 and longer[2, 0] == -3 * longer[0, 0]
    np.testing.assert_array_equal(longer[:, 1], 0)


@pytest.mark.parametrize("bits", [1, 3])
def test_not_a_number_is_not_hidden(bits):
    assert np.isnan(hash_sign(np.array([[1.0], [np.nan]], np.float32), bits=bits)).all()


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("function_graph", [False, True])
def test_gradient_is_the_identity(function_graph, bits):
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(HashSign(bits=bits)(kernel) * upstream)
        return tape.gradient(loss, kernel)

    kernel = tf.Variable(np.random.normal(size=(5, 3)).astype(np.float32) * 10)
    upstream = tf.constant(np.random.normal(size=(5, 3)).astype(np.float32))
    gradient = tf.function(gradient) if function_graph else gradient
    np.testing.assert_array_equal(gradient(), upstream)


@pytest.mark.parametrize("bits", [1, 3])
@pytest.mark.parametrize("axes", [None, (0, 1)])
def test_config_round_trip(axes, bits):
    quantizer = HashSign(axes=axes, bits=bits)
    assert quantizer.precision == bits
    again = lq.quantizers.get(lq.quantizers.serialize(quantizer))
    assert isinstance(again, HashSign)
    assert again.axes == axes
    assert again.get_config() == quantizer.get_config()


def test_follows_larqs_protocol():
    quantizer = lq.quantizers.get("hash_sign")
    assert isinstance(quantizer, HashSign)
    assert isinstance(quantizer, lq.quantizers.Quantizer)
    assert quantizer.precision == 1
    assert tf_keras.utils.get_registered_object("hashbwn_keras>HashSign") is HashSign
    quantizer(tf.ones((3, 3)))
    assert quantizer.weights == []
    assert quantizer.compute_output_shape((3, 4)) == (3, 4)


def test_unclipped_changes_nothing_and_round_trips():
    weights = tf.constant([-50.0, 1e-9, 50.0])
    constraint = tf_keras.constraints.get(tf_keras.constraints.serialize(Unclipped()))
    assert isinstance(constraint, Unclipped)
    np.testing.assert_array_equal(constraint(weights), weights)
