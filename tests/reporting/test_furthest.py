"""The images on which the networks are furthest apart, and their pictures."""

import json
import struct
import zlib

import numpy as np
import pytest
import tf_keras
from compared import X, compared, dense

import hashbwn_keras as hk
from hashbwn_keras.reporting.furthest import KEPT
from hashbwn_keras.reporting.pictures import SIDE, png

L = tf_keras.layers


def pixels(file):
    """The pixels of a PNG file that no filter was used for."""
    assert file.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, at = {}, 8
    while at < len(file):
        (size,) = struct.unpack(">I", file[at : at + 4])
        name, content = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        check = struct.unpack(">I", file[at + 8 + size : at + 12 + size])
        assert check == (zlib.crc32(name + content),)
        chunks[name], at = content, at + 12 + size
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert bits == 8
    channels = {0: 1, 2: 3}[colour]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("size", [1, 7, 40])
def test_the_furthest_come_first_whatever_the_batch(size):
    output, _, (a, b) = compared(dense(3), loss="mse", batch_size=size)
    distances = np.square(b.astype(np.float64) - a).sum(1)
    assert [worst.image for worst in output.worst] == list(np.argsort(-distances)[:KEPT])
    for worst in output.worst:
        assert worst.distance == pytest.approx(distances[worst.image], rel=1e-4)


def test_other_decisions_come_before_larger_distances_and_are_named():
    labels = np.arange(40) % 4
    output, result, (a, b) = compared(dense(4, "softmax"), labels)
    ours, theirs = a.argmax(1), b.argmax(1)
    other = [worst.wanted != worst.got for worst in output.worst]
    assert other == sorted(other, reverse=True)
    assert sum(other) == min(KEPT, (ours != theirs).sum()) > 0
    for worst in output.worst:
        i = worst.image
        assert (worst.wanted, worst.got) == (f"class {ours[i]}", f"class {theirs[i]}")
        assert worst.label == f"class {labels[i]}"
    first = output.worst[0]
    assert f"{first.wanted} → <b>{first.got}</b>" in result.to_html()


WORDS = {
    "yes or no": (dense(1, "sigmoid"), None, ("yes (", "no (")),
    "a number": (dense(1), "mse", ("-", "0")),
}


@pytest.mark.parametrize("case", WORDS)
def test_what_the_networks_say_is_in_words(case):
    make, loss, starts = WORDS[case]
    output, _, _ = compared(make, np.zeros(40), loss=loss)
    assert all(worst.wanted.startswith(starts) for worst in output.worst)
    assert {worst.label for worst in output.worst} <= {"no", "0"}


def test_images_are_shown_as_pictures_and_left_out_of_json():
    output, result, _ = compared(dense(4, "softmax"), data=np.clip(X, 0, 1))
    for worst in output.worst:
        shown = pixels(worst.picture)
        np.testing.assert_array_equal(shown, np.round(np.clip(X[worst.image], 0, 1) * 255))
    record = json.loads(result.to_json())["outputs"][0]["worst"]
    assert [entry["image"] for entry in record] == [worst.image for worst in output.worst]
    assert not any("picture" in key for entry in record for key in entry)
    page = result.to_html()
    assert page.count("data:image/png;base64,") == len(output.worst)


def test_maps_of_both_networks_are_shown_on_one_scale():
    output, result, (a, b) = compared(lambda x, y: L.Conv2D(1, 1)(y))
    worst = output.worst[0]
    wanted, got = a[worst.image], b[worst.image]
    low, high = min(wanted.min(), got.min()), max(wanted.max(), got.max())
    expected = np.round((wanted - low) / (high - low) * 255)
    assert np.abs(pixels(worst.wanted_picture).astype(int) - expected).max() <= 1
    assert {pixels(f).max() for f in (worst.wanted_picture, worst.got_picture)} >= {255}
    assert result.to_html().count("data:image/png;base64,") == 3 * KEPT


def test_maps_of_classes_and_of_decisions_are_shown():
    for make in (
        lambda x, y: L.Conv2D(3, 1, activation="softmax")(y),
        lambda x, y: y[..., 0] > 0,
        lambda x, y: L.Conv2D(1, 1, activation="sigmoid")(y),
    ):
        output, _, _ = compared(make)
        assert pixels(output.worst[0].got_picture).shape == (6, 6, 1)


def test_data_that_are_no_pictures_have_none():
    x = L.Input((7,))
    model = tf_keras.Model(x, L.Dense(3, name="last")(L.Dense(5, name="first")(x)))
    binary = tf_keras.models.clone_model(model)
    binary.set_weights([w * 0.9 for w in model.get_weights()])
    result = hk.report(model, binary, np.random.normal(size=(9, 7)))
    assert result.outputs[0].worst and result.outputs[0].worst[0].picture is None
    assert "data:image" not in result.to_html()


def test_equal_networks_have_no_images_apart():
    x = L.Input((7,))
    model = tf_keras.Model(x, L.Dense(3)(x))
    result = hk.report(model, model, np.ones((3, 7)))
    assert result.outputs[0].worst == ()
    assert "Furthest apart" not in result.to_html()


def test_names_of_outputs_are_escaped_on_the_page():
    def make(x, y):
        return [L.Flatten(name="a>b")(y), L.Conv2D(1, 1, name="c>d")(y)]

    _, result, _ = compared(make)
    page = result.to_html()
    assert "a&gt;b" in page and "c&gt;d" in page
    assert "a>b" not in page and "c>d" not in page


@pytest.mark.parametrize("shape", [(500, 300, 3), (1000, 2, 1), (SIDE, SIDE, 1)])
def test_large_pictures_are_reduced_by_means(shape):
    image = np.random.default_rng(0).random(shape)
    shown = pixels(png(image, 0, 1))
    assert max(shown.shape[:2]) <= SIDE
    assert shown.shape[2] == shape[2]
    assert shown.mean() / 255 == pytest.approx(image.mean(), abs=0.02)


def test_a_picture_of_one_value_and_of_none():
    assert not pixels(png(np.full((2, 2, 1), 7.0))).any()
    assert pixels(png(np.array([[[np.nan], [1.0]], [[0.0], [np.inf]]]))).max() == 255
