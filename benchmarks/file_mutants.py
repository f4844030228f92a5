"""Damaged .tflite files through inspect, to_tflite and verify: only results and sentences come out.

    python benchmarks/file_mutants.py [--count 10000] [--seed 0] [--json file_mutants.json]

Every mutant has one to five changes: a bit, a byte, a number, or it is cut off. It stops at the
first raw exception, with the number of the mutant and the seed.
"""

import argparse
import json
import platform
import resource
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "export"))
import mutants


def main() -> None:
    """Count what comes out and print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, data, files = mutants.seeds()
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch, mutants.one_child(patch):
        found = mutants.outcomes(options.count, options.seed, model, data, files)
    result = {
        "mutants": options.count,
        "seed": options.seed,
        "seconds": round(time.monotonic() - began, 1),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "peak_mib_of_children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "machine": f"{platform.machine()} {platform.system()}",
        "outcomes": {" ".join(key): count for key, count in sorted(found.items())},
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


if __name__ == "__main__":
    main()
