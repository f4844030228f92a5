"""``hashbwn doctor``: what is installed, what a file gives where, what to distrust."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from hashbwn_keras.cli.common import add_overwrite, check_outputs, load_tensorflow, write_json
from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.text import printable

ABOUT = "say what is installed here and what it gives, or what a file gives where"

_FORMS = {
    "hashbwn": "the Interpreter of this package, or TFLite or LiteRT with its library: hashbwn "
    "export (packed), 1 bit a weight on the kernels above",
    "tflite": "TFLite or LiteRT alone: hashbwn export --weights int8, at the speed of float; a "
    "packed file is decoded there, and its layers are slow",
    "lce": "Larq Compute Engine: lce_convert (or hashbwn export --runtime lce)",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        nargs="?",
        help=".tflite file: which layers the native kernels take on which CPU, and why not others; "
        "or .json file of hashbwn benchmark: what to distrust, with status 1 where it lacks what "
        "others need (default: this installation)",
    )
    parser.add_argument(
        "--runtime",
        choices=tuple(_FORMS),
        help="what will run a .tflite file: name the form to export for it alone (default: all)",
    )
    parser.add_argument(
        "--build",
        metavar="TARGET",
        nargs="?",
        const="host",
        help="build the native delegate first, for this machine or a target such as aarch64-linux",
    )
    parser.add_argument(
        "--json",
        metavar="PATH",
        type=Path,
        nargs="?",
        const=Path("-"),
        help="also write the result as JSON; without PATH, print it instead of the text",
    )
    add_overwrite(parser)


def run(args: Namespace) -> int:
    """Examine and print."""
    only_json = args.json == Path("-")
    args.json = None if only_json else args.json
    check_outputs(args)
    if args.build:
        _build(args.build)
    status = 0
    if args.file is None:
        text, content = _of_installation()
    elif args.file.suffix == ".json":
        status, text, content = _of_results(args.file)
    elif args.file.suffix == ".tflite":
        text, content = _of_file(args.file, args.runtime)
    else:
        raise HashBWNError(
            f"{args.file} is neither a .tflite file nor a .json file of hashbwn benchmark: export "
            "the model first."
        )
    print(json.dumps(content, indent=2) if only_json else text)
    write_json(args, content)
    return status


def _build(target: str) -> None:
    load_tensorflow()
    from hashbwn_keras import runtime

    print(runtime.build() if target == "host" else runtime.build(target))


def _of_installation() -> tuple[str, dict[str, Any]]:
    load_tensorflow()
    from hashbwn_keras.cli import installation

    found = installation.examine()
    return installation.text(found), found


def _of_file(file: Path, runtime: str | None) -> tuple[str, dict[str, Any]]:
    load_tensorflow()
    from hashbwn_keras.runtime.claims import claims_of

    claims = claims_of(file)
    forms = {name: text for name, text in _FORMS.items() if runtime in (None, name)}
    lines = [str(claims), "", "What to export for", *(f"  {text}" for text in forms.values())]
    return "\n".join(lines), claims.to_dict() | {"forms": forms}


def _of_results(file: Path) -> tuple[int, str, dict[str, Any]]:
    from hashbwn_keras.benchmark import result_files, trust

    results = result_files.load(file)
    missing = trust.lacks(results)
    found = [(result.label, trust.doubts(result)) for result in results]
    shared = [doubt for doubt in found[0][1] if all(doubt in doubts for _, doubts in found)]
    lines = [f"all {len(found)} results: {doubt}" for doubt in shared]
    lines += [
        f"{label}: {doubt}" for label, doubts in found for doubt in doubts if doubt not in shared
    ]
    text = [f"  * {printable(line)}" for line in lines] or ["Nothing to distrust."]
    if missing:
        text.append(f"Not whole: it lacks {', '.join(missing)}; measure again with this version.")
    else:
        text.append("Whole: it says all that others need to compare it.")
    content = {
        "whole": not missing,
        "lacks": missing,
        "results": [{"label": label, "doubts": doubts} for label, doubts in found],
    }
    return int(bool(missing)), "\n".join(text), content
