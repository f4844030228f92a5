"""The model of a command, and inputs for it. Importing this imports TensorFlow."""

import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

import hashbwn_keras
from hashbwn_keras.errors import HashBWNError

RANDOM_INPUTS = 16
"""Random inputs that a file is compared on where there is no data."""


def load_model(args: Namespace, path: Path | None = None) -> tf_keras.Model:
    """Load the model at ``path``, or ``args.model``, with the user's own objects.

    Raises:
        HashBWNError: as :func:`hashbwn_keras.load_model`, or ``--custom-objects`` names nothing.
    """
    return hashbwn_keras.load_model(
        path or args.model,
        custom_objects=_custom_objects(args.custom_objects),
        safe_mode=not args.allow_code,
    )


def _custom_objects(names: Sequence[str]) -> dict[str, Any]:
    """Import ``module:name`` each; Keras asks for them by their names."""
    found = {}
    for text in names:
        module, _, name = text.partition(":")
        if not module or not name:
            raise HashBWNError(
                f"--custom-objects {text} is no MODULE:NAME: write it like layers:Scale."
            )
        if (here := os.getcwd()) not in sys.path:
            sys.path.append(here)  # where python -m would look, behind what is installed
        try:
            found[name] = getattr(import_module(module), name)
        except ImportError as error:
            raise HashBWNError(
                f"--custom-objects {text} cannot be imported ({error}): run it where {module} is, "
                "or install it."
            ) from error
        except AttributeError as error:
            raise HashBWNError(
                f"--custom-objects {text}: {module} has no {name}; give a class or function of it."
            ) from error
    return found


def random_inputs(
    model: tf_keras.Model, shapes: Sequence[tuple[int, ...]] | None
) -> NDArray | list[NDArray]:
    """Return :data:`RANDOM_INPUTS` samples for each input of a model.

    Floats are normally distributed, booleans either; integers are 0, the only number that is an
    index of every embedding and a value of every type.

    Args:
        model: tells shapes and types.
        shapes: of one sample, for each input of unknown size; None where none was given.

    Raises:
        HashBWNError: an input of any size without a shape, or a shape that does not fit.
    """
    generator = np.random.default_rng(0)
    inputs: list[NDArray] = []
    for tensor, shape in zip(model.inputs, sample_shapes(model, shapes), strict=True):
        dtype = np.dtype(tensor.dtype.as_numpy_dtype)
        values = generator.normal(size=(RANDOM_INPUTS, *shape))
        if dtype.kind in "iu":
            values = np.zeros_like(values)
        inputs.append(values > 0 if dtype.kind == "b" else values.astype(dtype))
    return inputs if len(inputs) > 1 else inputs[0]


def sample_shapes(
    model: tf_keras.Model, shapes: Sequence[tuple[int, ...]] | None
) -> list[tuple[int, ...]]:
    """Return the shape of one sample for each input, sizes that are unknown as ``--shape`` says.

    Raises:
        HashBWNError: as :func:`random_inputs`.
    """
    wanted = [tuple(tensor.shape)[1:] for tensor in model.inputs]
    if shapes is None:
        if any(None in shape for shape in wanted):
            raise HashBWNError(
                f"The model takes inputs of any size {wanted}: give --data or --shape."
            )
        return wanted
    if len(shapes) != len(wanted):
        raise HashBWNError(
            f"--shape was given {len(shapes)} times and the model has {len(wanted)} inputs "
            f"{wanted}: give it once for each."
        )
    for shape, want in zip(shapes, wanted, strict=True):
        fits = len(shape) == len(want) and all(
            b in (None, a) for a, b in zip(shape, want, strict=True)
        )
        if not fits:
            given = ",".join(map(str, shape))
            raise HashBWNError(f"--shape {given} does not fit the model's input {want}: change it.")
    return [tuple(shape) for shape in shapes]
