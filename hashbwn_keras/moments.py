"""Second moments of a layer's input patches and float outputs, streamed over calibration images.

What :func:`hashbwn_keras.hashing.solve` needs of a layer is G = cov(x), g = cov(x, s) and
v = var(s), x being the patches the binarised network sees and s the outputs the float network has
at the same places (*asymmetric*: the target never comes from the binarised network). Here they are
summed up from batches, so that no more than a chunk of patches exists at a time.

Numerical safety: every chunk is centred by its own mean before it is multiplied, and chunks are
joined by the update of Chan, Golub and LeVeque ("Algorithms for computing the sample variance",
1983), so nothing is ever computed as a difference of large numbers. Products of one chunk are
float32 (BLAS), sums over chunks and means are float64.
"""

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.hashing import HashCodes

CHUNK_VALUES = 2**22
"""Patch values that are gathered at a time: 16 MiB of float32, whatever the image size."""
PATCHES = 32768
PATCHES_PER_INPUT = 20
"""Patches wanted of a layer: the larger of PATCHES and this many times K."""

DAMPING = 0.1
"""Times K / patches: the damping that left the smallest error on other images, for patches from
4 K to 100 K (benchmarks/moments.md)."""


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
        layers = tf.keras.layers
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


@dataclass(frozen=True)
class Statistics:
    """Moments of B problems, all float64; covariances if ``centred``, else plain second moments.

    Attributes:
        gram: [B, K, K].
        cross: [B, K, T].
        variance: [B, T].
        input_mean: [B, K].
        target_mean: [B, T].
        count: patches they were taken of.
        centred: see above.
        damping: for :func:`hashbwn_keras.hashing.solve`; grows where patches are few.
    """

    gram: NDArray[np.float64]
    cross: NDArray[np.float64]
    variance: NDArray[np.float64]
    input_mean: NDArray[np.float64]
    target_mean: NDArray[np.float64]
    count: int
    centred: bool
    damping: float

    def relative_error(self, solution: HashCodes) -> float:
        """Squared error of the layer's outputs left by ``solution``, divided by their variance."""
        total = self.variance.sum()
        return float((self.variance - solution.objective).sum() / total) if total > 0 else 0.0

    def bias(self, solution: HashCodes) -> NDArray[np.float64]:
        """What to add to the outputs so that their means are the targets', [B·T].

        Zero for plain moments, which ask for inner products without one.
        """
        if not self.centred:
            return np.zeros(self.target_mean.size)
        sums = np.einsum("bkt,bk->bt", solution.codes, self.input_mean)
        return (self.target_mean - solution.scales * sums).reshape(-1)


