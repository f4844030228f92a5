import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from hypothesis import given, settings, strategies as st

from hashbwn_keras.network.quantizers import HashSign, Unclipped, hash_sign

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


@pytest.mark.parametrize(("shape", "axes"), SHAPES)
def test_is_idempotent_on_latent_kernels(shape, axes):
    once = hash_sign(np.random.normal(size=shape).astype(np.float32), axes)
    np.testing.assert_array_equal(hash_sign(once, axes), once)


def test_zero_counts_as_plus_one_and_a_dead_channel_stays_zero():
    kernel = np.array([[0.0, 0.0], [-0.0, 0.0], [-3.0, 0.0]], np.float32)
    np.testing.assert_array_equal(hash_sign(kernel), [[1, 0], [1, 0], [-1, 0]])


def test_not_a_number_is_not_hidden():
    assert np.isnan(hash_sign(np.array([[1.0], [np.nan]], np.float32))).all()


@pytest.mark.parametrize("function_graph", [False, True])
def test_gradient_is_the_identity(function_graph):
    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(HashSign()(kernel) * upstream)
        return tape.gradient(loss, kernel)

    kernel = tf.Variable(np.random.normal(size=(5, 3)).astype(np.float32) * 10)
    upstream = tf.constant(np.random.normal(size=(5, 3)).astype(np.float32))
    gradient = tf.function(gradient) if function_graph else gradient
    np.testing.assert_array_equal(gradient(), upstream)


@pytest.mark.parametrize("axes", [None, (0, 1)])
def test_config_round_trip(axes):
    quantizer = HashSign(axes=axes)
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
