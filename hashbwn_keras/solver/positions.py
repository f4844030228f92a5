"""Which output positions of a layer's images its patches are taken from."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Positions = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Image, output row and output column of each patch."""


def sampled_positions(
    random: np.random.Generator, images: int, size: tuple[int, int], per_image: int, rows: int
) -> Iterator[Positions]:
    """Chunks of at most ``rows`` sampled output positions.

    The positions of an image, in reading order, are cut into as many parts as are wanted, one
    is drawn from each, and all are rotated by the same random number: evenly spread, never
    twice the same, and every position equally likely.

    Args:
        random: what is drawn depends on it and on the order of the images, not on the chunks.
        images: how many there are.
        size: rows and columns of the output.
        per_image: positions of each image; all where there are fewer.
        rows: of a chunk, at most.
    """
    height, width = size
    places = height * width
    per_image = min(per_image, places)
    edges = np.arange(per_image + 1) * places // per_image
    draws = random.random((images, per_image + 1))
    picks = edges[:-1] + np.floor(draws[:, 1:] * np.diff(edges)).astype(int)
    picks = (picks + np.floor(draws[:, :1] * places).astype(int)) % places
    image = np.repeat(np.arange(images), per_image)
    row, column = np.divmod(picks.reshape(-1), width)
    for start in range(0, len(image), rows):
        part = slice(start, start + rows)
        yield image[part], row[part], column[part]
