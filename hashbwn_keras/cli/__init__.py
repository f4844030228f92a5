"""The command line: ``hashbwn`` and ``lce_convert``.

Results go to stdout, progress and messages to stderr. TensorFlow is imported by the commands that
need it, never for ``--help``.
"""

import os
import sys
import warnings
from collections.abc import Callable, Sequence

from hashbwn_keras.cli.arguments import hashbwn_parser, lce_convert_parser
from hashbwn_keras.errors import CalibrationWarning, HashBWNError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``hashbwn``; return the exit status: 0, 1 on failure, 130 when interrupted."""
    args = hashbwn_parser().parse_args(arguments)
    return _guarded(f"hashbwn {args.command}", lambda: args.run(args))


def lce_convert(arguments: Sequence[str] | None = None) -> int:
    """Run ``lce_convert``; return the exit status as :func:`main`."""
    args = lce_convert_parser().parse_args(arguments)
    return _guarded("lce_convert", lambda: args.run(args))


def _guarded(name: str, command: Callable[[], int]) -> int:
    """Run a command; what goes wrong becomes one sentence on stderr."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other packages' advice to programmers
        warnings.filterwarnings("default", module="hashbwn_keras")
        warnings.filterwarnings("default", category=CalibrationWarning)
        warnings.showwarning = lambda message, *_, **__: _say(f"{name}: warning: {message}")
        try:
            return command()
        except KeyboardInterrupt:
            _say(f"\n{name}: interrupted; no unfinished file was left behind.")
            return 130
        except BrokenPipeError:
            # The reader of our output has left; Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (HashBWNError, ImportError, OSError) as error:
            if _wants_traceback():
                raise
            _say(f"{name}: {_one_line(error)}")
            return 1
        except Exception as error:
            # The last resort of a program: a bug must not look like a wall of text, nor be hidden.
            if _wants_traceback():
                raise
            _say(
                f"{name}: internal error, {type(error).__name__}: {_one_line(error)} "
                "(HASHBWN_TRACEBACK=1 shows where; please report it)"
            )
            return 1


def _wants_traceback() -> bool:
    return os.environ.get("HASHBWN_TRACEBACK") == "1"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
