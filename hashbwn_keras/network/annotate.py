"""Which quantizers the layers of a binarised model get in quantize-aware training."""

import tf_keras

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.graph import Network, Step
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import is_batch_norm, is_linear, is_relu
from hashbwn_keras.network.rebuild import rebuild, same_layer
from hashbwn_keras.network.tfmot import (
    HashBinaryQuantizeConfig,
    OutputQuantizeConfig,
    place_of,
    tfmot,
)

QuantizeConfig = HashBinaryQuantizeConfig | OutputQuantizeConfig


def quantize_annotate(model: tf_keras.Model) -> tf_keras.Model:
    """Annotate a whole model: 1-bit kernels for its HashBinary layers, 8 bits for everything else.

    Batch-norm and ReLU behind a HashBinary layer are annotated so that the converter can fuse them
    into it, as tfmot does for Keras's own layers.

    Args:
        model: Sequential or functional model, for example from :func:`hashbwn_keras.binarize`. It
            is not changed.

    Returns:
        A model of the same weights for ``tfmot.quantization.keras.quantize_apply``.

    Raises:
        HashBWNError: no HashBinary layer, or one that would not become int8 (separable, dilated,
            with an input quantizer, Dense on a feature map or before batch-norm); a nested model.
    """
    network = Network.of(model)
    configs = _configs(network, _binary_layers(network))

    def make(layer: Layer) -> Layer:
        return tfmot.quantize_annotate_layer(same_layer(layer), configs.get(layer))

    annotated = rebuild(network, make)
    for layer, twin in annotated.twins.items():
        twin.set_weights(layer.get_weights())
    return annotated.model


def _binary_layers(network: Network) -> set[Layer]:
    """The layers with 1-bit kernels, all of which tfmot can quantize."""
    name = network.model.name
    if network.submodels:
        nested = next(layer.name for layer in network.labels if layer in network.submodels)
        raise HashBWNError(
            f"Model {name!r} contains the model {nested!r}, which "
            "tensorflow-model-optimization cannot quantize: build it of layers only."
        )
    kernels = network.kernels
    if not kernels:
        raise HashBWNError(
            f"Model {name!r} has no HashBinary layer: binarise it first (hashbwn_keras.binarize)."
        )
    for kernel in kernels:
        _check_fits(kernel.layer)
    return {kernel.layer for kernel in kernels}


def _check_fits(layer: Layer) -> None:
    """Check that the converter can make an int8 layer of a binary one."""
    place_of(layer)
    dense = _is_dense(layer)
    if getattr(layer, "input_quantizer", None) is not None:
        reason, cure = "quantizes its input itself", "set input_quantizer=None"
    elif dense and len(layer.input_shape) != 2:
        reason, cure = "is a Dense on a feature map", "make it a 1 × 1 HashBinaryConv2D"
    elif not dense and set(layer.dilation_rate) != {1}:
        reason, cure = f"has dilation_rate {tuple(layer.dilation_rate)}", "set it to 1"
    else:
        return
    raise HashBWNError(
        f"Layer {layer.name!r} {reason}, which TensorFlow's converter leaves float in aware "
        f"training: {cure}."
    )


def _configs(network: Network, binary: set[Layer]) -> dict[Layer, QuantizeConfig]:
    """What to annotate the binary layers, and the batch-norms behind them, with."""
    configs: dict[Layer, QuantizeConfig] = {}
    for layer, steps in network.calls.items():
        if layer not in binary:
            continue
        reader = _only_reader(steps, network)
        norm = reader if reader and is_batch_norm(reader) and is_linear(layer) else None
        fused = norm is not None or (reader is not None and is_relu(reader))
        configs[layer] = HashBinaryQuantizeConfig(quantize_output=not fused)
        if norm and _is_dense(layer):
            raise HashBWNError(
                f"The converter cannot fuse batch-norm {norm.name!r} into the int8 Dense "
                f"{layer.name!r}: leave it out, or make the Dense a 1 × 1 HashBinaryConv2D."
            )
        if norm:
            behind = _only_reader(network.calls[norm], network)
            relu = behind is not None and is_relu(behind)
            configs[norm] = OutputQuantizeConfig(quantize_output=not relu)
    return configs


def _only_reader(steps: list[Step], network: Network) -> Layer | None:
    """The one layer that reads the output of a layer that is called once."""
    (key,) = steps[0].outputs
    found = network.readers.get(key, [])
    alone = len(steps) == len(found) == 1 and key not in network.outputs
    return found[0].layer if alone else None


def _is_dense(layer: Layer) -> bool:
    return isinstance(layer, tf_keras.layers.Dense)
