"""The float network and the binarised one, run side by side, a step at a time over all images."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from hashbwn_keras.binarizer.activations import ActivationStore
from hashbwn_keras.network.batches import Batch, image_count
from hashbwn_keras.network.graph import Key, Network, Step, Twins

FLOAT, BINARY = "float", "binary"


class TwoNetworks:
    """Carries calibration images through both networks; tensors that are the same are kept once.

    Attributes:
        network: the float network.
        twins: the layer of the binarised network for each layer.
        images: how many calibration images there are.
        batches: and in how many batches.

    Args:
        network: see above.
        twins: see above.
        batches: calibration images.
        store: keeps the tensors.
    """

    def __init__(
        self, network: Network, twins: Twins, batches: list[Batch], store: ActivationStore
    ) -> None:
        self.network = network
        self.twins = twins
        self.images = image_count(batches)
        self.batches = range(len(batches))
        self._store = store
        self._changed: set[Key] = set()
        self._masked: set[Key] = set()
        for index, batch in enumerate(batches):
            for key, value in zip(network.inputs, batch, strict=True):
                store.put((FLOAT, key), index, value)

    def differ(self, key: Key) -> bool:
        """Whether a tensor differs between the networks."""
        return key in self._changed

    def value(self, side: str, key: Key, batch: int) -> NDArray:
        """A tensor of one network, :data:`FLOAT` or :data:`BINARY`."""
        return self._store.get((side if self.differ(key) else FLOAT, key), batch)

    def inputs(self, side: str, step: Step, batch: int) -> list[tf.Tensor]:
        """The inputs of a step in one network, with the masks that Keras hangs on them."""
        tensors = []
        for key in step.inputs:
            tensor = tf.convert_to_tensor(self.value(side, key, batch))
            if key in self._masked:
                tensor._keras_mask = tf.convert_to_tensor(self.value(side, _mask_of(key), batch))
            tensors.append(tensor)
        return tensors

    def first_inputs(self, side: str, steps: list[Step]) -> Iterator[NDArray]:
        """The first inputs of steps in one network, for all batches."""
        for step in steps:
            for batch in self.batches:
                yield self.value(side, step.inputs[0], batch)

    def put_float(self, step: Step, batch: int, values: list[tf.Tensor]) -> None:
        """Keep the outputs of a step in the float network."""
        self._put(FLOAT, step, batch, values)

    def run_float(self, step: Step) -> None:
        """Run a step of the float network on all batches."""
        for batch in self.batches:
            self._put(FLOAT, step, batch, step.run(step.layer, self.inputs(FLOAT, step, batch)))

    def run_binary(self, step: Step) -> None:
        """Run a step of the binarised network on all batches: its outputs differ from now on."""
        twin = self.twins[step.layer]
        for batch in self.batches:
            self._put(BINARY, step, batch, step.run(twin, self.inputs(BINARY, step, batch)))
        self._changed.update(step.outputs, map(_mask_of, step.outputs))

    def forget(self, keys: set[Key]) -> None:
        """Drop tensors of both networks."""
        for key in keys | {_mask_of(key) for key in keys & self._masked}:
            self._store.drop((FLOAT, key))
            self._store.drop((BINARY, key))

    def _put(self, side: str, step: Step, batch: int, values: list[tf.Tensor]) -> None:
        for key, value in zip(step.outputs, values, strict=True):
            self._store.put((side, key), batch, np.asarray(value))
            mask = getattr(value, "_keras_mask", None)
            if mask is not None:
                self._masked.add(key)
                self._store.put((side, _mask_of(key)), batch, np.asarray(mask))


def _mask_of(key: Key) -> Key:
    scope, name = key
    return scope, f"mask of {name}"
