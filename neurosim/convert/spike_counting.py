"""What spiking networks send and answer on many samples, counted without simulating a chip."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.counting import apply_transform
from neurosim.convert.passes import batches
from neurosim.errors import InputError, ModelError
from neurosim.network import Connection, Network

IntArray = NDArray[np.int64]
BATCH = 250
EXACT_BITS = 53
"""Products are made in float64, which is exact up to this width."""


@dataclass(frozen=True, eq=False)
class SpikeCounts:
    """What samples, each fed to a network at rest, come to.

    Attributes
    ----------
    names
        Layers.
    messages, synops, unit_adds
        int64 (layers, timesteps): messages of all samples, synapses that they meet, and those that they would meet as
        unit spikes, in each timestep of the layer's own window: as many timesteps as a sample has, from the one in
        which its first frame arrives.
    ranges
        Per layer, int64 (2, n): the least and greatest message of each neuron, 0 among them.
    answers
        Per timestep asked for, int64 (samples, n): what the last layer sent up to it, added up (spikes), or what it
        sent in it (a membrane that is read out).
    samples
        How many.
    """

    names: tuple[str, ...]
    messages: IntArray
    synops: IntArray
    unit_adds: IntArray
    ranges: tuple[IntArray, ...]
    answers: dict[int, IntArray]
    samples: int


def count_spikes(
    network: Network,
    frames: Callable[[slice], NDArray[Any]],
    samples: int,
    timesteps: int,
    at: Sequence[int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SpikeCounts:
    """Run samples through a network, each from rest, by the units' own steps.

    Parameters
    ----------
    network
        One input layer, and a last layer; loops of one timestep are allowed. Delays must be the same for all neurons of
        a connection. Every layer's unit must stand still until its window begins or have nothing to send before.
    frames
        Gives, for a slice of samples, their frames: integers (samples, timesteps, n), or (samples, 1, n) for frames
        that stay as they are.
    samples, timesteps
        How many samples there are, and how many timesteps each takes.
    at
        Timesteps of the last layer's window whose answers are wanted, from 1; by default the last.
    progress
        Called with the samples done and their number.

    Raises
    ------
    ModelError
        A network of another kind, or sums too large for exact products.
    InputError
        Timesteps that lie outside a sample.
    """
    wanted = (timesteps,) if at is None else tuple(at)
    if not all(1 <= t <= timesteps for t in wanted):
        raise InputError(f"answers are asked for at timesteps {list(wanted)}; a sample has 1..{timesteps}")
    steps = [_steps(connection) for connection in network.connections]
    structural, _ = network.fan_out
    tally = np.zeros((3, len(network.layers), timesteps), dtype=np.int64)
    ranges = tuple(np.zeros((2, layer.size), dtype=np.int64) for layer in network.layers)
    answers: dict[int, list[IntArray]] = {t: [] for t in wanted}
    for part in batches(samples, BATCH):
        given = np.asarray(frames(part))
        wide = (part.stop - part.start, network.layers[0].size)
        if given.ndim != 3 or (len(given), given.shape[2]) != wide or given.shape[1] not in (1, timesteps):
            raise InputError(
                f"frames of samples {part.start} to {part.stop - 1} have shape {list(given.shape)}; "
                f"give ({wide[0]}, {timesteps} or 1, {wide[1]})"
            )
        _run(network, steps, given, timesteps, structural, tally, ranges, answers)
        if progress:
            progress(part.stop, samples)
    joined = {t: np.concatenate(found) for t, found in answers.items()}
    return SpikeCounts(
        tuple(layer.name for layer in network.layers), tally[0], tally[1], tally[2], ranges, joined, samples
    )


def _steps(connection: Connection) -> int:
    """Return the timesteps that a connection takes."""
    delay = connection.delay
    if delay is not None and len(np.unique(delay.values)) > 1:
        raise ModelError(f"{connection.label} has delays of several lengths; this counts networks with one each")
    if connection.accumulator_bits or connection.transform.divisor != 1:
        raise ModelError(f"{connection.label} wraps or divides its sums; this counts networks whose sums are exact")
    return 1 + connection.longest_delay


def _run(
    network: Network,
    steps: list[int],
    frames: NDArray[Any],
    timesteps: int,
    structural: IntArray,
    tally: IntArray,
    ranges: tuple[IntArray, ...],
    answers: dict[int, list[IntArray]],
) -> None:
    """Run one batch; add to `tally`, `ranges` and `answers`."""
    samples, late, fed = len(frames), network.layer_delays, network.inputs
    states = [
        {name: np.tile(first, (samples, 1)) for name, first in layer.unit.initial_state(layer.size).items()}
        for layer in network.layers
    ]
    sent: dict[tuple[int, int], IntArray] = {}
    sums = [_Sums(connection, network) for connection in network.connections]
    into = {layer.name: [i for i, c in enumerate(network.connections) if c.target == layer.name]
            for layer in network.layers}  # fmt: skip
    last = network.layers[-1]
    total = np.zeros((samples, last.size), dtype=np.int64)
    for t in range(1, timesteps + late[last.name] + 1):
        for i, layer in enumerate(network.layers):
            activation = np.zeros((samples, layer.size), dtype=np.int64)
            for number in into[layer.name]:
                activation += sums[number].at(t - steps[number], sent, samples)
            frame = np.zeros((1, layer.size), dtype=np.int64)
            if layer in fed and t <= timesteps:
                frame = frames[:, min(t, frames.shape[1]) - 1].astype(np.int64)
            message = layer.unit.step(states[i], activation, frame, layer.shape, t)
            sent[i, t] = message
            own = t - late[layer.name]
            if 1 <= own <= timesteps:
                some = np.count_nonzero(message, axis=0)
                fan = structural[network.offsets[i] : network.offsets[i + 1]]
                tally[:, i, own - 1] += some.sum(), some @ fan, np.abs(message).sum(axis=0) @ fan
                np.minimum(ranges[i][0], message.min(axis=0), out=ranges[i][0])
                np.maximum(ranges[i][1], message.max(axis=0), out=ranges[i][1])
        own = t - late[last.name]
        if own >= 1:
            message = sent[len(network.layers) - 1, t]
            total = message.copy() if last.unit.graded else total + message
            if own in answers:
                answers[own].append(total)
        oldest = t - max(steps, default=1)
        sent = {key: value for key, value in sent.items() if key[1] > oldest - 1}


class _Sums:
    """The sums that a connection gives; those of messages that stay as they were are not made again."""

    def __init__(self, connection: Connection, network: Network) -> None:
        self.transform = connection.transform
        self.sources = [network.index[name] for name in connection.sources]
        self.place = connection.label
        self.seen: IntArray | None = None
        self.sum: IntArray | None = None

    def at(self, timestep: int, sent: dict[tuple[int, int], IntArray], samples: int) -> IntArray | int:
        """Return the sums that the messages of a timestep cause."""
        if timestep < 1:
            return 0
        messages = np.concatenate([sent[i, timestep] for i in self.sources], axis=1)
        if self.sum is None or self.seen is None or not np.array_equal(messages, self.seen):
            largest = int(np.abs(messages).max(initial=0))
            fan_in = self.transform.in_size
            if int(np.abs(self.transform.weights).max(initial=0)) * largest * fan_in >= 1 << EXACT_BITS:
                raise ModelError(f"{self.place}: sums may exceed {EXACT_BITS} bits; use smaller input values")
            self.seen, self.sum = messages, apply_transform(self.transform, messages)
        return self.sum
