"""What each method of the solver costs and leaves, on real layers; and its time on large ones.

    python benchmarks/solver_methods.py --model resnet20_cifar10.h5 \
        --data-dir cifar-10-batches-py [--json benchmarks/solver_methods.json]

First table: the 18 inner convolutions of ResNet-20, moments of 2,048 CIFAR-10 training images;
errors as in ``moments_resnet20.py``, seconds of solving all 18 layers, methods taking turns.
Second table: seconds of one layer of other networks' sizes, random moments, default method.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from moments_resnet20 import (
    UNSEEN,
    cifar10_images,
    clocks,
    errors,
    kernels,
    summary,
    take_moments,  # imported there with Keras 2
)

from hashbwn_keras.solver.hashing import solve

METHODS = {
    "sign": {"method": "sign"},
    "dcc (the paper's)": {"method": "dcc"},
    "one_opt": {"method": "one_opt"},
    "tabu, 1,152 steps": {"method": "tabu", "steps": 1152},
    "auto (tabu, 8,192 steps)": {},
    "tabu, 65,536 steps": {"method": "tabu", "steps": 65536},
}
# name: (B, K, T)
SIZES = {
    "VGG9 3x3x512 to 512": (1, 4608, 512),
    "VGG9 3x3x256 to 512": (1, 2304, 512),
    "MobileNet pointwise 384 to 384": (1, 384, 384),
    "MobileNet pointwise 768 to 768": (1, 768, 768),
    "MobileNet depthwise 3x3, 384 channels": (384, 9, 1),
    "grouped 3x3, 8 groups of 32 to 32": (8, 288, 32),
}
COLD = """
import time; began = time.perf_counter(), time.process_time()
import numpy as np
from hashbwn_keras.solver.hashing import solve
solve(np.eye(20), np.ones((20, 2)))
print(time.perf_counter() - began[0], time.process_time() - began[1])
"""


def method_table(model, data_dir, runs):
    seen, _ = take_moments(model, cifar10_images(data_dir, slice(0, 2048)))
    unseen, _ = take_moments(model, cifar10_images(data_dir, UNSEEN), 131072)
    weights = kernels(model)
    errors(seen, unseen, weights)  # compile
    rows = {name: [] for name in METHODS}
    for _ in range(runs):
        for name, options in METHODS.items():
            rows[name].append(errors(seen, unseen, weights, **options))
    table = []
    for name, answers in rows.items():
        seconds = np.array([answer[2] for answer in answers])
        row = {"method": name, "seen": answers[0][0], "unseen": answers[0][1]}
        times = {"wall_s": summary(seconds[:, 0]), "processor_s": summary(seconds[:, 1])}
        table.append(row | times)
        print(table[-1], flush=True)
    return table


def size_table():
    table = []
    for name, (B, K, T) in SIZES.items():
        random = np.random.default_rng(0)
        x = np.maximum(random.standard_normal((B, 2 * K, K), np.float32), 0)
        x[:, :, 1:] += 0.5 * x[:, :, :-1]
        x -= x.mean(1, keepdims=True)
        gram = x.transpose(0, 2, 1) @ x / (2 * K)
        weights = random.standard_normal((B, K, T))
        cross = gram @ weights
        began = clocks()
        solve(gram, cross, init=weights)
        wall, processor = (clocks() - began).round(3).tolist()
        table.append({"layer": name, "wall_s": wall, "processor_s": processor})
        print(table[-1], flush=True)
    return table


def cold_start():
    """Seconds of the first solve of a process, import included: compiling, then from the cache."""
    seconds = []
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"NUMBA_CACHE_DIR": empty}
        for _ in range(2):
            run = subprocess.run(
                [sys.executable, "-c", COLD], check=True, capture_output=True, env=environment
            )
            wall, processor = (round(float(value), 2) for value in run.stdout.split())
            seconds.append({"wall_s": wall, "processor_s": processor})
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True)
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cold = cold_start()
    print({"cold": cold[0], "cold, compiled before": cold[1]}, flush=True)
    import tf_keras  # only now: the cold start is timed before

    model = tf_keras.models.load_model(options.model, compile=False)
    result = {
        "machine": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "cold_start_s": cold,
        "methods": method_table(model, options.data_dir, options.runs),
        "sizes": size_table(),
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
