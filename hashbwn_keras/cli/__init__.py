"""The command line: ``hashbwn`` and ``lce_convert``.

Results go to stdout, progress and messages to stderr. TensorFlow is imported by the commands that
need it, never for ``--help``. A command is a module here with ``ABOUT``, ``add_arguments`` and
``run``, and a line in :data:`hashbwn_keras.cli.parser.COMMANDS`.
"""

from collections.abc import Sequence

from hashbwn_keras.cli.guard import guarded
from hashbwn_keras.cli.parser import hashbwn_parser, lce_convert_parser

__all__ = ["hashbwn_parser", "lce_convert", "lce_convert_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hashbwn``.

    Args:
        arguments: the words behind the program's name; None for those of this process.

    Returns:
        The exit status: 0; 1 on failure; 128 and the signal's number when interrupted (130) or
        ended from outside (143).
    """
    args = hashbwn_parser().parse_args(arguments)
    return guarded(f"hashbwn {args.command}", lambda: args.run(args))


def lce_convert(arguments: Sequence[str] | None = None) -> int:
    """Run ``lce_convert``; arguments and exit status as of :func:`main`."""
    args = lce_convert_parser().parse_args(arguments)
    return guarded("lce_convert", lambda: args.run(args))
