"""Shared fixtures. Importing the package here lets every test module import Larq."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import hashbwn_keras  # noqa: F401  (before Larq)

# isort: split
import pytest
import tf_keras

pytest_plugins = ["toy_files"]


@pytest.fixture(autouse=True)
def _fixed_seed():
    """Give every test the same random numbers and fresh layer names."""
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(7)


SLOW = (
    *("android", "demo", "examples", "export", "runtime", "tools", "training"),
    *("binarizer/test_binarize", "binarizer/test_lengths", "binarizer/test_repair"),
    *("binarizer/test_structures", "benchmark/test_adb", "benchmark/test_emulated"),
    *("benchmark/test_guides", "benchmark/test_host", "benchmark/test_ssh", "cli"),
    *("network/test_binary_activations", "network/test_conformance", "network/test_keras3"),
    *("network/test_subsampling", "network/test_tfmot", "network/test_trust"),
    *("reporting", "test_environment", "test_import", "test_saved"),
)
"""Folders, and modules by the beginning of their names, whose tests convert, solve or start
processes: they are marked as slow, whatever marks they have themselves."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what :data:`SLOW` names."""
    here = Path(__file__).parent
    for item in items:
        if item.path.relative_to(here).as_posix().startswith(SLOW):
            item.add_marker(pytest.mark.slow)
