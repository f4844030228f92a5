"""``hashbwn inspect``: the layers of a .tflite file."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import add_json, check_outputs, load_tensorflow, write_json

ABOUT = "list the layers of a .tflite file and how each is stored"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("file", metavar="FILE", type=Path, help=".tflite file")
    add_json(parser, "the result")


def run(args: Namespace) -> int:
    """Print the table."""
    load_tensorflow()
    from hashbwn_keras.export import inspect

    check_outputs(args)
    found = inspect(args.file)
    print(found)
    write_json(args, found.to_dict())
    return 0
