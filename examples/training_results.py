"""Table and plot of the results of a training experiment, as ``training_helper`` keeps them."""

from pathlib import Path
from typing import Any

import numpy as np

from hashbwn_keras.files import staged

NAMES = {
    "float": "float",
    "float-labels": "float, trained further by labels",
    "bwn": "sign(w) · mean of abs(w) (BWN)",
    "paper": "the paper's solver",
    "ours": "`binarize`",
    "bwn-labels": "trained from BWN by labels",
    "paper-labels": "trained from the paper's solver by labels",
    "ours-labels": "trained from `binarize` by labels",
    "bwn-trained": "trained from BWN",
    "paper-trained": "trained from the paper's solver",
    "ours-trained": "trained from `binarize`",
}


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown."""
    settings = ", ".join(f"{name} {value}" for name, value in results["settings"].items())
    lines = [settings, "", "| | test accuracy | below float | step |", "|---|---|---|---|"]
    base = _accuracies(results, "float")
    for row, name in NAMES.items():
        found = _accuracies(results, row)
        if not found:
            continue
        gap = np.mean([base[seed] - value for seed, value in found.items()])
        tested = [r for r in results["runs"] if r["row"] == row and "test" in r]
        rates = sorted({r["rate"] for r in tested if "rate" in r})
        values = np.array(list(found.values()))
        spread = f"{values.mean():.2%} ({values.min():.2%} to {values.max():.2%})"
        below = "" if row == "float" else f"{100 * gap:.2f}"
        lines.append(f"| {name} | {spread} | {below} | {' '.join(f'{r:g}' for r in rates)} |")
    for file in results["files"][:1]:
        lines += ["", f"File: {file['bytes']:,} bytes, float {file['float_bytes']:,} bytes; "
                  f"largest error {file['error']:.1e} of the output's range."]  # fmt: skip
    return "\n".join(lines)


def plot(results: dict[str, Any], path: Path, overwrite: bool) -> None:
    """Draw the accuracies, a dot for each seed.

    Raises:
        ImportError: no matplotlib.
        HashBWNError: the file exists and ``overwrite`` is false.
    """
    from matplotlib.figure import Figure

    rows = [row for row in NAMES if _accuracies(results, row)]
    figure = Figure(figsize=(7, 1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        values = [100 * value for value in _accuracies(results, row).values()]
        colour = "tab:red" if row.startswith("ours") else "tab:gray"
        axes.plot(values, [place] * len(values), "o", color=colour, alpha=0.7)
    axes.set_yticks(range(len(rows)), [NAMES[row].replace("`", "") for row in reversed(rows)])
    axes.set_xlabel("test accuracy, %, a dot for each seed")
    axes.grid(axis="x", alpha=0.3)
    with staged(path, overwrite) as draft:
        figure.savefig(draft)


def _accuracies(results: dict[str, Any], row: str) -> dict[int, float]:
    """Test accuracy by seed."""
    return {r["seed"]: r["test"] for r in results["runs"] if r["row"] == row and "test" in r}
