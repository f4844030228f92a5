"""What an import does, seen from fresh interpreters."""

import subprocess
import sys
import types
from pathlib import Path

import pytest

import hashbwn_keras
from hashbwn_keras import _keras2

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
        "os.environ['TF_USE_LEGACY_KERAS'])"
    )
    assert python(code).stdout.split() == ["[]", "1"]


def test_keras_3_first_is_one_import_error_with_the_cure():
    result = python("import tensorflow as tf; tf.keras; import hashbwn_keras")
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: hashbwn_keras needs Keras 2 but tf.keras is Keras 3")
    assert "TF_USE_LEGACY_KERAS=1" in last


def test_keras_2_first_is_fine(monkeypatch):
    loaded = types.SimpleNamespace(keras=types.SimpleNamespace(__version__="2.16.0"))
    monkeypatch.setitem(sys.modules, "tensorflow", loaded)
    _keras2.require_keras2()


def test_missing_tf_keras_is_one_import_error_with_the_cure(monkeypatch):
    class Broken:
        @property
        def keras(self):
            raise ImportError("Keras cannot be imported. Check that it is installed.")

    monkeypatch.setitem(sys.modules, "tensorflow", Broken())
    with pytest.raises(ImportError, match="tf_keras"):
        _keras2.require_keras2()


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
