"""Writing files whole or not at all."""

import os
import tempfile
from pathlib import Path

from hashbwn_keras.errors import HashBWNError


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return ``path`` as a Path if a new file may be put there.

    Call it before long work, so that a bad path costs nothing.

    Raises:
        HashBWNError: the file exists and ``overwrite`` is false, or its folder is missing or
            not writable.
    """
    target = Path(path)
    if target.exists() and not overwrite:
        raise HashBWNError(f"{target} exists: choose another path or allow overwriting it.")
    folder = target.parent
    if not folder.is_dir():
        raise HashBWNError(f"The folder {folder} does not exist: create it first.")
    if not os.access(folder, os.W_OK):
        raise HashBWNError(f"The folder {folder} is not writable: choose another one.")
    return target


def atomic_write(path: str | os.PathLike[str], data: bytes, overwrite: bool = False) -> Path:
    """Write ``data`` to ``path``; the file appears whole or not at all.

    Raises:
        HashBWNError: as :func:`check_writable`.
    """
    target = check_writable(path, overwrite)
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        # mkstemp makes private files; give the result the permissions any new file would have.
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    return target
