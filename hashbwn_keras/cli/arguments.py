"""What the commands take. Nothing here imports TensorFlow."""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from hashbwn_keras.benchmark import command as benchmark
from hashbwn_keras.cli import demo_arguments, lce
from hashbwn_keras.solver.methods import METHODS
from hashbwn_keras.version import __version__

PREPROCESSING = {
    "none": "values as they are",
    "unit": "x / 255, values 0 to 1",
    "signed": "x / 127.5 - 1, values -1 to 1",
    "imagenet": "(x / 255 - mean) / deviation of ImageNet's RGB",
}
_EPILOG = (
    "Existing files are kept unless --overwrite is given, and files appear whole or not at all. "
    "HASHBWN_TRACEBACK=1 shows where an error comes from."
)


def hashbwn_parser() -> argparse.ArgumentParser:
    """Return the parser of ``hashbwn``."""
    parser = argparse.ArgumentParser(
        prog="hashbwn",
        description="Binary-weight networks via hashing: 1 bit per weight, from a trained model.",
        epilog=_EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"hashbwn_keras {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, about: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=about, description=f"{about}.", epilog=_EPILOG)
        command.set_defaults(run=_lazily(name))
        return command

    _binarize(add("binarize", "make a binary-weight model of a trained float model"))
    _export(add("export", "write a .tflite file whose binary weights are really small"))
    _verify(add("verify", "compare a .tflite file with its Keras model in every interpreter"))
    _inspect(add("inspect", "list the layers of a .tflite file and how each is stored"))
    _report(add("report", "compare a float with a binary model, or tabulate benchmark results"))
    _doctor(add("doctor", "say what is installed here and what it gives"))
    demo_arguments.add_arguments(
        add("demo", "train, binarise, export and verify a small network, in about a minute")
    )
    measure = commands.add_parser("benchmark", help="measure .tflite files here or on a device")
    benchmark.add_arguments(measure)
    measure.set_defaults(run=benchmark.run)
    return parser


def lce_convert_parser() -> argparse.ArgumentParser:
    """Return the parser of ``lce_convert``."""
    parser = argparse.ArgumentParser(
        prog="lce_convert",
        description="Convert a Keras model to a file for Larq Compute Engine, binary filters at "
        "1 bit per weight.",
        epilog=_EPILOG,
    )
    lce.add_arguments(parser)
    _overwrite(parser)
    parser.set_defaults(run=_lazily("lce_convert"))
    return parser


def _lazily(name: str) -> Callable[[argparse.Namespace], int]:
    def run(args: argparse.Namespace) -> int:
        with _held_back_stderr():
            commands = import_module("hashbwn_keras.cli.commands")
        return getattr(commands, name)(args)

    return run


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
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _binarize(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="float .keras, .h5 or SavedModel")
    parser.add_argument("output", metavar="OUT", type=Path, help=".keras or .h5 file to write")
    _data(parser, "calibration images; without them, images are made from batch-norm statistics")
    parser.add_argument(
        "--filters",
        metavar="REGEX",
        help="binarise the layers whose name it matches (default: all but the first convolution, "
        "the last Dense and depthwise ones)",
    )
    parser.add_argument("--method", choices=METHODS, default="auto", help="solver (default: auto)")
    parser.add_argument(
        "--no-repair", action="store_true", help="only solve layer by layer: quicker, less accurate"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all sampling (default: 0)")
    _json(parser, "the recipe")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model",
        metavar="MODEL",
        type=Path,
        help="binary .keras, .h5 or SavedModel, or a .tflite file with two-valued filters",
    )
    parser.add_argument("output", metavar="OUT", type=Path, help=".tflite file to write")
    parser.add_argument(
        "--weights",
        choices=("packed", "int8", "float"),
        default="packed",
        help="1 bit a weight; int8, as fast as float in stock runtimes; float (default: packed)",
    )
    parser.add_argument(
        "--activations",
        choices=("float32", "int8"),
        default="float32",
        help="int8 makes a full-integer file and needs --data (default: float32)",
    )
    for side in ("input", "output"):
        parser.add_argument(
            f"--{side}-type",
            choices=("float32", "int8", "uint8"),
            default="float32",
            help=f"of the file's {side}, with int8 activations or for lce (default: float32)",
        )
    parser.add_argument(
        "--runtime",
        choices=("tflite", "lce"),
        default="tflite",
        help="what will run the file: lce is Larq Compute Engine, for which lce_convert has more "
        "options (default: tflite, which is LiteRT, too)",
    )
    _data(parser, "calibration images for int8 activations")
    _json(parser, "what the file holds")


def _verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", type=Path, help="the Keras model")
    parser.add_argument("file", metavar="FILE", type=Path, help="the .tflite file made from it")
    _data(parser, "images to compare on; without them, random inputs are used")
    parser.add_argument(
        "--tolerance",
        type=float,
        help="largest error allowed, as a share of the output's range (default: 1e-4; 0.1 with "
        "int8 activations)",
    )
    _json(parser, "the result")


def _inspect(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help=".tflite file")
    _json(parser, "the result")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "inputs",
        metavar="FILE",
        type=Path,
        nargs="+",
        help="the float model and the binary model, or .json files of hashbwn benchmark",
    )
    _data(parser, "images to compare two models on")
    parser.add_argument(
        "--labels", metavar="FILE", type=Path, help=".npy file of class numbers, for the accuracy"
    )
    parser.add_argument("--html", metavar="PATH", type=Path, help="write a page with plots there")
    parser.add_argument(
        "--plot", metavar="PATH", type=Path, help="draw the benchmark results to this picture"
    )
    _json(parser, "the result")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--build",
        metavar="TARGET",
        nargs="?",
        const="host",
        help="build the native delegate first, for this machine or a target such as aarch64-linux",
    )
    _json(parser, "the result")


def _data(parser: argparse.ArgumentParser, about: str) -> None:
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


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of images: give 1 or more")
    return int(text)


def _json(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("--json", metavar="PATH", type=Path, help=f"also write {what} as JSON")
    _overwrite(parser)


def _overwrite(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
