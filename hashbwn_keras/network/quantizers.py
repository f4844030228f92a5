"""The kernel quantizer ``hash_sign``: every weight becomes an odd level times one α per channel.

With one bit the levels are ±1, with n bits ±1, ±3, … ±(2ⁿ − 1): n codes of ±1 a weight, weighted
by powers of two. It is the one form that solver, layers, files and kernels share.
"""

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import larq as lq
import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError

SHARE = {1: 1.0, 2: 0.62396, 3: 0.36722, 4: 0.21006}
"""α over the mean magnitude, by bits: the least-squares uniform quantizer of a Gaussian.

Half the step sizes of Max, "Quantizing for minimum distortion" (IRE Transactions, 1960, table II),
1.596, 0.9957, 0.5860 and 0.3352 standard deviations, over E|x| = √(2/π). At one bit it is exact for
every distribution.
"""


def check_bits(bits: Any) -> int:
    """Return ``bits`` if it is a length of code that there is.

    Raises:
        HashBWNError: it is not 1, 2, 3 or 4.
    """
    if isinstance(bits, bool) or not isinstance(bits, Integral) or bits not in SHARE:
        raise HashBWNError(f"bits={bits!r}: a code has 1, 2, 3 or 4 bits a weight.")
    return int(bits)


def top_level(bits: int) -> int:
    """The largest level of codes of ``bits`` bits: 2ⁿ − 1."""
    return 2**bits - 1


