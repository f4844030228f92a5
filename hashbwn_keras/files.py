"""Reading files, and writing them whole or not at all."""

import glob
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashbwn_keras.errors import HashBWNError

if sys.platform != "win32":
    import fcntl

_PREFIX = "hashbwn_keras-"
_SUFFIX = ".draft"
"""Tells our folders from anything else whose name begins alike, such as ``.model.keras.recipe``."""


def read_file(source: bytes | str | os.PathLike[str]) -> tuple[bytes, str]:
    """Return the content of a file, given by path or by its content, and what errors call it.

    Raises:
        HashBWNError: it cannot be read.
    """
    if isinstance(source, bytes | bytearray):
        return bytes(source), "The file"
    try:
        return Path(source).read_bytes(), os.fspath(source)
    except OSError as error:
        raise HashBWNError(
            f"Cannot read {os.fspath(source)} ({error.strerror}): give the path of a file."
        ) from error


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
    with temporary_folder(target.parent, f".{target.name}.") as folder:
        draft = folder / target.name
        yield draft
        os.replace(draft, target)


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
    with temporary_folder(target.parent, f".{target.name}.") as folder:
        yield folder
        target.mkdir(exist_ok=True)
        for file in folder.iterdir():
            os.replace(file, target / file.name)


@contextmanager
def temporary_folder(parent: Path | None = None, prefix: str = _PREFIX) -> Iterator[Path]:
    """Yield a new folder that is gone afterwards, whatever happens.

    When the process is killed, which nothing can answer, the next call with the same ``parent`` and
    ``prefix`` removes what was left: a process holds a lock (``flock``) on each of its folders, and
    a folder without one has lost its process. Where there are no such locks, on Windows and some
    network file systems, such folders stay.

    Args:
        parent: where; the system's folder for temporary files by default.
        prefix: of the folder's name. Nothing else may begin its name with it there.
    """
    where = parent or Path(tempfile.gettempdir())
    _sweep(where, prefix)
    folder, lock = _new_folder(where, prefix)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        if lock is not None:
            os.close(lock)


def _new_folder(where: Path, prefix: str) -> tuple[Path, int | None]:
    """Make a folder and lock it; again if a sweep of another process came between."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=where, prefix=prefix, suffix=_SUFFIX))
        if sys.platform == "win32":
            return folder, None
        try:
            lock = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        except OSError:  # a file system without locks
            os.close(lock)
            return folder, None
        if folder.exists():
            return folder, lock
        os.close(lock)


def _sweep(where: Path, prefix: str) -> None:
    """Remove the folders whose process is gone."""
    if sys.platform == "win32":
        return
    for folder in where.glob(f"{glob.escape(prefix)}*{_SUFFIX}"):
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
        except OSError:  # gone meanwhile, or somebody else's
            continue
        try:
            if os.fstat(lock).st_uid == os.geteuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use, or a file system without locks
            continue
        finally:
            os.close(lock)
