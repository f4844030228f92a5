"""How far the codes move while a network trains, and what binarisation costs each layer."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.codes import BinaryKernel, binary_kernels
from hashbwn_keras.network.keras3 import to_keras2
from hashbwn_keras.reporting.compare import report

Logs = dict[str, Any] | None


class CodeMetrics(tf_keras.callbacks.Callback):
    """Keras callback that logs, at the end of each epoch:

    - ``flips/<layer>``: share of the layer's codes that differ from those one epoch before;
    - ``flips``: the same of all codes of the network;
    - ``layer_error/<layer>``: the relative error of the layer. With a ``teacher``, squared
      difference of the layer's outputs in both networks over the variance of the teacher's, on
      ``data``, as in :func:`hashbwn_keras.report`. Without, ‖W − α·B‖² / ‖W‖² of the latent kernel
      W: how far it is from two values per channel.

    Stand it before ``TensorBoard`` and ``CSVLogger`` in ``callbacks``, so that they see the values;
    ``model.fit``'s history has them anyway. Codes are compared as codes: Larq's ``flip_ratio``
    metric casts kernels to int8, where scaled ones are all zero. Nothing is added to the training
    step.

    Args:
        teacher: the float network, with layers of the same names.
        data: images for the layers' errors, as :func:`hashbwn_keras.report` takes them; what a
            generator yields is kept, for every epoch needs it.
        every: also log ``flips`` and ``flips/<layer>`` with each batch whose number is a multiple
            of this, against the last such batch; TensorBoard shows them with the same
            ``update_freq``.

    Raises:
        HashBWNError: only one of ``teacher`` and ``data``; ``every`` below 1; when training begins,
            a model without HashBinary layers.
    """

    def __init__(
        self, teacher: tf_keras.Model | None = None, data: Any = None, *, every: int | None = None
    ):
        super().__init__()
        if (teacher is None) != (data is None):
            raise HashBWNError(
                "CodeMetrics compares with a teacher on data: give both of teacher and data."
            )
        if every is not None and every < 1:
            raise HashBWNError(f"every is {every}: give a number of batches of 1 or more.")
        self.teacher, self.every = to_keras2(teacher), every
        self.data = list(data) if isinstance(data, Iterator) else data
        self._kernels: list[BinaryKernel] = []
        self._epoch: list[NDArray[np.int8]] = []
        self._step: list[NDArray[np.int8]] = []

    def on_train_begin(self, logs: Logs = None) -> None:
        """Find the binary kernels."""
        del logs
        self._kernels = binary_kernels(self.model)
        if not self._kernels:
            raise HashBWNError(
                f"Model {self.model.name!r} has no HashBinary layer: leave out CodeMetrics."
            )
        self._epoch = []

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        """Take down the codes that training begins with."""
        del epoch, logs
        if not self._epoch:  # only now: callbacks such as BackupAndRestore have loaded weights
            self._epoch = self._step = self._codes()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Log flips since the last batch that was logged."""
        if self.every and logs is not None and batch % self.every == 0:
            before, self._step = self._step, self._codes()
            logs.update(self._flips(before, self._step))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        """Log flips since the last epoch, and the layers' errors."""
        del epoch
        before, self._epoch = self._epoch, self._codes()
        if logs is not None:
            logs.update(self._flips(before, self._epoch))
            logs.update({f"layer_error/{name}": e for name, e in self._errors().items()})

    def _codes(self) -> list[NDArray[np.int8]]:
        return [kernel.codes().codes for kernel in self._kernels]

    def _flips(
        self, before: list[NDArray[np.int8]], after: list[NDArray[np.int8]]
    ) -> dict[str, float]:
        counts = [np.count_nonzero(a != b) for a, b in zip(before, after, strict=True)]
        sizes = [codes.size for codes in after]
        flips = {"flips": sum(counts) / sum(sizes)}
        for kernel, count, size in zip(self._kernels, counts, sizes, strict=True):
            flips[f"flips/{kernel.name}"] = count / size
        return flips

    def _errors(self) -> dict[str, float]:
        if self.teacher is None:
            return {kernel.name: _latent_error(kernel) for kernel in self._kernels}
        names = {kernel.name for kernel in self._kernels}
        layers = report(self.teacher, self.model, self.data).layers
        return {layer.name: layer.relative_error for layer in layers if layer.name in names}


def _latent_error(kernel: BinaryKernel) -> float:
    """‖W − α·B‖² / ‖W‖², 0 for a kernel of zeros."""
    latent = kernel.latent().astype(np.float64)
    codes, scales = kernel.codes()
    channels = [1 if axis in kernel.axes else size for axis, size in enumerate(latent.shape)]
    left = np.square(latent - codes * scales.astype(np.float64).reshape(channels)).sum()
    total = np.square(latent).sum()
    return float(left / total) if total > 0 else 0.0
