"""Both networks run on one batch, and what every matched layer gives in them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.network.batches import as_fed
from hashbwn_keras.network.kernels import meets_inputs
from hashbwn_keras.reporting.pairs import Pair

_HALF = (tf.float16, tf.bfloat16)
_Call = tuple[tf.Tensor, tf.Tensor]


def side_by_side(
    float_model: tf_keras.Model, binary_model: tf_keras.Model, pairs: list[Pair]
) -> Callable[[list[np.ndarray], int], Any]:
    """Return a compiled function: inputs -> outputs of both networks, moments and positions.

    Moments and positions are by name of the layer, of those that are called at all.

    Layers are overheard while the graph is traced, so the graph frees each activation as soon as
    its moments are known, and nested, shared and wrapped layers need no special case.
    """

    @tf.function(reduce_retracing=True)
    def step(inputs: list[tf.Tensor], images: tf.Tensor) -> Any:
        with _overheard([pair.wanted for pair in pairs]) as wanted:
            expected = _outputs(float_model, inputs)
        with _overheard([pair.got for pair in pairs]) as got:
            actual = _outputs(binary_model, inputs)
        # Images that only fill up the batch do not count.
        part = images, tf.shape(inputs[0])[0]
        moments, positions = {}, {}
        for pair in pairs:
            if not wanted[id(pair.wanted)] or not got[id(pair.got)]:
                continue
            data_format = getattr(pair.wanted, "data_format", None)
            a = _channel_rows([y for _, y in wanted[id(pair.wanted)]], data_format, part)
            b = _channel_rows([y for _, y in got[id(pair.got)]], data_format, part)
            # Each variance is taken about its mean, so nothing large is subtracted.
            moments[pair.name] = (
                tf.shape(a)[0],
                *tf.nn.moments(b - a, [0]),
                *tf.nn.moments(a, [0]),
            )
            # Every weight meets each output position once, in a transposed convolution each input.
            side = 0 if meets_inputs(pair.wanted) else 1
            met = [call[side] for call in wanted[id(pair.wanted)]]
            positions[pair.name] = tf.shape(_channel_rows(met, data_format, part))[0] // images
        return expected, actual, moments, positions

    def checked(inputs: list[np.ndarray], images: int) -> Any:
        return step([tf.constant(array) for array in inputs], tf.constant(images))

    return checked


def _outputs(model: tf_keras.Model, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
    """All outputs in inference mode; half precision becomes float32, which NumPy knows."""
    values = tf.nest.flatten(model(as_fed(model, inputs), training=False))
    return [tf.cast(y, tf.float32) if y.dtype in _HALF else y for y in values]


def _channel_rows(
    calls: list[tf.Tensor], data_format: str | None, part: tuple[tf.Tensor, tf.Tensor]
) -> tf.Tensor:
    """Return the outputs of all calls of a layer as one ``[images * positions, channels]``.

    Args:
        calls: what the layer gave, images or parts of them along the first axis.
        data_format: Keras's name for where the channels are.
        part: how many images, from the first, to keep of how many.
    """
    images, batch = part
    rows = []
    for x in calls:
        x = x[: tf.shape(x)[0] * images // batch]
        if data_format == "channels_first":
            x = tf.transpose(x, [0, *range(2, len(x.shape)), 1])
        rows.append(tf.cast(tf.reshape(x, [-1, x.shape[-1]]), tf.float32))
    return tf.concat(rows, 0)


@contextmanager
def _overheard(layers: list[tf_keras.layers.Layer]) -> Iterator[dict[int, list[_Call]]]:
    """Collect what ``layers`` get and return inside the block, by ``id`` of the layer.

    Calls inside a loop of the graph, as of a recurrent layer, are not heard: what they return is
    not known outside.
    """
    heard: dict[int, list[_Call]] = {id(layer): [] for layer in layers}
    graph = tf.compat.v1.get_default_graph()

    def listening(layer: tf_keras.layers.Layer, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = call(*args, **kwargs)
            if tf.compat.v1.get_default_graph() is graph:
                heard[id(layer)].append((args[0], result))
            return result

        return wrapper

    before = [(layer, vars(layer).get("call")) for layer in layers]
    for layer in layers:
        object.__setattr__(layer, "call", listening(layer, layer.call))
    try:
        yield heard
    finally:
        for layer, own_call in before:
            if own_call is None:
                object.__delattr__(layer, "call")
            else:
                object.__setattr__(layer, "call", own_call)
