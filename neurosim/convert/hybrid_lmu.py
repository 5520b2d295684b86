"""From a trained Legendre memory unit with quantised messages to a network in integers.

The layers are ``input``, which sends u, ``memory``, ``hidden`` and ``answer``. What is sent in one timestep acts in
the next; so step t of a sequence, counted from 1, is sent by the input in timestep t, and the memory takes it up in
timestep t + 1, the hidden layer in t + 2 (for which u comes a timestep late) and the answer in t + 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.hybrid_numbers import WIDEST, IntArray, multiplier, residuals
from neurosim.errors import ModelError
from neurosim.network import Connection, Delay, Dense, Hybrid, Layer, Network, Relay, Rounding
from neurosim.train.lmu import Lmu, rounded

LATE = 3
"""Timesteps from a step's input to its answer."""


@dataclass(frozen=True)
class LmuOptions:
    """How floats become integers.

    Attributes
    ----------
    weight_bits
        Of what was trained and of B, signed, with a power of two for each connection.
    memory_bits
        Of A, signed, with one power of two. A network that was trained with A rounded keeps it as it is.
    part_bits
        Widest weight that a connection may have; an A that is wider goes in several connections that add up.
    exponent_max
        Largest power of two, as an exponent, that a connection's weights may share: chips store it once. Where two
        connections into a layer are further apart, the finer one loses bits.
    memory_fraction, hidden_fraction
        Bits of fraction of the two layers' states.
    index_fraction
        Bits of fraction of what the hidden layer's function is taken of.
    """

    weight_bits: int = 8
    memory_bits: int = 12
    part_bits: int = 8
    exponent_max: int = 7
    memory_fraction: int = 14
    hidden_fraction: int = 12
    index_fraction: int = 10


@dataclass(frozen=True)
class IntegerLmu:
    """A trained network in integers.

    Attributes
    ----------
    memory, hidden
        Units of the two layers.
    memory_from_input, memory_from_memory
        Weights (order,) and (order, order): sums are of one unit for both, likewise below.
    hidden_from_input, hidden_from_hidden, hidden_from_memory
        Weights (units,), (units, units), (units, order).
    answer_from_hidden, answer_bias
        (classes, units) and (classes,).
    part_bits
        As of `LmuOptions`.
    readout_steps, centre
        As of `Lmu`.
    """

    memory: Hybrid
    hidden: Hybrid
    memory_from_input: IntArray
    memory_from_memory: IntArray
    hidden_from_input: IntArray
    hidden_from_hidden: IntArray
    hidden_from_memory: IntArray
    answer_from_hidden: IntArray
    answer_bias: IntArray
    part_bits: int
    readout_steps: int
    centre: int

    def frames(self, values: NDArray[Any]) -> IntArray:
        """Return the frames (steps + 1, 1) of one sequence of integers; the last, which is held, is 0."""
        return np.append(np.asarray(values, dtype=np.int64) - self.centre, 0)[:, None]

    def timesteps(self, steps: int) -> int:
        """Return the timesteps that a sequence takes from its first input to its last answer."""
        return steps + LATE

    def answers(self, sent: NDArray[Any]) -> IntArray:
        """Return the answer, int64 (classes,), of what the layer ``answer`` sent in each timestep (timesteps, classes).

        It is the sum over the last steps; the class is where it is largest, the first of several.
        """
        total: IntArray = np.asarray(sent, dtype=np.int64)[-self.readout_steps :].sum(axis=0)
        return total

    def network(self, name: str = "hybrid-lmu") -> Network:
        """Return the network."""
        order, units = len(self.memory_from_input), len(self.hidden_from_input)
        classes = len(self.answer_bias)
        one = np.ones(1, dtype=np.int64)
        answer = Rounding(
            one, 0 * one, self.answer_bias, bias_from=LATE + 1, lowest=-WIDEST, accumulates=False, changes=False
        )
        layers = [
            Layer("input", (1,), Relay()),
            Layer("memory", (order,), self.memory),
            Layer("hidden", (units,), self.hidden),
            Layer("answer", (classes,), answer),
        ]
        late = Delay("neuron", np.ones(units, dtype=np.int64))
        connections = [
            Connection(("input",), "memory", Dense(self.memory_from_input[:, None])),
            *(Connection(("memory",), "memory", Dense(p)) for p in parts(self.memory_from_memory, self.part_bits)),
            Connection(("input",), "hidden", Dense(self.hidden_from_input[:, None]), late),
            Connection(("memory",), "hidden", Dense(self.hidden_from_memory)),
            Connection(("hidden",), "hidden", Dense(self.hidden_from_hidden)),
            Connection(("hidden",), "answer", Dense(self.answer_from_hidden)),
        ]
        return Network(layers, connections, name)

    def run(self, values: NDArray[Any]) -> tuple[IntArray, IntArray, IntArray]:
        """Return the answers (sequences, classes) of sequences of integers (sequences, steps), in integers.

        Beside them stand the least and greatest n of each neuron, (2, order) and (2, units). Sums are taken in float64,
        which is exact as long as they stay below 2**53.
        """
        u = np.asarray(values, dtype=np.int64) - self.centre
        layers = [_Batch(unit, len(u), n) for unit, n in ((self.memory, len(self.memory_from_input)),
                                                          (self.hidden, len(self.hidden_from_input)))]  # fmt: skip
        memory, hidden = layers
        a, wh, wm, r = (
            w.T.astype(np.float64)
            for w in (
                self.memory_from_memory,
                self.hidden_from_hidden,
                self.hidden_from_memory,
                self.answer_from_hidden,
            )
        )
        total = np.zeros((len(u), len(self.answer_bias)))
        for t in range(u.shape[1]):
            now = u[:, t : t + 1]
            memory.step(memory.sent @ a + now * self.memory_from_input)
            hidden.step(now * self.hidden_from_input + hidden.sent @ wh + memory.sent @ wm)
            if t >= u.shape[1] - self.readout_steps:
                total += hidden.sent @ r + self.answer_bias
        return total.astype(np.int64), memory.range, hidden.range


