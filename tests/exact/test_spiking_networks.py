"""Spiking networks in integers, rate-converted and trained: the engine against plain loops, streams against samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert_mnist import mnist, reference_graph
from small_graphs import chain, image_graph, windows

from neurosim.convert import RateOptions, convert_rates, count_spikes, make_plan, to_rates
from neurosim.formats.dense_graph import Activation, DenseGraph, Input, Linear
from neurosim.formats.spike_codes import encode
from neurosim.network import Network, run_reference
from neurosim.train.spiking_network import LifForm, to_lif_network


def plain_layer(unit: Any, drive: Any, back: Any = None) -> Any:
    """Spikes or membranes (timesteps, n) of one layer that is given sums (timesteps, n), in Python's own integers."""
    steps, n = drive.shape
    voltage, sent = [0] * n, np.zeros((steps, n), dtype=np.int64)
    highest = (1 << (unit.state_bits - 1)) - 1
    for t in range(steps):
        for j in range(n):
            total = int(drive[t, j])
            if back is not None and t:
                total += sum(int(back[j, k]) for k in range(n) if sent[t - 1, k])
            keep = int(unit.voltage_keep[0])
            kept = abs(voltage[j]) * keep // 2**unit.decay_bits
            kept = kept if voltage[j] >= 0 else -kept
            bias = int(unit.bias[j if unit.bias.size > 1 else 0])
            v = max(min(kept + total * 2**unit.activation_shift + bias, highest), -highest)
            if unit.kind == "leaky":
                sent[t, j] = v
            elif v > int(unit.threshold[0]):
                sent[t, j] = 1
                v += int(unit.reset[0]) - int(unit.threshold[0])
            voltage[j] = v
    return sent


def plain_run(network: Network, frames: Any) -> dict[str, Any]:
    """A chain of dense layers, one sample (timesteps, n) from rest."""
    found = {network.layers[0].name: np.asarray(frames, dtype=np.int64)}
    for layer in network.layers[1:]:
        drive, back = np.zeros((len(frames), layer.size), dtype=np.int64), None
        for connection in network.connections:
            if connection.target == layer.name and connection.sources == (layer.name,):
                back = connection.transform.weights
            elif connection.target == layer.name:
                drive += found[connection.sources[0]] @ connection.transform.weights.T.astype(np.int64)
        found[layer.name] = plain_layer(layer.unit, drive, back)
    return found


@pytest.mark.parametrize("inputs", ["graded", "spikes"])
@pytest.mark.parametrize("first", ["half", "empty"])
def test_a_stream_through_the_engine_is_each_sample_through_plain_loops(inputs: str, first: str) -> None:
    rng = np.random.default_rng(3)
    graph = chain(rng, (7, 9, 8, 4))
    samples = rng.integers(0, 40, (6, 7))
    options = RateOptions(timesteps=11, inputs=inputs, input_scale=1 / 40, first=first)
    found = to_rates(make_plan(graph), samples / 40, options)
    engine = windows(found.network, found.stream(samples / 40), 6, 11)
    for i, frames in enumerate(found.stream(samples / 40).reshape(6, 11, 7)):
        for name, sent in plain_run(found.network, frames).items():
            np.testing.assert_array_equal(engine[name][i], sent, err_msg=f"{name} of sample {i}")
    assert all(engine[name].any() for name in ("relu0", "relu1"))


@pytest.mark.parametrize("inhibition", [0.0, 0.1])
def test_a_trained_network_through_the_engine_is_plain_loops(inhibition: float) -> None:
    """One sample from rest; weights are drawn, since what they are does not matter here."""
    rng = np.random.default_rng(4)
    form = LifForm(timesteps=12, full=20, spikes=8, tau=4.0, inhibition=inhibition)
    weights = [rng.normal(size=(9, 6)) / 2, rng.normal(size=(5, 9)) / 2]
    network = to_lif_network(weights, form)
    for value in rng.integers(0, 21, (5, 6)):
        frames = encode(value[None], 12, full=20, spikes=8)[0]
        engine = windows(network, frames, 1, 12)
        for name, sent in plain_run(network, frames).items():
            np.testing.assert_array_equal(engine[name][0], sent)
    assert engine["hidden1"].any()


@pytest.mark.parametrize("readout", ["counts", "membrane"])
def test_samples_of_a_stream_do_not_see_each_other(readout: str) -> None:
    rng = np.random.default_rng(5)
    form = LifForm(timesteps=9, full=15, spikes=6, tau=5.0, readout=readout)
    network = to_lif_network([rng.normal(size=(10, 8)) / 2, rng.normal(size=(7, 10)), rng.normal(size=(3, 7))], form)
    frames = encode(rng.integers(0, 16, (7, 8)), 9, full=15, spikes=6)
    together = windows(network, frames.reshape(-1, 8), 7, 9)
    for i in range(7):
        alone = windows(network, frames[i], 1, 9)
        for name, sent in together.items():
            np.testing.assert_array_equal(sent[i], alone[name][0])
    counted = count_spikes(network, lambda part: frames[part], 7, 9)
    last = together["output"]
    np.testing.assert_array_equal(counted.answers[9], last.sum(axis=1) if readout == "counts" else last[:, -1])


