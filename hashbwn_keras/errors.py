"""The errors a user can cause."""


class HashBWNError(ValueError):
    """Bad input: one sentence that names the offending value and the cure."""


class CalibrationWarning(RuntimeWarning):
    """The calibration data is too little or too uniform for a good result."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, cut to a readable length, without a full stop.

    For sentences about what a library of others raised: its type where it says nothing.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300].rstrip(".")
