"""What the training experiments share: from a float network to binary ones, trained further or not.

:func:`run` does, for every seed, and keeps each result as soon as there is one:

1. train the float network (or load it);
2. make it binary without training: sign · mean (BWN), the paper's solver, ours;
3. train each of these further, straight-through, all for the same number of epochs and by the
   same distillation from the float network, each with its own best step size; with ``--labels``
   also by labels, as BWN and the paper do, and the float network along with them;
4. export ours of the first seed at 1 bit a weight and verify the file.

The step sizes are compared on images held out of the training set, for the first seed; the other
seeds take the best. Test images serve for the accuracies of the table alone. The same command again
goes on where an interrupted one stopped.
"""

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras
from resnet20_cifar10 import sign_mean
from tqdm import tqdm
from training_results import plot, table

from hashbwn_keras.files import atomic_write, check_writable

PAPER = {"method": "dcc", "centred": False, "repair": False, "compensate": False}
"""The paper's problem and solver; batch-norm is re-estimated as it is for ours."""
STARTS: dict[str, dict | None] = {"bwn": None, "paper": PAPER, "ours": {}}
"""Arguments of ``binarize``; None for sign · mean as it is."""
MOMENTUM = 0.9  # of the batch-norms: a short training leaves slower averages behind


Optimizer = Callable[[int, float], tf_keras.optimizers.Optimizer]


@dataclass(frozen=True)
class Data:
    """Images as the network takes them, and class numbers.

    Attributes:
        train: for a seed, batches ``(images, labels)`` in another order every epoch, augmented.
        held_out: batches of training images that are not in ``train``, to choose by.
        test: batches of test images.
        calibration: for a seed, training images without labels, ``[n, height, width, channels]``.
    """

    train: Callable[[int], tf.data.Dataset]
    held_out: tf.data.Dataset
    test: tf.data.Dataset
    calibration: Callable[[int], np.ndarray]


@dataclass(frozen=True)
class Experiment:
    """A network and its data.

    Attributes:
        name: of the results.
        build: makes the untrained network, which gives logits.
        data: what it is trained and tested on.
        optimizer: of the float training, for its number of steps and largest step size.
        rate: largest step size of the float training.
    """

    name: str
    build: Callable[[], tf_keras.Model]
    data: Data
    optimizer: Optimizer = hk.training.adam
    rate: float = 2e-3


def parser(
    description: str, *, epochs: int, further: int, images: int = 2048
) -> argparse.ArgumentParser:
    """Return a parser of the arguments that all training experiments take.

    Args:
        description: first line of the help.
        epochs: default of ``--epochs``.
        further: default of ``--further``.
        images: default of ``--images``.
    """
    made = argparse.ArgumentParser(description=description)
    add = made.add_argument
    add("--output", type=Path, required=True, help="folder for models and results; holds progress")
    add("--data-dir", type=Path, help="folder with the data")
    add("--float-model", type=Path, help="a trained float network: used instead of training one")
    add("--width", type=float, default=1.0, help="factor of all channel numbers (1)")
    add("--epochs", type=int, default=epochs, help=f"of the float training ({epochs})")
    about = f"epochs of each training further, whole or not; 0: none ({further})"
    add("--further", type=float, default=further, help=about)
    add("--rates", type=float, nargs="+", default=[3e-4, 1e-3, 3e-3], help="step sizes to try")
    add("--starts", nargs="+", choices=STARTS, default=list(STARTS), help="what to compare (all)")
    add("--seeds", type=int, default=3, help="runs of everything (3)")
    add("--limit", type=int, help="use only so many training images, and test images")
    add("--batch", type=int, default=128, help="images of a training step (128)")
    add("--images", type=int, default=images, help=f"calibration images ({images})")
    add("--labels", action="store_true",
        help="train all further by labels as well, the float network included")  # fmt: skip
    add("--bfloat16", action="store_true", help="train with bfloat16 products, on CPUs that can")
    add("--threads", type=int, help="CPU threads (all)")
    add("--distribute", choices=("none", "mirrored"), default="none",
        help="mirrored: tf.distribute, on all GPUs of this machine (none)")  # fmt: skip
    add("--json", type=Path, help="write the results here as well")
    add("--plot", type=Path, help="write a plot here (.png, .svg)")
    add("--overwrite", action="store_true", help="allow replacing these two files")
    return made


def prepare(args: argparse.Namespace) -> None:
    """Check the arguments and set TensorFlow up; call it before anything else is computed.

    Raises:
        HashBWNError: a number that makes no sense, or a file that cannot be written.
    """
    for name, least in (("epochs", 1), ("further", 0), ("seeds", 1), ("batch", 1), ("images", 1)):
        if getattr(args, name) < least:
            raise hk.HashBWNError(f"--{name} is {getattr(args, name)}: give {least} or more.")
    if args.width <= 0 or min(args.rates) <= 0:
        raise hk.HashBWNError(
            f"--width {args.width} and --rates {args.rates} must be greater than 0."
        )
    for path in (args.json, args.plot):
        if path:
            check_writable(path, args.overwrite)
    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)


