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

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.solver.hashing import HashCodes
from hashbwn_keras.solver.patches import PatchGeometry

CHUNK_VALUES = 2**22
"""Patch values that are gathered at a time: 16 MiB of float32, whatever the image size."""

PATCHES = 32768
PATCHES_PER_INPUT = 20
"""Patches wanted of a layer: the larger of PATCHES and this many times K."""

DAMPING = 0.1
"""Times K / patches: the damping that left the smallest error on other images, for patches from
4 K to 100 K (benchmarks/moments.md)."""


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

    Memory beside the batch: chunks of :data:`CHUNK_VALUES` gathered inputs and at most as many
    targets, at most twice each (about 40 MiB for 3 × 3 × 64 inputs), and the moments,
    B · K · (K + T) numbers of 8 bytes and a float32 copy. It does not depend on image size or
    number of images.

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
        widest = max(self.geometry.inputs, self.geometry.outputs)
        rows = max(1, CHUNK_VALUES // (self.geometry.problems * widest))
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
                f"Only {self.count} patches for {K} weights a channel, so that the codes will fit "
                f"their noise: give more calibration images, for {PATCHES_PER_INPUT * K} patches.",
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
