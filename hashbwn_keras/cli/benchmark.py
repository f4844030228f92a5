"""``hashbwn benchmark``: times of .tflite files here or on a device."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hashbwn_keras.cli.common import add_shape
from hashbwn_keras.files import check_writable

ABOUT = "measure .tflite files here or on a device"


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
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
    add(
        "--data",
        metavar="PATH",
        type=Path,
        help="samples to run, as the files take them: .npy, or .npz with x or an array for each "
        "input by its name (default: random numbers; 0 for inputs of whole numbers)",
    )
    add_shape(parser)
    add("--json", metavar="PATH", help="write the results there")
    add("--overwrite", action="store_true", help="replace an existing --json file")


def run(args: Namespace) -> int:
    """Measure, print the table, write the JSON."""
    from tqdm import tqdm

    from hashbwn_keras.benchmark import measure, result_files, table
    from hashbwn_keras.benchmark.plan import Plan

    if args.json:
        check_writable(args.json, args.overwrite)
    plan = Plan(
        args.files,
        args.on,
        threads=args.threads,
        runs=args.runs,
        warmup=args.warmup,
        rounds=max(1, min(args.rounds, args.runs)),
        delegates=args.delegate or ("auto",),
        runtime=args.runtime,
        tool=args.tool,
        python=args.python,
        cpus=args.cpus,
        data=args.data,
        shapes=args.shape,
    )
    with tqdm(total=plan.rounds, unit="round", file=sys.stderr, disable=None) as bar:
        results = measure.benchmark(plan, bar.update)
    if args.json:
        result_files.save(results, args.json, args.overwrite)
    print(table.text(results), end="")
    return 0