class Moments:
    """Sums up the moments of one layer over batches of calibration images.

    From every image the same number of positions is drawn without replacement, each output
    position with the same probability (borders and their padding with their natural share), from a
    generator that depends on ``seed`` and the order of the images but not on the batches.

    Memory beside the batch: at most :data:`CHUNK_VALUES` gathered values (or one patch, if that
    is more) with indices and a copy in another layout, and the moments, B · K · (K + T) numbers of
    8 bytes and a float32 copy; it does not depend on image size or number of images.

    Args:
        geometry: of the layer.
        images: how many images will come in all; it sets the positions drawn from each.
        patches: wanted over all images, by default max(32768, 20 K).
        seed: of the positions.
    """

    def __init__(
        self, geometry: PatchGeometry, images: int, *, patches: int | None = None, seed: int = 0
    ) -> None:
        if images < 1:
            raise HashBWNError(f"images={images}: moments need at least one calibration image.")
        wanted = max(PATCHES, PATCHES_PER_INPUT * geometry.inputs) if patches is None else patches
        if wanted < 1:
            raise HashBWNError(f"patches={patches}: moments need at least one patch.")
        self.geometry = geometry
        self.count = 0
        self._per_image = math.ceil(wanted / images)
        self._random = np.random.default_rng(seed)
        B, K, T = geometry.problems, geometry.inputs, geometry.outputs
        self._gram = np.zeros((B, K, K))
        self._cross = np.zeros((B, K, T))
        self._variance = np.zeros((B, T))
        self._input_mean = np.zeros((B, K))
        self._target_mean = np.zeros((B, T))

    def update(self, x: ArrayLike, s: ArrayLike) -> None:
        """Add a batch.

        Args:
            x: input of the layer in the binarised network (behind its input quantizer, if any):
                [N, H, W, C], [N, C, H, W] or, for Dense, [N, ..., C].
            s: output of the layer in the float network before its activation and with or without
                its bias, of the matching shape. Outputs of another layer's stride, size or batch
                are an error.

        Raises:
            HashBWNError: shapes that do not fit, NaN or infinite values; nothing is added then.
        """
        x, s = self._images(np.asarray(x), np.asarray(s))
        for name, values in (("inputs", x), ("float outputs", s)):
            # The sum tells of every NaN or infinity at little cost; only if it does, look closely.
            with np.errstate(over="ignore", invalid="ignore"):
                suspicious = not np.isfinite(values.sum())
            if suspicious and not np.isfinite(values).all():
                raise HashBWNError(
                    f"The {name} of a layer hold NaN or infinite values: check the float model's "
                    "weights and the calibration images."
                )
        rows = max(1, CHUNK_VALUES // (self.geometry.problems * self.geometry.inputs))
        images, height, width = s.shape[:3]
        for image, row, column in self._positions(images, height, width, rows):
            patches = self.geometry.gather(x, image, row, column)
            shape = (len(image), self.geometry.problems, self.geometry.outputs)
            targets = s[image, row, column].reshape(shape).transpose(1, 0, 2)
            self._add(patches, targets)

    def statistics(self, centred: bool = True) -> Statistics:
        """The moments of all patches so far: covariances, or plain second moments.

        Warns:
            CalibrationWarning: there are so few patches that the codes would fit their noise.

        Raises:
            HashBWNError: no batch was added.
        """
        if self.count == 0:
            raise HashBWNError("No calibration image was given: moments need at least one.")
        K = self.geometry.inputs
        if self.count < PATCHES_PER_INPUT * K // 2:
            warnings.warn(
                f"Only {self.count} patches for {K} weights a channel: the codes will fit their "
                f"noise; give more calibration images, {PATCHES_PER_INPUT * K} patches are enough.",
                CalibrationWarning,
                stacklevel=2,
            )
        gram, cross, variance = (m / self.count for m in (self._gram, self._cross, self._variance))
        if not centred:
            gram += self._input_mean[:, :, None] * self._input_mean[:, None, :]
            cross += self._input_mean[:, :, None] * self._target_mean[:, None, :]
            variance += self._target_mean**2
        return Statistics(
            gram,
            cross,
            variance,
            self._input_mean.copy(),
            self._target_mean.copy(),
            self.count,
            centred,
            damping=max(1e-4, DAMPING * K / self.count),
        )

    def _images(self, x: NDArray, s: NDArray) -> tuple[NDArray, NDArray]:
        """Views of inputs and targets as [N, H, W, C], their shapes checked."""
        geometry = self.geometry
        given = f"inputs {x.shape} and float outputs {s.shape}"
        if geometry.dense and x.ndim >= 2:
            x = x.reshape(len(x), -1, 1, x.shape[-1])
            s = s.reshape(len(s), -1, 1, s.shape[-1]) if s.ndim >= 2 else s
        elif geometry.channels_first and x.ndim == s.ndim == 4:
            x, s = x.transpose(0, 2, 3, 1), s.transpose(0, 2, 3, 1)
        x, s = (v if v.dtype in (np.float32, np.float64) else v.astype(np.float32) for v in (x, s))
        if x.ndim != 4 or x.shape[3] != geometry.channels:
            raise HashBWNError(
                f"A layer of {geometry.channels} input channels got {given}: give its own input."
            )
        size = geometry.output_size(x.shape[1], x.shape[2])
        expected = (len(x), *size, geometry.problems * geometry.outputs)
        if s.shape != expected or 0 in expected:
            raise HashBWNError(
                f"A layer with outputs {expected} got {given}: give the outputs of the same "
                "layer for the same images, and images no smaller than its kernel."
            )
        return x, s

    def _positions(
        self, images: int, height: int, width: int, rows: int
    ) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
        """Chunks of at most ``rows`` sampled positions: image, output row, output column.

        The positions of an image, in reading order, are cut into as many parts as are wanted, one
        is drawn from each, and all are rotated by the same random number: evenly spread, never
        twice the same, and every position equally likely.
        """
        places = height * width
        per_image = min(self._per_image, places)
        edges = np.arange(per_image + 1) * places // per_image
        draws = self._random.random((images, per_image + 1))
        picks = edges[:-1] + np.floor(draws[:, 1:] * np.diff(edges)).astype(int)
        picks = (picks + np.floor(draws[:, :1] * places).astype(int)) % places
        image = np.repeat(np.arange(images), per_image)
        row, column = np.divmod(picks.reshape(-1), width)
        for start in range(0, len(image), rows):
            part = slice(start, start + rows)
            yield image[part], row[part], column[part]

    def _add(self, patches: NDArray, targets: NDArray) -> None:
        """Join the moments of a chunk, patches [B, n, K] and targets [B, n, T], to the sums.

        Chan's term, n₁ n₂ / (n₁ + n₂) times the outer product of the difference of means, goes in
        as one more row of the chunk.
        """
        n = patches.shape[1]
        share = n / (self.count + n)
        weight = math.sqrt(self.count * share)
        X = self._centred_chunk(patches, self._input_mean, share, weight)
        S = self._centred_chunk(targets, self._target_mean, share, weight)
        transposed = X.transpose(0, 2, 1)
        self._gram += transposed @ X
        self._cross += transposed @ S
        self._variance += np.square(S, dtype=np.float64).sum(axis=1)
        self.count += n

    @staticmethod
    def _centred_chunk(values: NDArray, mean: NDArray, share: float, weight: float) -> NDArray:
        """``values`` [B, n, C] minus their mean, with Chan's row, float32; moves ``mean``."""
        B, n, C = values.shape
        centred = np.empty((B, n + 1, C), np.float32)
        exact = values.mean(axis=1, dtype=np.float64)
        np.subtract(
            values, exact[:, None].astype(values.dtype), out=centred[:, :n], casting="same_kind"
        )
        # The rounding of the mean to the values' type is still in; it is small, so this is exact.
        rest = centred[:, :n].mean(axis=1, dtype=np.float64)
        centred[:, :n] -= rest[:, None].astype(np.float32)
        centred[:, n] = weight * (exact - mean)
        mean += share * (exact - mean)
        return centred
