"""What the commands do. Importing this module imports TensorFlow."""

import json
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

import hashbwn_keras as hk
from hashbwn_keras import files
from hashbwn_keras.cli import data
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.saving import check_model_path, get_recipe, save_model
from hashbwn_keras.text import aligned, percent, ratio, size

tf.get_logger().setLevel("ERROR")
_RANDOM_INPUTS = 16


def binarize(args: Namespace) -> int:
    """Carry out ``hashbwn binarize``."""
    check_model_path(args.output, args.overwrite)
    _check_outputs(args)
    model = hk.load_model(args.model)
    images = _images(args, model)[0] if args.data else None
    binary = hk.binarize(
        model,
        images,
        filters=args.filters,
        method=args.method,
        repair=not args.no_repair,
        seed=args.seed,
    )
    save_model(binary, args.output, args.overwrite)
    recipe = get_recipe(binary)
    rows = [
        (
            name,
            str(layer.get("method", "–")),
            ratio(layer.get("relative_error_before")),
            ratio(layer.get("relative_error")),
            percent(layer.get("flipped")),
        )
        for name, layer in recipe["layers"].items()
    ]
    print("\n".join(aligned([("layer", "solver", "sign", "error", "flipped"), *rows], left=2)))
    for name, reason in recipe["skipped"].items():
        print(f"{name} stays float: {reason}")
    print(f"{args.output}: {len(rows)} layers binarised")
    return _finish(args, recipe)


def export(args: Namespace) -> int:
    """Carry out ``hashbwn export``."""
    from hashbwn_keras.export import inspect, to_lce, to_tflite

    _check_outputs(args, args.output)
    from_file = args.model.suffix == ".tflite"
    if args.runtime == "lce":
        integer = "int8" in (args.weights, args.activations)
        if from_file or integer or args.data:
            raise HashBWNError(
                "--runtime lce takes a Keras model and --weights packed or float: leave out the "
                "other options."
            )
        to_lce(
            hk.load_model(args.model),
            args.output,
            weights=args.weights,
            input_type=args.input_type,
            output_type=args.output_type,
            overwrite=args.overwrite,
        )
    else:
        model = args.model if from_file else hk.load_model(args.model)
        if args.data and args.activations != "int8":
            raise HashBWNError("--data is for --activations int8: leave it out.")
        images = _images(args, model)[0] if args.data else None
        to_tflite(
            model,
            args.output,
            weights=args.weights,
            activations=args.activations,
            calibration_data=images,
            input_type=args.input_type,
            output_type=args.output_type,
            overwrite=args.overwrite,
        )
    found = inspect(args.output)
    print(found)
    print(f"{args.output}: {size(found.nbytes)}")
    return _finish(args, found.to_dict())


def verify(args: Namespace) -> int:
    """Carry out ``hashbwn verify``; the status is 1 if the file does not hold what it should."""
    from hashbwn_keras.export import verify as verify_file

    _check_outputs(args)
    model = hk.load_model(args.model)
    if args.data:
        images = _images(args, model)[0]
    else:
        _say(f"hashbwn verify: no --data, so {_RANDOM_INPUTS} random inputs are compared.")
        images = _random_inputs(model)
    result = verify_file(model, args.file, images, tolerance=args.tolerance)
    print(result)
    _finish(args, result.to_dict())
    if not result.ok:
        _say(f"hashbwn verify: {args.file} does not compute what {args.model} computes.")
    return 0 if result.ok else 1


def inspect(args: Namespace) -> int:
    """Carry out ``hashbwn inspect``."""
    from hashbwn_keras.export import inspect as inspect_file

    _check_outputs(args)
    found = inspect_file(args.file)
    print(found)
    return _finish(args, found.to_dict())


def report(args: Namespace) -> int:
    """Carry out ``hashbwn report``."""
    if all(path.suffix == ".json" for path in args.inputs):
        return _benchmark_report(args)
    if len(args.inputs) != 2 or args.plot:
        raise HashBWNError(
            "Give the float model and the binary model, or .json files of hashbwn benchmark (which "
            "--plot is for)."
        )
    if not args.data:
        raise HashBWNError("Two models are compared on images: give --data.")
    _check_outputs(args, args.html)
    float_model, binary_model = (hk.load_model(path) for path in args.inputs)
    images, labels = _images(args, float_model)
    if args.labels:
        labels = data.load_labels(args.labels, args.max_images)
    result = hk.report(float_model, binary_model, images, labels)
    print(result)
    if args.html:
        files.atomic_write(args.html, result.to_html().encode(), args.overwrite)
    return _finish(args, json.loads(result.to_json()))


def _benchmark_report(args: Namespace) -> int:
    from hashbwn_keras.benchmark.command import report as tabulate

    if args.data or args.labels or args.html or args.json:
        raise HashBWNError(
            "--data, --labels, --html and --json are for comparing two models: leave them out for "
            "benchmark results."
        )
    plot = str(args.plot) if args.plot else None
    print(tabulate([str(path) for path in args.inputs], plot, args.overwrite), end="")
    return 0


def doctor(args: Namespace) -> int:
    """Carry out ``hashbwn doctor``."""
    from hashbwn_keras.cli import doctor as examination

    _check_outputs(args)
    if args.build:
        from hashbwn_keras import runtime

        print(runtime.build() if args.build == "host" else runtime.build(args.build))
    found = examination.examine()
    print(examination.text(found))
    return _finish(args, found)


def demo(args: Namespace) -> int:
    """Carry out ``hashbwn demo``."""
    from hashbwn_keras import demo as demonstration

    _check_outputs(args)
    result = demonstration.run(
        args.output,
        dataset=args.dataset,
        data_dir=args.data_dir,
        epochs=args.epochs,
        seed=args.seed,
        overwrite=args.overwrite,
    )
    print(result)
    return _finish(args, result.to_dict())


def lce_convert(args: Namespace) -> int:
    """Carry out ``lce_convert``."""
    from hashbwn_keras.cli.lce import convert

    files.check_writable(args.output, args.overwrite)
    model = hk.load_model(args.model)
    print(convert(model, args, None if args.no_verify else _random_inputs(model)))
    return 0


def _check_outputs(args: Namespace, *paths: Path | None) -> None:
    """Refuse what cannot be written before the work begins."""
    for path in (*paths, args.json):
        if path is not None:
            files.check_writable(path, args.overwrite)


def _finish(args: Namespace, content: dict[str, Any]) -> int:
    if args.json:
        text = json.dumps(content, indent=2, default=_plain) + "\n"
        files.atomic_write(args.json, text.encode(), args.overwrite)
    return 0


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return str(value)


def _images(args: Namespace, model: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if not isinstance(model, tf_keras.Model):
        raise HashBWNError("--data is for Keras models: leave it out for a .tflite file.")
    return data.load(args.data, model, args.preprocess, args.max_images)


def _random_inputs(model: tf_keras.Model) -> Any:
    shapes = [tuple(tensor.shape)[1:] for tensor in model.inputs]
    if any(None in shape for shape in shapes):
        raise HashBWNError(f"The model takes inputs of any size {shapes}: give --data.")
    generator = np.random.default_rng(0)
    inputs = [
        generator.normal(size=(_RANDOM_INPUTS, *shape)).astype(tensor.dtype.as_numpy_dtype)
        for shape, tensor in zip(shapes, model.inputs, strict=True)
    ]
    return inputs if len(inputs) > 1 else inputs[0]


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
