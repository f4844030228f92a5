"""Ways to use the hash solve in training, at equal budget: VGG9, CIFAR-10, distillation.

    python examples/vgg9_cifar.py --output vgg9 --width 0.125 --augment --epochs 60 --further 0
    python benchmarks/qat_readings.py --floats vgg9 --json qat_readings.json

All start from the same binarised network and train two epochs by Adam, warm-up and cosine:

start    nothing more is solved: straight-through training of what ``binarize`` found
match    the hash's objective as a loss: layers are to keep the float network's outputs, behind
         their batch-norms, as well as the last one
resolve  every half epoch each layer's codes are solved again, from the present ones by best single
         flips, to give the float network's outputs on the layer's present inputs
project  the trained weights V are real; what the network computes with are the codes closest to V
         in the metric of the layer's inputs, kept up to date by best single flips every 10 steps
relax    as project, but from the float weights, and the network computes with V + s (α B − V)
         where s rises from 0 to 1 over the first 60 % of the steps

The last tenth of the training images, which the float networks have not seen, judges. The first
seed tries all step sizes of a way, the others take the best, or every seed those of --rates. Test
accuracy is printed beside; nothing was chosen by it.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import hashbwn_keras as hk

# isort: split
import numpy as np
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from hashbwn_keras.demo import datasets
from hashbwn_keras.files import atomic_write
from hashbwn_keras.network.codes import binary_kernels
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.network.kernels import float_form
from hashbwn_keras.network.layer_kinds import is_batch_norm
from hashbwn_keras.network.rebuild import clone, same_layer
from hashbwn_keras.solver.moments import Moments
from hashbwn_keras.training.distillation import TEMPERATURE, divergence

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from ablation import Batches, Score, padded
from training_helper import bfloat16
from vgg9_cifar import HELD_OUT, SHIFT, normalisation

FLIP_EVERY = 10
METRIC_IMAGES = 2048
RESOLVE_IMAGES = 8192
RIDGE = 0.1  # of the mean variance, added to the metric
MATCH_WEIGHT = 1.0  # of the layers' mean relative error, beside the divergence of the outputs
OTHERS_RATE = 1e-3  # step size of what is not a binary kernel, where that has one of its own


class Case(NamedTuple):
    """What a run starts from, and how long it trains.

    Attributes:
        path: file of the float network.
        solved: file of the binarised one.
        images: what is trained on.
        rate: largest step of the binary kernels' variables.
        epochs: how many.
        seed: of the order of the images.
    """

    path: Path
    solved: Path
    images: np.ndarray
    rate: float
    epochs: int
    seed: int


class Start:
    """Straight-through training: the latent kernels are the variables."""

    RATES = (3e-4, 1e-3, 3e-3)

    def __init__(self, case):
        self.model, self.images, self.rate = hk.load_model(case.solved), case.images, case.rate
        self.others_rate = case.rate
        self.kernels = binary_kernels(self.model)
        self.float_model, self.steps = hk.load_model(case.path), 0
        self.geometries = [patch_geometry(kernel.layer) for kernel in self.kernels]
        self._seen = tf_keras.Model(self.model.inputs, [k.layer.input for k in self.kernels])

    def loss(self, x):
        """What is minimised: the divergence of the outputs."""
        wanted = self.float_model(x, training=False)
        return divergence(wanted, self.model(x, training=True), TEMPERATURE)

    def moved(self, gradients):
        """Pairs of gradients and variables, from the gradients of the kernels."""
        return list(zip(gradients, (k.variable for k in self.kernels), strict=True))

    def before(self, number):
        """Called before step ``number`` of ``self.steps``."""

    def result(self):
        """The binary network."""
        return self.model

    def moments(self, images, targets=None):
        """Centred moments of every layer's present inputs, and outputs if ``targets`` are given."""
        inputs = self._seen.predict(images, batch_size=128, verbose=0)
        found = []
        for i, geometry in enumerate(self.geometries):
            outputs = self.kernels[i].layer(inputs[i]).numpy() if targets is None else targets[i]
            moments = Moments(geometry, len(images), seed=0)
            moments.update(inputs[i], outputs)
            found.append(moments.statistics(centred=True))
        return found


