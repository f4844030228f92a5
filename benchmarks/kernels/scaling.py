"""Two threads against one: our kernels and XNNPACK, four interpreters interleaved in one process.

    python benchmarks/kernels/scaling.py --json benchmarks/kernels/scaling.json

On a machine that is busy with other things a second thread mostly waits for a CPU. Beside the
medians stand the 5th percentiles, when a second CPU was most likely free.
"""

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cpu
import models
import numpy as np
import run

LAYERS = [*models.SHAPES_3X3[2:3], *models.SHAPES_3X3[4:6], *models.DENSE[:2]]
ENGINES = ("xnnpack", "ours")


def milliseconds(interpreter) -> float:
    """Of one run; the one before it is not counted."""
    interpreter.invoke()
    start = time.perf_counter()
    interpreter.invoke()
    return (time.perf_counter() - start) * 1e3


def measure(content: bytes, seconds: float) -> dict:
    """Milliseconds for one and two threads and their ratio, per engine."""
    arms = {
        (engine, threads): run.load(content, threads, engine == "ours", True)[0]
        for engine in ENGINES
        for threads in (1, 2)
    }
    times: dict[tuple[str, int], list[float]] = {arm: [] for arm in arms}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours", 1]) < 20:
        for arm, interpreter in arms.items():
            times[arm].append(milliseconds(interpreter))
    row = {"rounds": len(times["ours", 1])}
    for engine in ENGINES:
        for kind, percentile in (("median", 50), ("fastest", 5)):
            one, two = (float(np.percentile(times[engine, t], percentile)) for t in (1, 2))
            row[f"{engine}_{kind}"] = {
                "ms": [round(one, 4), round(two, 4)],
                "speedup": round(one / two, 3),
            }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--seconds", type=float, default=6, help="per layer or net")
    args = parser.parse_args()
    has_avx512 = "avx512f" in Path("/proc/cpuinfo").read_text()
    if has_avx512:
        cpu.confine_to_avx2()
    work = list(models.NETS.items())
    for spec in LAYERS:
        make = models.dense_layer if len(spec) == 2 else models.conv_layer
        work.append((spec, lambda int8, make=make, spec=spec: make(spec, int8)[0]))
    rows = []
    for name, build in work:
        for int8 in (False, True):
            row = {"of": name, "type": "int8" if int8 else "float32"}
            rows.append(row | measure(build(int8), args.seconds))
            print(rows[-1], flush=True)
    result = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "xnnpack_cpu": "avx2" if has_avx512 else "all",
        "rows": rows,
    }
    args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
