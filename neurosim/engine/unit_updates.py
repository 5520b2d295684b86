"""Layers in the course of a run: their state, and the kernel that updates their units."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import gated_kernels, hybrid_kernels, maxima_kernels, membrane_kernels
from neurosim.engine import unit_kernels as kernels
from neurosim.network import (
    CubaLif,
    Delta,
    DeltaLstm,
    Gated,
    Hybrid,
    Layer,
    MaxRounding,
    Membrane,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
)
from neurosim.network.function_tables import table
from neurosim.network.rounding import ROUNDINGS
from neurosim.network.unit_base import spread

IntArray = NDArray[np.int64]
_NONE = np.zeros(0, dtype=np.int64)

Update = Callable[..., Any]
"""Updates a layer: timestep, frame or None, and to be filled neuron, value, active; returns the messages' number."""


class LayerState:
    """State of one layer, and its update."""

    def __init__(self, layer: Layer, first: int) -> None:
        self.layer, self.first = layer, first
        self.state = layer.unit.initial_state(layer.size)
        self.no_frame = np.zeros(layer.size, dtype=np.int64)
        self.activation = np.zeros(layer.size * layer.unit.compartments, dtype=np.int64)
        self.bias = _NONE
        if isinstance(layer.unit, SigmaDelta):
            self.bias = spread(layer.unit.bias, layer.shape) << layer.unit.bias_shift
        elif isinstance(layer.unit, CubaLif | Rounding | Hybrid):
            self.bias = spread(layer.unit.bias, layer.shape)
        self.update = self._made()

    def _made(self) -> Update:
        """Return what updates the layer; the kernel and what never changes are looked up here, once."""
        unit, state, a, first, none = self.layer.unit, self.state, self.activation, self.first, self.no_frame
        if isinstance(unit, SigmaDelta):
            kinds = (unit.threshold, unit.message_shift, unit.rounding == "corrected", unit.cum_error)
            fixed = (a, state["sigma"], state["held"], state["error"], self.bias, *kinds, first)
            return lambda timestep, frame, *out: kernels.update_sigma_delta(*fixed, *out)
        if isinstance(unit, CubaLif):
            states = (state["current"], state["voltage"], self.bias)
            rest = (unit.threshold, unit.activation_shift, unit.bias_shift, first)
            keeps = (4096 - unit.current_decay, 4096 - unit.voltage_decay)
            every, phase = unit.reset_interval, unit.reset_phase

            def update(timestep: int, frame: IntArray | None, *out: Any) -> Any:
                kept = (0, 0) if every > 0 and timestep % every == phase else keeps
                return kernels.update_cuba_lif(a, none if frame is None else frame, *states, *kept, *rest, *out)

            return update
        if isinstance(unit, MaxRounding):
            return self._update_maxima(unit)
        if isinstance(unit, Rounding):
            return self._update_rounding(unit)
        if isinstance(unit, Hybrid):
            return self._update_hybrid(unit)
        if isinstance(unit, Delta):
            held = (state["held"], unit.threshold, unit.frame_shift, unit.message_shift, first)
            return lambda timestep, frame, *out: kernels.update_delta(a, none if frame is None else frame, *held, *out)
        if isinstance(unit, Membrane):
            return _membrane_update(self.layer, state, a, first)
        if isinstance(unit, Gated):
            return _gated_update(unit, state, a, first)
        if isinstance(unit, Sigma):
            return lambda timestep, frame, *out: kernels.update_sigma(a, state["sigma"], first, *out)
        assert isinstance(unit, Relay)
        return lambda timestep, frame, *out: kernels.update_relay(a, none if frame is None else frame, first, *out)

    def _update_rounding(self, unit: Rounding) -> Update:
        a, none, shape = self.activation, self.no_frame, self.layer.shape
        states = (self.state["sum"], self.state["held"], spread(unit.multiplier, shape), spread(unit.shift, shape))
        limits = (ROUNDINGS[unit.rounding], unit.threshold, unit.lowest, unit.highest)
        rest = (*limits, unit.accumulates, unit.changes, self.first)

        def update(timestep: int, frame: IntArray | None, *out: Any) -> Any:
            bias = self.bias if timestep >= unit.bias_from else none
            return kernels.update_rounding(a, none if frame is None else frame, bias, *states, *rest, *out)

        return update

    def _update_maxima(self, unit: MaxRounding) -> Update:
        a, none, shape = self.activation, self.no_frame, self.layer.shape
        states = (self.state["sums"], self.state["held"], spread(unit.multiplier, shape), spread(unit.shift, shape))
        limits = (ROUNDINGS[unit.rounding], unit.threshold, unit.lowest, unit.highest)
        rest = (*limits, unit.accumulates, unit.changes, self.first)
        step: Any = maxima_kernels.update_max_rounding

        def update(timestep: int, frame: IntArray | None, *out: Any) -> Any:
            bias = self.bias if timestep >= unit.bias_from else none
            return step(a, unit.places, none, bias, *states, *rest, *out)

        return update

    def _update_hybrid(self, unit: Hybrid) -> Update:
        a, none, shape = self.activation, self.no_frame, self.layer.shape
        start = unit.initial_state(a.size)["residual"]
        state = (self.bias, self.state["residual"], start, spread(unit.multiplier, shape), spread(unit.shift, shape))
        numbers = np.array(
            (unit.omega, unit.omega_shift, unit.fraction, unit.lowest, unit.highest, unit.widest), dtype=np.int64
        )
        fixed = (*state, unit.table, numbers, {"identity": 0, "relu": 1}.get(unit.function, 2))
        update, first, waits = hybrid_kernels.update_hybrid, self.first, unit.waits
        return lambda timestep, frame, *out: update(
            a, none if frame is None else frame, *fixed, timestep <= waits, unit.clears(timestep), first, *out
        )


def _membrane_update(layer: Layer, state: dict[str, IntArray], activation: IntArray, first: int) -> Update:
    """Return what updates a layer of membranes."""
    unit = layer.unit
    assert isinstance(unit, Membrane)
    names = ("current_keep", "voltage_keep", "current_bias", "bias", "threshold", "reset")
    each = [spread(getattr(unit, name), layer.shape) if hasattr(unit, name) else _NONE for name in names]
    spiking = hasattr(unit, "threshold")
    shifts = (unit.activation_shift, unit.decay_bits, unit.state_bits, getattr(unit, "message_shift", 0))
    flags = ("current" in state, getattr(unit, "old_current", False), spiking, getattr(unit, "subtract", False))
    fixed = (activation, state.get("current", _NONE), state["voltage"], *each, shifts, flags)
    update: Any = membrane_kernels.update_membrane
    start = unit.start
    return lambda timestep, frame, *out: update(*fixed, timestep <= start, unit.clears(timestep), first, *out)


def _gated_update(unit: Gated, state: dict[str, IntArray], activation: IntArray, first: int) -> Update:
    """Return what updates a layer of gated units."""
    a, f = unit.activation_fraction, unit.table_fraction
    highest, highest_sum = ((1 << (bits - 1)) - 1 for bits in (unit.activation_bits, unit.sum_bits))
    tables = (table("sigmoid", a, f), table("tanh", a, f))
    states = (state["sums"], state["state"], state["sent"], state.get("cell", _NONE))
    fixed = (activation, *states, isinstance(unit, DeltaLstm), (a, unit.sum_fraction, f), highest, highest_sum, *tables)
    update: Any = gated_kernels.update_gated
    start, threshold = unit.start, unit.threshold
    return lambda timestep, frame, *out: update(*fixed, threshold, timestep <= start, first, *out)
