import subprocess
import sys

import hypothesis
import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest

from hashbwn_keras.tflite import packing

CODES = arrays.arrays(
    np.int8,
    arrays.array_shapes(min_dims=1, max_dims=4, max_side=70),
    elements=st.sampled_from([-1, 1]),
)


@pytest.mark.parametrize("size", range(1, 14))
def test_every_code_of_a_small_size_comes_back_from_the_stream(size):
    count = 2**size
    codes = (np.arange(count)[:, None] >> np.arange(size) & 1) * 2 - 1
    for row, number in zip(codes, range(count), strict=True):
        words = packing.pack_stream(row)
        assert words.tolist() == [number]  # bit j is weight j, 1 is +1
        assert (packing.unpack_stream(words, row.shape) == row).all()


@pytest.mark.parametrize("size", range(1, 12))
def test_every_code_of_a_small_size_comes_back_from_lce(size):
    count = 2**size
    codes = (np.arange(count)[:, None] >> np.arange(size) & 1) * -2 + 1
    words = packing.pack_lce(codes)
    assert words[:, 0].tolist() == list(range(count))  # bit 0 is +1, and so is the padding
    assert (packing.unpack_lce(words, size) == codes).all()


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(CODES)
def test_round_trip_of_any_shape(codes):
    words = packing.pack_stream(codes)
    assert words.dtype == np.int32 and words.shape == (-(-codes.size // 32),)
    assert (packing.unpack_stream(words, codes.shape) == codes).all()
    rows = packing.pack_lce(codes)
    assert rows.shape == (*codes.shape[:-1], -(-codes.shape[-1] // 32))
    assert (packing.unpack_lce(rows, codes.shape[-1]) == codes).all()


def test_the_top_bit_of_a_word_is_its_sign():
    codes = np.full(33, -1)
    codes[31] = codes[32] = 1
    assert packing.pack_stream(codes).tolist() == [-(2**31), 1]


@pytest.mark.parametrize("bad", [0, 2, np.nan])
@pytest.mark.parametrize("pack", [packing.pack_stream, packing.pack_lce])
def test_only_codes_are_packed(pack, bad):
    with pytest.raises(ValueError, match="-1 and \\+1"):
        pack(np.array([1.0, bad]))


def test_wrong_number_of_words_is_refused():
    with pytest.raises(ValueError, match="do not hold"):
        packing.unpack_stream(np.zeros(2, np.int32), (3, 5))
    with pytest.raises(ValueError, match="do not hold"):
        packing.unpack_lce(np.zeros((3, 2), np.int32), 5)


def test_needs_no_tensorflow():
    code = (
        "import sys, hashbwn_keras.tflite.packing; "
        "sys.exit(any(name == 'tensorflow' for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
