"""to_tflite: a binarised Keras model, or any .tflite file with ±α filters, to a small file."""

import os
from typing import Any

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.export.convert import IO_TYPES, check_model, keras_to_tflite
from hashbwn_keras.export.folding import with_folded_filters
from hashbwn_keras.export.matching import check_all_found, name_filters
from hashbwn_keras.export.storing import can_pack, finished, is_own, own, store, written
from hashbwn_keras.files import atomic_write, check_writable, read_file
from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.network.labels import is_quantize_aware
from hashbwn_keras.tflite.attached import with_attached
from hashbwn_keras.tflite.filters import read_filters
from hashbwn_keras.tflite.flatbuffer import damage_named
from hashbwn_keras.tflite.provenance import read_provenance

WEIGHTS = ("packed", "int8", "float")
ACTIVATIONS = ("float32", "int8")

PathLike = str | os.PathLike[str]


def to_tflite(
    model: Any,
    path: PathLike | None = None,
    *,
    weights: str = "packed",
    activations: str = "float32",
    calibration_data: Any = None,
    input_type: str = "float32",
    output_type: str = "float32",
    overwrite: bool = False,
) -> bytes:
    """Write a .tflite file in which binary filters are small and exact.

    Any filter counts that proves to be ±α per output channel, or the odd levels of 2 to 4 bits
    times α, whoever made it; batch-norm is folded into α and bias. docs/format.md specifies the
    storage, docs/runtimes.md says what runs where.

    Args:
        model: a built Keras 2 model, or a .tflite file with float or int8 filters (its path, or
            its bytes).
        path: where to write the file; None writes none.
        weights: "packed" (1 to 4 bits a weight, as the layer has, decoded once at load by builtin
            operators), "int8" (codes with scale α, as fast as float32 in stock runtimes), or
            "float" (as converted).
        activations: "float32", or "int8" for a full-integer model, first and last layers included;
            a model of tensorflow-model-optimization always has int8 ones.
        calibration_data: for int8 activations: about 100 to 1,000 inputs as an array, a list or
            dict of arrays, or a tf.data.Dataset or iterable of batches.
        input_type: element type of the file's inputs: "float32", or with int8 activations "int8"
            or "uint8".
        output_type: the same of its outputs.
        overwrite: whether an existing ``path`` may be replaced.

    Returns:
        The file's content.

    Raises:
        HashBWNError: bad arguments or input; a binary layer whose filter did not come out
            two-valued; nothing binary in a .tflite file; a file that cannot be written.
    """
    check_choice("weights", weights, WEIGHTS)
    check_choice("activations", activations, ACTIVATIONS)
    check_choice("input_type", input_type, tuple(IO_TYPES))
    check_choice("output_type", output_type, tuple(IO_TYPES))
    if path is not None:
        check_writable(path, overwrite)
    if not _is_file(model):
        model = to_keras2(model)
        check_model(model)
        if is_quantize_aware(model):
            activations = "int8"
            _check_no_calibration(calibration_data)
        else:
            _check_calibration(activations, calibration_data, input_type, output_type)
        data = keras_to_tflite(model, calibration_data, input_type, output_type)
        result = _encode_keras(model, data, weights, activations)
    else:
        asked = (activations, input_type, output_type)
        if calibration_data is not None or asked != ("float32",) * 3 or weights == "float":
            raise HashBWNError(
                "A .tflite file can only have its binary filters stored anew (weights 'packed' or "
                "'int8'): for anything else give the Keras model."
            )
        result = _encode_file(*read_file(model), weights)
    if path is not None:
        atomic_write(path, result, overwrite)
    return result


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise HashBWNError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise HashBWNError(f"{name} is {value!r}: choose one of {', '.join(choices)}.")


def _check_calibration(
    activations: str, calibration_data: Any, input_type: str, output_type: str
) -> None:
    if activations == "int8" and calibration_data is None:
        raise HashBWNError(
            "int8 activations need calibration_data: give about 100 to 1,000 typical inputs."
        )
    if activations != "int8" and calibration_data is not None:
        raise HashBWNError("calibration_data only serves int8 activations: add activations='int8'.")
    if activations != "int8" and (input_type, output_type) != ("float32", "float32"):
        raise HashBWNError(
            f"input_type {input_type!r} and output_type {output_type!r} need activations='int8'."
        )


def _check_no_calibration(calibration_data: Any) -> None:
    if calibration_data is not None:
        raise HashBWNError(
            "A quantize-aware model has learnt the ranges of its activations: leave out "
            "calibration_data."
        )


def _is_file(model: Any) -> bool:
    return isinstance(model, bytes | bytearray | str | os.PathLike)


def _encode_keras(model: tf_keras.Model, data: bytes, weights: str, activations: str) -> bytes:
    name = "The converted file"
    flat, filters = read_filters(with_folded_filters(data, name, trusted=True), name)
    expected = binary_kernels(model)
    names = name_filters(filters, expected)
    check_all_found(filters, expected)
    store(filters, weights)
    return finished(flat, filters, model, names, weights=weights, activations=activations)


def _encode_file(data: bytes, name: str, weights: str) -> bytes:
    flat, filters = read_filters(with_folded_filters(data, name, is_own(data)), name)
    binary = [found for found in filters if found.binary]
    if not binary:
        raise HashBWNError(
            f"{name} has no filter with two values per output channel, nor with the levels of a "
            "longer code: binarise the Keras model first (hashbwn_keras.binarize)."
        )
    packed = [found for found in binary if found.packed]
    if weights == "packed" and packed and not any(can_pack(found) for found in binary):
        raise HashBWNError(f"{name} is packed already: use it as it is.")
    with damage_named(name):
        before = read_provenance(flat)
        layers = before.layers or [f.graph.name(f.tensor) for f in filters]
        store(filters, weights)
        integer = any(f.integers is not None and not f.has_float_input for f in binary)
        facts = {"weights": weights, "activations": "int8" if integer else "float32"}
        result = with_attached(
            written(flat, filters, {**before.content, **facts, "layers": layers}), data
        )
    return own(result) if is_own(data) else result
