"""Which images a training batch holds, and how each is shifted and mirrored."""

import numpy as np


def order(count: int, key: tuple[int, int]) -> np.ndarray:
    """Return the numbers of ``count`` images, int32, in the order of an epoch.

    Args:
        count: number of images.
        key: seed and epoch.
    """
    return np.random.default_rng(key).permutation(count).astype(np.int32)


def moves(
    size: int, side: int, shift: int, mirror: bool, key: tuple[int, int], index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return where the pixels of a batch's images are in images padded by ``shift`` pixels.

    It depends on key and index alone, so a training that goes on after an interruption sees what
    it would have seen.

    Args:
        size: images of a batch.
        side: height and width of an image before it was padded.
        shift: pixels by which an image may be shifted each way.
        mirror: whether half of the images are mirrored.
        key: seed and epoch.
        index: number of the batch in its epoch.

    Returns:
        Rows and columns, int32 ``[size, side]``.
    """
    random = np.random.default_rng((*key, index))
    offsets = random.integers(0, 2 * shift + 1, (2, size, 1))
    rows, columns = offsets + np.arange(side)
    if mirror:
        columns = np.where(random.random((size, 1)) < 0.5, columns, columns[:, ::-1])
    return rows.astype(np.int32), columns.astype(np.int32)
