import dataclasses
import json
from html.parser import HTMLParser

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from compared import binarized

import hashbwn_keras as hk
from hashbwn_keras.network.kernels import binary_form
from hashbwn_keras.network.saving import set_recipe

L = tf_keras.layers


def classifier():
    x = inputs = L.Input((8, 8, 3))
    x = L.Conv2D(4, 3, padding="same", name="first", use_bias=False)(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, name="deep")(x)
    x = L.SeparableConv2D(6, 3, name="apart")(x)
    x = L.Conv2D(6, 1, groups=2, name="grouped", activation="relu")(x)
    x = L.Flatten()(x)
    return tf_keras.Model(inputs, L.Dense(5, name="last")(x))


def images(count=10):
    return np.random.normal(size=(count, 8, 8, 3)).astype(np.float32)


def outputs_of(model, name, x):
    return tf_keras.Model(model.inputs, model.get_layer(name).output)(x, training=False).numpy()


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_errors_are_those_of_the_whole_data_whatever_the_batch(batch_size):
    model = classifier()
    binary, x = binarized(model), images() * 3 + 50
    result = hk.report(model, binary, x, batch_size=batch_size)
    assert [layer.name for layer in result.layers] == ["first", "deep", "apart", "grouped", "last"]
    for layer in result.layers:
        wanted, got = (outputs_of(net, layer.name, x).astype(np.float64) for net in (model, binary))
        axes = tuple(range(wanted.ndim - 1))
        expected = (got - wanted).var(axes).sum() / wanted.var(axes).sum()
        assert layer.relative_error == pytest.approx(expected, rel=1e-3, abs=1e-9)
    assert result.outputs[0].relative_error == pytest.approx(result.layers[-1].relative_error)
    assert result.images == 10


def test_counts_macs_bytes_and_scales():
    model = classifier()
    result = hk.report(model, binarized(model), images(2))
    by_name = {layer.name: layer for layer in result.layers}
    assert {name: (layer.macs, layer.binary_macs) for name, layer in by_name.items()} == {
        "first": (64 * 27 * 4, 0),
        "deep": (36 * 9 * 8, 36 * 9 * 8),
        "apart": (16 * (9 * 8 + 8 * 6), 16 * 8 * 6),
        "grouped": (16 * 3 * 6, 16 * 3 * 6),
        "last": (96 * 5, 96 * 5),
    }
    assert by_name["first"].float_bytes == by_name["first"].binary_bytes == 4 * 27 * 4
    # bits in whole bytes, a scale per output channel, the float depthwise part and the bias
    assert by_name["apart"].binary_bytes == 48 // 8 + 4 * 6 + 4 * (72 + 6)
    assert by_name["deep"].binary_bytes == 9 + 4 * 8 + 4 * 8
    assert [len(layer.scales) for layer in result.layers] == [0, 8, 6, 6, 5]
    assert result.float_bytes == 4 * model.count_params()
    saved = sum(layer.float_bytes - layer.binary_bytes for layer in result.layers)
    assert result.binary_bytes == result.float_bytes - saved
    assert result.macs == sum(layer.macs for layer in result.layers)


def test_transposed_convolutions_count_input_positions():
    model = tf_keras.Sequential(
        [L.Input((4, 4, 2)), L.Conv2DTranspose(3, 2, strides=2), L.Conv2D(2, 1, name="c")]
    )
    result = hk.report(model, binarized(model), np.ones((1, 4, 4, 2), np.float32))
    assert [layer.macs for layer in result.layers] == [16 * 4 * 2 * 3, 64 * 6]


def test_flipped_counts_codes_against_float_signs():
    model = classifier()
    binary = binarized(model)
    kernel = binary.get_layer("last").kernel
    changed = kernel.numpy()
    changed[:24] *= -1
    kernel.assign(changed)
    result = hk.report(model, binary, images(2))
    assert {layer.name: layer.flipped for layer in result.layers} == {
        "first": None, "deep": 0, "apart": 0, "grouped": 0, "last": 0.25,
    }  # fmt: skip


