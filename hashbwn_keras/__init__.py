"""Binary-weight networks via hashing, for Keras, TFLite and Larq Compute Engine.

>>> import hashbwn_keras
>>> binary_model = hashbwn_keras.binarize(float_model, calibration_images)

The package computes with Keras 2 (``tf_keras``), as Larq, Larq Compute Engine and
tensorflow-model-optimization do, in any process: before or after TensorFlow, beside Keras 3.
"""

import sys
from importlib import import_module
from typing import Any

from hashbwn_keras import keras2
from hashbwn_keras.version import __version__

keras2.install()

# Public name -> the module that holds it, loaded on first use, so that importing the package is
# quick and does not need the optional packages. ``__init__.pyi`` says the same to editors.
_HOME = {
    "CodeMetrics": "training.code_metrics",
    "HashBWNError": "errors",
    "HashBinaryConv2D": "network.layers",
    "HashBinaryDense": "network.layers",
    "HashBinaryDepthwiseConv2D": "network.layers",
    "HashBinarySeparableConv2D": "network.layers",
    "HashSolve": "training.hash_solve",
    "Interpreter": "runtime.interpreter",
    "binarize": "binarizer.binarize",
    "codes": "network.codes",
    "distil": "training.distillation",
    "load_model": "network.saving",
    "report": "reporting.compare",
    "save_model": "network.saving",
    "to_keras2": "network.keras3",
    "to_keras3": "network.keras3.back",
}
_MODULES = (
    "export",
    "hashing",
    "layers",
    "moments",
    "quantizers",
    "recipe",
    "runtime",
    "tfmot",
    "training",
)

__all__ = ["__version__", *_HOME, *_MODULES]


def __getattr__(name: str) -> Any:
    if name in __all__ and "tensorflow" not in sys.modules:
        import_module("hashbwn_keras.environment").check()
    if name in _HOME:
        value = getattr(import_module(f"hashbwn_keras.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"hashbwn_keras.{name}")
    else:
        raise AttributeError(f"module 'hashbwn_keras' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
