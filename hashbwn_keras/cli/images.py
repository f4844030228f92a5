"""Images and labels from files, as a model wants them."""

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.cli.models import sample_shapes
from hashbwn_keras.errors import HashBWNError

_PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)
_PREPROCESS: dict[str, Callable[[NDArray], NDArray]] = {
    "none": lambda x: x,
    "unit": lambda x: x / 255,
    "signed": lambda x: x / 127.5 - 1,
    "imagenet": lambda x: (x / 255 - _MEAN) / _DEVIATION,
}


class Images(NamedTuple):
    """What ``--data`` holds.

    Attributes:
        images: float32 ``[n, ...]``, or a list of such arrays, one for each input of the model.
        labels: class numbers ``[n]``; None where the file has none.
    """

    images: NDArray | list[NDArray]
    labels: NDArray | None


def read(args: Namespace, model: Any) -> Images:
    """Read what ``--data``, ``--preprocess``, ``--max-images`` and ``--shape`` say.

    Raises:
        HashBWNError: ``model`` is a .tflite file, or as :func:`load`.
    """
    if not isinstance(model, tf_keras.Model):
        raise HashBWNError("--data is for Keras models: leave it out for a .tflite file.")
    return load(args.data, model, args.preprocess, args.max_images, args.shape)


def load(
    path: Path,
    model: tf_keras.Model,
    preprocess: str | None,
    max_images: int,
    shapes: Sequence[tuple[int, ...]] | None = None,
) -> Images:
    """Read images and, where the file has them, labels.

    Args:
        path: ``.npy``, ``.npz`` with ``x`` and maybe ``y`` (or one array), or a folder of pictures,
            which are resized to the model's input. For a model of several inputs, ``.npz`` with an
            array for each by its name.
        model: tells the size and channels of pictures, and the names of inputs.
        preprocess: a key of ``_PREPROCESS``; must be given for pictures.
        max_images: use at most that many, spread evenly.
        shapes: of one sample, for pictures and inputs of any size.

    Raises:
        HashBWNError: no such file, another format, damaged or empty, no preprocessing chosen for
            pictures, or arrays for other inputs.
    """
    if not path.exists():
        raise HashBWNError(f"{path} does not exist: check --data.")
    if path.is_dir():
        found = [_pictures(path, model, preprocess, max_images, shapes)]
        labels = None
    else:
        found, labels = _arrays(path, [tensor.node.layer.name for tensor in model.inputs])
        chosen = _evenly(len(found[0]), max_images)
        found = [np.asarray(images[chosen], np.float32) for images in found]
        labels = None if labels is None else labels[chosen]
    ready = [_preprocessed(images, preprocess) for images in found]
    return Images(ready if len(ready) > 1 else ready[0], labels)


def _preprocessed(images: NDArray, preprocess: str | None) -> NDArray:
    if preprocess == "imagenet" and images.shape[-1] != 3:
        raise HashBWNError(
            f"The images have {images.shape[-1]} channels and --preprocess imagenet needs RGB: "
            "choose another."
        )
    return _PREPROCESS[preprocess or "none"](images)


def load_labels(path: Path, max_images: int) -> NDArray:
    """Return the labels in a ``.npy`` file, picked as :func:`load` picks the images.

    Raises:
        HashBWNError: no such file or no array in it.
    """
    if not path.exists():
        raise HashBWNError(f"{path} does not exist: check --labels.")
    (labels,), _ = _arrays(path, ["labels"])
    return labels[_evenly(len(labels), max_images)]


def _evenly(count: int, wanted: int) -> NDArray:
    if count <= wanted:
        return np.arange(count)
    return np.arange(wanted) * count // wanted


def _arrays(path: Path, inputs: list[str]) -> tuple[list[NDArray], NDArray | None]:
    """Return one array for each input, and the labels."""
    arrays = _content(path)
    found = _by_input(path, arrays, inputs)
    for images in found:
        _check(path, images)
    count, labels = len(found[0]), arrays.get("y")
    if labels is not None and len(labels) != count:
        raise HashBWNError(
            f"{path} holds {count} images but {len(labels)} labels: give as many of each."
        )
    if {len(images) for images in found} != {count}:
        raise HashBWNError(
            f"{path} holds {[len(images) for images in found]} images for the inputs {inputs}: "
            "give as many of each."
        )
    return found, labels


def _content(path: Path) -> dict[str, NDArray]:
    try:
        content = np.load(path, mmap_mode="r" if path.suffix == ".npy" else None)
        if isinstance(content, np.ndarray):
            return {"x": content}
        with content:
            arrays = {name: content[name] for name in content.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise HashBWNError(
            f"{path} cannot be read ({error}): give a .npy or .npz file of numbers or a folder of "
            "pictures."
        ) from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise HashBWNError(f"{path} holds no arrays: give a .npy or .npz file of numbers.")
    return arrays


def _by_input(path: Path, arrays: dict[str, NDArray], inputs: list[str]) -> list[NDArray]:
    if len(inputs) == 1:
        if not arrays:
            raise HashBWNError(f"{path} holds no images: give an array [images, ...].")
        return [arrays["x"] if "x" in arrays else next(iter(arrays.values()))]
    missing = [name for name in inputs if name not in arrays]
    if missing:
        raise HashBWNError(
            f"The model has {len(inputs)} inputs and {path} holds no array {missing[0]!r}: give an "
            f".npz file with one array for each of {inputs}."
        )
    return [arrays[name] for name in inputs]


def _check(path: Path, images: NDArray) -> None:
    if images.ndim == 0 or not len(images):
        raise HashBWNError(f"{path} holds no images: give an array [images, ...].")
    if images.dtype.kind not in "fiub":
        raise HashBWNError(f"{path} holds values of type {images.dtype}: give numbers.")


def _pictures(
    folder: Path,
    model: tf_keras.Model,
    preprocess: str | None,
    max_images: int,
    shapes: Sequence[tuple[int, ...]] | None,
) -> NDArray:
    if preprocess is None:
        raise HashBWNError(
            "Pictures need the preprocessing the model was trained with: give --preprocess "
            f"{'|'.join(_PREPROCESS)}."
        )
    wanted = tuple(model.inputs[0].shape)
    shape = sample_shapes(model, shapes)[0] if shapes else wanted[1:]
    if len(model.inputs) != 1 or len(shape) != 3 or None in shape or shape[-1] not in (1, 3):
        raise HashBWNError(
            f"The model takes {wanted} and pictures give [images, height, width, 1 or 3]: give "
            "arrays as a .npy file, or --shape where only the size is open."
        )
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _PICTURES)
    if not paths:
        raise HashBWNError(f"{folder} holds no pictures ({', '.join(_PICTURES)}): check --data.")
    chosen = [paths[i] for i in _evenly(len(paths), max_images)]
    return np.stack([_picture(p, shape) for p in chosen])


def _picture(path: Path, shape: tuple[int, ...]) -> NDArray:
    try:
        image = tf.io.decode_image(path.read_bytes(), shape[-1], expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise HashBWNError(f"{path} is no picture TensorFlow can read: remove it.") from error
    return tf.image.resize(image, shape[:2], antialias=True).numpy().astype(np.float32)