def test_agreement_and_accuracy():
    model = classifier()
    binary, x = binarized(model), images(30)
    wanted, got = (net.predict(x, verbose=0).argmax(1) for net in (model, binary))
    labels = np.where(np.arange(30) % 3 == 0, got, wanted)
    (output,) = hk.report(model, binary, x, labels, batch_size=7).outputs
    assert output.agreement == pytest.approx((wanted == got).mean())
    assert output.float_accuracy == pytest.approx((labels == wanted).mean())
    assert output.binary_accuracy == pytest.approx((labels == got).mean())


def test_every_form_of_data_gives_the_same_report():
    model = classifier()
    binary, x = binarized(model), images(6)
    y = np.arange(6) % 5
    one_hot = np.eye(5, dtype=np.float32)[y]
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(6)
    results = [
        hk.report(model, binary, x, y),
        hk.report(model, binary, list(x), one_hot.astype(int)),
        hk.report(model, binary, dataset),
        hk.report(model, binary, ((x, y) for _ in range(1))),
        hk.report(model, binary, [x], y[:, None]),
        hk.report(model, binary, {model.input_names[0]: x}, y),
    ]
    assert len({result.to_json() for result in results}) == 1


def test_nested_shared_and_several_inputs_and_outputs():
    inner = tf_keras.Sequential(
        [L.Input((8, 8, 3)), L.Conv2D(3, 3, padding="same", name="c")], name="inner"
    )

    def build(conv, inner):
        a, b = L.Input((8, 8, 3), name="a"), L.Input((8, 8, 3), name="b")
        x = inner(conv(conv(a)))
        return tf_keras.Model([a, b], [x, L.Add()([x, b])])

    model = build(L.Conv2D(3, 1, name="shared"), inner)
    binary = build(binary_form(L.Conv2D(3, 1, name="shared")), binarized(inner))
    binary.set_weights(model.get_weights())
    a, b = images(3), images(3)
    result = hk.report(model, binary, [a, b])
    assert [(layer.name, layer.macs) for layer in result.layers] == [
        ("shared", 2 * 64 * 9),
        ("inner/c", 64 * 81),
    ]
    assert len(result.outputs) == 2
    assert all(output.agreement is None for output in result.outputs)
    assert result.to_json() == hk.report(model, binary, {"b": b, "a": a}).to_json()
    with pytest.raises(hk.HashBWNError, match="no classifier with one output"):
        hk.report(model, binary, [a, b], [0, 1, 2])
    with pytest.raises(hk.HashBWNError, match="1 inputs and the model has 2"):
        hk.report(model, binary, [a])


def test_layers_in_a_loop_or_never_called_have_no_row():
    class Odd(L.Layer):
        def __init__(self, **settings):
            super().__init__(**settings)
            self.layers = [L.Dense(3, name="looped"), L.Dense(3, name="unused")]

        def build(self, shape):
            for layer in self.layers:
                layer.build(shape)
            super().build(shape)

        def call(self, x):
            return tf.map_fn(self.layers[0], x)

    x = L.Input((4, 3))
    model = tf_keras.Model(x, L.Dense(2, name="last")(Odd(name="odd")(x)))
    result = hk.report(model, model, np.ones((5, 4, 3)))
    assert [layer.name for layer in result.layers] == ["last"]


