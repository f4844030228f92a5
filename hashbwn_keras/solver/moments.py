"""Second moments of a layer's input patches and float outputs, streamed over calibration images.

What :func:`hashbwn_keras.hashing.solve` needs of a layer is G = cov(x), g = cov(x, s) and
v = var(s), x being the patches the binarised network sees and s the outputs the float network has
at the same places (*asymmetric*: the target never comes from the binarised network). Here they are
summed up from batches, so that no more than a chunk of patches exists at a time.

How chunks are joined without losing digits is in :mod:`hashbwn_keras.solver.sums`.
"""

import math
import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hashbwn_keras.errors import CalibrationWarning, HashBWNError
from hashbwn_keras.solver.patches import PatchGeometry
from hashbwn_keras.solver.positions import sampled_positions
from hashbwn_keras.solver.statistics import Statistics
from hashbwn_keras.solver.sums import Sums

CHUNK_VALUES = 2**22
"""Patch values that are gathered at a time: 16 MiB of float32, whatever the image size."""

PATCHES = 32768
PATCHES_PER_INPUT = 20
"""Patches wanted of a layer: the larger of PATCHES and this many times K."""

DAMPING = 0.1
"""Times K / patches: the damping that left the smallest error on other images, for patches from
4 K to 100 K (benchmarks/moments.md)."""


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
        self._per_image = math.ceil(wanted / images)
        self._random = np.random.default_rng(seed)
        self._sums = Sums(geometry.problems, geometry.inputs, geometry.outputs)

    @property
    def count(self) -> int:
        """Patches summed up so far."""
        return self._sums.count

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
        geometry = self.geometry
        x, s = geometry.as_images(np.asarray(x), np.asarray(s))
        _check_finite("inputs", x)
        _check_finite("float outputs", s)
        widest = max(geometry.inputs, geometry.outputs)
        rows = max(1, CHUNK_VALUES // (geometry.problems * widest))
        size = (s.shape[1], s.shape[2])
        chunks = sampled_positions(self._random, len(s), size, self._per_image, rows)
        for image, row, column in chunks:
            patches = geometry.gather(x, image, row, column)
            shape = (len(image), geometry.problems, geometry.outputs)
            targets = s[image, row, column].reshape(shape).transpose(1, 0, 2)
            self._sums.add(patches, targets)

    def statistics(self, centred: bool = True) -> Statistics:
        """The moments of all patches so far: covariances, or plain second moments.

        Warns:
            CalibrationWarning: there are so few patches that the codes would fit their noise.

        Raises:
            HashBWNError: no batch was added.
        """
        sums, K = self._sums, self.geometry.inputs
        if sums.count == 0:
            raise HashBWNError("No calibration image was given: moments need at least one.")
        if sums.count < PATCHES_PER_INPUT * K // 2:
            warnings.warn(
                f"Only {sums.count} patches for {K} weights a channel, so that the codes will fit "
                f"their noise: give more calibration images, for {PATCHES_PER_INPUT * K} patches.",
                CalibrationWarning,
                stacklevel=2,
            )
        gram, cross, variance = (m / sums.count for m in (sums.gram, sums.cross, sums.variance))
        if not centred:
            gram += sums.input_mean[:, :, None] * sums.input_mean[:, None, :]
            cross += sums.input_mean[:, :, None] * sums.target_mean[:, None, :]
            variance += sums.target_mean**2
        return Statistics(
            gram,
            cross,
            variance,
            sums.input_mean.copy(),
            sums.target_mean.copy(),
            sums.count,
            centred,
            damping=max(1e-4, DAMPING * K / sums.count),
        )


def _check_finite(name: str, values: NDArray) -> None:
    # The sum tells of every NaN or infinity at little cost; only if it does, look closely.
    with np.errstate(over="ignore", invalid="ignore"):
        suspicious = not np.isfinite(values.sum())
    if suspicious and not np.isfinite(values).all():
        raise HashBWNError(
            f"The {name} of a layer hold NaN or infinite values: check the float model's "
            "weights and the calibration images."
        )
