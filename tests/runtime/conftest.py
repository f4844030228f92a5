"""The builder of small TFLite files lives with the native tests."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tflite" / "tests"))


@pytest.fixture(scope="session", autouse=True)
def built_library(tmp_path_factory):
    """Builds the library once, away from the user's cache."""
    from hashbwn_keras.runtime import compiling, library

    if compiling.host_compiler() is None or compiling.host_target() not in compiling.TARGETS:
        pytest.skip("no C compiler for this machine")
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(library, "_cache_folder", lambda: folder)
        library.delegate_path.cache_clear()
        yield library.delegate_path()
    library.delegate_path.cache_clear()
