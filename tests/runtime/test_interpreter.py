"""The Interpreter class: every file of the project, arrays in and out."""

import threading
from pathlib import Path

import graphs
import numpy as np
import pytest
import tf_keras
from graphs import Graph

import hashbwn_keras
from hashbwn_keras import export
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime import library


def net(int8=False, outputs=64):
    rng = np.random.default_rng(0)
    codes = (rng.integers(0, 2, (outputs, 3, 3, 8)) * 2 - 1).astype(np.int8)
    g = Graph()
    shape = [1, 6, 7, 8]
    x = g.tensor(shape, np.int8, scale=0.02, zero=-5) if int8 else g.tensor(shape, np.float32)
    y, _ = g.conv(
        x,
        codes,
        np.full(outputs, 0.1, np.float32),
        np.zeros(outputs),
        shape=shape,
        out=(0.05, 3) if int8 else None,
        filter_tensor=g.stored_filter(codes, np.full(outputs, 0.1, np.float32), "packed", int8),
    )
    return g.finish([x], [y])


def images(n):
    return np.random.default_rng(1).normal(size=(n, 6, 7, 8)).astype(np.float32)


def test_predict_takes_any_number_of_samples(tmp_path):
    path = tmp_path / "net.tflite"
    path.write_bytes(net())
    interpreter = hashbwn_keras.Interpreter(path, num_threads=2)
    assert interpreter.delegated == 1
    assert "1 layers on" in interpreter.status
    x = images(3)
    y = interpreter.predict(x)
    assert y.shape == (3, 6, 7, 64)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(interpreter.predict(x[1:2]), y[1:2])


def test_packed_filters_of_layers_left_to_the_interpreter_are_counted():
    interpreter = hashbwn_keras.Interpreter(net(outputs=5))
    assert interpreter.delegated == 0
    assert interpreter.status.endswith("kernels, 1 packed filters unpacked for its own")


def test_int8_files_take_and_give_float():
    interpreter = hashbwn_keras.Interpreter(net(int8=True))
    x = images(2)
    y = interpreter.predict(x)
    exact = hashbwn_keras.Interpreter(net()).predict(x)
    assert y.dtype == np.float32
    assert np.abs(y - exact).mean() < 0.05
    quantised = np.clip(np.rint(x / np.float32(0.02)) - 5, -128, 127).astype(np.int8)
    np.testing.assert_array_equal(interpreter.predict(quantised), y)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((1, 6, 7, 4), np.float32), r"\(1, 6, 7, 4\)"),
        (np.zeros((6, 7, 8), np.float32), r"\(6, 7, 8\)"),
        (np.zeros((0, 6, 7, 8), np.float32), "n >= 1"),
        (np.zeros((1, 6, 7, 8), np.int16), "int16"),
        ([np.zeros((1, 6, 7, 8), np.float32)] * 2, "1 inputs, 2"),
    ],
)
def test_wrong_arrays_are_refused(x, message):
    with pytest.raises(HashBWNError, match=message):
        hashbwn_keras.Interpreter(net()).predict(x)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model at all", "TFL3"),
        (b"\xff\xff\xff\x7fTFL3", "damaged"),
        ("/nowhere/net.tflite", "/nowhere/net.tflite"),
    ],
)
def test_wrong_files_are_refused(model, message):
    with pytest.raises(HashBWNError, match=message):
        hashbwn_keras.Interpreter(model)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_wrong_threads_are_refused(threads):
    with pytest.raises(HashBWNError, match="num_threads"):
        hashbwn_keras.Interpreter(net(), num_threads=threads)


def test_without_a_library_it_says_so_and_runs(monkeypatch):
    x = images(1)
    want = hashbwn_keras.Interpreter(net()).predict(x)

    def none():
        raise HashBWNError("The native library cannot be built: No C compiler was found.")

    monkeypatch.setattr(hashbwn_keras.runtime.interpreter, "delegate_path", none)
    with pytest.warns(RuntimeWarning, match="No C compiler"):
        interpreter = hashbwn_keras.Interpreter(net())
    assert interpreter.delegated == 0
    assert "No C compiler" in interpreter.status
    np.testing.assert_allclose(interpreter.predict(x), want, rtol=1e-5, atol=1e-5)