def test_leaves_the_models_as_they_were():
    model = classifier()
    binary, x = binarized(model), images(3)
    before = [w.copy() for w in model.get_weights() + binary.get_weights()]
    hk.report(model, binary, x)
    assert all("call" not in vars(layer) for layer in model.layers + binary.layers)
    for old, new in zip(before, model.get_weights() + binary.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.parametrize(
    ("data", "labels", "message"),
    [
        (np.zeros((0, 8, 8, 3)), None, "no data to compare"),
        (np.zeros((2, 8, 9, 3)), None, r"shape \(2, 8, 9, 3\) but the network wants"),
        (np.full((2, 8, 8, 3), np.nan), None, "NaN or infinite"),
        (np.full((2, 8, 8, 3), "x"), None, "pass numbers"),
        (7, None, "data is a int"),
        (np.zeros((2, 8, 8, 3)), [0], "2 images or more but 1 labels"),
        (np.zeros((2, 8, 8, 3)), [0, 1, 2], "2 images but 3 labels"),
        (np.zeros((2, 8, 8, 3)), [0.5, 1], "whole class numbers"),
        ({"x": np.zeros((2, 8, 8, 3))}, None, "lacks the input"),
    ],
)  # fmt: skip
def test_bad_data_is_one_sentence(data, labels, message):
    model = classifier()
    with pytest.raises(hk.HashBWNError, match=message):
        hk.report(model, binarized(model), data, labels)


def test_endless_dataset_is_refused():
    model = classifier()
    endless = tf.data.Dataset.from_tensors(images(1)).repeat()
    with pytest.raises(hk.HashBWNError, match="endless"):
        hk.report(model, binarized(model), endless)


def test_models_that_do_not_belong_together():
    model = classifier()
    other = tf_keras.Sequential([L.Input((8, 8, 3)), hk.HashBinaryConv2D(4, 3, name="unknown")])
    with pytest.raises(hk.HashBWNError, match="no layer 'unknown'"):
        hk.report(model, other, images(1))
    other = tf_keras.Sequential([L.Input((8, 8, 3)), hk.HashBinaryConv2D(9, 3, name="first")])
    with pytest.raises(hk.HashBWNError, match="Layer 'first' has kernels"):
        hk.report(model, other, images(1))


@pytest.mark.parametrize("thing", ["model.keras", None, tf_keras.Sequential([L.Dense(2)])])
def test_things_that_are_no_graph(thing):
    with pytest.raises(hk.HashBWNError, match="no Sequential or functional"):
        hk.report(thing, classifier(), images(1))


def test_values_that_are_not_finite():
    model = classifier()
    binary = binarized(model)
    bias = binary.get_layer("last").bias
    bias.assign(bias * np.nan)
    result = hk.report(model, binary, images(2))
    assert not result.outputs[0].finite
    assert "NOT FINITE" in str(result)
    assert json.loads(result.to_json())["outputs"][0]["relative_error"] is None
    assert "NaN" in result.to_html()
    assert 'width="nan"' not in result.to_html()
    with pytest.raises(hk.HashBWNError, match="float network is not finite"):
        hk.report(binary, binary, images(2))


@pytest.fixture
def whole_report():
    model = classifier()
    binary = binarized(model)
    done = {"relative_error": 0.2, "relative_error_before": 0.4, "method": "tabu"}
    set_recipe(binary, {"layers": {"last": done}, "skipped": {"first": "first convolution"}})
    return hk.report(model, binary, images(4), [0, 1, 2, 3])


def test_recipe_fills_in_what_only_the_solver_knew(whole_report):
    first, *_, last = whole_report.layers
    assert (last.solve_error, last.sign_error, last.method) == (0.2, 0.4, "tabu")
    assert first.why_float == "first convolution"


def test_json_holds_everything(whole_report):
    content = json.loads(whole_report.to_json())
    assert content["layers"][-1]["solve_error"] == 0.2
    assert content["layers"][-1]["scales"] == pytest.approx(whole_report.layers[-1].scales)
    assert content["macs"] == whole_report.macs
    assert content["recipe"]["layers"]["last"]["method"] == "tabu"


def test_text_is_aligned_and_names_every_layer(whole_report):
    lines = str(whole_report).splitlines()
    rows = lines[2 : 2 + len(whole_report.layers)]
    assert [row.split()[0] for row in rows] == [layer.name for layer in whole_report.layers]
    assert len({len(line) for line in lines[: 2 + len(rows)]}) == 1
    assert "top-1 agreement" in lines[-2]


def test_page_is_well_formed_and_loads_nothing(whole_report):
    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open_tags, self.seen = [], []

        def handle_starttag(self, tag, attrs):
            self.seen.append(tag)
            assert not {"src", "href"} & {name for name, _ in attrs}
            if tag != "meta":
                self.open_tags.append(tag)

        def handle_endtag(self, tag):
            assert self.open_tags.pop() == tag

    first = dataclasses.replace(whole_report.layers[0], name="first<b>&")
    page = dataclasses.replace(whole_report, layers=(first, *whole_report.layers[1:])).to_html()
    parser = Tags()
    parser.feed(page)
    assert parser.open_tags == []
    assert parser.seen.count("figure") == 4
    assert "first<b>" not in page
    assert "first&lt;b&gt;&amp;" in page
