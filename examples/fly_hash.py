"""The fly's hash beside binary codes: how well neighbours and inner products survive.

    python examples/fly_hash.py --data-dir fashion-mnist --plot fly.svg

Compares on images and on activations of a trained layer, at equal numbers of bits: the fly's sparse
binary expansion with winner-take-all (Dasgupta, Stevens, Navlakha, Science 2017), dense Gaussian
LSH (Charikar, STOC 2002), and LSH on rotated principal directions: float, their signs, and codes
solved so that projections onto them keep those onto the float directions. See docs/fly.md.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from math import comb, log2
from pathlib import Path
from typing import Any

import hashbwn_keras as hk

# isort: split
import numpy as np
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm
from vgg9_cifar import vgg9

from hashbwn_keras.demo import datasets, network
from hashbwn_keras.files import atomic_write, check_writable, staged
from hashbwn_keras.solver import hashing

EXPANSION = 10
"""Kenyon cells for each input. The fly has 2,000 for 50, which would be many for 784 pixels."""
SAMPLED = 0.1
"""Share of the inputs that each Kenyon cell sums up."""
NEIGHBOURS = 0.02
"""Share of the data base that counts as the true neighbours of a query."""
WIDTH = 0.125
LAYER = "flatten"

FLY, FLY_WINNERS = "fly, equal bits", "fly, a winner for each bit"
GAUSSIAN = "Gaussian directions"
FLOAT, SIGN, SOLVED = "principal directions", "their signs", "solved codes"
COLOURS = {
    FLY: "tab:green",
    FLY_WINNERS: "lightgreen",
    GAUSSIAN: "tab:gray",
    FLOAT: "black",
    SIGN: "tab:blue",
    SOLVED: "tab:red",
}


def main() -> int:
    """Print the table; returns the exit status."""
    args = _arguments()
    for path in (args.json, args.plot):
        if path:
            check_writable(path, args.overwrite)
    data = datasets.load("fashion_mnist", args.data_dir, seed=0)
    results: dict[str, Any] = {"settings": {n: getattr(args, n) for n in ("database", "queries",
                               "seeds", "bits")}, "sets": {}}  # fmt: skip
    for name, (base, queries) in _vectors(data, args).items():
        results["sets"][name] = _compare(base, queries, args.bits, args.seeds, name)
    print(_table(results))
    if args.json:
        atomic_write(args.json, json.dumps(results, indent=1).encode() + b"\n", args.overwrite)
    if args.plot:
        _plot(results, args.plot, args.overwrite)
    return 0


def _vectors(
    data: datasets.Dataset, args: argparse.Namespace
) -> dict[str, tuple[NDArray, NDArray]]:
    """Data base and queries of each comparison, float32 ``[n, d]``, the data base's mean taken off.

    Neither is among the images that the network was trained on.
    """
    if args.model:
        model = hk.load_model(args.model)
    else:
        tf_keras.utils.set_random_seed(0)
        model = vgg9(data.train_images.shape[1:], 10, WIDTH)
        network.train(model, data.train_images[: args.train], data.train_labels[: args.train], 2)
    images = data.train_images[-args.database :], data.test_images[: args.queries]
    inside = tf_keras.Model(model.inputs, model.get_layer(args.layer).output)
    active = [inside.predict(part, batch_size=250, verbose=0) for part in images]
    found = {"pixels": images, "activations": active}
    return {name: _centred(*(x.reshape(len(x), -1) for x in pair)) for name, pair in found.items()}


def _centred(base: NDArray, queries: NDArray) -> tuple[NDArray, NDArray]:
    mean = base.mean(0)
    return base - mean, queries - mean


def _compare(
    base: NDArray, queries: NDArray, lengths: list[int], seeds: int, name: str
) -> dict[str, Any]:
    """Quality of every method, ``[seed][length]`` of mean average precision and correlation."""
    inner = queries @ base.T
    distance = (base**2).sum(1) - 2 * inner
    count = max(1, round(NEIGHBOURS * len(base)))
    near = np.zeros(inner.shape, bool)
    np.put_along_axis(near, np.argpartition(distance, count, axis=1)[:, :count], True, axis=1)
    found: dict[str, Any] = {}
    for seed in tqdm(range(seeds), desc=name, unit="seed", disable=None):
        scores: dict[str, list] = {}
        for method, similarity in _similarities(base, queries, lengths, seed):
            ties = np.random.default_rng(seed)
            scores.setdefault(method, []).append(
                (_precision(similarity, near, ties), _correlation(similarity, inner))
            )
        for method, pairs in scores.items():
            each = found.setdefault(method, {"precision": [], "correlation": []})
            each["precision"].append([pair[0] for pair in pairs])
            each["correlation"].append([pair[1] for pair in pairs])
    return found


def _similarities(
    base: NDArray, queries: NDArray, lengths: list[int], seed: int
) -> Iterator[tuple[str, NDArray]]:
    """Every method at every length: similarity of the codes ``[queries, data base]``."""
    rng = np.random.default_rng(seed)
    size = base.shape[1]
    gram = (base.T.astype(np.float64) @ base) / len(base)
    directions = np.linalg.eigh(gram)[1][:, ::-1]
    cells = EXPANSION * size
    fly = _fly(base, queries, cells, max(lengths), rng)
    gaussian = rng.normal(size=(size, max(lengths)))
    for bits in lengths:
        yield FLY, fly(winners_within(bits, cells))
        yield FLY_WINNERS, fly(bits)
        yield GAUSSIAN, _hamming(base, queries, gaussian[:, :bits])
        rotation = np.linalg.qr(rng.normal(size=(bits, bits)))[0]
        w = directions[:, :bits] @ rotation
        solved = hashing.solve(gram, gram @ w, init=w, seed=seed).codes
        yield FLOAT, _hamming(base, queries, w)
        yield SIGN, _hamming(base, queries, np.where(w >= 0, 1, -1))
        yield SOLVED, _hamming(base, queries, solved)


def winners_within(bits: int, cells: int) -> int:
    """The most winners that ``bits`` bits can tell: log2 of all choices among ``cells`` cells.

    Raises:
        HashBWNError: not even one.
    """
    winners = 0
    while winners < cells // 2 and log2(comb(cells, winners + 1)) <= bits:
        winners += 1
    if not winners:
        raise hk.HashBWNError(
            f"{bits} bits cannot tell which of {cells} cells won: give --bits {cells.bit_length()} "
            "or more."
        )
    return winners


def _fly(
    base: NDArray, queries: NDArray, cells: int, most: int, rng: np.random.Generator
) -> Callable[[int], NDArray]:
    """Return a function of the number of winners that gives the shared winners of all pairs.

    Each cell adds up its share of the inputs; the cells with the largest sums win.
    """
    size = base.shape[1]
    connections = np.zeros((size, cells), np.float32)
    for cell in range(cells):
        connections[rng.choice(size, max(1, round(SAMPLED * size)), replace=False), cell] = 1
    first, second = (_winners(x @ connections, most) for x in (queries, base))

    def similarity(winners: int) -> NDArray:
        fired = np.zeros((cells, len(base)), np.uint8)
        fired[second[:, :winners].T, np.arange(len(base))] = 1
        return np.stack([fired[mine].sum(0, dtype=np.int32) for mine in first[:, :winners]])

    return similarity


def _winners(activity: NDArray, most: int) -> NDArray:
    """Numbers of the ``most`` most active cells of each row, the most active first."""
    found = np.argpartition(-activity, most - 1, axis=1)[:, :most]
    order = np.argsort(-np.take_along_axis(activity, found, 1), axis=1, kind="stable")
    return np.take_along_axis(found, order, 1)


def _hamming(base: NDArray, queries: NDArray, directions: NDArray) -> NDArray:
    """Bits in common less bits that differ, of the signs of the projections."""
    w = directions.astype(np.float32)
    first, second = (np.where(x @ w >= 0, np.float32(1), np.float32(-1)) for x in (queries, base))
    return first @ second.T


def _precision(similarity: NDArray, near: NDArray, ties: np.random.Generator) -> float:
    """Mean average precision of the true neighbours when all are ranked by similarity.

    Equally similar ones are put in an order of chance.
    """
    order = np.lexsort((ties.random(similarity.shape), -similarity), axis=1)
    hit = np.take_along_axis(near, order, 1)
    precision = hit.cumsum(1) / np.arange(1, hit.shape[1] + 1)
    return float(((precision * hit).sum(1) / hit.sum(1)).mean())


def _correlation(similarity: NDArray, inner: NDArray) -> float:
    """Pearson's correlation of the codes' similarity with the vectors' inner product.

    Codes that are all equally similar tell nothing: 0.
    """
    if np.ptp(similarity) == 0:
        return 0.0
    return float(np.corrcoef(similarity.ravel(), inner.ravel())[0, 1])


def _table(results: dict[str, Any]) -> str:
    """Mean over the seeds, in Markdown."""
    lengths = results["settings"]["bits"]
    lines = [", ".join(f"{name} {value}" for name, value in results["settings"].items())]
    for measure in ("precision", "correlation"):
        for name, methods in results["sets"].items():
            lines += ["", f"| {measure}, {name} | " + " | ".join(f"{n} bits" for n in lengths)
                      + " | spread |", "|---" * (len(lengths) + 2) + "|"]  # fmt: skip
            for method, found in methods.items():
                values = np.array(found[measure])
                cells = " | ".join(f"{value:.3f}" for value in values.mean(0))
                lines.append(f"| {method} | {cells} | {np.ptp(values, axis=0).max():.3f} |")
    return "\n".join(lines)


def _plot(results: dict[str, Any], path: Path, overwrite: bool) -> None:
    """A panel for each measure and set, a line for each method, its band the spread of the seeds.

    Raises:
        ImportError: no matplotlib.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), layout="constrained")
    panels = figure.subplots(2, len(results["sets"]), sharex=True, squeeze=False)
    lengths = results["settings"]["bits"]
    for row, measure in zip(panels, ("precision", "correlation"), strict=True):
        for axes, (name, methods) in zip(row, results["sets"].items(), strict=True):
            for method, found in methods.items():
                values = np.array(found[measure])
                axes.plot(lengths, values.mean(0), ".-", color=COLOURS[method], label=method)
                axes.fill_between(
                    lengths, values.min(0), values.max(0), color=COLOURS[method], alpha=0.2, lw=0
                )
            axes.set(title=f"{measure}, {name}", xscale="log", ylim=(0, 1))
            axes.set_xticks(lengths, [str(n) for n in lengths])
            axes.minorticks_off()
            axes.grid(alpha=0.3)
    for axes in panels[-1]:
        axes.set_xlabel("bits")
    named = panels[0][0].get_legend_handles_labels()
    figure.legend(*named, loc="outside lower center", ncols=3, fontsize="small")
    with staged(path, overwrite) as draft:
        figure.savefig(draft, dpi=80)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--data-dir", type=Path, help="folder with Fashion-MNIST's .gz files")
    add("--model", type=Path, help="a network for Fashion-MNIST; without it one is trained")
    add("--layer", default=LAYER, help=f"whose activations to take ({LAYER})")
    add("--train", type=int, default=10_000, help="images to train on (10000)")
    add("--database", type=int, default=5000, help="vectors to search in (5000)")
    add("--queries", type=int, default=500, help="test images to search for (500)")
    add("--bits", type=int, nargs="+", default=[16, 32, 64, 128], help="lengths (16 32 64 128)")
    add("--seeds", type=int, default=3, help="runs of everything (3)")
    add("--json", type=Path, help="write the results here as well")
    add("--plot", type=Path, help="write a plot here (.png, .svg)")
    add("--overwrite", action="store_true", help="allow replacing these two files")
    args = parser.parse_args()
    counts = (args.train, args.database, args.queries, args.seeds, *args.bits)
    if min(counts) < 1:
        parser.error("give numbers of 1 or more")
    return args


if __name__ == "__main__":
    try:
        sys.exit(main())
    except hk.HashBWNError as error:
        sys.exit(f"fly_hash: {error}")