def test_lce_files_run_in_its_interpreter():
    lce = pytest.importorskip("larq_compute_engine")
    import larq as lq

    model = tf_keras.Sequential(
        [
            lq.layers.QuantConv2D(
                32, 3, kernel_quantizer="ste_sign", kernel_constraint="weight_clip",
                use_bias=False, input_shape=(8, 8, 3), name="first",
            ),
            lq.layers.QuantConv2D(
                32, 3, input_quantizer="ste_sign", kernel_quantizer="ste_sign",
                kernel_constraint="weight_clip", use_bias=False, name="second",
            ),
        ]
    )  # fmt: skip
    content = lce.convert_keras_model(model)
    interpreter = hashbwn_keras.Interpreter(content)
    assert interpreter.delegated == 0
    assert "larq_compute_engine" in interpreter.status
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(interpreter.predict(x), model.predict(x, verbose=0), atol=1e-4)


def test_the_native_library_says_what_it_is():
    native = library.Native(library.delegate_path())
    sets = Path(graphs.__file__).parents[1] / "kernels" / "isa.inc"
    assert f"HB_SET({native.kernels}," in sets.read_text()
    assert graphs.output_extent(7, 3, 2, 1, graphs.SAME) == 4


@pytest.fixture(scope="module")
def two_sided():
    """Inputs and outputs whose order is not that of their names, as the converter has them."""
    left, right = (tf_keras.Input((9, 9, 3), name=name) for name in ("left", "right"))
    conv = hashbwn_keras.HashBinaryConv2D
    mixed = conv(20, 3)(right) - 0.5 * conv(20, 3)(left)
    outputs = [
        tf_keras.layers.Dense(2, name="zebra")(tf_keras.layers.Flatten()(mixed)),
        conv(2, 3, name="ant")(mixed),
    ]
    return tf_keras.Model([right, left], outputs)


def pair(n=3):
    return [np.random.default_rng(i).normal(size=(n, 9, 9, 3)).astype(np.float32) for i in (0, 1)]


@pytest.mark.parametrize("make", [export.to_tflite, export.to_lce])
def test_inputs_and_outputs_are_in_the_order_of_the_keras_model(two_sided, make):
    if make is export.to_lce:
        pytest.importorskip("larq_compute_engine")
    interpreter = hashbwn_keras.Interpreter(make(two_sided))
    assert interpreter.input_names == ["right", "left"]
    assert interpreter.output_names == ["zebra", "ant"]
    right, left = pair()
    want = two_sided([right, left])
    for given in ([right, left], {"left": left, "right": right}):
        for got, wanted in zip(interpreter.predict(given), want, strict=True):
            np.testing.assert_allclose(got, wanted, atol=1e-4)
    with pytest.raises(HashBWNError, match=r"inputs \['right', 'left'\]: \['left', 'top'\] are"):
        interpreter.predict({"left": left, "top": right})
    with pytest.raises(HashBWNError, match="different numbers of samples"):
        interpreter.predict([right[:1], left])


def test_files_of_others_are_in_the_order_of_their_signature(two_sided):
    import tensorflow as tf

    content = tf.lite.TFLiteConverter.from_keras_model(two_sided).convert()
    interpreter = hashbwn_keras.Interpreter(content)
    assert interpreter.input_names == ["left", "right"]
    assert interpreter.output_names == ["ant", "zebra"]


@pytest.fixture(scope="module")
def open_sized():
    """A model that takes images of any size, of at least 5 by 5."""
    image = x = tf_keras.Input((None, None, 3))
    for _ in range(2):
        x = hashbwn_keras.HashBinaryConv2D(20, 3, activation="relu")(x)
    return tf_keras.Model(image, tf_keras.layers.GlobalAveragePooling2D()(x))


