"""``hashbwn benchmark`` and the part of ``hashbwn report`` that reads its files."""

import argparse
import sys
from pathlib import Path

from hashbwn_keras.files import check_writable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``hashbwn benchmark``."""
    parser.description = (
        "Measure .tflite files on this machine, an Android device or a machine behind ssh. The "
        "files take turns, and times are medians. What is copied to the device is removed again."
    )
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help=".tflite file; the first one is the baseline")
    add(
        "--on",
        default="host",
        help="host, android[:SERIAL], ssh://user@host, or qemu:FOLDER[:CPU] to count the "
        "instructions of an emulated aarch64 (default: host)",
    )
    add("--threads", type=int, default=1, help="threads of the runtime (default: 1)")
    add("--runs", type=int, default=50, help="timed inferences of each file (default: 50)")
    add("--warmup", type=int, default=5, help="inferences before those (default: 5)")
    add("--rounds", type=int, default=5, help="how often the files take turns (default: 5)")
    add(
        "--delegate",
        action="append",
        metavar="auto|off|PATH",
        help="our library: auto takes the one for the device; give the option twice to measure "
        "with and without (default: auto)",
    )
    add(
        "--runtime",
        choices=("auto", "litert", "tflite", "lce"),
        default="auto",
        help="auto takes lce for files with its operators, else LiteRT or TensorFlow Lite",
    )
    add(
        "--tool",
        default="",
        metavar="runner|app|litert-benchmark|PATH",
        help="what measures: our Python runner, Android's benchmark app, LiteRT's tool, or a "
        "benchmark_model or lce_benchmark_model binary (a local one is copied there); default: "
        "what the device has",
    )
    add(
        "--python",
        default="",
        help="Python of the device (default: ~/hashbwn/bin/python or python3)",
    )
    add("--cpus", default="", help="processors to run on, such as 4-7 (default: all)")
    add("--json", metavar="PATH", help="write the results there")
    add("--overwrite", action="store_true", help="replace an existing --json file")


def run(args: argparse.Namespace) -> int:
    """Measure, print the table, write the JSON; return the exit status."""
    from tqdm import tqdm

    from hashbwn_keras.benchmark import measure, results as schema, table

    if args.json:
        check_writable(args.json, args.overwrite)
    rounds = max(1, min(args.rounds, args.runs))
    with tqdm(total=rounds, unit="round", file=sys.stderr, disable=None) as bar:
        results = measure.benchmark(
            args.files,
            args.on,
            threads=args.threads,
            runs=args.runs,
            warmup=args.warmup,
            rounds=rounds,
            delegate=tuple(args.delegate or ("auto",)),
            runtime=args.runtime,
            tool=args.tool,
            python=args.python,
            cpus=args.cpus,
            step=bar.update,
        )
    if args.json:
        schema.save(results, args.json, args.overwrite)
    print(table.text(results), end="")
    return 0


def report(paths: list[str], plot: str | None = None, overwrite: bool = False) -> str:
    """Return one table of several result files, and draw them if ``plot`` names a file.

    Raises:
        HashBWNError: a file is no benchmark result.
    """
    from hashbwn_keras.benchmark import results as schema, table

    results = [result for path in paths for result in schema.load(Path(path))]
    if plot:
        table.plot(results, plot, overwrite)
    return table.text(results)