def channels(count: int, width: float) -> int:
    """``count`` channels at a factor of the width, one at least."""
    return max(1, round(count * width))


def run(experiment: Experiment, args: argparse.Namespace) -> dict[str, Any]:
    """Do all runs that are not done yet, print the table and write what was asked for.

    Args:
        experiment: the network and its data.
        args: from :func:`parser`.

    Returns:
        What ``results.json`` holds: settings, runs (row, seed, rate, accuracies) and files.

    Raises:
        HashBWNError: results of other settings in the folder, or a file that failed verification.
    """
    study = Study(experiment, args)
    for seed in range(args.seeds):
        study.float_network(seed)
        for start in args.starts:
            study.start(start, seed)
        if not args.further:
            continue
        for start in ("float", *args.starts) if args.labels else ():
            study.trained(f"{start}-labels", seed)
        for start in args.starts:
            study.trained(f"{start}-trained", seed)
        if "ours" in args.starts and seed == 0:
            study.export()
    print(table(study.results))
    if args.json:
        atomic_write(args.json, _json(study.results), args.overwrite)
    if args.plot:
        plot(study.results, args.plot, args.overwrite)
    return study.results


class Study:
    """The runs of an experiment, in a folder that holds their models and results."""

    def __init__(self, experiment: Experiment, args: argparse.Namespace) -> None:
        self.experiment, self.args = experiment, args
        mirrored = args.distribute == "mirrored"
        self.strategy = tf.distribute.MirroredStrategy() if mirrored else None
        args.output.mkdir(parents=True, exist_ok=True)
        self._path = args.output / "results.json"
        kept = ("width", "epochs", "further", "rates", "limit", "batch", "images", "bfloat16")
        settings = {"experiment": experiment.name, **{name: getattr(args, name) for name in kept}}
        self.results: dict[str, Any] = {"settings": settings, "runs": [], "files": []}
        if self._path.exists():
            self.results = json.loads(self._path.read_text())
            if self.results["settings"] != settings:
                raise hk.HashBWNError(
                    f"{self._path} holds results of other settings ({self.results['settings']}): "
                    "give the same arguments or another --output."
                )

    def float_network(self, seed: int) -> None:
        """Train the float network, or load and test it."""
        path = self.model("float", seed)
        if self._find("float", seed):
            return
        start = time.perf_counter()
        if self.args.float_model:
            hk.save_model(hk.load_model(self.args.float_model), path, overwrite=True)
        elif not path.exists():
            tf_keras.utils.set_random_seed(seed)
            with self._scope():
                model = self.experiment.build()
            made, rate = self.experiment.optimizer, self.experiment.rate
            self._fit(model, None, made, rate, self.args.epochs, path, seed)
        self._note("float", seed, path, time.perf_counter() - start)

    def start(self, row: str, seed: int) -> None:
        """Make a binary network without training."""
        path = self.model(row, seed)
        if self._find(row, seed):
            return
        start = time.perf_counter()
        if not path.exists():
            hk.save_model(self._binary(row, seed), path)
        self._note(row, seed, path, time.perf_counter() - start)

    def _binary(self, row: str, seed: int) -> tf_keras.Model:
        model = hk.load_model(self.model("float", seed))
        arguments = STARTS[row]
        if arguments is None:
            return sign_mean(model)
        images = self.experiment.data.calibration(seed)
        return hk.binarize(model, images, seed=seed, **arguments)

    def trained(self, row: str, seed: int) -> None:
        """Train further: with every step size for the first seed, with the best one for others.

        Args:
            row: "{start}-trained", by distillation, or "{start}-labels".
            seed: of the batches.
        """
        rates = self.args.rates if seed == 0 else [self._best(row)["rate"]]
        start_row, how = row.rsplit("-", 1)
        origin = self.model(start_row, seed)
        for rate in rates:
            if self._find(row, seed, rate):
                continue
            path = self.model(f"{row}-{rate:g}", seed)
            start = time.perf_counter()
            if not path.exists():
                with self._scope():
                    model = hk.load_model(origin)
                    by_labels = how == "labels"
                    teacher = None if by_labels else hk.load_model(self.model("float", seed))
                self._fit(model, teacher, hk.training.adam, rate, self.args.further, path, seed)
            self._note(row, seed, path, time.perf_counter() - start, rate)
        best = self._best(row) if seed == 0 else self._find(row, seed)
        if "test" not in best:
            model = hk.load_model(self.model(f"{row}-{best['rate']:g}", seed))
            best["test"] = accuracy(model, self.experiment.data.test)
            self._save()

    def export(self) -> None:
        """Write the first seed's best network of ours at 1 bit a weight and verify the file."""
        if self.results["files"]:
            return
        rate = self._best("ours-trained")["rate"]
        model = hk.load_model(self.model(f"ours-trained-{rate:g}", 0))
        float_size = len(hk.export.to_tflite(hk.load_model(self.model("float", 0))))
        content = hk.export.to_tflite(model, weights="packed")
        images = next(iter(self.experiment.data.test))[0][:64]
        checked = hk.export.verify(model, content, images)
        if not checked.ok:
            raise hk.HashBWNError(
                f"The exported file failed verification: {' '.join(str(checked).split())}."
            )
        path = self.model("ours-trained", 0).with_suffix(".tflite")
        atomic_write(path, content, overwrite=True)
        error = checked.relative_error
        self.results["files"].append(
            {"seed": 0, "float_bytes": float_size, "bytes": len(content), "error": error}
        )
        self._save()

    def _fit(
        self,
        model: tf_keras.Model,
        teacher: tf_keras.Model | None,
        optimizer: Optimizer,
        rate: float,
        epochs: float,
        path: Path,
        seed: int,
    ) -> None:
        """Train ``model``, by the teacher's outputs or else by labels, and save it to ``path``."""
        tf_keras.utils.set_random_seed(seed)
        batches = self.experiment.data.train(seed)
        parts = math.ceil(epochs)  # a fraction: so many epochs, cut short alike
        batches = batches.take(max(1, round(len(batches) * epochs / parts)))
        with self._scope():
            trainer = _learner(model, teacher)
            labels = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
            trainer.compile(optimizer(parts * len(batches), rate), None if teacher else labels)
        backups = path.with_suffix(".backup")
        backup = tf_keras.callbacks.BackupAndRestore(str(backups))
        bar = _Progress(f"{path.stem}, seed {seed}", parts, len(batches))
        with bfloat16(self.args.bfloat16):
            trainer.fit(batches, epochs=parts, verbose=0, callbacks=[backup, bar])
        hk.save_model(model, path, overwrite=True)
        shutil.rmtree(backups)

    def _scope(self) -> Any:
        return self.strategy.scope() if self.strategy else nullcontext()

    def model(self, name: str, seed: int) -> Path:
        """Where a model is kept: "float", a start, or "{start}-{how}-{step size}"."""
        folder = self.args.output / f"seed{seed}"
        folder.mkdir(exist_ok=True)
        return folder / f"{name}.keras"

    def _find(self, row: str, seed: int, rate: float | None = None) -> dict[str, Any] | None:
        for found in self.results["runs"]:
            if (found["row"], found["seed"]) == (row, seed) and rate in (None, found.get("rate")):
                return found
        return None

    def _best(self, row: str) -> dict[str, Any]:
        """The run of the first seed that does best on the images held out."""
        runs = [r for r in self.results["runs"] if (r["row"], r["seed"]) == (row, 0)]
        return max(runs, key=lambda found: found["held_out"])

    def _note(
        self, row: str, seed: int, path: Path, seconds: float, rate: float | None = None
    ) -> None:
        model = hk.load_model(path)
        found: dict[str, Any] = {"row": row, "seed": seed, "seconds": round(seconds, 1)}
        found["held_out"] = accuracy(model, self.experiment.data.held_out)
        if rate is None:
            found["test"] = accuracy(model, self.experiment.data.test)
        else:
            found["rate"] = rate  # tested once it is the chosen one
        self.results["runs"].append(found)
        self._save()
        told = f"{row}, seed {seed}" + (f", step {rate:g}" if rate else "")
        print(f"{told}: {found['held_out']:.2%} of those held out", file=sys.stderr, flush=True)

    def _save(self) -> None:
        atomic_write(self._path, _json(self.results), overwrite=True)


