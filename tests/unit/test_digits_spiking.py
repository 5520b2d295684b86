"""The shipped workload `digits_spiking`: it runs, answers as claimed, and is what its script makes."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import neurosim
from neurosim.compiler import read_network_file
from neurosim.network import Lif, Network
from neurosim_traces import workload
from neurosim_traces.digits_spiking import make

DIGITS = workload("digits_spiking")


@pytest.fixture(scope="module")
def network() -> Network:
    return read_network_file(DIGITS.model_path)


@pytest.fixture(scope="module")
def clip() -> tuple[Any, Any]:
    with np.load(DIGITS.frames_path) as data:
        assert set(data.files) == {"frames", "labels"}
        return data["frames"], data["labels"]


@pytest.fixture(scope="module")
def accuracy() -> Any:
    return json.loads((DIGITS.model_path.parent / "accuracy.json").read_text(encoding="utf-8"))


def test_frames_are_unit_spikes_that_fit_the_network(network: Network, clip: tuple[Any, Any]) -> None:
    frames, labels = clip
    assert frames.shape == (make.CLIP * make.FORM.timesteps, network["input"].size)
    assert set(np.unique(frames)) == {0, 1}
    assert frames.reshape(make.CLIP, make.FORM.timesteps, -1).sum(axis=1).max() <= make.FORM.spikes
    assert labels.shape == (make.CLIP,)
    assert labels.min() >= 0
    assert labels.max() <= 9


def test_the_network_is_of_the_form_that_the_script_trains(network: Network) -> None:
    assert [layer.size for layer in network.layers] == [64, make.HIDDEN, 10]
    for connection in network.connections:
        weights = connection.transform.weights
        assert np.abs(weights).max() < 1 << (make.FORM.bits - 1)
        if connection.sources == (connection.target,):
            # What a spike takes off its neighbours, in steps of which the threshold has 64ths.
            threshold = network[connection.target].unit.threshold[0] / 64
            across = weights[~np.eye(len(weights), dtype=bool)]
            assert set(np.diag(weights)) == {0}
            assert set(across) == {-round(make.FORM.inhibition * threshold)}
    for layer in network.layers[1:]:
        assert isinstance(layer.unit, Lif)
        assert layer.unit.voltage_keep[0] == make.FORM.kept
        assert layer.unit.subtract


@pytest.mark.parametrize("chip", ["loihi", "spinnaker"])
def test_the_engine_sends_what_the_reference_does(
    network: Network, clip: tuple[Any, Any], accuracy: Any, chip: str
) -> None:
    frames, labels = clip
    steps, depth = make.FORM.timesteps, 2
    program = neurosim.compile(network, chip)
    result = neurosim.simulate(program, frames, steps=len(frames) + depth, keep_activity=True)
    sent = np.zeros((len(frames) + depth, network.size), dtype=np.int64)
    for i, activity in enumerate(result.counts.activity):
        sent[i, activity.neuron] = activity.value
    answers = sent[depth:, network.offsets[2] :].reshape(make.CLIP, steps, 10).sum(axis=1)
    np.testing.assert_array_equal(answers, make.stream_answers(network, frames))
    assert make.accuracy_percent(answers, labels) == pytest.approx(accuracy["accuracy_percent"]["clip"])
    assert result.counts.layer_counts[: len(frames), 0, 0].sum() == frames.sum()


def test_claimed_quality(accuracy: Any) -> None:
    assert accuracy["accuracy_percent"]["test"] > 95


def test_readme_states_the_measured_numbers(accuracy: Any) -> None:
    text = (DIGITS.model_path.parent / "README.md").read_text(encoding="utf-8")
    for name, label in (("validation", "validation"), ("test", "test"), ("clip", "the clip")):
        row = re.search(rf"^\| {label} \|.*\|$", text, flags=re.MULTILINE)
        assert row is not None, label
        assert row[0].split("|")[3].strip() == f"{accuracy['accuracy_percent'][name]:.1f}"
    for name, messages in accuracy["messages_per_sample"].items():
        row = re.search(rf"^\| {name} \|.*\|$", text, flags=re.MULTILINE)
        assert row is not None, name
        assert row[0].split("|")[3].strip() == f"{messages:.1f}"
    assert f"meets {accuracy['synops_per_sample']:,.0f} synapses" in text


def test_the_clip_and_the_figures_come_from_scikit_learns_digits(
    network: Network, clip: tuple[Any, Any], accuracy: Any
) -> None:
    pytest.importorskip("sklearn", reason="the extra train is not installed")
    _, validation, test = make.digits()
    frames, labels = clip
    np.testing.assert_array_equal(make.frames_of(test[0][: make.CLIP]).reshape(frames.shape), frames)
    np.testing.assert_array_equal(test[1][: make.CLIP], labels)
    found = make.report(network, validation, test)
    for key in ("accuracy_percent", "messages_per_sample", "synops_per_sample"):
        assert found[key] == pytest.approx(accuracy[key])
