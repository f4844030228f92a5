"""Paddings that Larq Compute Engine's converter gets wrong, silently."""

from collections.abc import Sequence

import tf_keras

from hashbwn_keras.errors import HashBWNError


def check_padding(model: tf_keras.Model) -> None:
    """Refuse a ZeroPadding2D before a strided convolution that LCE's converter would misplace.

    LCE 0.16 merges the two into a convolution with padding "same" as soon as the output has the
    same size. With a stride, "same" may put the zeros elsewhere: a 3×3 convolution with stride 2 on
    an even size gets them on one side only.

    Raises:
        HashBWNError: the model has such a pair.
    """
    for padding in model.submodules:
        if not isinstance(padding, tf_keras.layers.ZeroPadding2D):
            continue
        for node in padding._outbound_nodes:
            layer = node.outbound_layer
            strides = getattr(layer, "strides", (1, 1))
            if getattr(layer, "padding", "") == "valid" and max(strides) > 1:
                _check_pair(padding, layer, padding.get_input_shape_at(0)[1:3])


def _check_pair(
    padding: tf_keras.layers.Layer, layer: tf_keras.layers.Layer, sizes: Sequence[int | None]
) -> None:
    dilations = getattr(layer, "dilation_rate", (1, 1))
    rows = zip(sizes, padding.padding, layer.kernel_size, layer.strides, dilations, strict=True)
    for size, given, kernel, stride, dilation in rows:
        if size is None or given != _same_padding(size, (kernel - 1) * dilation + 1, stride):
            raise HashBWNError(
                f"Larq Compute Engine's converter would shift the padding of {padding.name!r} "
                f"before the strided {layer.name!r}: drop {padding.name!r} and give "
                f'{layer.name!r} padding="same", or train without its stride.'
            )


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after that TensorFlow's padding "same" adds."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
