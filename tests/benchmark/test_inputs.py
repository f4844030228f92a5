"""What files are run on: random samples that are valid, samples of the user's, open sizes."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras
from failures import fails

from hashbwn_keras import cli
from hashbwn_keras.benchmark import measure, outputs, results
from hashbwn_keras.benchmark.plan import Plan

L = tf_keras.layers


def write(path: Path, model: tf_keras.Model, **options: object) -> Path:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in options.items():
        setattr(converter, name, value)
    path.write_bytes(converter.convert())
    return path


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Takes five indices of 7 words; any other number is out of its table."""
    model = tf_keras.Sequential([L.Input((5,), dtype=tf.int32), L.Embedding(7, 4), L.Flatten()])
    return write(tmp_path_factory.mktemp("embedding") / "words.tflite", model)


@pytest.fixture(scope="module")
def any_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = tf_keras.Sequential(
        [L.Input((None, None, 3)), L.Conv2D(2, 3), L.GlobalAveragePooling2D()]
    )
    return write(tmp_path_factory.mktemp("any") / "any.tflite", model)


@pytest.fixture(scope="module")
def two_inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Computes left − 2 right, in an order of the file's own."""
    left, right = L.Input((3,), name="left"), L.Input((3,), name="right")
    twice = L.Dense(3, use_bias=False, kernel_initializer=tf_keras.initializers.Identity(-2.0))
    model = tf_keras.Model([right, left], L.Add()([left, twice(right)]))
    return write(tmp_path_factory.mktemp("two") / "two.tflite", model)


def measured(file: Path, **options: object) -> results.Result:
    (result,) = measure.benchmark(
        Plan([file], runs=2, rounds=1, warmup=1, delegates=("off",), **options)
    )
    return result


def test_an_embedding_gets_valid_indices(embedding: Path) -> None:
    assert measured(embedding).latency.num_runs == 2


def test_given_indices_are_used_and_checked(embedding: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0, 6, 1, 2, 3]] * 20))
    assert measured(embedding, data=tmp_path / "x.npy").latency.num_runs == 2
    np.save(tmp_path / "x.npy", np.full((2, 5), 0.5))
    fails("with values that it cannot hold: give int32", [embedding], data=tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", np.full((2, 5), 2.0))
    assert measured(embedding, data=tmp_path / "x.npy").latency.num_runs == 2
    np.save(tmp_path / "x.npy", np.full((2, 6), 2))
    message = fails("give samples of that shape", [embedding], data=tmp_path / "x.npy")
    assert "has (1, 6)" in message


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (None, "does not exist: check --data"),
        (b"no array", r"give a \.npy or \.npz file of numbers"),
        (np.zeros((0, 5)), "holds arrays of .0. samples"),
        (np.array(3.0), "holds arrays of .0. samples"),
        (np.array(["a"]), "holds x of type <U1: give numbers"),
    ],
)
def test_data_that_cannot_be(content: object, match: str, toy: Path, tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        np.save(path, content)
    fails(match, [toy], data=path)


def test_open_sizes_need_a_shape(any_size: Path, tmp_path: Path, capsys) -> None:
    fails("is of any size, .*: give --shape or --data", [any_size])
    fails("and --shape gives .* change it", [any_size], shapes=[(8, 8, 4)])
    fails("has 1 inputs and 2 shapes", [any_size], shapes=[(8, 8, 3)] * 2)
    written = tmp_path / "r.json"
    words = ["benchmark", str(any_size), "--shape", "20,10,3", "--runs", "2", "--json", written]
    assert cli.main([*map(str, words), "--delegate", "off"]) == 0
    (result,) = json.loads(written.read_text())["results"]
    seconds = result["latency"]["avg_ms"] / 1e3
    assert result["throughput_mb_s"] * seconds * 2**20 == pytest.approx(20 * 10 * 3 * 4)
    np.save(tmp_path / "x.npy", np.zeros((3, 9, 9, 3), np.float32))
    assert measured(any_size, data=tmp_path / "x.npy").latency.num_runs == 2
    capsys.readouterr()


def test_several_inputs_are_told_by_name(two_inputs: Path, tmp_path: Path) -> None:
    left, right = np.ones((4, 3), np.float32), np.full((4, 3), 5, np.float32)
    np.savez(tmp_path / "x.npz", right=right, left=left, y=np.zeros(4))
    assert measured(two_inputs, data=tmp_path / "x.npz").latency.num_runs == 2
    np.savez(tmp_path / "one.npz", left=left)
    fails("give an .npz file with one for each", [two_inputs], data=tmp_path / "one.npz")
    np.savez(tmp_path / "uneven.npz", left=left, right=right[:3])
    fails(r"holds arrays of \[3, 4\] samples", [two_inputs], data=tmp_path / "uneven.npz")


@pytest.mark.filterwarnings("ignore:Statistics for quantized inputs")
def test_floats_are_quantised_where_the_file_takes_int8(tmp_path: Path) -> None:
    model = tf_keras.Sequential([L.Input((4,)), L.Dense(2)])
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    file = write(
        tmp_path / "int8.tflite",
        model,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([row[None]] for row in x),
        inference_input_type=tf.int8,
    )
    ((found,),) = outputs.outputs([(file, None, "litert")], [x[:, None]])
    wanted = model.predict(x, verbose=0)
    np.testing.assert_allclose(found[:, 0], wanted, atol=0.05 * np.ptp(wanted))


def test_programs_that_make_their_own_inputs_are_refused(toy: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((3, 8, 8, 3), np.float32))
    for options in ({"data": tmp_path / "x.npy"}, {"shapes": [(8, 8, 3)]}):
        fails("makes its own inputs; use --tool runner", [toy], tool="litert-benchmark", **options)
