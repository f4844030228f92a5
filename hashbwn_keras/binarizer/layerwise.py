"""The layer-by-layer pass: both networks advance together over the calibration images.

The float network and the network binarised so far are run side by side, one layer at a time over
all images, their activations kept in between. So each image passes each layer once in each network,
whatever the depth. At a layer that is to be binarised, moments of the float network's outputs on
the binarised network's inputs are summed up, solved, and the solution written before the pass goes
on. At a batch-norm whose inputs changed, the statistics are re-estimated.

Across shortcuts: where a layer's output is added to another branch, what the binarised network
already got wrong in that branch is added to the layer's target, so that it makes up for the error
instead of leaving it in the stream for good.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras.binarizer.batch_norms import reestimate
from hashbwn_keras.binarizer.order import Order
from hashbwn_keras.binarizer.paths import Shortcut, feeds_batch_norm, shortcut_of
from hashbwn_keras.binarizer.two_networks import BINARY, FLOAT, TwoNetworks
from hashbwn_keras.binarizer.write import (
    activation_of,
    input_of_kernel,
    shift_bias,
    summary,
    without_activation,
    write_solution,
)
from hashbwn_keras.network.geometry import patch_geometry
from hashbwn_keras.network.graph import Step
from hashbwn_keras.network.kernels import kernel_of
from hashbwn_keras.network.labels import Layer
from hashbwn_keras.network.layer_kinds import is_batch_norm, is_linear
from hashbwn_keras.network.recipe import SolvedLayer
from hashbwn_keras.solver import hashing
from hashbwn_keras.solver.moments import Moments
from hashbwn_keras.solver.patches import PatchGeometry
from hashbwn_keras.solver.statistics import Statistics

_SMALL_GAIN = 1e-2
"""Channels whose batch-norm gain is below this share of the median cannot correct a shortcut."""

Correct = Callable[[NDArray, int], NDArray]
"""From a layer's float outputs, of the batch of that number, to its targets."""


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
        networks: both, weights of the binary one as in the float one.
        targets: the layers of the float network to be binarised, with their bits a weight.
        options: how to solve.
    """

    def __init__(
        self, networks: TwoNetworks, targets: Mapping[Layer, int], options: Options
    ) -> None:
        self._networks = networks
        self._network = networks.network
        self._targets = targets
        self._options = options
        norms = {layer for layer in self._network.layers if is_batch_norm(layer)}
        self._order = Order(self._network, norms.union(targets))

    def run(self) -> dict[str, SolvedLayer]:
        """Binarise all targets, and say by label what came of it; shows progress on stderr."""
        solved = {}
        with tqdm(
            total=len(self._targets), desc="binarize", unit="layer", disable=None
        ) as progress:
            while steps := self._order.next():
                layer = steps[0].layer
                if layer in self._targets and not self._order.has_run(layer):
                    label = self._network.labels[layer]
                    progress.set_postfix_str(label)
                    solved[label] = self._solve(steps)
                    progress.update()
                else:
                    self._forward(steps)
                self._networks.forget(self._order.done(steps))
        return solved

    def _forward(self, steps: list[Step]) -> None:
        """Run steps that are not solved now; batch-norm is re-estimated at its first run."""
        layer, networks = steps[0].layer, self._networks
        changed = [
            step
            for step in steps
            if layer in self._targets or any(map(networks.differ, step.inputs))
        ]
        if changed and is_batch_norm(layer) and not self._order.has_run(layer):
            sides = (networks.first_inputs(side, changed) for side in (FLOAT, BINARY))
            reestimate(networks.twins[layer], *sides)
        for step in steps:
            networks.run_float(step)
        for step in changed:
            networks.run_binary(step)

    def _solve(self, steps: list[Step]) -> SolvedLayer:
        layer, options = steps[0].layer, self._options
        binary = self._networks.twins[layer]
        geometry = patch_geometry(layer)
        # A layer's own stream of random numbers, so that others do not shift it.
        seed = zlib.crc32(f"{options.seed}/{self._network.labels[layer]}".encode())
        statistics = self._statistics(steps, geometry, seed)
        kernel = geometry.split_kernel(kernel_of(layer).numpy())
        solution = hashing.solve(
            statistics.gram,
            statistics.cross,
            method=options.method,
            init=kernel,
            seed=seed,
            bits=self._targets[layer],
            damping=statistics.damping,
        )
        write_solution(binary, geometry, solution, kernel)
        # A batch-norm behind the layer takes the mean, else a bias has to. It does so behind an
        # activation as well: shifting both gained nothing.
        if options.centred and not all(feeds_batch_norm(s, self._network) for s in steps):
            shift_bias(binary, statistics.bias(solution))
        for step in steps:
            self._networks.run_binary(step)
        return summary(options.method, self._targets[layer], statistics, solution, kernel)

    def _statistics(self, steps: list[Step], geometry: PatchGeometry, seed: int) -> Statistics:
        """Moments of a layer's inputs in the binarised network and its targets."""
        layer, networks = steps[0].layer, self._networks
        bare, activation = without_activation(layer), activation_of(layer)
        see = input_of_kernel(networks.twins[layer])
        moments = Moments(geometry, networks.images * len(steps), seed=seed)
        for step in steps:
            correct = self._correction(step, len(steps))
            for batch in networks.batches:
                (s,) = step.run(bare, networks.inputs(FLOAT, step, batch))
                networks.put_float(step, batch, [activation(s)])
                x = networks.value(BINARY, step.inputs[0], batch)
                moments.update(see(x), correct(s.numpy(), batch))
        return moments.statistics(centred=self._options.centred)

    def _correction(self, step: Step, calls: int) -> Correct:
        """What to do to a layer's float outputs to make up for an error in a parallel branch."""
        wanted = self._options.compensate and calls == 1 and is_linear(step.layer)
        found = shortcut_of(step, self._network) if wanted else None
        if found is None or not self._order.ready.issuperset(found.others):
            return lambda s, batch: s
        return _compensating(self._networks, found)


def _compensating(networks: TwoNetworks, shortcut: Shortcut) -> Correct:
    """Adds to a layer's float outputs what the binarised network lacks in the other summands."""
    others = [key for key in shortcut.others if networks.differ(key)]
    gain = shortcut.gain
    usable = np.abs(gain) > _SMALL_GAIN * np.median(np.abs(gain))
    inverse = np.divide(1, gain, out=np.zeros_like(gain), where=usable)

    def correct(s: NDArray, batch: int) -> NDArray:
        for key in others:
            a, b = (networks.value(side, key, batch) for side in (FLOAT, BINARY))
            if a.shape != s.shape:
                return s
            s = s + (a - b) * inverse
        return s

    return correct
