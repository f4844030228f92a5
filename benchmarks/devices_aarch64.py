r"""Equality table: exported files on an emulated aarch64 against this machine.

    pip install --no-deps --target SAME ai-edge-litert==1.4.0 tflite-runtime==2.14.0
    python benchmarks/devices_aarch64.py --root ROOT --same SAME --images images.npy FILE...

ROOT is what tflite/raspberrypi/aarch64-root.sh makes, SAME holds the same versions of its runtimes
for this machine (Python 3.11). Each file is run by aarch64 LiteRT and tflite-runtime under qemu,
with and without our library built for aarch64, and the outputs are compared with those of the same
runtime here, with our library where it had it there, and with those of the LiteRT that is installed
here, without our library. Differences are given as shares of the outputs' range and, for files
with int8 activations, in steps of the int8 output. ``--json`` keeps all of it.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from hashbwn_keras import runtime
from hashbwn_keras.benchmark.outputs import outputs

RUNTIMES = {"litert": "ai-edge-litert 1.4.0", "tflite": "tflite-runtime 2.14.0"}
_STEPS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", required=True, help="folder with an aarch64 system")
    parser.add_argument("--same", required=True, help="folder with the same runtimes for here")
    parser.add_argument("--images", type=Path, required=True, help=".npy, [samples, *input shape]")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("files", type=Path, nargs="+")
    arguments = parser.parse_args()
    images = np.load(arguments.images)[:, None]  # batches of one
    print(
        "| file | aarch64 runtime | our library | differs from the same on x86 | from LiteRT on "
        "x86 | same top-1 |\n|---|---|---|---|---|---|",
        flush=True,
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        library = runtime.build("aarch64-linux", Path(folder) / "libhashbwn.so")
        for path in arguments.files:
            for row in compare(path, library, images, arguments.root, arguments.same):
                rows.append(row)
                print("| " + " | ".join(_cells(row)) + " |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps({"images": len(images), "rows": rows}, indent=1))


def compare(path: Path, library: Path, images: np.ndarray, root: str, same: str) -> list[dict]:
    """Return one row for each runtime, without and with our library."""
    here = Path(runtime.delegate_path())
    settings = [(kind, on) for kind in RUNTIMES for on in (False, True)]
    there = outputs(
        [(path, library if on else None, kind) for kind, on in settings], [images], f"qemu:{root}"
    )
    [[stock]] = outputs([(path, None, "litert")], [images])
    os.environ["PYTHONPATH"] = same  # of the processes that run the files
    twins = outputs([(path, here if on else None, kind) for kind, on in settings], [images])
    del os.environ["PYTHONPATH"]
    return [
        {
            "file": path.name,
            "runtime": RUNTIMES[kind],
            "library": on,
            "same": difference(found, twin, stock),
            "stock": difference(found, stock, stock),
            "top1": int((found.argmax(-1) == stock.argmax(-1)).sum()),
            "images": len(images),
        }
        for (kind, on), [found], [twin] in zip(settings, there, twins, strict=True)
    ]


def difference(found: np.ndarray, wanted: np.ndarray, stock: np.ndarray) -> dict:
    """Return the largest difference as a share of the range, and in steps if there are any.

    Values that come from int8 are multiples of one step, but for the last bits of a float, and take
    256 values at most.
    """
    largest, span = float(np.abs(found - wanted).max()), float(np.ptp(stock))
    result: dict = {"relative": largest / span, "steps": None}
    levels = np.unique(stock)
    gaps = np.diff(levels)
    if len(levels) <= _STEPS < stock.size:
        result["steps"] = round(largest / float(gaps[gaps > 1e-4 * span].min()))
    return result


def _cells(row: dict) -> list[str]:
    def shown(entry: dict) -> str:
        steps = entry["steps"]
        if entry["relative"] == 0 or steps == 0:
            return "equal"
        return f"{entry['relative']:.1e}" + ("" if steps is None else f", {steps} steps")

    return [
        row["file"],
        row["runtime"],
        "yes" if row["library"] else "no",
        shown(row["same"]),
        shown(row["stock"]),
        f"{row['top1']} of {row['images']}",
    ]


if __name__ == "__main__":
    main()
