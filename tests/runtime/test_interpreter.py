"""The Interpreter class: every file of the project, arrays in and out."""

import graphs
import numpy as np
import pytest
from graphs import Graph

import hashbwn_keras
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime import library


def net(int8=False, outputs=64):
    rng = np.random.default_rng(0)
    codes = (rng.integers(0, 2, (outputs, 3, 3, 5)) * 2 - 1).astype(np.int8)
    g = Graph()
    shape = [1, 6, 7, 5]
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
    return np.random.default_rng(1).normal(size=(n, 6, 7, 5)).astype(np.float32)


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
        (np.zeros((6, 7, 5), np.float32), r"\(6, 7, 5\)"),
        (np.zeros((0, 6, 7, 5), np.float32), "n >= 1"),
        (np.zeros((1, 6, 7, 5), np.int16), "int16"),
        ([np.zeros((1, 6, 7, 5), np.float32)] * 2, "1 inputs, 2"),
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
    import tf_keras

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
    assert native.kernels in ("avx2", "neon", "portable")
    assert graphs.output_extent(7, 3, 2, 1, graphs.SAME) == 4
