"""Which engine should run the solver's loops? The same tabu search in five of them.

    python benchmarks/solver_engines.py [--json benchmarks/solver_engines.json]

Every engine makes 2 K steps in every channel from the sign start, with a fixed tenure, and must
reach the same J up to float32. Sizes: the 18 inner convolutions of ResNet-20. "cold" is the first
call of a fresh process (import, compilation or tracing for all shapes included), "warm" the median
of the later ones. The engines take turns. Seconds are of the wall clock and of the processor (all
threads): on a busy machine only the second ones can be compared.
"""

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

# (K, T, how many layers)
RESNET20 = [(144, 16, 6), (144, 32, 1), (288, 32, 5), (288, 64, 1), (576, 64, 5)]
THREADS = len(os.sched_getaffinity(0))
C_SOURCE = r"""
#include <stdlib.h>
#include <string.h>
void tabu(const float *G, const float *gs, float *bs, long K, long first, long last, long steps) {
  float *r = malloc(4 * K), *price = malloc(4 * K), *best_b = malloc(4 * K);
  int *free_at = malloc(4 * K);
  for (long c = first; c < last; c++) {
    const float *g = gs + c * K; float *b = bs + c * K;
    double p = 0, q = 0; long tenure = K / 50 > 10 ? K / 50 : 10;
    for (long i = 0; i < K; i++) {
      float t = 0; for (long j = 0; j < K; j++) t += G[i * K + j] * b[j];
      r[i] = t; p += g[i] * b[i]; q += t * b[i]; free_at[i] = 0;
    }
    double best = p * p / q; memcpy(best_b, b, 4 * K);
    for (long s = 1; s <= steps; s++) {
      float p32 = p, q32 = q, aspired = best * (1 + 1e-6), top = -1; int now = s;
      for (long i = 0; i < K; i++) {
        float pi = p32 - 2 * b[i] * g[i], qi = q32 + 4 * (G[i * K + i] - b[i] * r[i]);
        float v = pi * pi / qi;
        price[i] = (free_at[i] <= now) | (v > aspired) ? v : -1;
      }
      for (long i = 0; i < K; i++) top = price[i] > top ? price[i] : top;
      long j = 0; while (price[j] != top) j++;
      p -= 2.0 * b[j] * g[j]; q += 4.0 * (G[j * K + j] - b[j] * r[j]);
      float twice = 2 * b[j]; const float *row = G + j * K;
      for (long i = 0; i < K; i++) r[i] -= twice * row[i];
      b[j] = -b[j]; free_at[j] = s + tenure;
      if (p * p / q > best * (1 + 1e-6)) { best = p * p / q; memcpy(best_b, b, 4 * K); }
    }
    memcpy(b, best_b, 4 * K);
  }
  free(r); free(price); free(best_b); free(free_at);
}
"""


def problem(K, T, seed=0):
    """G float32 [K, K] with inputs correlated as in a convolution, g and start [T, K]."""
    random = np.random.default_rng(seed)
    x = np.maximum(random.standard_normal((4 * K, K)) @ random.standard_normal((K, K)), 0)
    x = (x - x.mean(0)) / x.std()
    w = random.standard_normal((K, T))
    g = (x.T @ (x @ w)).T / len(x)
    g /= np.abs(g).max(axis=1, keepdims=True)
    start = np.where(w.T < 0, -1, 1)
    return tuple(np.ascontiguousarray(a, np.float32) for a in (x.T @ x / len(x), g, start))


def numpy_engine():
    def run(G, g, b, steps):
        T, K = b.shape
        tenure = max(10, K // 50)
        diagonal, every = np.diag(G), np.arange(T)
        r = b @ G
        p, q = (g * b).sum(1), (r * b).sum(1)
        best, best_b = p * p / q, b.copy()
        free_at = np.zeros((T, K), np.int32)
        for step in range(1, steps + 1):
            P = p[:, None] - 2 * b * g
            price = P * P / (q[:, None] + 4 * (diagonal - b * r))
            price[(free_at > step) & (price <= best[:, None] * (1 + 1e-6))] = -1
            j = price.argmax(1)
            bj = b[every, j]
            p = p - 2 * bj * g[every, j]
            q = q + 4 * (diagonal[j] - bj * r[every, j])
            r -= 2 * bj[:, None] * G[j]
            b[every, j] = -bj
            free_at[every, j] = step + tenure
            value = p * p / q
            better = value > best * (1 + 1e-6)
            best[better] = value[better]
            best_b[better] = b[better]
        return best_b

    return run


def tensorflow_engine(jit_compile):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile, reduce_retracing=False)
    def search(G, g, b, steps):
        T, K = b.shape
        tenure = max(10, K // 50)
        diagonal = tf.linalg.diag_part(G)
        r = b @ G
        p, q = tf.reduce_sum(g * b, 1), tf.reduce_sum(r * b, 1)

        def body(step, b, r, p, q, free_at, best, best_b):
            P = p[:, None] - 2 * b * g
            price = P * P / (q[:, None] + 4 * (diagonal - b * r))
            free = (free_at <= step) | (price > best[:, None] * (1 + 1e-6))
            j = tf.argmax(tf.where(free, price, -1.0), 1, output_type=tf.int32)
            hot = tf.range(K) == j[:, None]
            bj = tf.gather(b, j, batch_dims=1)
            p = p - 2 * bj * tf.gather(g, j, batch_dims=1)
            q = q + 4 * (tf.gather(diagonal, j) - bj * tf.gather(r, j, batch_dims=1))
            r = r - 2 * bj[:, None] * tf.gather(G, j)
            b = tf.where(hot, -b, b)
            free_at = tf.where(hot, step + tenure, free_at)
            value = p * p / q
            better = value > best * (1 + 1e-6)
            best_b = tf.where(better[:, None], b, best_b)
            return step + 1, b, r, p, q, free_at, tf.where(better, value, best), best_b

        start = (tf.constant(1), b, r, p, q, tf.zeros((T, K), tf.int32), p * p / q, b)
        return tf.while_loop(lambda step, *_: step <= steps, body, start)[-1]

    return lambda G, g, b, steps: search(
        tf.constant(G), tf.constant(g), tf.constant(b), tf.constant(steps)
    ).numpy()


def in_threads(run, channels):
    edges = np.linspace(0, channels, 4 * THREADS + 1).astype(int)
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, edges[:-1], edges[1:]))


