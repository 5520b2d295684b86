"""Powers that flow for a time, what idle, active and dynamic mean, and constants that nobody published."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import neurosim
from hwmodels import Chip, load_chip
from neurosim.costs import Result
from neurosim.engine import CoreCount
from neurosim.engine.exercise import exercise_chips
from neurosim.errors import ChipError
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.report import summarise
from neurosim.report.layout import scaled
from neurosim.report.terminal import print_report

TEST = {"kind": "estimate", "source": "this test", "note": "chosen here"}
GAP = {"kind": "gap", "source": "none published", "note": "chosen here"}


def net() -> Network:
    layers = [Layer("in", (4,), Relay(spikes=True)), Layer("out", (6,), CubaLif(0, 4096, 3 << 6))]
    return Network(layers, [Connection(("in",), "out", Dense(np.full((6, 4), 2)))], "net")


def processors(**power: Any) -> Chip:
    """Processors with timers of 40 us, beside a static power of 0.232 W."""
    plain = exercise_chips()[1].to_dict()
    plain["power"] |= power
    return Chip.from_dict(plain)


def run(chip: Chip) -> Result:
    return neurosim.simulate(neurosim.compile(net(), chip), np.ones((6, 4), dtype=np.int64))


POWERS = {
    "host": {"value": "60 mW", "low": "50 mW", "high": "70 mW", **TEST},
    "powered_core": {"value": "2 mW", "high": "3 mW", **TEST},
    "active_core": {"value": "30 mW", "low": "20 mW", "high": "40 mW", **TEST},
}


def test_each_power_is_its_own_term_by_hand() -> None:
    result = run(processors(**POWERS))
    energy = result.energy_run
    seconds = result.timesteps * 40e-6  # timers do not wait
    assert result.program.cores == 2
    powers = {power.key: power.energy_j for power in energy.powers}
    assert list(powers) == ["power.powered_core", "power.host", "power.static"]
    by_hand = {"power.powered_core": (4e-3, 4e-3, 6e-3), "power.host": (60e-3, 50e-3, 70e-3)}
    for key, (value, low, high) in by_hand.items():
        held = powers[key]
        assert (held.value, held.low, held.high) == pytest.approx(
            (value * seconds, low * seconds, high * seconds), rel=1e-12
        )
    assert energy.static_j.value == pytest.approx(0.232 * seconds, rel=1e-12)
    busy_ps = result.counts.core_counts[
        :, [CoreCount.SWEEP_PS, CoreCount.AXON_IN_PS, CoreCount.SET_UP_PS, CoreCount.ACCUMULATE_PS]
    ]
    assert busy_ps.all(axis=0).any()
    active = energy.terms[-1]
    assert active.key == "power.active_core"
    assert active.energy_j.value == pytest.approx(30e-3 * busy_ps.sum() * 1e-12, rel=1e-12)
    assert active.layer_energy_j == pytest.approx(30e-3 * busy_ps.sum(axis=1) * 1e-12, rel=1e-12)
    without = run(processors()).energy_run
    assert energy.dynamic_j.value - active.energy_j.value == pytest.approx(without.dynamic_j.value, rel=1e-12)


def test_active_work_chooses_what_counts() -> None:
    """8 timesteps of 4 messages, the last two with the held frame; an interrupt and a set-up of 200 ns each."""
    result = run(processors(active_core=POWERS["active_core"], active_work=["interrupt", "set_up"]))
    by_hand_s = 8 * 4 * (200e-9 + 200e-9)
    assert result.energy_run.terms[-1].counts.sum() == pytest.approx(by_hand_s, rel=1e-12)
    inference = result.energy_inference
    assert inference is not None
    assert inference.terms[-1].counts.sum() == pytest.approx(by_hand_s / 8, rel=1e-12)


def test_idle_active_and_dynamic_are_neurobench_s() -> None:
    result = run(processors(**POWERS))
    powers = summarise(result)["power_w"]
    idle = 0.232 + 60e-3 + 2 * 2e-3
    assert powers["idle"]["value"] == pytest.approx(idle, rel=1e-12)
    assert powers["active"]["value"] - powers["idle"]["value"] == pytest.approx(powers["dynamic"]["value"], rel=1e-9)
    assert powers["dynamic"]["value"] > 0
    inference = result.energy_inference
    assert inference is not None
    assert powers["active"]["value"] * 40e-6 == pytest.approx(inference.total_j.value, rel=1e-12)


def test_words_say_what_is_in_and_what_has_no_term() -> None:
    said = summarise(run(processors(**POWERS, active_work=["row", "interrupt"])))["included"]
    assert said["idle"] == "static power of 1 chip; 2 powered cores; awake host processors"
    assert said["dynamic"].endswith("; power of cores while they take packets and work on rows")
    assert said["left_out"] == ""
    assert summarise(run(processors()))["included"]["left_out"] == (
        "no term of its own for powered cores, awake host processors and active cores"
    )


def test_seconds_of_power_terms_times_the_power_are_the_energy() -> None:
    summary = summarise(run(processors(**POWERS)))
    for term in summary["energy_terms"]:
        if term["key"].startswith("power."):
            key = term["key"].removeprefix("power.")
            watts = 0.232 if key == "static" else {"host": 60e-3, "powered_core": 2e-3, "active_core": 30e-3}[key]
            assert term["events_run"] is None
            assert term["energy_run_j"] == pytest.approx(watts * term["seconds_run"], rel=1e-12)
            assert term["energy_j"] == pytest.approx(watts * term["seconds_per_inference"], rel=1e-12)
        else:
            assert term["seconds_run"] is None


def gaps() -> Chip:
    plain = load_chip("loihi").to_dict()
    plain["network"]["energy_local"] = {"value": "2 pJ", "low": "0 pJ", "high": "9 pJ", **GAP}
    plain["network"]["latency_east_west"] = {"value": "4 ns", "low": "1 ns", "high": "9 ns", **GAP}
    for stage in ("send_energy", "update_active_energy"):
        plain["core"]["neuron"][stage] = {"value": "50 pJ", "kind": "measured", "source": "this test"}
    plain["core"]["axon_out"]["energy"] = {"value": "50 pJ", "kind": "measured", "source": "this test"}
    return Chip.from_dict(plain)


def test_a_gap_is_said_and_has_a_share_of_its_own() -> None:
    """4 messages an inference to one core, of 2 (0 to 9) pJ each."""
    result = run(gaps())
    summary = summarise(result)
    term = next(term for term in summary["energy_terms"] if term["key"] == "network.energy_local")
    assert term["kind"] == "gap"
    assert (term["energy_j"], term["low"], term["high"]) == pytest.approx((8e-12, 0.0, 36e-12))
    inference = result.energy_inference
    assert inference is not None
    assert summary["provenance"]["gap"] == pytest.approx(8e-12 / inference.total_j.value, rel=1e-9)
    assert (
        "network energy: no published constant, interval from estimate: 8.000 pJ, 0.000 J to 36.00 pJ per inference "
        "(network.energy_local)" in summary["notes"]
    )
    assert any("times without a published constant" in note and "network (1)" in note for note in summary["notes"])
    console = Console(width=100, record=True, file=io.StringIO())
    print_report(summary, console)
    text = " ".join(console.export_text().split())
    assert "network energy: no published constant, interval from estimate" in text
    assert "% not published (gap)" in text


def test_a_published_zero_is_no_gap() -> None:
    notes = summarise(run(load_chip("loihi_board")))["notes"]
    assert not any("axon-in" in note for note in notes)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (
            {"value": "0 pJ", "low": "0 pJ", "high": "9 pJ"},
            "a gap with the value zero, which would read",
        ),
        ({"value": "2 pJ"}, "a gap without an interval; give low and high"),
        ({"value": "2 pJ", "low": "1 pJ"}, "a gap without an interval; give low and high"),
        ({"value": "2 pJ", "low": "2 pJ", "high": "2 pJ"}, "a gap without an interval"),
        ({"value": "2 pJ", "low": "0 pJ", "high": "9 pJ", "note": ""}, "a gap without a note; give the reasoning"),
    ],
)
def test_what_a_gap_must_have(change: dict[str, str], complaint: str) -> None:
    plain = load_chip("loihi").to_dict()
    plain["network"]["energy_local"] = GAP | change
    with pytest.raises(ChipError, match=complaint):
        Chip.from_dict(plain)


def test_a_capacity_is_no_gap() -> None:
    plain = load_chip("loihi").to_dict()
    plain["core"]["neurons"] = {"value": 1024, "low": 1, "high": 2048, **GAP}
    with pytest.raises(ChipError, match="a count cannot be of kind gap, which is for energies, times and powers"):
        Chip.from_dict(plain)


@pytest.mark.parametrize(
    ("power", "complaint"),
    [
        ({"host": {"value": "-1 W", **TEST}}, "is negative"),
        ({"host": {"value": "1 pJ", **TEST}}, "is not a power"),
        ({"active_work": ["row"]}, "active_work says when active_core flows; give active_core too"),
        ({"active_core": POWERS["active_core"], "active_work": ["row", "row"]}, "each once"),
        ({"active_core": POWERS["active_core"], "active_work": []}, "one kind of work or more"),
        ({"active_core": POWERS["active_core"], "active_work": ["rows"]}, "is not one of"),
    ],
)
def test_wrong_powers(power: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ChipError, match=complaint):
        processors(**power)


def test_only_processors_have_an_active_power() -> None:
    plain = load_chip("loihi").to_dict()
    plain["power"]["active_core"] = POWERS["active_core"]
    with pytest.raises(ChipError, match=r'power.active_core needs core.kind "processor"'):
        Chip.from_dict(plain)


def test_a_small_number_is_not_shown_as_none() -> None:
    assert scaled([1.0, 4e-4, 6e-4, 0.0, None], "J") == (["1.000", "<0.001", "0.001", "0.000", None], "J")