_NO_FRAME = np.zeros(1, dtype=np.int64)


class _Batch:
    """One layer for many sequences at once."""

    def __init__(self, unit: Hybrid, count: int, size: int) -> None:
        self.unit = unit
        self.state = {name: np.tile(first, (count, 1)) for name, first in unit.initial_state(size).items()}
        self.sent = np.zeros((count, size))
        self.range = np.zeros((2, size), dtype=np.int64)

    def step(self, sums: NDArray[Any]) -> None:
        """Take up sums (sequences, neurons) and set what is sent."""
        unit, size = self.unit, self.range.shape[1]
        n = unit.step(self.state, sums.astype(np.int64), _NO_FRAME, (size,), unit.waits + 1)
        self.range[0] = np.minimum(self.range[0], n.min(axis=0))
        self.range[1] = np.maximum(self.range[1], n.max(axis=0))
        self.sent = n.astype(np.float64)


def parts(weights: IntArray, bits: int) -> list[IntArray]:
    """Return integers that add up to the weights, each of `bits` bits but for a power of two common to all.

    The first holds the upper bits and a sign, the others are not negative.
    """
    widest = max(int(weights.max(initial=0)).bit_length(), int(-weights.min(initial=0) - 1).bit_length()) + 1
    if widest <= bits:
        return [weights]
    low = widest - bits
    upper = weights >> low
    # A part without a sign is a bit narrower, so that chips which store one always can hold it.
    out = [upper << low]
    while low > 0:
        step = min(low, bits - 1)
        low -= step
        out.append(((weights >> low) & ((1 << step) - 1)) << low)
    return out


