import json
import logging
from dataclasses import dataclass

import larq as lq
import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.kernels import binary_form
from hashbwn_keras.network.labels import flat_layers

L = tf_keras.layers


@dataclass
class Case:
    """A HashBinary layer, its float counterpart and what is known about both."""

    binary: type
    plain: type
    arguments: dict
    input_shape: tuple
    kernel: str
    axes: tuple
    macs: int


CASES = {
    "conv": Case(
        hk.HashBinaryConv2D, L.Conv2D, {"filters": 6, "kernel_size": 3, "padding": "same"},
        (7, 7, 4), "kernel", (0, 1, 2), 7 * 7 * 3 * 3 * 4 * 6,
    ),
    "strided": Case(
        hk.HashBinaryConv2D, L.Conv2D, {"filters": 6, "kernel_size": (3, 2), "strides": 2},
        (7, 7, 4), "kernel", (0, 1, 2), 3 * 3 * 3 * 2 * 4 * 6,
    ),
    "grouped": Case(
        hk.HashBinaryConv2D, L.Conv2D, {"filters": 6, "kernel_size": 3, "groups": 2},
        (7, 7, 4), "kernel", (0, 1, 2), 5 * 5 * 3 * 3 * 2 * 6,
    ),
    "dilated": Case(
        hk.HashBinaryConv2D, L.Conv2D,
        {"filters": 6, "kernel_size": 3, "dilation_rate": 2, "use_bias": False},
        (7, 7, 4), "kernel", (0, 1, 2), 3 * 3 * 3 * 3 * 4 * 6,
    ),
    "dense": Case(
        hk.HashBinaryDense, L.Dense, {"units": 5, "activation": "relu"},
        (9,), "kernel", (0,), 9 * 5,
    ),
    "depthwise": Case(
        hk.HashBinaryDepthwiseConv2D, L.DepthwiseConv2D, {"kernel_size": 3},
        (7, 7, 4), "depthwise_kernel", (0, 1), 5 * 5 * 3 * 3 * 4,
    ),
    "depth_multiplier": Case(
        hk.HashBinaryDepthwiseConv2D, L.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 3},
        (7, 7, 4), "depthwise_kernel", (0, 1), 5 * 5 * 3 * 3 * 4 * 3,
    ),
    "separable": Case(
        hk.HashBinarySeparableConv2D, L.SeparableConv2D, {"filters": 6, "kernel_size": 3},
        (7, 7, 4), "pointwise_kernel", (0, 1, 2), 5 * 5 * (3 * 3 * 4 + 4 * 6),
    ),
}  # fmt: skip


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request):
    return CASES[request.param]


def model_of(layer_class, case):
    model = tf_keras.Sequential(
        [L.Input(case.input_shape), layer_class(**case.arguments, name="layer")]
    )
    model.set_weights([np.random.normal(size=w.shape) for w in model.get_weights()])
    return model


def images(case, count=3):
    return np.random.normal(size=(count, *case.input_shape)).astype(np.float32)


def sign_mean(kernel, axes):
    scale = np.abs(kernel).mean(axes, keepdims=True)
    return np.where(kernel >= 0, scale, -scale)


def test_takes_plain_weights_and_computes_with_their_codes(case):
    plain, binary = model_of(case.plain, case), model_of(case.binary, case)
    binary.set_weights(plain.get_weights())
    variable = getattr(plain.get_layer("layer"), case.kernel)
    variable.assign(sign_mean(variable.numpy(), case.axes))
    x = images(case)
    np.testing.assert_allclose(
        binary.predict(x, verbose=0), plain.predict(x, verbose=0), rtol=1e-4, atol=1e-4
    )


def test_has_the_weights_of_the_plain_layer(case):
    plain, binary = model_of(case.plain, case), model_of(case.binary, case)
    assert [w.name for w in binary.weights] == [w.name for w in plain.weights]
    assert [w.shape for w in binary.weights] == [w.shape for w in plain.weights]


