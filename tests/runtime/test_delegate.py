"""The delegate in TensorFlow's interpreter, against NumPy and against the stock interpreter."""

import ctypes
import threading
import warnings

import graphs
import numpy as np
import pytest
import tensorflow as tf
from graphs import NONE, RELU, RELU6, SAME, VALID, Graph
from hypothesis import given, settings, strategies as st

from hashbwn_keras.runtime.library import Native, delegate_path

IN, OUT = (0.02, -5), (0.07, 11)  # (scale, zero point) of int8 activations


def interpreter(content, delegated=True, preserve=False, **options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors")
        delegates = None
        if delegated:
            options = {"force": "1", **options}
            delegates = [tf.lite.experimental.load_delegate(str(delegate_path()), options)]
        return tf.lite.Interpreter(
            model_content=content,
            experimental_delegates=delegates,
            experimental_preserve_all_tensors=preserve,
        )


def run(content, x, delegated=True, **options):
    """(output, layers claimed)"""
    i = interpreter(content, delegated, **options)
    claimed = Native(delegate_path()).claimed() if delegated else 0
    i.allocate_tensors()
    i.set_tensor(i.get_input_details()[0]["index"], x)
    i.invoke()
    return i.get_tensor(i.get_output_details()[0]["index"]), claimed


def expected_conv(x, codes, stride, dilation, padding):
    """Sum of codes * x over each window, by definition; x already without its zero point."""
    n, h, w, _ = x.shape
    o, kh, kw, _ = codes.shape
    out = [graphs.output_extent(s, k, stride, dilation, padding) for s, k in ((h, kh), (w, kw))]
    before = [0, 0]
    if padding == SAME:
        for i, (s, k) in enumerate(((h, kh), (w, kw))):
            before[i] = max(0, (out[i] - 1) * stride + (k - 1) * dilation + 1 - s) // 2
    y = np.zeros((n, *out, o), np.float64)
    for oy in range(out[0]):
        for ox in range(out[1]):
            for ky in range(kh):
                for kx in range(kw):
                    iy = oy * stride + ky * dilation - before[0]
                    ix = ox * stride + kx * dilation - before[1]
                    if 0 <= iy < h and 0 <= ix < w:
                        y[:, oy, ox] += x[:, iy, ix].astype(np.float64) @ codes[:, ky, kx].T
    return y


def activate(y, activation):
    low, high = {NONE: (-np.inf, np.inf), RELU: (0, np.inf), RELU6: (0, 6)}[activation]
    return np.clip(y, low, high)


def layer(rng, shape):
    codes = (rng.integers(0, 2, shape) * 2 - 1).astype(np.int8)
    return codes, (rng.random(shape[0]) + 0.1).astype(np.float32), rng.normal(size=shape[0])


def check(content, x, y, alpha, bias, activation, int8, unit=127):
    """y: exact sums of signed inputs, float64."""
    got, claimed = run(content, x)
    assert claimed == 1
    if not int8:
        want = activate(y * alpha + bias, activation)
        np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 * (np.abs(want).max() + 1) * 10)
        return
    # gemmlowp's and float32 requantisation round the same real number: at most one step apart.
    scale = np.float32(IN[0]) * alpha / np.float32(unit)
    stored_bias = np.round(bias / scale)
    real = (
        activate((y * unit + stored_bias) * scale.astype(np.float64), activation) / OUT[0] + OUT[1]
    )
    want = np.clip(np.round(real), -128, 127)
    off = np.abs(got - want)
    assert off.max() <= 1
    assert (off[np.abs(real - np.floor(real) - 0.5) > 1e-3] == 0).all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_convolution(data):
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(pick(0, 2**32))
    kh, kw, stride, dilation = pick(1, 5), pick(1, 5), pick(1, 3), pick(1, 3)
    padding = data.draw(st.sampled_from([SAME, VALID]))
    least = 1 if padding == SAME else max(kh, kw) * dilation
    shape = [pick(1, 3), pick(least, least + 12), pick(least, least + 12), pick(1, 20)]
    activation, int8 = data.draw(st.sampled_from([NONE, RELU, RELU6])), pick(0, 1)
    storage = data.draw(st.sampled_from(["constant", "packed"] + ["dequantised"] * (not int8)))
    codes, alpha, bias = layer(rng, (pick(1, 40), kh, kw, shape[3]))
    g = Graph()
    if int8:
        x = g.tensor(shape, np.int8, scale=IN[0], zero=IN[1])
        values = rng.integers(-128, 128, shape).astype(np.int8)
    else:
        x = g.tensor(shape, np.float32)
        values = rng.normal(size=shape).astype(np.float32)
    y, _ = g.conv(
        x,
        codes,
        alpha,
        bias,
        out=OUT if int8 else None,
        stride=stride,
        dilation=dilation,
        padding=padding,
        activation=activation,
        shape=shape,
        filter_tensor=g.stored_filter(codes, alpha, storage, int8),
    )
    centred = values.astype(np.int64) - IN[1] if int8 else values
    sums = expected_conv(centred, codes, stride, dilation, padding)
    check(g.finish([x], [y]), values, sums, alpha, bias, activation, int8)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_dense(data):
    pick = lambda low, high: data.draw(st.integers(low, high))  # noqa: E731
    rng = np.random.default_rng(pick(0, 2**32))
    batch, inputs, outputs, int8 = pick(1, 12), pick(1, 600), pick(1, 70), pick(0, 1)
    activation = data.draw(st.sampled_from([NONE, RELU, RELU6]))
    storage = data.draw(st.sampled_from(["constant", "packed"] + ["dequantised"] * (not int8)))
    codes, alpha, bias = layer(rng, (outputs, inputs))
    g = Graph()
    if int8:
        x = g.tensor([batch, inputs], np.int8, scale=IN[0], zero=IN[1])
        values = rng.integers(-128, 128, (batch, inputs)).astype(np.int8)
    else:
        x = g.tensor([batch, inputs], np.float32)
        values = rng.normal(size=(batch, inputs)).astype(np.float32)
    y, _ = g.dense(
        x,
        codes,
        alpha,
        bias,
        out=OUT if int8 else None,
        activation=activation,
        batch=batch,
        filter_tensor=g.stored_filter(codes, alpha, storage, int8),
    )
    sums = (values.astype(np.float64) - (IN[1] if int8 else 0)) @ codes.T
    check(g.finish([x], [y]), values, sums, alpha, bias, activation, int8)


