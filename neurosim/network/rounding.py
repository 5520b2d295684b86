"""The unit of networks converted from dense ones: multiply, round, send the integer or its change."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.network.unit_base import IntArray, State, Unit, as_integers, spread

ROUNDINGS = {"half_up": 0, "half_even": 1, "floor": 2}
"""How `Rounding` rounds a product, and the number by which the kernel knows it."""
WIDEST = 1 << 31
"""Messages have at most 32 bits, signed."""


def shift_and_round(values: IntArray, shift: IntArray, rounding: str) -> IntArray:
    """Return `values` divided by 2**shift and rounded.

    Parameters
    ----------
    values, shift
        int64, of shapes that fit each other; shifts of 0 or more bits.
    rounding
        ``half_up`` (halves towards plus infinity), ``half_even``, or ``floor``.
    """
    half = (np.int64(1) << shift) >> 1
    if rounding == "half_up":
        return (values + half) >> shift
    quotient = values >> shift
    if rounding == "floor":
        return quotient
    rest = values - (quotient << shift)
    up: IntArray = quotient + ((shift > 0) & ((rest > half) | ((rest == half) & (quotient & 1 == 1))))
    return up


@dataclass(frozen=True, eq=False)
class Rounding(Unit):
    """Multiplies what it holds, rounds it to an integer s, and sends s or the change of s.

    x = sum + bias + frame, where the sum is that of the timestep, or with `accumulates` of all timesteps;
    s = round(x * multiplier / 2**shift), kept within lowest..highest. With `changes` the message is s - held,
    and where its size is the threshold or more it is sent and held becomes s; otherwise the message is s, sent
    where its size is the threshold or more.

    Rounding networks have neither flag, sigma-delta networks both (O'Connor and Welling, arXiv:1611.02024): the
    changes of a rounded value add up to the rounded value, so both hold the same sums. With a `lowest` of 0 it is a
    ReLU; a `highest` below what occurs saturates, as 8-bit networks do.

    Attributes
    ----------
    multiplier
        int64, 0 or more: one, one per channel, or one per neuron.
    shift
        int64, in bits, 0..62: as `multiplier`.
    bias
        int64, in units of the sum: as `multiplier`.
    bias_from
        Timestep from which the bias counts, from 1: with the number of the timestep in which the first frame
        arrives, what the bias causes is sent together with what the frame causes.
    rounding
        ``half_up`` (halves towards plus infinity), ``half_even``, or ``floor``.
    threshold
        Least size of a message, from 1; where some changes are smaller, the sums differ from a rounding network's.
    lowest, highest
        Limits of s, within 32 bits signed.
    accumulates
        Whether the unit adds up what arrives (its sources send changes).
    changes
        Whether it sends changes.
    """

    multiplier: IntArray
    shift: IntArray
    bias: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    bias_from: int = 1
    rounding: str = "half_up"
    threshold: int = 1
    lowest: int = 0
    highest: int = WIDEST - 1
    accumulates: bool = True
    changes: bool = True

    kind = "rounding"
    state_names = ("sum", "held")
    takes_frames = True

    def __post_init__(self) -> None:
        for name in ("multiplier", "shift", "bias"):
            object.__setattr__(self, name, as_integers(getattr(self, name)))
        if self.rounding not in ROUNDINGS:
            raise ModelError(
                f'rounding "{self.rounding}" is not known; use one of {", ".join(ROUNDINGS)}'
                + suggest(self.rounding, ROUNDINGS)
            )
        if self.multiplier.min() < 0 or self.multiplier.max() >= WIDEST:
            raise ModelError(
                f"multipliers reach from {self.multiplier.min()} to {self.multiplier.max()}; "
                f"they must lie in 0..{WIDEST - 1}: choose a smaller shift"
            )
        if self.shift.min() < 0 or self.shift.max() > 62:
            raise ModelError(f"shifts reach from {self.shift.min()} to {self.shift.max()} bits; they must lie in 0..62")
        if not -WIDEST <= self.lowest <= self.highest < WIDEST:
            raise ModelError(
                f"lowest {self.lowest} and highest {self.highest}; they must rise and lie in {-WIDEST}..{WIDEST - 1}"
            )
        for name in ("threshold", "bias_from"):
            if getattr(self, name) < 1:
                raise ModelError(f"{name} is {getattr(self, name)}; it must be 1 or more")

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        if self.accumulates:
            state["sum"] += activation
        held = state["sum"] if self.accumulates else activation
        return self.send(state, held + frame, shape, timestep)

    def send(self, state: State, held: IntArray, shape: tuple[int, ...], timestep: int) -> IntArray:
        """Return the messages of what neurons hold, int64 (n,), without bias; `held` of `state` follows."""
        value = held + (spread(self.bias, shape) if timestep >= self.bias_from else 0)
        product = value * spread(self.multiplier, shape)
        rounded = np.clip(shift_and_round(product, spread(self.shift, shape), self.rounding), self.lowest, self.highest)
        change = rounded - state["held"]
        message = np.where(np.abs(change) >= self.threshold, change, 0)
        if self.changes:
            state["held"] += message
        return message
