"""What ``hashbwn demo`` takes."""

import argparse
from pathlib import Path

DATASETS = ("digits", "fashion_mnist", "mnist", "cifar10")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hashbwn demo``."""
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        default="digits",
        help="digits comes with scikit-learn, the others through Keras (default: digits)",
    )
    parser.add_argument(
        "--data-dir",
        metavar="FOLDER",
        type=Path,
        help="folder with the data set's usual files: cifar-10-batches-py or the four .gz files",
    )
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        default=Path("hashbwn-demo"),
        help="where models, files and report go (default: ./hashbwn-demo)",
    )
    parser.add_argument("--epochs", type=int, help="of the float training (default: by data set)")
    parser.add_argument("--seed", type=int, default=0, help="of training and solve (default: 0)")
    parser.add_argument("--json", metavar="PATH", type=Path, help="also write the table as JSON")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier demo's files")
