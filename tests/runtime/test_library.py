"""Finding and building the library, and what the doctor says."""

import json
import stat
import subprocess
import sys

import pytest

from hashbwn_keras import runtime
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.runtime import compiling, library


@pytest.fixture
def empty_cache(monkeypatch, tmp_path):
    """No library anywhere: an installation that was built without a compiler, and no cache."""
    monkeypatch.setattr(library, "_carried", lambda: tmp_path / "none.so")
    monkeypatch.setattr(library, "_cache_folder", lambda: tmp_path / "cache")
    library.delegate_path.cache_clear()
    yield tmp_path / "cache"
    library.delegate_path.cache_clear()


@pytest.fixture
def compiler(monkeypatch, tmp_path):
    """A stand-in compiler: notes its arguments, writes its output, exits as told."""

    def make(status=0):
        script = tmp_path / "cc"
        script.write_text(
            "#!/bin/sh\n"
            f'echo "$@" >> "{tmp_path}/calls"\n'
            'while [ "$1" != -o ]; do shift; done\n'
            'echo library > "$2"\n'
            "echo first line >&2; echo it broke >&2\n"
            f"exit {status}\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("CC", str(script))
        return tmp_path / "calls"

    return make


def test_it_is_built_once_and_kept(empty_cache, compiler):
    calls = compiler()
    path = runtime.delegate_path()
    assert path.is_relative_to(empty_cache)
    assert path.read_text() == "library\n"
    library.delegate_path.cache_clear()
    assert runtime.delegate_path() == path
    assert len(calls.read_text().splitlines()) == 1
    assert "-march" not in calls.read_text()


def test_a_failing_compiler_leaves_nothing(empty_cache, compiler):
    compiler(status=1)
    with pytest.raises(HashBWNError, match="it broke"):
        runtime.delegate_path()
    assert [p for p in empty_cache.rglob("*") if p.is_file()] == []


def test_a_missing_compiler_is_named(empty_cache, monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    with pytest.raises(HashBWNError, match="/nowhere/cc"):
        runtime.delegate_path()
    monkeypatch.delenv("CC")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(HashBWNError, match="install gcc or clang"):
        runtime.delegate_path()


def test_the_hash_follows_the_sources(tmp_path):
    for folder in ("kernels", "delegate", "include"):
        (tmp_path / folder).mkdir()
    seen = {compiling.source_hash(tmp_path)}
    for text in ("int a;", "int b;"):
        for name in ("kernels/a.c", "kernels/isa.inc", "delegate/a.c", "include/a.h"):
            (tmp_path / name).write_text(text)
            seen.add(compiling.source_hash(tmp_path))
    assert len(seen) == 9


def test_build_writes_where_told_and_keeps_what_is_there(tmp_path, compiler):
    compiler()
    out = tmp_path / "lib.so"
    assert runtime.build(out=out) == out
    with pytest.raises(HashBWNError, match="exists"):
        runtime.build(out=out)
    assert runtime.build(out=out, overwrite=True) == out


def test_build_refuses_unknown_targets(tmp_path):
    with pytest.raises(HashBWNError, match="riscv64-linux is not among the targets"):
        runtime.build("riscv64-linux", tmp_path / "x.so")


def test_a_machine_without_kernels_is_told_what_runs_its_files(empty_cache, monkeypatch):
    monkeypatch.setattr(compiling, "host_target", lambda: "arm64-darwin")
    with pytest.raises(HashBWNError, match=r"no native kernels for arm64-darwin.* own kernels\.$"):
        runtime.delegate_path()


def test_this_machine_by_name_needs_no_ziglang(tmp_path, compiler, monkeypatch):
    calls = compiler()
    failed = subprocess.CompletedProcess([], 1)
    real = compiling.subprocess.run
    monkeypatch.setattr(
        compiling.subprocess, "run", lambda c, **k: failed if "ziglang" in c else real(c, **k)
    )
    runtime.build(compiling.host_target(), tmp_path / "x.so")
    assert len(calls.read_text().splitlines()) == 1


def test_a_library_that_is_not_ours_is_refused(tmp_path, built_library):
    other = tmp_path / "other.so"
    empty = ["-shared", "-x", "c", "/dev/null", "-o", str(other)]
    subprocess.run([*compiling.host_compiler(), *empty], check=True)
    with pytest.raises(HashBWNError, match=r"other\.so cannot be loaded: .*hb_isa"):
        library.Native(other)
    content = bytearray(built_library.read_bytes())
    content[18:20] = b"\xf7\x00"  # eBPF: a processor that no test runs on
    wrong = tmp_path / "wrong.so"  # not over the other one, which this process has loaded
    wrong.write_bytes(content)
    with pytest.raises(HashBWNError, match=r"wrong\.so cannot be loaded"):
        library.Native(wrong)


def test_cross_build_is_an_aarch64_library(tmp_path):
    try:
        compiling.cross_compiler("aarch64-linux")
    except compiling.CompileError as error:
        pytest.skip(str(error))
    out = runtime.build("aarch64-linux", tmp_path / "arm.so")
    header = out.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert header[18] == 183  # EM_AARCH64


def test_cross_build_without_ziglang_names_the_extra(tmp_path, monkeypatch):
    other = "aarch64-linux" if compiling.host_target() == "x86_64-linux" else "x86_64-linux"
    monkeypatch.setattr(
        compiling.subprocess, "run", lambda *a, **k: subprocess.CompletedProcess(a, 1)
    )
    with pytest.raises(HashBWNError, match=r"hashbwn_keras\[cross\]"):
        runtime.build(other, tmp_path / "x.so")


def test_doctor_report_is_plain_json():
    report = runtime.doctor_report()
    assert json.loads(json.dumps(report)) == report
    assert report["library"] == str(runtime.delegate_path())
    assert report["problem"] is None
    assert set(report["runs_on"]) == {"float32 layers", "int8 convolutions", "int8 Dense"}


def test_doctor_report_says_what_is_missing(empty_cache, monkeypatch):
    monkeypatch.setenv("CC", "/nowhere/cc")
    report = runtime.doctor_report()
    assert report["library"] is None
    assert "/nowhere/cc" in report["problem"]
    assert "no native library" in report["runs_on"]["float32 layers"]


def test_compiling_needs_the_standard_library_only():
    """setup.py loads it where nothing is installed."""
    code = f"import runpy, sys; runpy.run_path({compiling.__file__!r}); print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"numpy", "tensorflow", "hashbwn_keras"} & set(modules)


def test_building_imports_no_tensorflow():
    """Release files and the Android library are built where it is not installed."""
    code = "import sys; from hashbwn_keras.runtime import android, build; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"tensorflow", "tf_keras", "numba"} & set(done.stdout.split())
