"""Gated recurrent units as delta networks, in exact integers: `DeltaGru` and `DeltaLstm`.

Neil, Lee, Delbruck and Liu, "Delta Networks for Optimized Recurrent Network Computation" (arXiv:1612.05571). Such a
unit holds a sum for each of its gates, which start at the biases; messages bring changes of inputs and states, and each
changes the sums for good. A neuron has four accumulators, its compartments:

    DeltaGru    0 reset, 1 update, 2 candidate by inputs, 3 candidate by states
    DeltaLstm   0 input, 1 forget, 2 candidate, 3 output

Inputs of a GRU go to compartments (0, 1, 2), states to (0, 1, 3), each by one transform of 3 n outputs; both go to all
four of an LSTM. A neuron sends the change of its state h since it last sent, where that reaches the threshold. The
paper compares at the beginning of a step, h(t - 1) - h^; here the same is compared at the end of the step before, and
the message, sent at once, acts in the next timestep: the same sums at the same time.

Number formats, by default those of the FPGA accelerator EdgeDRNN (Gao et al., IEEE JETCAS 2020; its published HDL
and Python model, github.com/SensorsINI/EdgeDRNN): h, c and messages have 16 bits, 8 of fraction (Q8.8); weights 8 bits,
7 of fraction, so that sums have 15. Sourced from there: all roundings are to the nearest, halves to even; sums are
rounded to Q8.8 before the functions are taken, which are tables with values in steps of 1/16; in the candidate the sum
by states is rounded to Q8.8 first, times r, and added to the sum by inputs without further rounding; (1 - z) n and
z h are each rounded to Q8.8, then added and saturated. The LSTM's order, from the same author's DeltaRNN
(github.com/gaochangw/DeltaRNN): f c + i g is rounded once, to Q8.8, and so is o tanh(c). Ours: saturation is symmetric
(that of their Python models reaches one step lower), biases have the sums' 15 bits of fraction (those of the LSTM there
the weights' 7), and sums saturate at `sum_bits`, which none reaches in practice.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from neurosim.errors import ModelError
from neurosim.network.function_tables import look_up, table
from neurosim.network.rounding import shift_and_round
from neurosim.network.unit_base import IntArray, State, Unit, as_integers, spread

LIMITS = {
    "activation_fraction": (1, 15), "activation_bits": (4, 32), "sum_fraction": (1, 30), "sum_bits": (8, 48),
    "table_fraction": (1, 12), "threshold": (0, 1 << 31), "start": (0, 1 << 40),
}  # fmt: skip
"""Least and most of each parameter: all products stay within 62 bits."""


def _zeros() -> IntArray:
    return np.zeros(1, dtype=np.int64)


def saturate(values: IntArray, bits: int) -> IntArray:
    """Return `values` kept within +-(2**(bits - 1) - 1)."""
    highest = (1 << (bits - 1)) - 1
    return np.clip(values, -highest, highest)


def rescale(values: IntArray, before: int, after: int) -> IntArray:
    """Return numbers of `before` bits of fraction as numbers of `after`, rounded half to even."""
    if after >= before:
        return values << (after - before)
    return shift_and_round(values, np.array(before - after), "half_even")


@dataclass(frozen=True, eq=False, kw_only=True)
class Gated(Unit):
    """What the units of this module share.

    Attributes
    ----------
    threshold
        Least change of h that is sent, in units of h (2**-activation_fraction); at 0, any change.
    activation_fraction, activation_bits
        Bits of fraction of h, c and messages, and all their bits, with the sign.
    sum_fraction, sum_bits
        Of the sums and the biases: fraction, of `activation_fraction` bits or more (the rest is that of the weights),
        and all.
    table_fraction
        Bits of fraction of the sigmoid's and the tanh's values.
    start
        Timesteps through which the unit stands still, with h = 0: it adds up what arrives, computes no gate, and sends
        nothing. In the first one after, what was fed in the first timestep arrives.
    """

    threshold: int = 0
    activation_fraction: int = 8
    activation_bits: int = 16
    sum_fraction: int = 15
    sum_bits: int = 32
    table_fraction: int = 4
    start: int = 0

    compartments: ClassVar[int] = 4
    bias_names: ClassVar[tuple[str, ...]]
    """Parameter that each compartment starts at."""

    def __post_init__(self) -> None:
        for name in self.bias_names:
            object.__setattr__(self, name, as_integers(getattr(self, name)))
        errors = [
            f"{name} is {getattr(self, name)}; it must lie in {low}..{high}"
            for name, (low, high) in LIMITS.items()
            if not low <= getattr(self, name) <= high
        ]
        if not errors and self.sum_fraction < self.activation_fraction:
            errors.append(
                f"sum_fraction is {self.sum_fraction}; it must be activation_fraction ({self.activation_fraction}) or "
                "more, since sums are of products"
            )
        if not errors and self.activation_bits <= self.activation_fraction:
            errors.append(
                f"activation_bits is {self.activation_bits}; 1 and a sign need more than activation_fraction "
                f"({self.activation_fraction})"
            )
        if not errors:
            highest = (1 << (self.sum_bits - 1)) - 1
            errors += [
                f"{name} reaches {values.min()}..{values.max()}; sums hold -{highest}..{highest} (sum_bits)"
                for name, values in ((name, getattr(self, name)) for name in self.bias_names)
                if values.size and (values.min() < -highest or values.max() > highest)
            ]
        if errors:
            raise ModelError("; ".join(errors))

    @property
    def neuron_bits(self) -> int:
        """Bits of state of a neuron: its sums, and what it holds in the format of activations."""
        return self.compartments * self.sum_bits + (len(self.state_names) - 1) * self.activation_bits

    def biases(self, shape: tuple[int, ...]) -> IntArray:
        """Return where the sums start, int64 (4 n,), neuron by neuron."""
        return np.stack([spread(getattr(self, name), shape) for name in self.bias_names], axis=1).ravel()

    def initial_state(self, size: int) -> State:
        """Return the state before timestep 1: the sums at the biases, all else zeros."""
        state = {name: np.zeros(size, dtype=np.int64) for name in self.state_names}
        return {**state, "sums": self.biases((size,))}

    def step(
        self, state: State, activation: IntArray, frame: IntArray, shape: tuple[int, ...], timestep: int
    ) -> IntArray:
        state["sums"][:] = saturate(state["sums"] + activation, self.sum_bits)
        if timestep <= self.start:
            return np.zeros_like(state["state"])
        self.advance(state)
        change = state["state"] - state["sent"]
        message = np.where(np.abs(change) >= self.threshold, change, 0)
        state["sent"] += message
        return message

    def advance(self, state: State) -> None:
        """Compute the next h (and c) from the sums, in place.

        Arrays may have axes before the last, such as sequences that run side by side.
        """
        raise NotImplementedError

    def sums(self, state: State) -> tuple[IntArray, ...]:
        """Return the sums of each compartment, int64 (..., n)."""
        each = state["sums"].reshape(*state["sums"].shape[:-1], -1, self.compartments)
        return tuple(each[..., k] for k in range(self.compartments))

    def rounded(self, sums: IntArray, fraction: int | None = None) -> IntArray:
        """Return sums, of `fraction` bits of fraction (by default those of sums), in the format of activations."""
        before = self.sum_fraction if fraction is None else fraction
        return saturate(rescale(sums, before, self.activation_fraction), self.activation_bits)

    def sigmoid(self, activations: IntArray) -> IntArray:
        """Return the sigmoid by table, in units of 2**-table_fraction."""
        return look_up(table("sigmoid", self.activation_fraction, self.table_fraction), activations)

    def tanh(self, activations: IntArray) -> IntArray:
        """Return the tanh by table, in units of 2**-table_fraction."""
        return look_up(table("tanh", self.activation_fraction, self.table_fraction), activations)


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaGru(Gated):
    """Gated recurrent unit as a delta network; for its parameters see `Gated`, for its arithmetic the module.

    r = sigmoid(M0), z = sigmoid(M1), n = tanh(M2 + r M3), h = (1 - z) n + z h.

    Attributes
    ----------
    reset_bias, update_bias, input_bias, state_bias
        int64, where M0 to M3 start, in units of sums: one, or one per neuron.
    """

    reset_bias: IntArray = field(default_factory=_zeros)
    update_bias: IntArray = field(default_factory=_zeros)
    input_bias: IntArray = field(default_factory=_zeros)
    state_bias: IntArray = field(default_factory=_zeros)

    kind = "delta_gru"
    state_names = ("sums", "state", "sent")
    bias_names = ("reset_bias", "update_bias", "input_bias", "state_bias")

    def advance(self, state: State) -> None:
        reset, update, by_inputs, by_states = self.sums(state)
        a, f = self.activation_fraction, self.table_fraction
        r, z = self.sigmoid(self.rounded(reset)), self.sigmoid(self.rounded(update))
        common = max(self.sum_fraction, a + f)
        inner = rescale(by_inputs, self.sum_fraction, common) + rescale(r * self.rounded(by_states), a + f, common)
        fresh = self.tanh(self.rounded(inner, common))
        new = self.rounded(((1 << f) - z) * fresh, 2 * f)
        old = self.rounded(z * state["state"], a + f)
        state["state"][:] = saturate(new + old, self.activation_bits)


@dataclass(frozen=True, eq=False, kw_only=True)
class DeltaLstm(Gated):
    """Long short-term memory as a delta network; for its parameters see `Gated`, for its arithmetic the module.

    i, f, o = sigmoid(M0), sigmoid(M1), sigmoid(M3); g = tanh(M2); c = f c + i g; h = o tanh(c).

    Attributes
    ----------
    input_bias, forget_bias, candidate_bias, output_bias
        int64, where M0 to M3 start, in units of sums: one, or one per neuron.
    """

    input_bias: IntArray = field(default_factory=_zeros)
    forget_bias: IntArray = field(default_factory=_zeros)
    candidate_bias: IntArray = field(default_factory=_zeros)
    output_bias: IntArray = field(default_factory=_zeros)

    kind = "delta_lstm"
    state_names = ("sums", "state", "sent", "cell")
    bias_names = ("input_bias", "forget_bias", "candidate_bias", "output_bias")

    def advance(self, state: State) -> None:
        a, f = self.activation_fraction, self.table_fraction
        entered, kept, candidate, let_out = (self.rounded(sums) for sums in self.sums(state))
        common = max(a + f, 2 * f)
        kept_cell = rescale(self.sigmoid(kept) * state["cell"], a + f, common)
        fresh = rescale(self.sigmoid(entered) * self.tanh(candidate), 2 * f, common)
        state["cell"][:] = self.rounded(kept_cell + fresh, common)
        state["state"][:] = self.rounded(self.sigmoid(let_out) * self.tanh(state["cell"]), 2 * f)
