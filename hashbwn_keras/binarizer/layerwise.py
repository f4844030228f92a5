"""The layer-by-layer pass: both networks advance together over the calibration images.

The float network and the network binarised so far are run side by side, one layer at a time over
all images, their activations kept in between (:class:`ActivationStore`).
So each image passes each layer once in each network, whatever the depth. At a layer that is to be
binarised, moments of the float network's outputs on the binarised network's inputs are summed up,
solved, and the solution written before the pass goes on. At a batch-norm whose inputs changed, the
statistics are re-estimated.

Across shortcuts: where a layer's output is added to another branch, what the binarised network
already got wrong in that branch is added to the layer's target, so that it makes up for the error
instead of leaving it in the stream for good.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras.binarizer.activations import ActivationStore
from hashbwn_keras.binarizer.paths import feeds_batch_norm, shortcut_of
from hashbwn_keras.binarizer.write import (
    SolvedLayer,
    input_of_kernel,
    kernel_of,
    shift_bias,
    summary,
    write_solution,
)
from hashbwn_keras.network.batches import Batch, image_count
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.network.graph import Graph, Key, Layer, Step, channel_axis, is_batch_norm
from hashbwn_keras.running import Running
from hashbwn_keras.solver import hashing
from hashbwn_keras.solver.moments import Moments

_SMALL_GAIN = 1e-2
"""Channels whose batch-norm gain is below this share of the median cannot correct a shortcut."""


@dataclass(frozen=True)
class Target:
    """A layer to be binarised.

    Attributes:
        layer: its float form, with its activation taken off.
        binary: its binary form, in the network that is being made.
        activation: the activation that was taken off.
    """

    layer: Layer
    binary: Layer
    activation: Callable[[tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Options:
    """How layers are solved; see :func:`hashbwn_keras.binarize`."""

    method: str = "auto"
    seed: int = 0
    centred: bool = True
    compensate: bool = True


class LayerwisePass:
    """Carries calibration images through a float network and its binary twin, solving as it goes.

    Args:
        graph: of the float network, in which the targets have no activation.
        twins: the layer of the binary network for each layer name; weights as in the float one.
        targets: the layers to be binarised, by name.
        batches: calibration images.
        options: how to solve.
        store: keeps the activations.
    """

    def __init__(
        self,
        graph: Graph,
        twins: dict[str, Layer],
        targets: dict[str, Target],
        batches: list[Batch],
        options: Options,
        store: ActivationStore,
    ) -> None:
        self._graph = graph
        self._twins = twins
        self._targets = targets
        self._batches = batches
        self._options = options
        self._store = store
        self._readers = graph.consumers()
        self._ready: set[Key] = set()
        # Tensors that differ between the two networks; the others are kept once.
        self._changed: set[Key] = set()
        self._settled: set[str] = set()
        self.solved: dict[str, SolvedLayer] = {}

    def run(self) -> dict[str, SolvedLayer]:
        """Binarise all targets; shows progress on stderr."""
        for index, batch in enumerate(self._batches):
            for key, value in zip(self._graph.inputs, batch, strict=True):
                self._store.put(("float", key), index, value)
        self._ready.update(self._graph.inputs)
        pending = list(self._graph.steps)
        with tqdm(
            total=len(self._targets), desc="binarize", unit="layer", disable=None
        ) as progress:
            # Behind the last target nothing needs to be known but batch-norm statistics.
            while pending:
                steps = self._next(pending)
                name = steps[0].name
                first = name not in self._settled
                if name in self._targets and first:
                    progress.set_postfix_str(name)
                    self._solve(name, steps)
                    progress.update()
                else:
                    self._forward(name, steps, first)
                self._settled.add(name)
                for step in steps:
                    pending.remove(step)
                    self._ready.update(step.outputs)
                self._forget(pending)
        return self.solved

    def _next(self, pending: list[Step]) -> list[Step]:
        """The steps to run next: one, or all calls of a layer that is fitted to its inputs.

        A shared layer waits for the inputs of all its calls; where a call depends on another one,
        those that can run do.
        """
        waiting: list[Step] = []
        for step in pending:
            if not self._ready.issuperset(step.inputs):
                continue
            if step.name in self._settled or not self._is_fitted(step):
                return [step]
            calls = [other for other in pending if other.name == step.name]
            able = [call for call in calls if self._ready.issuperset(call.inputs)]
            if len(able) == len(calls):
                return calls
            waiting = waiting or able
        return waiting

    def _is_fitted(self, step: Step) -> bool:
        return step.name in self._targets or is_batch_norm(step.layer)

    def _forget(self, pending: list[Step]) -> None:
        needed = {key for step in pending for key in step.inputs} | set(self._graph.outputs)
        for key in self._ready - needed:
            self._store.drop(("float", key))
            self._store.drop(("binary", key))
        self._ready &= needed

    def _values(self, network: str, keys: list[Key], batch: int) -> list[NDArray]:
        return [
            self._store.get((network if key in self._changed else "float", key), batch)
            for key in keys
        ]

    def _put(self, network: str, step: Step, batch: int, values: list[tf.Tensor]) -> None:
        for key, value in zip(step.outputs, values, strict=True):
            self._store.put((network, key), batch, value.numpy())

    def _forward(self, name: str, steps: list[Step], first: bool) -> None:
        """Run steps that are not solved now; batch-norm is re-estimated at its first run."""
        twin = self._twins[name]
        changed = [s for s in steps if name in self._targets or self._changed & set(s.inputs)]
        if first and changed and is_batch_norm(twin):
            self._reestimate(twin, changed)
        for step in steps:
            for batch in range(len(self._batches)):
                values = step.run(step.layer, self._values("float", step.inputs, batch))
                target = self._targets.get(name)
                if target:
                    values = [target.activation(values[0])]
                self._put("float", step, batch, values)
        self._run_binary(twin, changed)

    def _run_binary(self, twin: Layer, steps: list[Step]) -> None:
        for step in steps:
            for batch in range(len(self._batches)):
                values = step.run(twin, self._values("binary", step.inputs, batch))
                self._put("binary", step, batch, values)
            self._changed.update(step.outputs)

    def _inputs_of(self, network: str, steps: list[Step]) -> Iterator[NDArray]:
        for step in steps:
            for batch in range(len(self._batches)):
                yield self._values(network, step.inputs, batch)[0]

    def _reestimate(self, twin: Layer, steps: list[Step]) -> None:
        """Fit the moving statistics of a batch-norm to its inputs in the binarised network.

        The change between the two networks on the calibration images is carried over to the moving
        statistics, instead of taking those of the few images: what makes the images special is in
        both networks and cancels.
        """
        axis = channel_axis(twin)
        of_float, of_binary = (
            _running(self._inputs_of(network, steps), axis) for network in ("float", "binary")
        )
        var_f, var_b = of_float.variance, of_binary.variance
        mean = twin.moving_mean.numpy().astype(np.float64)
        variance = twin.moving_variance.numpy().astype(np.float64)
        ratio = np.divide(var_b, var_f, out=np.ones_like(var_b), where=var_f > 0)
        ratio = np.clip(ratio, 1e-4, 1e4)
        twin.moving_mean.assign(of_binary.mean - (of_float.mean - mean) * np.sqrt(ratio))
        twin.moving_variance.assign(variance * ratio)

    def _solve(self, name: str, steps: list[Step]) -> None:
        target, options = self._targets[name], self._options
        geometry = patch_geometry(target.layer)
        # A layer's own stream of random numbers, so that others do not shift it.
        seed = zlib.crc32(f"{options.seed}/{name}".encode())
        images = image_count(self._batches) * len(steps)
        moments = Moments(geometry, images, seed=seed)
        see = input_of_kernel(target.binary)
        for step in steps:
            correct = self._correction(step, len(steps))
            for batch in range(len(self._batches)):
                (s,) = step.run(target.layer, self._values("float", step.inputs, batch))
                self._put("float", step, batch, [target.activation(s)])
                (x,) = self._values("binary", step.inputs, batch)
                moments.update(see(x), correct(s.numpy(), batch))
        statistics = moments.statistics(centred=options.centred)
        kernel = geometry.split_kernel(kernel_of(target.layer).numpy())
        solution = hashing.solve(
            statistics.gram,
            statistics.cross,
            method=options.method,
            init=kernel,
            seed=seed,
            damping=statistics.damping,
        )
        write_solution(target.binary, geometry, solution, kernel)
        if options.centred and not self._mean_is_free(steps):
            shift_bias(target.binary, statistics.bias(solution))
        self.solved[name] = summary(options.method, statistics, solution, kernel)
        self._run_binary(target.binary, steps)

    def _mean_is_free(self, steps: list[Step]) -> bool:
        """Whether a batch-norm behind the layer takes the mean, so that no bias has to."""
        return all(feeds_batch_norm(step, self._readers) for step in steps)

    def _correction(self, step: Step, calls: int) -> Callable[[NDArray, int], NDArray]:
        """What to do to a layer's float outputs to make up for an error in a parallel branch."""
        wanted = self._options.compensate and calls == 1
        linear = self._targets[step.name].activation is tf_keras.activations.linear
        found = shortcut_of(step, self._readers) if wanted and linear else None
        if found is None or not self._ready.issuperset(found.others):
            return lambda s, batch: s
        others = [key for key in found.others if key in self._changed]
        gain = found.gain
        usable = np.abs(gain) > _SMALL_GAIN * np.median(np.abs(gain))
        inverse = np.divide(1, gain, out=np.zeros_like(gain), where=usable)

        def correct(s: NDArray, batch: int) -> NDArray:
            for key in others:
                (a,) = self._values("float", [key], batch)
                (b,) = self._values("binary", [key], batch)
                if a.shape != s.shape:
                    return s
                s = s + (a - b) * inverse
            return s

        return correct


def _running(arrays: Iterable[NDArray], axis: int) -> Running:
    """Mean and variance of all arrays together, along all axes but ``axis``."""
    running = Running()
    for array in arrays:
        x = np.moveaxis(array, axis, -1)
        running.add(x.reshape(-1, x.shape[-1]))
    return running
