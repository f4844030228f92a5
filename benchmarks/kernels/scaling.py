"""Two threads against one: our kernels and XNNPACK, four interpreters interleaved in one process.

    python benchmarks/kernels/scaling.py --json benchmarks/kernels/scaling.json

On a machine that is busy with other things a second thread mostly waits. A run counts as
undisturbed if no thread of this process was made to leave its CPU while it lasted and, with two
threads, if they had more than 1.5 CPUs between them. Medians are over those, and over all runs
beside them.
"""

import argparse
import json
import os
import platform
import resource
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cpu
import models
import numpy as np
import run

LAYERS = [*models.SHAPES_3X3[2:3], *models.SHAPES_3X3[4:6], *models.DENSE[:2]]
ENGINES = ("xnnpack", "ours")


def timed(interpreter, threads: int) -> tuple[float, bool]:
    """Milliseconds of one run, and whether nothing disturbed it. The one before is not counted."""
    interpreter.invoke()
    left = resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    cpu_time, start = time.process_time(), time.perf_counter()
    interpreter.invoke()
    elapsed = time.perf_counter() - start
    used = (time.process_time() - cpu_time) / elapsed
    left -= resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw
    return elapsed * 1e3, left == 0 and used > (0.95 if threads == 1 else 1.5)


def measure(content: bytes, seconds: float) -> dict:
    arms = {
        (engine, threads): run.load(content, threads, engine == "ours", True)[0]
        for engine in ENGINES
        for threads in (1, 2)
    }
    runs = {arm: [] for arm in arms}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for arm, interpreter in arms.items():
            runs[arm].append(timed(interpreter, arm[1]))
    row = {}
    for engine in ENGINES:
        for kind in ("undisturbed", "all"):
            times = {
                t: [ms for ms, clean in runs[engine, t] if clean or kind == "all"] for t in (1, 2)
            }
            if min(len(times[1]), len(times[2])) < 5:
                row[f"{engine}_{kind}"] = None
                continue
            one, two = (float(np.median(times[t])) for t in (1, 2))
            row[f"{engine}_{kind}"] = {
                "ms": [round(one, 4), round(two, 4)],
                "speedup": round(one / two, 3),
                "quartiles_2": [round(float(q), 4) for q in np.percentile(times[2], [25, 75])],
                "runs": [len(times[1]), len(times[2])],
            }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="where to write the result")
    parser.add_argument("--seconds", type=float, default=6, help="per layer or net")
    args = parser.parse_args()
    flags = Path("/proc/cpuinfo").read_text()
    if "avx512f" in flags:
        cpu.confine_to_avx2()
    rows = []
    work = [(name, build) for name, build in models.NETS.items()]
    for spec in LAYERS:
        make = models.dense_layer if len(spec) == 2 else models.conv_layer
        work.append((spec, lambda int8, make=make, spec=spec: make(spec, int8)[0]))
    for name, build in work:
        for int8 in (False, True):
            row = {"of": name, "type": "int8" if int8 else "float32"}
            rows.append(row | measure(build(int8), args.seconds))
            print(rows[-1], flush=True)
    result = {
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average": os.getloadavg(),
        "xnnpack_cpu": "avx2" if "avx512f" in flags else "all",
        "rows": rows,
    }
    args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