@pytest.mark.parametrize("storage", ["float", "int8", "dequantised", "packed float", "packed int8"])
@pytest.mark.parametrize("bits", [2, 3, 4])
@pytest.mark.parametrize("is_conv", [True, False])
def test_filters_of_more_bits(is_conv, bits, storage):
    """Odd multiples of α, each the product rounded once, are claimed and computed exactly."""
    rng = np.random.default_rng(bits)
    shape, int8 = (21, 3, 2, 7) if is_conv else (70, 90), storage.endswith("int8")
    codes = (2 * rng.integers(0, 2**bits, shape) - (2**bits - 1)).astype(np.int8)
    codes[:3] = np.sign(codes[:3]) * min(3, 2**bits - 1)  # channels without the least level
    alpha, bias = (rng.random(shape[0]) + 0.1).astype(np.float32), rng.normal(size=shape[0])
    alpha /= 2**bits
    x_shape = [2, 6, 5, 7] if is_conv else [3, 90]
    g = Graph()
    x = g.tensor(
        x_shape, np.int8 if int8 else np.float32, scale=IN[0] if int8 else None, zero=IN[1]
    )
    values = random_input(x_shape, int8)
    form = {"float": "constant", "int8": "constant"}.get(storage, storage.split()[0])
    stored = g.stored_filter(codes, alpha, form, int8)
    options = {"out": OUT if int8 else None, "filter_tensor": stored}
    if is_conv:
        y, _ = g.conv(x, codes, alpha, bias, shape=x_shape, **options)
    else:
        y, _ = g.dense(x, codes, alpha, bias, batch=3, **options)
    centred = values.astype(np.int64) - IN[1] if int8 else values.astype(np.float64)
    sums = expected_conv(centred, codes, 1, 1, SAME) if is_conv else centred @ codes.T
    unit = 127 // int(np.abs(codes).max())
    check(g.finish([x], [y]), values, sums, alpha, bias, NONE, int8, unit)


