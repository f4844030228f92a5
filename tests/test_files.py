import os
import stat

import pytest

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write, check_writable, staged, staged_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_the_whole_file_with_usual_permissions(tmp_path):
    target = atomic_write(tmp_path / "a.bin", b"12345")
    assert target.read_bytes() == b"12345"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask
    assert names(tmp_path) == ["a.bin"]


def test_existing_file_is_kept_unless_allowed(tmp_path):
    target = atomic_write(tmp_path / "a", b"old")
    with pytest.raises(HashBWNError, match=r"a exists: choose another path"):
        atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    atomic_write(target, b"new", overwrite=True)
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_interrupted_writing_leaves_nothing(tmp_path, error):
    with pytest.raises(error), staged(tmp_path / "a") as draft:
        draft.write_bytes(b"half")
        raise error
    assert names(tmp_path) == []


def test_interrupted_writing_keeps_the_old_file(tmp_path):
    target = atomic_write(tmp_path / "a", b"old")
    with pytest.raises(RuntimeError), staged(target, overwrite=True) as draft:
        draft.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old"
    assert names(tmp_path) == ["a"]


def test_draft_keeps_the_name_that_writers_go_by(tmp_path):
    with staged(tmp_path / "model.keras") as draft:
        assert draft.name == "model.keras"
        draft.write_bytes(b"")


def test_refuses_what_is_no_file_and_missing_folders(tmp_path):
    with pytest.raises(HashBWNError, match="is not a file"):
        check_writable(tmp_path, overwrite=True)
    with pytest.raises(HashBWNError, match=r"folder .*nix does not exist"):
        check_writable(tmp_path / "nix" / "a")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_refuses_unwritable_folders(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(HashBWNError, match="is not writable"):
        check_writable(tmp_path / "a")


def test_folder_appears_at_the_end(tmp_path):
    with staged_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out"]
    assert names(tmp_path / "out") == ["a"]


def test_interrupted_folder_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def test_folder_with_files_is_kept_unless_allowed(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("mine")
    with pytest.raises(HashBWNError, match="is not empty"), staged_folder(tmp_path / "out"):
        pytest.fail("not reached")
    with staged_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "a").write_text("1")
    assert names(tmp_path / "out") == ["a", "mine"]
    with pytest.raises(HashBWNError, match="is a file"), staged_folder(tmp_path / "out" / "a"):
        pytest.fail("not reached")
