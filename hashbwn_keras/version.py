"""The version of the package, in one place that setup.cfg can read without importing TensorFlow."""

__version__ = "0.1.0"
