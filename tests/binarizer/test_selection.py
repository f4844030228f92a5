"""Which layers are chosen, and the reasons for the others."""

import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer.selection import select
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network

layers = tf_keras.layers


def choose(model, filters=None):
    """Labels of the chosen layers, and the reason for each other one."""
    network = Network.of(model)
    found = select(network, filters)
    reasons = {label: skipped.reason for label, skipped in found.skipped.items()}
    return [network.labels[layer] for layer in found.chosen], reasons


@pytest.fixture
def model():
    x = tf_keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, name="stem")(x)
    y = layers.DepthwiseConv2D(3, name="depthwise")(y)
    y = layers.Conv2D(4, 1, name="pointwise")(y)
    y = layers.Conv2DTranspose(4, 3, name="up")(y)
    y = hk.HashBinaryConv2D(4, 3, name="binary")(y)
    y = layers.SeparableConv2D(4, 3, name="separable")(y)
    y = layers.Flatten()(y)
    y = layers.Dense(5, name="hidden")(y)
    return tf_keras.Model(x, layers.Activation("softmax")(layers.Dense(3, name="head")(y)))


def test_default_keeps_first_convolution_last_dense_and_depthwise(model):
    chosen, skipped = choose(model)
    assert chosen == ["pointwise", "separable", "hidden"]
    assert set(skipped) == {"stem", "depthwise", "up", "binary", "head"}
    assert "first convolution" in skipped["stem"]
    assert "last layer" in skipped["head"]
    assert "Conv2DTranspose" in skipped["up"]
    assert "quantizer already" in skipped["binary"]


@pytest.mark.parametrize(
    "filters",
    ["stem|head", ["stem", "head"], lambda layer: layer.name in ("stem", "head")],
    ids=["regex", "list", "callable"],
)
def test_filters_choose_alone(model, filters):
    chosen, skipped = choose(model, filters)
    assert chosen == ["stem", "head"]
    assert skipped["pointwise"] == "not chosen by filters"


def test_a_convolution_of_one_pixel_is_a_dense_layer():
    x = tf_keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, name="stem")(x)
    y = layers.Conv2D(4, 3, name="middle")(y)
    y = layers.GlobalAveragePooling2D(keepdims=True)(y)
    y = layers.Flatten()(layers.Conv2D(10, 1, name="head")(y))
    assert choose(tf_keras.Model(x, y))[0] == ["middle"]


def test_a_last_convolution_of_an_image_is_binarised():
    x = tf_keras.Input((8, 8, 3))
    y = layers.Conv2D(2, 3, name="last")(layers.Conv2D(4, 3, name="stem")(x))
    assert choose(tf_keras.Model(x, y))[0] == ["last"]


def test_layers_in_wrappers_are_skipped_with_a_reason():
    x = tf_keras.Input((2, 8, 8, 3))
    y = layers.TimeDistributed(layers.Conv2D(4, 3, name="inner"), name="wrap")(x)
    y = layers.Dense(4, name="dense")(y)
    y = layers.Dense(4, name="head")(layers.Flatten()(y))
    chosen, skipped = choose(tf_keras.Model(x, y))
    assert chosen == ["dense"]
    assert "wrapper" in skipped["wrap/inner"]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["stem", "missing"], "'missing'"),
        (["up"], "'up' cannot be binarised"),
        ("(", "no regular expression"),
        ("nothing matches", "no layer to binarise"),
        ([], "no layer to binarise"),
    ],
)
def test_bad_filters(model, filters, message):
    with pytest.raises(HashBWNError, match=message):
        choose(model, filters)


def test_a_model_without_kernels_is_refused():
    x = tf_keras.Input((8, 8, 3))
    with pytest.raises(HashBWNError, match="no layer has a kernel"):
        choose(tf_keras.Model(x, layers.ReLU()(x)))


def conv(filters, size, name):
    return layers.Conv2D(filters, size, padding="same", activation="relu", name=name)


def test_kernels_too_small_to_be_packed_stay_float():
    x = tf_keras.Input((8, 8, 3))
    y = conv(16, 3, "large")(conv(16, 3, "stem")(x))
    y = layers.SeparableConv2D(31, 3, name="separable_small")(conv(8, 1, "small")(y))
    y = layers.SeparableConv2D(32, 3, name="separable_large")(y)
    y = layers.Dense(16, name="hidden")(layers.GlobalAveragePooling2D()(y))
    y = layers.Dense(4, name="head")(layers.Dense(16, name="hidden_small")(y))
    chosen, skipped = choose(tf_keras.Model(x, y))
    assert chosen == ["large", "separable_large", "hidden"]
    for label in ("small", "separable_small", "hidden_small"):
        assert "fewer than 512 weights" in skipped[label]


@pytest.mark.parametrize("ending", ["pooling", "output", "softmax of a map"])
def test_a_convolution_that_classifies_stays_float(ending):
    x = tf_keras.Input((8, 8, 3))
    y = conv(32, 3, "middle")(conv(16, 3, "stem")(x))
    y = layers.BatchNormalization()(layers.Conv2D(20, 1, name="classifier")(y))
    if ending == "pooling":  # as in SqueezeNet
        y = layers.Activation("softmax")(layers.GlobalAveragePooling2D()(layers.ReLU()(y)))
    elif ending == "softmax of a map":
        y = layers.Softmax()(layers.UpSampling2D(2)(y))
    chosen, skipped = choose(tf_keras.Model(x, y))
    assert chosen == ["middle"]
    assert "last convolution" in skipped["classifier"]


def residual(head):
    x = tf_keras.Input((8, 8, 3))
    y = conv(16, 3, "stem")(x)
    for block in "ab":
        z = layers.Conv2D(16, 3, padding="same", name=f"{block}2")(conv(16, 3, f"{block}1")(y))
        z = layers.BatchNormalization()(z)
        y = layers.ReLU()(layers.Add()([y, z]) if block == "a" else y + z)
    y = layers.GlobalAveragePooling2D()(y)
    return tf_keras.Model(x, layers.Dense(4, name="head")(y) if head else y)


@pytest.mark.parametrize("head", [True, False])
def test_convolutions_of_residual_branches_are_binarised_whatever_comes_behind(head):
    assert choose(residual(head))[0] == ["a1", "a2", "b1", "b2"]


def test_of_several_outputs_each_has_its_last_layer():
    x = tf_keras.Input((8, 8, 3))
    y = conv(16, 3, "middle")(conv(16, 3, "stem")(x))
    boxes = layers.Conv2D(20, 3, name="boxes")(conv(16, 3, "before")(y))
    model = tf_keras.Model(x, [boxes, layers.Conv2D(20, 3, name="classes")(y)])
    chosen, skipped = choose(model)
    assert chosen == ["middle", "before"]
    assert {"boxes", "classes"} <= set(skipped)


def test_where_nothing_else_is_left_small_kernels_are_taken_and_said_so(caplog):
    x = tf_keras.Input((8, 8, 3))
    model = tf_keras.Model(x, conv(20, 3, "last")(conv(4, 3, "small")(conv(4, 3, "stem")(x))))
    assert choose(model)[0] == ["small", "last"]
    assert "small, last would stay float" in caplog.text


def test_layers_that_bits_asks_for_are_all_that_is_needed():
    x = tf_keras.Input((8, 8, 3))
    model = tf_keras.Model(x, conv(20, 3, "last")(conv(4, 3, "small")(conv(4, 3, "stem")(x))))
    network = Network.of(model)
    found = select(network, None, {"last": 2})
    assert [network.labels[layer] for layer in found.chosen] == ["last"]
    assert "fewer than 512" in found.skipped["small"].reason
