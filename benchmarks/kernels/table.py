"""Writes kernels.md from the JSON of run.py, of one machine or several, and of arm.py.

python table.py kernels.json kernels_avx512.json arm.json > kernels.md
"""

import json
import math
import sys
from itertools import groupby
from pathlib import Path

# Lanes times weights per load, two loads a cycle: what the core loop cannot exceed.
CEILING = {"float32": 80, "int8": 160}


def geomean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values))


def name(row):
    if "name" in row:
        return row["name"]
    if len(row["shape"]) == 2:
        return "{} → {}".format(*row["shape"])
    size, inputs, outputs, k, stride = row["shape"]
    return f"{size}×{size}, {inputs} → {outputs}, {k}×{k}" + (f" / {stride}" if stride > 1 else "")


def tables(result):
    key = lambda r: (r["list"], r["xnnpack_cpu"], r["threads"])  # noqa: E731
    for (group, cpu, threads), rows in groupby(sorted(result["rows"], key=key), key):
        rows = list(rows)
        engine = "confined to AVX2" if cpu == "avx2" else "as it is on this CPU"
        yield f"\n### {group}: XNNPACK {engine}, {threads} thread{'s' * (threads > 1)}\n"
        yield "| | type | XNNPACK ms | ours ms | ratio | quartiles | MAC/cycle | of ceiling |"
        yield "|---|---|---|---|---|---|---|---|"
        for r in rows:
            cycle = share = ""
            if "mac_per_ns" in r and threads == 1:
                macs = r["mac_per_ns"] / r["ghz"]
                cycle = f"{macs:.0f}"
                share = f"{macs / CEILING[r['type']]:.0%}" if len(r["shape"]) == 5 else ""
            low, high = r["ratio_quartiles"]
            yield (
                f"| {name(r)} | {r['type']} | {r['xnnpack_ms']:.3f} | {r['ours_ms']:.3f} | "
                f"{r['ratio']:.2f} | {low:.2f}–{high:.2f} | {cycle} | {share} |"
            )
        for kind in ("float32", "int8"):
            ratios = [r["ratio"] for r in rows if r["type"] == kind]
            yield (
                f"| **geomean** / worst | {kind} | | | **{geomean(ratios):.2f}** / "
                f"{min(ratios):.2f} | | | |"
            )


def arm_tables(result):
    yield "\n## 64-bit ARM, emulated: executed instructions, XNNPACK's over ours\n"
    yield "No ARM machine was at hand. More than 1 means we execute fewer; this is not time.\n"
    yield "| CPU | list | type | shapes | geomean | worst | our MAC per instruction |"
    yield "|---|---|---|---|---|---|---|"
    key = lambda r: (r["cpu"], r["list"], r["type"])  # noqa: E731
    for (cpu, group, kind), rows in groupby(sorted(result["rows"], key=key), key):
        rows = list(rows)
        ratios = [r["ratio"] for r in rows]
        macs = geomean(r["mac_per_instruction"] for r in rows)
        yield (
            f"| {cpu} | {group} | {kind} | {len(rows)} | {geomean(ratios):.2f} | "
            f"{min(ratios):.2f} | {macs:.1f} |"
        )


def main():
    *x86, arm = (json.loads(Path(p).read_text()) for p in sys.argv[1:])
    print("# Native 1-bit kernels against XNNPACK\n")
    print("Ratio = XNNPACK's time / ours, medians of interleaved runs; quartiles of the per-round")
    print("ratio. The ceiling is the core loop's: two 32-byte loads a cycle, each of 8 float or 16")
    print("int16 pixels times 5 weights.")
    for machine in x86:
        print(f"\n## {machine['cpu']}, {machine['cpus']} cores\n")
        print(f"TensorFlow {machine['tensorflow']}, our kernels: {machine['kernels']}.")
        print(machine.get("how", ""))
        print("\n".join(tables(machine)))
    print("\n".join(arm_tables(arm)))


if __name__ == "__main__":
    main()
