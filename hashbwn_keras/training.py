"""Training a binary network further: distillation from the float one, and step sizes that work.

    binary = hashbwn_keras.binarize(model, images)
    trainer = hashbwn_keras.distil(binary, model)
    trainer.compile(hashbwn_keras.training.adam(epochs * len(batches)))
    trainer.fit(batches, epochs=epochs)                          # trains ``binary``

What was measured about it is in docs/training.md.
"""

from typing import Any

import tensorflow as tf

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.graph import clone, same_layer

TEMPERATURE = 4.0
RATE = 1e-3
"""Largest step of Adam. Latent weights are as large as the scales, some hundredths."""
WARM_UP = 0.05
"""Share of the steps in which the step size rises."""


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
        _divergence(_logits(frozen, a, i), _logits(student, b, i), temperature)
        for i, (a, b) in enumerate(zip(wanted, student.outputs, strict=True))
    ]
    trainer.add_loss(tf.add_n(losses) / len(losses))
    return trainer


def _logits(model: tf.keras.Model, output: Any, index: int) -> Any:
    """An output of a model as logits."""
    layer = model.outputs[index].node.layer
    is_softmax = getattr(layer, "activation", None) is tf.keras.activations.softmax
    if is_softmax or isinstance(layer, tf.keras.layers.Softmax):
        return tf.math.log(tf.maximum(output, tf.keras.backend.epsilon()))
    return output


def _divergence(wanted: Any, found: Any, temperature: float) -> Any:
    p, q = tf.nn.log_softmax(wanted / temperature), tf.nn.log_softmax(found / temperature)
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1))


def adam(steps: int, rate: float = RATE) -> tf.keras.optimizers.Optimizer:
    """Return Adam for training solved codes: warm-up, then a cosine down to 0 at the last step.

    There is no weight decay: shrinking latent weights shrinks the scales, and pushes codes towards
    flips that no gradient asked for.

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
    schedule = tf.keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - rise), warmup_target=rate, warmup_steps=rise
    )
    return tf.keras.optimizers.Adam(schedule)
