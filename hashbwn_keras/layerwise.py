"""The layer-by-layer pass: both networks advance together over the calibration images.

The float network and the network binarised so far are run side by side, one layer at a time over
all images, their activations kept in between (:class:`hashbwn_keras.calibration.ActivationStore`).
So each image passes each layer once in each network, whatever the depth. At a layer that is to be
binarised, moments of the float network's outputs on the binarised network's inputs are summed up,
solved, and the solution written before the pass goes on. At a batch-norm whose inputs changed, the
statistics are re-estimated.

Across shortcuts: where a layer's output is added to another branch, what the binarised network
already got wrong in that branch is added to the layer's target, so that it makes up for the error
instead of leaving it in the stream for good.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from hashbwn_keras import hashing
from hashbwn_keras.calibration import ActivationStore, Batch, image_count
from hashbwn_keras.graph import Graph, Key, Step, channel_axis, is_addition, is_batch_norm
from hashbwn_keras.layers import binary_kernels
from hashbwn_keras.moments import Moments, PatchGeometry, Statistics

_SMALLEST_LATENT = 0.05
"""Latent weights are at least this share of their channel's mean, so that none loses its sign."""
_SMALL_GAIN = 1e-2
"""Channels whose batch-norm gain is below this share of the median cannot correct a shortcut."""

Layer = tf.keras.layers.Layer


@dataclass(frozen=True)
class SolvedLayer:
    """What the solve did to one layer.

    Attributes:
        method: the solver's method.
        relative_error: squared error of the layer's outputs over their variance, with the codes.
        relative_error_before: the same for the signs of the float weights with their mean
            magnitude as scale (BWN).
        flipped: share of codes that differ from the sign of the float weight.
    """

    method: str
    relative_error: float
    relative_error_before: float
    flipped: float


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
        with tqdm(total=len(self._targets), desc="binarize", unit="layer") as progress:
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

    def _reestimate(self, twin: Layer, steps: list[Step]) -> None:
        """Fit the moving statistics of a batch-norm to its inputs in the binarised network.

        The change between the two networks on the calibration images is carried over to the moving
        statistics, instead of taking those of the few images: what makes the images special is in
        both networks and cancels.
        """
        sums = {}
        for network in ("float", "binary"):
            arrays = [
                lambda step=step, batch=batch, network=network: self._values(
                    network, step.inputs, batch
                )[0]
                for step in steps
                for batch in range(len(self._batches))
            ]
            sums[network] = _mean_variance(arrays, channel_axis(twin))
        (mean_f, var_f), (mean_b, var_b) = sums["float"], sums["binary"]
        mean = twin.moving_mean.numpy().astype(np.float64)
        variance = twin.moving_variance.numpy().astype(np.float64)
        ratio = np.divide(var_b, var_f, out=np.ones_like(var_b), where=var_f > 0)
        ratio = np.clip(ratio, 1e-4, 1e4)
        twin.moving_mean.assign(mean_b - (mean_f - mean) * np.sqrt(ratio))
        twin.moving_variance.assign(variance * ratio)

    def _solve(self, name: str, steps: list[Step]) -> None:
        target, options = self._targets[name], self._options
        geometry = PatchGeometry.of(target.layer)
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
        self.solved[name] = _summary(options.method, statistics, solution, kernel)
        self._run_binary(target.binary, steps)

    def _mean_is_free(self, steps: list[Step]) -> bool:
        """Whether a batch-norm behind the layer takes the mean, so that no bias has to."""
        return all(feeds_batch_norm(step, self._readers) for step in steps)

    def _correction(self, step: Step, calls: int) -> Callable[[NDArray, int], NDArray]:
        """What to do to a layer's float outputs to make up for an error in a parallel branch."""
        found = self._shortcut(step) if self._options.compensate and calls == 1 else None
        if found is None:
            return lambda s, batch: s
        others, gain = found
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

    def _shortcut(self, step: Step) -> tuple[list[Key], NDArray] | None:
        """The other branches of the addition that a layer's output goes into, and the gain to it.

        None unless the output goes into one addition only, through nothing but batch-norms, and
        a branch that is known already differs between the networks.
        """
        target = self._targets[step.name]
        if target.activation is not tf.keras.activations.linear or _is_channels_first(step.layer):
            return None
        gain = np.ones(1, np.float32)
        (key,) = step.outputs
        while len(self._readers.get(key, [])) == 1:
            (reader,) = self._readers[key]
            if is_addition(reader):
                others = [k for k in reader.inputs if k != key and k in self._changed]
                known = self._ready.issuperset(k for k in reader.inputs if k != key)
                return (others, gain) if others and known else None
            if is_batch_norm(reader.layer):
                gain = gain * _gain(reader.layer)
            elif not _passes_through(reader.layer):
                return None
            (key,) = reader.outputs
        return None