@pytest.mark.parametrize("inputs", ["graded", "spikes"])
def test_images_branches_and_pools_are_counted_as_the_engine_runs_them(inputs: str) -> None:
    rng = np.random.default_rng(6)
    graph = image_graph(rng)
    samples = rng.integers(0, 16, (5, 2, 6, 6))
    options = RateOptions(timesteps=10, inputs=inputs, input_scale=1 / 16)
    found = to_rates(make_plan(graph), samples / 16, options)
    network = found.network
    frames = found.frames(samples / 16)
    counted = count_spikes(network, lambda part: frames[part], 5, 10, at=(3, 10))
    engine = windows(network, found.stream(samples / 16), 5, 10)
    fan_out, _ = network.fan_out
    for i, layer in enumerate(network.layers):
        sent = engine[layer.name] != 0
        np.testing.assert_array_equal(counted.messages[i], sent.sum(axis=(0, 2)))
        fan = fan_out[network.offsets[i] : network.offsets[i + 1]]
        np.testing.assert_array_equal(counted.synops[i], sent.sum(axis=0) @ fan)
    for t in (3, 10):
        np.testing.assert_array_equal(counted.answers[t], engine["out"][:, t - 1])
    reference = run_reference(network, {"in": found.stream(samples / 16)}, 50).messages
    late = network.layer_delays["relu3"]
    np.testing.assert_array_equal(reference["relu3"][late:], engine["relu3"].reshape(50, -1)[: 50 - late])


def test_a_layer_inhibits_itself_one_timestep_later() -> None:
    """Two neurons that get a threshold and a half each time: both spike, and each then takes half off the other."""
    form = LifForm(timesteps=8, full=1, spikes=8, tau=float("inf"), inhibition=0.5)
    network = to_lif_network([np.full((2, 1), 1.5), np.ones((1, 2))], form)
    sent = windows(network, np.ones((8, 1), dtype=np.int64), 1, 8)["hidden1"][0]
    # In each timestep 1.5 come, a spike takes 1 and the other's spike 0.5: with a spike each time nothing grows.
    assert sent.tolist() == [[1, 1]] * 8
    weights = network.connections[1].transform.weights
    assert network.connections[1].sources == ("hidden1",)
    assert weights.tolist() == [[0, -42], [-42, 0]]  # 0.5 of a threshold of 127 / 1.5 = 84.67 steps.


def test_rates_of_one_layer_are_rounded_shares() -> None:
    """From half a threshold a constant drive d sends round(t d / level) spikes, at most one a timestep."""
    weight = np.eye(5)
    nodes = [
        Input("in", (), (5,)), Linear("a", ("in",), weight, np.zeros(5)), Activation("r", ("a",)),
        Linear("out", ("r",), weight, np.zeros(5)),
    ]  # fmt: skip
    # With the largest input 1 of 100 steps the level is 1; values stay away from halves of 1 / 16.
    samples = np.array([[1.00, 0.28, 0.60, 0.07, 0.00]])
    for first, offset in (("half", 0.5), ("empty", 0.0)):
        options = RateOptions(timesteps=16, percentile=100, input_scale=0.01, first=first)
        found = to_rates(make_plan(DenseGraph(nodes, name="one")), samples, options)
        assert found.levels[1] == pytest.approx(1.0)
        sent = windows(found.network, found.stream(samples), 1, 16)["r"][0]
        # Strictly above the threshold: a whole number of thresholds that is met exactly waits.
        shares = np.cumsum(np.ones((16, 1)), axis=0) * samples + offset
        expected = np.minimum(np.ceil(shares - 1e-9) - 1, np.arange(1, 17)[:, None]).clip(0)
        np.testing.assert_array_equal(np.cumsum(sent, axis=0), expected)


def test_the_answers_approach_the_original_as_timesteps_grow() -> None:
    rng = np.random.default_rng(8)
    graph = chain(rng, (20, 30, 30, 6))
    samples = rng.integers(0, 256, (200, 20)) / 255
    options = RateOptions(timesteps=128, percentile=100, input_scale=1 / 255, weight_bits=12, state_bits=32)
    _, report = convert_rates(graph, samples, options=options)
    errors = {row["timesteps"]: row["output_error"] for row in report.curve}
    assert errors[128] < 0.02
    assert errors[128] < errors[32] < errors[8] / 2
    assert report.spikes == pytest.approx(report.curve[-1]["spikes"])
    assert max(report.weight_bits.values()) == 12


def test_the_reference_network_at_two_lengths(reference_data: Path) -> None:
    """784-200-200-10 on 1,000 test images; the whole table stands in docs/methods.md."""
    folder = reference_data / "mnist_mlp"
    images, labels = mnist(folder, "t10k")
    training, _ = mnist(folder, "train")
    options = RateOptions(timesteps=16, input_scale=1 / 255)
    test = images[:1000] / 255, labels[:1000].astype(np.int64)
    _, report = convert_rates(reference_graph(folder), training[:1000] / 255, options=options, test=test)
    by_length = {row["timesteps"]: row for row in report.curve}
    original = report.original_error_percent
    assert original is not None
    assert by_length[16]["error_percent"] < original + 0.5
    assert by_length[8]["error_percent"] < original + 1.0
    assert by_length[2]["error_percent"] > by_length[8]["error_percent"]
    assert report.input_messages == pytest.approx(16 * np.count_nonzero(images[:1000]) / 1000)
