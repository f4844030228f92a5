"""Time of a training step of HashBinary layers over that of larq's ``ste_sign``.

    python benchmarks/qat_step.py

The same networks twice, once of Larq layers with ``ste_sign`` kernels, clipped as Larq advises, and
once of HashBinary layers under ``HashSolve``, which works before the first step and adds nothing to
it. First and last layer are float in both. Steps alternate in blocks, so that what else the machine
does hits both; CPU time counts all threads of the process and so hardly sees the others.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import hashbwn_keras as hk

# isort: split
import larq as lq
import numpy as np
import tensorflow as tf
import tf_keras

from hashbwn_keras.files import atomic_write

layers = tf_keras.layers
Make = Callable[..., layers.Layer]


def normed(y: tf.Tensor) -> tf.Tensor:
    return layers.BatchNormalization()(y)


def resnet20(conv: Make, dense: Make) -> tf_keras.Model:
    """He's ResNet-20 for 32 × 32 images."""
    del dense
    x = tf_keras.Input((32, 32, 3))
    y = layers.ReLU()(normed(layers.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    for stage, width in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            z = conv(width, 3, strides=stride, padding="same", use_bias=False)(y)
            z = normed(conv(width, 3, padding="same", use_bias=False)(layers.ReLU()(normed(z))))
            if stride == 2:
                y = normed(conv(width, 1, strides=2, use_bias=False)(y))
            y = layers.ReLU()(layers.Add()([y, z]))
    return tf_keras.Model(x, layers.Dense(10)(layers.GlobalAveragePooling2D()(y)))


def vgg9(conv: Make, dense: Make) -> tf_keras.Model:
    """BinaryConnect's network for CIFAR-10, 14 M weights."""
    x = tf_keras.Input((32, 32, 3))
    y = layers.ReLU()(normed(layers.Conv2D(128, 3, padding="same", use_bias=False)(x)))
    for i, width in enumerate((128, 256, 256, 512, 512)):
        y = conv(width, 3, padding="same", use_bias=False)(y)
        y = layers.MaxPooling2D()(y) if i % 2 == 0 else y
        y = layers.ReLU()(normed(y))
    y = layers.Flatten()(y)
    for _ in range(2):
        y = layers.ReLU()(normed(dense(1024, use_bias=False)(y)))
    return tf_keras.Model(x, layers.Dense(10)(y))


NETS = {"ResNet-20": (resnet20, 128), "VGG9": (vgg9, 32)}


def ste_sign(layer: type) -> Make:
    """Larq's layer as its own examples use it."""

    def make(*args: object, **kwargs: object) -> layers.Layer:
        options = {"kernel_quantizer": "ste_sign", "kernel_constraint": "weight_clip"}
        return layer(*args, **options, **kwargs)

    return make


def stepper(model: tf_keras.Model, batch: int) -> Callable[[int], tuple[float, float]]:
    """A function that trains so many steps and returns wall-clock and CPU seconds of one."""
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf_keras.optimizers.Adam(1e-3), loss)
    rng = np.random.default_rng(0)
    x = tf.constant(rng.normal(size=(batch, 32, 32, 3)).astype(np.float32))
    y = tf.constant(rng.integers(0, 10, batch))
    function = model.make_train_function()

    def run(steps: int) -> tuple[float, float]:
        data = iter(tf.data.Dataset.from_tensors((x, y)).repeat())
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(steps):
            function(data)
        return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps

    return run


def measure(name: str, rounds: int, steps: int) -> dict[str, object]:
    """Medians of both, and of the ratios of the rounds with their quartiles."""
    build, batch = NETS[name]
    theirs = build(ste_sign(lq.layers.QuantConv2D), ste_sign(lq.layers.QuantDense))
    ours = build(hk.HashBinaryConv2D, hk.HashBinaryDense)
    runs = {"ste_sign": stepper(theirs, batch), "hash_sign": stepper(ours, batch)}
    for run in runs.values():
        run(2)  # traces the graph
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in runs}
    for index in range(rounds):
        order = list(runs) if index % 2 else list(reversed(runs))
        for kind in order:
            times[kind].append(runs[kind](steps))
    result: dict[str, object] = {"batch": batch, "rounds": rounds, "steps": steps}
    for position, clock in enumerate(("wall", "cpu")):
        columns = {kind: [t[position] for t in found] for kind, found in times.items()}
        result[clock] = {kind: statistics.median(column) for kind, column in columns.items()}
        pairs = zip(columns["hash_sign"], columns["ste_sign"], strict=True)
        low, middle, high = statistics.quantiles([a / b for a, b in pairs], n=4)
        result[clock] |= {"ratio": middle, "quartiles": [low, high]}
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=1, help="steps of a net at a time")
    parser.add_argument("--json", type=Path, default=Path(__file__).with_suffix(".json"))
    arguments = parser.parse_args()
    found = {name: measure(name, arguments.rounds, arguments.steps) for name in arguments.nets}
    print("| | batch | clock | ste_sign, s | hash_sign, s | ratio (quartiles) |")
    print("|---|---|---|---|---|---|")
    for name, result in found.items():
        for clock in ("wall", "cpu"):
            r = result[clock]
            low, high = r["quartiles"]
            print(
                f"| {name} | {result['batch']} | {clock} | {r['ste_sign']:.3f} | "
                f"{r['hash_sign']:.3f} | {r['ratio']:.3f} ({low:.3f} to {high:.3f}) |"
            )
    atomic_write(arguments.json, (json.dumps(found, indent=1) + "\n").encode(), overwrite=True)


if __name__ == "__main__":
    main()
