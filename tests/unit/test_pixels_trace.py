"""The shipped workload `pixels`: its network answers as its files claim, and its page states what was measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.compiler import read_network_file, write_network_file
from neurosim.engine import FunctionRun
from neurosim.network import Network, run_reference
from neurosim_traces import Workload, workload
from neurosim_traces.pixels import make


@pytest.fixture(scope="module")
def pixels() -> Workload:
    return workload("pixels")


@pytest.fixture(scope="module")
def network(pixels: Workload) -> Network:
    return read_network_file(pixels.model_path)


@pytest.fixture(scope="module")
def arrays(pixels: Workload) -> dict[str, Any]:
    with np.load(pixels.frames_path) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def claims(pixels: Workload) -> Any:
    return json.loads((pixels.model_path.parent / "accuracy.json").read_text(encoding="utf-8"))


def test_the_network_is_written_as_it_was_shipped(pixels: Workload, network: Network, tmp_path: Path) -> None:
    """What units have got since is left out of the files of those that do without."""
    write_network_file(network, tmp_path / "again.nsnet")
    assert (tmp_path / "again.nsnet").read_bytes() == pixels.model_path.read_bytes()


def test_frames_are_pixels_and_a_zero(arrays: dict[str, Any]) -> None:
    assert arrays["frames"].shape == (make.STEPS + 1, 1)
    assert arrays["digits"].shape == (make.SHIPPED, make.STEPS + 1, 1)
    assert np.array_equal(arrays["frames"], arrays["digits"][0])
    assert arrays["digits"].dtype == np.int16
    values = arrays["digits"][:, :-1] + make.OPTIONS.centre
    assert (values.min(), values.max()) == (0, 16)
    assert not arrays["digits"][:, -1].any()


def test_answers_are_the_claimed_ones(network: Network, arrays: dict[str, Any], claims: dict[str, Any]) -> None:
    right = 0
    low, high = network.offsets[-2:]
    for digit, answer, label in zip(arrays["digits"], arrays["answers"], arrays["label"], strict=True):
        run, sent = FunctionRun(network, {"input": digit}), np.zeros(10, dtype=np.int64)
        for activity in run.steps(claims["timesteps"]):
            if activity.timestep > claims["timesteps"] - claims["readout_steps"]:
                mine = activity.neuron >= low
                sent[activity.neuron[mine] - low] += activity.value[mine]
        assert np.array_equal(sent, answer)
        right += int(sent.argmax() == label)
    assert high == network.size
    # 30 of the 300 that the claim is of: at 93 % three standard deviations are 14 %.
    assert abs(right / len(arrays["label"]) - claims["test_percent"]["integers"] / 100) < 0.15


def test_the_plain_units_answer_the_same(network: Network, arrays: dict[str, Any], claims: dict[str, Any]) -> None:
    sent = run_reference(network, {"input": arrays["frames"]}, claims["timesteps"]).messages["answer"]
    assert np.array_equal(np.asarray(sent)[-claims["readout_steps"] :].sum(axis=0), arrays["answers"][0])


def test_the_page_states_the_measured_numbers(pixels: Workload, claims: dict[str, Any]) -> None:
    text = (pixels.model_path.parent / "README.md").read_text(encoding="utf-8")
    for label, key in (
        ("in floats, read at the last step", "float"),
        ("with quantised messages, weights in floats", "quantised"),
        ("in integers", "integers"),
    ):
        assert f"| {label} | {claims['test_percent'][key]:.2f} |" in text
    assert f"\n{claims['bits']['per_activity']:.2f} bits per activity" in text
    assert claims["memory_range"] == [-22, 22]
    assert claims["hidden_range"] == [-1, 1]
    assert claims["timesteps"] == make.STEPS + 3
