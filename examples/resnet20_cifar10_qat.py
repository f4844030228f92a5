"""Train a binary ResNet for CIFAR-10 further, from four starts at equal budget, and compare.

    python examples/resnet20_cifar10_qat.py --model resnet20_cifar10.h5 --output resnet20-qat

Every row is trained on all training images, without their labels: shifted and mirrored, the float
network's outputs are what is to be learnt (distillation). Runs that are in the output folder
already are not done again, and an interrupted one goes on at its last whole epoch. Test images
serve for the accuracies of the table and the plot only.
"""

import argparse
import sys
from pathlib import Path

import ablation

import hashbwn_keras as hk
from hashbwn_keras.demo import datasets

# isort: split
from resnet20_cifar10 import DEVIATION, MEAN

SHIFT = 4
"""Pixels by which an image may be shifted; zeros move in."""


def main() -> int:
    """Do the runs, print the table, draw the plot; returns the exit status."""
    return ablation.main(parser(), task)


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("--model", type=Path, required=True, help="float model, .h5 or .keras")
    made.add_argument("--data-dir", type=Path, help="folder with CIFAR-10's python batches")
    ablation.add_arguments(made, epochs=5)
    return made


def task(args: argparse.Namespace) -> ablation.Task:
    """The float network and its data."""
    data = ablation.limited(datasets.load("cifar10", args.data_dir, seed=0), args.limit)
    return ablation.Task(hk.load_model(args.model), data, MEAN, DEVIATION, SHIFT)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hk.HashBWNError as error:
        sys.exit(f"resnet20_cifar10_qat: {error}")
