"""Published measurements that need no reference network: the targets that are met, and the sums that must hold."""

from __future__ import annotations

import numpy as np
import pytest

from neurosim.engine import LayerCount
from neurosim.silicon import Row, loihi_micro, odin_rates, run_case, seneca_instructions
from neurosim.silicon import v6_spinnaker_kmeans as v6
from neurosim.silicon import v6b_spinnaker_dbn as v6b
from neurosim.silicon import v8_truenorth as v8
from neurosim.silicon.case import NONE, TEST, Case


def rows_of(case: Case) -> list[Row]:
    return list(run_case(case, None).rows)


@pytest.mark.parametrize("templates", [1, 10, 50, 100])
def test_spinnaker_meets_the_power_of_the_networks_on_one_chip(templates: int) -> None:
    result = v6.run_network(templates, v6.SCRIPT_NEURONS)
    events, watts = v6.PUBLISHED[templates]
    assert v6.mean_power(result).value == pytest.approx(watts, rel=0.10)
    assert result.incidents.sentences == ()
    # Every spike meets an excitatory and an inhibitory synapse of every decision neuron.
    sent = int(result.layer_total(LayerCount.MESSAGES)[0])
    assert int(result.layer_total(LayerCount.SYNOPS)[0]) == sent * 20 * templates
    # Poisson: 5,000 spikes are known to 1.4 %.
    assert sent * 20 * templates / 1.2 == pytest.approx(events, rel=0.05)
    # One packet a spike, copied to every core of the decisions.
    copies = int(result.layer_total(LayerCount.COPIES)[0])
    assert int(result.layer_total(LayerCount.PACKETS)[0]) == sent
    assert copies == sent * -(-10 * templates // v6.SCRIPT_NEURONS)


def test_spinnaker_power_is_the_sum_that_is_done_by_hand() -> None:
    """Idle chip, neurons by the millisecond, events; what is left is packets and interrupts, well below a milliwatt."""
    result = v6.run_network(10, v6.SCRIPT_NEURONS)
    events = float(result.layer_total(LayerCount.SYNOPS)[0]) / 1.2
    by_hand = 0.35 + 884 * 26e-9 * 1000 + events * 8e-9
    assert 0 < v6.mean_power(result).value - by_hand < 5e-4


def test_chips_follow_from_the_mapping() -> None:
    assert [v6.chips_used(k, 127) for k in (1, 50, 100, 1000)] == [(9, 1), (12, 1), (16, 1), (87, 6)]


@pytest.mark.slow
def test_the_largest_network_misses_as_the_page_says() -> None:
    rows = {row.quantity: row for row in rows_of(v6.CASE)}
    missed = [row for row in rows.values() if row.missed]
    assert len(missed) == 3
    assert all("K = 1000" in row.quantity and row.note for row in missed)


def test_deep_belief_network_misses_by_the_idle_chip() -> None:
    power, events = rows_of(v6b.CASE)
    assert power.missed
    assert power.predicted.value - 0.35 == pytest.approx(1010 * 26e-6 + events.predicted.value * 8e-3, abs=5e-4)


@pytest.mark.parametrize("name", list(v8.EEDN))
def test_truenorth_meets_all_four_networks(name: str) -> None:
    row = v8.eedn_row(name, full=False)
    fixed = name in v8.FIXED_CONSTANTS
    assert row.evidence == (NONE if fixed else TEST)
    assert row.predicted.value == pytest.approx(row.published, rel=0.01 if fixed else 0.20)


@pytest.mark.slow
def test_a_corner_of_the_chip_stands_for_all_cores() -> None:
    """But for hops, which the placement of more cores may make longer."""
    full, corner = v8.eedn_row("VAD", full=True), v8.eedn_row("VAD", full=False)
    assert full.predicted.value == pytest.approx(corner.predicted.value, rel=1e-3)


def test_truenorth_corners_add_up() -> None:
    for row in rows_of(v8.CORNERS_CASE):
        assert row.evidence == NONE
        assert row.predicted.value == pytest.approx(row.published, rel=0.01), row.quantity


def test_cores_of_the_ring_do_exactly_what_is_asked_of_them() -> None:
    """A tenth of 256 lines in each tick, each of which meets 128 synapses: 3276.8 events a core and tick."""
    activity = v8.EEDN_ACTIVITY
    result = v8.run_ring("truenorth_1v0", 10**9, activity)
    per_core_tick = v8.CORES * activity.ticks
    assert int(result.layer_total(LayerCount.SYNOPS_NONZERO).sum()) * 10 == per_core_tick * 256 * 128
    updates = [LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE]
    assert sum(int(result.layer_total(count).sum()) for count in updates) == 256 * per_core_tick
    assert set(np.unique(result.counts.duration_ps)) == {10**9}


@pytest.mark.parametrize(("rate", "synapses"), [(20, 128), (200, 256)])
def test_neurons_of_the_corners_spike_at_the_given_rate(rate: int, synapses: int) -> None:
    activity = v8.Activity(1000 // rate, synapses)
    result = v8.run_ring("truenorth", 10**9, activity)
    sent = int(result.layer_total(LayerCount.MESSAGES).sum())
    assert sent * 1000 == v8.CORES * 256 * activity.ticks * rate
    assert int(result.layer_total(LayerCount.SYNOPS_NONZERO).sum()) == sent * synapses


def test_loihi_pays_one_message_and_the_barrier_once() -> None:
    for row in rows_of(loihi_micro.CASE):
        assert row.predicted.value == pytest.approx(row.published, rel=1e-9), row.quantity


def test_seneca_and_odin_keep_to_their_tables() -> None:
    for row in [*rows_of(seneca_instructions.CASE), *rows_of(odin_rates.CASE)]:
        if "headline" not in row.quantity:  # which is a miss, and says so
            sums = row.quantity in ("run of a small network, in all", "synaptic operation, nothing shared")
            assert row.predicted.value == pytest.approx(row.published, rel=1e-9 if sums else 0.02), row.quantity
