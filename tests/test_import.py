"""What an import does, seen from fresh interpreters."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
import tf_keras

import hashbwn_keras
from hashbwn_keras import keras2

ROOT = Path(__file__).parents[1]
OPTIONAL = ["larq_compute_engine", "tensorflow_model_optimization", "ai_edge_litert", "matplotlib"]
OPTIONAL += ["sklearn", "ziglang", "PIL"]


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_works_without_the_optional_packages():
    code = f"""
import sys
for name in {OPTIONAL}:
    sys.modules[name] = None
import hashbwn_keras as hk
public = {{name: getattr(hk, name) for name in hk.__all__ if name != "tfmot"}}
from hashbwn_keras.export import to_tflite, to_lce, verify, inspect
import tensorflow as tf
import tf_keras
model = tf_keras.Sequential([tf_keras.layers.Input((4,)), hk.HashBinaryDense(3)])
try:
    to_lce(model)
except ImportError as error:
    print(error)
try:
    hk.tfmot
except ImportError as error:
    print(error)
"""
    result = python(code)
    assert result.returncode == 0, result.stderr
    for extra in ("lce", "tfmot"):
        assert f'pip install "hashbwn_keras[{extra}]"' in result.stdout


def test_is_quick_and_leaves_tensorflow_alone():
    code = (
        "import sys, hashbwn_keras, hashbwn_keras.cli, os;"
        "hashbwn_keras.cli.hashbwn_parser();"
        "print([m for m in ('tensorflow', 'numpy', 'numba', 'larq') if m in sys.modules],"
        "os.environ.get('TF_USE_LEGACY_KERAS'))"
    )
    assert python(code).stdout.split() == ["[]", "None"]


# What happened in the process before the package was imported.
BEFORE = {
    "package first": "",
    "TensorFlow first": """
import tensorflow as tf
other = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
""",
    "a failed Larq first": """
try:
    import larq
except AttributeError as error:
    print("Larq alone:", error)
""",
}
AFTER = """
import hashbwn_keras as hk
import larq as lq
import larq_compute_engine, tf_keras
import numpy as np
import tensorflow as tf
from larq_compute_engine.mlir.python import converter
assert converter.tf.keras.Model is tf_keras.Model
assert issubclass(lq.layers.QuantDense, tf_keras.layers.Dense)
assert lq.optimizers.CaseOptimizer.__mro__[1] is tf_keras.optimizers.legacy.Optimizer
new = tf.keras.Sequential([tf.keras.layers.Input((4,)), tf.keras.layers.Dense(2)])
x = np.ones((3, 4), np.float32)
model = tf_keras.Sequential([tf_keras.layers.Input((4,)), hk.HashBinaryDense(2, name="dense")])
for each in [new, model, *([other] if "other" in globals() else [])]:
    assert each.predict(x, verbose=0).shape == (3, 2)
hk.export.verify(model, hk.export.to_tflite(model), x)
print("tf.keras is", tf.keras.layers.Layer.__module__.split(".")[0])
"""


@pytest.mark.slow
@pytest.mark.parametrize("legacy", ["", "0", "1"])
@pytest.mark.parametrize("before", BEFORE)
def test_works_in_any_process_and_leaves_its_keras_alone(before, legacy):
    result = python(BEFORE[before] + AFTER, TF_USE_LEGACY_KERAS=legacy)
    assert result.returncode == 0, result.stderr
    assert (
        result.stdout.splitlines()[-1] == f"tf.keras is {'tf_keras' if legacy == '1' else 'keras'}"
    )


def test_only_modules_of_larq_see_another_tensorflow():
    real = keras2._import("tensorflow")
    assert real is not sys.modules["tensorflow"]
    assert real.keras is keras2._import("tensorflow.keras").keras is tf_keras
    assert real.float32 is tf.float32
    assert keras2._import("tensorflow.keras.layers", fromlist=("Dense",)) is tf_keras.layers
    assert keras2._import("json") is json
    assert keras2._Finder().find_spec("json", None) is None


@pytest.mark.parametrize("order", ["function first", "module first"])
def test_no_module_hides_a_public_function(order):
    """Importing a module sets it as an attribute of its package; none has a public name."""
    walk = "[import_module(m.name) for m in walk_packages(hk.__path__, 'hashbwn_keras.')" + (
        " if '__main__' not in m.name and '.runner' not in m.name]"
    )
    names = "before = {name: getattr(hk, name) for name in hk.__all__}"
    steps = [names, walk] if order == "function first" else [walk, names]
    code = "; ".join(
        [
            "import hashbwn_keras as hk",
            "from importlib import import_module",
            "from pkgutil import walk_packages",
            *steps,
            "print(all(getattr(hk, name) is value for name, value in before.items()), "
            "callable(hk.binarize), callable(hk.report), callable(hk.training.distil))",
        ]
    )
    assert python(code).stdout.split() == ["True"] * 4


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="has no attribute 'nix'"):
        _ = hashbwn_keras.nix
    assert "binarize" in dir(hashbwn_keras)


def test_every_public_name_is_listed_and_resolves():
    lazy = {*hashbwn_keras._HOME, *hashbwn_keras._MODULES, "__version__"}
    assert lazy == set(hashbwn_keras.__all__) == set(dir(hashbwn_keras))
    assert all(getattr(hashbwn_keras, name) is not None for name in lazy)
