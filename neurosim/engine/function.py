"""The functional step: which neuron sends which message, exactly, and nothing about time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.axons import source_neurons
from neurosim.engine import delivery_kernels
from neurosim.engine.unit_updates import LayerState
from neurosim.errors import InputError
from neurosim.network import Connection, Conv2d, Dense, Network, Sparse

IntArray = NDArray[np.int64]
_NONE = np.zeros(0, dtype=np.int64)
_NO_SLOTS = np.zeros((0, 0), dtype=np.int64)
kernels: Any = delivery_kernels


@dataclass(frozen=True)
class StepActivity:
    """What happened in one timestep.

    Attributes
    ----------
    timestep
        Number of the timestep, from 1.
    neuron
        int64 (messages,): senders, ascending.
    value
        int64 (messages,): payloads.
    layer_start
        int64 (layers + 1,): where each layer's messages begin.
    active
        bool (n,): neurons whose state changed or that sent.
    synops
        int64 (layers,): synapses that the messages of each layer met, counted while they were added up.
    met
        int32 (n,): synapses whose sums each neuron took up in this timestep, whenever their messages were sent;
        None where the run was not told which synapses count.
    touched
        bool (n,): neurons that were active, met a synapse or had a frame other than 0; None as `met`.
    read_out
        Where a neuron may send several messages, which then stand in the order of their times: per layer name, int64
        (n,) that stands for them to who reads the layer, what a `Sigma` holds and the sum of messages of the others.
        None where each sends at most one.
    """

    timestep: int
    neuron: IntArray
    value: IntArray
    layer_start: IntArray
    active: NDArray[np.bool_]
    synops: IntArray
    met: NDArray[np.int32] | None = None
    touched: NDArray[np.bool_] | None = None
    read_out: dict[str, IntArray] | None = None


def _tap_table(target: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Return, per input position, where its taps begin, their kernel positions and their outputs."""
    place, kernel = np.nonzero(target >= 0)
    start = np.searchsorted(place, np.arange(len(target) + 1))
    return start.astype(np.int64), kernel.astype(np.int64), target[place, kernel].astype(np.int64)