class Match(Start):
    """Layers are to keep their outputs as well."""

    def __init__(self, case):
        super().__init__(case)
        norms = [layer.name for layer in self.model.layers if is_batch_norm(layer)]
        self._ends = [
            tf_keras.Model(m.inputs, [*(m.get_layer(name).output for name in norms), m.output])
            for m in (self.float_model, self.model)
        ]

    def loss(self, x):
        *wanted, last = self._ends[0](x, training=False)
        *found, end = self._ends[1](x, training=True)
        errors = [
            tf.reduce_mean((a - b) ** 2) / tf.math.reduce_variance(a)
            for a, b in zip(wanted, found, strict=True)
        ]
        return divergence(last, end, TEMPERATURE) + MATCH_WEIGHT * tf.add_n(errors) / len(errors)


class Resolve(Start):
    """Codes are solved again for the float network's outputs."""

    def before(self, number):
        if number == 0 or number % (self.steps // 4) or number > 0.9 * self.steps:
            return
        chosen = np.random.default_rng(number).integers(0, len(self.images), RESOLVE_IMAGES)
        layers = {layer.name: layer for layer in self.float_model.layers}
        wanted = [layers[kernel.name].output for kernel in self.kernels]
        teacher = tf_keras.Model(self.float_model.inputs, wanted)
        targets = teacher.predict(self.images[chosen], batch_size=128, verbose=0)
        statistics = self.moments(self.images[chosen], targets)
        for kernel, geometry, found in zip(self.kernels, self.geometries, statistics, strict=True):
            latent = geometry.split_kernel(kernel.latent())[0]
            gram = _damped(found.gram[0], found.damping)
            before = np.where(latent >= 0, 1.0, -1.0)
            codes, _ = flips(gram, found.cross[0], before, 40)
            size = np.abs(latent)
            size = np.where(codes != before, np.minimum(size, 0.3 * size.mean(axis=0)), size)
            size *= np.abs(latent).mean(axis=0) / size.mean(axis=0)
            kernel.variable.assign(geometry.join_kernel((codes * size)[None]).astype(np.float32))


class Project(Start):
    """The network computes with the hash of real-valued weights."""

    RATES = (3e-3, 1e-2, 3e-2)  # of weights in units of their scale

    def __init__(self, case):
        super().__init__(case)
        self.others_rate = OTHERS_RATE
        solved = [kernel.codes() for kernel in self.kernels]
        self.codes = [tf.Variable(s.codes.astype(np.float32)) for s in solved]
        self.target = [tf.Variable(codes) for codes in self.codes]  # in units of the scale
        self.log_scales = [tf.Variable(np.log(s.scales)) for s in solved]

    def moved(self, gradients):
        pairs = []
        for i, upstream in enumerate(gradients):
            scale = tf.exp(self.log_scales[i])
            axes = self.kernels[i].axes
            of_scale = tf.reduce_sum(upstream * self.codes[i], axes) * scale
            pairs += [(upstream * scale, self.target[i]), (of_scale, self.log_scales[i])]
        return pairs

    def before(self, number):
        if number % (self.steps // 4) == 0:
            found = self.moments(self.images[:METRIC_IMAGES])
            self.metric = [_damped(each.gram[0], RIDGE) for each in found]
        if number % FLIP_EVERY == 0:
            for i, geometry in enumerate(self.geometries):
                target = geometry.split_kernel(self.target[i].numpy())[0]
                codes = geometry.split_kernel(self.codes[i].numpy())[0]
                codes = nearest(self.metric[i], target, codes, 50)
                self.codes[i].assign(geometry.join_kernel(codes[None]).astype(np.float32))
        for kernel, codes, scale in zip(self.kernels, self.codes, self.log_scales, strict=True):
            kernel.variable.assign(codes * tf.exp(scale))


class Relax(Start):
    """From the float weights to their hash little by little."""

    def __init__(self, case):
        super().__init__(case)
        self.binary, self.solved = self.model, [kernel.codes() for kernel in self.kernels]
        self.model = clone(self.binary, _float_layer)
        for layer in self.float_model.layers:  # layers got biases where no batch-norm follows
            weights = layer.get_weights()
            missing = self.model.get_layer(layer.name).get_weights()[len(weights) :]
            self.model.get_layer(layer.name).set_weights(weights + [0 * bias for bias in missing])
        self.layers = [self.model.get_layer(kernel.name) for kernel in self.kernels]
        self._seen = tf_keras.Model(self.model.inputs, [layer.input for layer in self.layers])
        self.target = [tf.Variable(layer.kernel) for layer in self.layers]
        self.codes = [s.codes.astype(np.float32) for s in self.solved]
        self.scales = [s.scales for s in self.solved]

    def moved(self, gradients):
        return list(zip(gradients, self.target, strict=True))

    def before(self, number):
        if number % 100 == 0:
            self.metric = [
                _damped(s.gram[0], RIDGE) for s in self.moments(self.images[:METRIC_IMAGES])
            ]
        if number % FLIP_EVERY == 0 and 0 < number < 0.9 * self.steps:
            for i, geometry in enumerate(self.geometries):
                target = geometry.split_kernel(self.target[i].numpy())[0]
                codes = geometry.split_kernel(self.codes[i])[0]
                cross = self.metric[i] @ target
                codes, self.scales[i] = flips(self.metric[i], cross, codes, 40, least=1e-3)
                self.codes[i] = geometry.join_kernel(codes[None])
        share = min(1.0, number / (0.6 * self.steps))
        for layer, target, codes, scale in zip(
            self.layers, self.target, self.codes, self.scales, strict=True
        ):
            mixed = target.numpy() + share * (codes * scale - target.numpy())
            layer.kernel.assign(mixed.astype(np.float32))

    def result(self):
        for kernel, codes, scale in zip(self.kernels, self.codes, self.scales, strict=True):
            twin = self.model.get_layer(kernel.name)
            twin.kernel.assign((codes * scale).astype(np.float32))
        self.binary.set_weights(self.model.get_weights())
        return self.binary


def _float_layer(layer):
    return float_form(layer) if binary_kernels(layer) else same_layer(layer)


WAYS = {"start": Start, "match": Match, "resolve": Resolve, "project": Project, "relax": Relax}


def flips(gram, cross, codes, most, least=1e-4):
    """Best single flips of J = (g·b)² / bᵀGb, at most ``most`` a channel; codes and scales."""
    b, diagonal = codes.copy(), np.diag(gram)[:, None]
    r = gram @ b
    p, q = (cross * b).sum(axis=0), (b * r).sum(axis=0)
    for _ in range(most):
        J = p * p / q
        p_new, q_new = p - 2 * b * cross, q - 4 * b * r + 4 * diagonal
        gain = np.where(p_new > 0, p_new * p_new / q_new, 0) - J
        j = gain.argmax(axis=0)
        channel = np.flatnonzero(gain[j, np.arange(len(J))] > least * J)
        if not len(channel):
            break
        j = j[channel]
        p[channel], q[channel] = p_new[j, channel], q_new[j, channel]
        r[:, channel] -= gram[:, j] * (2 * b[j, channel])
        b[j, channel] *= -1
    return b, p / q


def nearest(gram, target, codes, most):
    """Best single flips of (v − b)ᵀ G (v − b), at most ``most`` a channel."""
    b, diagonal = codes.copy(), np.diag(gram)[:, None]
    r = gram @ (target - b)
    for _ in range(most):
        gain = -b * r - diagonal
        j = gain.argmax(axis=0)
        channel = np.flatnonzero(gain[j, np.arange(b.shape[1])] > 1e-4 * diagonal.mean())
        if not len(channel):
            break
        j = j[channel]
        r[:, channel] += gram[:, j] * (2 * b[j, channel])
        b[j, channel] *= -1
    return b


def _damped(gram, share):
    return gram + share * np.mean(np.diag(gram)) * np.eye(len(gram))


def train(way, case):
    """Train by ``way``; returns the binary network."""
    own = {id(variable) for _, variable in way.moved([tf.zeros(())] * len(way.kernels))}
    kernels = [layer.kernel for layer in getattr(way, "layers", [k.layer for k in way.kernels])]
    kernels = [getattr(k, "latent_variable", k) for k in kernels]
    own |= {id(kernel) for kernel in kernels}
    others = [v for v in way.model.trainable_variables if id(v) not in own]
    for_kernels, for_others = tf_keras.optimizers.Adam(), tf_keras.optimizers.Adam()

    @tf.function(autograph=False)
    def step(x):
        with tf.GradientTape() as tape:
            loss = way.loss(x)
        gradients = tape.gradient(loss, kernels + others)
        for_kernels.apply_gradients(way.moved(gradients[: len(kernels)]))
        for_others.apply_gradients(zip(gradients[len(kernels) :], others, strict=True))

    prepared = padded(case.images, SHIFT)
    length = len(Batches(prepared, 128, SHIFT, case.seed, 0))
    way.steps = length * case.epochs
    for number in tqdm(range(way.steps), desc=type(way).__name__, disable=None):
        if number % length == 0:
            batches = Batches(prepared, 128, SHIFT, case.seed, number // length)
        done = number / way.steps
        rate = min(1.0, (number + 1) / (0.05 * way.steps)) * 0.5 * (1 + np.cos(np.pi * done))
        for_kernels.learning_rate.assign(way.rate * rate)
        for_others.learning_rate.assign(way.others_rate * rate)
        way.before(number)
        step(tf.constant(batches[number % length]))
    way.before(way.steps)
    return way.result()


def main():
    """Train by every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--floats", type=Path, required=True, help="folder of vgg9_cifar.py's float networks")
    add("--data-dir", type=Path, help="folder with CIFAR-10's python batches")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add("--epochs", type=int, default=2)
    add("--seeds", nargs="+", type=int, default=[0, 1, 2])
    add("--rates", nargs="+", type=float, help="step sizes for every seed (see above)")
    add("--images", type=int, default=12000, help="calibration images (12000)")
    add("--limit", type=int, help="use only so many training images, and test images")
    add("--threads", type=int)
    add("--bfloat16", action="store_true", help="multiply in bfloat16, on CPUs that can")
    add("--json", type=Path, required=True, help="results; runs that it holds are not done again")
    args = parser.parse_args()
    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    data = datasets.load("cifar10", args.data_dir, seed=0)
    mean, deviation = normalisation(data)
    held = round(HELD_OUT * len(data.train_images))
    images = ((data.train_images - mean) / deviation).astype(np.float32)
    test = ((data.test_images - mean) / deviation).astype(np.float32)
    judges = {
        "held_out": Score(images[-held:], data.train_labels[-held:]),
        "test": Score(test[: args.limit], data.test_labels[: args.limit]),
    }
    found = json.loads(args.json.read_text()) if args.json.exists() else []
    for name in args.ways:
        for seed in args.seeds:
            _runs(name, seed, images[:-held][: args.limit], judges, found, args)
    print(_table(found))


def _runs(name, seed, images, judges, found, args):
    """All runs of a way with a seed that are not done."""
    way = WAYS[name]
    path = args.floats / f"seed{seed}" / "float.keras"
    solved = path.with_name(f"solved{args.images}.keras")
    if not solved.exists():
        chosen = np.random.default_rng(seed).permutation(images)[: args.images]
        hk.save_model(hk.binarize(hk.load_model(path), chosen, seed=seed), solved)
    first = seed == args.seeds[0]
    for rate in args.rates or (way.RATES if first else [_best(found, name, args)["rate"]]):
        row: dict[str, Any] = {"way": name, "rate": rate, "epochs": args.epochs, "seed": seed}
        if any(row.items() <= other.items() for other in found):
            continue
        tf_keras.utils.set_random_seed(seed)
        case = Case(path, solved, images, rate, args.epochs, seed)
        before = hk.codes(hk.load_model(solved))
        with bfloat16(args.bfloat16):
            binary = train(way(case), case)
        after = hk.codes(binary)
        row |= {part: judge(binary) for part, judge in judges.items()}
        row["flipped"] = float(np.mean([(before[k].codes != after[k].codes).mean() for k in after]))
        found.append(row)
        atomic_write(args.json, json.dumps(found, indent=1).encode() + b"\n", overwrite=True)
        print(row, flush=True)


def _best(found, name, args):
    """The run of the first seed that does best on the images held out."""
    wanted = {"way": name, "epochs": args.epochs, "seed": args.seeds[0]}
    return max((r for r in found if wanted.items() <= r.items()), key=lambda r: r["held_out"])


def _table(found):
    lines = [
        "| way | epochs | step | seeds | held out | test | codes that changed |",
        "|---" * 7 + "|",
    ]
    groups = sorted({(row["epochs"], row["way"], row["rate"]) for row in found})
    for epochs, way, rate in groups:
        runs = [r for r in found if (r["epochs"], r["way"], r["rate"]) == (epochs, way, rate)]
        cells = [
            f"{100 * np.mean([r[key] for r in runs]):.2f}"
            for key in ("held_out", "test", "flipped")
        ]
        lines.append(f"| {way} | {epochs} | {rate:g} | {len(runs)} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