def _learner(model: tf_keras.Model, teacher: tf_keras.Model | None) -> tf_keras.Model:
    """A second view of the model's layers to be trained, which keeps the model's own file clean."""
    if teacher:
        return hk.distil(model, teacher)
    return tf_keras.Model(model.inputs, model.outputs)


def accuracy(model: tf_keras.Model, batches: tf.data.Dataset) -> float:
    """Share of images whose largest logit is that of their class."""
    right = count = 0
    run = tf.function(model, autograph=False, reduce_retracing=True)
    for images, labels in batches:
        found = tf.argmax(run(images, training=False), axis=-1, output_type=labels.dtype)
        right += int(tf.reduce_sum(tf.cast(found == labels, tf.int32)))
        count += len(labels)
    return right / count


class _Progress(tf_keras.callbacks.Callback):
    """A bar on stderr that counts the steps of all epochs."""

    def __init__(self, title: str, epochs: int, steps: int) -> None:
        super().__init__()
        self._steps = steps
        self._bar = tqdm(total=epochs * steps, desc=title, unit="step", disable=None)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        self._bar.n = epoch * self._steps  # a resumed training does not begin at 0

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        self._bar.update()
        if batch % 20 == 0:
            self._bar.set_postfix(loss=f"{logs['loss']:.3f}")

    def on_train_end(self, logs: dict | None = None) -> None:
        self._bar.close()


def _json(results: dict[str, Any]) -> bytes:
    return json.dumps(results, indent=1).encode() + b"\n"


@contextmanager
def bfloat16(on: bool) -> Iterator[None]:
    """Let oneDNN multiply in bfloat16 in what is traced inside; weights stay float32."""
    option = "auto_mixed_precision_onednn_bfloat16"
    tf.config.optimizer.set_experimental_options({option: on})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({option: False})
