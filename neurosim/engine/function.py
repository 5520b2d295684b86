"""The functional step: which neuron sends which message, exactly, and nothing about time."""

from __future__ import annotations

from collections.abc import Iterator
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
    """

    timestep: int
    neuron: IntArray
    value: IntArray
    layer_start: IntArray
    active: NDArray[np.bool_]
    synops: IntArray


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

    def __init__(self, connection: Connection, network: Network) -> None:
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
            self.weights = transform.weights
            self.geometry = (transform.row_start, transform.targets)
        else:
            assert isinstance(transform, Dense)
            self.weights = np.ascontiguousarray(transform.weights.T)
        self.delays = self._delays()

    def _prepare_conv(self, transform: Conv2d) -> None:
        self.weights = self._by_input(transform, transform.weights)
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
        values = delay.values
        if isinstance(transform, Conv2d):
            values = self._by_input(transform, values)
        elif isinstance(transform, Dense):
            values = np.ascontiguousarray(values.T)
        return _NONE, _NONE, values

    def collect(self, timestep: int, activation: IntArray) -> None:
        """Move this timestep's sums into the target's activation."""
        slot = self.slots[timestep % len(self.slots)]
        channels, positions = 1, slot.size
        if isinstance(self.transform, Conv2d):
            channels = self.transform.out_shape[0]
            positions = slot.size // channels
        bits = self.connection.accumulator_bits or 0
        kernels.collect(slot, channels, positions, bits, self.transform.divisor, activation)

    def deliver(self, timestep: int, source: IntArray, value: IntArray) -> Any:
        """Add the messages' synapses to the slots of later timesteps; return the synops."""
        if self.delays is None:
            slot = self.slots[(timestep + 1) % len(self.slots)]
            if isinstance(self.transform, Conv2d):
                return kernels.deliver_conv(source, value, self.weights, *self.geometry, slot)
            if isinstance(self.transform, Sparse):
                return kernels.deliver_sparse(source, value, *self.geometry, self.weights, slot)
            return kernels.deliver_dense(source, value, self.weights, slot)
        rest = (*self.delays, timestep, self.slots)
        if isinstance(self.transform, Conv2d):
            return kernels.deliver_conv_delayed(source, value, self.weights, *self.geometry, *rest)
        if isinstance(self.transform, Sparse):
            return kernels.deliver_sparse_delayed(source, value, *self.geometry, self.weights, *rest)
        return kernels.deliver_dense_delayed(source, value, self.weights, *rest)


class FunctionRun:
    """A network in the course of a run.

    Parameters
    ----------
    network
        What to run.
    frames
        Per input layer name, integers (frames, n): frame t feeds timestep t (from 1); the last one is held.

    Raises
    ------
    InputError
        Frames for a layer that takes none, of the wrong width, or none at all.
    """

    def __init__(self, network: Network, frames: dict[str, NDArray[Any]]) -> None:
        self.network = network
        self._check(frames)
        self.frames = frames
        self.layers = [_LayerState(layer, int(network.offsets[i])) for i, layer in enumerate(network.layers)]
        self.connections = [_ConnectionState(c, network) for c in network.connections]
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
        return StepActivity(t, neuron, value, start, active, synops)

    def steps(self, timesteps: int) -> Iterator[StepActivity]:
        """Yield the activity of each of the next `timesteps` timesteps."""
        for _ in range(timesteps):
            yield self.step()
