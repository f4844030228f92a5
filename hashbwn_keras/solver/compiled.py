"""How the inner loops of the solver are compiled."""

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

from numba import njit

# Without the numpy error model every division checks for zero, and no loop with one is vectorised.
_OPTIONS = {"nogil": True, "fastmath": True, "error_model": "numpy"}


def _fingerprint() -> str:
    """Of the sources: loops call each other across files, and numba watches a loop's own only."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:12]


_SOURCES = _fingerprint()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile at first use, and keep the result on disk where there is a place for it."""
    function.__qualname__ += f"_{_SOURCES}"  # part of the name of the file it is kept in
    try:
        return njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written to
        return njit(**_OPTIONS)(function)
