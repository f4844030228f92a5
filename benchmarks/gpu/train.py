"""Runs trainings that prepare_ablation.py or prepare_vgg9.py prepared: needs JAX and NumPy alone.

    python train.py JOBS --output RESULTS

Every job is one training of a network that was exported as XLA programs. After each, accuracies by
epoch and the last weights are written; jobs that are done already are left out.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax._src.interpreters import mlir
from jax._src.lib import _jax
from jaxlib.mlir import ir

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import moves

jax.config.update("jax_enable_x64", True)
STABLEHLO = "1.0.0"
MOST_STEPS = 480  # of an epoch: one program serves every length


def _stablehlo(path: Path) -> bytes:
    """A program of TensorFlow's as JAX exchanges them."""
    with mlir.make_ir_context():
        module = ir.Module.parse(_jax.mlir.hlo_to_stablehlo(path.read_bytes()))
        for function in module.body.operations:
            for block in function.regions[0].blocks:
                for operation in list(block.operations):
                    if operation.name == "mhlo.copy":  # has no counterpart, and nothing to do
                        operation.result.replace_all_uses_with(operation.operands[0])
                        operation.erase()
        return _jax.mlir.serialize_portable_artifact(str(module), STABLEHLO)


class Network:
    """The programs of a network, callable from JAX."""

    def __init__(self, folder: Path) -> None:
        self.manifest = json.loads((folder / "programs.json").read_text())
        self._calls = {
            name: self._load(folder / f"{name}.hlo", program)
            for name, program in self.manifest["programs"].items()
        }

    def _load(self, path: Path, program: dict):
        captured = self.manifest["captured"]
        inputs = program["arguments"] + [captured[i] for i in program["takes"]]
        outputs = program["results"] + [captured[i] for i in program["updates"]]
        avals = [jax.ShapeDtypeStruct(tuple(s), d) for s, d in inputs]

        def shape_only(*_):
            return tuple(jnp.zeros(s, d) for s, d in outputs)

        shell = export.export(jax.jit(shape_only, keep_unused=True))(*avals)
        return dataclasses.replace(shell, mlir_module_serialized=_stablehlo(path)).call

    def call(self, name: str, arguments: list, state: list) -> tuple[list, list]:
        """Results of a program, and the state after it."""
        program = self.manifest["programs"][name]
        found = self._calls[name](*arguments, *(state[i] for i in program["takes"]))
        results = len(program["results"])
        state = list(state)
        for i, value in zip(program["updates"], found[results:], strict=True):
            state[i] = value
        return list(found[:results]), state


class Trainings:
    """Trainings of one network on one data set."""

    def __init__(self, network: Network, data: dict[str, np.ndarray]) -> None:
        self.network, self.data = network, data
        self.mutable = sorted(set(network.manifest["programs"]["step"]["updates"]))
        self._padded: dict[int, jax.Array] = {}
        self._epoch = jax.jit(self._run_epoch, donate_argnums=0)
        self._logits = jax.jit(lambda images, state: network.call("logits", [images], state)[0][0])

    def _run_epoch(self, moving, fixed, padded, labels, places, rates, count):
        """So many steps; ``places`` are (chosen, rows, columns) of every step."""

        def step(i, moving):
            chosen, rows, columns = (p[i] for p in places)
            images = padded[chosen[:, None, None], rows[:, :, None], columns[:, None, :]]
            state = list(fixed)
            for j, value in zip(self.mutable, moving, strict=True):
                state[j] = value
            state[self.network.manifest["rate"]] = rates[i]
            data = [images, labels[chosen]] if self.network.manifest["labelled"] else [images]
            _, state = self.network.call("step", data, state)
            return tuple(state[j] for j in self.mutable)

        return jax.lax.fori_loop(0, count, step, moving)

    def run(self, job: dict, state: list[np.ndarray]) -> tuple[dict, list[np.ndarray]]:
        """Train; returns accuracies by epoch, and the state after it."""
        began = time.perf_counter()
        count, shift, seed = job["train"], job["shift"], job["seed"]
        batch = self.network.manifest["programs"]["step"]["arguments"][0][0][0]
        images = self.data["train_images"]
        if shift not in self._padded:
            margin = (shift, shift)
            self._padded[shift] = jnp.asarray(np.pad(images, ((0, 0), margin, margin, (0, 0))))
        labels = jnp.asarray(self.data["train_labels"])
        fixed = [jnp.asarray(v) for v in state]
        moving = tuple(jnp.array(v, copy=True) for i, v in enumerate(state) if i in self.mutable)
        found = {"accuracy": {part: [] for part in job["test"]}}
        rates = np.asarray(job["rates"], np.float32).reshape(job["epochs"], -1)
        for epoch in range(job["epochs"] + 1):
            for i, value in zip(self.mutable, moving, strict=True):
                fixed[i] = value
            for part in job["test"]:
                found["accuracy"][part].append(self.accuracy(fixed, part))
            if epoch == job["epochs"]:
                break
            steps = rates.shape[1]
            order = moves.order(count, (seed, epoch))
            places = [
                self._place(order, batch, images.shape[1], job, epoch, i) for i in range(steps)
            ]
            places = tuple(_extended(np.stack(p)) for p in zip(*places, strict=True))
            frozen = [None if i in self.mutable else v for i, v in enumerate(fixed)]
            moving = self._epoch(
                moving, frozen, self._padded[shift], labels, places,
                _extended(rates[epoch]), jnp.int32(steps),
            )  # fmt: skip
        found["seconds"] = round(time.perf_counter() - began, 1)
        return found, [np.asarray(v) for v in fixed]

    def _place(self, order, batch, side, job, epoch, index):
        key = (job["seed"], epoch)
        chosen = order[index * batch : (index + 1) * batch]
        rows, columns = moves.moves(batch, side, job["shift"], job["mirror"], key, index)
        return chosen, rows, columns

    def accuracy(self, state: list, part: str) -> float:
        """Share of right answers among the images of a part."""
        images, labels = self.data[f"{part}_images"], self.data[f"{part}_labels"]
        size = self.network.manifest["programs"]["logits"]["arguments"][0][0][0]
        right = 0
        for start in range(0, len(images), size):
            logits = self._logits(jnp.asarray(images[start : start + size]), state)
            right += int((np.asarray(logits).argmax(-1) == labels[start : start + size]).sum())
        return right / len(images)


