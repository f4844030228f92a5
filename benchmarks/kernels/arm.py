"""Executed instructions on an emulated 64-bit ARM, ours and XNNPACK's. Instructions are not time.

    python benchmarks/kernels/arm.py --root ROOT --packages DIR --json benchmarks/kernels/arm.json

ROOT is an unpacked Debian bookworm for arm64 with Python 3.11, DIR holds the unpacked aarch64
wheels of numpy and ai-edge-litert; tflite/raspberrypi/aarch64-root.sh makes both. Needs
qemu-aarch64 7.2, gcc and the ziglang package.
"""

import argparse
import json
import os
import re
import subprocess
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import models
import numpy as np

from hashbwn_keras import runtime

LISTS = {
    "3×3": (models.conv_layer, models.SHAPES_3X3),
    "ResNet-18 1×1 and stride 2": (models.conv_layer, models.SHAPES_RESNET18),
    "Dense": (models.dense_layer, models.DENSE),
}


def count(args, cpu: str, folder: Path, paths: list[Path]) -> list[tuple[int, int]]:
    """(XNNPACK's, our) instructions per model."""
    plugin = folder / "count.so"
    source = Path(__file__).with_name("count_instructions.c")
    subprocess.run(["gcc", "-O2", "-shared", "-fPIC", "-o", plugin, source], check=True)
    library = folder / "libhashbwn.so"
    if not library.exists():
        runtime.build("aarch64-linux", library)
    command = ["qemu-aarch64", "-plugin", plugin, "-cpu", cpu, "-L", args.root]
    command += ["-E", f"PYTHONPATH={args.packages}", "-E", "OPENBLAS_NUM_THREADS=1"]
    command += [f"{args.root}/usr/bin/python3.11", Path(__file__).with_name("arm_guest.py")]
    done = subprocess.run(
        [*map(str, command), str(library), *map(str, paths)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    print(done.stdout)
    marks = re.findall(r"MARK (\d+) (\d+)", done.stderr)
    stock = [int(n) for kind, n in marks if kind == "1"]
    ours = [int(n) for kind, n in marks if kind == "2"]
    return list(zip(stock, ours, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", required=True)
    parser.add_argument("--packages", required=True)
    parser.add_argument("--cpus", nargs="*", default=["cortex-a72", "cortex-a76"])
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        work = []
        for group, (make, shapes) in LISTS.items():
            for int8 in (False, True):
                for spec in shapes:
                    path = folder / f"{len(work)}.tflite"
                    content, macs = make(spec, int8)
                    path.write_bytes(content)
                    work.append((group, "int8" if int8 else "float32", spec, macs, path))
        for cpu in args.cpus:
            counts = count(args, cpu, folder, [w[4] for w in work])
            for (group, kind, spec, macs, _), (stock, ours) in zip(work, counts, strict=True):
                rows.append(
                    {"cpu": cpu, "list": group, "type": kind, "shape": spec, "xnnpack": stock,
                     "ours": ours, "ratio": round(stock / ours, 3),
                     "mac_per_instruction": round(macs / ours, 2)}
                )  # fmt: skip
                print(rows[-1])
    for cpu in args.cpus:
        for group in LISTS:
            for kind in ("float32", "int8"):
                r = [
                    w["ratio"]
                    for w in rows
                    if (w["cpu"], w["list"], w["type"]) == (cpu, group, kind)
                ]
                print(cpu, group, kind, "geomean", round(float(np.exp(np.mean(np.log(r)))), 2))
    text = json.dumps({"emulator": "qemu-user 7.2", "rows": rows}, indent=1, ensure_ascii=False)
    args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
