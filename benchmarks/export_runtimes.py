"""Which runtime runs which form of the exported files, exactly, and folds the decode at load.

    python benchmarks/export_runtimes.py make FOLDER
    OTHER_PYTHON benchmarks/export_runtimes.py run FOLDER [lce|tensorflow]   # in each environment
    python benchmarks/export_runtimes.py table FOLDER [MERGED.json]
    OTHER_PYTHON benchmarks/export_runtimes.py memory FILE.tflite   # one file per process

``run`` needs NumPy and one of tflite_runtime, ai_edge_litert, tensorflow or larq_compute_engine; it
leaves one JSON per runtime in FOLDER. The ratio is processor time against the float32 file in the
same runtime: medians of interleaved runs on one thread.
"""

import importlib.util
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np

SECONDS = 2  # of timing per form at most
# Shapes of the packed filters of the net that `make` makes.
FILTERS = {
    (64, 3, 3, 64): "convolution",
    (63, 3, 3, 64): "strided convolution",
    (66, 3, 3, 63): "dilated convolution",
    (1, 3, 3, 66): "depthwise",
    (50, 3234): "Dense",
}
FORMS = ("float", "int8", "packed", "int8-activations", "packed-int8-activations", "lce-packed")
# The same nets with longer codes, each compared with its own Keras model.
LONGER = tuple(
    f"{form}-{bits}-bits"
    for bits in (2, 4)
    for form in ("int8", "packed", "packed-int8-activations", "lce-packed")
)


def make(folder):
    """Write the files of every form, the input, and what Keras makes of it."""
    data = np.random.default_rng(0).normal(size=(64, 28, 28, 64)).astype(np.float32)
    outputs = {}
    for bits in (1, 2, 4):
        outputs[f"y{bits}"] = make_files(folder, bits, data)
    np.savez(folder / "data.npz", x=data[:1], **outputs)


def make_files(folder, bits, data):
    """Write the files of a net of ``bits`` bits a weight and return its output."""
    import hashbwn_keras

    # isort: split
    import tf_keras

    from hashbwn_keras import export

    tf_keras.utils.set_random_seed(0)
    layers = tf_keras.layers
    image = tf_keras.Input((28, 28, 64), name="image")
    conv = hashbwn_keras.HashBinaryConv2D
    x = conv(64, 3, padding="same", activation="relu", bits=bits)(image)
    x = layers.BatchNormalization()(x)
    x = conv(63, 3, strides=2, activation="relu", bits=bits)(x)
    x = conv(66, 3, dilation_rate=2, bits=bits)(x)
    x = hashbwn_keras.HashBinaryDepthwiseConv2D(3, bits=bits)(x)
    x = hashbwn_keras.HashBinaryDense(50, bits=bits)(layers.Flatten()(x))
    model = tf_keras.Model(image, x)
    integer = {"activations": "int8", "calibration_data": data}
    files = {
        "float": export.to_tflite(model, weights="float"),
        "int8": export.to_tflite(model, weights="int8"),
        "packed": export.to_tflite(model),
        "int8-activations": export.to_tflite(model, weights="int8", **integer),
        "packed-int8-activations": export.to_tflite(model, **integer),
        "lce-packed": export.to_lce(model),
    }
    suffix = f"-{bits}-bits" if bits > 1 else ""
    for name, content in files.items():
        (folder / f"{name}{suffix}.tflite").write_bytes(content)
    return model(data[:1]).numpy()


class Lce:
    """Larq Compute Engine's interpreter with the few methods of TFLite's that are used here."""

    def __init__(self, content):
        from larq_compute_engine.tflite.python.interpreter import Interpreter

        self.interpreter = Interpreter(content)

    def run(self, x):
        return self.interpreter.predict(x)

    def folded(self):
        return None


class Lite:
    def __init__(self, content, module):
        self.interpreter = module.Interpreter(model_content=content, num_threads=1)
        self.interpreter.allocate_tensors()
        self.entry = self.interpreter.get_input_details()[0]["index"]
        self.exit = self.interpreter.get_output_details()[0]["index"]

    def run(self, x):
        self.interpreter.set_tensor(self.entry, x)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self.exit)

    def folded(self):
        """Layers whose packed filter was there before the first run, and was not decoded again.

        Filled with zeros, a filter that is decoded at every run would come back.
        """
        found = {}
        for detail in self.interpreter.get_tensor_details():
            layer = FILTERS.get(tuple(detail["shape"]))
            if layer is None or detail["dtype"] != np.float32:
                continue
            try:
                values = np.array(self.interpreter.get_tensor(detail["index"]))
            except ValueError:  # its memory is not there yet
                found.setdefault(layer, False)
                continue
            there = bool((np.abs(values) > 0).all())  # no level is zero
            found[layer] = found.get(layer, False) or (there and self._stays(detail, values))
        return found

    def _stays(self, detail, values):
        self.interpreter.set_tensor(detail["index"], np.zeros_like(values))
        self.interpreter.invoke()
        stays = not self.interpreter.get_tensor(detail["index"]).any()
        self.interpreter.set_tensor(detail["index"], values)
        return stays


