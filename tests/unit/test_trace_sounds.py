"""The workload of drawn sounds: its files are what its scripts draw, convert and claim."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import neurosim
from neurosim.compiler import read_network_file
from neurosim.engine import run_program
from neurosim.network import CurrentLeaky, Delta, DeltaGru, Network, run_reference
from neurosim_traces import Workload, workload
from neurosim_traces.sounds import draw, make


@pytest.fixture(scope="module")
def sounds() -> Workload:
    return workload("sounds")


@pytest.fixture(scope="module")
def network(sounds: Workload) -> Network:
    return read_network_file(sounds.model_path)


@pytest.fixture(scope="module")
def shipped(sounds: Workload) -> dict[str, Any]:
    with np.load(sounds.frames_path) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def claimed(sounds: Workload) -> Any:
    return json.loads((sounds.model_path.parent / "accuracy.json").read_text(encoding="utf-8"))


def test_the_frames_are_what_the_script_draws(shipped: dict[str, Any]) -> None:
    drawn = draw.draw_sounds(make.TEST_SEED, make.TEST_SOUNDS)
    assert np.array_equal(shipped["sounds"], drawn.frames[: make.SHIPPED_SOUNDS])
    assert np.array_equal(shipped["frames"], drawn.frames[0])
    assert np.array_equal(shipped["kind"], drawn.kind[: make.SHIPPED_SOUNDS])
    assert set(shipped["kind"]) == set(range(len(draw.KINDS)))
    other = draw.draw_sounds(make.VALIDATION_SEED, 3)
    assert (other.frames != drawn.frames[:3]).mean() > 0.5
    assert len({make.TRAINING_SEED, make.VALIDATION_SEED, make.TEST_SEED}) == 3


def test_the_network_is_of_the_claimed_form(network: Network, claimed: dict[str, Any]) -> None:
    bands, gru, kind = (layer.unit for layer in network.layers)
    assert isinstance(bands, Delta)
    assert isinstance(gru, DeltaGru)
    assert isinstance(kind, CurrentLeaky)
    assert bands.threshold == gru.threshold == claimed["threshold"] * 256
    assert gru.sum_fraction == 8 + claimed["weight_fraction"]
    for connection in network.connections:
        assert np.abs(connection.transform.weights).max() <= 127
    assert [c.compartments for c in network.connections] == [(0, 1, 2), (0, 1, 3), None]


def test_a_run_on_a_chip_answers_the_sounds(network: Network, shipped: dict[str, Any], claimed: dict[str, Any]) -> None:
    """Class answers out of whole runs: of the 30 shipped sounds as many are told as the accuracy has it, about."""
    program = neurosim.compile(network, "loihi2")
    answers = []
    for number, frames in enumerate(shipped["sounds"]):
        counts = run_program(program, {"bands": frames}, draw.FRAMES + 2)
        if number < 3:
            wanted = run_reference(network, {"bands": frames.astype(np.int64)}, draw.FRAMES + 2).messages["kind"]
            assert np.array_equal(counts.outputs["kind"], wanted)
        answers.append(int(counts.outputs["kind"][-1].argmax()))
    right = int((np.array(answers) == shipped["kind"]).sum())
    # Of 30 at a chance of 0.96, fewer than 25 have one of less than 1 in 300.
    assert claimed["test"][f"{claimed['threshold']:g}"]["percent"] > 95
    assert right >= 25


def test_the_quality_is_the_claimed_one(claimed: dict[str, Any]) -> None:
    kept, test = f"{claimed['threshold']:g}", claimed["test"]
    assert test[kept]["percent"] > test["0"]["float_percent"] - 3
    assert test[kept]["reduction"] > 9
    validation = claimed["validation"]
    assert validation[kept]["percent"] >= validation["0"]["float_percent"] - 1


def test_the_readme_states_the_measured_numbers(sounds: Workload, claimed: dict[str, Any]) -> None:
    text = (sounds.model_path.parent / "README.md").read_text(encoding="utf-8")
    for threshold, values in claimed["validation"].items():
        row = re.search(rf"^\| {re.escape(threshold)} \|.*\|$", text, flags=re.MULTILINE)
        assert row is not None, threshold
        expected = [
            f"{values['float_percent']:.2f} %", f"{values['percent']:.2f} %", f"{values['reduction']:.2f}",
        ]  # fmt: skip
        assert [cell.strip() for cell in row[0].split("|")[2:5]] == expected
    for layer, messages in claimed["messages_per_frame"].items():
        row = re.search(rf"^\| {layer} \|.*\|$", text, flags=re.MULTILINE)
        assert row is not None, layer
        assert row[0].split("|")[4].strip() == f"{messages:.2f}"
    test = claimed["test"][f"{claimed['threshold']:g}"]
    assert f"{test['float_percent']:.2f} % in floats and {test['percent']:.2f} % in integers" in text
    assert f"{test['reduction']:.2f}\ntimes fewer" in text
    assert f"2^{int(np.log2(claimed['answer_scale']))}." in text


@pytest.mark.slow
def test_making_it_again_gives_as_good_a_network(claimed: dict[str, Any]) -> None:
    """Sums round differently elsewhere, so it is held to the claim in percent, not in bytes."""
    found = make.train(draw.draw_sounds(make.TRAINING_SEED, make.TRAINING_SOUNDS))
    test = draw.draw_sounds(make.TEST_SEED, make.TEST_SOUNDS)
    threshold = claimed["threshold"]
    measured = make.measure({threshold: found[threshold]}, test)[f"{threshold:g}"]
    assert measured["percent"] == pytest.approx(claimed["test"][f"{threshold:g}"]["percent"], abs=3)
    assert measured["reduction"] == pytest.approx(claimed["test"][f"{threshold:g}"]["reduction"], rel=0.15)
