"""A twin of a binarised model whose kernels are ±α themselves, with no quantizer in the graph."""

import larq as lq
import tf_keras

from hashbwn_keras.network.graph import Network, is_graph
from hashbwn_keras.network.kernels import unquantized_form
from hashbwn_keras.network.rebuild import rebuild, same_layer


def with_constant_kernels(model: tf_keras.Model) -> tf_keras.Model:
    """Return a twin of ``model`` that computes the same from constant ±α kernels.

    Converters fold most in-graph kernel quantizers into constants, but not all: TensorFlow 2.21
    leaves those of layers that are called twice and of larger Dense layers. A model that is no
    graph of layers (a subclass of Model) cannot be rebuilt and is returned as it is, and a layer
    inside of a wrapper keeps its quantizer.
    """
    if not is_graph(model):
        return model
    network = Network.of(model)
    kernels = [kernel for kernel in network.kernels if kernel.layer in network.calls]
    if not kernels:
        return model
    binary = {kernel.layer for kernel in kernels}
    constant = {id(kernel.variable): kernel.values() for kernel in kernels}
    twin = rebuild(
        network, lambda layer: unquantized_form(layer) if layer in binary else same_layer(layer)
    )
    with lq.context.quantized_scope(False):
        for layer, copy in twin.twins.items():
            weights = [(constant.get(id(w)), w) for w in layer.weights]
            copy.set_weights([w.numpy() if value is None else value for value, w in weights])
    return twin.model
