"""What several commands take and do. Importing this imports nothing heavy."""

import json
import os
import sys
import tempfile
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from hashbwn_keras import environment
from hashbwn_keras.files import atomic_write, check_writable

PREPROCESSING = {
    "none": "values as they are",
    "unit": "x / 255, values 0 to 1",
    "signed": "x / 127.5 - 1, values -1 to 1",
    "imagenet": "(x / 255 - mean) / deviation of ImageNet's RGB",
}


def add_data(parser: ArgumentParser, about: str) -> None:
    """Add ``--data``, ``--preprocess`` and ``--max-images``."""
    parser.add_argument(
        "--data",
        metavar="PATH",
        type=Path,
        help=f"{about}: .npy, .npz (arrays x and, if there, y) or a folder of pictures",
    )
    choices = "; ".join(f"{name}: {what}" for name, what in PREPROCESSING.items())
    parser.add_argument(
        "--preprocess",
        choices=tuple(PREPROCESSING),
        help=f"what the model wants ({choices}; default: none, to be chosen for pictures)",
    )
    parser.add_argument(
        "--max-images",
        type=_positive,
        metavar="N",
        default=2048,
        help="use N images spread evenly over the data (default: 2048)",
    )


def add_custom_objects(parser: ArgumentParser) -> None:
    """Add ``--custom-objects`` and ``--allow-code``."""
    parser.add_argument(
        "--custom-objects",
        action="append",
        default=[],
        metavar="MODULE:NAME",
        help="a class or function of your own that the model needs, such as mypackage.layers:Scale "
        "(MODULE is also looked for in the current folder); may be given several times",
    )
    parser.add_argument(
        "--allow-code",
        action="store_true",
        help="load model files that hold code, such as Lambda layers, and run it: for files that "
        "you trust",
    )


def add_shape(parser: ArgumentParser) -> None:
    """Add ``--shape``."""
    parser.add_argument(
        "--shape",
        action="append",
        type=_shape,
        metavar="N,N,...",
        help="shape of one sample, for inputs of any size, such as 224,224,3; once for each input, "
        "in the model's order",
    )


def add_json(parser: ArgumentParser, what: str) -> None:
    """Add ``--json`` and ``--overwrite``."""
    parser.add_argument("--json", metavar="PATH", type=Path, help=f"also write {what} as JSON")
    add_overwrite(parser)


def add_overwrite(parser: ArgumentParser) -> None:
    """Add ``--overwrite``."""
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise ArgumentTypeError(f"{text!r} is no number of images: give 1 or more")
    return int(text)


def _shape(text: str) -> tuple[int, ...]:
    sizes = text.split(",")
    if not all(size.isdigit() and int(size) for size in sizes):
        raise ArgumentTypeError(f"{text!r} is no shape: write it like 224,224,3")
    return tuple(map(int, sizes))


def check_outputs(args: Namespace, *paths: Path | None) -> None:
    """Refuse what cannot be written before the work begins: ``paths`` and ``--json``.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.files.check_writable`.
    """
    for path in (*paths, args.json):
        if path is not None:
            check_writable(path, args.overwrite)


def write_json(args: Namespace, content: dict[str, Any]) -> None:
    """Write ``content`` where ``--json`` says, if it does."""
    if args.json:
        text = json.dumps(content, indent=2, default=_plain) + "\n"
        atomic_write(args.json, text.encode(), args.overwrite)


def _plain(value: Any) -> Any:
    """Return NumPy's numbers and arrays as numbers and lists, and the rest as text, for JSON."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


def load_tensorflow() -> None:
    """Import TensorFlow, whose libraries say nothing unless they fail.

    Raises:
        ImportError: two TensorFlows are installed over each other.
    """
    environment.check()
    with _held_back_stderr():
        import_module("tensorflow").get_logger().setLevel("ERROR")


@contextmanager
def _held_back_stderr() -> Iterator[None]:
    """Hold back what TensorFlow's libraries say while they load, and show it only on failure.

    They write a screenful past every log level that could be set.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def say(message: str) -> None:
    """Print a message to stderr."""
    print(message, file=sys.stderr, flush=True)
