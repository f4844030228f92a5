import errno
import fcntl
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hashbwn_keras import files
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import (
    atomic_write,
    check_writable,
    staged,
    staged_folder,
    temporary_folder,
)


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


KILLED = """
import sys
from pathlib import Path
from hashbwn_keras.files import temporary_folder
with temporary_folder(Path(sys.argv[1]), "spill-") as folder:
    (folder / "large").write_text("")
    print(folder, flush=True)
    sys.stdin.read()
"""


def start(folder):
    root = str(Path(files.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": root},
    )
    return process, Path(process.stdout.readline().strip())


def test_folder_of_a_killed_process_goes_with_the_next_start(tmp_path):
    (tmp_path / "spill-mine").mkdir()  # no folder of ours
    process, living = start(tmp_path)
    killed, left = start(tmp_path)
    with process, killed:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert left.exists()
        with temporary_folder(tmp_path, "spill-") as mine:
            assert names(tmp_path) == sorted(["spill-mine", living.name, mine.name])
        process.stdin.close()
    assert names(tmp_path) == ["spill-mine"]


def test_draft_of_a_killed_process_goes_with_the_next_write(tmp_path):
    left = tmp_path / ".model.keras.abc.draft"
    left.mkdir()
    (left / "model.keras").write_text("half")
    other = tmp_path / ".model.keras.recipe.json.abc"
    other.mkdir()
    atomic_write(tmp_path / "model.keras", b"whole")
    assert names(tmp_path) == [other.name, "model.keras"]


def test_names_are_no_patterns(tmp_path):
    kept = tmp_path / ".abc.x.draft"
    kept.mkdir()
    atomic_write(tmp_path / "[a]*", b"1")
    assert names(tmp_path) == [kept.name, "[a]*"]


def test_works_where_there_are_no_locks(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    left = tmp_path / ".a.abc.draft"
    left.mkdir()
    atomic_write(tmp_path / "a", b"1")
    assert names(tmp_path) == [left.name, "a"]  # nobody knows whether it is in use


def test_a_sweep_between_making_and_locking_makes_another_folder(tmp_path, monkeypatch):
    real, made = files.tempfile.mkdtemp, []

    def swept(**options):
        made.append(Path(real(**options)))
        if len(made) == 1:  # a sweep removed it
            made[0].rmdir()
        elif len(made) == 2:  # a sweep holds it
            held.append(os.open(made[1], os.O_RDONLY))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return str(made[-1])

    held: list[int] = []
    monkeypatch.setattr(files.tempfile, "mkdtemp", swept)
    with temporary_folder(tmp_path) as folder:
        assert folder == made[2]
    os.close(held[0])


def test_links_and_files_are_not_swept(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".a.link.draft").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".a.file.draft").write_text("")
    atomic_write(tmp_path / "a", b"1")
    assert len(names(tmp_path)) == 4
