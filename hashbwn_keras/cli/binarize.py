"""``hashbwn binarize``: float model in, binary model out."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import (
    add_custom_objects,
    add_data,
    add_json,
    add_shape,
    check_outputs,
    load_tensorflow,
    write_json,
)
from hashbwn_keras.solver.methods import METHODS

ABOUT = "make a binary-weight model of a trained float model"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("model", metavar="MODEL", type=Path, help="float .keras, .h5 or SavedModel")
    parser.add_argument("output", metavar="OUT", type=Path, help=".keras or .h5 file to write")
    add_data(parser, "calibration images; without them, images are made from batch-norm statistics")
    parser.add_argument(
        "--filters",
        metavar="REGEX",
        help="binarise the layers whose name it matches (default: all but the first convolution, "
        "the last layer, depthwise and very small ones)",
    )
    parser.add_argument(
        "--bits",
        metavar="N|REGEX=N",
        action="append",
        type=_length,
        help="bits a weight, 1 to 4, for all layers, or for those whose name matches, where N may "
        "also be float; may be given several times, the first that matches counts (default: 1)",
    )
    parser.add_argument("--method", choices=METHODS, default="auto", help="solver (default: auto)")
    parser.add_argument(
        "--no-repair", action="store_true", help="only solve layer by layer: quicker, less accurate"
    )
    parser.add_argument("--seed", type=int, default=0, help="of all sampling (default: 0)")
    add_shape(parser)
    add_custom_objects(parser)
    add_json(parser, "the recipe")


def _length(text: str) -> tuple[str, int | str]:
    """A regular expression, which every name matches where none is given, and its bits."""
    pattern, _, length = text.rpartition("=")
    return pattern, int(length) if length.isdigit() else length


def run(args: Namespace) -> int:
    """Binarise, save, and print a line for each layer."""
    load_tensorflow()
    import hashbwn_keras
    from hashbwn_keras.cli import images, models
    from hashbwn_keras.network import saving
    from hashbwn_keras.text import aligned, percent, ratio

    saving.check_model_path(args.output, args.overwrite)
    check_outputs(args)
    model = models.load_model(args)
    binary = hashbwn_keras.binarize(
        model,
        images.read(args, model).images if args.data else None,
        filters=args.filters,
        bits=dict(args.bits) if args.bits else 1,
        method=args.method,
        repair=not args.no_repair,
        seed=args.seed,
    )
    saving.save_model(binary, args.output, args.overwrite)
    recipe = saving.recipe_of(binary)
    rows = [
        (
            label,
            layer.method or "–",
            str(layer.bits),
            ratio(layer.relative_error_before),
            ratio(layer.relative_error),
            percent(layer.flipped),
        )
        for label, layer in recipe.layers.items()
    ]
    print(
        "\n".join(aligned([("layer", "solver", "bits", "sign", "error", "flipped"), *rows], left=2))
    )
    for label, skipped in recipe.skipped.items():
        print(f"{label} stays float: {skipped.reason}")
    print(f"{args.output}: {len(rows)} layers binarised")
    write_json(args, recipe.to_json())
    return 0
