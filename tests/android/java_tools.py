"""Running the tools of Java and Android, or skipping where they are missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
LIBRARY = TOP / "tflite" / "android"
FRAMEWORK = Path("/usr/share/android-framework-res/framework-res.apk")
_PACKAGES = {
    "java": "openjdk-17-jdk-headless",
    "javac": "openjdk-17-jdk-headless",
    "javap": "openjdk-17-jdk-headless",
    "kotlinc": "kotlin",
    "aapt2": "aapt",
}


def need(*tools: str) -> None:
    """Skip the test unless all of these programs are installed."""
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is missing (Debian's {_PACKAGES[tool]})")


def run(*command: object, **options: object) -> str:
    """Run a tool that has to succeed, and return what it prints."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout
