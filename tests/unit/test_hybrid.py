"""The hybrid-spiking unit against integers worked out by hand, and its refusals."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from hwmodels import load_chip
from neurosim.compiler.memory import state_bits
from neurosim.errors import ModelError
from neurosim.network import Hybrid, Layer
from neurosim.network.units import unit_from_dict


def drive(unit: Hybrid, activations: list[int]) -> list[int]:
    """Messages of one neuron that is given these sums, a timestep each."""
    state = unit.initial_state(1)
    none = np.zeros(1, dtype=np.int64)
    return [int(unit.step(state, np.array([a]), none, (1,), t)[0]) for t, a in enumerate(activations, 1)]


def unit(**values: Any) -> Hybrid:
    given: dict[str, Any] = {"multiplier": 1, "shift": 0, "fraction": 4}
    return Hybrid(**(given | values))


def test_fractions_add_up_to_messages() -> None:
    # In sixteenths: 5, 10, 15, 20 - 16 = 4, then -3 floors to -1 and leaves 13, then 13 + 70 = 83 = 5 * 16 + 3.
    assert drive(unit(), [5, 5, 5, 5, -7, 70]) == [0, 0, 0, 1, -1, 5]


def test_a_residual_brings_the_first_message_forward() -> None:
    assert drive(unit(residual=12), [5, 5, 5]) == [1, 0, 0]


def test_omega_is_the_number_of_messages_for_a_value_of_one() -> None:
    # 16 is 1: omega of 3 sends 3 a step, of 3/4 three in four steps.
    assert drive(unit(omega=3), [16] * 4) == [3] * 4
    assert drive(unit(omega=3, omega_shift=2), [16] * 4) == [0, 1, 1, 1]


def test_relu_takes_nothing_from_the_residual() -> None:
    assert drive(unit(function="relu"), [20, -100, 12]) == [1, 0, 1]


def test_limits_keep_the_rest_for_later() -> None:
    assert drive(unit(highest=2), [80, 0, 0, 0]) == [2, 2, 1, 0]
    assert drive(unit(lowest=-2), [-80, 0, 0, 0]) == [-2, -2, -1, 0]


def test_a_state_that_is_full_loses_what_is_more() -> None:
    # 8 bits hold 127 of the 160; two messages take 32 of them.
    assert drive(unit(highest=2, state_bits=8), [160, 0, 0, 0, 0]) == [2, 2, 2, 1, 0]


def test_it_stands_still_while_it_waits() -> None:
    assert drive(unit(waits=2, bias=16), [0, 99, 0]) == [0, 0, 1]


def test_a_reset_brings_the_first_residual_back() -> None:
    # In sixteenths: 12 + 5 = 16 + 1, 1 + 5; then from 12 again, whatever was left: 12 + 3, 15 + 5 = 16 + 4.
    assert drive(unit(residual=12, reset_interval=2, reset_phase=1), [5, 5, 3, 5]) == [1, 0, 0, 1]
    assert drive(unit(residual=12), [5, 5, 3, 5]) == [1, 0, 0, 0]
    assert drive(unit(residual=12, reset_interval=2, reset_phase=1), [5, 5, 5, 5]) == [1, 0, 1, 0]
    assert drive(unit(residual=12), [5, 5, 5, 5]) == [1, 0, 0, 1]
    # A unit that waits is not reset before it begins.
    assert drive(unit(residual=12, waits=1, reset_interval=3, reset_phase=0), [9, 2, 5, 2]) == [0, 0, 1, 0]


def test_a_reset_that_is_none_takes_no_place_in_files() -> None:
    assert "reset_interval" not in unit().to_dict()
    there = unit(reset_interval=4, reset_phase=3)
    assert there.to_dict()["reset_phase"] == 3
    assert unit_from_dict(there.to_dict()) == there != unit()


@pytest.mark.parametrize(
    ("function", "true"), [("tanh", math.tanh), ("sigmoid", lambda x: 1 / (1 + math.exp(-x)))]
)  # fmt: skip
@pytest.mark.parametrize("x", [-9.0, -1.5, -0.25, 0.0, 0.5, 2.0, 9.0])
def test_messages_add_up_to_the_function(function: str, true: Any, x: float) -> None:
    # The input in 1/64; 4,096 steps of omega 1 send 4,096 f, f being rounded to 1/4,096 (so within half a message).
    curve = unit(function=function, fraction=12, index_fraction=6)
    assert sum(drive(curve, [int(x * 64)] * 4096)) == round(4096 * true(x))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"function": "tan"}, 'did you mean "tanh"'),
        ({"omega": 0}, "omega reaches 0..0; it must lie in 1.."),
        ({"fraction": 31}, "1..30"),
        ({"function": "tanh", "fraction": 17}, "fraction 17 .* with function tanh; .* give 16 or less for both"),
        ({"function": "sigmoid", "index_fraction": 30}, "index_fraction 30 with function sigmoid"),
        ({"shift": 63}, "0..62"),
        ({"multiplier": -1}, "multiplier reaches -1..-1"),
        ({"lowest": 3, "highest": 2}, "they must rise"),
        ({"reset_interval": 4, "reset_phase": 4}, "reset_interval 4 with phase 4; the phase must be less"),
        ({"reset_phase": 1}, "reset_interval 0 with phase 1"),
        ({"reset_interval": -1}, "reset_interval reaches -1..-1"),
        ({"fraction": 7, "state_bits": 8}, "state_bits is 8; v must hold a 1, .* give 9 or more .* at most 6"),
        ({"residual": 200, "state_bits": 8}, "holds \\+-127"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        unit(**values)


def test_residuals_fit_the_layer() -> None:
    with pytest.raises(ModelError, match="3 residuals for 2 neurons"):
        unit(residual=[1, 2, 3]).initial_state(2)


def test_it_comes_back_from_plain_values() -> None:
    there = unit(residual=[3, 4], function="tanh", omega=7)
    assert unit_from_dict(there.to_dict()) == there


def test_its_state_takes_the_bits_that_it_has() -> None:
    free = load_chip("spinnaker2")
    assert free.core.neuron.state is None
    assert state_bits(Layer("few", (3,), unit(state_bits=17)), free) == 17
