"""A comparison's rows against runs of their own: every number to the last digit, whatever the chip's style."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_networks import NUMBER, changed, graded, spiking
from spinnaker_like import spinnaker_like

from hwmodels import Chip, load_chip
from neurosim import api, explore
from neurosim.engine import FunctionRun, RunCounts, run_programs, shared
from neurosim.engine.batch import MOST_STEPS
from neurosim.errors import CapacityError, InputError, MessageWidthError
from neurosim.explore import Configuration, Row, configurations, describe
from neurosim.network import Network
from neurosim.report import summarise

LOIHI2 = load_chip("loihi2")
ONE_TIME = {f"core__encodings__{way}__synop_time": {"value": "5 ns", **NUMBER} for way in ("dense", "sparse", "conv")}
STYLES = {
    "barrier": LOIHI2,
    "small buffers": changed(LOIHI2, network__buffer={"value": 1, **NUMBER}),
    "touched": changed(LOIHI2, core__neuron__sweep="touched"),
    "crossbar": changed(LOIHI2, core__kind="crossbar", **ONE_TIME),
    "tick": changed(LOIHI2, sync={"kind": "tick", "period": {"value": "9 us", **NUMBER}}),
    "dataflow": changed(LOIHI2, sync={"kind": "none"}),
}
SPIKES = {
    "loihi": load_chip("loihi"),
    "board": load_chip("loihi_board"),
    "touched": changed(load_chip("loihi"), core__neuron__sweep="touched"),
    "timer": spinnaker_like(3, 2, 4, core__neurons_usable=8),
    "haste": spinnaker_like(3, 2, 4, core__neurons_usable=8, core__processor__buffer=1, sync__period="25 us"),
}


def chosen(chips: dict[str, Chip]) -> list[Configuration]:
    return [Configuration(name, chip) for name, chip in chips.items()]


def test_rows_of_messages_sent_otherwise_are_what_runs_give() -> None:
    network, frames = graded()
    frames = frames // 16
    few = changed(LOIHI2, network__payload={"value": "4 bit", **NUMBER})
    rows = [
        Configuration("graded", LOIHI2),
        Configuration("units", load_chip("loihi"), messages="units"),
        Configuration("split", few, messages="split"),
        Configuration("units too", LOIHI2, messages="units"),
    ]
    found = explore.compare(network, rows, frames)
    assert not found.refused
    assert [row["messages"] for row in describe(found)["rows"]] == ["graded", "units", "split", "units"]
    for row, one in zip(found.rows, rows, strict=True):
        alone = api.simulate(api.compile(network, one.chip, messages=one.messages), frames, threads=1)
        assert row.result is not None
        assert summarise(row.result) == summarise(alone)
    assert found.functional_passes == 1


@pytest.mark.parametrize(("make", "chips"), [(graded, STYLES), (spiking, SPIKES)])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_row_is_what_a_run_gives(
    make: Callable[[], tuple[Network, np.ndarray]], chips: dict[str, Chip], threads: int
) -> None:
    network, frames = make()
    found = explore.compare(network, chosen(chips), frames, threads=threads)
    assert not found.refused
    for row, chip in zip(found.rows, chips.values(), strict=True):
        alone = api.simulate(api.compile(network, chip), frames, threads=1)
        assert row.result is not None
        assert summarise(row.result) == summarise(alone)
        for name, values in vars(alone.counts).items():
            if isinstance(values, np.ndarray):
                assert np.array_equal(values, getattr(row.result.counts, name)), name
        assert {name: v.tolist() for name, v in row.result.counts.outputs.items()} == {
            name: v.tolist() for name, v in alone.counts.outputs.items()
        }
        record = next(r for r in describe(found)["rows"] if r["name"] == row.name)
        summary = summarise(alone)
        for key in ("latency_per_inference_s", "throughput_inferences_per_s", "energy_delay_product_js"):
            assert record[key] == summary[key]
        assert record["energy_per_inference_j"] == summary["energy_per_inference_j"]
        assert record["cores"] == sum(layer["cores"] for layer in summary["layers"])


def test_one_functional_run_serves_all_and_each_set_of_synapses_needs_its_own() -> None:
    network, frames = graded()

    def passes(*names: str) -> int:
        return explore.compare(network, chosen({n: STYLES[n] for n in names}), frames).functional_passes

    assert passes("barrier", "small buffers", "tick") == 1
    # Chips that need no synapses counted take the run of one that does.
    assert passes("barrier", "touched", "tick") == 1
    assert passes("touched", "crossbar") == 1
    assert passes("barrier", "dataflow") == 2
    two = [
        changed(STYLES["touched"], **{f"core__encodings__{way}__synops": which for way in ("dense", "sparse", "conv")})
        for which in ("structural", "nonzero")
    ]
    assert explore.compare(network, chosen(dict(zip("ab", two, strict=True))), frames).functional_passes == 2


def test_the_function_is_worked_out_once_and_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    network, frames = graded()
    steps, most = [], 0
    step, forget = FunctionRun.step, shared._Activity._forget

    def counting(self: FunctionRun) -> Any:
        steps.append(self.timestep)
        return step(self)

    def watched(self: Any) -> None:
        nonlocal most
        forget(self)
        most = max(most, len(self._kept))

    monkeypatch.setattr(FunctionRun, "step", counting)
    monkeypatch.setattr(shared._Activity, "_forget", watched)
    names = ("barrier", "small buffers", "tick")
    for threads in (1, 2):
        steps.clear()
        explore.compare(network, chosen({n: STYLES[n] for n in names}), frames, steps=500, threads=threads)
        assert len(steps) == 500
        # A program takes the timesteps of a batch at once.
        assert 0 < most <= shared.LEAD + shared.TURN + MOST_STEPS


def test_constants_alone_are_timed_once() -> None:
    network, frames = graded()
    grid = {"core.neuron.send_energy": ["1 pJ", "40 pJ"], "network.buffer": ["2", "16"], "power.static": ["1 mW"]}
    many = configurations(["loihi2"], grid)
    found = explore.compare(network, many, frames)
    assert (found.functional_passes, found.timing_passes) == (1, 2)
    for row, configuration in zip(found.rows, many, strict=True):
        alone = api.simulate(api.compile(network, configuration.chip), frames)
        assert row.result is not None
        assert summarise(row.result) == summarise(alone)


def test_a_chip_that_cannot_carry_the_network_is_a_row_with_the_reason() -> None:
    network, frames = graded()
    chips = {
        "plain": LOIHI2,
        "spikes": load_chip("loihi"),
        "tiny": changed(LOIHI2, mesh__cores_usable={"value": 2, **NUMBER}),
        "narrow": changed(LOIHI2, network__payload={"value": "2 bit", **NUMBER}),
    }
    for threads in (1, 2):
        found = explore.compare(network, chosen(chips), frames, threads=threads)
        assert [row.name for row in found.refused] == ["spikes", "tiny", "narrow"]
        reasons = [row.reason or "" for row in found.refused]
        with pytest.raises(MessageWidthError) as spikes:
            api.compile(network, chips["spikes"])
        with pytest.raises(CapacityError) as tiny:
            api.compile(network, chips["tiny"])
        # This one is found out only when the first wide message is sent.
        with pytest.raises(MessageWidthError) as narrow:
            api.simulate(api.compile(network, chips["narrow"]), frames)
        assert reasons == [str(error.value) for error in (spikes, tiny, narrow)]
        row = found.rows[0]
        assert row.result is not None
        assert summarise(row.result) == summarise(api.simulate(api.compile(network, LOIHI2), frames))


def test_rows_that_are_not_simulated_stand_beside() -> None:
    network, frames = graded()
    baseline = Row("gpu", "gpu", origin="published constants", latency_s=1e-3)
    found = explore.compare(network, chosen({"plain": LOIHI2}), frames, others=[baseline])
    assert [row.name for row in found.rows] == ["plain", "gpu"]
    record = describe(found)["rows"][1]
    assert record["origin"] == "published constants"
    assert record["energy_difference"] is None


def test_frames_that_do_not_fit_are_an_error_for_all() -> None:
    network, _ = graded()
    for name in ("barrier", "dataflow"):
        with pytest.raises(InputError, match="frames for layer"):
            explore.compare(network, chosen({name: STYLES[name]}), np.zeros((3, 7), dtype=np.int64))
    with pytest.raises(InputError, match="steps is 0"):
        explore.compare(network, chosen({"a": LOIHI2}), np.zeros((3, 60), dtype=np.int64), steps=0)
    with pytest.raises(InputError, match=r"reference .* did you mean"):
        explore.compare(network, chosen({"loihi2": LOIHI2}), np.zeros((3, 60), dtype=np.int64), reference="loihi")


def test_programs_that_cannot_share_are_refused() -> None:
    network, frames = graded()
    program = api.compile(network, LOIHI2)
    fed = {"input": frames.reshape(len(frames), -1)}
    with pytest.raises(InputError, match="equally many"):
        run_programs([program, program], fed, [3, 4])
    other = api.compile(graded()[0], LOIHI2)
    with pytest.raises(InputError, match="different networks"):
        run_programs([program, other], fed, [3, 3])
    with pytest.raises(InputError, match="threads is 0"):
        run_programs([program], fed, [3], threads=0)
    outcomes, passes = run_programs([program], fed, [3])
    assert isinstance(outcomes[0], RunCounts)
    assert passes == 1


def test_options_of_a_run_are_those_of_its_rows() -> None:
    network, frames = graded()
    options = {"steps": 11, "steps_per_inference": 2, "fidelity": "fast", "threads": 2}
    found = explore.compare(network, chosen({n: STYLES[n] for n in ("barrier", "touched")}), frames, seed=3, **options)
    for row in found.rows:
        alone = api.simulate(api.compile(network, STYLES[row.name], seed=3), frames, **options)
        assert row.result is not None
        assert summarise(row.result) == summarise(alone)
        assert row.timesteps == 11
    # What is not timed otherwise than exactly is refused, for its own row.
    mixed = explore.compare(network, chosen({n: STYLES[n] for n in ("barrier", "dataflow")}), frames, fidelity="fast")
    assert [row.name for row in mixed.refused] == ["dataflow"]
