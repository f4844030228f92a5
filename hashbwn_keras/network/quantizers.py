"""The kernel quantizer ``hash_sign``: every weight becomes +α or −α, one α per output channel."""

from collections.abc import Sequence
from typing import Any

import larq as lq
import tensorflow as tf
import tf_keras


def hash_sign(x: tf.Tensor, axes: Sequence[int] | None = None) -> tf.Tensor:
    """Replace every weight by its sign times the scale of its output channel.

    ``q(x) = α · sign(x)`` with ``sign(0) = +1`` and ``α = mean|x|`` over ``axes``, which is the
    least-squares scale for the codes ``sign(x)`` (Rastegari et al., XNOR-Net, ECCV 2016). Where a
    channel is two-valued already, ``α = max|x|``: the mean of equal numbers is often off by a
    rounding error, and solved kernels have to come back bit for bit. A channel of zeros stays
    zero. The gradient is the identity (straight-through).

    Args:
        x: kernel, any float dtype.
        axes: the axes that share one α; all but the last when omitted, which suits kernels whose
            last axis is the output channel.

    Returns:
        Tensor of the shape and dtype of ``x``.
    """
    x = tf.convert_to_tensor(x)
    axes = tuple(range(len(x.shape) - 1)) if axes is None else tuple(axes)

    @tf.custom_gradient
    def quantize(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
        scale = hash_scale(x, axes)
        return tf.where(x >= 0, scale, -scale), lambda upstream: upstream

    return quantize(x)


def hash_scale(x: tf.Tensor, axes: Sequence[int]) -> tf.Tensor:
    """Return α of :func:`hash_sign`, in the dtype of ``x``, with size 1 in ``axes``."""
    # Half precision overflows in the sum, so the scale is worked out in float32 at least.
    magnitude = tf.abs(x if x.dtype.size >= 4 else tf.cast(x, tf.float32))
    largest = tf.reduce_max(magnitude, axes, keepdims=True)
    two_valued = tf.equal(largest, tf.reduce_min(magnitude, axes, keepdims=True))
    mean = tf.reduce_mean(magnitude, axes, keepdims=True)
    return tf.cast(tf.where(two_valued, largest, mean), x.dtype)


@lq.utils.register_alias("hash_sign")
@lq.utils.register_keras_custom_object
@tf_keras.utils.register_keras_serializable(package="hashbwn_keras")
class HashSign(lq.quantizers.Quantizer):
    """Stateless binary kernel quantizer, alias ``"hash_sign"``: see :func:`hash_sign`.

    The result of a hash solve is carried by the latent kernel alone (its signs are the codes, its
    mean magnitude per output channel is the scale), so no variable is added to the layer.

    Args:
        axes: the kernel axes that share one scale; all but the last when omitted. A depthwise
            kernel ``[height, width, channels, multiplier]`` needs ``axes=(0, 1)``, which
            :class:`hashbwn_keras.HashBinaryDepthwiseConv2D` sets.
        metrics: as Larq's quantizers take it: ``["flip_ratio"]`` adds the mean share of codes that
            change from step to step to the logs of training. Those of ``lq.context.metrics_scope``
            when omitted.
    """

    precision = 1

    def __init__(
        self,
        axes: Sequence[int] | None = None,
        metrics: Sequence[str] | None = None,
        **kwargs: Any,
    ):
        self.axes = None if axes is None else tuple(int(axis) for axis in axes)
        self.metric_names = lq.context.get_training_metrics() if metrics is None else metrics
        super().__init__(**kwargs)

    def build(self, input_shape: Any) -> None:
        """Make the variables of the metrics asked for; there are no others."""
        if "flip_ratio" in self.metric_names:
            self.flip_ratio = lq.metrics.FlipRatio(name=f"flip_ratio/{self.name}")
            self.flip_ratio.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return the two-valued kernel; shape and dtype as ``inputs``."""
        if hasattr(self, "flip_ratio"):
            # Of the codes: cast to int8, as the metric does, the kernel itself would be zeros.
            self.add_metric(self.flip_ratio(tf.where(inputs >= 0, 1, -1)))
        return hash_sign(inputs, self.axes)

    @property
    def non_trainable_weights(self) -> list[tf.Variable]:
        """Variables of metrics are none of the layer's weights, as in Larq's quantizers."""
        return []

    def reduction_axes(self, rank: int) -> tuple[int, ...]:
        """Return the axes that share one scale in a kernel of ``rank`` dimensions."""
        return tuple(range(rank - 1)) if self.axes is None else self.axes

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this quantizer again."""
        return {**super().get_config(), "axes": self.axes}


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
