"""Labels and other files behind a .tflite file survive every rewrite."""

import io
import zipfile

import pytest

from hashbwn_keras import HashBWNError, export
from hashbwn_keras.tflite import attached

LABELS = {"labels.txt": b"cat\ndog\n", "vocabulary.txt": b"a b c " * 500}


def with_files(content, compression=zipfile.ZIP_STORED):
    """Pack files behind a model as metadata tools do."""
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a", compression) as archive:
        for name, data in LABELS.items():
            archive.writestr(name, data)
    return stream.getvalue()


def files_of(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        # Where readers of other languages look: offsets count from the file's first byte.
        for entry in archive.infolist():
            assert content[entry.header_offset :][:4] == b"PK\x03\x04"
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_files_survive_repacking(float_file, tmp_path, compression):
    path = tmp_path / "labelled.tflite"
    path.write_bytes(with_files(float_file, compression))
    packed = export.to_tflite(path)
    assert files_of(packed) == LABELS
    assert files_of(export.to_tflite(packed, weights="int8")) == LABELS
    plain = export.to_tflite(float_file)
    assert packed.startswith(plain) and len(packed) < len(plain) + 5000
    assert attached.attached_names(plain) == []


def test_inspect_names_them(packed_file):
    report = export.inspect(with_files(packed_file))
    assert report.attached == list(LABELS)
    assert "packed behind it: labels.txt, vocabulary.txt" in str(report)
    assert export.inspect(packed_file).attached == []


def test_offsets_of_a_zip_that_was_concatenated_are_put_right(float_file):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("labels.txt", LABELS["labels.txt"])
    packed = export.to_tflite(float_file + stream.getvalue())
    assert files_of(packed) == {"labels.txt": LABELS["labels.txt"]}


@pytest.mark.parametrize("cut", [1, 5, 30, 60])
def test_a_damaged_zip_is_none(float_file, cut):
    damaged = with_files(float_file)[:-cut]
    assert attached.attached_names(damaged) == []
    assert export.to_tflite(damaged) == export.to_tflite(float_file)


def test_a_zip_of_the_64_bit_kind_is_refused(float_file):
    content = bytearray(with_files(float_file))
    end = content.rfind(b"PK\x05\x06")
    entries, directory = attached._directory(bytes(content))
    content[directory + 42 : directory + 46] = b"\xff" * 4
    extra = b"\x01\x00\x08\x00" + entries[0].header_offset.to_bytes(8, "little")
    name_end = directory + 46 + len(entries[0].filename)
    content[directory + 30 : directory + 32] = len(extra).to_bytes(2, "little")
    size = int.from_bytes(content[end + 12 : end + 16], "little") + len(extra)
    content[end + 12 : end + 16] = size.to_bytes(4, "little")
    content[name_end:name_end] = extra
    with pytest.raises(HashBWNError, match="64-bit kind"):
        export.to_tflite(bytes(content))
