"""The workloads of digits: the shipped networks are what the shipped weights convert to, and do what they claim."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest

import neurosim
from neurosim.compiler import read_network_file, write_network_file
from neurosim.convert import IntegerOptions, ScaleOptions, convert_rounding, count
from neurosim.engine import LayerCount
from neurosim.formats.dense_graph import evaluate
from neurosim_traces import workload
from neurosim_traces.digits import make

FOLDER = workload("digits_rounding").model_path.parent


def arrays(name: str) -> dict[str, Any]:
    with np.load(FOLDER / f"{name}.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def accuracy() -> Any:
    return json.loads((FOLDER / "accuracy.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", make.METHODS)
def test_the_shipped_network_is_what_the_shipped_weights_convert_to(method: str, accuracy: Any, tmp_path: Any) -> None:
    samples = arrays("samples")["samples"] * make.PIXEL
    found = make.convert(make.build(arrays("weights")), method, accuracy["scale"], samples)
    write_network_file(found.network, tmp_path / "again.nsnet")
    shipped = workload(f"digits_{method}").model_path
    assert found.network == read_network_file(shipped)
    assert (tmp_path / "again.nsnet").read_bytes() == shipped.read_bytes()


@pytest.mark.parametrize("method", make.METHODS)
def test_the_shipped_network_simulates_and_answers_as_it_is_counted(method: str) -> None:
    held = arrays("frames")
    frames = held["frames"][:12].reshape(12, -1)
    network = neurosim.load(workload(f"digits_{method}").model_path)
    counted = count(network, frames.astype(np.int64))
    result = neurosim.simulate(neurosim.compile(network, "loihi2"), frames, steps=17)
    for i, layer in enumerate(network.layers[:-1]):
        # A frame reaches a layer as many timesteps later as there are connections on the way.
        late = network.layer_delays[layer.name]
        sums = result.counts.layer_counts[late : late + len(frames), i].sum(axis=0)
        assert sums[LayerCount.MESSAGES] == counted.messages[i] > 0
        assert sums[LayerCount.SYNOPS] == counted.graded_synops[i]
        assert sums[LayerCount.UNIT_ADDS] == counted.unit_adds[i]


def test_answers_are_those_that_are_claimed(accuracy: Any) -> None:
    held = arrays("frames")
    floats = evaluate(make.build(arrays("weights")), held["frames"] * make.PIXEL).argmax(axis=1)
    assert (floats != held["label"]).mean() < 0.1
    for method in make.METHODS:
        answers = count(read_network_file(FOLDER / f"{method}.nsnet"), held["frames"].reshape(100, -1).astype(np.int64))
        assert (answers.answers.argmax(axis=1) != floats).sum() <= 3
        assert accuracy["methods"][method]["error_percent"] <= accuracy["methods"][method]["original_error_percent"] + 1


def test_readme_states_the_measured_numbers(accuracy: Any) -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    for method in make.METHODS:
        row = re.search(rf"^\| `digits_{method}` .*\|$", text, flags=re.MULTILINE)
        assert row is not None, method
        report = accuracy["methods"][method]
        adds = report["sigma_delta_adds" if method == "sigma_delta" else "rounding_adds"]
        assert [cell.strip() for cell in row[0].split("|")[2:7]] == [
            f"{report['error_percent']:.1f} %",
            f"{report['disagreement_percent']:.1f} %",
            f"{adds:,.0f}",
            f"{report['graded_synops']:,.0f}",
            f"{report['messages']:,.0f}",
        ]


def test_images_are_those_of_scikit_learn() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    images, labels = make.digits()
    assert np.array_equal(arrays("samples")["samples"], images[: make.QUANTISING_SAMPLES])
    held = arrays("frames")
    for frame, label in zip(held["frames"][:5], held["label"], strict=False):
        (places,) = np.nonzero((images[make.TEST] == frame).all(axis=(1, 2, 3)))
        assert labels[make.TEST][places].tolist() == [label]


@pytest.mark.slow
def test_scales_found_on_300_images_answer_held_out_ones_as_the_original_does() -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    images, _ = make.digits()
    few, held_out = images[make.TRAINING][:300] * make.PIXEL, images[make.VALIDATION] * make.PIXEL
    differ = {}
    for least in (1, 1000):
        found = convert_rounding(
            make.build(arrays("weights")), few, options=ScaleOptions(sequence=False, least_steps=least),
            integers=IntegerOptions(input_scale=make.PIXEL), test=(held_out, None),
        ).report  # fmt: skip
        assert found.scale_steps == {1: 6, 1000: 1002}[least]
        differ[least] = found.disagreement_percent
    assert differ[1] > 8
    assert differ[1000] < 2
