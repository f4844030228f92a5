"""The sample app: what can be checked of it without Gradle, Android's SDK and a phone."""

import json
import re
import statistics
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import app_stubs
import pytest
from java_tools import FRAMEWORK, LIBRARY, TOP, need, run

from hashbwn_keras.benchmark import result_files, table
from hashbwn_keras.benchmark.machines import readings

APP = TOP / "examples" / "android" / "app"
MAIN = APP / "src" / "main"
ANDROID = "{http://schemas.android.com/apk/res/android}"


@pytest.fixture(scope="module")
def resources(tmp_path_factory) -> Path:
    """The folder of R.java, made from resources and manifest as Gradle's plug-in makes it."""
    need("aapt2")
    if not FRAMEWORK.is_file():
        pytest.skip(f"{FRAMEWORK} is missing (Debian's android-framework-res)")
    folder = tmp_path_factory.mktemp("resources")
    manifest = folder / "AndroidManifest.xml"
    source = (MAIN / "AndroidManifest.xml").read_text()
    manifest.write_text(source.replace("<manifest ", '<manifest package="org.hashbwn.sample" '))
    run("aapt2", "compile", "--dir", MAIN / "res", "-o", folder / "res.zip")
    link = ["aapt2", "link", "-I", FRAMEWORK, "--manifest", manifest, "-o", folder / "app.apk"]
    link += ["--min-sdk-version", "29", "--target-sdk-version", "29"]
    run(*link, "--java", folder / "gen", folder / "res.zip")
    return folder / "gen"


@pytest.fixture(scope="module")
def classes(resources: Path, tmp_path_factory) -> list[Path]:
    """The app's classes and those they were compiled against."""
    need("javac", "kotlinc")
    folder = tmp_path_factory.mktemp("classes")
    java = app_stubs.write(folder / "stubs")
    java += [*LIBRARY.rglob("*.java"), *resources.rglob("*.java")]
    run("javac", "-d", folder / "java", *java)
    kotlin = sorted((MAIN / "kotlin").rglob("*.kt"))
    compile_ = ["kotlinc", "-jvm-target", "1.8", "-Werror", "-cp", folder / "java"]
    run(*compile_, "-d", folder / "kotlin", *kotlin)
    return [folder / "kotlin", folder / "java", *Path("/usr/share/java").glob("kotlin-stdlib.jar")]


@pytest.mark.slow
def test_result_is_read_by_report(classes: list[Path], tmp_path: Path) -> None:
    path = ":".join(map(str, classes))
    source = Path(__file__).with_name("PrintResult.java")
    run("javac", "-cp", path, "-d", tmp_path, source)
    command = ["java", "-cp", f"{path}:{tmp_path}", "PrintResult"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    file = tmp_path / "shared.json"
    file.write_text(done.stdout)
    slow, fast = result_files.load(file)
    times = [2.0, 4.0, 6.0, 2.0, 2.0, 12.0]
    assert slow.latency.median_ms == statistics.median(times)
    assert slow.latency.std_ms == pytest.approx(statistics.stdev(times))
    assert slow.latency.rounds_ms == (4.0, 2.0)
    assert (slow.latency.num_runs, slow.latency.num_warmup_runs) == (6, 2)
    assert (slow.delegate.path, slow.delegate.nodes) == ("", None)
    assert (fast.delegate.path, fast.delegate.nodes) == ("libhashbwn.so", 18)
    assert fast.device.name == 'A "quoted\\" phone\n'
    assert (fast.state.throttled, fast.state.battery_percent) == (("no", "light"), None)
    assert "2.00x" in table.text([slow, fast])
    assert "18 nodes taken" in done.stderr
    # Nothing is said under a name that the result file does not have.
    whole = slow.to_dict()
    for entry in json.loads(done.stdout)["results"]:
        assert set(entry) <= set(whole)
        for part in ("latency", "device", "runtime", "delegate", "state"):
            assert set(entry[part]) <= set(whole[part])


def test_files_to_bundle_are_looked_for_first(tmp_path: Path) -> None:
    script = APP.parent / "prepare.sh"
    for arguments, said in (
        (["net", "x.tflite"], "usage: "),
        (["net", tmp_path / "x.tflite", script], f"{tmp_path}/x.tflite is no file.\n"),
    ):
        command = ["sh", str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stderr.startswith(said)


def test_manifest_names_the_activity() -> None:
    (activity,) = ET.parse(MAIN / "AndroidManifest.xml").getroot().iter("activity")
    assert activity.get(f"{ANDROID}exported") == "true"
    name = activity.get(f"{ANDROID}name")
    assert name is not None
    source = MAIN / "kotlin" / f"{name.replace('.', '/')}.kt"
    assert f"class {name.rpartition('.')[2]} : Activity()" in source.read_text()


def test_versions_are_exact() -> None:
    text = (APP / "build.gradle.kts").read_text()
    assert re.search(r'val litert = "1\.4\.\d+"', text)
    assert not re.search(r"(implementation|version).*[+\[]", text)
    plugins = (APP.parent / "build.gradle.kts").read_text()
    assert re.findall(r'version "([^"]*)"', plugins) == ["8.7.3", "2.0.21"]


def test_thermal_levels_are_those_of_the_benchmark() -> None:
    text = (MAIN / "kotlin/org/hashbwn/sample/Phone.kt").read_text()
    levels = re.findall(r'"(\w+)"', text.partition("LEVELS =")[2].partition(")")[0])
    assert levels == [readings.throttled(f"Thermal Status: {n}") for n in range(len(levels))]
    assert len(levels) == 7
