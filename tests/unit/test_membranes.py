"""Membranes against integers worked out by hand, closed forms, and the bounds of their parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hwmodels import load_chip
from neurosim.compiler import compile_network, read_program, write_program
from neurosim.compiler.memory import state_bits
from neurosim.errors import ModelError
from neurosim.network import (
    Connection,
    CurrentLeaky,
    CurrentLif,
    Dense,
    Layer,
    Leaky,
    Lif,
    Network,
    Relay,
    Unit,
)
from neurosim.network.units import unit_from_dict


def one(value: int) -> Any:
    return np.array([value])


def drive(unit: Unit, activations: list[int]) -> list[int]:
    """Messages of one neuron that is given these sums, a timestep each."""
    state = unit.initial_state(1)
    zeros = np.zeros(1, dtype=np.int64)
    return [int(unit.step(state, np.array([a]), zeros, (1,), t)[0]) for t, a in enumerate(activations, 1)]


def test_a_lif_spikes_strictly_above_its_threshold_and_is_set_to_its_reset() -> None:
    # v: 8; 8 >> 1 + 7 = 11 > 10, reset to 6; 6 >> 1 + 7 = 10, no spike; 10 >> 1 + 6 = 11, spike.
    unit = Lif(voltage_keep=one(8), threshold=one(10), reset=one(6), decay_bits=4)
    assert drive(unit, [8, 7, 7, 6]) == [0, 1, 0, 1]


def test_a_subtracting_lif_keeps_what_lies_over_its_threshold() -> None:
    # Nothing leaks, 7 arrive in each timestep: as many spikes as 10 goes into what has come, less what stays at 10.
    unit = Lif(voltage_keep=one(1 << 12), threshold=one(10), subtract=True)
    sent = drive(unit, [7] * 50)
    assert sum(sent) == (7 * 50 - 1) // 10


def test_decay_rounds_towards_zero_on_both_sides() -> None:
    unit = Leaky(voltage_keep=one(3), decay_bits=2)
    assert drive(unit, [7, 0, 0, 0, 0, 0]) == [7, 5, 3, 2, 1, 0]
    assert drive(unit, [-7, 0, 0, 0, 0, 0]) == [-7, -5, -3, -2, -1, 0]


def test_a_leaky_follows_its_closed_form() -> None:
    # v after t steps of a constant drive x: x * (1 - k**t) / (1 - k); each step rounds off less than 1.
    kept, x = 3900, 50_000
    k = kept / 4096
    found = drive(Leaky(voltage_keep=one(kept)), [x] * 200)
    expected = [x * (1 - k**t) / (1 - k) for t in range(1, 201)]
    assert all(-1 / (1 - k) < f - e <= 1e-6 for f, e in zip(found, expected, strict=True))


@pytest.mark.parametrize(("old", "expected"), [(False, [16, 24, 28]), (True, [0, 16, 24])])
def test_the_voltage_takes_the_new_or_the_old_current(old: bool, expected: list[int]) -> None:
    # i: 16, 8, 4; v adds it up, at once or a timestep later.
    unit = CurrentLeaky(voltage_keep=one(16), current_keep=one(8), decay_bits=4, old_current=old)
    assert drive(unit, [16, 0, 0]) == expected


def test_a_threshold_without_memory() -> None:
    unit = Lif(voltage_keep=one(0), threshold=one(5))
    assert drive(unit, [6, 5, 6, -9]) == [1, 0, 1, 0]


def test_states_are_clipped_and_messages_shifted_down() -> None:
    unit = Leaky(voltage_keep=one(16), decay_bits=4, state_bits=8, message_shift=3)
    state = unit.initial_state(1)
    zeros = np.zeros(1, dtype=np.int64)
    for activation, expected in ((100, 100), (100, 127), (-300, -127)):
        message = unit.step(state, np.array([activation]), zeros, (1,), 1)
        assert state["voltage"][0] == expected
        assert message[0] == math.floor(expected / 8)


def test_a_unit_stands_still_through_its_start_and_clears_its_state() -> None:
    unit = Leaky(voltage_keep=one(4096), bias=one(5), start=2, reset_interval=3, reset_phase=2)
    # Nothing in timesteps 1 and 2; cleared before 5 and 8.
    assert drive(unit, [0] * 8) == [0, 0, 5, 10, 5, 10, 15, 5]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"voltage_keep": one(5000)}, "voltage_keep reaches 5000..5000; it must lie in 0..4096"),
        ({"voltage_keep": one(-1)}, "voltage_keep reaches -1..-1"),
        ({"decay_bits": 21}, "decay_bits is 21; it must lie in 1..20"),
        ({"state_bits": 41}, "state_bits is 41"),
        ({"bias": one(1 << 23)}, "bias reaches 8388608..8388608; it must lie in -8388607..8388607"),
        ({"start": -1}, "start is -1"),
        ({"reset_interval": 2, "reset_phase": 2}, "the phase less than the interval"),
    ],
)
def test_parameters_out_of_bounds_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        Leaky(**{"voltage_keep": one(0), **values})


def test_a_state_takes_the_bits_that_its_unit_says() -> None:
    chip = load_chip("loihi2")
    for bits in (16, 24, 40):
        kept = {"voltage_keep": one(1), "state_bits": bits}
        assert state_bits(Layer("a", (1,), Leaky(**kept)), chip) == bits
        assert state_bits(Layer("a", (1,), CurrentLeaky(**kept, current_keep=one(1))), chip) == 2 * bits
    assert state_bits(Layer("a", (1,), Leaky(voltage_keep=one(1))), load_chip("loihi")) == 192  # Fixed there.


def test_every_membrane_survives_its_dictionary_and_a_program_file(tmp_path: Any) -> None:
    units = [
        Lif(voltage_keep=one(4000), threshold=np.array([5, 6]), reset=one(-3), subtract=True, start=1),
        CurrentLif(voltage_keep=one(1), current_keep=np.array([2, 3]), threshold=one(4), old_current=True),
        Leaky(voltage_keep=one(4096), message_shift=4, state_bits=32, decay_bits=13),
        CurrentLeaky(voltage_keep=one(4), current_keep=one(9), current_bias=np.array([-1, 1])),
    ]
    layers = [Layer("in", (2,), Relay()), *(Layer(f"l{i}", (2,), unit) for i, unit in enumerate(units))]
    connections = [Connection(("in",), f"l{i}", Dense(np.array([[1, 2], [3, 4]]))) for i in range(len(units))]
    network = Network(layers, connections, "membranes")
    for unit in units:
        assert unit_from_dict(unit.to_dict()) == unit
    write_program(compile_network(network, load_chip("loihi2")), tmp_path / "m.h5")
    assert read_program(tmp_path / "m.h5").network == network
