"""Small image data sets, from packages, from Keras's cache or from their usual files."""

import gzip
import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tf_keras

from hashbwn_keras.errors import HashBWNError

_IDX_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_DIGITS_FOR_TEST = 500


class Dataset(NamedTuple):
    """Images float32 ``[n, height, width, channels]`` from 0 to 1 and class numbers ``[n]``."""

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


def load(name: str, data_dir: Path | None, seed: int) -> Dataset:
    """Return a data set.

    Args:
        name: "digits", "mnist", "fashion_mnist", "cifar10" or "cifar100".
        data_dir: folder with the usual files; without it Keras finds or downloads them.
        seed: of the split of digits, which has no test set of its own.

    Raises:
        HashBWNError: files are missing, damaged or cannot be downloaded.
        ImportError: digits without scikit-learn.
    """
    if name == "digits":
        if data_dir is not None:
            raise HashBWNError("--data-dir is for the other data sets: digits needs no files.")
        return _digits(seed)
    if data_dir is not None:
        parts = _FROM_FOLDER.get(name, _idx)(data_dir)
    else:
        try:
            (train, train_y), (test, test_y) = getattr(tf_keras.datasets, name).load_data()
        except (OSError, ValueError, EOFError) as error:  # Keras's "URL fetch failure" among them
            raise HashBWNError(
                f"Keras could not get {name} ({str(error).splitlines()[0]}): give its files with "
                "--data-dir."
            ) from error
        except Exception as error:
            if "URL fetch failure" not in str(error):  # Keras raises a bare Exception there
                raise
            raise HashBWNError(
                f"Keras could not download {name}: give its files with --data-dir."
            ) from error
        parts = (train, train_y, test, test_y)
    train, train_y, test, test_y = parts
    return Dataset(_scaled(train), train_y.reshape(-1), _scaled(test), test_y.reshape(-1))


def _scaled(images: np.ndarray) -> np.ndarray:
    images = images if images.ndim == 4 else images[..., None]
    return images.astype(np.float32) / 255


def _digits(seed: int) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'The digits data set needs scikit-learn: pip install "hashbwn_keras[demo]".'
        ) from error
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = order[:_DIGITS_FOR_TEST], order[_DIGITS_FOR_TEST:]
    return Dataset(images[train], labels[train], images[test], labels[test])


def _idx(folder: Path) -> tuple[np.ndarray, ...]:
    return tuple(_read_idx(folder / name) for name in _IDX_FILES)


def _read_idx(path: Path) -> np.ndarray:
    """Read MNIST's format: two zero bytes, type 8 (uint8), rank, big-endian sizes, values."""
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, ">u4", rank, 4)
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise HashBWNError(f"{path} cannot be read ({error}): check --data-dir.") from error


def _cifar10(folder: Path) -> tuple[np.ndarray, ...]:
    inner = folder / "cifar-10-batches-py"
    folder = inner if inner.is_dir() else folder
    batches = [_read_cifar(folder / f"data_batch_{i}") for i in range(1, 6)]
    train, train_y = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return (train, train_y, *_read_cifar(folder / "test_batch"))


def _cifar100(folder: Path) -> tuple[np.ndarray, ...]:
    inner = folder / "cifar-100-python"
    folder = inner if inner.is_dir() else folder
    return (*_read_cifar(folder / "train"), *_read_cifar(folder / "test"))


def _read_cifar(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        with path.open("rb") as file:
            batch = pickle.load(file, encoding="bytes")  # the format CIFAR is published in
        images = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images, np.array(batch[b"labels" if b"labels" in batch else b"fine_labels"])
    except (OSError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise HashBWNError(f"{path} cannot be read ({error}): check --data-dir.") from error


_FROM_FOLDER = {"cifar10": _cifar10, "cifar100": _cifar100}