def small_net(int8, storage, seed=0):
    """Four layers, one of them with a filter of many values. (content, input shape)"""
    rng = np.random.default_rng(seed)
    shape = [1, 14, 13, 6]
    g = Graph()
    x = g.tensor(shape, np.int8, scale=0.02, zero=-5) if int8 else g.tensor(shape, np.float32)
    y, s = x, shape
    for outputs, k, stride, activation in ((24, 3, 1, RELU), (40, 1, 2, RELU6), (33, 5, 1, NONE)):
        codes, alpha, bias = layer(rng, (outputs, k, k, s[3]))
        alpha /= k * s[3]
        stored = g.stored_filter(codes, alpha, storage, int8)
        y, s = g.conv(
            y,
            codes,
            alpha,
            bias,
            out=(0.05, -10) if int8 else None,
            stride=stride,
            activation=activation,
            shape=s,
            filter_tensor=stored,
        )
    codes = rng.integers(1, 100, (9, 1, 1, s[3])).astype(np.float32) / 100
    codes[0, 0, 0, 0] = 1
    y, s = g.conv(
        y, codes, np.full(9, 0.1, np.float32), np.zeros(9), out=(0.05, 3) if int8 else None, shape=s
    )
    return g.finish([x], [y]), shape


def random_input(shape, int8, seed=1):
    rng = np.random.default_rng(seed)
    if int8:
        return rng.integers(-128, 128, shape).astype(np.int8)
    return rng.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("storage", ["constant", "packed", "dequantised"])
@pytest.mark.parametrize("int8", [False, True])
def test_a_net_agrees_with_the_stock_interpreter(int8, storage):
    if int8 and storage == "dequantised":
        pytest.skip("a float form")
    content, shape = small_net(int8, storage)
    x = random_input(shape, int8)
    stock, _ = run(content, x, delegated=False)
    ours, claimed = run(content, x)
    assert claimed == 3
    if int8:
        assert (stock == ours).mean() > 0.999
        assert np.abs(stock.astype(int) - ours).max() <= 1
    else:
        np.testing.assert_allclose(ours, stock, rtol=1e-5, atol=1e-5)


def test_the_packed_filter_is_not_rebuilt():
    """What the operators of the pattern would write has no memory, so its floats take none."""
    content, shape = small_net(False, "packed")
    i = interpreter(content)
    i.allocate_tensors()
    i.set_tensor(0, random_input(shape, False))
    i.invoke()
    pattern = [o for o in i._get_ops_details() if o["op_name"] in ("MUL", "RESHAPE", "GATHER")]
    assert len(pattern) >= 12
    for operator in pattern:
        with pytest.raises(ValueError, match="Tensor data is null"):
            i.get_tensor(operator["outputs"][0])


def narrow_net(int8, storage, seed=0):
    """Layers that are left to the interpreter, and one that is not. (content, input shape)"""
    rng = np.random.default_rng(seed)
    shape = [1, 14, 13, 5]
    g = Graph()
    x = g.tensor(shape, np.int8, scale=0.02, zero=-5) if int8 else g.tensor(shape, np.float32)
    y, s = x, shape
    for outputs, k, inputs in ((7, 3, 5), (3, 1, 7), (300, 3, 3), (11, 2, 300)):
        codes, alpha, bias = layer(rng, (outputs, k, k, inputs))
        alpha /= k * inputs
        stored = g.stored_filter(codes, alpha, storage, int8)
        out = (0.05, -10) if int8 else None
        y, s = g.conv(y, codes, alpha, bias, out=out, shape=s, filter_tensor=stored)
    return g.finish([x], [y]), shape


@pytest.mark.parametrize("int8", [False, True])
def test_packed_filters_of_unclaimed_layers_are_constants_to_the_interpreter(int8):
    """A packed file computes what the same file with constants does, by the same kernels."""
    content, shape = narrow_net(int8, "constant")
    packed, _ = narrow_net(int8, "packed")
    x = random_input(shape, int8)
    want, claimed = run(content, x, force="0")
    assert claimed < 4
    got, same = run(packed, x, force="0")
    assert same == claimed
    assert Native(delegate_path()).unpacked() == 4 - claimed
    np.testing.assert_array_equal(got, want)