@pytest.mark.parametrize("form", ["model.keras", "model.h5", "saved_model"])
def test_whole_model_round_trip(case, form, tmp_path):
    model = model_of(case.binary, case)
    x = images(case)
    if form == "saved_model":
        model.save(tmp_path / form)
    else:
        hk.save_model(model, tmp_path / form)
    again = hk.load_model(tmp_path / form)
    assert type(again.get_layer("layer")) is case.binary
    assert [k.axes for k in binary_kernels(again)] == [case.axes]
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.parametrize("form", ["a.weights.h5", "checkpoint"])
def test_weights_round_trip(case, form, tmp_path):
    model, again = model_of(case.binary, case), model_of(case.binary, case)
    model.save_weights(tmp_path / form)
    loading = again.load_weights(tmp_path / form)
    if form == "checkpoint":
        loading.assert_consumed()
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_config_round_trip_is_plain_json(case):
    layer = case.binary(**case.arguments, name="layer")
    again = case.binary.from_config(json.loads(json.dumps(layer.get_config())))
    assert json.dumps(again.get_config()) == json.dumps(layer.get_config())


def test_larqs_summary_counts_bits_and_macs(case):
    model = model_of(case.binary, case)
    lines = []
    lq.models.summary(model, print_fn=lines.append)
    heads, row = lines[0].splitlines()[1], lines[0].splitlines()[-4]
    bits, *_, macs = row.strip("| ").rsplit(")", 1)[1].split()
    assert "# 1-bit" in heads
    assert int(bits) == np.prod(getattr(model.get_layer("layer"), case.kernel).shape)
    assert int(macs) == case.macs


def test_codes_times_scales_is_the_kernel_it_computes_with(case):
    model = model_of(case.binary, case)
    (found,) = binary_kernels(model)
    assert (found.name, found.axes) == ("layer", case.axes)
    codes, scales = hk.codes(model)["layer"]
    with lq.context.quantized_scope(True):
        used = getattr(model.get_layer("layer"), case.kernel).numpy()
    assert codes.dtype == np.int8
    assert set(np.unique(codes)) == {-1, 1}
    assert scales.shape == (np.prod([n for i, n in enumerate(used.shape) if i not in case.axes]),)
    spread = scales.reshape([1 if i in case.axes else n for i, n in enumerate(used.shape)])
    np.testing.assert_array_equal(codes * spread, used)


@pytest.mark.parametrize("scale", [0.01, 40.0])
def test_solved_weights_survive_a_training_step(case, scale):
    """One step of SGD moves the latents by the step alone: nothing is clipped."""
    model = model_of(case.binary, case)
    kernel = getattr(model.get_layer("layer"), case.kernel)
    solved = scale * np.where(kernel.numpy() >= 0, 1, -1).astype(np.float32)
    kernel.assign(solved)
    x = images(case)
    target = np.zeros_like(model.predict(x, verbose=0))
    model.compile(tf_keras.optimizers.legacy.SGD(0.0), loss="mse")
    model.train_on_batch(x, target)
    np.testing.assert_array_equal(kernel.numpy(), solved)
    model.compile(tf_keras.optimizers.Adam(1e-3), loss="mse")
    model.train_on_batch(x, target)
    assert 0 < np.abs(kernel.numpy() - solved).max() < 1.1e-3


def test_building_it_warns_about_nothing(case, caplog):
    with caplog.at_level(logging.WARNING):
        case.binary(**case.arguments)
    assert caplog.records == []


def test_binary_form_keeps_arguments_and_drops_what_moves_the_scales(case):
    argument = case.kernel.replace("_kernel", "")
    plain = case.plain(
        **case.arguments,
        name="layer",
        **{f"{argument}_regularizer": "l2", f"{argument}_constraint": "max_norm"},
    )
    layer = binary_form(plain)
    assert type(layer) is case.binary
    config, before = layer.get_config(), plain.get_config()
    assert config[f"{argument}_regularizer"] is None
    assert config[f"{argument}_constraint"]["class_name"] == "Unclipped"
    changed = {f"{argument}_regularizer", f"{argument}_constraint"}
    assert {k: config[k] for k in before if k not in changed} == {
        k: v for k, v in before.items() if k not in changed
    }


def test_arguments_keep_larqs_order():
    layer = hk.HashBinaryConv2D(4, 3, (2, 2), "same", 1.0, "channels_last", 1, 1, "relu", False)
    config = layer.get_config()
    assert (config["strides"], config["pad_values"], config["use_bias"]) == ((2, 2), 1.0, False)
    given = hk.HashBinaryDense(4, None, True, None, "ste_sign", kernel_constraint="weight_clip")
    assert isinstance(given.kernel_quantizer, lq.quantizers.SteSign)
    assert isinstance(given.kernel_constraint, lq.constraints.WeightClip)


