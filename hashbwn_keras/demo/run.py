"""What ``hashbwn demo`` does: train, binarise, export, verify, report."""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from hashbwn_keras.binarizer.binarize import binarize
from hashbwn_keras.demo import datasets, network
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.export import to_lce, to_tflite, verify
from hashbwn_keras.files import staged_folder
from hashbwn_keras.network.saving import save_model
from hashbwn_keras.reporting.compare import report as compare
from hashbwn_keras.reporting.report import Report
from hashbwn_keras.runtime import Interpreter
from hashbwn_keras.text import aligned, percent, size

_EPOCHS = {"digits": 15, "mnist": 2, "fashion_mnist": 2, "cifar10": 2}
_TRAIN_IMAGES = 20_000
"""Training images used of larger data sets, so that the demo stays short."""
_CALIBRATION_IMAGES = 2048
_TEST_IMAGES = 1000
"""Test images run through each file, one at a time."""


@dataclass(frozen=True)
class Form:
    """One file and what it does on the test images.

    Attributes:
        name: what it is.
        file: its name.
        nbytes: its size.
        accuracy: share of the test images classified right.
        agreement: share classified as by the float network.
        max_error: largest difference from its own Keras network, as a share of the output's range.
    """

    name: str
    file: str
    nbytes: int
    accuracy: float
    agreement: float
    max_error: float


@dataclass(frozen=True)
class Demo:
    """What the demo measured; ``str()`` of it is the table."""

    dataset: str
    seed: int
    test_images: int
    folder: str
    seconds: dict[str, float]
    forms: tuple[Form, ...]
    report: Report

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain JSON-able values."""
        content = {name: getattr(self, name) for name in ("dataset", "seed", "test_images")}
        content |= {"folder": self.folder, "seconds": self.seconds}
        content["forms"] = [asdict(form) for form in self.forms]
        return content | {"report": json.loads(self.report.to_json())}

    def __str__(self) -> str:
        largest = self.forms[0].nbytes
        heads = ("network and file", "bytes", "smaller", "accuracy", "as float", "error")
        rows = [
            (
                form.name,
                f"{form.nbytes:,}",
                f"{largest / form.nbytes:.1f}×",
                percent(form.accuracy),
                percent(form.agreement),
                f"{form.max_error:.1e}",
            )
            for form in self.forms
        ]
        times = ", ".join(f"{what} {spent:.0f} s" for what, spent in self.seconds.items())
        report = self.report
        return "\n".join(
            [
                *aligned([heads, *rows], left=1),
                "",
                f"{self.dataset}, {self.test_images:,} test images; accuracy and agreement are "
                "those of the file itself,",
                "error is its largest difference from Keras, as a share of the output's range.",
                f"Weights alone: {size(report.float_bytes)} → {size(report.binary_bytes)}, "
                f"{report.float_bytes / report.binary_bytes:.1f}× smaller.",
                f"{times}. Open {self.folder}/report.html; time the files with hashbwn benchmark "
                f"{self.folder}/*.tflite",
            ]
        )


def demonstrate(
    output: str | os.PathLike[str],
    *,
    dataset: str = "digits",
    data_dir: Path | None = None,
    epochs: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
) -> Demo:
    """Train, binarise, export and verify a small VGG; write models, files and report.

    Args:
        output: folder for the results, which appear together at the end.
        dataset: see :func:`hashbwn_keras.demo.datasets.load`.
        data_dir: the same.
        epochs: of the float training; None for a number that suits the data set.
        seed: of the training and the solve.
        overwrite: whether files in ``output`` may be replaced.

    Raises:
        HashBWNError: no such data, an existing output, or a file that failed verification.
    """
    if epochs is not None and epochs < 1:
        raise HashBWNError(f"epochs is {epochs}: give 1 or more.")
    with staged_folder(output, overwrite) as folder:
        watch = _Watch()
        data = datasets.load(dataset, data_dir, seed)
        tf_keras.utils.set_random_seed(seed)
        classes = int(data.train_labels.max()) + 1
        model = network.vgg(data.train_images.shape[1:], classes)
        watch("data")
        train, train_labels = data.train_images[:_TRAIN_IMAGES], data.train_labels[:_TRAIN_IMAGES]
        network.train(model, train, train_labels, epochs or _EPOCHS[dataset])
        watch("training")
        calibration = train[:_CALIBRATION_IMAGES]
        binary = binarize(model, calibration, seed=seed)
        watch("binarising")
        images, labels = data.test_images[:_TEST_IMAGES], data.test_labels[:_TEST_IMAGES]
        forms = _export(model, binary, folder, images, labels)
        watch("export and verification")
        report = compare(model, binary, data.test_images, data.test_labels)
        save_model(model, folder / "float.keras")
        save_model(binary, folder / "binary.keras")
        (folder / "report.html").write_text(report.to_html())
        (folder / "report.json").write_text(report.to_json())
        watch("report")
        result = Demo(dataset, seed, len(images), str(output), watch.seconds, forms, report)
        (folder / "table.txt").write_text(f"{result}\n")
    return result


class _Watch:
    """Notes how long each stage took, and says so on stderr."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def __call__(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 1)
        self._last = now
        print(f"{stage}: {self.seconds[stage]} s", file=sys.stderr, flush=True)


def _export(
    model: tf_keras.Model,
    binary: tf_keras.Model,
    folder: Path,
    images: np.ndarray,
    labels: np.ndarray,
) -> tuple[Form, ...]:
    """Write each form of file, verify it and run it on the test images."""
    writers: list[tuple[str, str, tf_keras.Model, Callable[[tf_keras.Model, Path], bytes]]] = [
        ("float network, float32", "float.tflite", model, _writer("float")),
        ("binary, float32 weights", "binary-float32.tflite", binary, _writer("float")),
        ("binary, int8 weights", "binary-int8.tflite", binary, _writer("int8")),
        ("binary, packed to 1 bit", "binary-packed.tflite", binary, _writer("packed")),
    ]
    if find_spec("larq_compute_engine"):
        writers.append(("binary, packed, for LCE", "binary-lce.tflite", binary, to_lce))
    wanted = model.predict(images, verbose=0).argmax(1)
    forms = []
    for name, file, source, write in writers:
        content = write(source, folder / file)
        checked = verify(source, content, images[:64])
        if not checked.ok:
            raise HashBWNError(f"{file} failed verification: {' '.join(str(checked).split())}.")
        got = Interpreter(content).predict(images).argmax(1)
        forms.append(
            Form(
                name,
                file,
                len(content),
                float(np.mean(got == labels)),
                float(np.mean(got == wanted)),
                checked.relative_error,
            )
        )
    return tuple(forms)


def _writer(weights: str) -> Callable[[tf_keras.Model, Path], bytes]:
    return lambda model, path: to_tflite(model, path, weights=weights)
