"""How a Keras layer cuts its input into patches."""

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.kernels import TABLE, kernel_of, row_of
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.solver.patches import PatchGeometry


def patch_geometry(layer: Layer) -> PatchGeometry:
    """Geometry of a built Keras layer, or of a subclass such as Larq's.

    Of a layer of two kernels, such as SeparableConv2D, it is that of the pointwise part, a 1 × 1
    convolution of the depthwise part's output.

    Raises:
        HashBWNError: the layer is not built or of a type that has no binary form.
    """
    row = row_of(layer)
    if row is None or row.binary_class is None:
        *known, last = (row.float_class.__name__ for row in TABLE if row.binary_class)
        raise HashBWNError(
            f"Layer {layer.name!r} is a {type(layer).__name__}: moments are taken of "
            f"{', '.join(known)} and {last} only."
        )
    if not layer.built:
        raise HashBWNError(f"Layer {layer.name!r} has no weights yet: build the model first.")
    shape = tuple(kernel_of(layer).shape)
    one = (1, 1)
    if len(shape) == 2:
        return PatchGeometry(one, one, one, False, 0.0, shape[0], 1, shape[1], shape, dense=True)
    first = layer.data_format == "channels_first"
    if len(row.places) > 1:
        return PatchGeometry(one, one, one, False, 0.0, shape[2], 1, shape[3], shape, first)
    depthwise = row.places[-1].axes is not None
    problems = shape[2] if depthwise else layer.groups
    return PatchGeometry(
        kernel_size=tuple(layer.kernel_size),
        strides=tuple(layer.strides),
        dilation=tuple(layer.dilation_rate),
        same=layer.padding == "same",
        pad_value=float(getattr(layer, "pad_values", 0.0)),
        channels=shape[2] if depthwise else shape[2] * problems,
        problems=problems,
        outputs=shape[3] if depthwise else shape[3] // problems,
        kernel_shape=shape,
        channels_first=first,
    )