def test_unpacked_filters_survive_other_input_shapes():
    content, _ = narrow_net(False, "packed")
    results = []
    for delegated in (False, True):
        i = interpreter(content, delegated, force="0")
        for height in (9, 20, 4):
            i.resize_tensor_input(0, [2, height, 13, 5])
            i.allocate_tensors()
            i.set_tensor(0, random_input([2, height, 13, 5], False))
            i.invoke()
        results.append(i.get_tensor(i.get_output_details()[0]["index"]))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_one_packed_filter_of_two_layers_is_unpacked_once():
    rng = np.random.default_rng(0)
    codes, alpha, bias = layer(rng, (5, 3, 3, 5))
    g = Graph()
    x = g.tensor([1, 8, 8, 5], np.float32)
    stored = g.stored_filter(codes, alpha, "packed", False)
    y, s = g.conv(x, codes, alpha, bias, shape=[1, 8, 8, 5], filter_tensor=stored)
    y, _ = g.conv(y, codes, alpha, bias, shape=s, filter_tensor=stored)
    content, values = g.finish([x], [y]), random_input([1, 8, 8, 5], False)
    got, claimed = run(content, values, force="0")
    assert (claimed, Native(delegate_path()).unpacked()) == (0, 1)
    np.testing.assert_allclose(got, run(content, values, delegated=False)[0], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("int8", [False, True])
def test_packed_depthwise_filters_are_constants_to_the_interpreter(int8):
    shape, results = [1, 9, 9, 20], []
    for packed in (False, True):
        rng = np.random.default_rng(0)
        codes, alpha, _ = layer(rng, (1, 3, 3, 20))
        alpha = np.full(20, 0.1, np.float32) if int8 else rng.random(20).astype(np.float32)
        g = Graph()
        x = g.tensor(shape, np.int8, scale=0.02, zero=-5) if int8 else g.tensor(shape, np.float32)
        out = (0.05, -10) if int8 else None
        y, _ = g.depthwise(x, codes, alpha, out=out, shape=shape, packed=packed)
        results.append(run(g.finish([x], [y]), random_input(shape, int8))[0])
        assert Native(delegate_path()).unpacked() == packed
    np.testing.assert_array_equal(*results)


def test_all_tensors_preserved():
    """Nothing is hidden behind a constant filter; a packed one, never unpacked, is refused at load
    by the runtimes that then give every operator a part of its own (not those up to 2.18)."""
    content, shape = small_net(False, "constant")
    i = interpreter(content, preserve=True)
    i.allocate_tensors()
    i.set_tensor(0, random_input(shape, False))
    i.invoke()
    for detail in i.get_tensor_details():
        assert np.isfinite(i.get_tensor(detail["index"])).all()
    packed = small_net(False, "packed")[0]
    try:
        i = interpreter(packed, preserve=True)
    except RuntimeError as error:
        assert "never made" in str(error)
        return
    assert tuple(map(int, tf.__version__.split(".")[:2])) <= (2, 18)
    i.allocate_tensors()


def test_resized_input():
    content, _ = small_net(False, "constant")
    x = random_input([3, 9, 20, 6], False)
    results = []
    for delegated in (False, True):
        i = interpreter(content, delegated)
        i.resize_tensor_input(0, x.shape)
        i.allocate_tensors()
        i.set_tensor(0, x)
        i.invoke()
        results.append(i.get_tensor(i.get_output_details()[0]["index"]))
    np.testing.assert_allclose(*results, rtol=1e-5, atol=1e-5)


def test_threads_give_the_same_result():
    content, shape = small_net(False, "constant")
    x = random_input(shape, False)
    one, _ = run(content, x, num_threads="1")
    two, _ = run(content, x, num_threads="2")
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)


def test_two_interpreters_in_two_threads():
    content, shape = small_net(True, "packed")
    inputs = [random_input(shape, True, seed) for seed in (1, 2)]
    expected = [run(content, x)[0] for x in inputs]
    wrong = []

    def work(x, want):
        for _ in range(20):
            if not np.array_equal(run(content, x, num_threads="2")[0], want):
                wrong.append(1)

    threads = [
        threading.Thread(target=work, args=pair) for pair in zip(inputs, expected, strict=True)
    ]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def load(**options):
    return tf.lite.experimental.load_delegate(str(delegate_path()), options)


def close(delegate):
    """What Java's close() does: gives it back, whoever still uses it."""
    delegate.__del__()


def interpreter_with(content, *delegates):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        return tf.lite.Interpreter(model_content=content, experimental_delegates=delegates)


def invoke(i, x):
    i.resize_tensor_input(0, x.shape)
    i.allocate_tensors()
    i.set_tensor(0, x)
    i.invoke()
    return i.get_tensor(i.get_output_details()[0]["index"])


def taken(delegate):
    count = delegate._library.hashbwn_delegate_taken
    count.argtypes = [ctypes.c_void_p]
    return count(delegate._get_native_delegate_pointer())


