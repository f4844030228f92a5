"""Model files that hold code, which would run when they are loaded.

A ``Lambda`` layer of a Python ``lambda`` is stored as bytecode; a class or function is stored by
its module, which would be imported; layers that load other files run what is in those; operations
of TensorFlow can write files. One rule for ``.keras``, ``.h5`` and SavedModel, whichever Keras
wrote them: none of it without consent.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.model_files import configurations

_TRUSTED = {
    "builtins",
    "hashbwn_keras",
    "keras",
    "larq",
    "tensorflow_model_optimization",
    "tf_keras",
}
_LOADERS = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
_FUNCTIONS = ("keras.activations", "keras.initializers", "keras.losses", "keras.metrics")
_OUTSIDE = ("io.", "raw_ops.", "data.", "saved_model.", "summary.", "py_function", "numpy_function")


def refuse_code(path: str | os.PathLike[str], custom_objects: Mapping[str, Any]) -> None:
    """Refuse a model file that would run code of its own.

    Args:
        path: ``.keras``, ``.h5`` or SavedModel folder.
        custom_objects: classes and functions that the caller vouches for, by name.

    Raises:
        HashBWNError: it holds code.
        OSError, ValueError, KeyError: a damaged file.
    """
    known = {*custom_objects, *tf_keras.utils.get_custom_objects()}
    for configuration in configurations(path):
        for part, layer in _parts(configuration, "the model"):
            what = _code(part, known)
            if what:
                raise HashBWNError(
                    f"{path} holds {what} ({layer}), which would run when it is loaded: if you "
                    "trust the file, give safe_mode=False (--allow-code on the command line)."
                )


def _parts(value: Any, layer: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Every object in a configuration, with the name of the layer it is in."""
    if isinstance(value, list):
        for item in value:
            yield from _parts(item, layer)
    elif isinstance(value, dict):
        config = value.get("config")
        if isinstance(config, dict) and isinstance(config.get("name"), str):
            layer = f"layer {config['name']!r}"
        if isinstance(value.get("class_name"), str):
            yield value, layer
        for key, item in value.items():
            if key != "compile_config":  # models are loaded uncompiled
                yield from _parts(item, layer)


def _code(part: dict[str, Any], known: set[str]) -> str | None:
    """What in one object of a configuration would run, if anything."""
    name, config = part["class_name"], part.get("config")
    module = str(part.get("module") or "builtins")
    if name == "__lambda__":
        return "the code of a lambda"
    if name == "Lambda" and isinstance(config, dict):
        return _lambda(config, known)
    if name in _LOADERS:
        return f"a {name} of another file"
    if name in ("TFOpLambda", "TensorFlowOpLayer") and isinstance(config, dict):
        function = str(config.get("function", "raw_ops."))
        return f"the operation {function}" if function.startswith(_OUTSIDE) else None
    if known & {name, str(part.get("registered_name"))}:
        return None
    if name == "function" and str(config) in known:
        return None
    if module.partition(".")[0] not in _TRUSTED:
        return f"{name} of the Python module {module}"
    if name == "function" and module != "builtins" and not module.startswith(_FUNCTIONS):
        return f"the function {config} of {module}"
    return None


def _lambda(config: dict[str, Any], known: set[str]) -> str | None:
    """A Lambda layer may call functions that the caller vouches for, by name."""
    kinds = {config.get(f"{key}_type") for key in ("function", "output_shape", "mask")}
    function = config.get("function")
    if isinstance(function, dict):
        function = function.get("config")
    by_name = isinstance(function, str) and function in known
    return None if by_name and "lambda" not in kinds else "the code of a Lambda layer"
