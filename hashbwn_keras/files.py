"""Writing files whole or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashbwn_keras.errors import HashBWNError


def check_writable(path: str | os.PathLike[str], overwrite: bool = False) -> Path:
    """Return ``path`` as a Path if a new file may be put there.

    Call it before long work, so that a bad path costs nothing.

    Raises:
        HashBWNError: the file exists and ``overwrite`` is false, something that is no file is
            there, or its folder is missing or not writable.
    """
    target = Path(path)
    if target.exists() and not target.is_file():
        raise HashBWNError(f"{target} is not a file: give the path of a file to write.")
    if target.exists() and not overwrite:
        raise HashBWNError(
            f"{target} exists: choose another path or allow overwriting it (--overwrite on the "
            "command line, overwrite=True in Python)."
        )
    folder = target.parent
    if not folder.is_dir():
        raise HashBWNError(f"The folder {folder} does not exist: create it first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise HashBWNError(f"The folder {folder} is not writable: choose another one.")
    return target


@contextmanager
def staged(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a path to write to, and move what is there to ``path`` when the block succeeds.

    The yielded path has the same file name (writers go by the suffix) in a hidden folder beside
    ``path``. If the block raises or is interrupted, ``path`` is as it was and the folder is gone.

    Raises:
        HashBWNError: as :func:`check_writable`.
    """
    target = check_writable(path, overwrite)
    folder = tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        draft = Path(folder) / target.name
        yield draft
        os.replace(draft, target)
    finally:
        shutil.rmtree(folder)


def atomic_write(path: str | os.PathLike[str], data: bytes, overwrite: bool = False) -> Path:
    """Write ``data`` to ``path``; the file appears whole or not at all.

    Raises:
        HashBWNError: as :func:`check_writable`.
    """
    with staged(path, overwrite) as draft:
        draft.write_bytes(data)
    return Path(path)


@contextmanager
def staged_folder(path: str | os.PathLike[str], overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder to write files to, and move them to ``path`` when the block succeeds.

    If the block raises or is interrupted, ``path`` is as it was. Other files in an existing
    ``path`` stay.

    Raises:
        HashBWNError: ``path`` is a file, or a folder with files in it and ``overwrite`` is false,
            or its parent is missing or not writable.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise HashBWNError(f"{target} is a file: give the path of a folder.")
    if target.is_dir() and any(target.iterdir()) and not overwrite:
        raise HashBWNError(
            f"{target} is not empty: choose another folder or allow overwriting (--overwrite on "
            "the command line, overwrite=True in Python)."
        )
    check_writable(target / "file" if target.is_dir() else target)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        yield folder
        target.mkdir(exist_ok=True)
        for file in folder.iterdir():
            os.replace(file, target / file.name)
    finally:
        shutil.rmtree(folder)
