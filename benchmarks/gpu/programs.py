"""Steps of hashbwn_keras as XLA programs, which run where XLA does: no TensorFlow needed there.

:func:`write` compiles nothing and changes nothing: it asks TensorFlow for what
``tf.function(jit_compile=True)`` would hand to XLA. Variables become arguments of the program, and
their new values results.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras

UNIT_RATE = 1.0


def learner(student: tf_keras.Model, teacher: tf_keras.Model | None) -> tf_keras.Model:
    """A compiled model whose ``train_step`` distils, or learns labels if there is no teacher.

    Its optimizer has a plain variable for the step size: whoever runs the program sets it.
    """
    loss = None
    if teacher:
        trainer = hk.distil(student, teacher)
    else:
        trainer = tf_keras.Model(student.inputs, student.outputs)
        loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    trainer.compile(tf_keras.optimizers.Adam(UNIT_RATE), loss)
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def write(
    trainer: tf_keras.Model,
    student: tf_keras.Model,
    batch: int,
    test_batch: int,
    folder: Path,
) -> list[Any]:
    """Write the training step and the logits of a model.

    Args:
        trainer: from :func:`learner`.
        student: the model that it trains.
        batch: images of a training step.
        test_batch: images of which logits are computed at a time.
        folder: where ``step.hlo``, ``logits.hlo`` and ``programs.json`` go.

    Returns:
        What the programs take besides images: variables, or tensors that never change.
    """
    shape = trainer.inputs[0].shape[1:]
    images = tf.TensorSpec((batch, *shape), tf.float32)
    labelled = trainer.loss is not None
    specs = [images, tf.TensorSpec((batch,), tf.int32)] if labelled else [images]

    def step(*data: tf.Tensor) -> None:
        trainer.train_step(data)

    def logits(images: tf.Tensor) -> tf.Tensor:
        return trainer(images, training=False)

    captured: list[Any] = []
    tested = tf.TensorSpec((test_batch, *shape), tf.float32)
    found = {
        "step": _program(step, specs, captured, folder / "step.hlo"),
        "logits": _program(logits, [tested], captured, folder / "logits.hlo"),
    }
    manifest = {
        "programs": found,
        "captured": [[list(c.shape), c.dtype.name] for c in captured],
        "rate": _position(captured, trainer.optimizer.learning_rate),
        "student": places(captured, student),
        "labelled": labelled,
    }
    (folder / "programs.json").write_text(json.dumps(manifest))
    return captured


def _program(
    function: Callable, specs: list[tf.TensorSpec], captured: list[Any], path: Path
) -> dict[str, Any]:
    """Write one program; returns how its arguments and results relate to what it captures."""
    compiled = tf.function(function, jit_compile=True, autograph=False)
    concrete = compiled.get_concrete_function(*specs)
    variables = {id(variable.handle): variable for variable in concrete.variables}
    takes = []
    for tensor in concrete.captured_inputs:
        value = variables[id(tensor)] if tensor.dtype == tf.resource else tensor
        if _position(captured, value) is None:
            captured.append(value)
        takes.append(_position(captured, value))
    lowered = compiled.experimental_get_compiler_ir(*specs)
    path.write_bytes(lowered(stage="hlo_serialized"))
    # "{1}: (7, {}, may-alias)": result 1 is the new value of argument 7.
    head = lowered(stage="hlo").split("\n", 1)[0]
    pairs = _aliases(head)
    first = len(specs)
    return {
        "arguments": [[list(s.shape), s.dtype.name] for s in specs],
        "takes": takes,
        "results": [[list(o.shape), o.dtype.name] for o in concrete.outputs],
        "updates": [takes[argument - first] for _, argument in sorted(pairs)],
    }


def _aliases(head: str) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in re.findall(r"\{(\d+)\}: \((\d+), \{\}", head)]


def _position(captured: list[Any], value: Any) -> int | None:
    same = (i for i, known in enumerate(captured) if _identity(known) is _identity(value))
    return next(same, None)


def _identity(value: Any) -> Any:
    """Variables come in wrappers (Larq's, for example), but have one handle."""
    return value.handle if hasattr(value, "handle") else value


def places(captured: list[Any], student: tf_keras.Model) -> list[int | None]:
    """Where the student's weights are among what the programs take."""
    return [_position(captured, weight) for weight in student.weights]


def values(captured: list[Any]) -> dict[str, np.ndarray]:
    """What the programs take at present, by position."""
    return {str(i): c.numpy() for i, c in enumerate(captured)}
