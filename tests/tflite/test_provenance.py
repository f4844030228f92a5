"""What a file says about its making: read where it is readable, else nothing."""

import numpy as np
import pytest

from hashbwn_keras.tflite import flatbuffer, provenance
from hashbwn_keras.tflite.signature import read_interface


def with_text(content, text):
    model = flatbuffer.read_model(content)
    (entry,) = [e for e in model.metadata if e.name == provenance.NAME]
    model.buffers[entry.buffer].data = np.frombuffer(text, np.uint8)
    return flatbuffer.read_model(flatbuffer.write_model(model))


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"[1, 2]", b"[" * 100_000])
def test_what_is_not_readable_is_nothing(packed_file, text):
    assert provenance.read_provenance(with_text(packed_file, text)).content == {}


@pytest.mark.parametrize("text", [b'{"inputs": 3}', b'{"inputs": ["a", "b"]}', b'{"inputs": {}}'])
def test_an_order_that_does_not_fit_is_that_of_the_signature(packed_file, text):
    names = [port.name for port in read_interface(with_text(packed_file, text)).inputs]
    assert names == ["extra", "image"]


def test_the_order_of_the_keras_model_is_told(packed_file):
    told = provenance.read_provenance(flatbuffer.read_model(packed_file))
    assert told.inputs == ["image", "extra"] and told.outputs == ["last"]
    assert [
        p.name for p in read_interface(flatbuffer.read_model(packed_file)).inputs
    ] == told.inputs


@pytest.mark.parametrize(("bits", "version"), [(0, 1), (1, 1), (2, 2), (4, 2)])
def test_files_of_one_bit_are_version_1(bits, version):
    assert provenance.format_of(bits) == version
