"""The errors a user can cause."""


class HashBWNError(ValueError):
    """Bad input: one sentence that names the offending value and the cure."""


class CalibrationWarning(RuntimeWarning):
    """The calibration data is too little or too uniform for a good result."""
