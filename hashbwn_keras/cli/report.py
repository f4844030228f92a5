"""``hashbwn report``: float against binary model, or several benchmark results."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import (
    add_custom_objects,
    add_data,
    add_json,
    add_shape,
    check_outputs,
    load_tensorflow,
    write_json,
)
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write

ABOUT = "compare a float with a binary model, or tabulate benchmark results"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "inputs",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="the float model and the binary model, or .json files of hashbwn benchmark",
    )
    add_data(parser, "images to compare two models on")
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help=".npy file of class numbers, for the accuracy"
    )
    parser.add_argument("--html", metavar="PATH", type=Path, help="write a page with plots there")
    parser.add_argument(
        "--plot", metavar="PATH", type=Path, help="draw the benchmark results to this picture"
    )
    add_shape(parser)
    add_custom_objects(parser)
    add_json(parser, "the result")


def run(args: Namespace) -> int:
    """Print the comparison; write the page, the picture and the JSON."""
    if all(path.suffix == ".json" for path in args.inputs):
        return _of_benchmarks(args)
    if len(args.inputs) != 2 or args.plot:
        raise HashBWNError(
            "Give the float model and the binary model, or .json files of hashbwn benchmark (which "
            "--plot is for)."
        )
    if not args.data:
        raise HashBWNError("Two models are compared on images: give --data.")
    check_outputs(args, args.html)
    load_tensorflow()
    import hashbwn_keras
    from hashbwn_keras.cli import images, models

    float_model, binary_model = (models.load_model(args, path) for path in args.inputs)
    data = images.read(args, float_model)
    labels = images.load_labels(args.labels, args.max_images) if args.labels else data.labels
    result = hashbwn_keras.report(float_model, binary_model, data.images, labels)
    print(result)
    if args.html:
        atomic_write(args.html, result.to_html().encode(), args.overwrite)
    write_json(args, json.loads(result.to_json()))
    return 0


def _of_benchmarks(args: Namespace) -> int:
    from hashbwn_keras.benchmark import plot, result_files, table

    if args.data or args.labels or args.html or args.json:
        raise HashBWNError(
            "--data, --labels, --html and --json are for comparing two models: leave them out for "
            "benchmark results."
        )
    found = [result for path in args.inputs for result in result_files.load(path)]
    if args.plot:
        plot.plot(found, args.plot, args.overwrite)
    print(table.text(found), end="")
    return 0
