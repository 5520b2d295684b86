"""Leaky membranes in exact integers: spiking and read-out units, with and without a synaptic current.

These units follow first-order models with any decay, reset value, constant input and threshold per neuron, such as
those of NIR. Gains are no part of them: a layer's state is measured in units of its weighted input, so that a gain
stands in the threshold instead. As with the units of `units.py`, the steps here are the readable reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import ClassVar

import numpy as np

from neurosim.errors import ModelError
from neurosim.network.unit_base import IntArray, State, Unit, as_integers, spread

MAX_STATE_BITS = 40
MAX_DECAY_BITS = 20
"""A state times what is kept of it stays within 62 bits."""
MAX_ACTIVATION_SHIFT = 30


def _zeros() -> IntArray:
    return np.zeros(1, dtype=np.int64)


def keep(values: IntArray, kept: IntArray, bits: int) -> IntArray:
    """Return `values` times `kept` / 2**bits, rounded towards zero."""
    kept_parts: IntArray = np.abs(values) * kept >> bits
    return np.sign(values) * kept_parts


@dataclass(frozen=True, eq=False, kw_only=True)
class Membrane(Unit):
    """What the units of this module share.

    v = keep(v) + drive + bias, clipped to +-(2**(state_bits - 1) - 1), where keep(v) = sgn(v) * (|v| * voltage_keep
    >> decay_bits) and the drive is activation << activation_shift, or the current of `CurrentLif` and `CurrentLeaky`.
    Through timestep `start` the unit stands still: it takes no bias and sends nothing. With a reset interval R the
    state is cleared before the step whenever timestep % R == reset_phase.

    Attributes
    ----------
    voltage_keep
        0..2**decay_bits; one value, one per channel, or one per neuron, as all arrays here.
    bias
        Added to v in every timestep, in units of the state.
    activation_shift, decay_bits, state_bits
        In bits; the last two at most 20 and 40.
    start
        Timesteps: by then what was fed in the first one arrives.
    reset_interval, reset_phase
        In timesteps; an interval of 0 is none.
    """

    voltage_keep: IntArray
    bias: IntArray = field(default_factory=_zeros)
    activation_shift: int = 0
    decay_bits: int = 12
    state_bits: int = 24
    start: int = 0
    reset_interval: int = 0
    reset_phase: int = 0

    state_names: ClassVar[tuple[str, ...]] = ("voltage",)

    def __post_init__(self) -> None:
        for item in fields(self):
            if item.type == "IntArray":
                object.__setattr__(self, item.name, as_integers(getattr(self, item.name)))
        for name, low, high in (
            ("decay_bits", 1, MAX_DECAY_BITS),
            ("state_bits", 2, MAX_STATE_BITS),
            ("activation_shift", 0, MAX_ACTIVATION_SHIFT),
            ("start", 0, 1 << 40),
        ):
            if not low <= getattr(self, name) <= high:
                raise ModelError(f"{name} is {getattr(self, name)}; it must lie in {low}..{high}")
        if self.reset_interval < 0 or not 0 <= self.reset_phase <= max(self.reset_interval - 1, 0):
            raise ModelError(
                f"reset_interval {self.reset_interval} with phase {self.reset_phase}; "
                "the interval must be 0 (none) or more, the phase less than the interval"
            )
        self._check_arrays()

    def _check_arrays(self) -> None:
        for item in fields(self):
            if item.type != "IntArray":
                continue
            values, name = getattr(self, item.name), item.name
            low, high = (0, 1 << self.decay_bits) if name.endswith("_keep") else (-self.highest, self.highest)
            if values.size and (values.min() < low or values.max() > high):
                raise ModelError(f"{name} reaches {values.min()}..{values.max()}; it must lie in {low}..{high}")

    @property
    def highest(self) -> int:
        """Largest state; the smallest is its negative."""
        return (1 << (self.state_bits - 1)) - 1

    def clears(self, timestep: int) -> bool:
        """Return whether the state is cleared before the step of `timestep`."""
        return self.reset_interval > 0 and timestep % self.reset_interval == self.reset_phase

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        if timestep <= self.start:
            return np.zeros_like(activation)
        if self.clears(timestep):
            for values in state.values():
                values[:] = 0
        driven = self._drive(state, activation << self.activation_shift, shape)
        kept = keep(state["voltage"], spread(self.voltage_keep, shape), self.decay_bits)
        voltage = np.clip(kept + driven + spread(self.bias, shape), -self.highest, self.highest)
        message = self._send(voltage, shape)
        state["voltage"][:] = voltage
        return message

    def _drive(self, state: State, arrived: IntArray, shape: tuple[int, ...]) -> IntArray:
        return arrived

    def _send(self, voltage: IntArray, shape: tuple[int, ...]) -> IntArray:
        """Return the messages, and reset `voltage` where it spikes."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class _Current(Membrane):
    """A membrane driven by a current that decays by itself.

    i = keep(i) + (activation << activation_shift) + current_bias, clipped like v; v then takes i, or, with
    `old_current`, what i was before the timestep (as a forward Euler step of both equations has it).

    Attributes
    ----------
    current_keep
        0..2**decay_bits.
    current_bias
        Added to i in every timestep, in units of the state.
    old_current
        Whether v takes the current of the timestep before.
    """

    current_keep: IntArray
    current_bias: IntArray = field(default_factory=_zeros)
    old_current: bool = False

    state_names = ("current", "voltage")

    def _drive(self, state: State, arrived: IntArray, shape: tuple[int, ...]) -> IntArray:
        before = state["current"].copy()
        kept = keep(before, spread(self.current_keep, shape), self.decay_bits)
        fresh = np.clip(kept + arrived + spread(self.current_bias, shape), -self.highest, self.highest)
        state["current"][:] = fresh
        return before if self.old_current else fresh


@dataclass(frozen=True, eq=False, kw_only=True)
class Lif(Membrane):
    """Leaky integrate-and-fire neuron: a `Membrane` that spikes where v > threshold (strictly).

    After a spike v is `reset`, or with `subtract` v - (threshold - reset). With all of v kept it is an integrate-and-
    fire neuron, with nothing kept a threshold without memory.

    Attributes
    ----------
    threshold, reset
        In units of the state.
    subtract
        Whether a spike takes off from v and does not set it.
    """

    threshold: IntArray
    reset: IntArray = field(default_factory=_zeros)
    subtract: bool = False

    kind = "lif"

    @property
    def graded(self) -> bool:
        """False: a spike carries no value."""
        return False

    def _send(self, voltage: IntArray, shape: tuple[int, ...]) -> IntArray:
        threshold, reset = spread(self.threshold, shape), spread(self.reset, shape)
        fires = voltage > threshold
        voltage[:] = np.where(fires, voltage - threshold + reset if self.subtract else reset, voltage)
        return fires.astype(np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class CurrentLif(_Current, Lif):
    """`Lif` driven by a synaptic current."""

    kind = "current_lif"


@dataclass(frozen=True, eq=False, kw_only=True)
class Leaky(Membrane):
    """Leaky integrator that sends v >> message_shift in every timestep: a read-out. With all of v kept it adds up.

    Attributes
    ----------
    message_shift
        In bits.
    """

    message_shift: int = 0

    kind = "leaky"

    def _send(self, voltage: IntArray, shape: tuple[int, ...]) -> IntArray:
        return voltage >> self.message_shift


@dataclass(frozen=True, eq=False, kw_only=True)
class CurrentLeaky(_Current, Leaky):
    """`Leaky` driven by a synaptic current."""

    kind = "current_leaky"
