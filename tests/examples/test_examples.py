"""Every example runs end to end, at a small size."""

import gzip
import json
import pickle
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras.binarizer import data_free, repair
from hashbwn_keras.solver import hashing

pytestmark = [pytest.mark.examples, pytest.mark.slow]
EXAMPLES = Path(__file__).parents[2] / "examples"
layers = tf_keras.layers


def run(name: str, *arguments: object) -> None:
    """Run an example as a script; its exit status must be 0."""
    assert not exit_status(name, *arguments)


def exit_status(name: str, *arguments: object) -> object:
    sys.argv = [name, *map(str, arguments)]
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return left.value.code


@pytest.fixture
def cifar10(tmp_path):
    """A folder of the layout of CIFAR-10's python batches, with few images of noise."""
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        (tmp_path / name).write_bytes(cifar_batch(b"labels", 12))
    return tmp_path


def cifar_batch(labels: bytes, count: int) -> bytes:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (count, 3072), np.uint8)
    return pickle.dumps({b"data": pixels, labels: rng.integers(0, 10, count).tolist()})


@pytest.fixture
def imagenet(tmp_path):
    """A folder of the layout of ImageNet, with two classes of small pictures of several shapes."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 3)):
        for name in ("n01", "n02"):
            folder = tmp_path / part / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture = rng.integers(0, 256, (60 + i, 70 - i, 3), np.uint8)
                (folder / f"{i}.JPEG").write_bytes(tf.io.encode_jpeg(picture).numpy())
    return tmp_path


@pytest.fixture
def fashion_mnist(tmp_path):
    """A folder of the layout of Fashion-MNIST's files, with few images of noise."""
    for part, count in (("train", 60), ("t10k", 10)):
        rng = np.random.default_rng(count)
        for kind, array in (
            ("images-idx3", rng.integers(0, 256, (count, 28, 28), np.uint8)),
            ("labels-idx1", np.arange(count, dtype=np.uint8) % 10),
        ):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            path = tmp_path / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(header + array.tobytes()))
    return tmp_path


