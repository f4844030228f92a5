"""``hashbwn export``: a .tflite file of a binary model."""

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

ABOUT = "write a .tflite file whose binary weights are really small"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="binary .keras, .h5 or SavedModel, or a .tflite file with two-valued filters",
    )
    parser.add_argument("output", metavar="OUT", type=Path, help=".tflite file to write")
    parser.add_argument(
        "--weights",
        choices=("packed", "int8", "float"),
        default="packed",
        help="1 bit a weight; int8, as fast as float in stock runtimes; float (default: packed)",
    )
    parser.add_argument(
        "--activations",
        choices=("float32", "int8"),
        default="float32",
        help="int8 makes a full-integer file and needs --data (default: float32)",
    )
    for side in ("input", "output"):
        parser.add_argument(
            f"--{side}-type",
            choices=("float32", "int8", "uint8"),
            default="float32",
            help=f"of the file's {side}, with int8 activations or for lce (default: float32)",
        )
    parser.add_argument(
        "--runtime",
        choices=("tflite", "lce"),
        default="tflite",
        help="what will run the file: lce is Larq Compute Engine, for which lce_convert has more "
        "options (default: tflite, which is LiteRT, too)",
    )
    add_data(parser, "calibration images for int8 activations")
    add_shape(parser)
    add_custom_objects(parser)
    add_json(parser, "what the file holds")


def run(args: Namespace) -> int:
    """Write the file and print what it holds."""
    load_tensorflow()
    from hashbwn_keras.export import inspect
    from hashbwn_keras.text import size

    check_outputs(args, args.output)
    if args.runtime == "lce":
        _for_lce(args)
    else:
        _for_tflite(args)
    found = inspect(args.output)
    print(found)
    print(f"{args.output}: {size(found.nbytes)}")
    write_json(args, found.to_dict())
    return 0


def _for_lce(args: Namespace) -> None:
    from hashbwn_keras.cli import models
    from hashbwn_keras.export import to_lce

    integer = "int8" in (args.weights, args.activations)
    if args.model.suffix == ".tflite" or integer or args.data:
        raise HashBWNError(
            "--runtime lce takes a Keras model and --weights packed or float: leave out the other "
            "options."
        )
    to_lce(
        models.load_model(args),
        args.output,
        weights=args.weights,
        input_type=args.input_type,
        output_type=args.output_type,
        overwrite=args.overwrite,
    )


def _for_tflite(args: Namespace) -> None:
    from hashbwn_keras.cli import images, models
    from hashbwn_keras.export import to_tflite

    model = args.model if args.model.suffix == ".tflite" else models.load_model(args)
    if args.data and args.activations != "int8":
        raise HashBWNError("--data is for --activations int8: leave it out.")
    to_tflite(
        model,
        args.output,
        weights=args.weights,
        activations=args.activations,
        calibration_data=images.read(args, model).images if args.data else None,
        input_type=args.input_type,
        output_type=args.output_type,
        overwrite=args.overwrite,
    )
