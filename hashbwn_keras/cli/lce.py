"""``lce_convert``: a Keras model to a file for Larq Compute Engine, layer by layer."""

import argparse
import math
from pathlib import Path
from typing import Any

from hashbwn_keras.errors import HashBWNError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``lce_convert``."""
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


def convert(model: Any, args: argparse.Namespace, inputs: Any | None) -> str:
    """Convert, check, write; return the report to print.

    Args:
        model: the Keras model.
        args: the options of :func:`add_arguments`.
        inputs: what to verify on, None for no verification.

    Raises:
        HashBWNError: LCE refuses the model; a layer was not packed; the file computes something
            else than the model; it cannot be written. Then no file is written.
    """
    from hashbwn_keras.export import inspect, to_lce, verify
    from hashbwn_keras.files import atomic_write

    content = to_lce(
        model,
        weights=args.weights,
        input_type=args.inference_input_type,
        output_type=args.inference_output_type,
        target=args.target,
        allow_float=args.allow_float,
    )
    found = inspect(content)
    lines = [_table(found)]
    if inputs is not None:
        result = verify(model, content, inputs)
        if not result.ok:
            ran = [r for r in result.runtimes if r.ran]
            worst = max((r.relative_error for r in ran), default=math.nan)
            reasons = "; ".join(f"{r.name}: {r.reason}" for r in result.runtimes if not r.ran)
            what = (
                f"its largest relative error is {worst:.2g}" if ran else f"nothing ran ({reasons})"
            )
            raise HashBWNError(
                f"{args.output} was not written, because the file does not compute what "
                f"{args.model} computes: {what}; --no-verify writes it all the same."
            )
        lines.append(f"verified on {result.samples} random inputs")
    atomic_write(args.output, content, args.overwrite)
    return "\n".join([*lines, f"{args.output}: {len(content):,} bytes"])


def _table(found: Any) -> str:
    from hashbwn_keras.text import aligned

    rows = [("layer", "stored as", "float bytes", "bytes")]
    for layer in found.layers:
        before = 4 * math.prod(layer.shape)
        rows.append((layer.name, layer.storage, f"{before:,}", f"{layer.nbytes:,}"))
    operators = ", ".join(f"{count} {name}" for name, count in found.operators.items())
    return "\n".join([*aligned(rows, left=2), operators])
