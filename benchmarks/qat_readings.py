"""Ways to use the hash solve in training, at equal budget: ResNet-20, CIFAR-10, distillation.

    python benchmarks/qat_readings.py --model resnet20_cifar10.h5 --json qat_readings.json

All start from the same binarised network and train two epochs by Adam, warm-up and cosine:

start    nothing more is solved: straight-through training of what ``binarize`` found
resolve  every half epoch each layer's codes are solved again, from the present ones by best single
         flips, to give the float network's outputs on the layer's present inputs
project  the trained weights V are real; what the network computes with are the codes closest to V
         in the metric of the layer's inputs, kept up to date by best single flips every 10 steps
relax    as project, but from the float weights, and the network computes with V + s (α B − V)
         where s rises from 0 to 1 over the first 60 % of the steps

The last 5,000 training images are held out and judge. (The float network has seen them, so they
flatter networks that stay close to it.) Test accuracy is printed beside; nothing was chosen by it.
"""

import argparse
import json
import sys
from pathlib import Path

import hashbwn_keras as hb

# isort: split
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from hashbwn_keras.demo import datasets
from hashbwn_keras.files import atomic_write
from hashbwn_keras.layers import binary_kernels
from hashbwn_keras.moments import Moments
from hashbwn_keras.patches import PatchGeometry

sys.path.append(str(Path(__file__).parents[1] / "examples"))
from ablation import Batches, padded
from resnet20_cifar10 import DEVIATION, MEAN
from resnet20_cifar10_qat import SHIFT

HELD_OUT = 5000
FLIP_EVERY = 10
METRIC_IMAGES = 512
RESOLVE_IMAGES = 1024
RIDGE = 0.1  # of the mean variance, added to the metric
TEMPERATURE = 4.0


class Start:
    """Straight-through training: the latent kernels are the variables."""

    def __init__(self, float_model, binary, images, args):
        self.model, self.images, self.rate = binary, images, args.rate
        self.kernels = binary_kernels(binary)
        self.float_model, self.steps = float_model, 0
        self.geometries = [PatchGeometry.of(kernel.layer) for kernel in self.kernels]
        self._seen = tf.keras.Model(binary.inputs, [k.layer.input for k in self.kernels])

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


