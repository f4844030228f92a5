"""Streamed moments against brute force in float64, for every geometry a layer can have."""

import larq as lq
import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.solver import moments
from hashbwn_keras.solver.hashing import solve
from hashbwn_keras.solver.moments import Moments
from hashbwn_keras.solver.positions import sampled_positions

layers = tf_keras.layers
ALL = 10**6  # more patches than there are positions: every one is taken


def built(layer, *shape):
    layer.build((None, *shape))
    return layer


def random_images(*shape, seed=0, offset=0.0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32) + offset


def outputs(layer, x):
    """What the layer computes, also for channels_first, which TensorFlow on a CPU cannot."""
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        config = layer.get_config() | {"data_format": "channels_last"}
        twin = built(type(layer).from_config(config), *np.moveaxis(x, 1, -1).shape[1:])
        twin.set_weights(layer.get_weights())
        return np.moveaxis(twin(np.moveaxis(x, 1, -1)).numpy(), -1, 1)
    return layer(x).numpy()


def statistics(layer, x, s, batch=3, centred=True, **options):
    total = Moments(patch_geometry(layer), len(x), **{"patches": ALL, **options})
    for start in range(0, len(x), batch):
        total.update(x[start : start + batch], s[start : start + batch])
    return total.statistics(centred)


CONVOLUTIONS = {
    "plain": (layers.Conv2D(6, 3), (9, 8, 4)),
    "same": (layers.Conv2D(5, 3, padding="same"), (7, 6, 4)),
    "strided": (layers.Conv2D(5, 3, strides=2, padding="same"), (8, 7, 4)),
    "uneven": (layers.Conv2D(5, (2, 3), strides=(1, 2), padding="same"), (7, 8, 3)),
    "even kernel": (layers.Conv2D(5, 4, strides=3, padding="same"), (10, 9, 2)),
    "stride beyond kernel": (layers.Conv2D(4, 1, strides=3), (8, 8, 4)),
    "dilated": (layers.Conv2D(5, 3, dilation_rate=2, padding="same"), (9, 9, 3)),
    "dilated valid": (layers.Conv2D(5, 3, dilation_rate=(2, 1)), (9, 9, 3)),
    "grouped": (layers.Conv2D(6, 3, groups=2, padding="same"), (7, 7, 4)),
    "pointwise": (layers.Conv2D(7, 1), (5, 5, 6)),
    "channels first": (layers.Conv2D(5, 3, strides=2, data_format="channels_first"), (4, 9, 8)),
    "grouped, first": (
        layers.Conv2D(6, 3, groups=3, padding="same", data_format="channels_first"),
        (6, 7, 8),
    ),
    "depthwise": (layers.DepthwiseConv2D(3, padding="same"), (7, 8, 5)),
    "depthwise, more": (
        layers.DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same"),
        (8, 8, 3),
    ),
    "depthwise, first": (layers.DepthwiseConv2D(3, data_format="channels_first"), (3, 8, 8)),
    "dense": (layers.Dense(6), (8,)),
    "dense on sequences": (layers.Dense(6), (3, 4, 8)),
    "larq": (lq.layers.QuantConv2D(6, 3, padding="same", pad_values=1.0), (6, 6, 4)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_patches_times_kernel_are_the_outputs(name):
    """With all positions taken, the moments say exactly that s = X W: g = G W and v = wᵀ G w."""
    layer, shape = CONVOLUTIONS[name]
    layer = built(type(layer).from_config(layer.get_config()), *shape)
    x = random_images(100, *shape, seed=1)
    s = outputs(layer, x)
    geometry = patch_geometry(layer)
    W = geometry.split_kernel(layer.get_weights()[0])
    assert (geometry.join_kernel(W) == layer.get_weights()[0]).all()
    found = statistics(layer, x, s)
    assert found.gram.shape == (geometry.problems, geometry.inputs, geometry.inputs)
    places = s.size // (len(x) * geometry.problems * geometry.outputs)
    assert found.count == 100 * places
    np.testing.assert_allclose(found.cross, found.gram @ W, atol=1e-5)
    np.testing.assert_allclose(
        found.variance, np.einsum("bkt,bkl,blt->bt", W, found.gram, W), atol=1e-4
    )
    means = np.einsum("bkt,bk->bt", W, found.input_mean)
    np.testing.assert_allclose(found.target_mean, means, atol=1e-5)
    channel_axis = 1 if geometry.channels_first else -1
    per_channel = np.moveaxis(s, channel_axis, -1).reshape(-1, s.shape[channel_axis])
    np.testing.assert_allclose(found.target_mean.ravel(), per_channel.mean(0), atol=1e-5)
    np.testing.assert_allclose(found.variance.ravel(), per_channel.var(0), rtol=1e-4)


def test_against_im2col_in_float64():
    layer = built(layers.Conv2D(5, 3, strides=2, padding="same"), 9, 9, 4)
    x, s = random_images(20, 9, 9, 4), random_images(20, 5, 5, 5, seed=2)
    X = tf.image.extract_patches(x, [1, 3, 3, 1], [1, 2, 2, 1], [1, 1, 1, 1], "SAME")
    X = X.numpy().reshape(-1, 36).astype(np.float64)
    S = s.reshape(-1, 5).astype(np.float64)
    for centred in (True, False):
        found = statistics(layer, x, s, centred=centred)
        shift_x, shift_s = (X.mean(0), S.mean(0)) if centred else (0.0, 0.0)
        A, C = X - shift_x, S - shift_s
        np.testing.assert_allclose(found.gram[0], A.T @ A / len(X), atol=1e-6)
        np.testing.assert_allclose(found.cross[0], A.T @ C / len(X), atol=1e-6)
        np.testing.assert_allclose(found.variance[0], (C**2).mean(0), rtol=1e-6)


def test_separable_is_its_pointwise_part():
    layer = built(layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same"), 8, 8, 4)
    geometry = patch_geometry(layer)
    assert (geometry.inputs, geometry.outputs, geometry.problems) == (8, 6, 1)
    x = random_images(30, 8, 8, 4)
    middle = tf.nn.depthwise_conv2d(x, layer.depthwise_kernel, [1, 1, 1, 1], "SAME").numpy()
    found = statistics(layer, middle, layer(x).numpy())
    W = geometry.split_kernel(layer.pointwise_kernel.numpy())
    np.testing.assert_allclose(found.cross, found.gram @ W, atol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e4])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_large_offset_costs_no_digits(offset, batch):
    layer = built(layers.Dense(3), 6)
    # Both multiples of 1/128, so that the offset itself is exact in float32.
    x = np.round(random_images(400, 6) * 128) / 128
    s = np.round(random_images(400, 3, seed=1) * 128) / 128
    plain = statistics(layer, x, s, batch=64)
    moved = statistics(layer, x + np.float32(offset), s - np.float32(offset), batch=batch)
    for field in ("gram", "cross", "variance"):
        np.testing.assert_allclose(getattr(moved, field), getattr(plain, field), atol=2e-6)
    np.testing.assert_allclose(moved.input_mean, plain.input_mean + offset, rtol=1e-12, atol=1e-9)


def test_chunks_and_batches_do_not_matter(monkeypatch):
    layer = built(layers.Conv2D(5, 3, padding="same"), 8, 8, 4)
    x, s = random_images(30, 8, 8, 4), random_images(30, 8, 8, 5, seed=1)
    whole = statistics(layer, x, s, batch=30, patches=600, seed=3)
    monkeypatch.setattr(moments, "CHUNK_VALUES", 17 * 36)
    parts = statistics(layer, x, s, batch=4, patches=600, seed=3)
    assert whole.count == parts.count == 600
    for field in ("gram", "cross", "variance", "input_mean", "target_mean"):
        np.testing.assert_allclose(getattr(parts, field), getattr(whole, field), atol=1e-6)


def positions(count, height, width, per_image, seed=0):
    random = np.random.default_rng(seed)
    chunks = list(sampled_positions(random, count, (height, width), per_image, rows=50))
    image, row, column = (np.concatenate(part) for part in zip(*chunks, strict=True))
    return image, row * width + column


@pytest.mark.parametrize("per_image", [1, 4, 7, 19, 20, 30])
def test_positions_are_distinct_and_equally_likely(per_image):
    image, place = positions(4000, 5, 4, per_image)
    taken = min(per_image, 20)
    assert (np.bincount(image, minlength=4000) == taken).all()
    assert len(set(zip(image, place, strict=True))) == len(place)
    # Each count is binomial or narrower: five standard deviations.
    expected = 4000 * taken / 20
    assert (abs(np.bincount(place, minlength=20) - expected) <= 5 * np.sqrt(expected)).all()


def test_the_seed_chooses_the_positions():
    first, again, other = (positions(50, 6, 6, 3, seed)[1] for seed in (0, 0, 1))
    assert (first == again).all() and (first != other).any()


def test_patches_are_spread_over_all_images():
    layer = built(layers.Conv2D(3, 3, padding="same"), 16, 16, 4)
    total = Moments(patch_geometry(layer), 50)
    total.update(random_images(50, 16, 16, 4), random_images(50, 16, 16, 3))
    assert total.count == 50 * 256
    geometry = patch_geometry(layer)
    assert Moments(geometry, 2048, patches=5000)._per_image == 3
    assert Moments(geometry, 2048)._per_image == 16


@pytest.mark.parametrize("bits", [1, 2])
def test_solution_bias_and_error_are_those_of_the_outputs(bits):
    layer = built(layers.DepthwiseConv2D(3, depth_multiplier=2), 8, 8, 3)
    x = np.maximum(random_images(60, 8, 8, 3), 0)
    s = layer(x).numpy() + 5
    found = statistics(layer, x, s)
    geometry = patch_geometry(layer)
    solution = solve(found.gram, found.cross, bits=bits)
    layer.set_weights(
        [
            geometry.join_kernel(solution.codes * solution.scales[:, None]),
            found.bias(solution).astype(np.float32),
        ]
    )
    error = layer(x).numpy() - s
    np.testing.assert_allclose(error.mean((0, 1, 2)), 0, atol=1e-4)
    total = s.reshape(-1, 6).var(0).sum()
    relative = error.reshape(-1, 6).var(0).sum() / total
    np.testing.assert_allclose(found.relative_error(solution), relative, rtol=1e-4)
    plain = statistics(layer, x, s, centred=False)
    assert (plain.bias(solve(plain.gram, plain.cross)) == 0).all()


def test_few_patches_warn_and_damp():
    layer = built(layers.Dense(2), 50)
    x, s = random_images(100, 50), random_images(100, 2)
    with pytest.warns(CalibrationWarning, match="Only 100 patches for 50 weights"):
        few = statistics(layer, x, s)
    many = statistics(layer, random_images(5000, 50), random_images(5000, 2), batch=5000)
    assert few.damping > many.damping > 0


def test_integer_and_half_images_are_taken():
    layer = built(layers.Conv2D(2, 1), 4, 4, 3)
    x = np.random.default_rng(0).integers(0, 255, (20, 4, 4, 3))
    s = random_images(20, 4, 4, 2)
    expected = statistics(layer, x.astype(np.float32), s).gram
    for dtype in (np.uint8, np.float16, np.float64):
        np.testing.assert_allclose(statistics(layer, x.astype(dtype), s).gram, expected, rtol=1e-6)
    np.testing.assert_allclose(statistics(layer, tf.constant(x), s).gram, expected)


def conv_moments(images=4):
    return Moments(patch_geometry(built(layers.Conv2D(2, 3), 6, 6, 3)), images)


@pytest.mark.parametrize(
    ("x", "s", "says"),
    [
        ((4, 6, 6, 2), (4, 4, 4, 2), r"3 input channels.*\(4, 6, 6, 2\)"),
        ((4, 6, 6), (4, 4, 4, 2), r"\(4, 6, 6\)"),
        ((4, 6, 6, 3), (4, 6, 6, 2), r"outputs \(4, 4, 4, 2\).*\(4, 6, 6, 2\)"),
        ((4, 6, 6, 3), (3, 4, 4, 2), r"\(3, 4, 4, 2\)"),
        ((4, 6, 6, 3), (4, 4, 4, 5), r"\(4, 4, 4, 5\)"),
        ((4, 2, 2, 3), (4, 0, 0, 2), "no smaller than its kernel"),
        ((0, 6, 6, 3), (0, 4, 4, 2), r"\(0, 6, 6, 3\)"),
    ],
)
def test_shapes_that_do_not_fit(x, s, says):
    with pytest.raises(HashBWNError, match=says):
        conv_moments().update(np.zeros(x), np.zeros(s))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_or_infinity_anywhere_is_found_and_nothing_added(value):
    good_x, good_s = random_images(4, 6, 6, 3), random_images(4, 4, 4, 2)
    for broken in (0, 1):
        total = conv_moments()
        arrays = [good_x.copy(), good_s.copy()]
        arrays[broken][2, 1, 3, 1] = value
        with pytest.raises(HashBWNError, match="NaN or infinite"):
            total.update(*arrays)
        assert total.count == 0


def test_large_finite_values_are_fine():
    total = conv_moments()
    total.update(np.full((4, 6, 6, 3), 3e38, np.float32), np.zeros((4, 4, 4, 2)))
    assert total.count == 64


def test_other_bad_input():
    with pytest.raises(HashBWNError, match="No calibration image"):
        conv_moments().statistics()
    with pytest.raises(HashBWNError, match="images=0"):
        conv_moments(images=0)
    geometry = patch_geometry(built(layers.Dense(2), 3))
    with pytest.raises(HashBWNError, match="patches=0"):
        Moments(geometry, 5, patches=0)
    with pytest.raises(HashBWNError, match="'fresh' has no weights"):
        patch_geometry(layers.Conv2D(2, 3, name="fresh"))
    for layer in (layers.Conv2DTranspose(2, 3, name="up"), layers.ReLU(name="up")):
        with pytest.raises(HashBWNError, match="'up' is a "):
            patch_geometry(layer)
