"""Files that metadata tools pack behind a .tflite file, such as labels of classes: a zip."""

import io
import struct
import zipfile

from hashbwn_keras.errors import HashBWNError

# Of the zip format (APPNOTE.TXT 4.3.12 and 4.3.16): where an entry of the directory has its sizes
# of name, extra field and comment, and its offset; where the end has the directory's offset.
_ENTRY_BYTES, _ENTRY_LENGTHS, _ENTRY_OFFSET = 46, 28, 42
_END, _END_OFFSET = b"PK\x05\x06", 16
_NO_OFFSET = 2**32 - 1


def attached_names(content: bytes) -> list[str]:
    """Return the names of the files packed behind a file."""
    found = _directory(content)
    return [] if found is None else [entry.filename for entry in found[0]]


def with_attached(content: bytes, source: bytes) -> bytes:
    """Return ``content`` with the files that are packed behind ``source``, as they are there.

    Raises:
        HashBWNError: their zip is of the kind for more than 4 GB.
    """
    found = _directory(source)
    if found is None:
        return content
    entries, directory = found
    start = min([entry.header_offset for entry in entries], default=directory)
    tail = bytearray(source[start:])
    place, end = directory - start, tail.rfind(_END)
    # Offsets count from the beginning of the whole file.
    for entry in entries:
        _move(tail, place + _ENTRY_OFFSET, entry.header_offset - start + len(content))
        place += _ENTRY_BYTES + sum(struct.unpack_from("<3H", tail, place + _ENTRY_LENGTHS))
    _move(tail, end + _END_OFFSET, directory - start + len(content))
    return content + bytes(tail)


def _directory(content: bytes) -> tuple[list[zipfile.ZipInfo], int] | None:
    """Return the entries of the zip at the end of a file and where its directory begins."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries, directory = archive.infolist(), archive.start_dir
    except (zipfile.BadZipFile, NotImplementedError, ValueError):  # no zip, or a damaged one
        return None
    places = [directory, *(entry.header_offset for entry in entries)]
    return (entries, directory) if 0 < min(places) <= max(places) == directory else None


def _move(tail: bytearray, place: int, offset: int) -> None:
    if struct.unpack_from("<L", tail, place)[0] == _NO_OFFSET:
        raise HashBWNError(
            "The files behind the model are a zip of the 64-bit kind: take them off, and pack them "
            "behind the new file with zip -A or Python's zipfile."
        )
    struct.pack_into("<L", tail, place, offset)
