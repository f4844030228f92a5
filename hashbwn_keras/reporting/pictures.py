"""Arrays as small PNG files, for the page."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

SIDE = 128
"""Pixels of the longer side of a picture, at most."""


def is_picture(shape: tuple[int, ...]) -> bool:
    """Whether an array of this shape, without the batch, is an image: ``[height, width, 1|3]``."""
    return len(shape) == 3 and shape[2] in (1, 3) and min(shape[:2]) > 1


def png(image: NDArray, low: float | None = None, high: float | None = None) -> bytes:
    """Return ``[height, width, 1|3]`` as a PNG file, its longer side at most :data:`SIDE`.

    Args:
        image: any numbers; those that are not finite are drawn as ``low``.
        low: the value that is black, by default the smallest there is.
        high: the value that is white, by default the largest.
    """
    values = _reduced(np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0))
    low = float(values.min()) if low is None else low
    high = float(values.max()) if high is None else high
    span = high - low if high > low else 1.0
    pixels = np.clip((values - low) / span * 255, 0, 255).round().astype(np.uint8)
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, content) for name, content in chunks)


def _reduced(image: NDArray) -> NDArray:
    """Means over rectangles of pixels, as large as :data:`SIDE` asks for."""
    step = -(-max(image.shape[:2]) // SIDE)
    for axis in (0, 1):
        size = image.shape[axis]
        count = max(size // step, 1)
        starts = np.arange(count) * size // count
        sizes = np.diff(starts, append=size).reshape((-1, 1, 1) if axis == 0 else (-1, 1))
        image = np.add.reduceat(image, starts, axis) / sizes
    return image


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)
