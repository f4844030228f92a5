"""Where a layer keeps its kernels and their quantizers, and which class is its binary form.

:data:`TABLE` is the one place that knows; a new type of layer is a row of it.
"""

from dataclasses import dataclass
from typing import Any

import larq as lq
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network import layers as ours
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import is_normalisation
from hashbwn_keras.network.quantizers import HashSign

_L, _Q = tf_keras.layers, lq.layers


@dataclass(frozen=True)
class Place:
    """A kernel of a layer.

    Attributes:
        attribute: of the layer.
        argument: what the names of its arguments begin with, before ``_quantizer``,
            ``_constraint`` and ``_regularizer``.
        axes: the axes that share one scale; None for all but the last.
    """

    attribute: str
    argument: str
    axes: tuple[int, ...] | None = None

    @property
    def quantizer(self) -> str:
        """Where a Larq layer keeps the kernel's quantizer: argument and attribute."""
        return f"{self.argument}_quantizer"

    def arguments(self) -> tuple[str, ...]:
        """The arguments that change the kernel: quantizer, constraint and regularizer."""
        return self.quantizer, f"{self.argument}_constraint", f"{self.argument}_regularizer"

    def kernel(self, layer: Layer) -> tf.Variable | None:
        """The kernel, or None in a layer that has none here or is not built."""
        return getattr(layer, self.attribute, None)

    def quantizer_of(self, layer: Layer) -> Any:
        """The kernel's quantizer, or None."""
        return getattr(layer, self.quantizer, None)


KERNEL = Place("kernel", "kernel")
DEPTHWISE = Place("depthwise_kernel", "depthwise", ours.DEPTHWISE_AXES)
POINTWISE = Place("pointwise_kernel", "pointwise")
PLACES = (KERNEL, DEPTHWISE, POINTWISE)


@dataclass(frozen=True)
class Row:
    """A type of layer.

    Attributes:
        float_class: Keras's class; subclasses keep their kernels where it does.
        places: its kernels, in the order of use. The last is the one that becomes binary.
        larq_class: Larq's, None where we make none of it.
        binary_class: ours.
        transposed: whether a weight meets each position of the input, not of the output.
    """

    float_class: type
    places: tuple[Place, ...]
    larq_class: Any = None
    binary_class: Any = None
    transposed: bool = False


TABLE = (
    Row(_L.Conv2D, (KERNEL,), _Q.QuantConv2D, ours.HashBinaryConv2D),
    Row(_L.Dense, (KERNEL,), _Q.QuantDense, ours.HashBinaryDense),
    Row(_L.DepthwiseConv2D, (DEPTHWISE,), _Q.QuantDepthwiseConv2D, ours.HashBinaryDepthwiseConv2D),
    Row(
        _L.SeparableConv2D,
        (DEPTHWISE, POINTWISE),
        _Q.QuantSeparableConv2D,
        ours.HashBinarySeparableConv2D,
    ),
    Row(_L.Conv1D, (KERNEL,)),
    Row(_L.Conv3D, (KERNEL,)),
    Row(_L.DepthwiseConv1D, (DEPTHWISE,)),
    Row(_L.SeparableConv1D, (DEPTHWISE, POINTWISE)),
    Row(_L.Conv1DTranspose, (KERNEL,), transposed=True),
    Row(_L.Conv2DTranspose, (KERNEL,), transposed=True),
    Row(_L.Conv3DTranspose, (KERNEL,), transposed=True),
)
_ROW_OF = {row.float_class: row for row in TABLE}
_BINARY_ROW_OF = {
    known: row for row in TABLE if row.binary_class for known in (row.float_class, row.larq_class)
}


def row_of(layer: Layer) -> Row | None:
    """The row of the type of ``layer`` or of the next class that it is a subclass of."""
    return next((_ROW_OF[known] for known in type(layer).__mro__ if known in _ROW_OF), None)


def kernels_of(layer: Layer) -> list[tf.Variable]:
    """All kernels of a built layer of the table, [] of any other."""
    row = row_of(layer)
    found = [place.kernel(layer) for place in row.places] if row else []
    return [kernel for kernel in found if kernel is not None]


def kernel_of(layer: Layer) -> tf.Variable:
    """The kernel of a built layer that is binary in its binary form; its type has a row."""
    return kernels_of(layer)[-1]


def meets_inputs(layer: Layer) -> bool:
    """Whether each weight of ``layer`` meets every position of its input, not of its output."""
    row = row_of(layer)
    return row is not None and row.transposed


def has_kernel(layer: Layer) -> bool:
    """Whether ``layer`` multiplies by a matrix of weights, of the table or not."""
    if is_normalisation(layer) or isinstance(layer, _L.PReLU | _L.Embedding):
        return False
    return any(len(weight.shape) >= 2 for weight in layer.weights)


def has_quantizer(layer: Layer) -> bool:
    """Whether a kernel of ``layer`` is quantized, by whatever quantizer."""
    return any(place.quantizer_of(layer) is not None for place in PLACES)


def binary_places(layer: Layer) -> list[Place]:
    """The places of ``layer`` whose kernels are quantized by ``hash_sign``, built or not."""
    return [place for place in PLACES if isinstance(place.quantizer_of(layer), HashSign)]


def has_binary_form(layer: Layer) -> bool:
    """Whether :func:`binary_form` can make a binary layer of ``layer``.

    Subclasses such as ``Conv2DTranspose`` or a user's own compute something else, so the type has
    to match exactly.
    """
    return type(layer) in _BINARY_ROW_OF


def binary_form(layer: Layer, bits: int = 1) -> Layer:
    """Return a new, unbuilt HashBinary layer with the name and arguments of a float ``layer``.

    ``bits`` is the length of its codes.

    An input quantizer is kept. Constraint and regularizer of the kernel that becomes binary are
    left out: both would move the scales away from what was solved.

    Raises:
        HashBWNError: the layer's type has no binary form.
    """
    if not has_binary_form(layer):
        known = ", ".join(sorted({cls.__name__ for cls in _BINARY_ROW_OF}))
        raise HashBWNError(
            f"Layer {layer.name!r} is a {type(layer).__name__}, which has no binary form: "
            f"use one of {known}."
        )
    row = _BINARY_ROW_OF[type(layer)]
    config = layer.get_config()
    for argument in row.places[-1].arguments():
        config.pop(argument, None)
    return row.binary_class.from_config({**config, "bits": bits})


def float_form(layer: Layer) -> Layer:
    """Return a new, unbuilt Larq layer like ``layer`` whose kernel is not quantized.

    It is what :func:`binary_form` makes binary again; name, arguments and input quantizer are kept,
    constraint and regularizer of the kernel are not.

    Args:
        layer: a HashBinary layer, or a Larq layer with ``kernel_quantizer="hash_sign"``.
    """
    config = layer.get_config()
    for place in binary_places(layer):
        config.update(dict.fromkeys(place.arguments()))
    larq_class: Any = next(c for c in type(layer).__mro__ if c.__module__.startswith("larq."))
    return larq_class.from_config(config)


def unquantized_form(layer: Layer) -> Layer:
    """Return a new, unbuilt layer like ``layer`` without ``hash_sign``: it takes ±α as it is."""
    config = layer.get_config()
    config.update(dict.fromkeys(place.quantizer for place in binary_places(layer)))
    return type(layer).from_config(config)
