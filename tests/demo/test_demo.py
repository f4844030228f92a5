import functools
import gzip
import pickle
import types

import numpy as np
import pytest
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.demo import datasets, network, run

FILES = {
    "float.keras", "float.tflite", "binary.keras", "binary.keras.recipe.json",
    "binary-float32.tflite", "binary-int8.tflite", "binary-packed.tflite",
    "report.html", "report.json", "table.txt",
}  # fmt: skip


@pytest.mark.slow
def test_whole_way_on_digits(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    quick = functools.partial(hk.binarize, method="one_opt", repair=False)
    monkeypatch.setattr(run, "binarize", quick)
    result = run.demonstrate(tmp_path / "out", epochs=4)
    assert {path.name for path in (tmp_path / "out").iterdir()} - {"binary-lce.tflite"} == FILES
    forms = {form.file: form for form in result.forms}
    assert forms["float.tflite"].accuracy > 0.9
    assert forms["binary-packed.tflite"].accuracy > 0.8
    assert forms["binary-packed.tflite"].nbytes * 8 < forms["float.tflite"].nbytes
    for form in result.forms:
        assert form.nbytes == (tmp_path / "out" / form.file).stat().st_size
        assert form.max_error <= 1e-4
    again = hk.load_model(tmp_path / "out" / "binary.keras")
    packed = hk.Interpreter(tmp_path / "out" / "binary-packed.tflite")
    data = datasets.load("digits", None, 0)
    accuracy = np.mean(packed.predict(data.test_images).argmax(1) == data.test_labels)
    assert accuracy == pytest.approx(forms["binary-packed.tflite"].accuracy)
    wanted = again.predict(data.test_images, verbose=0)
    np.testing.assert_allclose(packed.predict(data.test_images), wanted, atol=1e-3)
    assert str(result) + "\n" == (tmp_path / "out" / "table.txt").read_text()
    assert f"{100 * accuracy:.2f} %" in str(result)


def test_failed_verification_leaves_nothing(tmp_path, monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr(network, "train", lambda *_: None)
    monkeypatch.setattr(run, "binarize", lambda model, *_, **__: model)
    monkeypatch.setattr(run, "to_tflite", lambda _, path, **__: path.write_bytes(b"x"))
    monkeypatch.setattr(run, "verify", lambda *_: types.SimpleNamespace(ok=False))
    with pytest.raises(hk.HashBWNError, match=r"float\.tflite failed verification"):
        run.demonstrate(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_training_leaves_no_optimizer_behind():
    model = network.vgg((8, 8, 1), 3)
    before = model.get_weights()[0].copy()
    images = np.random.normal(size=(70, 8, 8, 1)).astype(np.float32)
    network.train(model, images, np.arange(70) % 3, epochs=1)
    assert model.optimizer is None
    assert (model.get_weights()[0] != before).any()


def test_digits_are_split_by_seed_without_overlap():
    pytest.importorskip("sklearn")
    one, same, other = (datasets.load("digits", None, seed) for seed in (1, 1, 2))
    assert (len(one.train_images), len(one.test_images)) == (1297, 500)
    np.testing.assert_array_equal(one.test_images, same.test_images)
    assert (one.test_labels != other.test_labels).any()
    assert one.train_images.min() == 0
    assert one.train_images.max() == 1


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.tobytes())


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_reads_the_gz_files(tmp_path, name):
    images = np.arange(2 * 28 * 28, dtype=np.uint32).reshape(2, 28, 28).astype(np.uint8)
    labels = np.array([3, 9], np.uint8)
    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (tmp_path / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    data = datasets.load(name, tmp_path, 0)
    np.testing.assert_allclose(data.test_images[..., 0], images / 255, rtol=1e-6)
    assert data.train_labels.tolist() == [3, 9]
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(b"cut")
    with pytest.raises(hk.HashBWNError, match=r"t10k-labels-idx1-ubyte\.gz cannot be read"):
        datasets.load(name, tmp_path, 0)


@pytest.mark.parametrize("inner", [True, False])
def test_reads_the_cifar_batches(tmp_path, inner):
    folder = tmp_path / "cifar-10-batches-py" if inner else tmp_path
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    rows = images.transpose(0, 3, 1, 2).reshape(2, -1)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (folder / name).write_bytes(pickle.dumps({b"data": rows, b"labels": [1, 2]}))
    data = datasets.load("cifar10", tmp_path, 0)
    assert data.train_images.shape == (10, 32, 32, 3)
    np.testing.assert_allclose(data.test_images, images / 255, rtol=1e-6)


def test_missing_download_names_the_cure(monkeypatch):
    def fail():
        raise Exception("URL fetch failure on https://x: None -- offline")

    monkeypatch.setattr(tf_keras.datasets.mnist, "load_data", fail)
    with pytest.raises(hk.HashBWNError, match="--data-dir"):
        datasets.load("mnist", None, 0)
