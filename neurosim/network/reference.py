"""A whole network run in plain numpy, layer by layer: slow, and easy to read and to trust."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.network.connections import Connection
from neurosim.network.graph import Network
from neurosim.network.units import IntArray, State, wrap_signed


@dataclass
class _Pending:
    """Sums on their way to the target, a slot a timestep."""

    connection: Connection
    slots: IntArray

    def add(self, timestep: int, messages: IntArray) -> None:
        transform, delay = self.connection.transform, self.connection.delay
        depth = len(self.slots)
        if delay is None:
            self.slots[(timestep + 1) % depth] += transform.apply(messages)
            return
        for steps in np.unique(delay.values):
            chosen = delay.values == steps
            slot = self.slots[(timestep + 1 + int(steps)) % depth]
            if delay.kind == "axon":
                slot += transform.apply(np.where(chosen, messages, 0))
            elif delay.kind == "neuron":
                slot += np.where(chosen, transform.apply(messages), 0)
            else:
                slot += transform.apply(messages, np.where(chosen, transform.weights.astype(np.int64), 0))

    def take(self, timestep: int) -> IntArray:
        slot = self.slots[timestep % len(self.slots)]
        total: IntArray = slot.copy()
        slot[:] = 0
        if self.connection.accumulator_bits:
            total = wrap_signed(total, self.connection.accumulator_bits)
        total //= self.connection.transform.divisor
        return total


@dataclass(frozen=True)
class ReferenceRun:
    """What a run sent and held.

    Attributes
    ----------
    messages
        Per layer name, int64 (timesteps, n): messages, 0 for none.
    states
        Per layer name, the state after the last timestep.
    """

    messages: dict[str, NDArray[np.int64]]
    states: dict[str, State]


def run_reference(network: Network, frames: dict[str, IntArray], timesteps: int) -> ReferenceRun:
    """Run `network` for `timesteps` timesteps.

    Parameters
    ----------
    network
        Any network.
    frames
        Per input layer name, int64 (frames, n): frame t feeds timestep t (from 1); the last frame is
        held. Layers without frames are fed zeros.
    timesteps
        How many.
    """
    states = {layer.name: layer.unit.initial_state(layer.size) for layer in network.layers}
    messages = {layer.name: np.zeros((timesteps, layer.size), dtype=np.int64) for layer in network.layers}
    pending = [
        _Pending(c, np.zeros((c.longest_delay + 2, c.transform.out_size), dtype=np.int64)) for c in network.connections
    ]
    for t in range(1, timesteps + 1):
        for layer in network.layers:
            activation = np.zeros((layer.size, layer.unit.compartments), dtype=np.int64)
            for item in pending:
                if item.connection.target == layer.name:
                    each = item.connection.leads_to(layer.unit)
                    activation[:, each] += item.take(t).reshape(layer.size, len(each))
            given = frames.get(layer.name)
            frame = np.zeros(layer.size, dtype=np.int64) if given is None else given[min(t, len(given)) - 1]
            messages[layer.name][t - 1] = layer.unit.step(states[layer.name], activation.ravel(), frame, layer.shape, t)
        for item in pending:
            sent = [messages[name][t - 1] for name in item.connection.sources]
            item.add(t, np.concatenate(sent))
    return ReferenceRun(messages, states)