def runtime():
    """Return name, version and loader of the runtime of this environment."""
    from importlib.metadata import version

    wanted = sys.argv[3] if len(sys.argv) > 3 else ""
    if wanted == "lce":
        return "larq-compute-engine", version("larq-compute-engine"), Lce
    for name, package in (
        ("tflite-runtime", "tflite_runtime"),
        ("ai-edge-litert", "ai_edge_litert"),
        ("tensorflow", "tensorflow.lite.python"),
    ):
        top = package.partition(".")[0]
        if wanted in ("", name) and importlib.util.find_spec(top):
            module = importlib.import_module(f"{package}.interpreter")
            # TensorFlow comes under several names, such as tensorflow-cpu.
            top_module = importlib.import_module(top)
            number = getattr(top_module, "__version__", None) or version(name)
            return name, number, lambda content, module=module: Lite(content, module)
    raise SystemExit("No TFLite runtime is installed here.")


def measure(folder):
    name, version, load = runtime()
    data = np.load(folder / "data.npz")
    result, loaded = {}, {}
    for form in FORMS + LONGER:
        wanted = data[f"y{form[-6]}" if form in LONGER else "y1"]
        content = (folder / f"{form}.tflite").read_bytes()
        try:
            interpreter = load(content)
            error = float(np.abs(interpreter.run(data["x"]) - wanted).max())
        except (RuntimeError, ValueError) as problem:
            result[form] = {"runs": False, "reason": str(problem).splitlines()[0][:200]}
            continue
        result[form] = {"runs": True, "relative_error": error / float(np.ptp(wanted))}
        if form in ("packed", "packed-2-bits", "packed-4-bits"):
            result[form]["folded"] = interpreter.folded()
        loaded[form] = interpreter
    times = {form: [] for form in loaded}
    for _ in range(150):
        for form, interpreter in loaded.items():
            if sum(times[form]) > SECONDS:
                continue
            start = time.process_time()
            interpreter.run(data["x"])
            times[form].append(time.process_time() - start)
    for form, values in times.items():
        result[form]["cpu_ms"] = 1e3 * float(np.median(values))
    path = folder / f"{name}-{version}.json"
    path.write_text(json.dumps({"runtime": name, "version": version, "forms": result}, indent=1))
    print(path)


def memory(path):
    """Print by how much this process grows when the file is loaded and run once."""

    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

    name, version, load = runtime()
    content = path.read_bytes()
    before = resident()
    interpreter = load(content)
    shape = interpreter.interpreter.get_input_details()[0]["shape"]
    interpreter.run(np.zeros(shape, np.float32))
    grown = (resident() - before) / 2**20
    print(f"{name} {version}, {path.name}: {len(content) / 2**20:.1f} MiB file, {grown:.0f} MiB")


def fold(facts):
    """Say what was seen of decoding at load."""
    seen = facts.get("folded")
    if not seen:
        return ""
    again = [layer for layer, folded in seen.items() if not folded]
    if len(again) == len(seen):
        return ", every run"
    return f", {' and '.join(again)} every run" if again else ", folded"


def age(entry):
    """Sort by runtime, oldest version first."""
    names = ("tflite-runtime", "tensorflow", "ai-edge-litert", "larq-compute-engine")
    return names.index(entry["runtime"]), [int(part) for part in entry["version"].split(".")]


def table(folder):
    results = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    results.sort(key=age)
    if len(sys.argv) > 3:
        Path(sys.argv[3]).write_text(json.dumps(results, indent=1) + "\n")
    for forms in (FORMS, LONGER):
        rows(forms, [entry for entry in results if set(forms) <= set(entry["forms"])])


def rows(forms, results):
    """Print the table of some forms."""
    print("\n| runtime | " + " | ".join(forms) + " |")
    print("|---" * (1 + len(forms)) + "|")
    for entry in results:
        base = entry["forms"]["float"].get("cpu_ms")
        cells = []
        for form in forms:
            facts = entry["forms"][form]
            if not facts["runs"]:
                cells.append("no")
                continue
            ratio = facts["cpu_ms"] / base if base else float("nan")
            cells.append(f"{facts['relative_error']:.0e}, {ratio:.2f}×{fold(facts)}")
        print(f"| {entry['runtime']} {entry['version']} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    commands = {"make": make, "run": measure, "table": table, "memory": memory}
    commands[sys.argv[1]](Path(sys.argv[2]))
