"""The native 1-bit kernels: finding or building them, and an interpreter that uses them."""

from typing import TYPE_CHECKING, Any

from hashbwn_keras.runtime.doctor import cpu_features, doctor_report
from hashbwn_keras.runtime.library import build, delegate_path

if TYPE_CHECKING:
    from hashbwn_keras.runtime.interpreter import Interpreter

__all__ = ["Interpreter", "build", "cpu_features", "delegate_path", "doctor_report"]


def __getattr__(name: str) -> Any:
    if name == "Interpreter":  # needs TensorFlow, which building the library does not
        from hashbwn_keras.runtime.interpreter import Interpreter

        return Interpreter
    raise AttributeError(f"module 'hashbwn_keras.runtime' has no attribute {name!r}")
