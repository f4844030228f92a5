"""A twin of a binarised model whose kernels are ±α themselves, with no quantizer in the graph."""

import larq as lq
import numpy as np
import tf_keras

from hashbwn_keras.network.graph import clone, is_graph
from hashbwn_keras.network.layers import BinaryKernel, binary_kernels

_QUANTIZER_OF = {
    "kernel": "kernel_quantizer",
    "depthwise_kernel": "depthwise_quantizer",
    "pointwise_kernel": "pointwise_quantizer",
}


def with_constant_kernels(model: tf_keras.Model) -> tf_keras.Model:
    """Return a twin of ``model`` that computes the same from constant ±α kernels.

    Converters fold most in-graph kernel quantizers into constants, but not all: TensorFlow 2.21
    leaves those of layers that are called twice and of larger Dense layers. A model that is no
    graph of layers (a subclass of Model) cannot be rebuilt and is returned as it is.
    """
    kernels = binary_kernels(model)
    if not kernels or not is_graph(model):
        return model
    binary = {id(kernel.variable): kernel for kernel in kernels}

    def make(name: str, layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        del name
        config = layer.get_config()
        for kernel, quantizer in _QUANTIZER_OF.items():
            if quantizer in config and id(getattr(layer, kernel, None)) in binary:
                config[quantizer] = None
        return type(layer).from_config(config)

    twin = clone(model, make)
    with lq.context.quantized_scope(False):
        values = [
            _values(binary[id(weight)]) if id(weight) in binary else weight.numpy()
            for weight in model.weights
        ]
    twin.set_weights(values)
    return twin


def _values(kernel: BinaryKernel) -> np.ndarray:
    """Return the ±α that the layer computes with, in the shape of the kernel."""
    codes, scales = kernel.codes()
    outputs = [1 if axis in kernel.axes else size for axis, size in enumerate(codes.shape)]
    return codes * scales.reshape(outputs)