def hash_sign(x: tf.Tensor, axes: Sequence[int] | None = None, bits: int = 1) -> tf.Tensor:
    """Replace every weight by an odd level times the scale of its output channel.

    With one bit, ``q(x) = α · sign(x)`` with ``sign(0) = +1`` and ``α = mean|x|`` over ``axes``,
    which is the least-squares scale for the codes ``sign(x)`` (Rastegari et al., XNOR-Net, ECCV
    2016). With n bits, ``q(x) = α · level(x)``, the nearest of ±1, ±3, … ±(2ⁿ − 1) to ``x / α``,
    with ``α = mean|x|`` times :data:`SHARE`.

    Where a channel is made of such levels already, its own α is kept: the mean of equal numbers is
    often off by a rounding error, and solved kernels have to come back bit for bit. A channel of
    zeros stays zero. The gradient is the identity (straight-through).

    Args:
        x: kernel, any float dtype.
        axes: the axes that share one α; all but the last when omitted, which suits kernels whose
            last axis is the output channel.
        bits: codes a weight, 1 to 4.

    Returns:
        Tensor of the shape and dtype of ``x``.
    """
    x = tf.convert_to_tensor(x)
    axes = tuple(range(len(x.shape) - 1)) if axes is None else tuple(axes)

    @tf.custom_gradient
    def quantize(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        scale = hash_scale(x, axes, bits)
        if bits == 1:
            return tf.where(x >= 0, scale, -scale), lambda upstream: upstream
        levels = nearest_levels(tf.math.divide_no_nan(x, scale), bits)
        return scale * levels, lambda upstream: upstream

    return quantize(x)


def hash_levels(x: tf.Tensor, axes: Sequence[int], bits: int = 1) -> tf.Tensor:
    """Return the levels of :func:`hash_sign`, int8 of the shape of ``x``: ±1, ±3, …"""
    if bits > 1:
        x = tf.math.divide_no_nan(x, hash_scale(x, axes, bits))
    return tf.cast(nearest_levels(x, bits), tf.int8)


def nearest_levels(relative: tf.Tensor, bits: int) -> tf.Tensor:
    """Return the odd levels nearest to weights that are relative to their scale, same dtype."""
    # Cut off before the floor: far outside, half precision has no fractions left to count by.
    steps = tf.minimum(tf.abs(relative) / 2, (top_level(bits) - 1) / 2)
    levels = 2 * tf.floor(steps) + 1
    return tf.where(relative >= 0, levels, -levels)


def hash_scale(x: tf.Tensor, axes: Sequence[int], bits: int = 1) -> tf.Tensor:
    """Return α of :func:`hash_sign`, in the dtype of ``x``, with size 1 in ``axes``."""
    # Half precision overflows in the sum, so the scale is worked out in float32 at least.
    magnitude = tf.abs(x if x.dtype.size >= 4 else tf.cast(x, tf.float32))
    smallest = tf.reduce_min(magnitude, axes, keepdims=True)
    mean = tf.reduce_mean(magnitude, axes, keepdims=True)
    if bits == 1:
        two_valued = tf.equal(tf.reduce_max(magnitude, axes, keepdims=True), smallest)
        return tf.cast(tf.where(two_valued, smallest, mean), x.dtype)
    scale = with_exact_multiples(mean * SHARE[bits], x.dtype, bits)
    # Levels already? The smallest weight may be any level; among the α that fit, take the largest.
    for first in range(top_level(bits), 0, -2):
        candidate = smallest / first
        levels = tf.round(magnitude / candidate)
        fits = (levels * candidate == magnitude) & (levels % 2 == 1) & (levels <= top_level(bits))
        scale = tf.where(tf.reduce_all(fits, axes, keepdims=True), candidate, scale)
    return tf.cast(scale, x.dtype)


def with_exact_multiples(scale: tf.Tensor, dtype: tf.DType, bits: int) -> tf.Tensor:
    """Round ``scale`` so that every level times it is a number of ``dtype``, without rounding.

    That takes ``bits`` fewer binary digits than ``dtype`` has. Only then can a file or kernel
    multiply in any order, and a quantized kernel be recognised bit for bit.
    """
    digits = {tf.float16: 11, tf.bfloat16: 8}.get(dtype, 24)
    dropped = 24 - (digits - bits)
    number = tf.bitcast(tf.cast(scale, tf.float32), tf.int32)
    number = tf.bitwise.bitwise_and(number + 2 ** (dropped - 1), -(2**dropped))
    return tf.cast(tf.bitcast(number, tf.float32), scale.dtype)


@lq.utils.register_alias("hash_sign")
@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashSign(lq.quantizers.Quantizer):
    """Stateless kernel quantizer, alias ``"hash_sign"``: see :func:`hash_sign`.

    The result of a hash solve is carried by the latent kernel alone (its signs are the codes, its
    mean magnitude per output channel gives the scale), so no variable is added to the layer.

    Args:
        axes: the kernel axes that share one scale; all but the last when omitted. A depthwise
            kernel ``[height, width, channels, multiplier]`` needs ``axes=(0, 1)``, which
            :class:`hashbwn_keras.HashBinaryDepthwiseConv2D` sets.
        metrics: as Larq's quantizers take it: ``["flip_ratio"]`` adds the mean share of codes that
            change from step to step to the logs of training. Those of ``lq.context.metrics_scope``
            when omitted.
        bits: codes a weight, 1 to 4.

    Raises:
        HashBWNError: other bits.
    """

    def __init__(
        self,
        axes: Sequence[int] | None = None,
        metrics: Sequence[str] | None = None,
        bits: int = 1,
        **kwargs: Any,
    ):
        self.bits = check_bits(bits)
        self.axes = None if axes is None else tuple(int(axis) for axis in axes)
        self.metric_names = lq.context.get_training_metrics() if metrics is None else metrics
        super().__init__(**kwargs)

    @property
    def precision(self) -> int:
        """Bits a weight, for ``lq.models.summary``."""
        return self.bits

    def build(self, input_shape: Any) -> None:
        """Make the variables of the metrics asked for; there are no others."""
        if "flip_ratio" in self.metric_names:
            self.flip_ratio = lq.metrics.FlipRatio(name=f"flip_ratio/{self.name}")
            self.flip_ratio.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the quantized kernel; shape and dtype as ``inputs``."""
        if hasattr(self, "flip_ratio"):
            # Of the levels: cast to int8, as the metric does, the kernel itself would be zeros.
            axes = self.reduction_axes(len(inputs.shape))
            self.add_metric(self.flip_ratio(hash_levels(inputs, axes, self.bits)))
        return hash_sign(inputs, self.axes, self.bits)

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """Variables of metrics are none of the layer's weights, as in Larq's quantizers."""
        return []

    def reduction_axes(self, rank: int) -> tuple[int, ...]:
        """Return the axes that share one scale in a kernel of ``rank`` dimensions."""
        return tuple(range(rank - 1)) if self.axes is None else self.axes

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this quantizer again."""
        longer = {} if self.bits == 1 else {"bits": self.bits}
        return {**super().get_config(), "axes": self.axes, **longer}


@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class Unclipped(tf_keras.constraints.Constraint):
    """Kernel constraint of the HashBinary layers: leaves the latent weights as they are.

    Larq warns about a binary quantizer without a constraint, because weights beyond the clip value
    of its quantizers get no gradient any more. The gradient of :class:`HashSign` never vanishes,
    and clipping to a fixed value would change every scale above that value after one step.
    """

    def __call__(self, w: tf.Tensor) -> tf.Tensor:
        """Return ``w``."""
        return w
