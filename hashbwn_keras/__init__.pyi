from hashbwn_keras import (
    export as export,
    hashing as hashing,
    layers as layers,
    moments as moments,
    quantizers as quantizers,
    recipe as recipe,
    runtime as runtime,
    tfmot as tfmot,
    training as training,
)
from hashbwn_keras.binarizer.binarize import binarize as binarize
from hashbwn_keras.errors import HashBWNError as HashBWNError
from hashbwn_keras.network.codes import codes as codes
from hashbwn_keras.network.keras3 import to_keras2 as to_keras2
from hashbwn_keras.network.keras3.back import to_keras3 as to_keras3
from hashbwn_keras.network.layers import (
    HashBinaryConv2D as HashBinaryConv2D,
    HashBinaryDense as HashBinaryDense,
    HashBinaryDepthwiseConv2D as HashBinaryDepthwiseConv2D,
    HashBinarySeparableConv2D as HashBinarySeparableConv2D,
)
from hashbwn_keras.network.saving import load_model as load_model, save_model as save_model
from hashbwn_keras.reporting.compare import report as report
from hashbwn_keras.runtime.interpreter import Interpreter as Interpreter
from hashbwn_keras.training.code_metrics import CodeMetrics as CodeMetrics
from hashbwn_keras.training.distillation import distil as distil
from hashbwn_keras.training.hash_solve import HashSolve as HashSolve
from hashbwn_keras.version import __version__ as __version__

__all__: list[str]
