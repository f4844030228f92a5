"""Damaged files and what becomes of them, for a test of hundreds and a benchmark of thousands."""

from collections import Counter
from contextlib import contextmanager, suppress

import numpy as np
import tf_keras

import hashbwn_keras
from hashbwn_keras import HashBWNError, export
from hashbwn_keras.export import folding, verification
from hashbwn_keras.runtime.apart import Apart, Limits


def seeds():
    """Return a small model, inputs for it, and a file of each form."""
    tf_keras.utils.set_random_seed(7)
    image = x = tf_keras.Input((7, 7, 8))
    x = hashbwn_keras.HashBinaryConv2D(16, 3, padding="same", activation="relu")(x)
    x = hashbwn_keras.HashBinaryDepthwiseConv2D(5, depth_multiplier=2)(x)
    x = hashbwn_keras.HashBinaryDense(5)(tf_keras.layers.Flatten()(x))
    model = tf_keras.Model(image, x)
    data = np.random.default_rng(0).normal(size=(2, 7, 7, 8)).astype(np.float32)
    integer = {"activations": "int8", "calibration_data": data}
    files = {
        "packed": export.to_tflite(model),
        "int8": export.to_tflite(model, weights="int8"),
        "float": export.to_tflite(model, weights="float"),
        "integer": export.to_tflite(model, **integer),
    }
    with suppress(ImportError):
        files["lce"] = export.to_lce(model)
    return model, data, files


def mutant(content, rng):
    """Change some bytes of a file, most of them not in its weights, or cut it off."""
    damaged = bytearray(content)
    for _ in range(rng.integers(1, 6)):
        place = int(rng.integers(0, len(damaged)))
        kind = rng.integers(0, 4)
        if kind == 0:
            damaged[place] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            damaged[place] = int(rng.integers(0, 256))
        elif kind == 2:  # a number of the flatbuffer becomes a strange one
            place -= place % 4
            value = int(rng.choice([0, 1, -1, 2**31 - 1, -(2**31), 2**16, 255, 4096]))
            damaged[place : place + 4] = value.to_bytes(4, "little", signed=True)
        elif rng.random() < 0.05:
            del damaged[place:]
            if len(damaged) < 9:
                return bytes(damaged)
    return bytes(damaged)


@contextmanager
def one_child(monkeypatch, seconds=20):
    """Let all calls share one child, which takes seconds to start."""
    with Apart(Limits(seconds=seconds)) as child:

        @contextmanager
        def shared(limits):
            child.limits = Limits(seconds, limits.nbytes)
            yield child

        for module in (verification, folding):
            monkeypatch.setattr(module, "Apart", shared)
        yield child


def outcomes(count, seed, model, data, files):
    """Give mutants to inspect, to_tflite and verify; count results and sentences.

    Raises:
        AssertionError: something else came out.
    """
    rng = np.random.default_rng(seed)
    names = sorted(files)
    found = Counter()
    for number in range(count):
        name = names[number % len(names)]
        damaged = mutant(files[name], rng)
        weights = "packed" if rng.random() < 0.5 else "int8"
        for what, use in (
            ("inspect", lambda d: str(export.inspect(d))),
            ("to_tflite", lambda d, w=weights: export.to_tflite(d, weights=w)),
            ("verify", lambda d: verdict(export.verify(model, d, data))),
        ):
            try:
                result = use(damaged)
                found[what, result if what == "verify" else "result"] += 1
            except HashBWNError as error:
                assert "\n" not in str(error) and str(error), (what, number, seed)
                found[what, "sentence"] += 1
            except Exception as error:
                raise AssertionError(f"{what} of mutant {number} of seed {seed}") from error
    return found


def verdict(report):
    """Return what verify said about a mutant, in a word."""
    reasons = " ".join(result.reason for result in report.runtimes)
    for sign in ("was ended by", "took more than", "takes more than", "ended with status"):
        if sign in reasons:
            return sign
    return "OK" if report.ok else "FAILED"
