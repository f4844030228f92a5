"""What Keras 3 has and Keras 2 lacks: activations and layers, registered so that models load.

Formulas are those of Keras 3 (``keras.activations``, ``keras.layers``), whose function
:func:`hard_sigmoid` is another one than that of Keras 2.
"""

from typing import Any

import larq as lq
import tensorflow as tf
import tf_keras

_register = tf_keras.utils.register_keras_serializable(package="hashbwn_keras")


def hard_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """``relu6(x + 3) / 6``; Keras 2 has ``clip(0.2 x + 0.5, 0, 1)`` under that name."""
    return tf.nn.relu6(x + 3.0) / 6.0


def hard_silu(x: tf.Tensor) -> tf.Tensor:
    """``x · hard_sigmoid(x)``."""
    return x * hard_sigmoid(x)


def log_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """``−log(1 + exp(−x))``."""
    return tf.math.log_sigmoid(x)


def celu(x: tf.Tensor, alpha: float = 1.0) -> tf.Tensor:
    """``max(x, 0) + α (exp(min(x, 0) / α) − 1)``."""
    return tf.maximum(x, 0.0) + alpha * tf.math.expm1(tf.minimum(x, 0.0) / alpha)


def glu(x: tf.Tensor, axis: int = -1) -> tf.Tensor:
    """One half of ``x`` times the sigmoid of the other."""
    value, gate = tf.split(x, 2, axis=axis)
    return value * tf.sigmoid(gate)


def hard_tanh(x: tf.Tensor) -> tf.Tensor:
    """``clip(x, −1, 1)``."""
    return tf.clip_by_value(x, -1.0, 1.0)


def hard_shrink(x: tf.Tensor, threshold: float = 0.5) -> tf.Tensor:
    """``x`` where its magnitude is above the threshold, 0 elsewhere."""
    return tf.where(tf.abs(x) > threshold, x, tf.zeros_like(x))


def soft_shrink(x: tf.Tensor, threshold: float = 0.5) -> tf.Tensor:
    """``x`` moved towards 0 by the threshold, at most to 0."""
    return tf.maximum(x - threshold, 0.0) + tf.minimum(x + threshold, 0.0)


def tanh_shrink(x: tf.Tensor) -> tf.Tensor:
    """``x − tanh(x)``."""
    return x - tf.tanh(x)


def squareplus(x: tf.Tensor, b: float = 4.0) -> tf.Tensor:
    """``(x + √(x² + b)) / 2``."""
    return (x + tf.sqrt(tf.square(x) + b)) / 2.0


def sparse_sigmoid(x: tf.Tensor) -> tf.Tensor:
    """``clip((x + 1) / 2, 0, 1)``."""
    return tf.clip_by_value((x + 1.0) / 2.0, 0.0, 1.0)


_FUNCTIONS = {
    f.__name__: f
    for f in (
        hard_sigmoid,
        hard_silu,
        log_sigmoid,
        celu,
        glu,
        hard_tanh,
        hard_shrink,
        soft_shrink,
        tanh_shrink,
        squareplus,
        sparse_sigmoid,
    )
}


@lq.utils.register_keras_custom_object
@_register
class Keras3Activation:
    """An activation function of Keras 3 by its name there.

    It is an object because Keras 2 cannot load functions of others from ``.h5`` files.

    Args:
        name: a key of :data:`ACTIVATIONS`.
    """

    def __init__(self, name: str):
        self.name = name

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        """Return the function's value for every value of ``x``."""
        return _FUNCTIONS[self.name](x)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this object again."""
        return {"name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Keras3Activation":
        """Build it again."""
        return cls(**config)


ACTIVATIONS = {name: Keras3Activation(name) for name in _FUNCTIONS}
"""By the name that Keras 3 gives them. Where Keras 2 has the same function, that one is used."""


@_register
class LayerScale(tf_keras.layers.Layer):
    """A gain for each channel, as in ConvNeXt.

    (Touvron et al., "Going deeper with image transformers", 2021.)

    Args:
        init_values: what the gains begin with.
        projection_dim: number of channels, the last axis.
    """

    def __init__(self, init_values: float, projection_dim: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.init_values, self.projection_dim = init_values, projection_dim

    def build(self, input_shape: Any) -> None:
        """Make the gains, float ``[projection_dim]``."""
        initializer = tf_keras.initializers.Constant(self.init_values)
        self.gamma = self.add_weight("gamma", (self.projection_dim,), initializer=initializer)
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return ``x · gamma``."""
        return x * self.gamma

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        own = {"init_values": self.init_values, "projection_dim": self.projection_dim}
        return {**super().get_config(), **own}


@_register
class StochasticDepth(tf_keras.layers.Layer):
    """Drops a whole sample in training, and nothing in inference.

    (Huang et al., "Deep networks with stochastic depth", 2016.)

    Args:
        drop_path_rate: probability of dropping, 0 to 1.
    """

    def __init__(self, drop_path_rate: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.drop_path_rate = drop_path_rate

    def call(self, x: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Return ``x``, in training with the dropped samples 0 and the others scaled up."""
        if not training:
            return x
        keep = 1.0 - self.drop_path_rate
        shape = (tf.shape(x)[0], *[1] * (len(x.shape) - 1))
        return x / keep * tf.floor(keep + tf.random.uniform(shape, dtype=x.dtype))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return {**super().get_config(), "drop_path_rate": self.drop_path_rate}


@_register
class RMSNormalization(tf_keras.layers.Layer):
    """``x / √(mean(x²) + ε) · scale``.

    (Zhang, Sennrich, "Root mean square layer normalization", 2019.)

    Args:
        axis: axis or axes of the mean.
        epsilon: ε.
    """

    def __init__(self, axis: Any = -1, epsilon: float = 1e-6, **kwargs: Any):
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def build(self, input_shape: Any) -> None:
        """Make the gains, in the shape of the axes of the mean."""
        axes = [self.axis] if isinstance(self.axis, int) else list(self.axis)
        shape = [input_shape[axis] for axis in axes]
        self.scale = self.add_weight("scale", shape, initializer="ones")
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Return the normalised values."""
        power = tf.reduce_mean(tf.square(x), axis=self.axis, keepdims=True)
        return x * tf.math.rsqrt(power + self.epsilon) * self.scale

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


@_register
class Einsum(tf_keras.layers.Layer):
    """``tf.einsum``, which as an operation in a graph cannot be saved by Keras 2.

    Args:
        equation: as NumPy takes it.
    """

    def __init__(self, equation: str, **kwargs: Any):
        super().__init__(**kwargs)
        self.equation = equation

    def call(self, inputs: list[tf.Tensor]) -> tf.Tensor:
        """Return the sum of products."""
        return tf.einsum(self.equation, *inputs)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return {**super().get_config(), "equation": self.equation}


LAYERS = {cls.__name__: cls for cls in (LayerScale, StochasticDepth, RMSNormalization)}
"""By the name of the class in Keras 3."""
