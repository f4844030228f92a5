"""A folder of trainings for train.py: networks as XLA programs, starts, data and a list of jobs."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import numpy as np
import programs
import tensorflow as tf
import tf_keras

TEST_BATCH = 500


class Jobs:
    """Writes such a folder.

    Args:
        folder: where to.
        batch: images of a training step.
    """

    def __init__(self, folder: Path, batch: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.batch = folder, batch
        self.list: list[dict[str, Any]] = []
        """Jobs that were added."""
        self.networks: dict[str, tuple[tf_keras.Model, list[Any]]] = {}
        """Student and what its programs take, by name."""

    def data(self, name: str, data: Any, mean: np.ndarray, deviation: np.ndarray) -> dict[str, Any]:
        """Write images as bytes, unless they are there; returns what jobs say of them."""
        path = self.folder / f"{name}.npz"
        if not path.exists():
            images = {k: np.rint(getattr(data, k) * 255).astype(np.uint8)
                      for k in ("train_images", "test_images")}  # fmt: skip
            labels = {k: getattr(data, k).astype(np.uint8) for k in ("train_labels", "test_labels")}
            np.savez(path, **images, **labels)
        scale = {"mean": mean, "deviation": deviation}
        return {"data": name, **{k: [float(x) for x in np.ravel(v)] for k, v in scale.items()}}

    def network(
        self, name: str, student: tf_keras.Model, teacher: tf_keras.Model | None = None
    ) -> None:
        """Write the programs that train ``student``: to follow a teacher, or to learn labels."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        trainer = programs.learner(student, teacher)
        captured = programs.write(trainer, student, self.batch, TEST_BATCH, folder)
        self.networks[name] = student, captured

    def add(
        self,
        name: str,
        network: str,
        weights: list[np.ndarray],
        *,
        train: int,
        epochs: int,
        rate: float,
        **settings: Any,
    ) -> None:
        """Add a training that starts from these weights of the student.

        Args:
            name: of the job and of its results.
            network: name of a network.
            weights: as ``get_weights`` gives them.
            train: use only so many of the training images.
            epochs: their number.
            rate: largest step size.
            settings: seed, shift, mirror (of the images), test (parts of the data to measure
                accuracy on) and what ``data`` returned.
        """
        student, captured = self.networks[network]
        student.set_weights(weights)
        values = programs.values(captured)
        places = programs.places(captured, student)
        mine = {key: value for key, value in values.items() if int(key) in places}
        rest = {key: value for key, value in values.items() if int(key) not in places}
        job = {"name": name, "network": network, "train": train, "epochs": epochs, "rate": rate}
        job["start"] = [self._keep(part) for part in (mine, rest)]
        job["rates"] = [float(rate * share) for share in _shares(train // self.batch * epochs)]
        self.list.append(job | settings)

    def _keep(self, values: dict[str, np.ndarray]) -> str:
        """Write arrays to a file named by what is in them, once; returns the name."""
        digest = hashlib.sha256()
        for key, value in values.items():
            digest.update(f"{key} {value.dtype} {value.shape} ".encode() + value.tobytes())
        name = f"{digest.hexdigest()[:16]}.npz"
        if not (self.folder / name).exists():
            np.savez_compressed(self.folder / name, **values)
        return name

    def save(self) -> None:
        """Write the list, after jobs of other names that it holds already."""
        path = self.folder / "jobs.json"
        new = {job["name"] for job in self.list}
        old = json.loads(path.read_text()) if path.exists() else []
        kept = [job for job in old if job["name"] not in new]
        path.write_text(json.dumps(kept + self.list) + "\n")


@lru_cache
def _shares(steps: int) -> list[float]:
    """The step sizes of a training over the largest."""
    schedule = hk.training.schedule(steps, 1.0)
    sizes = tf.function(
        lambda: tf.map_fn(schedule, tf.range(steps), fn_output_signature=tf.float32)
    )
    return sizes().numpy().tolist()


def weights(jobs: Path, results: Path, job: dict[str, Any]) -> list[np.ndarray]:
    """The student's weights that a job ended with, for ``set_weights``."""
    manifest = json.loads((jobs / job["network"] / "programs.json").read_text())
    with np.load(results / f"{job['name']}.npz") as last:
        return [last[str(i)] for i in manifest["student"]]