class _ConnectionState:
    """Sums on their way through one connection, a slot a timestep."""

    def __init__(self, connection: Connection, network: Network, counted: NDArray[np.int32] | None = None) -> None:
        transform = connection.transform
        self.connection, self.transform = connection, transform
        self.slots = np.zeros((connection.longest_delay + 2, transform.out_size), dtype=np.int64)
        self.target = network.index[connection.target]
        positions = source_neurons(network, connection)
        sizes = [network[name].size for name in connection.sources]
        begin = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        # Source layers, and what subtracted from a network-wide neuron number gives the position in the input.
        shifts = [int(positions[b] - b) for b in begin]
        self.sources = [(network.index[name], shift) for name, shift in zip(connection.sources, shifts, strict=True)]
        self.kind = transform.kind
        self.geometry: tuple[Any, ...] = ()
        if isinstance(transform, Conv2d):
            self._prepare_conv(transform)
        elif isinstance(transform, Sparse):
            self.geometry = (transform.row_start, transform.targets)
        self.weights = self._arranged(transform.weights)
        # Synapses that count, and how many of them wait in the slots of `met_slots` as the sums do in `slots`.
        self.counted = None if counted is None else self._arranged(counted)
        self.met_slots = np.zeros_like(self.slots) if counted is not None else _NO_SLOTS
        # What never changes is looked up here, once: a small timestep is mostly such looking up.
        self._kernel = {
            "dense": (kernels.deliver_dense, kernels.deliver_dense_delayed),
            "sparse": (kernels.deliver_sparse, kernels.deliver_sparse_delayed),
        }.get(self.kind, (kernels.deliver_conv, kernels.deliver_conv_delayed))[connection.delay is not None]
        self._delays = self._delay_arrays()
        channels = transform.out_shape[0] if isinstance(transform, Conv2d) else 1
        self._places = (channels, transform.out_size // channels)
        self._wrap = (connection.accumulator_bits or 0, transform.divisor)
        unit = network[connection.target].unit
        into = connection.leads_to(unit)
        self._compartments, self._into = unit.compartments, np.array(into, dtype=np.int64)
        # Sums of the timestep, where each neuron has several of them that do not stand as its accumulators do.
        self._arrived = _NONE if unit.compartments == 1 else np.zeros(transform.out_size, dtype=np.int64)
        self._ring = [list(self.slots), list(self.met_slots)]

    def _arranged(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return values in the shape of the weights in the order in which messages meet them."""
        if isinstance(self.transform, Conv2d):
            return self._by_input(self.transform, values)
        return np.ascontiguousarray(values.T) if isinstance(self.transform, Dense) else values

    def _prepare_conv(self, transform: Conv2d) -> None:
        channels, height, width = transform.in_shape
        out_channels, _, out_width = transform.out_shape
        self.geometry = (
            height, width, channels // transform.groups, out_width, out_channels,
            *_tap_table(transform.taps(0)), *_tap_table(transform.taps(1)),
        )  # fmt: skip

    @staticmethod
    def _by_input(transform: Conv2d, values: NDArray[Any]) -> NDArray[Any]:
        """Return kernel values as (input channel, kernel row, kernel column, output channel in group)."""
        out_channels, per_in, rows, columns = values.shape
        grouped = values.reshape(transform.groups, out_channels // transform.groups, per_in, rows, columns)
        return np.ascontiguousarray(grouped.transpose(0, 2, 3, 4, 1).reshape(-1, rows, columns, grouped.shape[1]))

    def _delay_arrays(self) -> tuple[NDArray[np.int64], ...]:
        delay, transform = self.connection.delay, self.transform
        if delay is None:
            return ()
        none2 = np.zeros((0, 0), dtype=np.int64)
        none4 = np.zeros((0, 0, 0, 0), dtype=np.int64)
        nothing = {"dense": none2, "sparse": _NONE}.get(self.kind, none4)
        if delay.kind == "axon":
            return delay.values, _NONE, nothing
        if delay.kind == "neuron":
            values = delay.values
            if isinstance(transform, Conv2d):
                values = np.ascontiguousarray(values.reshape(transform.out_shape[0], -1).T).ravel()
            return _NONE, values, nothing
        return _NONE, _NONE, self._arranged(delay.values)

    def collect(self, timestep: int, activation: IntArray) -> None:
        """Move this timestep's sums into the target's activation."""
        ring = self._ring[0]
        if self._compartments == 1:
            kernels.collect(ring[timestep % len(ring)], *self._places, *self._wrap, activation)
            return
        kernels.collect(ring[timestep % len(ring)], *self._places, *self._wrap, self._arrived)
        scatter: Any = kernels.collect_compartments
        scatter(self._arrived, self._into, self._compartments, activation)

    def collect_met(self, timestep: int, met: IntArray) -> None:
        """Add the synapses of this timestep's sums to `met`."""
        ring = self._ring[1]
        if self._compartments == 1:
            kernels.collect(ring[timestep % len(ring)], *self._places, 0, 1, met)
            return
        kernels.collect(ring[timestep % len(ring)], *self._places, 0, 1, self._arrived)
        add_up: Any = kernels.collect_met_compartments
        add_up(self._arrived, self._into.size, met)

    def deliver(self, timestep: int, neuron: IntArray, value: IntArray, shift: int) -> Any:
        """Add the messages' synapses to the slots of later timesteps; return the synops.

        `neuron - shift` are the messages' positions in the transform's input.
        """
        if self.counted is not None:
            ones = np.ones_like(value)
            self._deliver(timestep, neuron, ones, shift, self.counted, self.met_slots, self._ring[1])
        return self._deliver(timestep, neuron, value, shift, self.weights, self.slots, self._ring[0])

    def _deliver(
        self,
        timestep: int,
        neuron: IntArray,
        value: IntArray,
        shift: int,
        weights: NDArray[np.int32],
        slots: IntArray,
        ring: list[IntArray],
    ) -> Any:
        if self._delays:
            return self._kernel(neuron, value, shift, weights, *self.geometry, *self._delays, timestep, slots)
        return self._kernel(neuron, value, shift, weights, *self.geometry, ring[(timestep + 1) % len(ring)])


class FunctionRun:
    """A network in the course of a run.

    Parameters
    ----------
    network
        What to run.
    frames
        Per input layer name, integers (frames, n): frame t feeds timestep t (from 1); the last one is held.
    counted
        For each connection 1 where a synapse counts for `StepActivity.met`, 0 elsewhere, in the shape of its
        weights; None for no such counts.

    Raises
    ------
    InputError
        Frames for a layer that takes none, of the wrong width, or none at all.
    """

    def __init__(
        self,
        network: Network,
        frames: dict[str, NDArray[Any]],
        counted: Sequence[NDArray[np.int32]] | None = None,
    ) -> None:
        self.network = network
        self._check(frames)
        self.frames = frames
        self.layers = [LayerState(layer, int(network.offsets[i])) for i, layer in enumerate(network.layers)]
        self.counts = counted is not None
        each = [None] * len(network.connections) if counted is None else counted
        self.connections = [_ConnectionState(c, network, k) for c, k in zip(network.connections, each, strict=True)]
        self.into: list[list[_ConnectionState]] = [[] for _ in network.layers]
        for state in self.connections:
            self.into[state.target].append(state)
        self._spans = list(pairwise(network.offsets.tolist()))
        self._neuron = np.empty(network.size, dtype=np.int64)
        self._value = np.empty(network.size, dtype=np.int64)
        self.timestep = 0

    def _check(self, frames: dict[str, NDArray[Any]]) -> None:
        takes = {layer.name: layer for layer in self.network.inputs}
        for name, values in frames.items():
            if name not in takes:
                raise InputError(
                    f'frames for layer "{name}": it takes none; input layers: {", ".join(takes) or "none"}'
                )
            if values.ndim != 2 or values.shape[1] != takes[name].size or not len(values):
                raise InputError(
                    f'frames for layer "{name}" have shape {values.shape}; '
                    f"give (frames, {takes[name].size}), at least 1"
                )
            if values.dtype.kind not in "iub":
                raise InputError(f'frames for layer "{name}" are {values.dtype}; give integers in the network\'s units')

    def frame(self, name: str) -> IntArray | None:
        """Return what an input layer is fed with in the present timestep, int64 (n,); None where it gets nothing."""
        values = self.frames.get(name)
        if values is None:
            return None
        return np.ascontiguousarray(values[min(self.timestep, len(values)) - 1], dtype=np.int64)

    def step(self) -> StepActivity:
        """Advance by one timestep."""
        self.timestep += 1
        network, t = self.network, self.timestep
        active = np.empty(network.size, dtype=np.bool_)
        start = np.zeros(len(self.layers) + 1, dtype=np.int64)
        bounds, at = [0], 0
        for i, (state, (low, high)) in enumerate(zip(self.layers, self._spans, strict=True)):
            for connection in self.into[i]:
                connection.collect(t, state.activation)
            frame = self.frame(state.layer.name)
            at += state.update(t, frame, self._neuron[at:], self._value[at:], active[low:high])
            bounds.append(at)
            start[i + 1] = at
        neuron, value = self._neuron[:at].copy(), self._value[:at].copy()
        synops = np.zeros(len(self.layers), dtype=np.int64)
        for connection in self.connections:
            for source, shift in connection.sources:
                low, high = bounds[source], bounds[source + 1]
                if low < high:
                    synops[source] += connection.deliver(t, neuron[low:high], value[low:high], shift)
        return StepActivity(t, neuron, value, start, active, synops, *self._met(active))

    def _met(self, active: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.bool_]] | tuple[None, None]:
        """Return the synapses that each neuron met in this timestep, and the neurons touched."""
        if not self.counts:
            return None, None
        met, touched = np.zeros(self.network.size, dtype=np.int64), active.copy()
        for i, state in enumerate(self.layers):
            low, high = self.network.offsets[i], self.network.offsets[i + 1]
            for connection in self.into[i]:
                connection.collect_met(self.timestep, met[low:high])
            frame = self.frame(state.layer.name)
            if frame is not None:
                touched[low:high] |= frame != 0
        return met.astype(np.int32), touched | (met > 0)

    def steps(self, timesteps: int) -> Iterator[StepActivity]:
        """Yield the activity of each of the next `timesteps` timesteps."""
        for _ in range(timesteps):
            yield self.step()
