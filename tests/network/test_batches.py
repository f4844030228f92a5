"""Data in all their forms, for every reader of them."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network import batches as reader
from hashbwn_keras.network.batches import as_fed, batches_of, image_count, read

L = tf_keras.layers


@pytest.fixture
def model():
    x = tf_keras.Input((4, 4, 3), name="image")
    return tf_keras.Model(x, L.Flatten()(x))


@pytest.fixture
def two_inputs():
    a, b = tf_keras.Input((4,), name="a"), tf_keras.Input((2,), name="b")
    return tf_keras.Model([a, b], L.Concatenate()([a, b]))


def taking(shape, dtype="float32", **settings):
    """A model that gives back its one input."""
    x = tf_keras.Input(shape, name="x", dtype=dtype, **settings)
    return tf_keras.Model(x, L.Activation("linear", dtype=dtype)(x))


IMAGES = np.random.default_rng(0).normal(size=(300, 4, 4, 3)).astype("f")
LABELS = np.arange(300) % 7
WEIGHTS = np.ones(300)


class Sequence(tf_keras.utils.Sequence):
    def __len__(self):
        return 3

    def __getitem__(self, index):
        return IMAGES[index * 100 : index * 100 + 100], LABELS[index * 100 : index * 100 + 100]


def dataset(*arrays):
    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(70)


def halves(*arrays):
    return [tuple(a[i : i + 150] for a in arrays) for i in (0, 150)]


WITHOUT_LABELS = {
    "array": lambda: IMAGES,
    "float64": lambda: IMAGES.astype(np.float64),
    "tensor": lambda: tf.constant(IMAGES),
    "dict": lambda: {"image": IMAGES},
    "list of an array": lambda: [IMAGES],
    "list of images": lambda: list(IMAGES),
    "tuple of images": lambda: tuple(IMAGES),
    "nested lists": IMAGES.tolist,
    "dataset": lambda: dataset(IMAGES),
    "list of batches": lambda: [IMAGES[:100], IMAGES[100:]],
    "tuple of batches": lambda: (IMAGES[:150], IMAGES[150:]),
    "list of lists of images": lambda: [list(IMAGES[:100]), list(IMAGES[100:])],
    "batches in dicts": lambda: [{"image": IMAGES[:100]}, {"image": IMAGES[100:]}],
    "batches in tuples": lambda: halves(IMAGES),
    "generator": lambda: (IMAGES[i : i + 50] for i in range(0, 300, 50)),
}
WITH_LABELS = {
    "x, y": lambda: (IMAGES, LABELS),
    "x, y, weights": lambda: (IMAGES, LABELS, WEIGHTS),
    "x, one-hot y": lambda: (IMAGES, np.eye(7)[LABELS]),
    "images, y": lambda: (list(IMAGES), LABELS.tolist()),
    "dict, y": lambda: ({"image": IMAGES}, LABELS),
    "dataset of x, y": lambda: dataset(IMAGES, LABELS),
    "dataset of x, y, weights": lambda: dataset(IMAGES, LABELS, WEIGHTS),
    "dataset of dict, y": lambda: dataset({"image": IMAGES}, LABELS),
    "sequence": Sequence,
    "tuples": lambda: halves(IMAGES, LABELS),
    "tuples with weights": lambda: iter(halves(IMAGES, LABELS, WEIGHTS)),
    "lists": lambda: [list(pair) for pair in halves(IMAGES, LABELS)],
}


@pytest.mark.parametrize("form", [*WITHOUT_LABELS, *WITH_LABELS])
def test_every_form_gives_the_same_equal_batches(model, form):
    batches = batches_of({**WITHOUT_LABELS, **WITH_LABELS}[form](), model)
    assert [len(batch[0]) for batch in batches] == [128, 128, 44]
    assert image_count(batches) == 300
    joined = np.concatenate([batch[0] for batch in batches])
    assert joined.dtype == np.float32
    np.testing.assert_array_equal(joined, IMAGES)


@pytest.mark.parametrize("form", WITHOUT_LABELS)
def test_every_form_streams_the_same_images(model, form):
    pieces = list(read(WITHOUT_LABELS[form](), model, batch_size=70))
    np.testing.assert_array_equal(np.concatenate([p.inputs[0] for p in pieces]), IMAGES)
    assert all(piece.labels == [] for piece in pieces)
    assert sum(piece.images for piece in pieces) == 300


@pytest.mark.parametrize("form", WITH_LABELS)
def test_every_form_streams_the_labels_of_its_images(model, form):
    pieces = list(read(WITH_LABELS[form](), model, batch_size=70))
    np.testing.assert_array_equal(np.concatenate([p.inputs[0] for p in pieces]), IMAGES)
    labels = np.concatenate([piece.labels[0] for piece in pieces])
    np.testing.assert_array_equal(labels.argmax(1) if labels.ndim == 2 else labels, LABELS)
    assert [len(piece.labels[0]) for piece in pieces] == [piece.images for piece in pieces]


def test_given_labels_come_before_those_of_the_data(model):
    pieces = list(read(WITH_LABELS["tuples"](), model, LABELS[::-1]))
    np.testing.assert_array_equal(np.concatenate([p.labels[0] for p in pieces]), LABELS[::-1])


def test_labels_of_several_outputs_come_in_their_order():
    x = tf_keras.Input((2,))
    outputs = [L.Dense(3, name="kind")(x), L.Dense(1, name="age")(x)]
    model = tf_keras.Model(x, outputs)
    kinds, ages, images = np.arange(5), np.linspace(0, 1, 5), np.ones((5, 2))
    for labels in ([kinds, ages], (kinds, ages), {"age": ages, "kind": kinds}):
        for pieces in (read(images, model, labels), read((images, labels), model)):
            (piece,) = pieces
            np.testing.assert_array_equal(piece.labels[0], kinds)
            np.testing.assert_array_equal(piece.labels[1], ages)
    with pytest.raises(HashBWNError, match="lack the output 'age'"):
        list(read(images, model, {"kind": kinds}))


def test_streaming_reads_no_more_than_a_batch_ahead(model):
    taken = []

    def batches():
        for i in range(0, 300, 50):
            taken.append(i)
            yield IMAGES[i : i + 50]

    next(read(batches(), model))
    assert taken == [0]


A, B = np.ones((5, 4), "f"), np.zeros((5, 2), "f")
SEVERAL = {
    "list": lambda: [A, B],
    "tuple": lambda: (A, B),
    "lists": lambda: [A.tolist(), B.tolist()],
    "dict": lambda: {"b": B, "a": A},
    "with labels": lambda: ((A, B), LABELS[:5]),
    "dict with labels": lambda: ({"a": A, "b": B}, LABELS[:5], WEIGHTS[:5]),
    "dataset": lambda: tf.data.Dataset.from_tensor_slices(((A, B), LABELS[:5])).batch(2),
    "list of pairs": lambda: [(A[:2], B[:2]), (A[2:], B[2:])],
    "list of lists": lambda: [[A[:2], B[:2]], [A[2:], B[2:]]],
    "labelled pairs": lambda: [((A, B), LABELS[:5])],
    "labelled lists": lambda: [[[A, B], LABELS[:5]]],
    "dicts": lambda: [{"a": A, "b": B}],
    "labelled dicts": lambda: [({"a": A, "b": B}, LABELS[:5])],
    "many": lambda: [(A[i : i + 1], B[i : i + 1]) for i in range(5)],
}


@pytest.mark.parametrize("form", SEVERAL)
def test_several_inputs_in_every_form(two_inputs, form):
    (batch,) = batches_of(SEVERAL[form](), two_inputs)
    np.testing.assert_array_equal(batch[0], A)
    np.testing.assert_array_equal(batch[1], B)


def test_a_model_called_on_a_dict_is_read_and_fed_by_its_own_keys():
    a, b = tf_keras.Input((4,), name="a"), tf_keras.Input((2,), name="b")
    model = tf_keras.Model({"right": a, "left": b}, L.Concatenate()([a, b]))
    for data in ({"left": B, "right": A}, {"a": A, "b": B}, [B, A]):
        (batch,) = batches_of(data, model)
        np.testing.assert_array_equal(batch[0], B)
        assert model(as_fed(model, batch)).shape == (5, 6)


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
    "a number of numpy": (lambda: np.float32(3), "a single number"),
    "nan": (lambda: np.where(IMAGES > 2, np.nan, IMAGES), "NaN"),
    "infinite": (lambda: np.where(IMAGES > 2, np.inf, IMAGES), "infinite"),
    "too large": (lambda: np.where(IMAGES > 2, 1e300, IMAGES), r"1e\+300 .* float32"),
    "wrong key": (lambda: {"picture": IMAGES}, "lacks the input 'image'"),
    "several sizes": (lambda: [IMAGES[0], IMAGES[1, :3]], "images of several sizes"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_sentence(model, case):
    make, message = BAD[case]
    with pytest.raises(HashBWNError, match=message) as raised:
        batches_of(make(), model)
    assert str(raised.value).endswith(".")
    assert "\n" not in str(raised.value)


def test_messages_name_the_data_as_the_caller_does(model):
    with pytest.raises(HashBWNError, match=r"^calibration_data for input 'image'"):
        batches_of(IMAGES[:, :3], model)
    with pytest.raises(HashBWNError, match=r"^data for input 'image'"):
        list(read(IMAGES[:, :3], model))


def test_inputs_must_have_as_many_images(two_inputs):
    with pytest.raises(HashBWNError, match=r"\[4, 5\] images"):
        batches_of([A, B[:4]], two_inputs)
    with pytest.raises(HashBWNError, match="1 inputs and the model has 2"):
        batches_of(A, two_inputs)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (IMAGES, LABELS[:4], "300 images or more but 4 labels|images or more but"),
        (IMAGES[:3], LABELS[:4], "3 images but 4 labels"),
        ((IMAGES, LABELS[:4]), None, "300 images but 4 labels"),
        ([(IMAGES, LABELS[:4])], None, "300 images or more but 4 labels"),
        (IMAGES[:3], 1, "a single number"),
    ],
)
def test_as_many_labels_as_images(model, data, labels, message):
    with pytest.raises(HashBWNError, match=message):
        list(read(data, model, labels))


@pytest.mark.parametrize("labels", [LABELS[:4], "none at all"])
def test_calibration_does_not_look_at_labels(model, labels):
    assert image_count(batches_of([(IMAGES, labels)], model)) == 300


BYTES = np.arange(256, dtype=np.uint8).reshape(64, 4)
HELD = {
    "bytes": ("uint8", BYTES),
    "bytes as integers": ("uint8", BYTES.astype(np.int64)),
    "bytes as floats": ("uint8", BYTES.astype(np.float32)),
    "booleans as bytes": ("uint8", BYTES > 9),
    "integers": ("int32", BYTES.astype(np.int32) - 128),
    "booleans": ("bool", BYTES > 9),
    "booleans as numbers": ("bool", (BYTES > 9).astype(float)),
    "half": ("float16", BYTES),
    "bytes as real numbers": ("float32", BYTES),
    "strings": ("string", np.array([["a", "b", "c", "d"]])),
}


@pytest.mark.parametrize("case", HELD)
def test_values_keep_and_take_the_type_of_the_input(case):
    dtype, data = HELD[case]
    (batch,) = batches_of(data, taking((4,), dtype))
    assert batch[0].dtype == (object if dtype == "string" else dtype)
    np.testing.assert_array_equal(batch[0], data)


LOST = {
    "fractions": ("uint8", BYTES / 255, r"holds 0\.0039\d* .* uint8.* from 0 to 255"),
    "below": ("uint8", BYTES.astype(int) - 1, "holds -1 of type int64"),
    "above": ("uint8", BYTES.astype(int) + 1, "holds 256"),
    "far above": ("int32", BYTES * 1e8, "from -2147483648 to 2147483647"),
    "beyond int64": ("int64", np.full((2, 4), 2.0**63), "int64"),
    "not boolean": ("bool", BYTES, "holds 2 .* booleans"),
    "not half": ("float16", BYTES * 1e4, "up to 65504"),
    "numbers for strings": ("string", BYTES, "pass strings"),
}


@pytest.mark.parametrize("case", LOST)
def test_values_that_the_type_of_the_input_cannot_hold_are_refused(case):
    dtype, data, message = LOST[case]
    with pytest.raises(HashBWNError, match=message) as raised:
        batches_of(data, taking((4,), dtype))
    assert "input 'x'" in str(raised.value)


@pytest.mark.parametrize("data", [np.arange(5.0), [0.0, 1, 2, 3, 4], tf.range(5.0)])
def test_a_number_an_image(data):
    (batch,) = batches_of(data, taking(()))
    np.testing.assert_array_equal(batch[0], np.arange(5, dtype=np.float32))


def test_an_input_without_an_axis_of_images_is_refused_with_a_cure_that_works():
    x = tf_keras.Input(type_spec=tf.TensorSpec((), tf.float32), name="x")
    with pytest.raises(HashBWNError, match=r"build the model .* tf_keras.Input\(\(\)\)"):
        batches_of(np.ones(3), tf_keras.Model(x, x + 1))


@pytest.mark.parametrize("count", [3, 8, 10])
def test_a_fixed_batch_is_filled_up_with_images_from_the_start(count):
    model, data = taking((2,), batch_size=4), np.arange(2.0 * count).reshape(count, 2)
    batches = batches_of(data, model)
    assert {len(batch[0]) for batch in batches} == {4}
    joined = np.concatenate([batch[0] for batch in batches])
    np.testing.assert_array_equal(joined, data[np.arange(len(joined)) % count])
    assert len(joined) - count < 4


@pytest.mark.parametrize("form", [lambda x: x, lambda x: [(x[:7], x[:7, 0]), (x[7:], x[7:, 0])]])
def test_a_fixed_batch_is_streamed_with_the_number_of_real_images(form):
    data = np.arange(20.0).reshape(10, 2)
    pieces = list(read(form(data), taking((2,), batch_size=4)))
    assert {len(piece.inputs[0]) for piece in pieces} == {4}
    real = np.concatenate([piece.inputs[0][: piece.images] for piece in pieces])
    np.testing.assert_array_equal(real, data)
    assert all(len(y) == piece.images for piece in pieces for y in piece.labels)


def test_two_fixed_batch_sizes_are_refused():
    a, b = tf_keras.Input((4,), batch_size=2), tf_keras.Input((2,), batch_size=3)
    with pytest.raises(HashBWNError, match=r"batch sizes \[2, 3\]"):
        batches_of([A, B], tf_keras.Model([a, b], [a, b]))


def test_images_of_a_batch_share_a_shape():
    model = taking((None, None, 3))
    small, large = np.ones((3, 4, 4, 3)), np.ones((5, 6, 4, 3))
    batches = batches_of([small, large, small], model)
    assert [batch[0].shape for batch in batches] == [(6, 4, 4, 3), (5, 6, 4, 3)]
    streamed = [piece.inputs[0].shape for piece in read([small, large, small], model)]
    assert streamed == [(3, 4, 4, 3), (5, 6, 4, 3), (3, 4, 4, 3)]
    with pytest.raises(HashBWNError, match="list of batches of one size each"):
        batches_of([small[0], large[0]], model)


def test_too_many_images_are_taken_for_endless_data(model, monkeypatch):
    monkeypatch.setattr(reader, "MAX_IMAGES", 299)
    with pytest.raises(HashBWNError, match="goes on after 299 images"):
        batches_of(IMAGES, model)
