"""8-bit activations with tensorflow-model-optimization; see :mod:`hashbwn_keras.network.tfmot`."""

from hashbwn_keras.network.annotate import quantize_annotate
from hashbwn_keras.network.tfmot import (
    HashBinaryQuantizeConfig,
    HashSignInt8,
    OutputQuantizeConfig,
    quantize_scope,
)

__all__ = [
    "HashBinaryQuantizeConfig",
    "HashSignInt8",
    "OutputQuantizeConfig",
    "quantize_annotate",
    "quantize_scope",
]
