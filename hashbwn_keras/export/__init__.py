"""Writing, checking and reading .tflite files whose binary filters are small.

>>> from hashbwn_keras import export
>>> export.to_tflite(model, "model.tflite")
>>> print(export.verify(model, "model.tflite", images))
>>> print(export.inspect("model.tflite"))
"""

from importlib import import_module
from typing import Any

# Public name -> module, resolved on first use: packing must be importable without TensorFlow.
_LAZY = {
    "inspect": "inspection",
    "to_lce": "lce",
    "to_tflite": "litert",
    "verify": "verification",
}

__all__ = sorted(_LAZY)


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(import_module(f"hashbwn_keras.export.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hashbwn_keras.export' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
