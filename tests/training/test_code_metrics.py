import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk

L = tf_keras.layers


def network(binary):
    conv = hk.HashBinaryConv2D if binary else L.Conv2D
    dense = hk.HashBinaryDense if binary else L.Dense
    layers = [
        L.Input((5, 5, 2)),
        conv(4, 3, name="conv"),
        L.BatchNormalization(),
        L.ReLU(),
        L.Flatten(),
        dense(3, name="dense"),
    ]
    return tf_keras.Sequential(layers)


def data(count=32):
    rng = np.random.default_rng(3)
    return rng.normal(size=(count, 5, 5, 2)), rng.normal(size=(count, 3))


class Recorder(tf_keras.callbacks.Callback):
    """Takes down codes and logs, independently of what is tested."""

    def __init__(self):
        super().__init__()
        self.codes, self.batches = [], []

    def snapshot(self):
        return {name: found.codes for name, found in hk.codes(self.model).items()}

    def on_train_begin(self, logs=None):
        self.codes.append(self.snapshot())

    def on_train_batch_end(self, batch, logs=None):
        self.batches.append((batch, dict(logs)))

    def on_epoch_end(self, epoch, logs=None):
        self.codes.append(self.snapshot())


def trained(*callbacks, epochs=2):
    model = network(True)
    model.compile(tf_keras.optimizers.legacy.Adam(0.03), "mse")
    history = model.fit(*data(), batch_size=8, epochs=epochs, verbose=0, callbacks=list(callbacks))
    return model, history.history


def test_flips_are_those_of_the_codes():
    seen = Recorder()
    _, history = trained(hk.CodeMetrics(), seen)
    pairs = list(zip(seen.codes, seen.codes[1:], strict=False))
    for name in ("conv", "dense"):
        expected = [np.mean(a[name] != b[name]) for a, b in pairs]
        assert history[f"flips/{name}"] == expected
        assert 0 < expected[0] < 1
    flat = [[np.concatenate([c.ravel() for c in s.values()]) for s in pair] for pair in pairs]
    assert history["flips"] == [np.mean(a != b) for a, b in flat]


def test_layer_error_of_the_latent_kernel():
    model, history = trained(hk.CodeMetrics())
    codes, scales = hk.codes(model)["dense"]
    latent = model.get_layer("dense").kernel.numpy()
    expected = np.square(latent - codes * scales).sum() / np.square(latent).sum()
    assert history["layer_error/dense"][-1] == pytest.approx(expected, rel=1e-5)


def test_layer_error_against_a_teacher_is_that_of_the_report():
    teacher, (x, _) = network(False), data()
    model, history = trained(hk.CodeMetrics(teacher, x), epochs=1)
    for layer in hk.report(teacher, model, x).layers:
        assert history[f"layer_error/{layer.name}"] == [pytest.approx(layer.relative_error)]


def test_batches_of_a_generator_serve_every_epoch():
    teacher, (x, _) = network(False), data()
    batches = (x[i : i + 16] for i in (0, 16))
    model, history = trained(hk.CodeMetrics(teacher, batches), epochs=2)
    for layer in hk.report(teacher, model, x).layers:
        assert len(history[f"layer_error/{layer.name}"]) == 2
        assert history[f"layer_error/{layer.name}"][-1] == pytest.approx(layer.relative_error)


def test_every_so_many_batches():
    seen = Recorder()
    trained(hk.CodeMetrics(every=2), seen, epochs=1)
    assert [batch for batch, logs in seen.batches if "flips/conv" in logs] == [0, 2]


def test_tensorboard_shows_them(tmp_path):
    pytest.importorskip("tensorboard")
    board = tf_keras.callbacks.TensorBoard(tmp_path, update_freq="epoch", write_graph=False)
    _, history = trained(hk.CodeMetrics(), board)
    (file,) = (tmp_path / "train").glob("events*")
    shown = {}
    for event in tf.compat.v1.train.summary_iterator(str(file)):
        for value in event.summary.value:
            shown.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    assert shown["epoch_flips/conv"] == pytest.approx(history["flips/conv"])
    assert shown["epoch_layer_error/dense"] == pytest.approx(history["layer_error/dense"])


def test_bad_arguments():
    with pytest.raises(hk.HashBWNError, match="give both of teacher and data"):
        hk.CodeMetrics(network(False))
    with pytest.raises(hk.HashBWNError, match="every is 0"):
        hk.CodeMetrics(every=0)
    model = network(False)
    model.compile("sgd", "mse")
    with pytest.raises(hk.HashBWNError, match="no HashBinary layer"):
        model.fit(*data(), verbose=0, callbacks=[hk.CodeMetrics()])