def test_a_delegate_closed_before_its_interpreter():
    content, shape = small_net(False, "packed")
    x = random_input(shape, False)
    delegate = load(force="1")
    i = interpreter_with(content, delegate)
    want = invoke(i, x)
    close(delegate)
    try:
        np.testing.assert_array_equal(invoke(i, x), want)
        larger = random_input([2, *shape[1:]], False)
        assert invoke(i, larger).shape[0] == 2  # allocated anew
    except RuntimeError as error:  # applies delegates again, as tflite-runtime 2.14 does
        assert "the delegate was closed before its interpreter" in str(error)
    del i


def test_two_delegates_in_one_process_and_on_one_graph():
    content, shape = small_net(False, "packed")
    x = random_input(shape, False)
    want, claimed = run(content, x)
    first, second, both = load(force="1"), load(force="1", num_threads="2"), load(force="1")
    assert taken(first) == 0
    one, two = interpreter_with(content, first), interpreter_with(content, second, both)
    assert [taken(d) for d in (first, second, both)] == [claimed, claimed, 0]
    np.testing.assert_array_equal(invoke(one, x), want)
    close(first)
    np.testing.assert_allclose(invoke(two, x), want, rtol=1e-5, atol=1e-6)


def test_not_finite_inputs_stay_not_finite():
    rng = np.random.default_rng(0)
    codes, alpha, bias = layer(rng, (64, 100))
    g = Graph()
    x = g.tensor([1, 100], np.float32)
    y, _ = g.dense(x, codes, alpha, bias, batch=1)
    values = rng.normal(size=(1, 100)).astype(np.float32)
    values[0, 3] = np.nan
    assert np.isnan(run(g.finish([x], [y]), values)[0]).all()
    values[0, 3] = np.inf
    assert np.array_equal(run(g.finish([x], [y]), values)[0] > 0, [codes[:, 3] > 0])


@pytest.mark.parametrize(
    "options", [{"threads": "1"}, {"num_threads": "0"}, {"num_threads": "x"}, {"verbose": "2"}]
)
def test_unknown_options_are_refused(options):
    with pytest.raises(ValueError, match="option"):
        tf.lite.experimental.load_delegate(str(delegate_path()), options)


def test_filters_of_more_values_are_left_alone():
    rng = np.random.default_rng(0)
    codes, alpha, bias = layer(rng, (64, 3, 3, 8))
    g = Graph()
    x = g.tensor([1, 5, 5, 8], np.float32)
    y, _ = g.conv(x, codes, alpha, bias, shape=[1, 5, 5, 8])
    g.model.buffers[1].data = g.model.buffers[1].data.copy()
    g.model.buffers[1].data[:4] = np.frombuffer(np.float32(0.123).tobytes(), np.uint8)
    content, values = g.finish([x], [y]), random_input([1, 5, 5, 8], False)
    ours, claimed = run(content, values)
    assert claimed == 0
    np.testing.assert_array_equal(ours, run(content, values, delegated=False)[0])


@pytest.mark.parametrize("which", ["powers", "minus_one", "pairs", "axis", "clamp"])
def test_altered_packed_pattern_is_left_alone(which):
    rng = np.random.default_rng(0)
    codes, alpha, bias = layer(rng, (64, 1, 1, 8))
    g = Graph()
    x = g.tensor([1, 5, 5, 8], np.float32)
    stored = g.stored_filter(codes, alpha, "packed", False)
    y, _ = g.conv(x, codes, alpha, bias, shape=[1, 5, 5, 8], filter_tensor=stored)
    _, powers, minus_one, pairs = g.model.buffers[1:5]
    if which == "powers":
        powers.data = np.roll(powers.data, 4)
    elif which == "minus_one":
        minus_one.data = np.frombuffer(np.int32(-2).tobytes(), np.uint8)
    elif which == "pairs":
        pairs.data = pairs.data.copy()
        pairs.data[3] ^= 0x80  # the sign of one value
    elif which == "axis":
        g.graph.operators[3].builtinOptions.batchDims = 0
        g.graph.operators[3].builtinOptions.axis = 0
    else:
        g.graph.operators[1].builtinOptions.fusedActivationFunction = RELU
    i = interpreter(g.finish([x], [y]))
    assert Native(delegate_path()).claimed() == 0
    del i


def test_grouped_convolution_is_left_to_the_runtime():
    rng = np.random.default_rng(0)
    codes, alpha, bias = layer(rng, (64, 3, 3, 4))
    g = Graph()
    x = g.tensor([1, 5, 5, 8], np.float32)
    y, _ = g.conv(x, codes, alpha, bias, shape=[1, 5, 5, 8])
    values = random_input([1, 5, 5, 8], False)
    assert run(g.finish([x], [y]), values)[1] == 0
