"""Equality table: exported files on an emulated aarch64 against this machine.

    python benchmarks/devices_aarch64.py ROOT FILE...

ROOT is what tflite/raspberrypi/aarch64-root.sh makes. Each file is run by aarch64 LiteRT and
tflite-runtime under qemu, with and without our library built for aarch64, on the same seeded input
as here, and the largest difference is given as a share of the output's range.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

sys.path.insert(0, str(Path(__file__).parents[1]))

from hashbwn_keras import runtime
from hashbwn_keras.benchmark.outputs import outputs


def main(root: str, names: list[str]) -> None:
    paths = [Path(name) for name in names]
    shape = Interpreter(names[0]).get_input_details()[0]["shape"]
    x = [np.random.default_rng(0).normal(size=shape).astype(np.float32)]
    print("| file | aarch64 runtime | our library | max difference / range | same top-1 |")
    print("|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        library = runtime.build("aarch64-linux", Path(folder) / "libhashbwn.so")
        for path in paths:
            compare(path, library, x, root)


def compare(path: Path, library: Path, x: list[np.ndarray], root: str) -> None:
    cases = [(path, lib, kind) for kind in ("litert", "tflite") for lib in (None, library)]
    [[wanted]] = outputs([(path, None, "litert")], x)
    for (_, lib, kind), [found] in zip(cases, outputs(cases, x, f"qemu:{root}"), strict=True):
        difference = np.abs(found - wanted).max() / np.ptp(wanted)
        top = "yes" if found.argmax() == wanted.argmax() else "NO"
        used = "yes" if lib else "no"
        print(f"| {path.name} | {kind} | {used} | {difference:.1e} | {top} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
