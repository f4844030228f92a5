"""What things are called in .tflite files and by those who run them. Imports nothing heavy."""

from enum import Enum
from typing import NamedTuple


class Storage(str, Enum):
    """How a file holds a filter (docs/format.md); equal to its name as text."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    """A float16 constant, behind DEQUANTIZE."""
    INT8 = "int8"
    """The integers that the layer computes with."""
    INT8_DEQUANTIZE = "int8-dequantize"
    """An int8 constant behind DEQUANTIZE: the layer computes in float."""
    PACKED = "packed"
    """Bits, decoded at load by builtin operators."""
    LCE = "lce"
    """The filter of an LceBconv2d."""
    LCE_DEQUANTIZE = "lce-dequantize"
    """Bits, decoded by LceDequantize."""
    SPARSE = "sparse"
    """The values that are not zero, and where they stand."""
    OTHER = "other"
    """Computed, or of another type."""

    __str__ = str.__str__

    @property
    def packed(self) -> bool:
        """Whether a code takes one bit."""
        return self in (Storage.PACKED, Storage.LCE, Storage.LCE_DEQUANTIZE)


class Consumer(NamedTuple):
    """An operator that uses filters: its name in the schema, and the axis of output channels."""

    name: str
    axis: int


CONV_2D = Consumer("CONV_2D", 0)
DEPTHWISE_CONV_2D = Consumer("DEPTHWISE_CONV_2D", 3)
FULLY_CONNECTED = Consumer("FULLY_CONNECTED", 0)
LCE_CONVOLUTION = Consumer("LceBconv2d", 0)
BUILTIN_CONSUMERS = (CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED)

LCE_DEQUANTIZE = "LceDequantize"
LCE_OPERATORS = (LCE_CONVOLUTION.name, "LceBMaxPool2d", LCE_DEQUANTIZE, "LceQuantize")


class Runtime(NamedTuple):
    """An interpreter that may be installed.

    Attributes:
        name: what reports call it.
        module: the Python module of its interpreter.
        distribution: what pip installs.
    """

    name: str
    module: str
    distribution: str


TENSORFLOW = Runtime("tf.lite", "tensorflow.lite.python.interpreter", "tensorflow")
LITERT = Runtime("ai_edge_litert", "ai_edge_litert.interpreter", "ai-edge-litert")
TFLITE = Runtime("tflite_runtime", "tflite_runtime.interpreter", "tflite-runtime")
LCE = Runtime(
    "larq_compute_engine", "larq_compute_engine.tflite.python.interpreter", "larq-compute-engine"
)
RUNTIMES = (TENSORFLOW, LITERT, TFLITE, LCE)
