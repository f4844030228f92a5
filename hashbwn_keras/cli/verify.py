"""``hashbwn verify``: whether a .tflite file computes what its model computes."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import (
    add_custom_objects,
    add_data,
    add_json,
    add_shape,
    check_outputs,
    load_tensorflow,
    say,
    write_json,
)

ABOUT = "compare a .tflite file with its Keras model in every interpreter"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="the Keras model")
    parser.add_argument("file", metavar="FILE", type=Path, help="the .tflite file made from it")
    add_data(parser, "images to compare on; without them, random inputs are used")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest error allowed, as a share of the output's range (default: 1e-4; 0.1 with "
        "int8 activations)",
    )
    add_shape(parser)
    add_custom_objects(parser)
    add_json(parser, "the result")


def run(args: Namespace) -> int:
    """Compare and print; the status is 1 if the file does not hold what it should."""
    load_tensorflow()
    from hashbwn_keras.cli import images, models
    from hashbwn_keras.export import verify

    check_outputs(args)
    model = models.load_model(args)
    if args.data:
        inputs = images.read(args, model).images
    else:
        say(f"hashbwn verify: no --data, so {models.RANDOM_INPUTS} random inputs are compared.")
        inputs = models.random_inputs(model, args.shape)
    result = verify(model, args.file, inputs, tolerance=args.tolerance)
    print(result)
    write_json(args, result.to_dict())
    if not result.ok:
        say(f"hashbwn verify: {args.file} does not compute what {args.model} computes.")
    return 0 if result.ok else 1
