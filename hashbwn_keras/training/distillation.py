"""Distillation: a binary network is trained to follow the float one, without labels."""

from typing import Any

import tensorflow as tf
import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network
from hashbwn_keras.network.keras3 import is_keras3, to_keras2
from hashbwn_keras.network.layer_kinds import is_softmax
from hashbwn_keras.network.rebuild import copy_of

TEMPERATURE = 4.0


def distil(
    student: tf_keras.Model, teacher: tf_keras.Model, *, temperature: float = TEMPERATURE
) -> tf_keras.Model:
    """Return a model to ``compile`` and ``fit`` that trains ``student`` to follow ``teacher``.

    Its layers are the student's own, so training it trains the student, which is what is saved and
    exported. Inputs and outputs are the student's as well; the loss

        T² · mean KL(softmax(teacher / T), softmax(student / T))

    of Hinton, Vinyals, Dean ("Distilling the knowledge in a neural network", 2015) is added to
    whatever ``compile`` is given: nothing for training without labels, where ``fit`` takes images
    alone, or a loss of the labels. Outputs are taken for logits; probabilities, where the last
    layer is a softmax, are turned into logits first. Several outputs: the mean of their losses, of
    which integers, booleans and inputs that are passed through have none.

    Args:
        student: the network to be trained, for example from :func:`hashbwn_keras.binarize`.
        teacher: the float network, left as it is; a copy of it is used.
        temperature: T > 0; larger ones make more of the small probabilities.

    Returns:
        A functional model, which works under every ``tf.distribute`` strategy in whose scope it,
        student and teacher are made.

    Raises:
        HashBWNError: inputs or outputs that do not fit, no output of real numbers, a temperature
            that is not positive, or networks that are no Keras 2 graphs.
    """
    if is_keras3(student):
        raise HashBWNError(
            f"The student {student.name!r} is a Keras 3 model, of which only a copy could be "
            "trained: give what hashbwn_keras.binarize or hashbwn_keras.to_keras2 returned."
        )
    teacher = to_keras2(teacher)
    if not temperature > 0:
        raise HashBWNError(f"temperature is {temperature}: give a number above 0, for example 4.")
    for what in ("input", "output"):
        sizes = [[tuple(t.shape) for t in getattr(m, what + "s")] for m in (student, teacher)]
        if sizes[0] != sizes[1]:
            raise HashBWNError(
                f"The student's {what}s {sizes[0]} are not the teacher's {sizes[1]}: distil from "
                "the network that the student was made of."
            )
    network = Network.of(teacher)
    frozen = copy_of(network).model
    frozen.trainable = False
    trainer = tf_keras.Model(student.inputs, student.outputs, name=f"{student.name}_distilled")
    wanted = tf.nest.flatten(frozen(student.inputs, training=False))
    losses = [
        divergence(_logits(frozen, a, i), _logits(student, b, i), temperature)
        for i, (a, b) in enumerate(zip(wanted, student.outputs, strict=True))
        if b.dtype.is_floating and network.outputs[i] in network.makers
    ]
    if not losses:
        raise HashBWNError(
            f"No output of {teacher.name!r} is computed and of real numbers, "
            f"{[t.dtype.name for t in teacher.outputs]}: cut both networks before their argmax, "
            "for example tf_keras.Model(model.inputs, logits)."
        )
    trainer.add_loss(tf.add_n(losses) / len(losses))
    return trainer


def _logits(model: tf_keras.Model, output: Any, index: int) -> Any:
    """An output of a model as logits."""
    if is_softmax(model.outputs[index].node.layer):
        return tf.math.log(tf.maximum(output, tf_keras.backend.epsilon()))
    return output


def divergence(wanted: Any, found: Any, temperature: float) -> Any:
    """Return the loss of :func:`distil`, a scalar, for logits ``[batch, ..., classes]``."""
    p, q = tf.nn.log_softmax(wanted / temperature), tf.nn.log_softmax(found / temperature)
    return temperature**2 * tf.reduce_mean(tf.reduce_sum(tf.exp(p) * (p - q), axis=-1))
