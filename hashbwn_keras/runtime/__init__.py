"""The native 1-bit kernels: finding or building them, and an interpreter that uses them."""

from hashbwn_keras.runtime.doctor import cpu_features, doctor_report
from hashbwn_keras.runtime.interpreter import Interpreter
from hashbwn_keras.runtime.library import build, delegate_path

__all__ = ["Interpreter", "build", "cpu_features", "delegate_path", "doctor_report"]
