"""±1 codes to bits and back, in each layout that a file uses. NumPy only.

Layouts (docs/format.md): *stream*, 32 weights of the flattened filter in an int32 word, bit 1 = +1;
*LCE*, the last axis padded to whole int32 words, bit 0 = +1. Both put the first weight in the least
significant bit.
"""

import numpy as np

WORD_BITS = 32


def pack_stream(codes: np.ndarray) -> np.ndarray:
    """Pack codes in row-major order, without padding between rows.

    Args:
        codes: ±1, any shape and real dtype.

    Returns:
        int32 ``[ceil(size / 32)]``; bit 1 is +1, the bits beyond the last code are 0.

    Raises:
        ValueError: a code is neither −1 nor +1.
    """
    bits = _positive(codes).reshape(-1)
    return _words(np.pad(bits, (0, -len(bits) % WORD_BITS)))


def unpack_stream(words: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Undo :func:`pack_stream`.

    Args:
        words: int32, any shape.
        shape: shape of the codes.

    Returns:
        int8 ±1 of ``shape``.

    Raises:
        ValueError: the number of words is not ``ceil(size / 32)``.
    """
    size = int(np.prod(shape, dtype=np.int64))
    if words.size != -(-size // WORD_BITS):
        raise ValueError(f"{words.size} words do not hold the codes of shape {shape}.")
    return _codes(_bits(words.reshape(-1))[:size]).reshape(shape)


def pack_lce(codes: np.ndarray) -> np.ndarray:
    """Pack the last axis into words, as Larq Compute Engine does.

    Args:
        codes: ±1 ``[..., channels]``.

    Returns:
        int32 ``[..., ceil(channels / 32)]``; bit 0 is +1, and so are the padding bits.

    Raises:
        ValueError: a code is neither −1 nor +1.
    """
    bits = ~_positive(codes)
    padding = [(0, 0)] * (bits.ndim - 1) + [(0, -bits.shape[-1] % WORD_BITS)]
    return _words(np.pad(bits, padding))


def unpack_lce(words: np.ndarray, channels: int) -> np.ndarray:
    """Undo :func:`pack_lce`.

    Args:
        words: int32 ``[..., ceil(channels / 32)]``.
        channels: length of the last axis of the codes.

    Returns:
        int8 ±1 ``[..., channels]``.

    Raises:
        ValueError: the words do not hold so many channels.
    """
    if words.shape[-1] != -(-channels // WORD_BITS):
        raise ValueError(f"{words.shape[-1]} words a row do not hold {channels} channels.")
    return _codes(~_bits(words)[..., :channels])


def _positive(codes: np.ndarray) -> np.ndarray:
    """Return whether each code is +1, checking that the others are −1."""
    positive = np.asarray(codes) == 1
    if not np.all(positive | (np.asarray(codes) == -1)):
        raise ValueError("Only codes of -1 and +1 can be packed.")
    return positive


def _words(bits: np.ndarray) -> np.ndarray:
    """Pack bool ``[..., 32·n]`` into int32 ``[..., n]``, least significant bit first."""
    return np.packbits(bits, axis=-1, bitorder="little").view("<i4").astype(np.int32)


def _bits(words: np.ndarray) -> np.ndarray:
    """Unpack int32 ``[..., n]`` into bool ``[..., 32·n]``."""
    octets = np.ascontiguousarray(words, "<i4").view(np.uint8)
    return np.unpackbits(octets, axis=-1, bitorder="little").astype(bool)


def _codes(bits: np.ndarray) -> np.ndarray:
    return np.where(bits, np.int8(1), np.int8(-1))
