"""Binary-weight networks via hashing, for Keras, TFLite and Larq Compute Engine.

>>> import hashbwn_keras
>>> binary_model = hashbwn_keras.binarize(float_model, calibration_images)

Importing this package first selects Keras 2 (``TF_USE_LEGACY_KERAS=1``), which Larq, Larq Compute
Engine and tensorflow-model-optimization need.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from hashbwn_keras._keras2 import require_keras2
from hashbwn_keras.version import __version__

require_keras2()

if TYPE_CHECKING:  # what __getattr__ below does, for type checkers and editors
    from hashbwn_keras import (
        export,
        hashing,
        layers,
        moments,
        quantizers,
        recipe,
        runtime,
        tfmot,
        training,
    )
    from hashbwn_keras.binarize import binarize
    from hashbwn_keras.errors import HashBWNError
    from hashbwn_keras.layers import (
        HashBinaryConv2D,
        HashBinaryDense,
        HashBinaryDepthwiseConv2D,
        HashBinarySeparableConv2D,
        codes,
    )
    from hashbwn_keras.monitoring import CodeMetrics
    from hashbwn_keras.recipe import load_model, save_model
    from hashbwn_keras.report import report
    from hashbwn_keras.runtime import Interpreter
    from hashbwn_keras.training import HashSolve, distil

# Public name -> module that holds it. Resolved on first use, so that importing the package is quick
# and does not need the optional packages.
_LAZY = {
    "CodeMetrics": "monitoring",
    "HashBWNError": "errors",
    "HashBinaryConv2D": "layers",
    "HashBinaryDense": "layers",
    "HashBinaryDepthwiseConv2D": "layers",
    "HashBinarySeparableConv2D": "layers",
    "HashSolve": "training",
    "Interpreter": "runtime",
    "binarize": "binarize",
    "codes": "layers",
    "distil": "training",
    "load_model": "recipe",
    "report": "report",
    "save_model": "recipe",
}
_MODULES = {
    "export",
    "hashing",
    "layers",
    "moments",
    "quantizers",
    "recipe",
    "runtime",
    "tfmot",
    "training",
}

__all__ = [
    "CodeMetrics",
    "HashBWNError",
    "HashBinaryConv2D",
    "HashBinaryDense",
    "HashBinaryDepthwiseConv2D",
    "HashBinarySeparableConv2D",
    "HashSolve",
    "Interpreter",
    "__version__",
    "binarize",
    "codes",
    "distil",
    "export",
    "hashing",
    "layers",
    "load_model",
    "moments",
    "quantizers",
    "recipe",
    "report",
    "runtime",
    "save_model",
    "tfmot",
    "training",
]


class _Package(ModuleType):
    """Keeps ``binarize`` and ``report`` the functions, whatever is imported in which order.

    Importing a submodule sets it as an attribute of the package, which would put the module
    ``hashbwn_keras.binarize`` in front of the function of the same name.
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, ModuleType) and _LAZY.get(name) == name:
            value = getattr(value, name)
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _LAZY:
            return getattr(import_module(f"hashbwn_keras.{_LAZY[name]}"), name)
        if name in _MODULES:
            return import_module(f"hashbwn_keras.{name}")
        raise AttributeError(f"module 'hashbwn_keras' has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return __all__


sys.modules[__name__].__class__ = _Package
