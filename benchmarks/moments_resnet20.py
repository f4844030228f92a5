"""Time and memory of taking a network's moments, and how many patches and what damping it needs.

    python benchmarks/moments_resnet20.py --model resnet20_cifar10.h5 \
        --data-dir cifar-10-batches-py [--json benchmarks/moments_resnet20.json]

The 18 inner convolutions of a float ResNet-20 on CIFAR-10 training images, inputs and targets both
from the float network. Errors are the relative squared error of the layers' outputs, mean over the
layers, on the patches that were solved for ("seen") and on those of 4,096 other images ("unseen").
"""

import argparse
import json
import os
import pickle
import platform
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np

import hashbwn_keras  # noqa: F401  (before Larq)

# isort: split
import tf_keras

from hashbwn_keras.errors import CalibrationWarning
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.solver.hashing import solve
from hashbwn_keras.solver.moments import Moments

BATCH = 256
UNSEEN = slice(20000, 24096)
SUMMARY = {"median": np.median, "min": np.min, "max": np.max}


def clocks():
    """Wall and processor seconds; the second tells what a quiet machine would take."""
    return np.array([time.perf_counter(), time.process_time()])


def cifar10_images(data_dir, part):
    """Training images ``part``, standardised as for the ResNet-20."""
    pixels = []
    for index in range(1, 6):
        with open(Path(data_dir, f"data_batch_{index}"), "rb") as file:
            pixels.append(pickle.load(file, encoding="bytes")[b"data"])
    images = np.concatenate(pixels)[part].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) / 255.0
    return ((images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]).astype(np.float32)


def inner_convolutions(model):
    return [layer for layer in model.layers if isinstance(layer, tf_keras.layers.Conv2D)][1:]


def kernels(model):
    """Float kernels [1, K, T] of the inner convolutions."""
    layers = inner_convolutions(model)
    return [patch_geometry(layer).split_kernel(layer.get_weights()[0]) for layer in layers]


def take_moments(model, images, patches=None, seed=0):
    """Statistics of all inner convolutions; wall and processor seconds of moments alone."""
    layers = inner_convolutions(model)
    watch = tf_keras.Model(model.input, [t for la in layers for t in (la.input, la.output)])
    totals = [
        Moments(patch_geometry(layer), len(images), patches=patches, seed=seed) for layer in layers
    ]
    seconds = np.zeros(2)
    for start in range(0, len(images), BATCH):
        values = [t.numpy() for t in watch(images[start : start + BATCH], training=False)]
        began = clocks()
        for index, total in enumerate(totals):
            total.update(values[2 * index], values[2 * index + 1])
        seconds += clocks() - began
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return [total.statistics() for total in totals], seconds


def error(statistics, solution):
    """Relative squared error of a solution on (other) patches, its scales as they are."""
    b = solution.codes.astype(np.float64)
    p = (statistics.cross * b).sum(1)
    q = ((statistics.gram @ b) * b).sum(1)
    left = statistics.variance - 2 * solution.scales * p + solution.scales**2 * q
    return float(left.sum() / statistics.variance.sum())


def errors(seen, unseen, weights, **options):
    """Mean error over the layers on seen and unseen patches, and seconds as of ``clocks``."""
    began = clocks()
    solutions = [
        solve(s.gram, s.cross, init=w, **options) for s, w in zip(seen, weights, strict=True)
    ]
    seconds = clocks() - began
    means = [
        np.mean([error(s, found) for s, found in zip(statistics, solutions, strict=True)])
        for statistics in (seen, unseen)
    ]
    return round(float(means[0]), 5), round(float(means[1]), 5), seconds


def summary(seconds):
    return {name: round(float(f(seconds)), 3) for name, f in SUMMARY.items()}


def time_table(model, images, runs):
    times = np.array([take_moments(model, images)[1] for _ in range(runs)])
    layer = inner_convolutions(model)[-1]
    x, s = np.zeros((64, 512, 512, 64), np.float32), np.zeros((64, 512, 512, 64), np.float32)
    total = Moments(patch_geometry(layer), len(x))
    tracemalloc.start()
    total.update(x, s)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {
        "images": len(images),
        "layers": len(inner_convolutions(model)),
        "wall_s": summary(times[:, 0]),
        "processor_s": summary(times[:, 1]),
        "peak_mib_512x512x64_K576": round(peak / 2**20, 1),
    }


def patches_table(model, images, unseen, weights):
    rows = []
    for patches in (1024, 4096, 8192, 32768, 131072):
        seen, _ = take_moments(model, images, patches)
        for rule, factor in (("none", 0.0), ("0.03 K/n", 0.03), ("0.1 K/n", 0.1), ("0.3 K/n", 0.3)):
            solved = [
                solve(s.gram, s.cross, init=w, damping=factor * s.gram.shape[1] / s.count)
                for s, w in zip(seen, weights, strict=True)
            ]
            row = {"patches": patches, "damping": rule}
            for name, statistics in (("seen", seen), ("unseen", unseen)):
                each = [error(s, found) for s, found in zip(statistics, solved, strict=True)]
                row[name] = round(float(np.mean(each)), 5)
            rows.append(row)
            print(row, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--images", type=int, default=2048)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = tf_keras.models.load_model(options.model, compile=False)
    images = cifar10_images(options.data_dir, slice(0, options.images))
    result = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "time": time_table(model, images, options.runs),
    }
    print(result["time"], flush=True)
    unseen, _ = take_moments(model, cifar10_images(options.data_dir, UNSEEN), 131072)
    result["patches"] = patches_table(model, images, unseen, kernels(model))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
