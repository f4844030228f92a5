"""Times the native kernels against XNNPACK, interleaved in one process.

    python benchmarks/kernels/run.py --json benchmarks/kernels/kernels.json

For every list it starts one process with XNNPACK as it is on this CPU and, where the CPU has
AVX-512, one with XNNPACK confined to AVX2 (see cpu.py). In each, a round is one run of the stock
interpreter and one of the interpreter with the delegate (option force=1, so that every binary layer
is on our kernels), on the same input. Reported are medians over rounds, their ratio, and the
quartiles of the per-round ratio. One thread is timed by its own CPU time, which leaves out what
other programs took of a busy machine; several by the clock on the wall.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cpu
import models
import numpy as np
import tensorflow as tf

from hashbwn_keras.runtime.library import Native, delegate_path

LISTS = {
    "3×3": (models.conv_layer, models.SHAPES_3X3),
    "ResNet-18 1×1 and stride 2": (models.conv_layer, models.SHAPES_RESNET18),
    "check": (models.conv_layer, models.SHAPES_CHECK),
    "Dense": (models.dense_layer, models.DENSE),
    "Dense check": (models.dense_layer, models.DENSE_CHECK),
}


def load(content: bytes, threads: int, delegated: bool, force: bool):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
        delegates = None
        if delegated:
            options = {"force": "1"} if force else {}
            delegates = [tf.lite.experimental.load_delegate(str(delegate_path()), options)]
        i = tf.lite.Interpreter(
            model_content=content, num_threads=threads, experimental_delegates=delegates
        )
    claimed = Native(delegate_path()).claimed() if delegated else 0
    i.allocate_tensors()
    detail = i.get_input_details()[0]
    rng = np.random.default_rng(0)
    x = np.maximum(rng.normal(size=detail["shape"]), 0).astype(np.float32)
    if detail["dtype"] == np.int8:
        x = np.clip(np.rint(x / models.IN_SCALE) - 128, -128, 127).astype(np.int8)
    i.set_tensor(detail["index"], x)
    return i, claimed


def measure(content: bytes, threads: int, seconds: float, force: bool = True) -> dict:
    """Medians in ms of both engines over interleaved rounds."""
    stock, _ = load(content, threads, False, force)
    ours, claimed = load(content, threads, True, force)
    for i in (stock, ours):
        i.invoke()
    times: list[list[float]] = [[], []]
    clock = time.thread_time if threads == 1 else time.perf_counter
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 15:
        for k, i in enumerate((stock, ours)):
            start = clock()
            i.invoke()
            times[k].append((clock() - start) * 1e3)
    a, b = np.array(times)
    return {
        "xnnpack_ms": round(float(np.median(a)), 4),
        "ours_ms": round(float(np.median(b)), 4),
        "ratio": round(float(np.median(a) / np.median(b)), 3),
        "ratio_quartiles": [round(float(q), 3) for q in np.percentile(a / b, [25, 75])],
        "rounds": len(a),
        "claimed": claimed,
    }


def child(args: argparse.Namespace) -> list[dict]:
    """All rows of one process."""
    if args.cpu == "avx2":
        cpu.confine_to_avx2()
    rows = []
    for int8 in (False, True):
        kind = "int8" if int8 else "float32"
        if args.child == "nets":
            for name, build in models.NETS.items():
                row = {"list": "nets", "name": name, "type": kind}
                rows.append(row | measure(build(int8), args.threads, 3 * args.seconds))
                print(rows[-1], file=sys.stderr)
            continue
        make, shapes = LISTS[args.child]
        for spec in shapes:
            content, macs = make(spec, int8)
            row = {"list": args.child, "shape": spec, "type": kind}
            row |= measure(content, args.threads, args.seconds)
            row["mac_per_ns"] = round(macs / row["ours_ms"] / 1e6, 1)
            rows.append(row)
            print(rows[-1], file=sys.stderr)
    return rows


def run_children(args: argparse.Namespace) -> list[dict]:
    rows = []
    flags = Path("/proc/cpuinfo").read_text()
    cpus = ["avx2", "all"] if "avx512f" in flags else ["all"]
    for name in args.lists or [*LISTS, "nets"]:
        for engine in cpus:
            for threads in args.thread_counts:
                ghz = cpu.clock_ghz()
                command = [sys.executable, __file__, "--child", name, "--cpu", engine]
                command += ["--threads", str(threads), "--seconds", str(args.seconds)]
                out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                for row in json.loads(out.stdout):
                    rows.append(row | {"xnnpack_cpu": engine, "threads": threads, "ghz": ghz})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="where to write the result")
    parser.add_argument(
        "--seconds", type=float, default=0.6, help="per layer; nets take 3 times it"
    )
    parser.add_argument("--lists", nargs="*", help="only these lists")
    parser.add_argument("--thread-counts", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--cpu", help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args)))
        return
    result = {
        "machine": platform.machine(),
        "cpu": next(
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "cpus": os.cpu_count(),
        "tensorflow": tf.__version__,
        "kernels": Native(delegate_path()).kernels,
        "command": " ".join(sys.argv[1:]),
        "rows": run_children(args),
    }
    text = json.dumps(result, indent=1, ensure_ascii=False)
    args.json.write_text(text + "\n") if args.json else print(text)


if __name__ == "__main__":
    main()
