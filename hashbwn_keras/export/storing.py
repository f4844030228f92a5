"""The filters of a file in the storage asked for, and the file with what it says of its making."""

import hashlib
from typing import Any

import tensorflow as tf
import tf_keras
from tensorflow.lite.python import schema_py_generated as schema

from hashbwn_keras.network.saving import get_recipe
from hashbwn_keras.tflite import encode
from hashbwn_keras.tflite.filters import Filter
from hashbwn_keras.tflite.flatbuffer import compact, write_model
from hashbwn_keras.tflite.names import Storage
from hashbwn_keras.tflite.provenance import format_of, write_provenance
from hashbwn_keras.tflite.storage import why_not_packed
from hashbwn_keras.version import __version__

# Digests of the files made in this process of Keras models, and of such files.
_OWN: set[bytes] = set()


def is_own(content: bytes) -> bool:
    """Whether a file was made in this process, of a Keras model, so that it is what it seems."""
    return hashlib.sha256(content).digest() in _OWN


def own(content: bytes) -> bytes:
    """Return a file that was made in this process of a Keras model, and remember it."""
    _OWN.add(hashlib.sha256(content).digest())
    return content


def can_pack(found: Filter) -> bool:
    """Whether storing a filter as bits makes it smaller."""
    return found.binary and not found.packed and not why_not_packed(found)


def store(filters: list[Filter], weights: str) -> None:
    """Store the binary filters of a file as ``weights`` of to_tflite says."""
    if weights == "float":
        return
    unpack = [Storage.FLOAT32, Storage.FLOAT16] + [Storage.PACKED] * (weights == "int8")
    for found in filters:
        if weights == "packed" and can_pack(found):
            encode.to_packed(found)
        elif found.binary and (found.storage in unpack or _is_rounded(found)):
            encode.to_int8(found)


def _is_rounded(found: Filter) -> bool:
    """Whether a full-integer layer has levels times α that the converter rounded to integers."""
    integers = found.integers
    return integers is not None and integers.units is None and not found.has_float_input


def finished(
    flat: schema.ModelT,
    filters: list[Filter],
    model: tf_keras.Model,
    names: list[str],
    **facts: str,
) -> bytes:
    """Return the file of an edited model, with its provenance.

    Args:
        flat: the edited model.
        filters: those it had before.
        model: the Keras model it was converted from.
        names: names of the filters.
        facts: how it was exported.
    """
    content: dict[str, Any] = {"tensorflow": tf.__version__, "layers": names, **facts}
    content |= {"inputs": model.input_names, "outputs": model.output_names}
    if recipe := get_recipe(model):
        content["recipe"] = recipe
    return own(written(flat, filters, content))


def written(flat: schema.ModelT, filters: list[Filter], content: dict[str, Any]) -> bytes:
    """Return the file of an edited model; ``content`` is what it says about its making."""
    bits = [found.bits for found in filters]
    version = format_of(max(bits, default=0))
    if version > 1:
        content = {**content, "bits": bits}
    write_provenance(flat, {**content, "format": version, "hashbwn_keras": __version__})
    compact(flat)
    return write_model(flat)
