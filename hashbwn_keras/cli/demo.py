"""``hashbwn demo``: the whole way from a float network to small files."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import add_json, check_outputs, load_tensorflow, write_json

ABOUT = "train, binarise, export and verify a small network, in about a minute"
DATASETS = ("digits", "fashion_mnist", "mnist", "cifar10")


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
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
    add_json(parser, "the table")


def run(args: Namespace) -> int:
    """Make everything and print the table."""
    load_tensorflow()
    from hashbwn_keras.demo.run import demonstrate

    check_outputs(args)
    result = demonstrate(
        args.output,
        dataset=args.dataset,
        data_dir=args.data_dir,
        epochs=args.epochs,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    print(result)
    write_json(args, result.to_dict())
    return 0
