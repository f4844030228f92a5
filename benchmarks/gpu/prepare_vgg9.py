"""Prepares the trainings of examples/vgg9_cifar.py for a machine with a GPU, and brings them back.

    python benchmarks/gpu/prepare_vgg9.py write JOBS [arguments of vgg9_cifar.py]
    python benchmarks/gpu/train.py JOBS --output RESULTS                       # there, with JAX
    python benchmarks/gpu/prepare_vgg9.py read JOBS RESULTS [the same]

Twice: first for the float networks, then, when they are there, for the binary ones. After that
vgg9_cifar.py with the same arguments does what is left: accuracies, table, plot, verified files.
Every start is trained with every step size and seed here; the example uses the ones it would.
"""

import json
import sys
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import tf_keras
from jobs import Jobs, weights

from hashbwn_keras.demo import datasets

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import training_helper as helper
import vgg9_cifar


def main() -> None:
    if sys.argv[1:2] == ["write"] and len(sys.argv) > 2:
        write(Path(sys.argv[2]), vgg9_cifar.parser().parse_args(sys.argv[3:]))
    elif sys.argv[1:2] == ["read"] and len(sys.argv) > 3:
        args = vgg9_cifar.parser().parse_args(sys.argv[4:])
        read(Path(sys.argv[2]), Path(sys.argv[3]), args)
    else:
        sys.exit(__doc__)


def write(folder: Path, args: Any) -> None:
    """Write the jobs of the float networks, or solve the starts and write those of the binary."""
    if args.further % 1:
        raise hk.HashBWNError(f"--further is {args.further:g}: jobs need a whole number of epochs.")
    data = datasets.load(args.dataset, args.data_dir, seed=0)
    experiment = vgg9_cifar.experiment(args)
    study = helper.Study(experiment, args)
    made = Jobs(folder, args.batch)
    settings = made.data(args.dataset, data, *vgg9_cifar.normalisation(data)) | {
        "train": len(data.train_images) - round(vgg9_cifar.HELD_OUT * len(data.train_images)),
        "shift": vgg9_cifar.SHIFT if args.augment else 0,
        "mirror": args.augment,
        "test": ["held_out"],
    }
    first = not study.model("float", 0).exists()
    for seed in range(args.seeds):
        about = settings | {"seed": seed}
        if first:
            _write_float(made, experiment, args, about)
        else:
            study.float_network(seed)
            for start in args.starts:
                study.start(start, seed)
            _write_binary(made, study, args, about)
    made.save()


def _write_float(made: Jobs, experiment: helper.Experiment, args: Any, about: dict) -> None:
    tf_keras.utils.set_random_seed(about["seed"])
    model = experiment.build()
    network = f"{args.output.name}-float"
    if network not in made.networks:
        made.network(network, model)
    name = f"{args.output.name}-float-{about['seed']}"
    weights = model.get_weights()
    made.add(name, network, weights, epochs=args.epochs, rate=experiment.rate, **about)


def _write_binary(made: Jobs, study: helper.Study, args: Any, about: dict) -> None:
    seed = about["seed"]
    teacher = hk.load_model(study.model("float", seed))
    written = set()
    for start in args.starts:
        model = hk.load_model(study.model(start, seed))
        # Solved networks may have biases that others lack. Seeds share programs: what is learnt
        # from is among their arguments.
        network = f"{args.output.name}-binary-{len(model.weights)}"
        if network not in written:
            made.network(network, model, teacher)
            written.add(network)
        weights = model.get_weights()
        for rate in args.rates:
            name = f"{args.output.name}-{start}-trained-{rate:g}-{seed}"
            made.add(name, network, weights, epochs=int(args.further), rate=rate, **about)


def read(folder: Path, results: Path, args: Any) -> None:
    """Put the trained networks where the example looks for them."""
    experiment = vgg9_cifar.experiment(args)
    study = helper.Study(experiment, args)
    for job in json.loads((folder / "jobs.json").read_text()):
        if not job["name"].startswith(f"{args.output.name}-"):
            continue
        done = results / f"{job['name']}.json"
        kind, _, seed = job["name"].removeprefix(f"{args.output.name}-").rpartition("-")
        path = study.model(kind, int(seed))
        if path.exists() or not done.exists():
            continue
        start = kind.split("-trained-")[0]
        model = experiment.build() if kind == "float" else hk.load_model(
            study.model(start, int(seed)))  # fmt: skip
        model.set_weights(weights(folder, results, job))
        hk.save_model(model, path)
        here = helper.accuracy(model, experiment.data.held_out)
        there = json.loads(done.read_text())["accuracy"]["held_out"][-1]
        print(f"{job['name']}: {there:.2%} of those held out there, {here:.2%} here", flush=True)


if __name__ == "__main__":
    main()
