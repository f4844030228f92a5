"""Every model of keras.applications with convolutions: Keras 3 -> binarize -> to_tflite -> verify.

The weights are random: what is shown is that each model goes through, computes the same on both
Keras versions and in its file, and how long that takes. Only some layers of each are made binary,
spread evenly over those that binarize would choose, so that all models can be run.

    python benchmarks/keras3_applications.py --models MobileNet ResNet50 --out results.json
"""

import argparse
import json
import platform
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import hashbwn_keras as hk
from hashbwn_keras.binarizer.selection import select
from hashbwn_keras.network.graph import Network

SEED = 0
SMALLEST = {"InceptionV3": 75, "Xception": 71, "InceptionResNetV2": 75}
SIZE = 64
KEYS = ("rebuild_s", "binarize_s", "convert_s", "verify_s")


def names() -> list[str]:
    """The functions of keras.applications that make a model."""
    found = []
    for name in dir(keras.applications):
        if name[0].isupper() and callable(getattr(keras.applications, name)):
            found.append(name)
    return found


def timed(function: Callable, *args: Any, **kwargs: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(*args, **kwargs), time.perf_counter() - start


def randomise(model: Any) -> None:
    """Give batch-norms statistics, so that the outputs differ from image to image."""
    random = np.random.default_rng(SEED)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            for weight in layer.weights:
                spread = weight.name in ("gamma", "moving_variance")
                values = random.uniform(0.5, 1.5, weight.shape)
                weight.assign(values if spread else (values - 1) / 5)


def run(name: str, images: int, layers: int) -> dict[str, Any]:
    keras.backend.clear_session()
    keras.utils.set_random_seed(SEED)
    size = SMALLEST.get(name, SIZE)
    model = getattr(keras.applications, name)(
        weights=None, input_shape=(size, size, 3), classifier_activation=None
    )
    randomise(model)
    data = np.random.default_rng(SEED).uniform(0, 255, (images, size, size, 3)).astype(np.float32)
    rebuilt, rebuild_s = timed(hk.to_keras2, model)
    wanted, found = (each.predict(data[:4], verbose=0) for each in (model, rebuilt))
    network = Network.of(rebuilt)
    chosen = sorted(network.labels[layer] for layer in select(network, None).chosen)
    some = [chosen[i * len(chosen) // layers] for i in range(min(layers, len(chosen)))]
    some = list(dict.fromkeys(some))
    binary, binarize_s = timed(hk.binarize, model, data, filters=some, repair=False)
    file, convert_s = timed(hk.export.to_tflite, binary)
    verified, verify_s = timed(hk.export.verify, binary, file, data[:2])
    return {
        "model": name,
        "input": size,
        "parameters": model.count_params(),
        "layers": len(model.layers),
        "binary_layers": len(some),
        "error": float(np.abs(wanted - found).max() / np.abs(wanted).max()),
        "weights_equal": all(
            any(np.array_equal(a, b) for b in twin.get_weights())
            for layer in model.layers
            if not isinstance(layer, keras.layers.Normalization)
            for twin in [rebuilt.get_layer(layer.name)]
            for a in layer.get_weights()
        ),
        "rebuild_s": rebuild_s,
        "binarize_s": binarize_s,
        "convert_s": convert_s,
        "verify_s": verify_s,
        "bytes": len(file),
        "ok": verified.ok,
    }


def table(results: list[dict[str, Any]]) -> str:
    head = "| model | parameters | input | rebuild | binarize | to_tflite | verify | error | ok |"
    rows = [head, "|---|--:|--:|--:|--:|--:|--:|--:|---|"]
    for r in results:
        if "failed" in r:
            rows.append(f"| {r['model']} | | | | | | | | {r['failed']} |")
            continue
        times = " | ".join(f"{r[key]:.1f} s" for key in KEYS)
        good = "yes" if r["ok"] and r["weights_equal"] else "no"
        rows.append(
            f"| {r['model']} | {r['parameters']:,} | {r['input']} | {times} "
            f"| {r['error']:.0e} | {good} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=names())
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--layers", type=int, default=4, help="layers that are made binary")
    parser.add_argument("--out", type=Path, default=Path("keras3_applications.json"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    about = {
        "machine": platform.machine(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "images": args.images,
        "seed": SEED,
    }
    results = json.loads(args.out.read_text())["results"] if args.out.exists() else []
    done = {result["model"] for result in results}
    for name in args.models:
        if name in done:
            continue
        try:
            results.append(run(name, args.images, args.layers))
        except Exception as error:  # a table shows every failure, of whatever kind
            results.append({"model": name, "failed": f"{type(error).__name__}: {error}"[:300]})
        print(json.dumps(results[-1]), flush=True)
        args.out.write_text(json.dumps({**about, "results": results}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
