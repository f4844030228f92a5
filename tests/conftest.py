"""Shared fixtures. Importing the package here lets every test module import Larq."""

import os

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