@pytest.mark.parametrize("make", [export.to_tflite, export.to_lce])
def test_open_sizes_are_those_of_the_images(open_sized, make):
    if make is export.to_lce:
        pytest.importorskip("larq_compute_engine")
    interpreter = hashbwn_keras.Interpreter(make(open_sized))
    for height, width in ((12, 12), (7, 9), (12, 12)):
        x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
        np.testing.assert_allclose(interpreter.predict(x), open_sized(x), atol=1e-5)
    with pytest.raises(HashBWNError, match="cannot run the file on inputs of shape"):
        interpreter.predict(np.zeros((1, 3, 3, 3), np.float32))
    np.testing.assert_allclose(interpreter.predict(x), open_sized(x), atol=1e-5)


@pytest.mark.parametrize("make", [export.to_tflite, export.to_lce])
def test_a_fixed_batch_is_run_as_one(make):
    if make is export.to_lce:
        pytest.importorskip("larq_compute_engine")
    image = tf_keras.Input((9, 9, 3), batch_size=4)
    x = hashbwn_keras.HashBinaryConv2D(20, 3)(image)
    model = tf_keras.Model(image, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(x)))
    x = pair(10)[0]
    want = model.predict(np.concatenate([x, x[:2]]), batch_size=4, verbose=0)
    content = make(model)
    for n in (10, 4, 1):
        got = hashbwn_keras.Interpreter(content).predict(x[:n])
        np.testing.assert_allclose(got, want[:n], atol=1e-5)
    assert export.verify(model, content, x).ok


@pytest.fixture(scope="module")
def bytes_in():
    image = tf_keras.Input((9, 9, 3), dtype="uint8")
    x = tf_keras.layers.Rescaling(1 / 127.5, offset=-1)(image)
    x = hashbwn_keras.HashBinaryConv2D(20, 3)(x)
    return tf_keras.Model(image, tf_keras.layers.GlobalAveragePooling2D()(x))


def test_values_that_would_be_truncated_are_refused(bytes_in):
    content = export.to_tflite(bytes_in)
    interpreter = hashbwn_keras.Interpreter(content)
    x = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3))
    want = bytes_in(x.astype(np.uint8))
    for same in (x.astype(np.uint8), x, x.astype(np.float32)):
        np.testing.assert_allclose(interpreter.predict(same), want, atol=1e-5)
    for wrong in (x / 255, x - 1 - x.min(), x + 1.0 + 255 - x.max(), np.where(x > 9, np.nan, 0)):
        with pytest.raises(HashBWNError, match="whole numbers from 0 to 255"):
            interpreter.predict(wrong)
    with pytest.raises(HashBWNError, match="type bool: give uint8"):
        interpreter.predict(x > 9)
    assert export.verify(bytes_in, content, x.astype(np.uint8)).ok


def test_several_threads_may_call_one_interpreter():
    interpreter = hashbwn_keras.Interpreter(net())
    inputs = [images(4) + i for i in range(4)]
    want = [interpreter.predict(x) for x in inputs]
    got = [[] for _ in inputs]

    def work(i):
        for _ in range(20):
            got[i].append(interpreter.predict(inputs[i]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for results, wanted in zip(got, want, strict=True):
        assert len(results) == 20
        assert all(np.array_equal(result, wanted) for result in results)


def test_a_file_that_the_interpreter_refuses_is_one_sentence():
    from hashbwn_keras.tflite import flatbuffer

    model = flatbuffer.read_model(net())
    for code in model.operatorCodes:
        code.version = 999
    with pytest.raises(HashBWNError, match="The interpreter refuses The file: ") as caught:
        hashbwn_keras.Interpreter(flatbuffer.write_model(model)).predict(images(1))
    assert "\n" not in str(caught.value)


def test_lce_files_under_numpy_2_are_one_sentence(lce_file, monkeypatch):
    monkeypatch.setattr(np, "__version__", "2.4.6")
    with pytest.raises(HashBWNError, match=r"built for NumPy 1 .* NumPy 2\.4\.6"):
        hashbwn_keras.Interpreter(lce_file)
