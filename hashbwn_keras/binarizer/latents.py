"""The variables behind quantized kernels while the codes of all layers are tuned together.

Codes move by the straight-through estimator (Bengio, Léonard, Courville, "Estimating or
propagating gradients through stochastic neurons", 2013) on latent weights u that are relative to
their channel's scale, w = α · level(u), so that one step size suits all layers; log α is a variable
of its own. With one bit, level(u) is the sign of u.
"""

import numpy as np
import tensorflow as tf

from hashbwn_keras.network.codes import BinaryKernel
from hashbwn_keras.network.latents import latent_kernel
from hashbwn_keras.network.quantizers import nearest_levels, top_level, with_exact_multiples
from hashbwn_keras.solver.hashing import MIN_SCALE

BEYOND = 0.5
"""Latent weights this far beyond the top level get no gradient that would take them further."""


class Latent:
    """The variables behind one quantized kernel: relative latent weights and log scales."""

    def __init__(self, kernel: BinaryKernel) -> None:
        self.kernel = kernel
        shape = [1 if a in kernel.axes else n for a, n in enumerate(kernel.variable.shape)]
        scale = np.maximum(kernel.codes().scales.reshape(shape), MIN_SCALE)
        self.relative = tf.Variable(kernel.latent() / scale)
        self.log_scale = tf.Variable(np.log(scale))

    def gradients(self, upstream: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of the two variables from that of the quantized kernel."""
        u, scale = self.relative, tf.exp(self.log_scale)
        outward = (tf.abs(u) > top_level(self.kernel.bits) + BEYOND) & (u * upstream < 0)
        return [
            tf.where(outward, 0.0, upstream * scale),
            tf.reduce_sum(upstream * self._levels(), self.kernel.axes, keepdims=True) * scale,
        ]

    def write(self) -> None:
        """Put the variables into the layer's latent kernel, such that it has their codes."""
        scale = tf.maximum(tf.exp(self.log_scale), MIN_SCALE)
        if self.kernel.bits > 1:
            scale = with_exact_multiples(scale, scale.dtype, self.kernel.bits)
            self.kernel.variable.assign(self._levels() * scale)
            return
        size = tf.maximum(tf.abs(self.relative), 1e-3)
        size /= tf.reduce_mean(size, self.kernel.axes, keepdims=True)
        self.kernel.variable.assign(self._levels() * size * scale)

    def finish(self) -> None:
        """Leave a latent kernel that training can go on from, with the same codes."""
        if self.kernel.bits > 1:
            kernel, scale = self.kernel, np.maximum(np.exp(self.log_scale.numpy()), MIN_SCALE)
            wanted = self.relative.numpy() * scale
            levels = self._levels().numpy()
            kernel.variable.assign(latent_kernel(levels, scale, wanted, kernel.axes, kernel.bits))

    def _levels(self) -> tf.Tensor:
        return nearest_levels(self.relative, self.kernel.bits)
