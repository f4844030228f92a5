"""to_lce: a binarised Keras model to a file for Larq Compute Engine."""

import os
import warnings
from types import ModuleType

import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError, first_line
from hashbwn_keras.export.constant_kernels import with_constant_kernels
from hashbwn_keras.export.convert import check_model, keras_to_tflite, quiet_conversion
from hashbwn_keras.export.folding import with_folded_filters
from hashbwn_keras.export.lce_padding import check_padding
from hashbwn_keras.export.litert import check_choice
from hashbwn_keras.export.matching import (
    check_all_found,
    layers_with_binary_input,
    missing_layers,
    name_filters,
)
from hashbwn_keras.export.refusal import no_operator, refused
from hashbwn_keras.export.storing import finished
from hashbwn_keras.files import atomic_write, check_writable, temporary_folder
from hashbwn_keras.network.codes import BinaryKernel, binary_kernels
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.tflite import encode, names
from hashbwn_keras.tflite.filters import Filter, read_filters
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.subgraph import custom_operators

WEIGHTS = ("packed", "float")
TYPES = ("float32", "int8")
TARGETS = ("arm", "xcore")


def to_lce(
    model: tf_keras.Model,
    path: str | os.PathLike[str] | None = None,
    *,
    weights: str = "packed",
    input_type: str = "float32",
    output_type: str = "float32",
    target: str = "arm",
    allow_float: bool = False,
    overwrite: bool = False,
) -> bytes:
    """Write a file for Larq Compute Engine's interpreter.

    A binary convolution with binary input becomes ``LceBconv2d``, which keeps its scales. One with
    real input, which LCE itself leaves as float32, is stored as one bit a weight, too.

    Args:
        model: a built Keras 2 model.
        path: where to write the file; None writes none.
        weights: "packed", or "float" to leave layers with real input as LCE's converter does.
        input_type: "float32", or "int8" for a model that quantises its input itself.
        output_type: the same for the output.
        target: "arm" or "xcore".
        allow_float: whether binary layers may stay unpacked; with "float" weights, those with
            binary input.
        overwrite: whether an existing ``path`` may be replaced.

    Returns:
        The file's content.

    Raises:
        HashBWNError: bad arguments or input; LCE refuses the model; a binary layer whose filter
            did not come out two-valued or, without ``allow_float``, is not packed; a file that
            cannot be written.
        ImportError: larq-compute-engine is not installed.
    """
    check_choice("weights", weights, WEIGHTS)
    check_choice("input_type", input_type, TYPES)
    check_choice("output_type", output_type, TYPES)
    check_choice("target", target, TARGETS)
    model = to_keras2(model)
    check_model(model)
    if path is not None:
        check_writable(path, overwrite)
    _require_lce()
    if _needs_lce(model) or (input_type, output_type, target) != ("float32", "float32", "arm"):
        check_padding(model)
        converted = _convert(model, input_type, output_type, target)
    else:  # TensorFlow's converter is the better one; the operators are the same
        converted = keras_to_tflite(model)
    name = "The file from Larq Compute Engine"
    flat, filters = read_filters(with_folded_filters(converted, name, trusted=True), name)
    unknown = custom_operators(flat) - set(names.LCE_OPERATORS)
    if unknown:  # its converter writes down any operation of TensorFlow
        raise no_operator("Larq Compute Engine", model, min(unknown))
    kernels = binary_kernels(model)
    layers = name_filters(filters, kernels)
    check_all_found(filters, kernels)
    _warn_of_float_convolutions(filters, layers, layers_with_binary_input(kernels))
    if weights == "packed":
        _pack(filters)
    facts = {"weights": weights, "activations": "float32", "target": "lce"}
    result = finished(flat, filters, model, layers, **facts)
    if not allow_float:
        _check_packed(result, kernels, weights)
    if path is not None:
        atomic_write(path, result, overwrite)
    return result


def _check_packed(result: bytes, kernels: list[BinaryKernel], weights: str) -> None:
    """Check that as many binary layers are packed as there are, and name those that are not."""
    wanted = kernels
    if weights == "float":
        chosen = layers_with_binary_input(kernels)
        wanted = [kernel for kernel in kernels if kernel.name in chosen]
    _, filters = read_filters(result, "The file")
    lost = missing_layers([found for found in filters if found.packed], wanted)
    if lost:
        raise HashBWNError(
            f"{len(lost)} of {len(wanted)} binary layers are not packed: {', '.join(lost)}; "
            "allow_float=True (lce_convert --allow-float) takes them so."
        )


def _require_lce() -> ModuleType:
    try:
        import larq_compute_engine as lce
    except ImportError as error:
        raise ImportError(
            'to_lce needs larq-compute-engine: pip install "hashbwn_keras[lce]".'
        ) from error
    return lce


def _needs_lce(model: tf_keras.Model) -> bool:
    """Whether a layer has binary input, which only LCE's converter makes an LceBconv2d of."""
    quantizers = (getattr(layer, "input_quantizer", None) for layer in model.submodules)
    return any(getattr(quantizer, "precision", 32) == 1 for quantizer in quantizers)


def _convert(model: tf_keras.Model, input_type: str, output_type: str, target: str) -> bytes:
    lce = _require_lce()
    # Not convert_keras_model: on failure it tries another way and hides why the first one failed.
    with temporary_folder() as folder, quiet_conversion():
        try:
            with_constant_kernels(model).save(folder, save_format="tf", include_optimizer=False)
            return lce.convert_saved_model(
                str(folder),
                inference_input_type=tf.as_dtype(input_type),
                inference_output_type=tf.as_dtype(output_type),
                target=target,
            )
        except RuntimeError as error:
            raise refused("Larq Compute Engine", model, error) from error
        except ValueError as error:  # its own check of the model before it converts
            raise HashBWNError(
                f"Larq Compute Engine refuses model {model.name!r} ({first_line(error)}): leave "
                "input_type and output_type at float32."
            ) from error


def _warn_of_float_convolutions(
    filters: list[Filter], layers: list[str], with_binary_input: set[str]
) -> None:
    """LCE turns a convolution it cannot pack into a float one without a word."""
    lost = [
        name
        for found, name in zip(filters, layers, strict=True)
        if name in with_binary_input and found.storage != Storage.LCE
    ]
    if lost:
        warnings.warn(
            f"Larq Compute Engine has no binary kernel for {', '.join(lost)}, whose input is "
            "binary: it runs as a float layer. Only QuantConv2D with unscaled ±1 input, no dead "
            "channel and groups of 32·n channels becomes LceBconv2d.",
            stacklevel=3,
        )


def _pack(filters: list[Filter]) -> None:
    for found in filters:
        if found.binary and found.storage == Storage.FLOAT32:
            if found.axis == 0 and found.bits == 1:
                encode.to_lce_dequantize(found)
            else:  # LceDequantize has ±1, channels first
                encode.to_packed(found)
