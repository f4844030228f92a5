"""What longer codes leave of the layers' outputs: this solver, GPTQ and rounding, same moments.

    python benchmarks/solver_bits.py --resnet20 resnet20_cifar10.h5 --cifar10 cifar-10-batches-py \
        --mobilenet mobilenet_7_5_224_tf.h5 --pictures jpeg256 --json benchmarks/solver_bits.json

ResNet-20: its 18 inner convolutions, 2,048 CIFAR-10 training images. MobileNet 0.75: its 13
pointwise convolutions, 500 pictures of 256 x 256 pixels, drawn with seed 0. Inputs and targets both
from the float network. Errors are the relative squared error of the layers' outputs, mean over the
layers; processor seconds of solving all layers, all threads together.

"GPTQ" is the published algorithm on the same second moments, at each of 16 steps from a quarter of
the largest weight's to all of it, without damping and with 1 %, the best kept for each channel and
its scale fitted anew; "rounding" tries the same steps. "planes" is the search for one bit on n · K
codes, G' = c cᵀ ⊗ G, c = (2^(n−1), …, 1).
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

import numpy as np
from moments_resnet20 import cifar10_images, inner_convolutions, take_moments

# isort: split
import tf_keras

from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.solver.hashing import solve
from hashbwn_keras.solver.moments import Moments

STEPS = np.linspace(0.25, 1.0, 16)


def pictures(folder, count):
    paths = sorted(Path(folder).glob("*.jpg"))
    chosen = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:count]]
    images = [tf_keras.utils.load_img(path) for path in chosen]
    middle = [np.asarray(image.crop((16, 16, 240, 240)), np.float32) for image in images]
    return np.stack(middle) / 127.5 - 1


def resnet20_layers(options):
    model = tf_keras.models.load_model(options.resnet20, compile=False)
    images = cifar10_images(options.cifar10, slice(0, 2048))
    return problems(inner_convolutions(model), take_moments(model, images)[0])


def mobilenet_layers(options):
    model = tf_keras.applications.MobileNet(alpha=0.75, weights=options.mobilenet)
    images = pictures(options.pictures, 500)
    layers = [model.get_layer(f"conv_pw_{index}") for index in range(1, 14)]
    watch = tf_keras.Model(model.input, [t for la in layers for t in (la.input, la.output)])
    totals = [Moments(patch_geometry(layer), len(images)) for layer in layers]
    for start in range(0, len(images), 20):
        values = [t.numpy() for t in watch(images[start : start + 20], training=False)]
        for index, total in enumerate(totals):
            total.update(values[2 * index], values[2 * index + 1])
    return problems(layers, [total.statistics() for total in totals])


def problems(layers, statistics):
    """(G, g, v, w, damping) of each layer."""
    kernels = [patch_geometry(la).split_kernel(la.get_weights()[0])[0] for la in layers]
    return [
        (s.gram[0], s.cross[0], s.variance[0], w, s.damping)
        for s, w in zip(statistics, kernels, strict=True)
    ]


def levels(weights, step, top):
    return np.clip(2 * np.floor(weights / step / 2) + 1, -top, top)


def objective(G, g, b):
    q = ((G @ b) * b).sum(0)
    return np.divide((g * b).sum(0) ** 2, q, out=np.zeros_like(q), where=q > 0)


def steps_of(w, top):
    largest = np.abs(w).max(0)
    return [np.where(largest > 0, largest, 1.0) * share / top for share in STEPS]


def gptq_once(G, w, step, top, damping):
    """Codes by the published rule; errors are handed on in the order of the inputs."""
    H = G + damping * np.trace(G) / len(G) * np.eye(len(G))
    upper = np.linalg.cholesky(np.linalg.inv(H)).T
    w, b = w.copy(), np.empty_like(w)
    for j in range(len(w)):
        b[j] = levels(w[j], step, top)
        w[j:] -= np.outer(upper[j, j:], (w[j] - b[j] * step) / upper[j, j])
    return b


def gptq(G, g, w, damping, bits):
    top = 2**bits - 1
    tries = [
        objective(G, g, gptq_once(G, w, step, top, extra))
        for extra in (max(damping, 1e-6), damping + 0.01)
        for step in steps_of(w, top)
    ]
    return np.max(tries, axis=0)


def rounding(G, g, w, damping, bits):
    top = 2**bits - 1
    tries = [objective(G, g, levels(w, step, top)) for step in steps_of(w, top)]
    return np.max(tries, axis=0)


def ours(G, g, w, damping, bits):
    return solve(G, g, init=w, damping=damping, bits=bits).objective


def planes(G, g, w, damping, bits):
    powers = 2.0 ** np.arange(bits)[::-1]
    start = solve(G, g, init=w, method="sign", bits=bits).codes
    index = (start.astype(int) + 2**bits - 1) // 2
    init = np.concatenate([2.0 * (index >> (bits - 1 - k) & 1) - 1 for k in range(bits)])
    gram = np.kron(np.outer(powers, powers), G)
    return solve(gram, np.kron(powers[:, None], g), init=init, damping=damping).objective


METHODS = {"ours": ours, "GPTQ": gptq, "planes": planes, "rounding": rounding}


def table(name, layers):
    rows = []
    for bits in (1, 2, 3, 4):
        for method, run in METHODS.items():
            began = time.process_time()
            left = [
                (v - run(G, g, w.astype(np.float64), damping, bits)).sum() / v.sum()
                for G, g, v, w, damping in layers
            ]
            seconds = round(time.process_time() - began, 2)
            row = {"network": name, "bits": bits, "method": method}
            row |= {"error": round(float(np.mean(left)), 5), "processor_s": seconds}
            rows.append(row | {"layers": [round(float(e), 5) for e in left]})
            print(row, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resnet20", required=True, help="Keras file")
    parser.add_argument("--cifar10", required=True, help="folder of CIFAR-10's Python batches")
    parser.add_argument("--mobilenet", required=True, help="file of MobileNet 0.75's weights")
    parser.add_argument("--pictures", required=True, help="folder of 256 x 256 JPEG pictures")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    solve(np.eye(20), np.ones((20, 1)), bits=2)  # compile
    rows = table("ResNet-20", resnet20_layers(options))
    rows += table("MobileNet 0.75", mobilenet_layers(options))
    if options.json:
        result = {"machine": platform.machine(), "cores": len(os.sched_getaffinity(0))}
        options.json.write_text(json.dumps(result | {"rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
