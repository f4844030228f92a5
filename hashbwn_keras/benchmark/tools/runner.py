"""Measures TFLite files where it stands; needs only Python 3.7, NumPy and a TFLite runtime.

This one file is what ``hashbwn benchmark`` copies to a Raspberry Pi or an Android phone, and what
it starts on the host; it therefore imports nothing of the package. By hand::

    python3 runner.py job.json

where job.json is ``{"files": [{"path": "net.tflite", "runtime": "auto", "delegate": ""}],
"threads": 1, "runs": 50, "warmup": 5, "rounds": 5}``; runtime is litert, tflite, lce or auto. A
file may have ``inputs`` and ``outputs``, .npz files to read and to write, whose arrays hold several
samples along a first axis, and ``shapes``, one of a sample for each input, for inputs of any size;
``python`` (a command), ``environment`` and ``mark`` are for children under an emulator. It prints
one line, ``HASHBWN_RESULT`` and JSON, on stdout; progress goes to stderr.

Each file is run by a child process of its own, so that peak memory is that file's. The children
take turns: every round runs each file ``runs / rounds`` times, in an order that rotates, so that a
clock that sinks or a neighbour that wakes up hits all files alike. While one child runs, the
others wait for a line on stdin. The first inference after waiting finds cold caches and is not
counted.
"""

from __future__ import annotations  # for Python 3.7

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, NamedTuple  # noqa: UP035 (Python 3.7)

MARKER = "HASHBWN_RESULT "


def main(argv: list[str]) -> int:
    """Run the job in the file argv[1], or serve as a child (``--child``)."""
    if argv[1:] == ["--child"]:
        return child()
    with open(argv[1]) as stream:
        job = json.load(stream)
    print(MARKER + json.dumps(run_job(job)), flush=True)
    return 0


def run_job(job: dict[str, Any]) -> dict[str, Any]:
    """Return one dict per file of the job: times in milliseconds, memory in bytes, versions."""
    children = []
    try:
        # One after the other: building an interpreter is timed too.
        for entry in job["files"]:
            children.append(Child(entry["path"], job))
            children[-1].load(dict(entry, threads=job["threads"], warmup=job["warmup"]))
        for number in range(job["rounds"]):
            share = _share(job["runs"], job["rounds"], number)
            start = number % len(children)
            for one in children[start:] + children[:start]:
                one.run(share)
            print(f"round {number + 1} of {job['rounds']}", file=sys.stderr, flush=True)
        return {"files": [one.finish() for one in children]}
    except ChildError as error:
        return {"error": str(error)}
    finally:
        for one in children:
            one.close()


def _share(runs: int, rounds: int, number: int) -> int:
    return runs * (number + 1) // rounds - runs * number // rounds


def emulated() -> bool:
    """Tell whether qemu's user-mode emulation executes this process.

    The kernel's view shows through: the process is called qemu-..., or an ARM ``uname -m`` stands
    beside a /proc/cpuinfo without ARM's "CPU implementer".
    """
    if _proc("self/comm").startswith("qemu-"):
        return True
    cpus = _proc("cpuinfo")
    arm = platform.machine().startswith(("aarch64", "arm"))
    return arm and bool(cpus) and "CPU implementer" not in cpus


def _proc(name: str) -> str:
    """Return a file of /proc, or nothing where there is no such thing (macOS)."""
    try:
        with open("/proc/" + name) as stream:
            return stream.read()
    except OSError:
        return ""


class ChildError(Exception):
    """A child process could not load or run its file; the text is one sentence."""


