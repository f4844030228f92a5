"""1-bit weights beside 8-bit activations in tensorflow-model-optimization's aware training.

>>> from tensorflow_model_optimization.quantization.keras import quantize_apply
>>> annotated = hashbwn_keras.tfmot.quantize_annotate(binary_model)
>>> model = quantize_apply(annotated)      # train it, then convert it with TensorFlow's converter
"""

import warnings
from typing import Any

import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.kernels import Place, row_of
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.quantizers import HashSign, hash_scale, top_level

try:
    with warnings.catch_warnings():
        # It compares versions by distutils, which is not for its users to mend.
        warnings.simplefilter("ignore", DeprecationWarning)
        from tensorflow_model_optimization.quantization import keras as tfmot
except ImportError as error:
    raise ImportError(
        "hashbwn_keras.tfmot needs tensorflow-model-optimization: "
        'pip install "hashbwn_keras[tfmot]".'
    ) from error


@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashSignInt8(tfmot.quantizers.Quantizer):
    """``hash_sign`` on the grid of an int8 kernel.

    Convolutions have a step for each channel, α / 127, so that the value is that of
    :func:`hashbwn_keras.quantizers.hash_sign` to a unit in the last place. TFLite has one step for
    a Dense kernel, the largest α / 127, to which the scales are rounded. The gradient is the
    identity. There are no variables: the step follows the kernel, so that solved codes and loaded
    weights count at once and not only after a training step.

    Args:
        axes: the kernel axes that share one scale, see :class:`hashbwn_keras.quantizers.HashSign`.
        bits: of a weight.
    """

    def __init__(self, axes: Any = None, bits: int = 1):
        self.hash_sign = HashSign(axes, bits=bits)

    def build(self, tensor_shape: Any, name: str, layer: Layer) -> dict[str, tf.Variable]:
        """Return no variables."""
        del tensor_shape, name, layer
        return {}

    def __call__(
        self, inputs: tf.Tensor, training: Any, weights: dict[str, tf.Variable], **kwargs: Any
    ) -> tf.Tensor:
        """Return the quantized kernel; shape and dtype as ``inputs``."""
        del training, weights, kwargs
        kernel = tf.convert_to_tensor(inputs)
        axes = self.hash_sign.reduction_axes(len(kernel.shape))
        return _on_int8_grid(kernel, axes, self.hash_sign.bits)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this quantizer again."""
        longer = {} if self.hash_sign.bits == 1 else {"bits": self.hash_sign.bits}
        return {"axes": self.hash_sign.axes, **longer}


def _on_int8_grid(kernel: tf.Tensor, axes: tuple[int, ...], bits: int) -> tf.Tensor:
    @tf.custom_gradient
    def quantize(kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
        scale = hash_scale(kernel, axes, bits)
        # A sign by arithmetic: the converter has to fold this into a constant, and does not fold
        # what is much larger than its operands, as a choice by booleans is.
        sign = tf.sign(tf.sign(kernel) + 0.5)
        steps = tf.minimum(tf.math.divide_no_nan(tf.abs(kernel), 2 * scale), top_level(bits) // 2)
        binary = sign * scale * (2 * tf.floor(steps) + 1) if bits > 1 else sign * scale
        # So many steps to a level that all levels are on the grid.
        limit = tf.reshape(scale, [-1]) * (127 / (127 // top_level(bits)))
        return _fake_quantized(binary, limit), lambda upstream: upstream

    return quantize(kernel)


def _fake_quantized(binary: tf.Tensor, limit: tf.Tensor) -> tf.Tensor:
    """Round a kernel to multiples of ``limit`` [output channels] / 127."""
    dense = len(binary.shape) == 2
    if dense:
        # The converter cannot transpose a Dense kernel that has a step for each channel.
        limit = tf.reduce_max(limit)
    limit = tf.where(limit > 0, limit, tf.ones_like(limit))  # a range of zero has no step
    if dense:
        return tf.quantization.fake_quant_with_min_max_vars(
            binary, -limit, limit, num_bits=8, narrow_range=True
        )
    # The operator has a range for each entry of the last axis, of which depthwise kernels have two.
    columns = tf.reshape(binary, [*binary.shape[:2], -1, limit.shape[0]])
    columns = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        columns, -limit, limit, num_bits=8, narrow_range=True
    )
    return tf.reshape(columns, binary.shape)


@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashBinaryQuantizeConfig(tfmot.QuantizeConfig):
    """Tells tensorflow-model-optimization to give a layer a 1-bit kernel and an 8-bit output.

    For HashBinary layers and for Keras's own Conv2D, DepthwiseConv2D and Dense. Of the latter,
    those with a separate ReLU layer behind them lose any config of their own in ``quantize_apply``
    (its LayerReLUQuantize transform): use a HashBinary layer there, or ``activation="relu"``.

    Args:
        quantize_output: whether the layer's output, behind its activation, is rounded to 8 bits.
            False where batch-norm or ReLU follows that the converter fuses into the layer;
            :func:`quantize_annotate` sees to it.
    """

    def __init__(self, quantize_output: bool = True):
        self.quantize_output = quantize_output

    def get_weights_and_quantizers(self, layer: Layer) -> list[tuple[tf.Variable, HashSignInt8]]:
        """Return the kernel of ``layer`` with its quantizer.

        Raises:
            HashBWNError: no Conv2D, DepthwiseConv2D or Dense; a Dense of longer codes, whose
                scales have no common step.
        """
        place = place_of(layer)
        bits = getattr(place.quantizer_of(layer), "bits", 1)
        if bits > 1 and isinstance(layer, tf_keras.layers.Dense):
            raise HashBWNError(
                f"Layer {layer.name!r} is a Dense with {bits} bits a weight, for which TFLite has "
                "one step in all: give it 1 bit, or make it a 1 × 1 HashBinaryConv2D."
            )
        return [(place.kernel(layer), HashSignInt8(place.axes, bits))]

    def set_quantize_weights(self, layer: Layer, quantize_weights: list[tf.Tensor]) -> None:
        """Make ``layer`` compute with the quantized kernel."""
        setattr(layer, place_of(layer).attribute, quantize_weights[0])

    def get_activations_and_quantizers(self, layer: Layer) -> list[tuple[Any, Any]]:
        """Return the activation of ``layer`` with tfmot's 8-bit quantizer, if it has one."""
        if not self.quantize_output:
            return []
        return [(layer.activation, _eight_bits())]

    def set_quantize_activations(self, layer: Layer, quantize_activations: list[Any]) -> None:
        """Make ``layer`` use the quantized activation."""
        for activation in quantize_activations:
            layer.activation = activation

    def get_output_quantizers(self, layer: Layer) -> list[Any]:
        """Return none: the output is quantized with the activation."""
        del layer
        return []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this config again."""
        return {"quantize_output": self.quantize_output}


@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class OutputQuantizeConfig(tfmot.QuantizeConfig):
    """Tells tensorflow-model-optimization to round a layer's output to 8 bits and nothing else.

    Args:
        quantize_output: False leaves the output alone, too.
    """

    def __init__(self, quantize_output: bool = True):
        self.quantize_output = quantize_output

    def get_weights_and_quantizers(self, layer: Layer) -> list[Any]:
        """Return none."""
        del layer
        return []

    def set_quantize_weights(self, layer: Layer, quantize_weights: list[tf.Tensor]) -> None:
        """Do nothing."""
        del layer, quantize_weights

    def get_activations_and_quantizers(self, layer: Layer) -> list[Any]:
        """Return none."""
        del layer
        return []

    def set_quantize_activations(self, layer: Layer, quantize_activations: list[Any]) -> None:
        """Do nothing."""
        del layer, quantize_activations

    def get_output_quantizers(self, layer: Layer) -> list[Any]:
        """Return tfmot's 8-bit quantizer, unless told otherwise."""
        del layer
        return [_eight_bits()] if self.quantize_output else []

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this config again."""
        return {"quantize_output": self.quantize_output}


def _eight_bits() -> tfmot.quantizers.Quantizer:
    return tfmot.quantizers.MovingAverageQuantizer(
        num_bits=8, per_axis=False, symmetric=False, narrow_range=False
    )


def place_of(layer: Layer) -> Place:
    """Where a layer keeps the one kernel that becomes 1-bit.

    Raises:
        HashBWNError: no Conv2D, DepthwiseConv2D or Dense.
    """
    row = row_of(layer)
    if row is None or row.binary_class is None or len(row.places) > 1:
        raise HashBWNError(
            f"Layer {layer.name!r} is a {type(layer).__name__}, which HashBinaryQuantizeConfig has "
            "no 1-bit kernel for: use it with Conv2D, DepthwiseConv2D or Dense."
        )
    return row.places[-1]


def quantize_scope() -> Any:
    """Return tfmot's ``quantize_scope``: what Keras needs to load quantize-aware models."""
    return tfmot.quantize_scope()
