"""How a layer cuts its input into patches, and how its kernel maps to the solver's problems."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import HashBWNError


@dataclass(frozen=True)
class PatchGeometry:
    """How a layer cuts its input into patches, and how its kernel maps to the solver's problems.

    A layer is B problems of K inputs and T outputs each: B = 1 for an ordinary convolution and for
    Dense, the groups of a grouped one, the input channels of a depthwise one. The order of the K
    inputs is that of the Keras kernel, [kernel row, kernel column, input channel of the group].

    Attributes:
        kernel_size: rows and columns of the kernel, (1, 1) for Dense.
        strides: rows and columns.
        dilation: rows and columns.
        same: whether the input is padded as Keras pads for ``padding="same"``.
        pad_value: what it is padded with (Larq's ``pad_values``).
        channels: input channels.
        problems: B.
        outputs: T, output channels per problem.
        kernel_shape: of the Keras kernel.
        channels_first: whether inputs and outputs are [N, C, H, W].
        dense: whether inputs and outputs have any leading dimensions and features last.
    """

    kernel_size: tuple[int, int]
    strides: tuple[int, int]
    dilation: tuple[int, int]
    same: bool
    pad_value: float
    channels: int
    problems: int
    outputs: int
    kernel_shape: tuple[int, ...]
    channels_first: bool = False
    dense: bool = False

    @classmethod
    def of(cls, layer: Any) -> "PatchGeometry":
        """Geometry of a built Keras layer, or of a subclass such as Larq's.

        Of a SeparableConv2D it is that of the pointwise part, a 1 × 1 convolution of the depthwise
        part's output.

        Raises:
            HashBWNError: the layer is not built or none of Conv2D, DepthwiseConv2D,
                SeparableConv2D and Dense.
        """
        layers = tf_keras.layers
        known = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D, layers.Dense)
        if not isinstance(layer, known) or isinstance(layer, layers.Conv2DTranspose):
            raise HashBWNError(
                f"Layer {layer.name!r} is a {type(layer).__name__}: moments are taken of Conv2D, "
                "DepthwiseConv2D, SeparableConv2D and Dense only."
            )
        if not layer.built:
            raise HashBWNError(f"Layer {layer.name!r} has no weights yet: build the model first.")
        if isinstance(layer, layers.Dense):
            shape = tuple(layer.kernel.shape)
            one = (1, 1)
            return cls(one, one, one, False, 0.0, shape[0], 1, shape[1], shape, dense=True)
        first = layer.data_format == "channels_first"
        if isinstance(layer, layers.SeparableConv2D):
            shape = tuple(layer.pointwise_kernel.shape)
            one = (1, 1)
            return cls(one, one, one, False, 0.0, shape[2], 1, shape[3], shape, first)
        depthwise = isinstance(layer, layers.DepthwiseConv2D)
        kernel = layer.depthwise_kernel if depthwise else layer.kernel
        shape = tuple(kernel.shape)
        problems = shape[2] if depthwise else layer.groups
        return cls(
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

    @property
    def inputs(self) -> int:
        """K, the number of codes of an output channel."""
        depth = self.channels // self.problems
        return self.kernel_size[0] * self.kernel_size[1] * depth

    def split_kernel(self, kernel: ArrayLike) -> NDArray:
        """Keras kernel to [B, K, T], the layout of ``cross`` and ``codes`` in the solver."""
        rows = np.asarray(kernel).reshape(self.inputs, self.problems, self.outputs)
        return rows.transpose(1, 0, 2)

    def join_kernel(self, codes: ArrayLike) -> NDArray:
        """[B, K, T] back to the shape of the Keras kernel."""
        return np.asarray(codes).transpose(1, 0, 2).reshape(self.kernel_shape)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the output for an input of this size."""
        sizes = [self._axis(axis, size)[0] for axis, size in enumerate((height, width))]
        return sizes[0], sizes[1]

    def _axis(self, axis: int, size: int) -> tuple[int, int]:
        """Output size and padding before the first input, along rows (0) or columns (1)."""
        stride = self.strides[axis]
        span = (self.kernel_size[axis] - 1) * self.dilation[axis] + 1
        if not self.same:
            return (size - span) // stride + 1, 0
        outputs = -(-size // stride)
        return outputs, max((outputs - 1) * stride + span - size, 0) // 2

    def gather(self, x: NDArray, image: NDArray, row: NDArray, column: NDArray) -> NDArray:
        """Patches of ``x`` [N, H, W, C] at n output positions, [B, n, K]."""
        y, inside_y = self._taps(0, row, x.shape[1])
        z, inside_x = self._taps(1, column, x.shape[2])
        taps = x[image[:, None, None], y[:, :, None], z[:, None, :]]  # [n, kh, kw, C]
        if self.same:
            taps[~(inside_y[:, :, None] & inside_x[:, None, :])] = self.pad_value
        n = len(image)
        if self.problems == 1:
            return taps.reshape(1, n, self.inputs)
        split = taps.reshape(n, -1, self.problems, self.channels // self.problems)
        return np.ascontiguousarray(split.transpose(2, 0, 1, 3)).reshape(self.problems, n, -1)

    def _taps(self, axis: int, position: NDArray, size: int) -> tuple[NDArray, NDArray]:
        """Input indices that the kernel touches, [n, kernel size], and which are not padding."""
        reach = np.arange(self.kernel_size[axis]) * self.dilation[axis]
        before = self._axis(axis, size)[1]
        index = position[:, None] * self.strides[axis] + reach - before
        return np.clip(index, 0, size - 1), (index >= 0) & (index < size)
