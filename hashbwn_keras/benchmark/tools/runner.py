"""Measures TFLite files where it stands; needs only Python 3.7, NumPy and a TFLite runtime.

This one file is what ``hashbwn benchmark`` copies to a Raspberry Pi or an Android phone, and what
it starts on the host; it therefore imports nothing of the package. By hand::

    python3 runner.py job.json

where job.json is ``{"files": [{"path": "net.tflite", "runtime": "auto", "delegate": ""}],
"threads": 1, "runs": 50, "warmup": 5, "rounds": 5}``; runtime is litert, tflite, lce or auto. A
file may have ``inputs`` and ``outputs``, .npz files to read and to write, whose arrays hold several
samples along a first axis; ``python`` (a command), ``environment`` and ``mark`` are for children
under an emulator. It prints one line,
``HASHBWN_RESULT`` and JSON, on stdout; progress goes to stderr.

Each file is run by a child process of its own, so that peak memory is that file's. The children
take turns: every round runs each file ``runs / rounds`` times, in an order that rotates, so that a
clock that sinks or a neighbour that wakes up hits all files alike. While one child runs, the
others wait for a line on stdin. The first inference after waiting finds cold caches and is not
counted.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time

MARKER = "HASHBWN_RESULT "


def main(argv):
    """Run the job in the file argv[1], or serve as a child (``--child``)."""
    if argv[1:] == ["--child"]:
        return child()
    with open(argv[1]) as stream:
        job = json.load(stream)
    print(MARKER + json.dumps(run_job(job)), flush=True)
    return 0


def run_job(job):
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
        return {"files": [one.finish() for one in children], "machine": machine()}
    except ChildError as error:
        return {"error": str(error)}
    finally:
        for one in children:
            one.close()


def _share(runs, rounds, number):
    return runs * (number + 1) // rounds - runs * number // rounds


def machine():
    """Return what Python knows of this machine, and whether an emulator runs it."""
    return {
        "arch": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "emulated": emulated(),
    }


def emulated():
    """Tell whether qemu's user-mode emulation executes this process.

    The kernel's view shows through: the process is called qemu-..., or an ARM ``uname -m`` stands
    beside a /proc/cpuinfo without ARM's "CPU implementer".
    """
    if _proc("self/comm").startswith("qemu-"):
        return True
    cpus = _proc("cpuinfo")
    arm = platform.machine().startswith(("aarch64", "arm"))
    return arm and bool(cpus) and "CPU implementer" not in cpus


def _proc(name):
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

    def __init__(self, path, job):
        self.rounds = []
        self.mark = job.get("mark", False)
        self.name = os.path.basename(path)
        python = job.get("python", [sys.executable])
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

    def load(self, entry):
        """Load the file and warm up."""
        self.loaded = self.ask(entry)

    def ask(self, request):
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
            last = (self.log.read().split("\n") or [""])[-2:]
            text = f"the process that ran it ended with status {status} {' '.join(last)}"
            raise ChildError(f"{self.name}: {' '.join(text.split())}")
        answer = json.loads(line)
        if "error" in answer:
            raise ChildError(f"{self.name}: {answer['error']}")
        return answer

    def run(self, times):
        """Time that many inferences."""
        if times:
            self.rounds.append(self.ask({"run": times})["ms"])

    def finish(self):
        """Return all that was measured."""
        return dict(self.loaded, rounds=self.rounds, **self.ask({"mark": self.mark}))

    def close(self):
        """End the process; it leaves by itself when its stdin closes."""
        self.requests.close()
        self.answers.close()
        self.log.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def child():
    """Serve requests on stdin, one JSON object a line, until it closes."""
    # Runtimes may print to stdout: keep the real one for answers, point descriptor 1 at stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    model, runner = None, os.getppid()
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


class Model:
    """One file in one runtime."""

    def __init__(self, request):
        import numpy  # noqa: F401  (before the memory baseline)

        name, build, version = _runtime(request["runtime"])
        self.outputs = request.get("outputs")
        _reset_peak()
        self.before = _memory("VmRSS")
        start = time.perf_counter()
        self.run, self.read, self.nodes, inputs = build(request)
        init = _ms_since(start)
        self.samples = _samples(request, inputs)
        self.inputs = self.samples[0]
        warmup = [self.timed() for _ in range(max(request["warmup"], 1))]
        self.loaded = {
            "runtime": name,
            "version": version,
            "init_ms": init,
            "first_ms": warmup[0],
            "warmup_ms": warmup,
            "input_bytes": sum(x.nbytes for x in self.inputs),
        }

    def timed(self):
        """Return the milliseconds of one inference."""
        start = time.perf_counter()
        self.run(self.inputs)
        return _ms_since(start)

    def timed_for(self, runner):
        """As :meth:`timed`; ends this process when the one that asked, ``runner``, is gone."""
        if os.getppid() != runner:
            sys.exit("The runner is gone.")
        return self.timed()

    def finish(self, mark):
        """Return memory in bytes, and what is known after all runs.

        With ``mark``, one more inference runs between two marks for qemu's plug-in.
        """
        if mark:
            import ctypes

            libc = ctypes.CDLL(None)
            libc.getpriority(77, 1)
            self.run(self.inputs)
            libc.getpriority(77, 2)
        peak = _memory("VmHWM")
        if self.outputs:
            self.write_outputs()
        return {
            "peak_bytes": peak,
            "model_bytes": None if peak is None else max(0, peak - self.before),
            "nodes": self.nodes,
            "pid": os.getpid(),
            "affinity": _status("Cpus_allowed_list"),
        }

    def write_outputs(self):
        """Run every sample once and save what comes out, stacked."""
        import numpy

        found = []
        for sample in self.samples:
            self.run(sample)
            found.append([numpy.copy(array) for array in self.read()])
        numpy.savez(self.outputs, *(numpy.stack(column) for column in _columns(found)))


def _ms_since(start):
    return (time.perf_counter() - start) * 1e3


def _reset_peak():
    try:
        with open("/proc/self/clear_refs", "w") as stream:
            stream.write("5")  # resets VmHWM; importing TensorFlow peaks higher than most models
    except OSError:
        pass  # an old kernel or a container that forbids it: the peak then includes the imports


def _memory(key):
    """Return VmRSS or VmHWM in bytes, None where the system does not tell."""
    words = _status(key).split()
    return int(words[0]) * 1024 if words else None


def _status(key):
    lines = (line.partition(":") for line in _proc("self/status").splitlines())
    return next((value.strip() for name, _, value in lines if name == key), "")


def _samples(request, needed):
    """Return the list of input arrays of each sample."""
    import numpy

    if not request.get("inputs"):
        return [[_random(shape, dtype) for shape, dtype in needed]]
    with numpy.load(request["inputs"]) as given:
        return _columns([given[name] for name in given.files])


def _columns(rows):
    return [list(column) for column in zip(*rows)]  # noqa: B905 (Python 3.7 knows no strict)


def _random(shape, dtype):
    import numpy

    random = numpy.random.RandomState(0)
    dtype = numpy.dtype(dtype)
    if dtype.kind == "f":
        return random.uniform(-1, 1, shape).astype(dtype)
    if dtype.kind == "b":
        return random.randint(0, 2, shape).astype(dtype)
    limits = numpy.iinfo(dtype)
    return random.randint(max(limits.min, -128), min(limits.max, 127) + 1, shape).astype(dtype)


def _runtime(name):
    runtimes = {"litert": litert, "tflite": tflite, "lce": lce}
    if name != "auto":
        return (name, *runtimes[name]())
    try:
        return ("litert", *litert())
    except ImportError:
        return ("tflite", *tflite())


def litert():
    """Return the builder for LiteRT and its version."""
    import ai_edge_litert
    from ai_edge_litert import interpreter

    return _builder(interpreter), _version(ai_edge_litert, "ai-edge-litert")


def tflite():
    """Return the builder for TensorFlow Lite, from tflite-runtime or TensorFlow."""
    try:
        import tflite_runtime
        from tflite_runtime import interpreter

        return _builder(interpreter), _version(tflite_runtime, "tflite-runtime")
    except ImportError:
        from tensorflow import lite
        from tensorflow.lite.python import interpreter

        return _builder(interpreter), _version(lite, "tensorflow")


def _version(module, distribution):
    try:
        from importlib.metadata import PackageNotFoundError, version
    except ImportError:  # Python 3.7
        return getattr(module, "__version__", "")
    try:
        return version(distribution)
    except PackageNotFoundError:
        return getattr(module, "__version__", "")


def _builder(interpreter):
    def build(request):
        library = request.get("delegate")
        delegates = [interpreter.load_delegate(library)] if library else None
        model = interpreter.Interpreter(
            request["path"],
            num_threads=request["threads"],
            experimental_delegates=delegates,
        )
        nodes = _nodes_taken(library) if library else None
        model.allocate_tensors()
        details = model.get_input_details()

        def run(inputs):
            for place, detail in enumerate(details):
                model.set_tensor(detail["index"], inputs[place])
            model.invoke()

        def read():
            return [model.get_tensor(d["index"]) for d in model.get_output_details()]

        return run, read, nodes, [(d["shape"], d["dtype"]) for d in details]

    return build


def _nodes_taken(library):
    """Ask our library how many layers it took just now, in this thread; None of another one."""
    import ctypes

    try:
        return ctypes.CDLL(library).hashbwn_claimed()
    except AttributeError:
        return None


def lce():
    """Return the builder for Larq Compute Engine and its version.

    Its interpreter copies inputs and outputs inside ``predict``, so its times include that.
    """
    import larq_compute_engine
    from larq_compute_engine.tflite.python.interpreter import Interpreter

    def build(request):
        with open(request["path"], "rb") as stream:
            wrapper = Interpreter(stream.read(), num_threads=request["threads"])
        types = wrapper.input_types
        inputs = [(shape, types[place]) for place, shape in enumerate(wrapper.input_shapes)]
        outputs: list = []

        def run(arrays):
            outputs[:] = wrapper.interpreter.predict(arrays)

        return run, lambda: outputs, None, inputs

    return build, _version(larq_compute_engine, "larq-compute-engine")


if __name__ == "__main__":
    sys.exit(main(sys.argv))
