"""Each unit's integer step against integers worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurosim.errors import ModelError
from neurosim.network import CubaLif, Delta, Relay, Rounding, Sigma, SigmaDelta, Unit
from neurosim.network.units import MAX_VOLTAGE, spread, unit_from_dict, wrap_signed


def drive(unit: Unit, activations: list[int], frames: list[int] | None = None) -> list[int]:
    """Messages of one neuron that is given these sums and frame values, a timestep each."""
    state = unit.initial_state(1)
    sent = []
    for t, (activation, frame) in enumerate(zip(activations, frames or [0] * len(activations), strict=True), 1):
        sent.append(int(unit.step(state, np.array([activation]), np.array([frame]), (1,), t)[0]))
    return sent


def test_delta_sends_the_change_from_what_it_last_sent() -> None:
    # Threshold 2 in frame units; 1 in a frame is 2**12 in the state and 2**6 in a message.
    unit = Delta(threshold=2 << 12)
    assert drive(unit, [0] * 6, [1, 2, 3, 1, -5, -5]) == [0, 2 * 64, 0, 0, -7 * 64, 0]


def test_delta_fires_at_the_threshold_itself() -> None:
    assert drive(Delta(threshold=4096), [4095, 4096], [0, 0]) == [0, 4096 >> 6]


def test_sigma_sends_its_sum_every_timestep() -> None:
    assert drive(Sigma(), [5, 0, -7]) == [5, 5, -2]


def test_relay_sends_its_frame() -> None:
    assert drive(Relay(), [0, 0, 0], [3, 0, -1]) == [3, 0, -1]


def test_sigma_delta_default_loses_what_it_shifts_out() -> None:
    # Changes of 100, 100, -70: 100 >> 6 = 1 twice, -70 >> 6 = -2, since >> rounds down.
    assert drive(SigmaDelta(threshold=64), [100, 100, -70]) == [1, 1, -2]


def test_sigma_delta_corrected_keeps_what_it_shifts_out() -> None:
    # Sent 64 of 100, so the next change is 136; then 130 - 192 = -62 stays under the threshold.
    assert drive(SigmaDelta(threshold=64, rounding="corrected"), [100, 100, -70]) == [1, 2, 0]


def test_sigma_delta_sends_its_bias_and_never_falls_below_zero() -> None:
    unit = SigmaDelta(threshold=1, bias=np.array([2]), bias_shift=12)
    assert drive(unit, [0, -(3 << 12), 1 << 12]) == [2 << 6, -(2 << 6), 0]


def test_sigma_delta_sends_again_under_cumulated_error() -> None:
    # The change of 40 alone never reaches 100; its sum over timesteps does in the third.
    plain, summed = SigmaDelta(threshold=100), SigmaDelta(threshold=100, cum_error=True)
    assert drive(plain, [40, 0, 0, 0]) == [0, 0, 0, 0]
    assert drive(summed, [40, 0, 0, 0, 64, 0]) == [0, 0, 40 >> 6, 0, 0, 104 - 40 >> 6]


@given(
    st.lists(st.integers(-(1 << 20), 1 << 20), min_size=1, max_size=30),
    st.integers(0, 1 << 16),
    st.integers(-100, 100),
)
def test_corrected_rounding_never_drifts(activations: list[int], threshold: int, bias: int) -> None:
    """What was sent adds up to the activation, to within the threshold and the bits of one message."""
    sent = drive(SigmaDelta(threshold, np.array([bias]), rounding="corrected"), activations)
    sums = np.maximum(np.cumsum(activations) + (bias << 12), 0)
    left = sums - (np.cumsum(sent) << 6)
    assert (np.abs(left) < max(threshold, 64)).all()


def test_cuba_current_and_voltage_by_hand() -> None:
    # Current keeps 2048/4096, voltage 1024/4096 a timestep: u 640, 320, 160; v 640, 480, 280.
    unit = CubaLif(current_decay=2048, voltage_decay=3072, threshold=1000)
    state = unit.initial_state(1)
    seen = []
    for t, activation in enumerate([10, 0, 0], 1):
        unit.step(state, np.array([activation]), np.array([0]), (1,), t)
        seen.append((int(state["current"][0]), int(state["voltage"][0])))
    assert seen == [(640, 640), (320, 160 + 320), (160, 120 + 160)]


def test_cuba_decay_rounds_towards_zero_on_both_sides() -> None:
    unit = CubaLif(current_decay=2048, voltage_decay=4096, threshold=1 << 20, activation_shift=0)
    for first, after in ((3, 1), (-3, -1)):
        state = unit.initial_state(1)
        for t, activation in enumerate([first, 0], 1):
            unit.step(state, np.array([activation]), np.array([0]), (1,), t)
        assert state["current"][0] == after


def test_cuba_spikes_strictly_above_its_threshold_and_starts_again() -> None:
    at, above = (CubaLif(4096, 0, threshold, bias=np.array([1])) for threshold in (128, 127))
    # The bias adds 64 a timestep.
    assert drive(at, [0] * 6) == [0, 0, 1, 0, 0, 1]
    assert drive(above, [0] * 6) == [0, 1, 0, 1, 0, 1]


def test_cuba_takes_frames_as_bias() -> None:
    unit = CubaLif(4096, 0, threshold=100)
    assert drive(unit, [0, 0, 0], [1, 1, 0]) == [0, 1, 0]


def test_cuba_voltage_is_clipped_and_current_wraps() -> None:
    unit = CubaLif(0, 0, threshold=MAX_VOLTAGE, activation_shift=0)
    state = unit.initial_state(2)
    half = 1 << 22
    for t in (1, 2):
        unit.step(state, np.array([half, -half]), np.zeros(2, dtype=np.int64), (2,), t)
    # 2**23 does not fit 24 signed bits: it wraps to -2**23, as does -2**23 - 0 stay.
    assert state["current"].tolist() == [-(1 << 23), -(1 << 23)]
    assert state["voltage"].tolist() == [half - (1 << 23), -MAX_VOLTAGE]


def test_cuba_clears_its_state_before_the_timestep_of_its_phase() -> None:
    unit = CubaLif(4096, 0, threshold=1 << 20, bias=np.array([1]), reset_interval=4, reset_phase=2)
    state = unit.initial_state(1)
    seen = []
    for t in range(1, 8):
        unit.step(state, np.array([0]), np.array([0]), (1,), t)
        seen.append(int(state["voltage"][0]) // 64)
    assert seen == [1, 1, 2, 3, 4, 1, 2]


@pytest.mark.parametrize(
    ("value", "bits", "wrapped"), [(7, 4, 7), (8, 4, -8), (-9, 4, 7), (1 << 23, 24, -(1 << 23)), (16, 4, 0)]
)
def test_wrap_signed(value: int, bits: int, wrapped: int) -> None:
    assert wrap_signed(np.array([value]), bits).tolist() == [wrapped]


def test_spread_takes_one_value_per_layer_channel_or_neuron() -> None:
    assert spread(np.array([5]), (2, 1, 2)).tolist() == [5, 5, 5, 5]
    assert spread(np.array([5, 6]), (2, 1, 2)).tolist() == [5, 5, 6, 6]
    assert spread(np.array([1, 2, 3, 4]), (2, 1, 2)).tolist() == [1, 2, 3, 4]
    with pytest.raises(ModelError, match=r"3 values for a layer of shape \(2, 1, 2\); give 1, 2 or 4"):
        spread(np.array([1, 2, 3]), (2, 1, 2))


UNITS = [
    Relay(),
    Delta(4096),
    Sigma(),
    SigmaDelta(64, np.array([1, -2]), "corrected", True),
    CubaLif(100, 200, 300, np.array([4]), 16, 3),
]


@pytest.mark.parametrize("unit", UNITS, ids=lambda u: u.kind)
def test_unit_described_and_rebuilt(unit: Unit) -> None:
    assert unit_from_dict(unit.to_dict()) == unit
    assert sum(unit == other for other in UNITS) == 1


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SigmaDelta(1, rounding="corected"), 'did you mean "corrected"'),
        (lambda: CubaLif(5000, 0, 1), "current_decay is 5000"),
        (lambda: CubaLif(0, -1, 1), "voltage_decay is -1"),
        (lambda: CubaLif(0, 0, 1, reset_interval=4, reset_phase=4), "phase 4"),
        (lambda: unit_from_dict({"kind": "sigma_dleta"}), 'did you mean "sigma_delta"'),
        (lambda: unit_from_dict({"kind": "delta", "treshold": 1}), "treshold"),
    ],
)
def test_wrong_units_are_refused(make: Any, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        make()


def test_rounding_sends_its_product_in_every_timestep() -> None:
    # (x * 168 + 2**15) >> 16, as the integer reference network has it: 196 is the first that rounds up to 1.
    unit = Rounding(168, 16, accumulates=False, changes=False)
    assert drive(unit, [195, 196, -400, 0, 40000]) == [0, 1, 0, 0, 103]


def test_sigma_delta_rounding_sends_the_change_of_what_rounding_would_send() -> None:
    # Sums 195, 196, -204, 39796: rounded 0, 1, 0, 102.
    assert drive(Rounding(168, 16), [195, 1, -400, 40000]) == [0, 1, -1, 102]


@pytest.mark.parametrize(
    ("rounding", "expected"),
    [
        ("half_up", [-1, -1, 0, 0, 1, 1, 2]),
        ("half_even", [-2, -1, 0, 0, 0, 1, 2]),
        ("floor", [-2, -1, -1, 0, 0, 1, 1]),
    ],
)
def test_rounding_of_halves(rounding: str, expected: list[int]) -> None:
    # Halves of -3, -2, -1, 0, 1, 2, 3: every other one lies between two integers.
    unit = Rounding(1, 1, rounding=rounding, lowest=-9, accumulates=False, changes=False)
    assert drive(unit, [-3, -2, -1, 0, 1, 2, 3]) == expected


def test_rounding_saturates_and_waits_for_its_threshold() -> None:
    assert drive(Rounding(1, 0, highest=127), [200, -90, 5]) == [127, -17, 5]
    # Held 0, 0, 4, 4: changes of less than 3 are kept back, not lost.
    assert drive(Rounding(1, 0, threshold=3), [2, 2, 1, 1]) == [0, 4, 0, 0]
    assert drive(Rounding(1, 0, threshold=3), [2, 0, 1, 1]) == [0, 0, 3, 0]


def test_rounding_adds_its_bias_from_the_timestep_told() -> None:
    unit = Rounding(1, 0, np.array([5]), bias_from=3)
    assert drive(unit, [0, 0, 1, 0]) == [0, 0, 6, 0]


def test_rounding_takes_frames_as_they_are() -> None:
    # (pixel * 4 + 128) >> 8.
    unit = Rounding(4, 8, changes=False)
    assert drive(unit, [0] * 5, [0, 31, 32, 255, 96]) == [0, 0, 1, 4, 2]


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"rounding": "half_evne"}, 'did you mean "half_even"'),
        ({"multiplier": -1}, "multipliers reach from -1 to -1"),
        ({"multiplier": 1 << 31}, "choose a smaller shift"),
        ({"shift": 63}, "shifts reach from 63 to 63 bits"),
        ({"lowest": 3, "highest": 2}, "lowest 3 and highest 2"),
        ({"highest": 1 << 31}, "they must rise and lie in"),
        ({"threshold": 0}, "threshold is 0"),
        ({"bias_from": 0}, "bias_from is 0"),
    ],
)
def test_rounding_refuses_what_it_cannot_hold(parameters: dict[str, Any], words: str) -> None:
    with pytest.raises(ModelError) as caught:
        Rounding(**{"multiplier": 1, "shift": 0, **parameters})
    assert words in str(caught.value)
