"""In which order steps run when the calls of some layers have to wait for each other."""

from hashbwn_keras.network.graph import Key, Network, Step
from hashbwn_keras.network.labels import Layer


class Order:
    """Gives the steps of a network to run next, until all have run.

    Attributes:
        ready: the tensors that are known and still needed.

    Args:
        network: whose steps.
        fitted: layers that are fitted to their inputs, of all their calls together, when they
            first run.
    """

    def __init__(self, network: Network, fitted: set[Layer]) -> None:
        self._fitted = fitted
        self._pending = list(network.steps)
        self._settled: set[Layer] = set()
        self._outputs = set(network.outputs)
        self.ready: set[Key] = set(network.inputs)

    def next(self) -> list[Step]:
        """The steps to run next: one, or all calls of a layer that is fitted; [] at the end.

        A shared layer waits for the inputs of all its calls; where a call depends on another one,
        those that can run do.
        """
        waiting: list[Step] = []
        for step in self._pending:
            if not self._can_run(step):
                continue
            if step.layer not in self._fitted or self.has_run(step.layer):
                return [step]
            calls = [other for other in self._pending if other.layer is step.layer]
            able = [call for call in calls if self._can_run(call)]
            if len(able) == len(calls):
                return calls
            waiting = waiting or able
        return waiting

    def has_run(self, layer: Layer) -> bool:
        """Whether a step of ``layer`` has run, so that it is fitted."""
        return layer in self._settled

    def done(self, steps: list[Step]) -> set[Key]:
        """Take down that ``steps`` have run; return the tensors that nothing needs any more."""
        for step in steps:
            self._pending.remove(step)
            self._settled.add(step.layer)
            self.ready.update(step.outputs)
        needed = {key for step in self._pending for key in step.inputs} | self._outputs
        over = self.ready - needed
        self.ready &= needed
        return over

    def _can_run(self, step: Step) -> bool:
        return self.ready.issuperset(step.inputs)
