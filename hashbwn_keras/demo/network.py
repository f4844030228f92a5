"""The small VGG that the demo trains."""

import sys

import numpy as np
import tf_keras
from tqdm import tqdm

_BATCH = 64
_STEP = 2e-3
_MOMENTUM = 0.9  # of the batch-norms: a short training leaves slower averages behind


def vgg(input_shape: tuple[int, ...], classes: int) -> tf_keras.Model:
    """Return an untrained VGG with batch-norm: two blocks of two convolutions, average, two Dense.

    Args:
        input_shape: height, width and channels.
        classes: units of the last layer, which gives logits.
    """
    layers = tf_keras.layers
    x = inputs = layers.Input(input_shape)
    for block, filters in enumerate((32, 64), start=1):
        for i in (1, 2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{block}_{i}")(
                x
            )
            x = layers.BatchNormalization(momentum=_MOMENTUM, name=f"norm{block}_{i}")(x)
            x = layers.ReLU(name=f"relu{block}_{i}")(x)
        x = layers.MaxPool2D(name=f"pool{block}")(x)
    x = layers.GlobalAveragePooling2D(name="average")(x)
    x = layers.Dense(128, use_bias=False, name="hidden")(x)
    x = layers.BatchNormalization(momentum=_MOMENTUM, name="norm_hidden")(x)
    x = layers.ReLU(name="relu_hidden")(x)
    return tf_keras.Model(inputs, layers.Dense(classes, name="logits")(x), name="demo_vgg")


def train(model: tf_keras.Model, images: np.ndarray, labels: np.ndarray, epochs: int) -> None:
    """Train with Adam and a cosine schedule; progress goes to stderr.

    Args:
        model: gives logits; it is changed.
        images: ``[n, ...]`` as the model takes them.
        labels: class numbers ``[n]``.
        epochs: passes over the images.
    """
    steps = epochs * -(-len(images) // _BATCH)
    schedule = tf_keras.optimizers.schedules.CosineDecay(_STEP, steps)
    # A second view of the same layers keeps the optimizer's state out of the saved model.
    trainer = tf_keras.Model(model.inputs, model.outputs)
    trainer.compile(
        tf_keras.optimizers.Adam(schedule),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    with tqdm(total=steps, desc="Training", unit="step", file=sys.stderr, disable=None) as bar:
        step = tf_keras.callbacks.LambdaCallback(
            on_batch_end=lambda _, logs: bar.update() or bar.set_postfix(loss=f"{logs['loss']:.3f}")
        )
        trainer.fit(images, labels, _BATCH, epochs, verbose=0, callbacks=[step])
