"""``lce_convert``: a Keras model to a file for Larq Compute Engine, layer by layer."""

import math
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hashbwn_keras.cli.common import (
    add_custom_objects,
    add_overwrite,
    add_shape,
    load_tensorflow,
)
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.files import atomic_write, check_writable
from hashbwn_keras.text import aligned

if TYPE_CHECKING:
    import tf_keras

    from hashbwn_keras.export.inspection import Inspection
    from hashbwn_keras.export.verification import Verification

ABOUT = (
    "Convert a Keras model to a file for Larq Compute Engine, binary filters at 1 bit per weight."
)


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("model", metavar="IN", type=Path, help=".keras, .h5 or SavedModel folder")
    add("output", metavar="OUT", type=Path, help=".tflite file to write")
    for side in ("input", "output"):
        add(
            f"--inference-{side}-type",
            choices=("float32", "int8"),
            default="float32",
            help=f"of the file's {side}; int8 for models that quantise it (default: float32)",
        )
    add("--target", choices=("arm", "xcore"), default="arm", help="processor (default: arm)")
    add(
        "--weights",
        choices=("packed", "float"),
        default="packed",
        help="float leaves layers with real input as LCE's own converter does (default: packed)",
    )
    add("--no-verify", action="store_true", help="do not run the file against the model")
    add(
        "--allow-float",
        action="store_true",
        help="write the file even if a layer that should be packed was not",
    )
    add_shape(parser)
    add_custom_objects(parser)
    add_overwrite(parser)


def run(args: Namespace) -> int:
    """Convert, check, write, and print the layers; what fails a check is not written."""
    load_tensorflow()
    from hashbwn_keras.cli import models

    check_writable(args.output, args.overwrite)
    model = models.load_model(args)
    inputs = None if args.no_verify else models.random_inputs(model, args.shape)
    print(_convert(args, model, inputs))
    return 0


def _convert(args: Namespace, model: "tf_keras.Model", inputs: Any | None) -> str:
    """Return the report to print; ``inputs`` is what to verify on, None for no verification."""
    from hashbwn_keras.export import inspect, to_lce, verify

    content = to_lce(
        model,
        weights=args.weights,
        input_type=args.inference_input_type,
        output_type=args.inference_output_type,
        target=args.target,
        allow_float=args.allow_float,
    )
    lines = [_table(inspect(content))]
    if inputs is not None:
        result = verify(model, content, inputs)
        if not result.ok:
            raise HashBWNError(
                f"{args.output} was not written, because the file does not compute what "
                f"{args.model} computes: {_why(result)}; --no-verify writes it all the same."
            )
        lines.append(f"verified on {result.samples} random inputs")
    atomic_write(args.output, content, args.overwrite)
    return "\n".join([*lines, f"{args.output}: {len(content):,} bytes"])


def _why(result: "Verification") -> str:
    if not any(runtime.ran for runtime in result.runtimes):
        reasons = "; ".join(f"{runtime.name}: {runtime.reason}" for runtime in result.runtimes)
        return f"nothing ran ({reasons})"
    return f"its largest relative error is {result.relative_error:.2g}"


def _table(found: "Inspection") -> str:
    rows = [("layer", "stored as", "float bytes", "bytes")]
    for layer in found.layers:
        before = 4 * math.prod(layer.shape)
        rows.append((layer.name, layer.storage, f"{before:,}", f"{layer.nbytes:,}"))
    operators = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    return "\n".join([*aligned(rows, left=2), operators])
