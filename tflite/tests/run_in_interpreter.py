"""Compares the delegate with the interpreter's own kernels, in whatever interpreter is installed.

python run_in_interpreter.py LIBRARY MODEL...   (needs NumPy and TensorFlow, ai-edge-litert or
tflite-runtime; no other part of this project). Exit status 1 if a result is off.
"""

import ctypes
import platform
import sys

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError:
    try:
        from tflite_runtime.interpreter import Interpreter, load_delegate
    except ImportError:
        import tensorflow as tf

        Interpreter, load_delegate = tf.lite.Interpreter, tf.lite.experimental.load_delegate


def run(path, delegates):
    """Output and claimed layers for the same random input."""
    i = Interpreter(model_path=path, experimental_delegates=delegates)
    claimed = ctypes.CDLL(sys.argv[1]).hashbwn_claimed() if delegates else 0
    i.allocate_tensors()
    detail = i.get_input_details()[0]
    x = np.random.default_rng(0).normal(size=detail["shape"])
    if detail["dtype"] == np.int8:
        x = np.clip(x * 40, -128, 127)
    i.set_tensor(detail["index"], x.astype(detail["dtype"]))
    i.invoke()
    y = i.get_tensor(i.get_output_details()[0]["index"])
    return y.astype(np.float64), claimed, y.dtype


failed = False
for path in sys.argv[2:]:
    stock, _, kind = run(path, None)
    ours, claimed, _ = run(path, [load_delegate(sys.argv[1], {"force": "1"})])
    off = np.abs(stock - ours)
    # Layers may round 0.1 % of their int8 outputs to the other side (tests/runtime checks that for
    # each kind of layer), and a net of few outputs hands that on to a larger share of them.
    allowed = 1 if kind == np.int8 else 1e-5 * np.abs(stock).max()
    good = off.max() <= allowed
    failed |= not good
    print(
        f"{Interpreter.__module__} {platform.python_version()} {platform.machine()} {path}: "
        f"{claimed} layers, largest difference {off.max():.2g} of {np.abs(stock).max():.2g}, "
        f"{(off > 0).mean():.2%} of outputs differ{'' if good else ': TOO MUCH'}"
    )
sys.exit(failed)
