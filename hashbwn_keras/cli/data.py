"""Images and labels from files, as a model wants them."""

from collections.abc import Callable
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_PREPROCESS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "unit": lambda x: x / 255,
    "signed": lambda x: x / 127.5 - 1,
    "imagenet": lambda x: (x / 255 - _MEAN) / _DEVIATION,
}


def load(
    path: Path, model: tf_keras.Model, preprocess: str | None, max_images: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return images ``[n, ...]`` as float32 and, where the file has them, labels ``[n]``.

    Args:
        path: ``.npy``, ``.npz`` with ``x`` and maybe ``y`` (or one array), or a folder of pictures,
            which are resized to the model's input.
        model: tells the size and channels of pictures; it must have one input.
        preprocess: a key of ``_PREPROCESS``; must be given for pictures.
        max_images: use at most that many, spread evenly.

    Raises:
        HashBWNError: no such file, another format, damaged or empty, no preprocessing chosen for
            pictures, or a model with several inputs.
    """
    if len(model.inputs) != 1:
        raise HashBWNError(
            f"{model.name!r} has {len(model.inputs)} inputs and --data holds one array: use the "
            "Python functions for it."
        )
    if not path.exists():
        raise HashBWNError(f"{path} does not exist: check --data.")
    if path.is_dir():
        images, labels = _pictures(path, model, preprocess, max_images), None
    else:
        images, labels = _arrays(path)
        chosen = _evenly(len(images), max_images)
        images = np.asarray(images[chosen], np.float32)
        labels = None if labels is None else labels[chosen]
    if preprocess == "imagenet" and images.shape[-1] != 3:
        raise HashBWNError(
            f"The images have {images.shape[-1]} channels and --preprocess imagenet needs RGB: "
            "choose another."
        )
    return _PREPROCESS[preprocess or "none"](images), labels


def load_labels(path: Path, max_images: int) -> np.ndarray:
    """Return the labels in a ``.npy`` file, picked as :func:`load` picks the images.

    Raises:
        HashBWNError: no such file or no array in it.
    """
    if not path.exists():
        raise HashBWNError(f"{path} does not exist: check --labels.")
    labels, _ = _arrays(path)
    return labels[_evenly(len(labels), max_images)]


def _evenly(count: int, wanted: int) -> np.ndarray:
    if count <= wanted:
        return np.arange(count)
    return np.arange(wanted) * count // wanted


def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    try:
        content = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None)
        if isinstance(content, np.ndarray):
            images, labels = content, None
        else:
            with content:
                names = content.files
                images = content["x" if "x" in names else names[0]] if names else np.array([])
                labels = content["y"] if "y" in names else None
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise HashBWNError(
            f"{path} cannot be read ({error}): give a .npy or .npz file of numbers or a folder of "
            "pictures."
        ) from error
    if not isinstance(images, np.ndarray):  # a zip file of something else
        raise HashBWNError(f"{path} holds no arrays: give a .npy or .npz file of numbers.")
    if images.ndim == 0 or not len(images):
        raise HashBWNError(f"{path} holds no images: give an array [images, ...].")
    if images.dtype.kind not in "fiub":
        raise HashBWNError(f"{path} holds values of type {images.dtype}: give numbers.")
    if labels is not None and len(labels) != len(images):
        raise HashBWNError(
            f"{path} holds {len(images)} images but {len(labels)} labels: give as many of each."
        )
    return images, labels


def _pictures(
    folder: Path, model: tf_keras.Model, preprocess: str | None, max_images: int
) -> np.ndarray:
    if preprocess is None:
        raise HashBWNError(
            "Pictures need the preprocessing the model was trained with: give --preprocess "
            f"{'|'.join(_PREPROCESS)}."
        )
    shape = tuple(model.inputs[0].shape)
    if len(shape) != 4 or None in shape[1:] or shape[-1] not in (1, 3):
        raise HashBWNError(
            f"The model takes {shape} and pictures give [images, height, width, 1 or 3]: give "
            "arrays as a .npy file."
        )
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES)
    if not paths:
        raise HashBWNError(f"{folder} holds no pictures ({', '.join(_PICTURES)}): check --data.")
    chosen = [paths[i] for i in _evenly(len(paths), max_images)]
    return np.stack([_picture(p, shape) for p in chosen])


def _picture(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    try:
        image = tf.io.decode_image(path.read_bytes(), shape[-1], expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise HashBWNError(f"{path} is no picture TensorFlow can read: remove it.") from error
    return tf.image.resize(image, shape[1:3], antialias=True).numpy().astype(np.float32)
