"""Activations in memory and on disk."""

import numpy as np
import tensorflow as tf

from hashbwn_keras.binarizer.activations import ActivationStore


def test_store_spills_what_exceeds_the_limit_and_cleans_up():
    values = {(key, i): np.full((10, 10), i, "f") for key in "ab" for i in range(3)}
    with ActivationStore(limit=900) as store:
        for (key, i), value in values.items():
            store.put(key, i, value)
        folder = str(store._folder)
        assert len(list(tf.io.gfile.listdir(folder))) == 4
        for (key, i), value in values.items():
            np.testing.assert_array_equal(store.get(key, i), value)
        store.drop("b")
        assert len(tf.io.gfile.listdir(folder)) == 1
        store.drop("a")
        assert store._used == 0
    assert not tf.io.gfile.exists(folder)
