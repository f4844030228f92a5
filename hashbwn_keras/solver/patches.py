"""How a layer cuts its input into patches, and how its kernel maps to the solver's problems."""

from dataclasses import dataclass

import numpy as np
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

    def as_images(self, x: NDArray, s: NDArray) -> tuple[NDArray, NDArray]:
        """Views of the layer's inputs and outputs as [N, H, W, C], their shapes checked.

        Raises:
            HashBWNError: shapes that are not the layer's, or do not fit each other.
        """
        given = f"inputs {x.shape} and float outputs {s.shape}"
        if self.dense and x.ndim >= 2:
            x = x.reshape(len(x), -1, 1, x.shape[-1])
            s = s.reshape(len(s), -1, 1, s.shape[-1]) if s.ndim >= 2 else s
        elif self.channels_first and x.ndim == s.ndim == 4:
            x, s = x.transpose(0, 2, 3, 1), s.transpose(0, 2, 3, 1)
        x, s = (v if v.dtype in (np.float32, np.float64) else v.astype(np.float32) for v in (x, s))
        if x.ndim != 4 or x.shape[3] != self.channels:
            raise HashBWNError(
                f"A layer of {self.channels} input channels got {given}: give its own input."
            )
        size = self.output_size(x.shape[1], x.shape[2])
        expected = (len(x), *size, self.problems * self.outputs)
        if s.shape != expected or 0 in expected:
            raise HashBWNError(
                f"A layer with outputs {expected} got {given}: give the outputs of the same "
                "layer for the same images, and images no smaller than its kernel."
            )
        return x, s

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
