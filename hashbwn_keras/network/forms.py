"""Which form data are in: arrays of all images, batches, images and labels.

A value's rank tells: an array of all images has the rank of the model's input, one image one less,
and what holds a batch and its labels one more.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from hashbwn_keras.errors import HashBWNError
from hashbwn_keras.network.slots import Slot, fixed_batch, is_array, rank, slots_of


@dataclass(frozen=True)
class Form:
    """What data for a model look like.

    Attributes:
        name: what the caller calls the data, for messages.
        slots: the model's inputs.
        outputs: the names of its outputs.
        fixed_batch: the batch size, where the model has a fixed one.
    """

    name: str
    slots: tuple[Slot, ...]
    outputs: tuple[str, ...]
    fixed_batch: int | None

    @classmethod
    def of(cls, model: tf_keras.Model, name: str) -> "Form":
        """Take down what ``model`` wants; raises HashBWNError where that cannot be read."""
        return cls(name, slots_of(model), tuple(model.output_names), fixed_batch(model))

    def whole(self, data: Any) -> tuple[Any, Any] | None:
        """Inputs and labels, if ``data`` is arrays of all images; None if it is batches."""
        if isinstance(data, dict) or is_array(data):
            return data, None
        if not isinstance(data, list | tuple) or not data:
            return None
        if len(self.slots) == 1 and rank(data) == self._rank:  # images
            return list(data), None
        if self._is_inputs(data):
            return data, None
        x, *rest = data
        pair = isinstance(data, tuple) and len(data) in (2, 3)
        known = isinstance(x, dict) or self._is_inputs(x)
        if pair and known and not all(map(self._is_inputs, rest)):
            return x, rest[0]
        return None

    def split(self, batch: Any) -> tuple[Any, Any]:
        """Inputs and labels of a batch; Keras knows ``(x, y)`` and ``(x, y, weights)``."""
        if self._is_one_each(batch):
            return batch, None
        images = isinstance(batch, list) and rank(batch) == self._rank
        if isinstance(batch, list | tuple) and not images and 1 <= len(batch) <= 3:
            return batch[0], batch[1] if len(batch) > 1 else None
        return batch, None

    def by_input(self, inputs: Any) -> list[Any]:
        """One array-like for each input, in the model's order."""
        slots = self.slots
        if isinstance(inputs, dict):
            keys = [slot.key if slot.key in inputs else slot.name for slot in slots]
            missing = sorted(set(keys) - set(inputs))
            if missing:
                raise HashBWNError(
                    f"{self.name} lacks the input {missing[0]!r}: its keys must be "
                    f"{[slot.key for slot in slots]}."
                )
            return [inputs[key] for key in keys]
        if len(slots) == 1:
            one = isinstance(inputs, list | tuple) and len(inputs) == 1
            return list(inputs) if one and rank(inputs[0]) == self._rank else [inputs]
        values = list(inputs) if isinstance(inputs, list | tuple) else [inputs]
        if len(values) != len(slots):
            raise HashBWNError(
                f"{self.name} gives {len(values)} inputs and the model has {len(slots)}: pass one "
                f"array for each of {[slot.name for slot in slots]}."
            )
        return values

    def batch(self, inputs: Any) -> list[NDArray]:
        """Inputs of a batch as arrays, one for each input and of its type, checked."""
        values = self.by_input(inputs)
        arrays = [
            slot.array(value, self.name) for slot, value in zip(self.slots, values, strict=True)
        ]
        self.images(arrays)
        return arrays

    def images(self, arrays: list[Any]) -> int:
        """How many images the arrays have; refuses arrays that differ."""
        if not all(rank(array) for array in arrays):
            raise HashBWNError(f"{self.name} is a single number: pass an array of one an image.")
        sizes = {len(array) for array in arrays}
        if len(sizes) > 1:
            raise HashBWNError(
                f"{self.name} gives {sorted(sizes)} images to the model's inputs: pass the same "
                "number to each."
            )
        return sizes.pop()

    def labels(self, labels: Any) -> list[NDArray]:
        """One array of labels, or one for each output; none for None."""
        if labels is None:
            return []
        found = _by_output(labels, self.outputs)
        if not all(rank(y) for y in found):
            raise HashBWNError("The labels are a single number: give one label per image.")
        return [np.asarray(y) for y in found]

    @property
    def _rank(self) -> int:
        return len(self.slots[0].shape)

    def _is_inputs(self, value: Any) -> bool:
        """Whether ``value`` is a batch of inputs: one array, one for each, a list of images."""
        if isinstance(value, dict):
            return all(slot.key in value or slot.name in value for slot in self.slots)
        if len(self.slots) == 1:
            return not isinstance(value, tuple) and self.slots[0].fits(value)
        return self._is_one_each(value)

    def _is_one_each(self, value: Any) -> bool:
        """Whether ``value`` is one array, or list of images, for each of several inputs."""
        if not isinstance(value, list | tuple) or not 1 < len(value) == len(self.slots):
            return False
        first = value[0]
        return is_array(first) or (not isinstance(first, dict) and rank(first) <= self._rank)


def _by_output(labels: Any, outputs: tuple[str, ...]) -> list[Any]:
    if isinstance(labels, dict):
        missing = [name for name in outputs if name not in labels]
        if missing:
            raise HashBWNError(
                f"The labels lack the output {missing[0]!r}: their keys must be {list(outputs)}."
            )
        return [labels[name] for name in outputs]
    one_each = isinstance(labels, list | tuple) and len(labels) == len(outputs) > 1
    if one_each and all(rank(y) for y in labels):
        return list(labels)
    return [labels]
