"""Model files that Keras 3 saved, with whatever backend."""

import os
from collections.abc import Mapping
from typing import Any

import tf_keras

from hashbwn_keras.errors import HashBWNError


def load(path: str | os.PathLike[str], custom_objects: Mapping[str, Any], safe_mode: bool) -> Any:
    """Load a ``.keras`` or ``.h5`` file of Keras 3 as a model of Keras 3.

    Args:
        path: the file.
        custom_objects: classes and functions of the model's own; classes of Keras 2 are for
            rebuilding the model later and left out here.
        safe_mode: whether Keras 3 refuses code in the file.

    Raises:
        HashBWNError: Keras 3 is not installed.
        Exception: whatever Keras 3 raises for damaged files and classes it does not know.
    """
    try:
        import keras
    except ImportError as error:
        raise HashBWNError(
            f"{path} was saved by Keras 3, which is not installed here: pip install keras."
        ) from error
    given = {
        name: value
        for name, value in custom_objects.items()
        if not (isinstance(value, type) and issubclass(value, tf_keras.layers.Layer))
    }
    return keras.saving.load_model(path, given, compile=False, safe_mode=safe_mode)
