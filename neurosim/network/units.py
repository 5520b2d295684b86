"""The units a layer can be made of, each with its exact integer step in plain numpy.

These steps are the readable reference; the engine's compiled kernels must give the same integers.
`>>` on signed integers is arithmetic: it rounds towards minus infinity. The steps were taken from the
behaviour of the lava framework (commit b6822fb) for networks in its NetX format; that of converted
networks stands in `rounding.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.network.gated import DeltaGru, DeltaLstm
from neurosim.network.hybrid import Hybrid
from neurosim.network.maxima import MaxRounding
from neurosim.network.membranes import CurrentLeaky, CurrentLif, Leaky, Lif
from neurosim.network.rounding import Rounding
from neurosim.network.unit_base import IntArray, State, Unit, as_integers, spread, wrap_signed

__all__ = [
    "MAX_VOLTAGE",
    "UNITS",
    "CubaLif",
    "Delta",
    "Hybrid",
    "IntArray",
    "Relay",
    "Rounding",
    "Sigma",
    "SigmaDelta",
    "State",
    "Unit",
    "spread",
    "unit_from_dict",
    "wrap_signed",
]

MAX_VOLTAGE = (1 << 23) - 1
"""Largest membrane voltage of a CUBA neuron: 24 bits, signed and symmetric."""


@dataclass(frozen=True, eq=False)
class Relay(Unit):
    """Source of messages from outside: sends the values of its frame as they are.

    It has no state and costs no update; its messages travel like any others.

    Attributes
    ----------
    spikes
        Whether its messages are spikes without a value.
    """

    spikes: bool = False

    kind = "relay"
    state_names = ()
    takes_frames = True

    @property
    def graded(self) -> bool:
        """Whether messages carry a value."""
        return not self.spikes

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        return frame + activation


@dataclass(frozen=True, eq=False)
class Delta(Unit):
    """Sends the change of its input once it reaches a threshold.

    x = (frame << frame_shift) + activation; d = x - r; where |d| >= threshold the message is
    d >> message_shift and r becomes x.

    Attributes
    ----------
    threshold
        In state units: the mantissa of the file shifted left by `frame_shift`.
    frame_shift, message_shift
        In bits; 12 and 6 for NetX networks (spike_exp + state_exp, state_exp).
    """

    threshold: int
    frame_shift: int = 12
    message_shift: int = 6

    kind = "delta"
    state_names = ("held",)
    takes_frames = True

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        value = (frame << self.frame_shift) + activation
        change = value - state["held"]
        fires = np.abs(change) >= self.threshold
        state["held"][fires] = value[fires]
        return np.where(fires, change >> self.message_shift, 0)


@dataclass(frozen=True, eq=False)
class Sigma(Unit):
    """Adds up what arrives and sends the sum every timestep: the output of a sigma-delta network."""

    kind = "sigma"
    state_names = ("sigma",)

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        state["sigma"] += activation
        return state["sigma"].copy()


@dataclass(frozen=True, eq=False)
class SigmaDelta(Unit):
    """Adds up what arrives, applies a ReLU, and sends the change once it reaches a threshold.

    sigma += activation; y = max(sigma + (bias << bias_shift), 0); d = y - r. It fires where
    |d| >= threshold, or, with `cum_error`, where |error| >= threshold after error += d (error becomes 0
    on firing). The message is d >> message_shift. With rounding ``default`` r becomes y, so the bits
    shifted out are lost; with ``corrected`` r grows by what was sent.

    Attributes
    ----------
    threshold
        In state units: the mantissa of the file shifted left by `bias_shift`.
    bias
        int64 mantissas: one, one per channel, or one per neuron.
    rounding
        ``default`` or ``corrected``.
    cum_error
        Whether firing is decided on the error added up since the last message.
    """

    threshold: int
    bias: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    rounding: str = "default"
    cum_error: bool = False
    bias_shift: int = 12
    message_shift: int = 6

    kind = "sigma_delta"
    state_names = ("sigma", "held", "error")

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", as_integers(self.bias))
        if self.rounding not in ("default", "corrected"):
            raise ModelError(
                f'rounding "{self.rounding}" is not known; use "default" or "corrected"'
                + suggest(self.rounding, ("default", "corrected"))
            )

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        state["sigma"] += activation
        value = np.maximum(state["sigma"] + (spread(self.bias, shape) << self.bias_shift), 0)
        change = value - state["held"]
        if self.cum_error:
            state["error"] += change
            fires = np.abs(state["error"]) >= self.threshold
            state["error"][fires] = 0
        else:
            fires = np.abs(change) >= self.threshold
        message = np.where(fires, change >> self.message_shift, 0)
        if self.rounding == "corrected":
            state["held"] += message << self.message_shift
        else:
            state["held"][fires] = value[fires]
        return message


@dataclass(frozen=True, eq=False)
class CubaLif(Unit):
    """Current-based leaky integrate-and-fire neuron with a hard reset, in Loihi's integers.

    u = sgn(u) * (|u| * (4096 - current_decay) >> 12) + (activation << activation_shift), wrapped to 24
    bits; v = sgn(v) * (|v| * (4096 - voltage_decay) >> 12) + u + ((bias + frame) << bias_shift), clipped
    to +-(2**23 - 1). It spikes where v > threshold (strictly); v is then 0. With a reset interval R,
    u and v are cleared before the step whenever timestep % R == reset_phase.

    Attributes
    ----------
    current_decay, voltage_decay
        0..4096, in 1/4096 per timestep.
    threshold
        In state units: the mantissa of the file shifted left by 6.
    bias
        int64 mantissas: one, one per channel, or one per neuron.
    reset_interval
        In timesteps; 0 for none.
    reset_phase
        0..reset_interval - 1.
    """

    current_decay: int
    voltage_decay: int
    threshold: int
    bias: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    reset_interval: int = 0
    reset_phase: int = 0
    activation_shift: int = 6
    bias_shift: int = 6

    kind = "cuba_lif"
    state_names = ("current", "voltage")
    takes_frames = True

    @property
    def graded(self) -> bool:
        """False: a spike carries no value."""
        return False

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", as_integers(self.bias))
        for name in ("current_decay", "voltage_decay"):
            value = getattr(self, name)
            if not 0 <= value <= 4096:
                raise ModelError(f"{name} is {value}; it must lie in 0..4096 (4096 forgets at once)")
        if self.reset_interval < 0 or not 0 <= self.reset_phase <= max(self.reset_interval - 1, 0):
            raise ModelError(
                f"reset_interval {self.reset_interval} with phase {self.reset_phase}; "
                "the interval must be 0 (none) or more, the phase less than the interval"
            )

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        current, voltage = state["current"], state["voltage"]
        if self.reset_interval and timestep % self.reset_interval == self.reset_phase:
            current[:] = 0
            voltage[:] = 0
        decayed = np.sign(current) * (np.abs(current) * (4096 - self.current_decay) >> 12)
        current[:] = wrap_signed(decayed + (activation << self.activation_shift), 24)
        decayed = np.sign(voltage) * (np.abs(voltage) * (4096 - self.voltage_decay) >> 12)
        bias = (spread(self.bias, shape) + frame) << self.bias_shift
        voltage[:] = np.clip(decayed + current + bias, -MAX_VOLTAGE, MAX_VOLTAGE)
        fires = voltage > self.threshold
        voltage[fires] = 0
        return fires.astype(np.int64)


UNITS: dict[str, type[Unit]] = {
    unit.kind: unit
    for unit in (
        Relay, Delta, Sigma, SigmaDelta, CubaLif, Rounding, Lif, CurrentLif, Leaky, CurrentLeaky, DeltaGru, DeltaLstm,
        MaxRounding, Hybrid,
    )
}  # fmt: skip


def unit_from_dict(values: dict[str, Any]) -> Unit:
    """Return the unit that `Unit.to_dict` described.

    Raises
    ------
    ModelError
        Unknown kind, or parameters that this kind does not have or lacks.
    """
    rest = dict(values)
    kind = rest.pop("kind", None)
    if kind not in UNITS:
        raise ModelError(f'unit kind "{kind}" is not known; known: {", ".join(UNITS)}' + suggest(str(kind), UNITS))
    try:
        return UNITS[kind](**rest)
    except TypeError as error:
        raise ModelError(f"unit {kind}: {error}") from error
