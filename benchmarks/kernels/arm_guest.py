"""Runs inside the emulated machine: python arm_guest.py LIBRARY MODEL...

Per model two markers each around one run of the stock interpreter (marker 1) and one of the
interpreter with the delegate (marker 2); prints the largest difference of the outputs.
"""

import ctypes
import sys

import numpy as np

try:
    from ai_edge_litert.interpreter import Interpreter, load_delegate
except ImportError:
    from tflite_runtime.interpreter import Interpreter, load_delegate

libc = ctypes.CDLL(None)


def mark(number):
    libc.syscall(141, 77, number)


for path in sys.argv[2:]:
    outputs = []
    for number, delegates in (
        (1, None),
        (2, [load_delegate(sys.argv[1], {"force": "1", "num_threads": "1"})]),
    ):
        i = Interpreter(model_path=path, num_threads=1, experimental_delegates=delegates)
        i.allocate_tensors()
        detail = i.get_input_details()[0]
        x = np.maximum(np.random.default_rng(0).normal(size=detail["shape"]), 0)
        if detail["dtype"] == np.int8:
            x = np.clip(np.rint(x / detail["quantization"][0]) - 128, -128, 127)
        i.set_tensor(detail["index"], x.astype(detail["dtype"]))
        i.invoke()
        mark(0)
        i.invoke()
        mark(number)
        outputs.append(i.get_tensor(i.get_output_details()[0]["index"]).astype(np.float64))
        del i
    difference = np.abs(outputs[0] - outputs[1])
    print("OUTPUT", path, difference.max(), np.abs(outputs[0]).max(), (difference > 0).mean())
    sys.stdout.flush()
