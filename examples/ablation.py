"""Training binary networks further from different starts, at equal budget: what the examples share.

Every run trains a binary network to follow its float network (distillation, no labels) and is kept
as a JSON file in the output folder as soon as it is done. Runs that are there already are not done
again; an interrupted one goes on at its last whole epoch.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import hashbwn_keras as hk

# isort: split
import moves
import numpy as np
import tensorflow as tf
import tf_keras
from resnet20_cifar10 import sign_mean
from tqdm import tqdm
from training_helper import PAPER, bfloat16

from hashbwn_keras.demo import datasets
from hashbwn_keras.files import atomic_write, check_writable, staged

CALIBRATION = 2048
"""Images that the binarised starts are solved on."""
TEST_BATCH = 500

Images = np.ndarray


def _paper(model: tf_keras.Model, images: Images, seed: int) -> tf_keras.Model:
    return hk.binarize(model, images, seed=seed, **PAPER)


def _ours(model: tf_keras.Model, images: Images, seed: int) -> tf_keras.Model:
    return hk.binarize(model, images, seed=seed)


def _scaled(model: tf_keras.Model, images: Images, seed: int) -> tf_keras.Model:
    return sign_mean(model)


def _unscaled(model: tf_keras.Model, images: Images, seed: int) -> tf_keras.Model:
    return sign_mean(model, kernel_quantizer="ste_sign", kernel_constraint="weight_clip")


ROWS: dict[str, tuple[str, Callable[[tf_keras.Model, Images, int], tf_keras.Model]]] = {
    "ste_sign": ("float weights, Larq's ste_sign, no scale", _unscaled),
    "bwn": ("float weights, sign · mean (BWN)", _scaled),
    "paper": ("the paper's solver", _paper),
    "ours": ("binarize", _ours),
}


class Task(NamedTuple):
    """What is trained, and on what.

    Attributes:
        model: float network, which gives logits.
        data: images from 0 to 1, and class numbers.
        mean: what is subtracted from the images before the network sees them.
        deviation: what they are divided by then.
        shift: pixels by which training images may be shifted.
    """

    model: tf_keras.Model
    data: datasets.Dataset
    mean: np.ndarray
    deviation: np.ndarray
    shift: int

    def images(self, part: str) -> Images:
        """The images of "train" or "test" as the network takes them."""
        return (getattr(self.data, f"{part}_images") - self.mean) / self.deviation


class Batches(tf_keras.utils.Sequence):
    """The training images of one epoch in an order of its own, each shifted and mirrored or not.

    Args:
        padded: all images with ``shift`` pixels on each side, ``[n, height, width, channels]``;
            shared between epochs, as Keras holds on to its sequences.
        size: images of a batch; those of an incomplete one are left out.
        shift: pixels by which an image may be shifted each way.
        seed: of order, shifts and mirroring.
        epoch: number of the epoch.
    """

    def __init__(self, padded: Images, size: int, shift: int, seed: int, epoch: int) -> None:
        self._padded, self._shift = padded, shift
        self._size = min(size, len(padded))
        self._key = (seed, epoch)
        self._order = moves.order(len(padded), self._key)

    def __len__(self) -> int:
        return len(self._order) // self._size

    def __getitem__(self, index: int) -> Images:
        chosen = self._order[index * self._size : (index + 1) * self._size]
        side = self._padded.shape[1] - 2 * self._shift
        rows, columns = moves.moves(self._size, side, self._shift, True, self._key, index)
        return self._padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]


def limited(data: datasets.Dataset, limit: int | None) -> datasets.Dataset:
    """The first ``limit`` images of each part, or all."""
    return datasets.Dataset(*(array[:limit] for array in data))


def padded(images: Images, shift: int) -> Images:
    """Images with ``shift`` pixels of 0 on each side."""
    return np.pad(images, ((0, 0), (shift, shift), (shift, shift), (0, 0)))


class Score:
    """Accuracy on the test images."""

    def __init__(self, images: Images, labels: np.ndarray) -> None:
        self._images, self._labels = images, labels

    def __call__(self, model: tf_keras.Model) -> float:
        found = model.predict(self._images, batch_size=TEST_BATCH, verbose=0).argmax(axis=-1)
        return float((found == self._labels).mean())


def add_arguments(parser: argparse.ArgumentParser, *, epochs: int) -> None:
    """Add the arguments of all training ablations; ``epochs`` is the default of ``--epochs``."""
    add = parser.add_argument
    add("--output", type=Path, required=True, help="folder for results and models")
    add("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="starts to compare (all)")
    add("--seeds", nargs="+", type=int, default=[0, 1, 2], help="a run for each (0 1 2)")
    add("--epochs", type=int, default=epochs, help=f"of each run ({epochs})")
    add("--batch", type=int, default=128, help="images of a step (128)")
    add("--rate", type=float, default=hk.training.RATE, help="largest step of Adam")
    add("--limit", type=int, help="use only so many training images, and test images")
    add("--threads", type=int, help="CPU threads (all)")
    add("--bfloat16", action="store_true", help="multiply in bfloat16, on CPUs that can")
    add("--plot", type=Path, help="draw accuracy by step to this file (.png, .svg)")
    add("--overwrite", action="store_true", help="allow replacing that file")


def main(parser: argparse.ArgumentParser, make: Callable[[argparse.Namespace], Task]) -> int:
    """Parse, prepare and run the task that ``make`` gives for the arguments; exit status 0."""
    args = parser.parse_args()
    prepare(args)
    run(make(args), args)
    return 0


def prepare(args: argparse.Namespace) -> None:
    """Check the arguments and set TensorFlow up; before anything is computed.

    Raises:
        HashBWNError: no epoch, no image, or a plot that is there already.
    """
    for name in ("epochs", "batch"):
        if getattr(args, name) < 1:
            raise hk.HashBWNError(f"--{name} is {getattr(args, name)}: give 1 or more.")
    if args.plot:
        check_writable(args.plot, args.overwrite)
    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    args.output.mkdir(parents=True, exist_ok=True)


def run(task: Task, args: argparse.Namespace) -> None:
    """Do the runs that are not done yet, print the table and draw the plot.

    Args:
        task: the float network and its data.
        args: from :func:`add_arguments`.
    """
    score = Score(task.images("test"), task.data.test_labels)
    print(f"{task.model.name}: float accuracy {score(task.model):.2%}", file=sys.stderr)
    images = task.images("train")
    prepared = padded(images, task.shift)
    for seed in args.seeds:
        for row in args.rows:
            if not path_of(args, row, seed).exists():
                with bfloat16(args.bfloat16):
                    _train(row, seed, task, images, prepared, score, args)
    results = load(args.output)
    print(table(results))
    if args.plot:
        plot([r for r in results if r["epochs"] == args.epochs], args.plot, args.overwrite)


def path_of(args: argparse.Namespace, row: str, seed: int) -> Path:
    """Where the result of a run is kept."""
    return args.output / f"{row}-{args.epochs}-{seed}.json"


def start(row: str, task: Task, images: Images, seed: int) -> tf_keras.Model:
    """The binary network that the training of a row starts from.

    Args:
        row: of :data:`ROWS`.
        task: the float network.
        images: training images as the network takes them.
        seed: of the choice of calibration images.
    """
    tf_keras.utils.set_random_seed(seed)
    first = np.random.default_rng(seed).permutation(len(images))[:CALIBRATION]
    return ROWS[row][1](task.model, images[first], seed)


def _train(
    row: str,
    seed: int,
    task: Task,
    images: Images,
    prepared: Images,
    score: Score,
    args: argparse.Namespace,
) -> None:
    """Train from one start and write the result."""
    path = path_of(args, row, seed)
    folder = path.with_suffix(".backup")
    began = time.perf_counter()
    # What is restored anyway need not be solved again.
    solved = row != "ste_sign" and tf.train.latest_checkpoint(folder)
    binary = start("bwn" if solved else row, task, images, seed)
    trainer = hk.distil(binary, task.model)
    steps = len(Batches(prepared, args.batch, task.shift, seed, 0))
    trainer.compile(hk.training.adam(steps * args.epochs, args.rate))
    trainer.optimizer.build(trainer.trainable_variables)
    epoch, accuracies = tf.Variable(0), [tf.Variable(0.0) for _ in range(args.epochs + 1)]
    state = {"model": binary, "optimizer": trainer.optimizer}
    backup = tf.train.Checkpoint(**state, epoch=epoch, accuracies=accuracies)
    manager = tf.train.CheckpointManager(backup, folder, 1)
    if not manager.restore_or_initialize():
        accuracies[0].assign(score(binary))
    callbacks = [_Progress(path.stem, steps, args.epochs)]
    for number in range(int(epoch), args.epochs):
        batches = Batches(prepared, args.batch, task.shift, seed, number)
        trainer.fit(
            batches, initial_epoch=number, epochs=number + 1, verbose=0, callbacks=callbacks
        )
        accuracies[number + 1].assign(score(binary))
        epoch.assign(number + 1)
        manager.save()
    hk.save_model(binary, path.with_suffix(".keras"), overwrite=True)
    found: dict[str, Any] = {"row": row, "seed": seed, "images": len(images)}
    found |= {name: getattr(args, name) for name in ("epochs", "batch", "rate", "bfloat16")}
    found["seconds"] = round(time.perf_counter() - began)
    found["accuracy"] = [round(float(value), 4) for value in accuracies]
    atomic_write(path, json.dumps(found).encode() + b"\n")


class _Progress(tf_keras.callbacks.Callback):
    """A bar on stderr over the steps of all epochs."""

    def __init__(self, title: str, steps: int, epochs: int) -> None:
        super().__init__()
        self._steps = steps
        self._bar = tqdm(total=steps * epochs, desc=title, unit="step", disable=None)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._bar.n = epoch * self._steps

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._bar.update()


def load(folder: Path) -> list[dict[str, Any]]:
    """The results in a folder."""
    paths = [path for path in sorted(folder.glob("*.json")) if ".keras" not in path.suffixes]
    return [json.loads(path.read_text()) for path in paths]


def table(results: list[dict[str, Any]]) -> str:
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


def plot(results: list[dict[str, Any]], path: Path, overwrite: bool) -> None:
    """Draw accuracy by training step, a line for each run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    colours = dict(zip(ROWS, ("tab:gray", "tab:blue", "tab:orange", "tab:red"), strict=True))
    told: set[str] = set()
    lines = []
    for found in results:
        row = found["row"]
        label = None if row in told else ROWS[row][0]
        told.add(row)
        percent = [100 * value for value in found["accuracy"]]
        lines.append(percent)
        steps = found["images"] // found["batch"] * np.arange(len(percent))
        axes.plot(steps, percent, ".-", color=colours[row], label=label, alpha=0.7)
    axes.set_xlabel("training step")
    axes.set_ylabel("test accuracy, %")
    top = max(percent[-1] for percent in lines)
    axes.set_ylim(bottom=top - 20)
    axes.grid(alpha=0.3)
    axes.legend()
    with staged(path, overwrite) as draft:
        figure.savefig(draft)