def _extended(values: np.ndarray) -> jax.Array:
    missing = MOST_STEPS - len(values)
    return jnp.asarray(np.pad(values, [(0, missing)] + [(0, 0)] * (values.ndim - 1)))


def _state(folder: Path, files: list[str]) -> list[np.ndarray]:
    """What the programs take, in order."""
    found: dict[str, np.ndarray] = {}
    for name in files:
        with np.load(folder / name) as part:
            found |= part
    return [found[str(i)] for i in range(len(found))]


def load_data(path: Path, job: dict) -> dict[str, np.ndarray]:
    """Images as the networks take them; the last tenth for training is held out, too."""
    mean, deviation = (np.asarray(job[k], np.float32) for k in ("mean", "deviation"))
    data = {}
    with np.load(path) as raw:
        for part in ("train", "test"):
            images = raw[f"{part}_images"].astype(np.float32) / np.float32(255)
            data[f"{part}_images"] = (images - mean) / deviation
            data[f"{part}_labels"] = raw[f"{part}_labels"].astype(np.int32)
    held_out = len(data["train_images"]) // 10
    for what in ("images", "labels"):
        data[f"held_out_{what}"] = data[f"train_{what}"][-held_out:]
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=Path, help="folder that prepare_*.py wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder for results")
    parser.add_argument("--networks", nargs="+", help="only jobs of these networks")
    parser.add_argument("--seconds", type=float, default=1e9, help="begin no job after so many")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    print(jax.devices(), jax.devices()[0].device_kind, flush=True)
    jobs = json.loads((args.jobs / "jobs.json").read_text())
    trainings: dict[str, Trainings] = {}
    for job in jobs:
        path = args.output / f"{job['name']}.json"
        late = time.perf_counter() > args.seconds + BEGAN
        if late or path.exists() or (args.networks and job["network"] not in args.networks):
            continue
        if job["network"] not in trainings:
            network = Network(args.jobs / job["network"])
            images = load_data(args.jobs / f"{job['data']}.npz", job)
            trainings[job["network"]] = Trainings(network, images)
        state = _state(args.jobs, job["start"])
        found, state = trainings[job["network"]].run(job, state)
        kept = {k: v for k, v in job.items() if k != "rates"}
        kept["device"] = jax.devices()[0].device_kind
        student = trainings[job["network"]].network.manifest["student"]
        weights = {str(i): state[i] for i in student}
        np.savez_compressed(args.output / f"{job['name']}.npz", **weights)
        path.write_text(json.dumps(kept | found) + "\n")
        last = {part: values[-1] for part, values in found["accuracy"].items()}
        print(job["name"], last, found["seconds"], "s", flush=True)


BEGAN = time.perf_counter()
if __name__ == "__main__":
    main()
