"""Prepares the runs of examples/*_qat.py for a machine with a GPU, and brings the results back.

    python benchmarks/gpu/prepare_ablation.py write JOBS resnet20_cifar10_qat [its arguments]
    python benchmarks/gpu/train.py JOBS --output RESULTS                       # there, with JAX
    python benchmarks/gpu/prepare_ablation.py read JOBS RESULTS resnet20_cifar10_qat [the same]

After that the example's output folder holds the runs as if it had done them itself, and the example
prints the table and draws the plot. Starts that were solved are kept in the output folder as well.
"""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import tf_keras
from jobs import Jobs, weights

from hashbwn_keras.files import atomic_write

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import ablation


def main() -> None:
    if sys.argv[1:2] == ["write"] and len(sys.argv) > 3:
        example, args = _example(sys.argv[3:])
        write(Path(sys.argv[2]), example, args)
    elif sys.argv[1:2] == ["read"] and len(sys.argv) > 4:
        example, args = _example(sys.argv[4:])
        read(Path(sys.argv[2]), Path(sys.argv[3]), example, args)
    else:
        sys.exit(__doc__)


def _example(words: list[str]) -> tuple[Any, Any]:
    example = importlib.import_module(words[0])
    args = example.parser().parse_args(words[1:])
    ablation.prepare(args)
    return example, args


def write(folder: Path, example: Any, args: Any) -> None:
    """Solve the starts and write the jobs."""
    task = example.task(args)
    made = Jobs(folder, args.batch)
    about = made.data(example.__name__, task.data, task.mean, task.deviation)
    images = task.images("train")
    for row in args.rows:
        for seed in args.seeds:
            start = _start(row, seed, task, images, args)
            # Rows that use weights in the same way share programs; solved ones may have biases.
            kind = "ste_sign" if row == "ste_sign" else "hash_sign"
            network = f"{args.output.name}-{kind}-{len(start.weights)}"
            if network not in made.networks:
                made.network(network, start, task.model)
            made.add(
                _name(args, row, seed), network, start.get_weights(), train=len(images),
                epochs=args.epochs, rate=args.rate, seed=seed, shift=task.shift, mirror=True,
                test=["test"], **about,
            )  # fmt: skip
    made.save()


def _name(args: Any, row: str, seed: int) -> str:
    return f"{args.output.name}-{ablation.path_of(args, row, seed).stem}"


def _start(row: str, seed: int, task: Any, images: Any, args: Any) -> tf_keras.Model:
    path = args.output / f"{row}-{seed}.start.keras"
    if not path.exists():
        hk.save_model(ablation.start(row, task, images, seed), path)
    return hk.load_model(path)


def read(folder: Path, results: Path, example: Any, args: Any) -> None:
    """Write models and results as the example does; prints what TensorFlow finds of them."""
    task = example.task(args)
    score = ablation.Score(task.images("test"), task.data.test_labels)
    jobs = {job["name"]: job for job in json.loads((folder / "jobs.json").read_text())}
    for row, seed in ((row, seed) for row in args.rows for seed in args.seeds):
        path = ablation.path_of(args, row, seed)
        job = jobs.get(_name(args, row, seed))
        done = results / f"{_name(args, row, seed)}.json"
        if job is None or path.exists() or not done.exists():
            continue
        found = json.loads(done.read_text())
        model = hk.load_model(args.output / f"{row}-{seed}.start.keras")
        model.set_weights(weights(folder, results, job))
        hk.save_model(model, path.with_suffix(".keras"), overwrite=True)
        accuracy = found["accuracy"]["test"]
        print(f"{path.stem}: {accuracy[-1]:.2%} there, {score(model):.2%} here", flush=True)
        kept = {"row": row, "seed": seed, "images": job["train"], "batch": args.batch}
        kept |= {k: found[k] for k in ("epochs", "rate", "seconds", "device")}
        kept["accuracy"] = [round(value, 4) for value in accuracy]
        atomic_write(path, json.dumps(kept).encode() + b"\n")


if __name__ == "__main__":
    main()