class Child:
    """One file in one process."""

    def __init__(self, path: str, job: dict[str, Any]) -> None:
        self.rounds: list[list[float]] = []
        self.loaded: dict[str, Any] = {}
        self.mark = job.get("mark", False)
        self.name = os.path.basename(path)
        python = job.get("python") or [sys.executable]
        self.log = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 (closed in close)
        self.process = subprocess.Popen(
            [*python, os.path.abspath(__file__), "--child"],
            env=dict(os.environ, **job.get("environment", {})),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            universal_newlines=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.requests, self.answers = self.process.stdin, self.process.stdout

    def load(self, entry: dict[str, Any]) -> None:
        """Load the file and warm up."""
        self.loaded = self.ask(entry)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one line of JSON, return the answer."""
        try:
            self.requests.write(json.dumps(request) + "\n")
            self.requests.flush()
            line = self.answers.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            status = self.process.wait()
            self.log.seek(0)
            last = self.log.read().split("\n")[-2:]
            text = f"the process that ran it ended with status {status} {' '.join(last)}"
            raise ChildError(f"{self.name}: {' '.join(text.split())}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name}: {answer['error']}")
        return answer

    def run(self, times: int) -> None:
        """Time that many inferences."""
        if times:
            self.rounds.append(self.ask({"run": times})["ms"])

    def finish(self) -> dict[str, Any]:
        """Return all that was measured."""
        return dict(
            self.loaded, rounds=self.rounds, emulated=emulated(), **self.ask({"mark": self.mark})
        )

    def close(self) -> None:
        """End the process; it leaves by itself when its stdin closes."""
        self.requests.close()
        self.answers.close()
        self.log.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def child() -> int:
    """Serve requests on stdin, one JSON object a line, until it closes."""
    # Runtimes may print to stdout: keep the real one for answers, point descriptor 1 at stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model: Model | None = None
    runner = os.getppid()
    for line in iter(sys.stdin.readline, ""):
        request = json.loads(line)
        try:
            if "path" in request:
                model = Model(request)
                answer = model.loaded
            elif model is None:
                answer = {"error": "no file was loaded"}
            elif "run" in request:
                model.timed()
                answer = {"ms": [model.timed_for(runner) for _ in range(request["run"])]}
            else:
                answer = model.finish(request["mark"])
        except (ImportError, OSError, RuntimeError, ValueError) as error:
            answer = {"error": " ".join(str(error).split())}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
    return 0


class Input(NamedTuple):
    """One input of a file.

    ``fixed`` is its shape with −1 for open sizes; ``scale`` is 0 where it is not quantised.
    """

    name: str
    shape: tuple[int, ...]
    fixed: tuple[int, ...]
    dtype: Any
    scale: float
    zero: int


class Model:
    """One file in one runtime."""

    def __init__(self, request: dict[str, Any]) -> None:
        import numpy  # noqa: F401  (before the memory baseline)

        name, engine, version = _runtime(request["runtime"])
        self.outputs: str = request.get("outputs", "")
        _reset_peak()
        self.before = _memory("VmRSS") or 0
        start = time.perf_counter()
        self.engine = engine(request)
        init = _ms_since(start)
        self.samples = _samples(request, self.engine.inputs)
        start = time.perf_counter()
        self.engine.allocate([array.shape for array in self.samples[0]])
        init += _ms_since(start)
        self.turn = 0
        warmup = [self.timed() for _ in range(max(request["warmup"], 1))]
        self.loaded = {
            "runtime": name,
            "version": version,
            "init_ms": init,
            "first_ms": warmup[0],
            "warmup_ms": warmup,
            "input_bytes": sum(x.nbytes for x in self.samples[0]),
        }

    def timed(self) -> float:
        """Return the milliseconds of one inference; given samples take turns."""
        sample = self.samples[self.turn % len(self.samples)]
        self.turn += 1
        start = time.perf_counter()
        self.engine.run(sample)
        return _ms_since(start)

    def timed_for(self, runner: int) -> float:
        """As :meth:`timed`; ends this process when the one that asked, ``runner``, is gone."""
        if os.getppid() != runner:
            sys.exit("The runner is gone.")
        return self.timed()

    def finish(self, mark: bool) -> dict[str, Any]:
        """Return memory in bytes, and what is known after all runs.

        With ``mark``, one more inference runs between two marks for qemu's plug-in.
        """
        if mark:
            import ctypes

            libc = ctypes.CDLL(None)
            libc.getpriority(77, 1)
            self.engine.run(self.samples[0])
            libc.getpriority(77, 2)
        peak = _memory("VmHWM")
        if self.outputs:
            self.write_outputs()
        return {
            "peak_bytes": peak,
            "model_bytes": None if peak is None else max(0, peak - self.before),
            "nodes": self.engine.nodes,
            "pid": os.getpid(),
            "affinity": _status("Cpus_allowed_list"),
        }

    def write_outputs(self) -> None:
        """Run every sample once and save what comes out, stacked."""
        import numpy

        found = []
        for sample in self.samples:
            self.engine.run(sample)
            found.append([numpy.copy(array) for array in self.engine.read()])
        numpy.savez(self.outputs, *(numpy.stack(column) for column in _columns(found)))


def _ms_since(start: float) -> float:
    return (time.perf_counter() - start) * 1e3


def _reset_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")  # resets VmHWM; importing TensorFlow peaks higher than most models
    except OSError:
        pass  # an old kernel or a container that forbids it: the peak then includes the imports


def _memory(key: str) -> int | None:
    """Return VmRSS or VmHWM in bytes, None where the system does not tell."""
    words = _status(key).split()
    return int(words[0]) * 1024 if words else None


def _status(key: str) -> str:
    lines = (line.partition(":") for line in _proc("self/status").splitlines())
    return next((value.strip() for name, _, value in lines if name == key), "")


def _samples(request: dict[str, Any], needed: list[Input]) -> list[list[Any]]:
    """Return the list of input arrays of each sample."""
    import numpy

    if not request.get("inputs"):
        return [_random_sample(request.get("shapes"), needed)]
    with numpy.load(request["inputs"]) as given:
        arrays = {name: given[name] for name in given.files}
    by_order = len(needed) == len(arrays) == 1 or "arr_0" in arrays  # NumPy's name for the first
    keys = list(arrays) if by_order else [spec.name for spec in needed]
    if len(keys) != len(needed) or not set(keys) <= set(arrays):
        names = [spec.name for spec in needed]
        raise ValueError(
            f"it has the inputs {names} and the data the arrays {list(arrays)}: give an .npz file "
            "with one for each."
        )
    return _columns(
        [[_fitted(x, spec) for x in arrays[key]] for key, spec in zip(keys, needed)]  # noqa: B905
    )


def _columns(rows: list[list[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows)]  # noqa: B905 (Python 3.7 knows no strict)


def _fitted(array: Any, spec: Input) -> Any:
    """Return a given array as the input takes it, quantised where the input is."""
    import numpy

    wanted = (array.shape[0] if array.ndim else 0, *spec.fixed[1:])
    if array.ndim != len(spec.fixed) or any(
        want not in (-1, have)
        for want, have in zip(wanted, array.shape)  # noqa: B905
    ):
        raise ValueError(
            f"its input {spec.name} takes {spec.fixed} and the data has {array.shape}: give "
            "samples of that shape."
        )
    if spec.scale and array.dtype.kind == "f":
        limits = numpy.iinfo(spec.dtype)
        steps = numpy.rint(array / spec.scale) + spec.zero
        return numpy.clip(steps, limits.min, limits.max).astype(spec.dtype)
    with numpy.errstate(invalid="ignore"):
        found = array.astype(spec.dtype)
    if spec.dtype.kind in "iub" and not numpy.array_equal(found, array):
        raise ValueError(
            f"its input {spec.name} is {spec.dtype} and the data is {array.dtype} with values that "
            f"it cannot hold: give {spec.dtype}."
        )
    return found


def _random_sample(shapes: list[list[int]] | None, needed: list[Input]) -> list[Any]:
    if shapes and len(shapes) != len(needed):
        raise ValueError(
            f"it has {len(needed)} inputs and {len(shapes)} shapes were given: give --shape once "
            "for each."
        )
    sample = []
    for place, spec in enumerate(needed):
        shape = tuple(shapes[place]) if shapes else spec.shape
        if -1 in spec.fixed[1:] and not shapes:
            raise ValueError(
                f"its input {spec.name} is of any size, {spec.fixed}: give --shape or --data."
            )
        if len(shape) != len(spec.fixed) or any(
            want not in (-1, have)
            for want, have in zip(spec.fixed[1:], shape[1:])  # noqa: B905
        ):
            raise ValueError(
                f"its input {spec.name} takes {spec.fixed[1:]} and --shape gives {shape[1:]}: "
                "change it."
            )
        sample.append(_random(shape, spec))
    return sample


def _random(shape: tuple[int, ...], spec: Input) -> Any:
    """Return values that the input can have.

    A quantised input takes all of its type. Other integers are indices or counts of something, and
    0 is the only one that is valid for all of them.
    """
    import numpy

    random = numpy.random.RandomState(0)
    dtype = numpy.dtype(spec.dtype)
    if dtype.kind == "f":
        return random.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return random.randint(0, 2, shape).astype(dtype)
    if not spec.scale:
        return numpy.zeros(shape, dtype)
    limits = numpy.iinfo(dtype)
    return random.randint(limits.min, limits.max + 1, shape).astype(dtype)


Engine = Callable[[dict], "Lite | Lce"]
"""Loads the file that a request names."""


def _runtime(name: str) -> tuple[str, Engine, str]:
    runtimes = {"litert": litert, "tflite": tflite, "lce": lce}
    if name != "auto":
        return (name, *runtimes[name]())
    try:
        return ("litert", *litert())
    except ImportError:
        return ("tflite", *tflite())


def litert() -> tuple[Engine, str]:
    """Return the engine for LiteRT and its version."""
    import ai_edge_litert
    from ai_edge_litert import interpreter

    return (lambda request: Lite(interpreter, request)), _version(ai_edge_litert, "ai-edge-litert")


def tflite() -> tuple[Engine, str]:
    """Return the engine for TensorFlow Lite, from tflite-runtime or TensorFlow."""
    try:
        import tflite_runtime
        from tflite_runtime import interpreter

        version = _version(tflite_runtime, "tflite-runtime")
    except ImportError:
        from tensorflow import lite
        from tensorflow.lite.python import interpreter

        version = _version(lite, "tensorflow")
    return (lambda request: Lite(interpreter, request)), version


def lce() -> tuple[Engine, str]:
    """Return the engine for Larq Compute Engine and its version."""
    import larq_compute_engine
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    version = _version(larq_compute_engine, "larq-compute-engine")
    return (lambda request: Lce(Interpreter, request)), version


def _version(module: Any, distribution: str) -> str:
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # Python 3.7
        return getattr(module, "__version__", "")
    try:
        return version(distribution)
    except PackageNotFoundError:
        return getattr(module, "__version__", "")


class Lite:
    """A file in an interpreter of LiteRT's Python interface."""

    def __init__(self, interpreter: Any, request: dict[str, Any]) -> None:
        self.library = request.get("delegate")
        delegates = [interpreter.load_delegate(self.library)] if self.library else None
        self.model = interpreter.Interpreter(
            request["path"],
            num_threads=request["threads"],
            experimental_delegates=delegates,
        )
        self.nodes = _nodes_taken(self.library)
        self.details = self.model.get_input_details()
        self.inputs = [_input(detail) for detail in self.details]

    def allocate(self, shapes: list[tuple[int, ...]]) -> None:
        """Make room for inputs of these shapes."""
        resized = False
        for detail, shape in zip(self.details, shapes):  # noqa: B905
            if tuple(detail["shape"]) != shape:
                self.model.resize_tensor_input(detail["index"], list(shape), strict=False)
                resized = True
        self.model.allocate_tensors()
        if resized:
            self.nodes = _nodes_taken(self.library)

    def run(self, inputs: list[Any]) -> None:
        """Run once."""
        for place, detail in enumerate(self.details):
            self.model.set_tensor(detail["index"], inputs[place])
        self.model.invoke()

    def read(self) -> list[Any]:
        """Return what came out."""
        return [self.model.get_tensor(d["index"]) for d in self.model.get_output_details()]


def _input(detail: dict[str, Any]) -> Input:
    import numpy

    name = detail["name"]
    if name.startswith("serving_default_"):
        name = name[len("serving_default_") :].rpartition(":")[0]
    shape = tuple(map(int, detail["shape"]))
    fixed = tuple(map(int, detail.get("shape_signature", shape))) or shape
    scale, zero = detail["quantization"]
    return Input(name, shape, fixed, numpy.dtype(detail["dtype"]), float(scale), int(zero))


def _nodes_taken(library: str | None) -> int | None:
    """Ask our library how many layers it took just now, in this thread; None of another one."""
    import ctypes

    if not library:
        return None
    try:
        return ctypes.CDLL(library).hashbwn_claimed()
    except AttributeError:
        return None


class Lce:
    """A file in Larq Compute Engine's interpreter.

    It copies inputs and outputs inside ``predict``, so its times include that.
    """

    nodes = None

    def __init__(self, interpreter: Any, request: dict[str, Any]) -> None:
        import numpy

        with open(request["path"], "rb") as stream:
            self.model = interpreter(stream.read(), num_threads=request["threads"])
        self.outputs: list[Any] = []
        self.inputs = [
            Input(f"input {place}", tuple(s), tuple(s), numpy.dtype(t), scale or 0, zero or 0)
            for place, (s, t, scale, zero) in enumerate(
                zip(  # noqa: B905
                    self.model.input_shapes,
                    self.model.input_types,
                    self.model.input_scales,
                    self.model.input_zero_points,
                )
            )
        ]

    def allocate(self, shapes: list[tuple[int, ...]]) -> None:
        """Check them: its interpreter makes room itself, for the shapes in the file."""
        for spec, shape in zip(self.inputs, shapes):  # noqa: B905
            if spec.shape != shape:
                raise ValueError(f"{spec.name} has shape {spec.shape}, not {shape}: give that.")

    def run(self, inputs: list[Any]) -> None:
        """Run once."""
        self.outputs[:] = self.model.interpreter.predict(inputs)

    def read(self) -> list[Any]:
        """Return what came out."""
        return self.outputs


if __name__ == "__main__":
    sys.exit(main(sys.argv))
