"""Models on disk, and beside each the recipe that says how it was binarised."""

import json
import os
import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write, check_writable, staged
from hashbwn_keras.network import layers as _registered
from hashbwn_keras.network.keras3 import files as keras3_files, to_keras2
from hashbwn_keras.network.labels import is_quantize_aware
from hashbwn_keras.network.model_files import configurations, keras_version
from hashbwn_keras.network.recipe import Recipe
from hashbwn_keras.network.trust import refuse_code

# hash_sign and the HashBinary layers, without which their models do not load.
assert _registered

_WHOLE_MODEL = (
    "give a .keras or .h5 file that Keras 2 or 3 saved whole, not only its weights, or a "
    "SavedModel folder of Keras 2"
)
_SUFFIXES = (".keras", ".h5", ".hdf5")
# What Keras raises for files that are no models or were damaged.
_LOADING_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    zipfile.BadZipFile,
    tf.errors.OpError,
)


def recipe_path(path: str | os.PathLike[str]) -> Path:
    """Return where the recipe of the model at ``path`` is kept: ``<path>.recipe.json``."""
    return Path(f"{os.fspath(path)}.recipe.json")


def get_recipe(model: tf_keras.Model) -> dict[str, Any]:
    """Return how ``model`` was binarised, as plain JSON-able values.

    Empty for a model that :func:`hashbwn_keras.binarize` did not make.
    """
    return _plain(getattr(model, "hashbwn_recipe", {}))


def recipe_of(model: tf_keras.Model) -> Recipe:
    """Return how ``model`` was binarised; an empty recipe where that is not known."""
    return Recipe.from_json(get_recipe(model))


def set_recipe(model: tf_keras.Model, recipe: dict[str, Any]) -> None:
    """Make ``recipe`` the recipe of ``model``."""
    # Past Keras's own __setattr__, which would wrap the dict and save parts of it in SavedModels.
    object.__setattr__(model, "hashbwn_recipe", recipe)


def _plain(value: Any) -> Any:
    """Undo the wrappers that Keras puts around dicts and lists that are set on a model."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def check_model_path(path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Check, before long work, that :func:`save_model` can write to ``path``.

    Raises:
        HashBWNError: as :func:`save_model`.
    """
    if Path(path).suffix not in _SUFFIXES:
        raise HashBWNError(f"Cannot tell the format of {path}: name it .keras or .h5.")
    for each in (path, recipe_path(path)):
        check_writable(each, overwrite)


def save_model(
    model: tf_keras.Model, path: str | os.PathLike[str], overwrite: bool = False
) -> Path:
    """Save ``model`` to a ``.keras`` or ``.h5`` file and its recipe to ``<path>.recipe.json``.

    Each file appears whole or not at all. A model without a recipe gets no second file.

    Raises:
        HashBWNError: unknown suffix, a model of tensorflow-model-optimization that cannot be saved
            so, or as :func:`hashbwn_keras.files.check_writable`.
    """
    check_model_path(path, overwrite)
    if Path(path).suffix == ".keras" and is_quantize_aware(model):
        raise HashBWNError(
            "A quantize-aware model does not load from a .keras file (its QuantizeLayer makes its "
            f"variables twice): name {path} .h5."
        )
    recipe = get_recipe(model)
    with staged(path, overwrite) as draft, warnings.catch_warnings():
        # Larq's own models are .h5 files, so advice against the format helps nobody here.
        warnings.filterwarnings("ignore", "You are saving your model as an HDF5 file")
        model.save(draft)
        if recipe:
            content = json.dumps(recipe, indent=2) + "\n"
            atomic_write(recipe_path(path), content.encode(), overwrite)
    if not recipe:
        recipe_path(path).unlink(missing_ok=True)  # of an overwritten model
    return Path(path)


def load_model(
    path: str | os.PathLike[str],
    custom_objects: dict[str, Any] | None = None,
    *,
    safe_mode: bool = True,
) -> tf_keras.Model:
    """Load a model, float, binarised or quantize-aware: ``.keras``, ``.h5``, SavedModel.

    A model that Keras 3 saved is rebuilt on Keras 2, see :func:`hashbwn_keras.to_keras2`. The model
    is not compiled. A recipe beside it becomes the model's, see :func:`get_recipe`.

    Args:
        path: file or folder.
        custom_objects: classes and functions of the model's own, by name. Classes of Keras 2, for a
            model of Keras 3 as well, whose own classes have to be registered with Keras 3.
        safe_mode: refuse a file that holds code, such as a Lambda layer, which would run. Give
            False only for files that you trust.

    Raises:
        HashBWNError: no such file, no model, code in it, a layer of Keras 3 that Keras 2 lacks, or
            a damaged recipe.
    """
    if not os.path.exists(path):
        raise HashBWNError(f"{path} does not exist: check the path of the model.")
    custom = custom_objects or {}
    version = 2
    try:
        if keras_version(path).startswith("3."):
            version = 3
        if safe_mode:
            refuse_code(path, custom)
        model = _load(path, custom, safe_mode, version)
    except HashBWNError:
        raise
    except _LOADING_ERRORS as error:
        raise HashBWNError(
            f"{path} cannot be loaded as a Keras {version} model ({_first_line(error)}): "
            f"{_WHOLE_MODEL}."
        ) from error
    model = to_keras2(model, custom)
    if not isinstance(model, tf_keras.Model):
        raise HashBWNError(f"{path} holds no Keras model: {_WHOLE_MODEL}.")
    set_recipe(model, _read_recipe(recipe_path(path)))
    return model


def _load(
    path: str | os.PathLike[str], custom: dict[str, Any], safe_mode: bool, version: int
) -> Any:
    if version == 3:
        return keras3_files.load(path, custom, safe_mode)
    with _scope(path):
        return tf_keras.models.load_model(path, custom, compile=False, safe_mode=safe_mode)


def _read_recipe(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        recipe = json.loads(path.read_text())
    except ValueError as error:
        raise HashBWNError(f"{path} is not valid JSON ({error}): restore or delete it.") from error
    if not isinstance(recipe, dict):
        raise HashBWNError(f"{path} holds no recipe (no JSON object): restore or delete it.")
    return recipe


def _scope(path: str | os.PathLike[str]) -> AbstractContextManager:
    """What makes Keras know the classes in a model file beyond its own, Larq's and ours."""
    if os.path.isdir(path) or "QuantizeWrapper" not in str(configurations(path)):
        return nullcontext()
    from hashbwn_keras.network.tfmot import quantize_scope

    return quantize_scope()


def _first_line(error: BaseException) -> str:
    line = str(error).strip().splitlines() or [type(error).__name__]
    return line[0][:200].rstrip(" .:")