def numba_engine():
    import numba

    from hashbwn_keras.solver.group import new_group, set_r
    from hashbwn_keras.solver.tabu import tabu

    @numba.njit(nogil=True, fastmath=True, error_model="numpy")
    def search(G, g, b, steps, first, last):
        part = slice(first, last)
        group = new_group(G, np.diag(G).copy(), g[part], b[part], np.float32(1.0), 0.0)
        set_r(group)
        tabu(group, -1.0, steps, np.uint64(0))

    def run(G, g, b, steps):
        in_threads(lambda first, last: search(G, g, b, steps, first, last), len(b))
        return b

    return run


def c_engine():
    folder = tempfile.mkdtemp()
    source, library = Path(folder, "tabu.c"), Path(folder, "tabu.so")
    source.write_text(C_SOURCE)
    flags = ["-O3", "-march=native", "-ffast-math", "-shared", "-fPIC"]
    subprocess.run(["cc", *flags, str(source), "-o", str(library)], check=True)
    tabu = ctypes.CDLL(str(library)).tabu

    def run(G, g, b, steps):
        arrays = [ctypes.c_void_p(a.ctypes.data) for a in (G, g, b)]
        numbers = [ctypes.c_long(b.shape[1]), ctypes.c_long(steps)]

        def part(first, last):
            tabu(*arrays, numbers[0], ctypes.c_long(first), ctypes.c_long(last), numbers[1])

        in_threads(part, len(b))
        return b

    return run


ENGINES = {
    "NumPy, all channels at once": numpy_engine,
    "TensorFlow graph": lambda: tensorflow_engine(False),
    "TensorFlow XLA": lambda: tensorflow_engine(True),
    "numba, channel by channel": numba_engine,
    "C (cc -O3), channel by channel": c_engine,
}


def clocks():
    return np.array([time.perf_counter(), time.process_time()])


def objective(G, g, b):
    b = b.astype(np.float64)
    return (g * b).sum(1) ** 2 / ((b @ G) * b).sum(1)


def serve(name):
    """Child process: one pass over all layers per input line; answers both times and mean J."""
    began = clocks()
    run = ENGINES[name]()
    loaded = clocks()
    problems = [(problem(K, T), n, 2 * K) for K, T, n in RESNET20]
    for index, _ in enumerate(sys.stdin):
        start = clocks()
        J = []
        for (G, g, b), n, steps in problems:
            for _ in range(n):
                codes = run(G, g, b.copy(), steps)
            J.append(objective(G, g, codes).mean())
        seconds = clocks() - start
        if index == 0:
            seconds += loaded - began
        print(json.dumps([*seconds, float(np.mean(J))]), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--runs", type=int, default=5, help="warm runs of each engine")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    command = [sys.executable, __file__, "--serve"]
    rows = {name: [] for name in ENGINES}
    children = {}
    for _ in range(options.runs + 1):
        for name in ENGINES:
            if name not in children:
                children[name] = subprocess.Popen(
                    [*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
            print("go", file=children[name].stdin, flush=True)
            rows[name].append(json.loads(children[name].stdout.readline()))
    for child in children.values():
        child.communicate()
    table = []
    for name, answers in rows.items():
        wall, processor, J = np.array(answers).T.round(3)
        row = {"engine": name, "mean_J": J[-1]}
        for clock, seconds in (("wall", wall), ("processor", processor)):
            row[f"cold_{clock}_s"] = seconds[0]
            row[f"warm_{clock}_s"] = round(float(np.median(seconds[1:])), 3)
        table.append(row)
        print(table[-1])
    if options.json:
        machine = {"machine": platform.machine(), "cores": THREADS, "runs": options.runs}
        options.json.write_text(json.dumps({**machine, "engines": table}, indent=1) + "\n")


if __name__ == "__main__":
    main()
