"""Each output of the network, judged as what it is."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.outputs import Kind, OutputKind
from hashbwn_keras.reporting.data import OutputReport
from hashbwn_keras.reporting.differences import Decisions, Difference, LabelDistance
from hashbwn_keras.reporting.furthest import Furthest
from hashbwn_keras.reporting.labels import as_decisions, as_values, decisions, judged_by


class Output:
    """Error, agreement and accuracy at one output of the network, over batches."""

    def __init__(self, what: OutputKind) -> None:
        self._what = what
        self._difference = Difference()
        self._decisions = Decisions()
        self._from_labels = LabelDistance()
        self._furthest = Furthest()
        self._images = 0
        self._finite = True
        self._by_position = False
        self._left_out = {
            Kind.PASSED: "it is an input, passed through",
            Kind.DISCRETE: "its values are not real numbers",
        }.get(what.kind, "")

    def add(
        self,
        inputs: list[NDArray],
        outputs: tuple[NDArray, NDArray],
        labels: NDArray | None,
        images: int,
    ) -> None:
        """Add a batch.

        Args:
            inputs: of the model.
            outputs: the float network's values and the binary network's.
            labels: ``[images, ...]`` or None.
            images: how many of the batch count, from the first.
        """
        first, self._images = self._images, self._images + images
        if self._what.kind is Kind.PASSED:
            return
        wanted, got = outputs
        if not wanted.ndim or len(wanted) != len(inputs[0]):
            self._left_out = "it is not one value an image"
            return
        wanted, got = wanted[:images], got[:images]
        if self._what.has_error:
            self._check(wanted, got)
        if labels is not None:
            self._what = replace(self._what, kind=judged_by(labels, wanted, self._what.kind))
        truth = self._judge(wanted, got, labels)
        self._furthest.add(self._what, first, inputs, (wanted, got), truth)

    def _check(self, wanted: NDArray, got: NDArray) -> None:
        if not np.isfinite(wanted).all():
            raise HashBWNError(
                f"Output {self._what.name!r} of the float network is not finite on these data: "
                "check its weights."
            )
        self._finite = self._finite and bool(np.isfinite(got).all())

    def _judge(self, wanted: NDArray, got: NDArray, labels: NDArray | None) -> NDArray | None:
        """Add a batch to the sums; returns the labels as decisions or values."""
        if self._what.has_error:
            a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (wanted, got))
            self._difference.add_values(a, b)
        if not self._what.decides:
            if labels is None:
                return None
            truth = as_values(labels, wanted, self._what.name)
            self._from_labels.add(wanted, got, truth)
            return truth
        made = None if labels is None else as_decisions(labels, wanted, self._what)
        ours, theirs = (decisions(values, self._what) for values in (wanted, got))
        self._by_position = ours.size > len(ours)
        self._decisions.add(ours, theirs, made)
        return made

    def summary(self) -> OutputReport:
        """Return what the batches amount to."""
        found = self._decisions
        decided = found.count > 0
        judged = decided and self._what.kind is not Kind.SCORES
        float_rmse, binary_rmse = self._from_labels.rmse()
        return OutputReport(
            name=self._what.name,
            relative_error=None if self._left_out else self._difference.relative_error(),
            agreement=found.same / found.count if decided else None,
            float_accuracy=found.float_right / found.labelled if found.labelled else None,
            binary_accuracy=found.binary_right / found.labelled if found.labelled else None,
            finite=self._finite,
            kind=self._what.kind.value,
            by_position=self._by_position,
            by_class=found.by_class() if judged else (),
            uneven=judged and found.uneven(),
            float_rmse=float_rmse,
            binary_rmse=binary_rmse,
            left_out=self._left_out,
            worst=self._furthest.worst(),
        )
