"""``hashbwn doctor``: what is installed here and what it gives."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import add_overwrite, check_outputs, load_tensorflow, write_json

ABOUT = "say what is installed here and what it gives"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--build",
        metavar="TARGET",
        nargs="?",
        const="host",
        help="build the native delegate first, for this machine or a target such as aarch64-linux",
    )
    parser.add_argument(
        "--json",
        metavar="PATH",
        type=Path,
        nargs="?",
        const=Path("-"),
        help="also write the result as JSON; without PATH, print it instead of the text",
    )
    add_overwrite(parser)


def run(args: Namespace) -> int:
    """Examine and print."""
    printed = args.json == Path("-")
    if printed:
        args.json = None
    check_outputs(args)
    load_tensorflow()
    from hashbwn_keras import runtime
    from hashbwn_keras.cli import installation

    if args.build:
        print(runtime.build() if args.build == "host" else runtime.build(args.build))
    found = installation.examine()
    print(json.dumps(found, indent=2) if printed else installation.text(found))
    write_json(args, found)
    return 0
