"""The Android library: what is in it, and its Java class on a desktop JVM."""

import importlib.util
import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
import zipfile
from pathlib import Path

import pytest
from java_tools import LIBRARY, need, run

from hashbwn_keras import runtime
from hashbwn_keras.runtime import compiling

NAME = "libhashbwn.so"
MACHINES = {"arm64-v8a": "AArch64", "x86_64": "Advanced Micro Devices X86-64"}
PUBLIC = {
    "tflite_plugin_create_delegate",
    "tflite_plugin_destroy_delegate",
    "hashbwn_delegate_taken",
    "hb_conv_create",
    "Java_org_hashbwn_HashBwnDelegate_create",
    "Java_org_hashbwn_HashBwnDelegate_destroy",
    "Java_org_hashbwn_HashBwnDelegate_taken",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def aar(tmp_path_factory) -> Path:
    """The library, built without an NDK and unpacked, its classes as well."""
    need("javac")
    if importlib.util.find_spec("ziglang") is None:
        pytest.skip("ziglang is missing (the extra 'cross')")
    folder = tmp_path_factory.mktemp("aar")
    file = folder / "hashbwn-android.aar"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANDROID_NDK_HOME", raising=False)
        said = run(sys.executable, LIBRARY / "build_aar.py", "--out", file)
    assert "never loaded on a phone" in said
    with zipfile.ZipFile(file) as archive:
        archive.extractall(folder / "aar")
    with zipfile.ZipFile(folder / "aar" / "classes.jar") as archive:
        archive.extractall(folder / "aar" / "classes")
    return folder / "aar"


def test_entries_that_gradle_reads(aar: Path) -> None:
    manifest = ET.parse(aar / "AndroidManifest.xml").getroot()
    (sdk,) = manifest.iter("uses-sdk")
    assert manifest.get("package") == "org.hashbwn"
    oldest = sdk.get("{http://schemas.android.com/apk/res/android}minSdkVersion")
    assert oldest == "29"
    assert (aar / "R.txt").is_file()
    assert "HashBwnDelegate" in (aar / "proguard.txt").read_text()
    app = (LIBRARY.parents[1] / "examples/android/app/build.gradle.kts").read_text()
    assert f"minSdk = {oldest}" in app


def test_prefab_describes_the_library(aar: Path) -> None:
    package = json.loads((aar / "prefab/prefab.json").read_text())
    assert (package["schema_version"], package["name"]) == (2, "hashbwn")
    assert all(part.isdigit() for part in package["version"].split("."))
    module = aar / "prefab/modules/hashbwn"
    assert json.loads((module / "module.json").read_text())["library_name"] == "libhashbwn"
    assert {path.name for path in (module / "include").iterdir()} == {
        path.name for path in (LIBRARY.parent / "include").iterdir()
    }
    for abi in MACHINES:
        needs = json.loads((module / f"libs/android.{abi}/abi.json").read_text())
        assert (needs["abi"], needs["api"], needs["stl"]) == (abi, 29, "none")
        library = (module / f"libs/android.{abi}" / NAME).read_bytes()
        assert library == (aar / "jni" / abi / NAME).read_bytes()


def test_headers_are_cpp_beside_those_of_tflite(aar: Path, tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("g++ is missing")
    source = tmp_path / "app.cpp"
    source.write_text(
        "typedef struct TfLiteDelegate { void *data_; } TfLiteDelegate;  // as tflite/c/common.h\n"
        "#include <hashbwn_delegate.h>\n"
        "TfLiteDelegate *made() {\n"
        "  TfLiteDelegate *d = tflite_plugin_create_delegate(nullptr, nullptr, 0, nullptr);\n"
        "  return d && hashbwn_delegate_taken(d) == 0 ? d : nullptr;\n"
        "}\n"
    )
    include = aar / "prefab/modules/hashbwn/include"
    run("g++", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", f"-I{include}", source)


@pytest.mark.parametrize("abi", MACHINES)
def test_native_library(aar: Path, abi: str) -> None:
    if shutil.which("readelf") is None:
        pytest.skip("readelf is missing (Debian: apt install binutils)")
    library = aar / "jni" / abi / NAME
    assert library.stat().st_size <= 250_000
    assert f"Machine:                           {MACHINES[abi]}" in run("readelf", "-h", library)
    segments = run("readelf", "-lW", library).splitlines()
    loaded = [line.split()[-1] for line in segments if " LOAD " in line]
    assert loaded
    assert set(loaded) == {"0x4000"}
    needed = [line for line in run("readelf", "-d", library).splitlines() if "(NEEDED)" in line]
    assert {line.split("[")[1][:-1] for line in needed} == {"libc.so", "libm.so", "liblog.so"}
    notes = run("readelf", "-nW", library)
    assert "description data: 1d 00 00 00" in notes.partition("Android ")[2]
    symbols = [line.split() for line in run("readelf", "--dyn-syms", "-W", library).splitlines()]
    exported = {words[7] for words in symbols if len(words) > 7 and words[6] not in ("UND", "Ndx")}
    assert exported > PUBLIC
    assert {name.split("_")[0] for name in exported} == {"hb", "hashbwn", "tflite", "Java"}


def test_class_files(aar: Path) -> None:
    need("javap")
    classes = {str(p.relative_to(aar / "classes")) for p in (aar / "classes").rglob("*.class")}
    assert classes == {f"org/hashbwn/HashBwnDelegate{part}.class" for part in ("", "$Options")}
    path = f"{aar / 'classes.jar'}"
    said = run("javap", "-v", "-p", "-cp", path, "org.hashbwn.HashBwnDelegate")
    assert "implements org.tensorflow.lite.Delegate,java.lang.AutoCloseable" in said
    assert "major version: 52" in said  # Java 8, which every Android build takes
    public = run("javap", "-cp", path, "org.hashbwn.HashBwnDelegate").splitlines()[2:-1]
    assert [line.strip().rpartition(" ")[2] for line in public] == [
        "org.hashbwn.HashBwnDelegate();",
        "org.hashbwn.HashBwnDelegate(org.hashbwn.HashBwnDelegate$Options);",
        "getNativeHandle();",
        "nodesTaken();",
        "close();",
    ]


class Desktop:
    """A JVM with the library's classes and a folder to load libhashbwn.so from."""

    def __init__(self, aar: Path, folder: Path) -> None:
        self.path = f"{aar / 'classes.jar'}:{folder / 'stub'}:{folder / 'driver'}"
        run("javac", "-d", folder / "stub", *(LIBRARY / "stub").rglob("*.java"))
        driver = Path(__file__).with_name("DriveDelegate.java")
        run("javac", "-cp", self.path, "-d", folder / "driver", driver)

    def drive(self, library: Path, *arguments: str, path: str = "") -> "dict[str, str]":
        """What the driver says, by its subject; it may fail, but not crash."""
        command = ["java", "-Xcheck:jni", f"-Djava.library.path={library}", "-cp"]
        command += [path or self.path, "DriveDelegate", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stdout + done.stderr
        lines = [line.partition(": ") for line in done.stdout.splitlines()]
        return {subject: said for subject, _, said in lines} | {"stderr": done.stderr}


@pytest.fixture(scope="module")
def desktop(aar: Path, tmp_path_factory) -> Desktop:
    need("java")
    return Desktop(aar, tmp_path_factory.mktemp("desktop"))


@pytest.fixture(scope="module")
def native(tmp_path_factory) -> Path:
    """A folder with the library for this machine."""
    if compiling.host_compiler() is None or compiling.host_target() not in compiling.TARGETS:
        pytest.skip("no C compiler for this machine")
    return runtime.build(out=tmp_path_factory.mktemp("native") / NAME).parent


def test_java_class_on_a_desktop(desktop: Desktop, native: Path) -> None:
    said = desktop.drive(native)
    assert (said["made"], said["two"], said["other"]) == ("true", "true", "true")
    assert said["taken"] == "0"
    closed = "IllegalStateException: The HashBwnDelegate was closed: make a new one."
    assert (said["closed"], said["taken after close"]) == (closed, closed)
    for count in (65, -1):
        wrong = said[f"{count} threads"]
        assert wrong.startswith(f"IllegalArgumentException: hashbwn: option num_threads={count} ")
    assert said["from two threads"] == "2000 delegates"
    assert said["stderr"] == ""  # -Xcheck:jni would complain here


def test_missing_library(desktop: Desktop, tmp_path: Path) -> None:
    made = desktop.drive(tmp_path, "bad")["made"]
    assert made.startswith("IllegalStateException: libhashbwn.so cannot be loaded on ")
    assert made.endswith("hashbwn-android.aar has it for arm64-v8a and x86_64.")


def test_library_for_another_processor(desktop: Desktop, aar: Path) -> None:
    other = "x86_64" if compiling.host_target() == "aarch64-linux" else "arm64-v8a"
    made = desktop.drive(aar / "jni" / other, "bad")["made"]
    assert made.startswith("IllegalStateException: libhashbwn.so cannot be loaded on ")
    assert "wrong ELF class" in made or "cannot open shared object" in made or "AARCH64" in made


def test_library_without_the_methods(desktop: Desktop, tmp_path: Path) -> None:
    compiler = compiling.host_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    run(*compiler, "-shared", "-x", "c", "/dev/null", "-o", tmp_path / NAME)
    made = desktop.drive(tmp_path, "bad")["made"]
    assert made.startswith("IllegalStateException: libhashbwn.so is of another version than ")
    assert made.endswith("take both from one hashbwn-android.aar.")


def test_runtime_without_delegates(desktop: Desktop, native: Path) -> None:
    """LiteRT 2.x, or TensorFlow Lite of old: an error that names the interface."""
    jar, _, driver = desktop.path.split(":")
    said = desktop.drive(native, path=f"{jar}:{driver}")
    assert "made" not in said
    assert "NoClassDefFoundError: org/tensorflow/lite/Delegate" in said["stderr"]


def test_no_javac(tmp_path: Path) -> None:
    """One sentence, and nothing is left."""
    command = [sys.executable, str(LIBRARY / "build_aar.py"), "--out", str(tmp_path / "x.aar")]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": "/nowhere"})
    assert done.returncode == 1
    assert done.stderr.startswith("javac was not found: install a JDK")
    assert not list(tmp_path.iterdir())
