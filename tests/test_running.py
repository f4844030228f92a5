"""Mean and variance by batches."""

import numpy as np
import pytest

from hashbwn_keras.running import Running

VALUES = np.random.default_rng(0).normal(1e4, [1, 2, 3], (97, 3))


@pytest.mark.parametrize("size", [1, 10, 97])
def test_batches_give_mean_and_variance_of_all_values(size):
    running = Running()
    for start in range(0, len(VALUES), size):
        running.add(VALUES[start : start + size])
    assert running.count == 97
    np.testing.assert_allclose(running.mean, VALUES.mean(0), rtol=1e-12)
    np.testing.assert_allclose(running.variance, VALUES.var(0), rtol=1e-9)


def test_single_precision_far_from_zero_keeps_its_variance():
    values = VALUES.astype(np.float32)
    running = Running()
    for part in np.array_split(values, 7):
        running.add(part)
    np.testing.assert_allclose(running.variance, values.astype(np.float64).var(0), rtol=1e-5)


def test_moments_of_batches_join_as_their_values_do():
    by_values, by_moments = Running(), Running()
    for part in np.array_split(VALUES, 5):
        by_values.add(part)
        by_moments.join(len(part), part.mean(0), part.var(0) * len(part))
    np.testing.assert_allclose(by_moments.mean, by_values.mean, rtol=1e-12)
    np.testing.assert_allclose(by_moments.squares, by_values.squares, rtol=1e-9)


def test_an_empty_batch_changes_nothing():
    running = Running()
    running.add(VALUES)
    mean, squares = running.mean, running.squares
    running.add(VALUES[:0])
    assert running.count == 97
    np.testing.assert_array_equal(running.mean, mean)
    np.testing.assert_array_equal(running.squares, squares)
    assert Running().variance == 0
