"""The unit of hybrid-spiking networks: a fraction of a message is kept until it makes a whole one.

After Voelker, Rasmussen and Eliasmith (arXiv:2002.03553): between a spiking neuron (omega small) and one that sends its
value in fine steps (omega large) lies only the size of the step, and what rounding leaves over is carried to the next.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.network.function_tables import FUNCTIONS as TABLES
from neurosim.network.function_tables import look_up, table
from neurosim.network.rounding import WIDEST, shift_and_round
from neurosim.network.unit_base import IntArray, State, Unit, as_integers, spread

FUNCTIONS = ("identity", "relu", *TABLES)
MAX_FRACTION = 30
MAX_TABLE_FRACTION = 16
"""Of a function by table, and of what it is taken of: finer tables take minutes to compute, and gigabytes."""
MAX_STATE_BITS = 40
_NONE = np.zeros(1, dtype=np.int64)


@dataclass(frozen=True, eq=False, kw_only=True)
class Hybrid(Unit):
    """Adds omega f(x) to its residual v and sends the whole part of v, which may be negative or more than 1.

    y = round((sum + bias + frame) * multiplier / 2**shift), halves to the even neighbour; f = y or max(y, 0), in units
    of 2**-fraction, or a tanh or sigmoid in these units, of y in units of 2**-index_fraction. v += round(f * omega /
    2**omega_shift), kept within +-(2**(state_bits - 1) - 1); n = floor(v / 2**fraction), kept within lowest..highest;
    v -= n * 2**fraction; the message is n. What the limits of n hold back thus stays in v. y is kept within 32 bits.
    Through timestep `waits` the unit stands still: it takes nothing up and sends nothing. With a reset interval R v is
    set to `residual` before the step whenever timestep % R == reset_phase.

    Attributes
    ----------
    multiplier
        int64, 0 to 2**31 - 1: one, one per channel, or one per neuron.
    shift
        int64, in bits, 0..62: as `multiplier`.
    bias
        int64, in units of the sum: as `multiplier`.
    residual
        int64, v before the first timestep: one, or one per neuron. The authors draw it from 0 <= v < 1.
    function
        ``identity``, ``relu``, ``tanh`` or ``sigmoid``.
    omega, omega_shift
        Omega is omega / 2**omega_shift: 1 to 2**31 - 1, and 0..31 bits.
    fraction, index_fraction
        Bits, 1..30; the second is read by ``tanh`` and ``sigmoid`` alone, with which both are 16 at most.
    lowest, highest
        Limits of n, within 32 bits signed.
    state_bits
        2..40, `fraction` + 2 or more: v holds 1 and a sign.
    waits
        Timesteps: by then what was fed in the first one arrives.
    reset_interval, reset_phase
        In timesteps; an interval of 0 is none.
    """

    multiplier: IntArray
    shift: IntArray
    bias: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    residual: IntArray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    function: str = "identity"
    omega: int = 1
    omega_shift: int = 0
    fraction: int = 12
    index_fraction: int = 10
    lowest: int = -WIDEST
    highest: int = WIDEST - 1
    state_bits: int = 24
    waits: int = 0
    reset_interval: int = 0
    reset_phase: int = 0

    kind = "hybrid"
    state_names = ("residual",)
    takes_frames = True
    omitted: ClassVar[dict[str, Any]] = {"reset_interval": 0, "reset_phase": 0}

    def __post_init__(self) -> None:
        for name in ("multiplier", "shift", "bias", "residual"):
            object.__setattr__(self, name, as_integers(getattr(self, name)))
        if self.function not in FUNCTIONS:
            raise ModelError(
                f'function "{self.function}" is not known; use one of {", ".join(FUNCTIONS)}'
                + suggest(self.function, FUNCTIONS)
            )
        for name, low, high in (
            ("multiplier", 0, WIDEST - 1),
            ("shift", 0, 62),
            ("omega", 1, WIDEST - 1),
            ("omega_shift", 0, 31),
            ("fraction", 1, MAX_FRACTION),
            ("index_fraction", 1, MAX_FRACTION),
            ("state_bits", 2, MAX_STATE_BITS),
            ("waits", 0, 1 << 40),
            ("reset_interval", 0, 1 << 31),
        ):
            values = np.asarray(getattr(self, name))
            if values.min() < low or values.max() > high:
                raise ModelError(f"{name} reaches {values.min()}..{values.max()}; it must lie in {low}..{high}")
        finest = max(self.fraction, self.index_fraction)
        if self.function in TABLES and finest > MAX_TABLE_FRACTION:
            raise ModelError(
                f"fraction {self.fraction} and index_fraction {self.index_fraction} with function {self.function}; its "
                f"table has steps of at most {MAX_TABLE_FRACTION} bits: give {MAX_TABLE_FRACTION} or less for both"
            )
        if not 0 <= self.reset_phase <= max(self.reset_interval - 1, 0):
            raise ModelError(
                f"reset_interval {self.reset_interval} with phase {self.reset_phase}; "
                "the phase must be less than the interval, 0 without one"
            )
        if not -WIDEST <= self.lowest <= self.highest < WIDEST:
            raise ModelError(
                f"lowest {self.lowest} and highest {self.highest}; they must rise and lie in {-WIDEST}..{WIDEST - 1}"
            )
        if self.state_bits < self.fraction + 2:
            raise ModelError(
                f"state_bits is {self.state_bits}; v must hold a 1, which is sent, and a sign: give "
                f"{self.fraction + 2} or more (fraction + 2), or a fraction of at most {self.state_bits - 2}"
            )
        if np.abs(self.residual).max() > self.widest:
            raise ModelError(
                f"residuals reach {self.residual.min()}..{self.residual.max()}; a state of {self.state_bits} bits "
                f"holds +-{self.widest}"
            )

    @property
    def widest(self) -> int:
        """Largest v; the smallest is its negative."""
        return (1 << (self.state_bits - 1)) - 1

    @property
    def table(self) -> IntArray:
        """Table of the function, one 0 where it has none."""
        return table(self.function, self.index_fraction, self.fraction) if self.function in TABLES else _NONE

    def clears(self, timestep: int) -> bool:
        """Return whether v is set to its first value before the step of `timestep`."""
        return self.reset_interval > 0 and timestep % self.reset_interval == self.reset_phase

    def initial_state(self, size: int) -> State:
        """Return the residuals given: one for all, or one per neuron."""
        if self.residual.size not in (1, size):
            raise ModelError(f"{self.residual.size} residuals for {size} neurons; give 1 or {size}")
        return {"residual": np.full(size, self.residual, dtype=np.int64)}

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        if timestep <= self.waits:
            return np.zeros_like(activation)
        if self.clears(timestep):
            state["residual"][:] = self.residual
        product = (activation + frame + spread(self.bias, shape)) * spread(self.multiplier, shape)
        f = np.clip(shift_and_round(product, spread(self.shift, shape), "half_even"), 1 - WIDEST, WIDEST - 1)
        if self.function == "relu":
            f = np.maximum(f, 0)
        elif self.function in TABLES:
            f = look_up(self.table, f)
        more = shift_and_round(f * self.omega, np.full_like(f, self.omega_shift), "half_even")
        grown: IntArray = np.clip(state["residual"] + more, -self.widest, self.widest)
        message: IntArray = np.clip(grown >> self.fraction, self.lowest, self.highest)
        state["residual"][:] = grown - (message << self.fraction)
        return message
