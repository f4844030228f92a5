"""The variables behind binary kernels while the codes of all layers are tuned together.

Codes move by the straight-through estimator (Bengio, Léonard, Courville, "Estimating or
propagating gradients through stochastic neurons", 2013) on latent weights u that are relative to
their channel's scale, w = α · sign(u), so that one step size suits all layers; log α is a variable
of its own.
"""

import numpy as np
import tensorflow as tf

from hashbwn_keras.network.codes import BinaryKernel
from hashbwn_keras.solver.hashing import MIN_SCALE

LATENT_LIMIT = 1.5
"""Latent weights beyond this get no gradient that would take them further."""


class Latent:
    """The variables behind one binary kernel: relative latent weights and log scales."""

    def __init__(self, kernel: BinaryKernel) -> None:
        self.kernel = kernel
        latent = kernel.latent()
        scale = np.abs(latent).mean(axis=kernel.axes, keepdims=True)
        self.relative = tf.Variable(latent / np.maximum(scale, MIN_SCALE))
        self.log_scale = tf.Variable(np.log(np.maximum(scale, MIN_SCALE)))

    def gradients(self, upstream: tf.Tensor) -> list[tf.Tensor]:
        """Gradients of the two variables from that of the binary kernel."""
        u, scale = self.relative, tf.exp(self.log_scale)
        outward = (tf.abs(u) > LATENT_LIMIT) & (u * upstream < 0)
        sign = tf.where(u >= 0, 1.0, -1.0)
        return [
            tf.where(outward, 0.0, upstream * scale),
            tf.reduce_sum(upstream * sign, self.kernel.axes, keepdims=True) * scale,
        ]

    def write(self) -> None:
        """Put the variables into the layer's latent kernel: signs and, as their mean, scales."""
        size = tf.maximum(tf.abs(self.relative), 1e-3)
        size /= tf.reduce_mean(size, self.kernel.axes, keepdims=True)
        scale = tf.maximum(tf.exp(self.log_scale), MIN_SCALE)
        sign = tf.where(self.relative >= 0, 1.0, -1.0)
        self.kernel.variable.assign(sign * size * scale)