def convert_lmu(lmu: Lmu, options: LmuOptions) -> IntegerLmu:
    """Return a trained network in integers.

    A message n of the memory is worth n / omega_memory, of the hidden layer n / omega_hidden, of the input 1 / scale.
    Sums of the memory are in units of 2**-(e + k) / omega_memory, where A is an integer matrix times 2**-e, and k is as
    small as B's bits allow. Sums of the hidden layer are in units of a power of two. Biases are rounded to these units,
    the multiplier that turns the memory's sums into a state to 24 bits.

    Raises
    ------
    ModelError
        A network without quantisation, or values that need more bits than there are.
    """
    if lmu.omega_memory <= 0 or lmu.omega_hidden <= 0:
        raise ModelError("the network has no omegas, so its messages are no integers; convert one trained with them")
    a, exponent = rounded(lmu.memory_matrix, options.memory_bits)
    b = lmu.memory_input * lmu.omega_memory * 2.0**exponent / lmu.scale
    room = options.exponent_max - max(0, options.memory_bits - options.part_bits)
    extra = min(max(0, rounded(b, options.weight_bits)[1]), max(0, room))
    from_input, b_exponent = _fixed(b, options.weight_bits, extra)
    limits = lmu.memory_limits or (-WIDEST, WIDEST - 1)
    unit_per_one = 2.0 ** (exponent + extra) * lmu.omega_memory
    factor, shift = multiplier(2.0**options.memory_fraction / unit_per_one)
    memory = Hybrid(
        multiplier=factor, shift=shift, residual=residuals(lmu.start_memory, options.memory_fraction),
        **_omega(lmu.omega_memory), fraction=options.memory_fraction, lowest=limits[0], highest=limits[1], waits=1,
    )  # fmt: skip
    reals = (lmu.input / lmu.scale, lmu.state / lmu.omega_hidden, lmu.memory / lmu.omega_memory)
    finest = min((rounded(r, options.weight_bits)[1] for r in reals if r.any()), default=0) + options.exponent_max
    fixed = [_fixed(real, options.weight_bits, finest) for real in reals]
    common = max(e for _, e in fixed)
    hidden_weights = [w << (common - e) for w, e in fixed]
    factor, shift = multiplier(2.0 ** (options.index_fraction - common))
    hidden = Hybrid(
        multiplier=factor, shift=shift, bias=_whole(lmu.bias * 2.0**common, "biases of the hidden layer"),
        residual=residuals(lmu.start_hidden, options.hidden_fraction), function=lmu.activation,
        **_omega(lmu.omega_hidden), fraction=options.hidden_fraction, index_fraction=options.index_fraction, waits=2,
    )  # fmt: skip
    readout, e = rounded(lmu.readout / lmu.omega_hidden, options.weight_bits)
    return IntegerLmu(
        memory=memory, hidden=hidden, memory_from_input=from_input << (extra - b_exponent),
        memory_from_memory=a << extra,
        hidden_from_input=hidden_weights[0], hidden_from_hidden=hidden_weights[1], hidden_from_memory=hidden_weights[2],
        answer_from_hidden=readout, answer_bias=_whole(lmu.answer * 2.0**e, "biases of the answer"),
        part_bits=options.part_bits, readout_steps=lmu.readout_steps, centre=lmu.centre,
    )  # fmt: skip


def _fixed(values: NDArray[Any], bits: int, finest: int) -> tuple[IntArray, int]:
    """Return values rounded to `bits` bits and the exponent, as `rounded`, the exponent being `finest` at most."""
    integers, exponent = rounded(values, bits)
    if values.any() and exponent <= finest:
        return integers, exponent
    return np.rint(np.ldexp(values, finest)).astype(np.int64), finest


def _whole(values: NDArray[Any], what: str) -> IntArray:
    largest = float(np.abs(values).max(initial=0))
    if not largest < WIDEST - 1:
        raise ModelError(f"{what} reach {largest:.3g} units of a sum; they must fit 32 bits")
    whole: IntArray = np.rint(values).astype(np.int64)
    return whole


def _omega(value: float) -> dict[str, Any]:
    factor, shift = multiplier(value)
    if shift[0] > 31:
        raise ModelError(f"an omega of {value:.3g} is too small; choose 2**-8 or more")
    return {"omega": int(factor[0]), "omega_shift": int(shift[0])}
