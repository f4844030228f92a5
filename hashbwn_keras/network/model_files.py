"""What a model file says of itself, read without loading the model."""

import json
import os
import zipfile
from pathlib import Path
from typing import Any


def keras_version(path: str | os.PathLike[str]) -> str:
    """Return the Keras version that a ``.keras`` or ``.h5`` file names, or "" where none is named.

    Raises:
        OSError, ValueError, KeyError: a damaged file.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    return str(_attributes(path).get("keras_version", ""))


def configurations(path: str | os.PathLike[str]) -> list[Any]:
    """Return what a ``.keras``, ``.h5`` or SavedModel says of its layers, as JSON values.

    One value for a file, one for each object of a SavedModel; none for other files.

    Raises:
        OSError, ValueError, KeyError: a damaged file.
    """
    if os.path.isdir(path):
        return _of_saved_model(Path(path) / "keras_metadata.pb")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            texts = [archive.read("config.json")] if "config.json" in archive.namelist() else []
    else:
        texts = [text for key, text in _attributes(path).items() if key == "model_config"]
    return [json.loads(text) for text in texts]


def _of_saved_model(path: Path) -> list[Any]:
    if not path.is_file():
        return []
    from tf_keras.protobuf import saved_metadata_pb2

    nodes = saved_metadata_pb2.SavedMetadata.FromString(path.read_bytes()).nodes
    return [json.loads(node.metadata) for node in nodes if node.metadata]


def _attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the attributes at the root of an HDF5 file, none of other files."""
    import h5py  # comes with Keras

    if not (os.path.isfile(path) and h5py.is_hdf5(path)):
        return {}
    with h5py.File(path, "r") as file:
        return dict(file.attrs)
