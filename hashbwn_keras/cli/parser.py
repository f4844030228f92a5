"""The parsers of ``hashbwn`` and ``lce_convert``. Nothing here imports TensorFlow."""

import argparse
from importlib import import_module

from hashbwn_keras.cli import lce
from hashbwn_keras.version import __version__

COMMANDS = (
    "binarize",
    "export",
    "verify",
    "inspect",
    "report",
    "benchmark",
    "doctor",
    "demo",
)
"""The modules of the commands, in the order of ``--help``."""

_EPILOG = (
    "Existing files are kept unless --overwrite is given, and files appear whole or not at all. "
    "HASHBWN_TRACEBACK=1 shows where an error comes from."
)


def hashbwn_parser() -> argparse.ArgumentParser:
    """Return the parser of ``hashbwn``; its result has ``run``, the function of the command."""
    parser = argparse.ArgumentParser(
        prog="hashbwn",
        description="Binary-weight networks via hashing: 1 bit per weight, from a trained model.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"hashbwn_keras {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f"hashbwn_keras.cli.{name}")
        about = module.ABOUT
        command = commands.add_parser(
            name, help=about, description=f"{about[0].upper()}{about[1:]}.", epilog=_EPILOG
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def lce_convert_parser() -> argparse.ArgumentParser:
    """Return the parser of ``lce_convert``."""
    parser = argparse.ArgumentParser(prog="lce_convert", description=lce.ABOUT, epilog=_EPILOG)
    lce.add_arguments(parser)
    parser.set_defaults(run=lce.run)
    return parser
