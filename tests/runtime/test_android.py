"""The library for Android: built by a stand-in for the NDK, and for real without one."""

import shutil
import struct
import subprocess
import sys

import pytest

from hashbwn_keras import HashBWNError, runtime

# What bionic's libraries have had since API 23; ours may ask for nothing else.
BIONIC = [
    "__android_log_vprint",
    "__tls_get_addr",
    "calloc",
    "clock_gettime",
    "fprintf",
    "free",
    "getauxval",
    "malloc",
    "memcmp",
    "memcpy",
    "memmove",
    "memset",
    "nextafterf",
    "posix_memalign",
    "pthread_cond_broadcast",
    "pthread_cond_destroy",
    "pthread_cond_init",
    "pthread_cond_signal",
    "pthread_cond_wait",
    "pthread_create",
    "pthread_join",
    "pthread_mutex_destroy",
    "pthread_mutex_init",
    "pthread_mutex_lock",
    "pthread_mutex_trylock",
    "pthread_mutex_unlock",
    "rintf",
    "roundf",
    "sched_yield",
    "snprintf",
    "stderr",
    "strcmp",
    "strlen",
    "strncmp",
    "strtol",
    "vsnprintf",
]


def test_ndk_is_used_when_named(tmp_path, monkeypatch):
    tools = tmp_path / "ndk/toolchains/llvm/prebuilt/linux-x86_64/bin"
    tools.mkdir(parents=True)
    (tools / "clang").touch()
    clang = tools / "aarch64-linux-android28-clang"
    clang.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do\n[ $1 = -o ] && out=$2\n"
        'case $1 in *max-page-size=16384*) aligned=1;; esac\nshift\ndone\n[ "$aligned" ] && '
        'echo built > "$out"\n'
    )
    clang.chmod(0o755)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "ndk"))
    assert runtime.build("aarch64-android", tmp_path / "l.so").read_text() == "built\n"
    clang.write_text("#!/bin/sh\necho 'no such sysroot' >&2\nexit 1\n")
    with pytest.raises(HashBWNError, match="clang failed for Android: no such sysroot"):
        runtime.build("aarch64-android", tmp_path / "m.so")
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(HashBWNError, match="holds no toolchains/llvm"):
        runtime.build("aarch64-android", tmp_path / "m.so")
    assert not list(tmp_path.glob("*m.so*"))


@pytest.mark.parametrize("processor, number", [("aarch64", 183), ("x86_64", 62)])
def test_without_ndk(tmp_path, monkeypatch, processor, number):
    monkeypatch.delenv("ANDROID_NDK_HOME", raising=False)
    zig = subprocess.run([sys.executable, "-m", "ziglang", "version"], capture_output=True)
    if zig.returncode:
        with pytest.raises(HashBWNError, match="ANDROID_NDK_HOME or, experimentally, the ziglang"):
            runtime.build(f"{processor}-android", tmp_path / "l.so")
        return
    library = runtime.build(f"{processor}-android", tmp_path / "l.so")
    head = library.read_bytes()[:64]
    assert head[:5] == b"\x7fELF\x02"
    assert struct.unpack_from("<HH", head, 16) == (3, number)  # a shared object
    if shutil.which("readelf") is None:
        pytest.skip("readelf is missing (Debian: apt install binutils)")
    needed = _readelf("-d", library)
    assert [line.split("[")[1].split("]")[0] for line in needed if "(NEEDED)" in line] == [
        "libc.so",
        "libm.so",
        "liblog.so",
    ]
    segments = [line.split() for line in _readelf("-lW", library) if " LOAD " in line]
    assert segments
    assert {segment[-1] for segment in segments} == {"0x4000"}
    symbols = [line.split() for line in _readelf("--dyn-syms", "-W", library)]
    wanted = {words[7] for words in symbols if len(words) > 7 and words[6] == "UND"}
    assert wanted <= set(BIONIC)


def _readelf(*arguments):
    done = subprocess.run(["readelf", *map(str, arguments)], capture_output=True, text=True)
    return done.stdout.splitlines()