def test_binary_form_refuses_what_it_does_not_know():
    with pytest.raises(hk.HashBWNError, match="'up' is a Conv2DTranspose"):
        binary_form(L.Conv2DTranspose(3, 3, name="up"))


def test_input_quantizer_survives_binary_form():
    layer = binary_form(lq.layers.QuantConv2D(4, 3, input_quantizer="ste_sign", name="c"))
    assert isinstance(layer.input_quantizer, lq.quantizers.SteSign)


@pytest.mark.parametrize("name", ["conv", "grouped", "depth_multiplier", "separable"])
def test_channels_first_has_the_same_kernel(name):
    case = CASES[name]
    last = model_of(case.binary, case)
    first = case.binary(**case.arguments, data_format="channels_first")
    first.build((None, case.input_shape[-1], *case.input_shape[:-1]))
    first.set_weights(last.get_layer("layer").get_weights())
    (ours,), (theirs,) = binary_kernels(first), binary_kernels(last)
    assert ours.axes == theirs.axes
    for a, b in zip(ours.codes(), theirs.codes(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_nested_shared_and_wrapped_layers_are_listed_once():
    inner = tf_keras.Sequential(
        [L.Input((8, 8, 3)), hk.HashBinaryConv2D(3, 3, padding="same", name="c")], name="inner"
    )
    shared = hk.HashBinaryConv2D(3, 1, name="shared")
    x = inputs = L.Input((8, 8, 3))
    x = shared(shared(inner(inner(x))))
    x = L.Reshape((8, 24))(x)
    x = L.TimeDistributed(hk.HashBinaryDense(4, name="d"), name="steps")(x)
    model = tf_keras.Model(inputs, x)
    assert [k.name for k in binary_kernels(model)] == ["inner/c", "shared", "steps/d"]
    assert "inner/c" in dict(flat_layers(model))


def test_second_kernel_of_a_layer_has_its_own_name():
    layer = hk.HashBinarySeparableConv2D(4, 3, depthwise_quantizer="hash_sign", name="s")
    layer.build((None, 8, 8, 3))
    assert [k.name for k in binary_kernels(layer)] == ["s", "s/pointwise_kernel"]


def test_larqs_own_layers_with_the_alias_count():
    layer = lq.layers.QuantDense(4, kernel_quantizer="hash_sign", kernel_constraint="weight_clip")
    layer.build((None, 3))
    assert [k.axes for k in binary_kernels(layer)] == [(0,)]


def test_bits_beside_a_quantizer_are_refused_with_the_cure():
    with pytest.raises(hk.HashBWNError, match=r"kernel_quantizer=hashbwn.*HashSign\(bits=2\)"):
        hk.HashBinaryConv2D(4, 3, kernel_quantizer="hash_sign", bits=2)
    layer = hk.HashBinaryConv2D(4, 3, kernel_quantizer=hk.quantizers.HashSign(bits=2))
    assert layer.kernel_quantizer.bits == 2


@pytest.mark.parametrize("name", CASES)
def test_longer_codes_round_trip_and_count_their_bits(name):
    case = CASES[name]
    layer = case.binary(**case.arguments, bits=3)
    model = tf_keras.Sequential([L.Input(case.input_shape), layer])
    again = tf_keras.Sequential.from_config(model.get_config())
    again.set_weights(model.get_weights())
    (kernel,), (copy,) = binary_kernels(model), binary_kernels(again)
    assert kernel.bits == copy.bits == 3
    np.testing.assert_array_equal(kernel.codes().codes, copy.codes().codes)
    x = np.random.default_rng(1).normal(size=(2, *case.input_shape)).astype(np.float32)
    plain = case.plain(**case.arguments)
    plain(x)
    weights = layer.get_weights()
    position = [v.name for v in layer.weights].index(kernel.variable.name)
    weights[position] = kernel.values()
    plain.set_weights(weights)
    np.testing.assert_allclose(model(x), plain(x), rtol=1e-5, atol=1e-5)
