"""Train a binary ResNet for CIFAR-10 further, from four starts at equal budget, and compare.

    python examples/resnet20_cifar10_qat.py --model resnet20_cifar10.h5 --output resnet20-qat

Every row is trained on all training images, without their labels: shifted and mirrored, the float
network's outputs are what is to be learnt (distillation). Runs that are in the output folder
already are not done again, and an interrupted one goes on at its last whole epoch. Test images
serve for the accuracies of the table and the plot only.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hashbwn_keras as hb

# isort: split
import numpy as np
import tensorflow as tf
from resnet20_cifar10 import DEVIATION, MEAN, sign_mean
from tqdm import tqdm

from hashbwn_keras.demo import datasets
from hashbwn_keras.files import atomic_write, staged

SHIFT = 4
"""Pixels by which an image may be shifted; zeros move in."""
CALIBRATION = 2048
"""Images that the binarised starts are solved on."""
TEST_BATCH = 500

Images = np.ndarray


def _paper(model: tf.keras.Model, images: Images, seed: int) -> tf.keras.Model:
    options = {"method": "dcc", "centred": False, "repair": False, "compensate": False}
    return hb.binarize(model, images, seed=seed, **options)


def _ours(model: tf.keras.Model, images: Images, seed: int) -> tf.keras.Model:
    return hb.binarize(model, images, seed=seed)


def _scaled(model: tf.keras.Model, images: Images, seed: int) -> tf.keras.Model:
    return sign_mean(model)


def _unscaled(model: tf.keras.Model, images: Images, seed: int) -> tf.keras.Model:
    return sign_mean(model, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")


ROWS: dict[str, tuple[str, Callable[[tf.keras.Model, Images, int], tf.keras.Model]]] = {
    "ste_sign": ("float weights, Larq's ste_sign, no scale", _unscaled),
    "bwn": ("float weights, sign · mean (BWN)", _scaled),
    "paper": ("the paper's solver", _paper),
    "ours": ("binarize", _ours),
}


class Batches(tf.keras.utils.Sequence):
    """The training images of one epoch in an order of its own, each shifted and mirrored or not.

    What a batch holds depends on seed, epoch and its number alone, so a training that goes on
    after an interruption sees what it would have seen.
    """

    def __init__(self, padded: Images, size: int, seed: int, epoch: int) -> None:
        self._padded = padded  # by SHIFT on each side; shared, as Keras holds on to its sequences
        self._size = size
        self._key = (seed, epoch)
        self._order = np.random.default_rng(self._key).permutation(len(padded))

    def __len__(self) -> int:
        return len(self._order) // self._size

    def __getitem__(self, index: int) -> Images:
        random = np.random.default_rng((*self._key, index))
        chosen = self._order[index * self._size : (index + 1) * self._size]
        height = self._padded.shape[1] - 2 * SHIFT
        places = np.arange(height)
        rows, columns = random.integers(0, 2 * SHIFT + 1, (2, len(chosen), 1)) + places
        columns = np.where(random.random((len(chosen), 1)) < 0.5, columns, columns[:, ::-1])
        return self._padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]


def main() -> int:
    """Do the runs, print the table, draw the plot; returns the exit status."""
    args = _arguments()
    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    options = {"auto_mixed_precision_onednn_bfloat16": args.bfloat16}
    tf.config.optimizer.set_experimental_options(options)
    args.output.mkdir(parents=True, exist_ok=True)
    data = datasets.load("cifar10", args.data_dir, seed=0)
    train, test = ((x - MEAN) / DEVIATION for x in (data.train_images, data.test_images))
    model = hb.load_model(args.model)
    score = _Score(test[: args.limit], data.test_labels[: args.limit])
    print(f"{model.name}: float accuracy {score(model):.2%}", file=sys.stderr)
    for seed in args.seeds:
        for row in args.rows:
            _run(row, seed, model, train[: args.limit], score, args)
    results = _results(args.output)
    print(_table(results))
    if args.plot:
        _plot(results, args.plot, args.overwrite)
    return 0


class _Score:
    """Accuracy on the test images."""

    def __init__(self, images: Images, labels: np.ndarray) -> None:
        self._images, self._labels = images, labels

    def __call__(self, model: tf.keras.Model) -> float:
        found = model.predict(self._images, batch_size=TEST_BATCH, verbose=0).argmax(axis=-1)
        return float((found == self._labels).mean())


def _run(
    row: str,
    seed: int,
    model: tf.keras.Model,
    images: Images,
    score: _Score,
    args: argparse.Namespace,
) -> None:
    """Train from one start, unless it was done; the result is a JSON file in the output folder."""
    name = f"{row}-{args.epochs}-{seed}"
    path = args.output / f"{name}.json"
    if path.exists():
        return
    tf.keras.utils.set_random_seed(seed)
    first = np.random.default_rng(seed).permutation(len(images))[:CALIBRATION]
    began = time.perf_counter()
    folder = args.output / f"{name}.backup"
    # What is restored anyway need not be solved again.
    start = _scaled if row != "ste_sign" and tf.train.latest_checkpoint(folder) else ROWS[row][1]
    binary = start(model, images[first], seed)
    trainer = hb.distil(binary, model)
    padded = np.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))
    steps = len(Batches(padded, args.batch, seed, 0))
    trainer.compile(hb.training.adam(steps * args.epochs, args.rate))
    state = tf.Variable(0), [tf.Variable(0.0) for _ in range(args.epochs + 1)]
    epoch, accuracies = state
    backup = tf.train.Checkpoint(
        model=binary, optimizer=trainer.optimizer, epoch=epoch, accuracies=accuracies
    )
    trainer.optimizer.build(trainer.trainable_variables)
    manager = tf.train.CheckpointManager(backup, folder, 1)
    if not manager.restore_or_initialize():
        accuracies[0].assign(score(binary))
    callbacks = [_Progress(name, steps, args.epochs)]
    for number in range(int(epoch), args.epochs):
        batches = Batches(padded, args.batch, seed, number)
        trainer.fit(
            batches, initial_epoch=number, epochs=number + 1, verbose=0, callbacks=callbacks
        )
        accuracies[number + 1].assign(score(binary))
        epoch.assign(number + 1)
        manager.save()
        print(f"{name}: {float(accuracies[number + 1]):.2%}", file=sys.stderr, flush=True)
    hb.save_model(binary, args.output / f"{name}.keras", overwrite=True)
    found = {
        "row": row,
        "seed": seed,
        "epochs": args.epochs,
        "images": len(images),
        "batch": args.batch,
        "rate": args.rate,
        "bfloat16": args.bfloat16,
        "seconds": round(time.perf_counter() - began),
        "accuracy": [round(float(value), 4) for value in accuracies],
    }
    atomic_write(path, json.dumps(found).encode() + b"\n")


class _Progress(tf.keras.callbacks.Callback):
    """A bar on stderr over the steps of all epochs."""

    def __init__(self, title: str, steps: int, epochs: int) -> None:
        super().__init__()
        self._steps = steps
        self._bar = tqdm(total=steps * epochs, desc=title, unit="step", disable=None)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._bar.n = epoch * self._steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._bar.update()


def _results(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]


def _table(results: list[dict[str, Any]]) -> str:
    """Mean, lowest and highest last accuracy of every row and number of epochs."""
    lines = ["| trained from | epochs | seeds | start | test accuracy |", "|---|---|---|---|---|"]
    groups = {(found["epochs"], row) for found in results for row in ROWS if found["row"] == row}
    for epochs, row in sorted(groups, key=lambda group: (group[0], list(ROWS).index(group[1]))):
        runs = [f["accuracy"] for f in results if (f["row"], f["epochs"]) == (row, epochs)]
        last = np.array([accuracy[-1] for accuracy in runs])
        start = np.mean([accuracy[0] for accuracy in runs])
        spread = f"{last.mean():.2%} ({last.min():.2%} to {last.max():.2%})"
        lines.append(f"| {ROWS[row][0]} | {epochs} | {len(runs)} | {start:.2%} | {spread} |")
    return "\n".join(lines)


def _plot(results: list[dict[str, Any]], path: Path, overwrite: bool) -> None:
    """Draw accuracy by epoch, a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(ROWS, ("tab:gray", "tab:blue", "tab:orange", "tab:red"), strict=True))
    told: set[str] = set()
    for found in results:
        row = found["row"]
        label = None if row in told else ROWS[row][0]
        told.add(row)
        percent = [100 * value for value in found["accuracy"]]
        axes.plot(percent, ".-", color=colours[row], label=label, alpha=0.7)
    axes.set_xlabel("epoch")
    axes.set_ylabel("test accuracy, %")
    axes.set_ylim(bottom=70)
    axes.grid(alpha=0.3)
    axes.legend()
    with staged(path, overwrite) as draft:
        figure.savefig(draft)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, required=True, help="float model, .h5 or .keras")
    add("--data-dir", type=Path, help="folder with CIFAR-10's python batches")
    add("--output", type=Path, required=True, help="folder for results and models")
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="starts to compare (all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a run for each (0 1 2)")
    add("--epochs", type=int, default=5, help="of each run (5)")
    add("--batch", type=int, default=128, help="images of a step (128)")
    add("--rate", type=float, default=hb.training.RATE, help="largest step of Adam")
    add("--limit", type=int, help="use only so many training images, and test images")
    add("--threads", type=int, help="CPU threads (all)")
    add("--bfloat16", action="store_true", help="multiply in bfloat16, on CPUs that can")
    add("--plot", type=Path, help="draw accuracy by epoch to this file (.png, .svg)")
    add("--overwrite", action="store_true", help="allow replacing that file")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hb.HashBWNError as error:
        sys.exit(f"resnet20_cifar10_qat: {error}")
