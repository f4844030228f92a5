"""The hash solve in ``fit``: a model of HashBinary layers is solved when its training begins."""

import logging
import re
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.binarizer.binarize import binarize
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.kernels import float_form
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.rebuild import rebuild, same_layer
from hashbwn_keras.network.saving import get_recipe, set_recipe

_log = logging.getLogger("hashbwn_keras")


class HashSolve(tf_keras.callbacks.Callback):
    """Keras callback: solves the HashBinary layers when training begins, then lets it train.

    For a model that was built of HashBinary layers and took over the weights of a trained float
    network (``set_weights`` fits, in the same order). Without a solve its training would start at
    sign · mean (BWN); with it at what :func:`hashbwn_keras.binarize` finds. Codes and scales are in
    the latent kernels, so that the first step starts from the very accuracy of the solved network,
    and small float weights are the first to flip.

    A model that is solved already, by ``binarize`` or this callback, or was trained before
    (``optimizer.iterations`` > 0, as after ``BackupAndRestore``, which therefore comes first in the
    list of callbacks), is left alone. In a custom loop call :meth:`solve` before it. Under
    ``tf.distribute`` every replica takes the first worker's solution.

    Args:
        calibration_data: as for ``binarize``; images without labels.
        options: other arguments of ``binarize`` but ``filters`` and ``bits``: all HashBinary layers
            are solved, at the length of their own codes.
    """

    def __init__(self, calibration_data: Any = None, **options: Any) -> None:
        super().__init__()
        for name in ("filters", "bits"):
            if name in options:
                raise HashBWNError(
                    f"{name}={options[name]!r} makes no sense here: every HashBinary layer is "
                    "solved at its own bits, so use float layers where none is wanted."
                )
        self._data = calibration_data
        self._options = options

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Solve, unless the model is solved or trained already."""
        trained = self.model.optimizer is not None and self.model.optimizer.iterations.numpy() > 0
        if trained or get_recipe(self.model):
            _log.info("%s is solved or trained already: HashSolve leaves it.", self.model.name)
            return
        self.solve(self.model)

    def solve(self, model: tf_keras.Model) -> None:
        """Solve all HashBinary layers of ``model`` in place; other weights change as in repair.

        Raises:
            HashBWNError: no HashBinary layer, a layer that has nowhere to put the mean of its
                outputs, or anything that ``binarize`` refuses. The model is unchanged then.
        """
        network = Network.of(model)
        lengths = {network.labels[kernel.layer]: kernel.bits for kernel in network.kernels}
        if not lengths:
            raise HashBWNError(
                f"Model {model.name!r} has no HashBinary layer to solve: use "
                "hashbwn_keras.binarize(model, images) to get one that has."
            )
        bits = {f"^{re.escape(label)}$": length for label, length in lengths.items()}
        twin = _float_twin(network)
        solved = binarize(twin, self._data, filters=list(lengths), bits=bits, **self._options)
        weights = _weights_for(network, Network.of(solved))
        strategy = model.distribute_strategy
        for layer, values in weights:
            for variable, value in zip(layer.weights, values, strict=True):
                variable.assign(_of_first_worker(strategy, value))
        set_recipe(model, get_recipe(solved))


def _float_twin(network: Network) -> tf_keras.Model:
    """A copy of a model in which the latent kernels are the kernels."""
    binary = {kernel.layer for kernel in network.kernels}
    copy = rebuild(
        network, lambda layer: float_form(layer) if layer in binary else same_layer(layer)
    )
    for layer, twin in copy.twins.items():
        twin.set_weights(layer.get_weights())
    return copy.model


def _weights_for(network: Network, solved: Network) -> list[tuple[Layer, list]]:
    """The layers of a network with the weights they are to get."""
    pairs = []
    for layer, twin in network.twins_in(solved).items():
        values = twin.get_weights()
        if len(values) > len(layer.weights):
            raise HashBWNError(
                f"Layer {network.labels[layer]!r} has neither a bias nor a batch-norm behind it to "
                "take the mean of its outputs: give it use_bias=True, or HashSolve centred=False."
            )
        pairs.append((layer, values))
    return pairs


def _of_first_worker(strategy: tf.distribute.Strategy, value: np.ndarray) -> np.ndarray:
    """What the first worker has as ``value``: machines may round, and so solve, differently."""
    resolver = strategy.cluster_resolver
    if resolver is None or not strategy.extended._in_multi_worker_mode():
        return value
    mine = value if resolver.task_id == 0 else np.zeros_like(value)

    def contribution() -> tf.Tensor:
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return tf.where(first, mine, tf.zeros_like(mine))

    return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(contribution), axis=None)