@pytest.fixture
def quick(monkeypatch):
    """Examples find their helpers, as scripts do, and search and repair for a moment only."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(repair, "IMAGES_SEEN", 32)
    monkeypatch.setattr(hashing, "TABU_STEPS", 16)


TINY = ("--width", 0.04, "--epochs", 1, "--further", 1, "--batch", 4, "--images", 8)
few = pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")


@few
def test_vgg9(tmp_path, quick, capsys):
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for name, count in (("train", 20), ("test", 10)):
        (data / name).write_bytes(cifar_batch(b"fine_labels", count))
    options = ("--dataset", "cifar100", "--data-dir", data, "--output", out, *TINY)
    options += ("--seeds", 2, "--rates", 1e-3, 1e-2, "--augment", "--starts", "ours")
    plot = tmp_path / "plot.svg"
    run("vgg9_cifar.py", *options, "--json", tmp_path / "results.json", "--plot", plot)
    results = json.loads((tmp_path / "results.json").read_text())
    assert plot.read_text().count("trained from binarize") == 1
    tested = [(r["row"], r["seed"]) for r in results["runs"] if "test" in r]
    rows = ("float", "ours", "ours-trained")
    assert sorted(tested) == sorted((row, seed) for row in rows for seed in (0, 1))
    (file,) = results["files"]
    assert file["bytes"] < file["float_bytes"] / 3
    assert not list(out.glob("*/*.backup"))
    # The second seed takes the step size that did best for the first on the images held out.
    first, second = (
        [r for r in results["runs"] if (r["row"], r["seed"]) == ("ours-trained", seed)]
        for seed in (0, 1)
    )
    assert len(first) == 2
    best = max(first, key=lambda r: r["held_out"])
    assert "test" in best
    assert [r["rate"] for r in second] == [best["rate"]]
    assert capsys.readouterr().out.count("| trained from") == 1

    # Again: nothing is computed twice, and what is missing is made up for.
    kept = results["runs"][:-1]
    (out / "results.json").write_text(json.dumps({**results, "runs": kept}))
    times = {path: path.stat().st_mtime_ns for path in out.glob("*/*.keras")}
    run("vgg9_cifar.py", *options)
    again = json.loads((out / "results.json").read_text())
    assert again["runs"][:-1] == kept
    assert again["runs"][-1]["test"] == results["runs"][-1]["test"]
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("*/*.keras")}


def toy_experiment():
    """A network to be trained in no time, and its three batches an epoch."""
    import training_helper as helper

    x = tf_keras.Input((8, 8, 1))
    y = layers.Conv2D(2, 3, name="second")(layers.Conv2D(2, 3, name="first")(x))
    y = layers.Dense(3)(layers.GlobalAveragePooling2D()(y))
    images = np.random.default_rng(0).normal(size=(12, 8, 8, 1)).astype(np.float32)
    batches = tf.data.Dataset.from_tensor_slices((images, np.arange(12) % 3)).batch(4)
    data = helper.Data(lambda _: batches, batches, batches, lambda _: images)
    return helper.Experiment("toy", lambda: tf_keras.Model(x, y), data)


def test_labels_and_fractions_of_epochs(tmp_path, quick, monkeypatch):
    import training_helper as helper

    steps = []
    monkeypatch.setattr(helper._Progress, "on_train_batch_end", lambda *_: steps.append(1))
    options = ["--output", str(tmp_path), "--seeds", "1", "--starts", "bwn", "--rates", "1e-3"]
    parser = helper.parser("", epochs=1, further=0)
    helper.run(toy_experiment(), parser.parse_args([*options, "--further", "0"]))
    assert len(steps) == 3  # the float network's
    (tmp_path / "results.json").unlink()
    options += ["--further", "1.5", "--labels", "--distribute", "mirrored"]
    results = helper.run(toy_experiment(), parser.parse_args(options))
    rows = ["float", "bwn", "float-labels", "bwn-labels", "bwn-trained"]
    assert [r["row"] for r in results["runs"]] == rows
    assert len(steps) == 3 + 3 * 4
    # Two losses from the same start lead to different networks.
    labels, distilled = (
        hk.load_model(tmp_path / f"seed0/bwn-{how}-0.001.keras").get_weights()
        for how in ("labels", "trained")
    )
    assert not all(map(np.array_equal, labels, distilled))


def test_goes_on_at_the_epoch_where_it_was_interrupted(tmp_path, quick, monkeypatch):
    import training_helper as helper

    experiment = toy_experiment()
    parser = helper.parser("", epochs=3, further=1)
    options = ["--output", str(tmp_path), "--seeds", "1", "--starts", "bwn", "paper"]
    options += ["--rates", "1e-3"]
    began = []

    def note(_, epoch, logs=None):
        began.append(epoch)
        if began == [0, 1]:
            raise KeyboardInterrupt

    monkeypatch.setattr(helper._Progress, "on_epoch_begin", note)
    with pytest.raises(KeyboardInterrupt):
        helper.run(experiment, parser.parse_args(options))
    results = helper.run(experiment, parser.parse_args(options))
    assert began == [0, 1, 1, 2, 0, 0]
    rows = ["float", "bwn", "paper", "bwn-trained", "paper-trained"]
    assert [r["row"] for r in results["runs"]] == rows


def test_other_settings_are_refused(tmp_path, quick, cifar10):
    (tmp_path / "results.json").write_text('{"settings": {"width": 1}, "runs": [], "files": []}')
    options = ("--data-dir", cifar10, "--output", tmp_path, *TINY)
    assert "holds results of other settings" in exit_status("vgg9_cifar.py", *options)


@few
@pytest.mark.parametrize(
    ("script", "options", "rows"),
    [
        (
            "alexnet_imagenet.py",
            ("--starts", "ours", "--distribute", "mirrored"),
            ("float", "ours", "ours-trained"),
        ),
        ("resnet18_imagenet.py", ("--starts", "ours"), ("float", "ours", "ours-trained")),
    ],
)
def test_imagenet(imagenet, quick, script, options, rows):
    out = imagenet / "out"
    options += ("--data-dir", imagenet, "--size", 57, "--seeds", 1, "--rates", 1e-3, *TINY)
    run(script, "--output", out, *options)
    results = json.loads((out / "results.json").read_text())
    assert [r["row"] for r in results["runs"]] == list(rows)
    assert (out / "seed0" / "ours-trained.tflite").stat().st_size == results["files"][0]["bytes"]


def test_no_images(tmp_path, quick):
    options = ("--data-dir", tmp_path, "--output", tmp_path / "out")
    told = exit_status("resnet18_imagenet.py", *options)
    assert "holds 0 training and 0 validation images" in told


@few
def test_fly_hash(tmp_path, quick, fashion_mnist, capsys):
    options = ("--data-dir", tmp_path, "--train", 20, "--database", 40, "--queries", 5)
    plot, results = tmp_path / "plot.svg", tmp_path / "results.json"
    files = ("--json", results, "--plot", plot)
    run("fly_hash.py", *options, "--bits", 16, 32, "--seeds", 2, *files)
    found = json.loads(results.read_text())["sets"]
    assert set(found) == {"pixels", "activations"}
    for methods in found.values():
        assert len(methods) == 6
        for measured in methods.values():
            assert np.shape(measured["precision"]) == np.shape(measured["correlation"]) == (2, 2)
            assert 0 < np.min(measured["precision"]) <= np.max(measured["precision"]) <= 1
    assert "solved codes" in plot.read_text()
    assert "| precision, pixels | 16 bits | 32 bits |" in capsys.readouterr().out


def save_toy(path: Path) -> None:
    """Save a small network for CIFAR-10's images."""
    x = tf_keras.Input((32, 32, 3))
    y = layers.Conv2D(4, 3, strides=4)(x)
    for _ in range(2):
        y = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same")(y))
    y = layers.Dense(10)(layers.GlobalAveragePooling2D()(y))
    tf_keras.Model(x, y, name="toy").save(path)