def input_of_kernel(layer: Layer) -> Callable[[NDArray], NDArray]:
    """The function from a layer's input to what its binary kernel is multiplied with.

    That is the input quantizer of a Larq layer, and the depthwise part of a separable convolution.
    """
    quantize = getattr(layer, "input_quantizer", None)
    if not isinstance(layer, tf.keras.layers.SeparableConv2D):
        return (lambda x: quantize(x).numpy()) if quantize else (lambda x: x)
    part = tf.keras.layers.DepthwiseConv2D(
        layer.kernel_size,
        strides=layer.strides,
        padding=layer.padding,
        depth_multiplier=layer.depth_multiplier,
        data_format=layer.data_format,
        dilation_rate=layer.dilation_rate,
        use_bias=False,
    )

    def depthwise(x: NDArray) -> NDArray:
        x = quantize(x) if quantize else x
        if not part.built:
            part(x)
            part.set_weights([layer.depthwise_kernel.numpy()])
        return part(x).numpy()

    return depthwise


def kernel_of(layer: Layer) -> tf.Variable:
    """The kernel of a float layer that its binary form has binary."""
    for name in ("pointwise_kernel", "depthwise_kernel"):
        if hasattr(layer, name):
            return getattr(layer, name)
    return layer.kernel


def write_solution(
    binary: Layer, geometry: PatchGeometry, solution: hashing.HashCodes, kernel: NDArray
) -> None:
    """Write codes and scales into the latent kernel of a binary layer.

    Signs are the codes, the mean magnitude of each channel is its scale, and within a channel the
    magnitudes are in proportion to the float weights', so that training flips small ones first.

    Args:
        binary: a HashBinary layer.
        geometry: of the layer.
        solution: codes [B, K, T] and scales [B, T].
        kernel: float weights [B, K, T].
    """
    magnitude = np.abs(kernel).astype(np.float64)
    mean = magnitude.mean(axis=1, keepdims=True)
    relative = np.divide(magnitude, mean, out=np.ones_like(magnitude), where=mean > 0)
    relative = np.maximum(relative, _SMALLEST_LATENT)
    relative /= relative.mean(axis=1, keepdims=True)
    latent = solution.codes * relative * solution.scales[:, None, :]
    (found,) = binary_kernels(binary)
    found.variable.assign(geometry.join_kernel(latent).astype(np.float32))


def shift_bias(layer: Layer, shift: NDArray) -> None:
    """Add ``shift`` [output channels] to the bias; the layer's own bias is in ``shift`` already."""
    layer.bias.assign(shift.astype(np.float32))


def feeds_batch_norm(step: Step, readers: dict[Key, list[Step]]) -> bool:
    """Whether all that reads a layer's output is batch-norm, right behind it."""
    found = [reader for key in step.outputs for reader in readers.get(key, [])]
    linear = getattr(step.layer, "activation", None) in (None, tf.keras.activations.linear)
    return linear and bool(found) and all(is_batch_norm(r.layer) for r in found)


def _summary(
    method: str, statistics: Statistics, solution: hashing.HashCodes, kernel: NDArray
) -> SolvedLayer:
    signs = np.where(kernel >= 0, 1.0, -1.0)
    scales = np.abs(kernel).mean(axis=1)
    fit = (statistics.cross * signs).sum(axis=1)
    power = ((statistics.gram @ signs) * signs).sum(axis=1)
    left = (statistics.variance - 2 * scales * fit + scales**2 * power).sum()
    total = statistics.variance.sum()
    return SolvedLayer(
        method=method,
        relative_error=statistics.relative_error(solution),
        relative_error_before=float(left / total) if total > 0 else 0.0,
        flipped=float((solution.codes != signs).mean()),
    )


def _mean_variance(
    arrays: list[Callable[[], NDArray]], axis: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and variance along all axes but ``axis`` over arrays that are loaded one at a time."""
    count, mean, scatter = 0, np.float64(0), np.float64(0)
    for load in arrays:
        x = np.moveaxis(load(), axis, -1)
        x = x.reshape(-1, x.shape[-1])
        x_mean = x.mean(axis=0, dtype=np.float64)
        x_scatter = np.square(x - x_mean.astype(x.dtype), dtype=np.float64).sum(axis=0)
        step = x_mean - mean
        total = count + len(x)
        mean = mean + step * (len(x) / total)
        scatter = scatter + x_scatter + step**2 * (count * len(x) / total)
        count = total
    return np.asarray(mean), np.asarray(scatter) / count


def _is_channels_first(layer: Layer) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _gain(batch_norm: Layer) -> NDArray:
    deviation = np.sqrt(batch_norm.moving_variance.numpy() + batch_norm.epsilon)
    return (batch_norm.gamma.numpy() if batch_norm.scale else 1.0) / deviation


def _passes_through(layer: Layer) -> bool:
    """Whether a layer does nothing at inference."""
    if isinstance(layer, tf.keras.layers.Activation):
        return layer.activation is tf.keras.activations.linear
    idle = (tf.keras.layers.Dropout, tf.keras.layers.SpatialDropout2D)
    return isinstance(layer, idle)
