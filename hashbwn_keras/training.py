"""Training a binary network: the hash solve in ``fit``, distillation, step sizes that work.

    binary = hashbwn_keras.binarize(model, images)
    trainer = hashbwn_keras.distil(binary, model)
    trainer.compile(hashbwn_keras.training.adam(epochs * len(batches)))
    trainer.fit(batches, epochs=epochs)                          # trains ``binary``

What was measured about it, and which other ways to solve while training did worse, is in
docs/training.md.
"""

import logging
from typing import Any

import numpy as np
import tensorflow as tf

from hashbwn_keras.binarize import binarize
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.graph import Layer, clone, is_softmax, same_layer
from hashbwn_keras.layers import binary_kernels, flat_layers, float_form
from hashbwn_keras.recipe import get_recipe, set_recipe

_log = logging.getLogger("hashbwn_keras")

TEMPERATURE = 4.0
RATE = 1e-3
"""Largest step of Adam. Latent weights are as large as the scales, some hundredths."""
WARM_UP = 0.05
"""Share of the steps in which the step size rises."""


class HashSolve(tf.keras.callbacks.Callback):
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
        options: other arguments of ``binarize`` but ``filters``: all HashBinary layers are solved.
    """

    def __init__(self, calibration_data: Any = None, **options: Any) -> None:
        super().__init__()
        if "filters" in options:
            raise HashBWNError(
                f"filters={options['filters']!r} makes no sense here: every HashBinary layer is "
                "solved, so use float layers where none is wanted."
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

    def solve(self, model: tf.keras.Model) -> None:
        """Solve all HashBinary layers of ``model`` in place; other weights change as in repair.

        Raises:
            HashBWNError: no HashBinary layer, a layer that has nowhere to put the mean of its
                outputs, or anything that ``binarize`` refuses. The model is unchanged then.
        """
        binary = {id(kernel.layer) for kernel in binary_kernels(model)}
        names = [name for name, layer in flat_layers(model) if id(layer) in binary]
        if not names:
            raise HashBWNError(
                f"Model {model.name!r} has no HashBinary layer to solve: use "
                "hashbwn_keras.binarize(model, images) to get one that has."
            )
        solved = binarize(_float_twin(model), self._data, filters=names, **self._options)
        weights = _weights_for(model, solved)
        strategy = model.distribute_strategy
        for layer, values in weights:
            for variable, value in zip(layer.weights, values, strict=True):
                variable.assign(_of_first_worker(strategy, value))
        set_recipe(model, get_recipe(solved))


def _float_twin(model: tf.keras.Model) -> tf.keras.Model:
    """A copy of ``model`` in which the latent kernels are the kernels."""
    binary = {id(kernel.layer) for kernel in binary_kernels(model)}

    def make(name: str, layer: Layer) -> Layer:
        return float_form(layer) if id(layer) in binary else same_layer(name, layer)

    twin = clone(model, make)
    twin.set_weights(model.get_weights())
    return twin


def _weights_for(model: tf.keras.Model, solved: tf.keras.Model) -> list[tuple[Layer, list]]:
    """The layers of ``model`` with the weights they are to get."""
    found = dict(flat_layers(solved))
    pairs = []
    for name, layer in flat_layers(model):
        values = found[name].get_weights()
        if len(values) > len(layer.weights):
            raise HashBWNError(
                f"Layer {name!r} has neither a bias nor a batch-norm behind it to take the mean of "
                "its outputs: give it use_bias=True, or HashSolve centred=False."
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


def distil(
    student: tf.keras.Model, teacher: tf.keras.Model, *, temperature: float = TEMPERATURE
) -> tf.keras.Model:
    """Return a model to ``compile`` and ``fit`` that trains ``student`` to follow ``teacher``.

    Its layers are the student's own, so training it trains the student, which is what is saved and
    exported. Inputs and outputs are the student's as well; the loss

        T² · mean KL(softmax(teacher / T), softmax(student / T))

    of Hinton, Vinyals, Dean ("Distilling the knowledge in a neural network", 2015) is added to
    whatever ``compile`` is given: nothing for training without labels, where ``fit`` takes images
    alone, or a loss of the labels. Outputs are taken for logits; probabilities, where the last
    layer is a softmax, are turned into logits first. Several outputs: the mean of their losses.

    Args:
        student: the network to be trained, for example from :func:`hashbwn_keras.binarize`.
        teacher: the float network, left as it is; a copy of it is used.
        temperature: T > 0; larger ones make more of the small probabilities.

    Returns:
        A functional model, which works under every ``tf.distribute`` strategy in whose scope it,
        student and teacher are made.

    Raises:
        HashBWNError: inputs or outputs that do not fit, or a temperature that is not positive.
    """
    if not temperature > 0:
        raise HashBWNError(f"temperature is {temperature}: give a number above 0, for example 4.")
    for what in ("input", "output"):
        sizes = [[tuple(t.shape) for t in getattr(m, what + "s")] for m in (student, teacher)]
        if sizes[0] != sizes[1]:
            raise HashBWNError(
                f"The student's {what}s {sizes[0]} are not the teacher's {sizes[1]}: distil from "
                "the network that the student was made of."
            )
    frozen = clone(teacher, same_layer)
    frozen.set_weights(teacher.get_weights())
    frozen.trainable = False
    trainer = tf.keras.Model(student.inputs, student.outputs, name=f"{student.name}_distilled")
    wanted = tf.nest.flatten(frozen(student.inputs, training=False))
    losses = [
        divergence(_logits(frozen, a, i), _logits(student, b, i), temperature)
        for i, (a, b) in enumerate(zip(wanted, student.outputs, strict=True))
    ]
    trainer.add_loss(tf.add_n(losses) / len(losses))
    return trainer


def _logits(model: tf.keras.Model, output: Any, index: int) -> Any:
    """An output of a model as logits."""
    if is_softmax(model.outputs[index].node.layer):
        return tf.math.log(tf.maximum(output, tf.keras.backend.epsilon()))
    return output


def divergence(wanted: Any, found: Any, temperature: float) -> Any:
    """Return the loss of :func:`distil`, a scalar, for logits ``[batch, ..., classes]``."""
    p, q = tf.nn.log_softmax(wanted / temperature), tf.nn.log_softmax(found / temperature)
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1))


def adam(steps: int, rate: float = RATE) -> tf.keras.optimizers.Optimizer:
    """Return Adam for training solved codes, its step size that of :func:`schedule`.

    There is no weight decay: shrinking latent weights shrinks the scales, and pushes codes towards
    flips that no gradient asked for.

    Args:
        steps: batches of the whole training.
        rate: largest step size.

    Raises:
        HashBWNError: no step, or a rate that is not positive.
    """
    return tf.keras.optimizers.Adam(schedule(steps, rate))


def schedule(steps: int, rate: float = RATE) -> tf.keras.optimizers.schedules.LearningRateSchedule:
    """Return step sizes for training solved codes: warm-up, then a cosine to 0 at the last step.

    Args:
        steps: batches of the whole training.
        rate: largest step size.

    Raises:
        HashBWNError: no step, or a rate that is not positive.
    """
    if steps < 1 or not rate > 0:
        raise HashBWNError(
            f"steps={steps} and rate={rate}: give 1 step or more and a rate above 0."
        )
    rise = min(max(1, round(WARM_UP * steps)), steps)
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=rate, warmup_steps=rise
    )
