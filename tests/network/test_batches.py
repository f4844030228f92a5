"""Calibration data in all its forms, and the activation store."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.batches import batches_of


@pytest.fixture
def model():
    x = tf_keras.Input((4, 4, 3), name="image")
    return tf_keras.Model(x, tf_keras.layers.Flatten()(x))


@pytest.fixture
def two_inputs():
    a, b = tf_keras.Input((4,), name="a"), tf_keras.Input((2,), name="b")
    return tf_keras.Model([a, b], tf_keras.layers.Concatenate()([a, b]))


IMAGES = np.random.default_rng(0).normal(size=(300, 4, 4, 3)).astype("f")
LABELS = np.zeros(300, int)


class Sequence(tf_keras.utils.Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return IMAGES[index * 100 : index * 100 + 100], LABELS[:100]


FORMS = {
    "array": lambda: IMAGES,
    "float64": lambda: IMAGES.astype(np.float64),
    "tensor": lambda: tf.constant(IMAGES),
    "dict": lambda: {"image": IMAGES},
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(IMAGES).batch(70),
    "with labels": lambda: tf.data.Dataset.from_tensor_slices((IMAGES, LABELS)).batch(70),
    "sequence": Sequence,
    "list of batches": lambda: [IMAGES[:100], IMAGES[100:]],
    "generator": lambda: ((IMAGES[i : i + 50], LABELS[:50]) for i in range(0, 300, 50)),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_batches(model, form):
    batches = batches_of(FORMS[form](), model)
    assert [len(batch[0]) for batch in batches] == [128, 128, 44]
    joined = np.concatenate([batch[0] for batch in batches])
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, IMAGES)


A, B = np.ones((5, 4), "f"), np.zeros((5, 2), "f")


@pytest.mark.parametrize(
    "data",
    [
        [A, B],
        (A, B),
        {"b": B, "a": A},
        tf.data.Dataset.from_tensor_slices(((A, B), LABELS[:5])).batch(2),
        [((A, B), LABELS[:5])],
        [{"a": A, "b": B}],
    ],
    ids=["list", "tuple", "dict", "dataset", "generator", "dict batches"],
)
def test_several_inputs(two_inputs, data):
    (batch,) = batches_of(data, two_inputs)
    np.testing.assert_array_equal(batch[0], A)
    np.testing.assert_array_equal(batch[1], B)


def endless():
    while True:
        yield IMAGES


BAD = {
    "no image": (lambda: IMAGES[:0], "holds no image"),
    "empty": (lambda: [], "holds no image"),
    "endless dataset": (
        lambda: tf.data.Dataset.from_tensor_slices(IMAGES).batch(10).repeat(),
        "endless",
    ),
    "endless generator": (endless, "finite"),
    "shape": (lambda: IMAGES[:, :3], r"shape \(300, 3, 4, 3\)"),
    "unbatched": (lambda: tf.data.Dataset.from_tensor_slices(IMAGES), r"\.batch\(32\)"),
    "strings": (lambda: np.array(["a", "b"]), "pass numbers"),
    "a path": (lambda: "images.npy", "is a str"),
    "a number": (lambda: 3, "is a int"),
    "nan": (lambda: np.where(IMAGES > 2, np.nan, IMAGES), "NaN"),
    "infinite": (lambda: np.where(IMAGES > 2, np.inf, IMAGES), "infinite"),
    "wrong key": (lambda: {"picture": IMAGES}, "lacks the input 'image'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_sentence(model, case):
    make, message = BAD[case]
    with pytest.raises(HashBWNError, match=message) as raised:
        batches_of(make(), model)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_inputs_must_have_as_many_images(two_inputs):
    with pytest.raises(HashBWNError, match=r"\[4, 5\] images"):
        batches_of([A, B[:4]], two_inputs)
    with pytest.raises(HashBWNError, match="1 inputs and the model has 2"):
        batches_of(A, two_inputs)
