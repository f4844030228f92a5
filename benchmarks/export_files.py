"""Bytes, exactness and latency of every form of the exported files, and what int8 activations cost.

    python benchmarks/export_files.py --resnet BINARY.keras --data-dir cifar-10-batches-py \
        --mobilenet mobilenet_7_5_224_tf.h5 --json benchmarks/export_files.json

VGG9 has the shape of BinaryConnect's CIFAR-10 network with random ±α weights: bytes and latency do
not depend on the values. ``--resnet`` is a binarised ResNet-20 (``hashbwn binarize``), whose
accuracy is taken on the test images in ``--data-dir``. In MobileNet, only the depthwise layers are
made binary: it shows what becomes of small filters. Latencies are medians of interleaved runs
at batch 1 on one thread, in milliseconds of processor time: on a busy machine, wall time says how
often the one thread had to wait for its turn, and TensorFlow's own convolution waits most.
"""

import argparse
import json
import pickle
import platform
import sys
import time
from pathlib import Path

import numpy as np

import hashbwn_keras

# isort: split
import tensorflow as tf
import tf_keras
from tqdm import tqdm

from hashbwn_keras import export
from hashbwn_keras.runtime import engines
from hashbwn_keras.tflite.filters import read_filters

MOBILENET = "MobileNet 0.75, depthwise layers binary"
DELEGATE = "tf.lite + delegate"
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])