class Resolve(Start):
    """Codes are solved again for the float network's outputs."""

    def before(self, number):
        if number == 0 or number % (self.steps // 4) or number > 0.9 * self.steps:
            return
        chosen = np.random.default_rng(number).integers(0, len(self.images), RESOLVE_IMAGES)
        layers = {layer.name: layer for layer in self.float_model.layers}
        wanted = [layers[kernel.name].output for kernel in self.kernels]
        teacher = tf.keras.Model(self.float_model.inputs, wanted)
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

    def __init__(self, float_model, binary, images, args):
        super().__init__(float_model, binary, images, args)
        self.rate = args.relative_rate
        solved = [kernel.codes() for kernel in self.kernels]
        self.codes = [tf.Variable(s.codes.astype(np.float32)) for s in solved]
        self.target = [tf.Variable(codes) for codes in self.codes]  # in units of the scale
        self.log_scales = [tf.Variable(np.log(s.scales)) for s in solved]

    def moved(self, gradients):
        pairs = []
        for i, upstream in enumerate(gradients):
            scale = tf.exp(self.log_scales[i])
            of_scale = tf.reduce_sum(upstream * self.codes[i], (0, 1, 2)) * scale
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

    def __init__(self, float_model, binary, images, args):
        super().__init__(float_model, binary, images, args)
        self.binary, self.solved = binary, [kernel.codes() for kernel in self.kernels]
        self.model = hb.load_model(args.model)
        layers = {layer.name: layer for layer in self.model.layers}
        self.layers = [layers[kernel.name] for kernel in self.kernels]
        self._seen = tf.keras.Model(self.model.inputs, [layer.input for layer in self.layers])
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


WAYS = {"start": Start, "resolve": Resolve, "project": Project, "relax": Relax}


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


def train(way, float_model, images, args):
    """Train by ``way``; returns the binary network."""
    own = {id(variable) for _, variable in way.moved([tf.zeros(())] * len(way.kernels))}
    kernels = [layer.kernel for layer in getattr(way, "layers", [k.layer for k in way.kernels])]
    kernels = [getattr(k, "latent_variable", k) for k in kernels]
    own |= {id(kernel) for kernel in kernels}
    others = [v for v in way.model.trainable_variables if id(v) not in own]
    for_kernels, for_others = tf.keras.optimizers.Adam(), tf.keras.optimizers.Adam()

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            wanted = tf.nn.log_softmax(float_model(x, training=False) / TEMPERATURE)
            found = tf.nn.log_softmax(way.model(x, training=True) / TEMPERATURE)
            loss = tf.reduce_mean(tf.reduce_sum(tf.exp(wanted) * (wanted - found), axis=-1))
        gradients = tape.gradient(loss, kernels + others)
        for_kernels.apply_gradients(way.moved(gradients[: len(kernels)]))
        for_others.apply_gradients(zip(gradients[len(kernels) :], others, strict=True))

    prepared = padded(images, SHIFT)
    length = len(Batches(prepared, 128, SHIFT, args.seed, 0))
    way.steps = length * args.epochs
    for number in tqdm(range(way.steps), disable=None):
        if number % length == 0:
            batches = Batches(prepared, 128, SHIFT, args.seed, number // length)
        done = number / way.steps
        rate = min(1.0, (number + 1) / (0.05 * way.steps)) * 0.5 * (1 + np.cos(np.pi * done))
        for_kernels.learning_rate.assign(way.rate * rate)
        for_others.learning_rate.assign(1e-3 * rate)
        way.before(number)
        step(tf.constant(batches[number % length]))
    way.before(way.steps)
    return way.result()


def main():
    """Train by every way and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--model", type=Path, required=True)
    add("--data-dir", type=Path, help="folder with CIFAR-10's python batches")
    add("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    add("--epochs", type=int, default=2)
    add("--seed", type=int, default=0)
    add("--rate", type=float, default=3e-4, help="Adam's, of latent weights")
    add("--relative-rate", type=float, default=3e-3, help="Adam's, of weights over scales: project")
    add("--limit", type=int, help="use only so many training images, and test images")
    add("--threads", type=int)
    add("--bfloat16", action="store_true", help="multiply in bfloat16, on CPUs that can")
    add("--json", type=Path)
    args = parser.parse_args()
    if args.threads:
        tf.config.threading.set_intra_op_parallelism_threads(args.threads)
        tf.config.threading.set_inter_op_parallelism_threads(args.threads)
    tf.config.optimizer.set_experimental_options(
        {"auto_mixed_precision_onednn_bfloat16": args.bfloat16}
    )
    data = datasets.load("cifar10", args.data_dir, seed=0)
    images, test = ((x - MEAN) / DEVIATION for x in (data.train_images, data.test_images))
    held = images[-HELD_OUT:][: args.limit], data.train_labels[-HELD_OUT:][: args.limit]
    tested = test[: args.limit], data.test_labels[: args.limit]
    float_model = hb.load_model(args.model)
    found = []
    for name in args.ways:
        tf.keras.utils.set_random_seed(args.seed)
        binary = hb.binarize(float_model, images[:2048], seed=args.seed)
        before = hb.codes(binary)
        train_images = images[:-HELD_OUT][: args.limit]
        binary = train(WAYS[name](float_model, binary, train_images, args), float_model,
                       train_images, args)  # fmt: skip
        after = hb.codes(binary)
        row = {"way": name, "epochs": args.epochs, "seed": args.seed}
        row["held_out"], row["test"] = (_accuracy(binary, *part) for part in (held, tested))
        row["flipped"] = float(np.mean([(before[k].codes != after[k].codes).mean() for k in after]))
        found.append(row)
        print(row, flush=True)
    if args.json:
        atomic_write(args.json, json.dumps(found, indent=1).encode() + b"\n", overwrite=True)


def _accuracy(model, images, labels):
    found = model.predict(images, batch_size=500, verbose=0).argmax(axis=-1)
    return float((found == labels).mean())


if __name__ == "__main__":
    main()
