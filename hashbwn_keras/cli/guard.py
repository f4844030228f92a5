"""Running a command so that whatever goes wrong is one sentence and leaves nothing behind."""

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from hashbwn_keras.cli.common import say
from hashbwn_keras.errors import CalibrationWarning, HashBWNError

# What ends a program from outside and can be answered; a kill cannot, and what it leaves is swept
# by the next start (hashbwn_keras.files).
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Ended(BaseException):
    """A signal asked the process to end; its number is the argument."""


def guarded(name: str, command: Callable[[], int]) -> int:
    """Run a command.

    Args:
        name: of the command, as messages begin.
        command: returns the exit status.

    Returns:
        That status; 1 where it failed, with one sentence on stderr; 128 and the signal's number
        where one ended it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # for names of files that are no text
    with warnings.catch_warnings(), _signals_raised():
        warnings.simplefilter("ignore")  # other packages' advice to programmers
        warnings.filterwarnings("default", module="hashbwn_keras")
        warnings.filterwarnings("default", category=CalibrationWarning)
        warnings.showwarning = lambda message, *_, **__: say(
            f"{name}: warning: {_one_line(message)}"
        )
        try:
            return command()
        except KeyboardInterrupt:
            say(f"\n{name}: interrupted; no unfinished file was left behind.")
            return 128 + signal.SIGINT
        except _Ended as ended:
            say(f"{name}: ended from outside; no unfinished file was left behind.")
            return 128 + int(ended.args[0])
        except BrokenPipeError:
            # The reader of our output has left; Python would complain once more at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except (HashBWNError, ImportError, OSError) as error:
            if _wants_traceback():
                raise
            say(f"{name}: {_one_line(error)}")
            return 1
        except Exception as error:
            # The last resort of a program: a bug must not look like a wall of text, nor be hidden.
            if _wants_traceback():
                raise
            say(
                f"{name}: internal error, {type(error).__name__}: {_one_line(error)} "
                "(HASHBWN_TRACEBACK=1 shows where; please report it)"
            )
            return 1


@contextmanager
def _signals_raised() -> Iterator[None]:
    """Let signals unwind the stack, so that temporary folders go before the process does."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may choose
        return

    def end(number: int, _: FrameType | None) -> None:
        raise _Ended(number)

    # What was ignored, as nohup does with SIGHUP, stays ignored.
    chosen = [s for s in _SIGNALS if signal.getsignal(s) == signal.SIG_DFL]
    for number in chosen:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, signal.SIG_DFL)


def _wants_traceback() -> bool:
    return os.environ.get("HASHBWN_TRACEBACK") == "1"


def _one_line(error: BaseException | str) -> str:
    return " ".join(str(error).split()) or type(error).__name__