@few
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_resnet20_cifar10_qat(cifar10, quick, capsys):
    import ablation

    save_toy(cifar10 / "toy.h5")
    out, plot = cifar10 / "out", cifar10 / "plot.svg"
    options = ("--model", cifar10 / "toy.h5", "--data-dir", cifar10, "--output", out)
    options += ("--seeds", 0, "--epochs", 2, "--batch", 4)
    run("resnet20_cifar10_qat.py", *options, "--plot", plot)
    found = ablation.load(out)
    assert sorted(r["row"] for r in found) == sorted(ablation.ROWS)
    assert all(len(r["accuracy"]) == 3 for r in found)
    assert "the paper's solver" in plot.read_text()
    assert capsys.readouterr().out.count("| 2 | 1 |") == 4
    # Again: nothing is trained twice.
    times = {path: path.stat().st_mtime_ns for path in out.glob("*.keras")}
    run("resnet20_cifar10_qat.py", *options)
    assert times == {path: path.stat().st_mtime_ns for path in out.glob("*.keras")}


SMALL_VGG = ("--width", 0.07, "--epochs", 1, "--batch", 8, "--limit", 16, "--float-epochs", 1)


@few
def test_small_vgg_fashion_mnist_qat(fashion_mnist, quick, capsys):
    options = ("--data-dir", fashion_mnist, "--output", fashion_mnist / "out", *SMALL_VGG)
    run(
        "small_vgg_fashion_mnist_qat.py",
        *options,
        "--binary-activations",
        "--seeds",
        0,
        "--rows",
        "ours",
    )
    assert capsys.readouterr().out.count("| 1 | 1 |") == 1


@few
def test_trainings_prepared_for_another_machine(fashion_mnist, quick, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(EXAMPLES.parent / "benchmarks" / "gpu"))
    import ablation
    import prepare_ablation
    import small_vgg_fashion_mnist_qat as example

    jobs, results, out = (fashion_mnist / name for name in ("jobs", "results", "out"))
    results.mkdir()
    words = ["--data-dir", fashion_mnist, "--output", out, *SMALL_VGG, "--seeds", 0]
    words += ["--rows", "bwn", "ste_sign"]
    args = example.parser().parse_args(list(map(str, words)))
    ablation.prepare(args)
    prepare_ablation.write(jobs, example, args)

    job, other = json.loads((jobs / "jobs.json").read_text())
    assert "hash_sign" in job["network"] and "ste_sign" in other["network"]
    assert len(job["rates"]) == 2
    manifest = json.loads((jobs / job["network"] / "programs.json").read_text())
    start = {}
    for name in job["start"]:
        with np.load(jobs / name) as file:
            start |= file
    shapes = [(list(start[str(i)].shape), start[str(i)].dtype.name) for i in range(len(start))]
    assert shapes == [(shape, dtype) for shape, dtype in manifest["captured"]]
    model = hk.load_model(out / "bwn-0.start.keras")
    for place, weight in zip(manifest["student"], model.get_weights(), strict=True):
        np.testing.assert_array_equal(start[str(place)], weight)
    updated = manifest["programs"]["step"]["updates"]
    assert {manifest["student"][i] for i in range(len(model.weights))} <= set(updated)

    # What comes back is the network and its accuracies.
    last = {str(i): start[str(i)] * 2 for i in manifest["student"]}
    np.savez(results / f"{job['name']}.npz", **last)
    found = job | {"accuracy": {"test": [0.1, 0.5]}, "seconds": 1, "device": "test"}
    (results / f"{job['name']}.json").write_text(json.dumps(found))
    prepare_ablation.read(jobs, results, example, args)
    assert ablation.load(out)[0]["accuracy"] == [0.1, 0.5]
    trained = hk.load_model(out / "bwn-1-0.keras")
    for weight, doubled in zip(model.get_weights(), trained.get_weights(), strict=True):
        np.testing.assert_array_equal(weight * 2, doubled)


@pytest.mark.filterwarnings("ignore::hashbwn_keras.errors.CalibrationWarning")
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_resnet20_cifar10(cifar10, monkeypatch, capsys):
    for module, name, value in (
        (repair, "IMAGES_SEEN", 64),
        (data_free, "STEPS", 3),
        (data_free, "IMAGES", data_free.BATCH),
    ):
        monkeypatch.setattr(module, name, value)
    save_toy(cifar10 / "toy.h5")
    results = cifar10 / "results.json"
    options = ("--data-dir", cifar10, "--images", 16, "--seeds", 2, "--json", results)
    run("resnet20_cifar10.py", "--model", cifar10 / "toy.h5", *options)
    rows = json.loads(results.read_text())["rows"]
    assert len(rows) == 7
    assert all(len(row["accuracy"]) == 2 for row in rows)
    printed = capsys.readouterr().out
    assert "toy: float accuracy" in printed
    assert all(row["name"] in printed for row in rows)