def vgg9(seed: int = 0) -> tf_keras.Model:
    """Build 2×128C3–MP2–2×256C3–MP2–2×512C3–MP2–2×1024FC–softmax with batch-norm."""
    tf_keras.utils.set_random_seed(seed)
    layers = tf_keras.layers
    image = x = tf_keras.Input((32, 32, 3), name="image")
    for block, filters in enumerate((128, 256, 512), 1):
        for number in (1, 2):
            first = (block, number) == (1, 1)
            conv = layers.Conv2D if first else hashbwn_keras.HashBinaryConv2D
            name = f"conv{block}_{number}"
            x = conv(filters, 3, padding="same", use_bias=False, name=name)(x)
            if number == 2:
                x = layers.MaxPool2D()(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Flatten()(x)
    for number in (1, 2):
        x = hashbwn_keras.HashBinaryDense(1024, use_bias=False, name=f"dense{number}")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
    model = tf_keras.Model(image, layers.Dense(10, activation="softmax", name="last")(x))
    model(np.random.default_rng(seed).normal(size=(64, 32, 32, 3)), training=True)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # one pass in training mode sets the statistics
    model(np.random.default_rng(seed).normal(size=(64, 32, 32, 3)), training=True)
    return model


def mobilenet(weights: Path) -> tf_keras.Model:
    """Build MobileNet 0.75 for 224×224 with the depthwise kernels made ±mean(abs)."""
    model = tf_keras.applications.MobileNet(alpha=0.75, weights=str(weights))
    for layer in model.layers:
        if isinstance(layer, tf_keras.layers.DepthwiseConv2D):
            (kernel,) = layer.get_weights()
            scale = np.abs(kernel).mean((0, 1), keepdims=True)
            layer.set_weights([np.where(kernel < 0, -scale, scale)])
    return model


def cifar10(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the first 2,048 training images and the test images and labels, normalised."""

    def read(name: str) -> dict:
        with open(folder / name, "rb") as stream:
            return pickle.load(stream, encoding="bytes")

    def images(batch: dict) -> np.ndarray:
        pixels = batch[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return ((pixels / np.float32(255) - MEAN) / STD).astype(np.float32)

    test = read("test_batch")
    return images(read("data_batch_1"))[:2048], images(test), np.array(test[b"labels"])


def files_of(model: tf_keras.Model, calibration: np.ndarray) -> dict[str, bytes]:
    """Export ``model`` in every form."""
    integer = {"activations": "int8", "calibration_data": calibration}
    files: dict[str, bytes] = {}
    forms = {
        "float": lambda: export.to_tflite(model, weights="float"),
        "int8": lambda: export.to_tflite(files["float"], weights="int8"),
        "packed": lambda: export.to_tflite(files["float"], weights="packed"),
        "int8 activations": lambda: export.to_tflite(model, weights="int8", **integer),
        "packed, int8 activations": lambda: export.to_tflite(files["int8 activations"]),
        "lce float": lambda: export.to_lce(model, weights="float"),
        "lce packed": lambda: export.to_lce(model, weights="packed"),
    }
    for name, make in tqdm(forms.items(), desc="export"):
        files[name] = make()
    return files


def sizes(files: dict[str, bytes]) -> dict[str, dict]:
    """Return bytes of each file, and bits per binary weight.

    All bytes beyond what the float file has without its binary filters count: bits, scales,
    operators, tensors, metadata.
    """
    _, filters = read_filters(files["float"])
    weights = sum(found.size for found in filters if found.binary)
    rest = len(files["float"]) - 4 * weights
    result = {}
    for name, content in files.items():
        result[name] = {
            "bytes": len(content),
            "float_over_this": len(files["float"]) / len(content),
            "binary_weights": weights,
        }
        if "activations" not in name:
            result[name]["bits_per_binary_weight"] = 8 * (len(content) - rest) / weights
    return result


def latencies(files: dict[str, bytes], sample: np.ndarray, seconds: float) -> dict[str, dict]:
    """Return milliseconds of each form in each interpreter, interleaved, and of loading it."""
    runs, load = {}, {}
    for runtime in engines.installed():
        for name, content in files.items():
            flat, _ = read_filters(content)
            if engines.why_not(runtime.runtime, flat):
                continue
            start = time.perf_counter()
            engine = runtime.load(content)
            engine.prepare([sample.shape])
            engine.run([sample])
            load[runtime.name, name] = time.perf_counter() - start
            runs[runtime.name, name] = engine.run
    for name, content in files.items():
        if not name.startswith("lce"):
            start = time.perf_counter()
            native = hashbwn_keras.Interpreter(content)
            native.predict(sample)
            load[DELEGATE, name] = time.perf_counter() - start
            runs[DELEGATE, name] = lambda samples, native=native: native.predict(samples[0])
    times: dict[tuple[str, str], list[tuple[float, float]]] = {key: [] for key in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or min(map(len, times.values())) < 7:
        for key, run in runs.items():
            start = time.perf_counter(), time.process_time()
            run([sample])
            times[key].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    result: dict[str, dict] = {}
    for (runtime, name), pairs in times.items():
        wall, cpu = 1e3 * np.array(pairs).T
        result.setdefault(runtime, {})[name] = {
            "cpu_ms": float(np.median(cpu)),
            "cpu_quartiles_ms": np.quantile(cpu, (0.25, 0.75)).tolist(),
            "wall_ms": float(np.median(wall)),
            "runs": len(pairs),
            "load_and_first_run_ms": 1e3 * load[runtime, name],
        }
    return result


def accuracy(content: bytes, images: np.ndarray, labels: np.ndarray) -> float:
    """Return the top-1 accuracy of a file in TensorFlow's interpreter."""
    interpreter = tf.lite.Interpreter(model_content=content, num_threads=2)
    size = 100
    entry, exit_ = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    interpreter.resize_tensor_input(entry["index"], (size, *images.shape[1:]))
    interpreter.allocate_tensors()
    right = 0
    for start in range(0, len(images) - size + 1, size):
        interpreter.set_tensor(entry["index"], images[start : start + size])
        interpreter.invoke()
        found = interpreter.get_tensor(exit_["index"]).argmax(-1)
        right += int((found == labels[start : start + size]).sum())
    return right / (len(images) // size * size)


def measure(model: tf_keras.Model, calibration: np.ndarray, seconds: float) -> tuple[dict, dict]:
    """Return everything measured on one network, and its files."""
    files = files_of(model, calibration[:512])
    result = {"files": sizes(files)}
    for name, content in tqdm(files.items(), desc="verify"):
        report = export.verify(model, content, calibration[:4])
        result["files"][name]["relative_error"] = report.relative_error
        result["files"][name]["verified"] = report.ok
    result["latency"] = latencies(files, calibration[:1], seconds)
    return result, files


def table(name: str, result: dict) -> str:
    """Return the result of one network as a Markdown table."""
    runtimes = list(result["latency"])
    head = ["form", "bytes", "float ÷ this", "bits/weight", "error", "accuracy"]
    lines = [
        f"### {name}",
        "",
        "| " + " | ".join([*head, *(f"{r} cpu ms" for r in runtimes)]) + " |",
    ]
    lines.append("|" + "---|" * (len(head) + len(runtimes)))
    for form, facts in result["files"].items():
        cells = [form, f"{facts['bytes']:,}", f"{facts['float_over_this']:.1f}×"]
        bits = facts.get("bits_per_binary_weight")
        cells.append("" if bits is None else f"{bits:.3f}")
        cells.append(f"{facts['relative_error']:.1e}")
        share = facts.get("accuracy")
        cells.append("" if share is None else f"{share:.2%}")
        for runtime in runtimes:
            entry = result["latency"][runtime].get(form)
            cells.append("–" if entry is None else f"{entry['cpu_ms']:.2f}")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resnet", type=Path, help="binarised ResNet-20 (.keras)")
    parser.add_argument("--mobilenet", type=Path, help="weights of MobileNet 0.75 (.h5)")
    parser.add_argument("--data-dir", type=Path, help="cifar-10-batches-py")
    parser.add_argument("--seconds", type=float, default=20, help="of timing per network")
    parser.add_argument("--json", type=Path, help="where to write everything")
    arguments = parser.parse_args()
    noise = np.random.default_rng(1).normal(size=(512, 32, 32, 3)).astype(np.float32)
    results = {
        "command": " ".join(sys.argv),
        "machine": f"{platform.machine()}, {platform.processor() or platform.system()}",
        "versions": {r.name: r.version for r in engines.installed()},
    }
    results["VGG9"], _ = measure(vgg9(), noise, arguments.seconds)
    if arguments.resnet:
        train, images, labels = cifar10(arguments.data_dir)
        model = hashbwn_keras.load_model(arguments.resnet)
        results["ResNet-20"], files = measure(model, train, arguments.seconds)
        for name, content in tqdm(files.items(), desc="accuracy"):
            if not name.startswith("lce"):
                value = accuracy(content, images, labels)
                results["ResNet-20"]["files"][name]["accuracy"] = value
    if arguments.mobilenet:
        images = np.random.default_rng(1).uniform(-1, 1, (32, 224, 224, 3)).astype(np.float32)
        model = mobilenet(arguments.mobilenet)
        results[MOBILENET], _ = measure(model, images, arguments.seconds)
    for name in ("VGG9", "ResNet-20", MOBILENET):
        if name in results:
            print(table(name, results[name]), end="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
