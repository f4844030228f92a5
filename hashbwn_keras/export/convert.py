"""From a Keras model to a .tflite file by TensorFlow's converter, nothing edited yet."""

import logging
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras
from tensorflow.lite.python.convert import ConverterError

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.export.constant_kernels import with_constant_kernels
from hashbwn_keras.export.refusal import refused
from hashbwn_keras.network.batches import batches_of
from hashbwn_keras.network.labels import is_quantize_aware
from hashbwn_keras.runtime.feeding import in_batches

IO_TYPES = {"float32": tf.float32, "int8": tf.int8, "uint8": tf.uint8}


def check_model(model: tf_keras.Model) -> None:
    """Raise HashBWNError unless ``model`` is a built Keras 2 model with finite weights."""
    if not isinstance(model, tf_keras.Model):
        raise HashBWNError(
            f"Cannot export a {type(model).__module__}.{type(model).__name__}: "
            "give a built Keras 2 model or a .tflite file."
        )
    if not model.built or not getattr(model, "inputs", None):
        raise HashBWNError(
            f"Model {model.name!r} has no defined inputs: build it by calling it on data, "
            "or make it a functional model."
        )
    for weight in model.weights:
        if weight.dtype.is_floating and not np.isfinite(weight.numpy()).all():
            raise HashBWNError(
                f"Weight {weight.name!r} of model {model.name!r} holds NaN or infinite values: "
                "train or load the model again."
            )


@contextmanager
def quiet_conversion() -> Iterator[None]:
    """Keep advice of TensorFlow and Keras that no user of an exporter can act on off stderr."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(tensorflow|keras|tf_keras|larq)")
            warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
            yield
    finally:
        logger.setLevel(level)


def keras_to_tflite(
    model: tf_keras.Model,
    calibration_data: Any = None,
    input_type: str = "float32",
    output_type: str = "float32",
) -> bytes:
    """Convert a Keras model.

    Args:
        model: built Keras 2 model.
        calibration_data: inputs that fix the ranges of int8 activations; with None, activations
            stay float32, or become int8 with the ranges of a quantize-aware model.
        input_type: element type of the file's inputs: "float32", or "int8" or "uint8" with int8
            activations.
        output_type: the same of its outputs.

    Raises:
        HashBWNError: the converter refuses the model, for the reason given.
    """
    aware = is_quantize_aware(model)
    source = model if aware else with_constant_kernels(model)
    converter = tf.lite.TFLiteConverter.from_keras_model(source)
    if calibration_data is not None:
        batches = batches_of(calibration_data, model)
        converter.representative_dataset = lambda: _by_name(model, batches)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    if aware or calibration_data is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = IO_TYPES[input_type]
        converter.inference_output_type = IO_TYPES[output_type]
    try:
        with quiet_conversion():
            return converter.convert()
    except (ConverterError, RuntimeError) as error:
        raise refused("TensorFlow Lite", model, error) from error


def _by_name(
    model: tf_keras.Model, batches: Iterable[list[np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """Yield batches of the file's own size, 1 where the model leaves it open."""
    size = model.inputs[0].shape[0] or 1
    for batch in batches:
        for sample, _ in in_batches(batch, size):
            yield dict(zip(model.input_names, sample, strict=True))
