"""The functional step: which neuron sends which message, exactly, and nothing about time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.axons import source_neurons
from neurosim.engine import function_kernels
from neurosim.errors import InputError
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delta,
    Dense,
    Layer,
    Network,
    Relay,
    Sigma,
    SigmaDelta,
    Sparse,
)
from neurosim.network.units import spread

IntArray = NDArray[np.int64]
_NONE = np.zeros(0, dtype=np.int64)
_NO_SLOTS = np.zeros((0, 0), dtype=np.int64)
kernels: Any = function_kernels


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
    """

    timestep: int
    neuron: IntArray
    value: IntArray
    layer_start: IntArray
    active: NDArray[np.bool_]
    synops: IntArray
    met: NDArray[np.int32] | None = None
    touched: NDArray[np.bool_] | None = None


class _LayerState:
    """State of one layer, and its update."""

    def __init__(self, layer: Layer, first: int) -> None:
        unit = layer.unit
        self.layer, self.first = layer, first
        self.state = unit.initial_state(layer.size)
        self.no_frame = np.zeros(layer.size, dtype=np.int64)
        self.activation = np.zeros(layer.size, dtype=np.int64)
        self.bias = _NONE
        if isinstance(unit, SigmaDelta):
            self.bias = spread(unit.bias, layer.shape) << unit.bias_shift
        elif isinstance(unit, CubaLif):
            self.bias = spread(unit.bias, layer.shape)

    def update(self, timestep: int, frame: IntArray | None, neuron: IntArray, value: IntArray, active: Any) -> Any:
        unit, state, a = self.layer.unit, self.state, self.activation
        given = self.no_frame if frame is None else frame
        out = (self.first, neuron, value, active)
        if isinstance(unit, SigmaDelta):
            return kernels.update_sigma_delta(
                a, state["sigma"], state["held"], state["error"], self.bias,
                unit.threshold, unit.message_shift, unit.rounding == "corrected", unit.cum_error, *out,
            )  # fmt: skip
        if isinstance(unit, CubaLif):
            reset = unit.reset_interval > 0 and timestep % unit.reset_interval == unit.reset_phase
            return kernels.update_cuba_lif(
                a, given, state["current"], state["voltage"], self.bias,
                4096 - unit.current_decay, 4096 - unit.voltage_decay, unit.threshold,
                unit.activation_shift, unit.bias_shift, reset, *out,
            )  # fmt: skip
        if isinstance(unit, Delta):
            return kernels.update_delta(
                a, given, state["held"], unit.threshold, unit.frame_shift, unit.message_shift, *out
            )
        if isinstance(unit, Sigma):
            return kernels.update_sigma(a, state["sigma"], *out)
        assert isinstance(unit, Relay)
        return kernels.update_relay(a, given, *out)


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
        self.sources = [network.index[name] for name in connection.sources]
        positions = source_neurons(network, connection)
        sizes = [network[name].size for name in connection.sources]
        begin = np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.int64)
        # Subtracting this from a network-wide neuron number gives the position in the transform's input.
        self.shift = [int(positions[b] - b) for b in begin]
        self.kind = transform.kind
        self.geometry: tuple[Any, ...] = ()
        if isinstance(transform, Conv2d):
            self._prepare_conv(transform)
        elif isinstance(transform, Sparse):
            self.geometry = (transform.row_start, transform.targets)
        self.weights = self._arranged(transform.weights)
        self.delays = self._delays()
        # Synapses that count, and how many of them wait in the slots of `met_slots` as the sums do in `slots`.
        self.counted = None if counted is None else self._arranged(counted)
        self.met_slots = np.zeros_like(self.slots) if counted is not None else _NO_SLOTS

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

    def _delays(self) -> tuple[NDArray[np.int64], ...] | None:
        delay, transform = self.connection.delay, self.transform
        if delay is None:
            return None
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
        bits = self.connection.accumulator_bits or 0
        self._collect(timestep, self.slots, bits, self.transform.divisor, activation)

    def collect_met(self, timestep: int, met: IntArray) -> None:
        """Add the synapses of this timestep's sums to `met`."""
        self._collect(timestep, self.met_slots, 0, 1, met)

    def _collect(self, timestep: int, slots: IntArray, bits: int, divisor: int, out: IntArray) -> None:
        slot = slots[timestep % len(slots)]
        channels, positions = 1, slot.size
        if isinstance(self.transform, Conv2d):
            channels = self.transform.out_shape[0]
            positions = slot.size // channels
        kernels.collect(slot, channels, positions, bits, divisor, out)

    def deliver(self, timestep: int, source: IntArray, value: IntArray) -> Any:
        """Add the messages' synapses to the slots of later timesteps; return the synops."""
        if self.counted is not None:
            self._deliver(timestep, source, np.ones_like(value), self.counted, self.met_slots)
        return self._deliver(timestep, source, value, self.weights, self.slots)

    def _deliver(
        self, timestep: int, source: IntArray, value: IntArray, weights: NDArray[np.int32], slots: IntArray
    ) -> Any:
        if self.delays is None:
            slot = slots[(timestep + 1) % len(slots)]
            if isinstance(self.transform, Conv2d):
                return kernels.deliver_conv(source, value, weights, *self.geometry, slot)
            if isinstance(self.transform, Sparse):
                return kernels.deliver_sparse(source, value, *self.geometry, weights, slot)
            return kernels.deliver_dense(source, value, weights, slot)
        rest = (*self.delays, timestep, slots)
        if isinstance(self.transform, Conv2d):
            return kernels.deliver_conv_delayed(source, value, weights, *self.geometry, *rest)
        if isinstance(self.transform, Sparse):
            return kernels.deliver_sparse_delayed(source, value, *self.geometry, weights, *rest)
        return kernels.deliver_dense_delayed(source, value, weights, *rest)


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
        self.layers = [_LayerState(layer, int(network.offsets[i])) for i, layer in enumerate(network.layers)]
        self.counts = counted is not None
        each = [None] * len(network.connections) if counted is None else counted
        self.connections = [_ConnectionState(c, network, k) for c, k in zip(network.connections, each, strict=True)]
        self.into: list[list[_ConnectionState]] = [[] for _ in network.layers]
        for state in self.connections:
            self.into[state.target].append(state)
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

    def _frame(self, name: str) -> IntArray | None:
        values = self.frames.get(name)
        if values is None:
            return None
        return np.ascontiguousarray(values[min(self.timestep, len(values)) - 1], dtype=np.int64)

    def step(self) -> StepActivity:
        """Advance by one timestep."""
        self.timestep += 1
        network, t = self.network, self.timestep
        neuron = np.empty(network.size, dtype=np.int64)
        value = np.empty(network.size, dtype=np.int64)
        active = np.zeros(network.size, dtype=np.bool_)
        start = np.zeros(len(self.layers) + 1, dtype=np.int64)
        for i, state in enumerate(self.layers):
            state.activation[:] = 0
            for connection in self.into[i]:
                connection.collect(t, state.activation)
            low, high = network.offsets[i], network.offsets[i + 1]
            at = start[i]
            start[i + 1] = at + state.update(
                t, self._frame(state.layer.name), neuron[at:], value[at:], active[low:high]
            )
        neuron, value = neuron[: start[-1]].copy(), value[: start[-1]].copy()
        synops = np.zeros(len(self.layers), dtype=np.int64)
        for connection in self.connections:
            for source, shift in zip(connection.sources, connection.shift, strict=True):
                low, high = start[source], start[source + 1]
                if low < high:
                    synops[source] += connection.deliver(t, neuron[low:high] - shift, value[low:high])
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
            frame = self._frame(state.layer.name)
            if frame is not None:
                touched[low:high] |= frame != 0
        return met.astype(np.int32), touched | (met > 0)

    def steps(self, timesteps: int) -> Iterator[StepActivity]:
        """Yield the activity of each of the next `timesteps` timesteps."""
        for _ in range(timesteps):
            yield self.step()
