"""Converted hybrid-spiking networks in integers: engine, counts and Python's own integers, message by message."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert_mnist import mnist, reference_graph
from small_graphs import chain, image_graph, windows

from neurosim.convert import HybridOptions, convert_hybrid, count_spikes, describe_hybrid, make_plan, to_hybrid
from neurosim.formats.dense_graph import DenseGraph, Input, Linear
from neurosim.network import Hybrid, Network, run_reference


def halves_to_even(value: int, shift: int) -> int:
    """Return value / 2**shift rounded, halves to the even neighbour, by Python's own rounding of fractions."""
    return round(Fraction(value, 1 << shift))


def plain_run(network: Network, frames: Any) -> dict[str, Any]:
    """A chain of dense layers, one sample (timesteps, n) from its start, in Python's own integers."""
    sent = {network.layers[0].name: [[int(x) for x in frame] for frame in frames]}
    for layer in network.layers[1:]:
        (connection,) = [c for c in network.connections if c.target == layer.name]
        weights, unit = connection.transform.weights.tolist(), layer.unit
        hybrid = isinstance(unit, Hybrid)
        start = unit.residual.tolist() if isinstance(unit, Hybrid) else [0]
        held = [start[j if len(start) > 1 else 0] for j in range(layer.size)]
        # The answer is cleared where the timesteps that are read begin.
        cleared = 0 if hybrid else (unit.reset_phase - unit.start - 1) % unit.reset_interval
        found = []
        for t, frame in enumerate(sent[connection.sources[0]]):
            row = []
            for j in range(layer.size):
                total = sum(w * x for w, x in zip(weights[j], frame, strict=True))
                bias = int(unit.bias[j if unit.bias.size > 1 else 0])
                if isinstance(unit, Hybrid):
                    f = halves_to_even((total + bias) * int(unit.multiplier[0]), int(unit.shift[0]))
                    v = held[j] + (max(f, 0) if unit.function == "relu" else f)
                    n = v // 2**unit.fraction
                    held[j] = v - n * 2**unit.fraction
                    row.append(n)
                else:
                    held[j] = (0 if t == cleared else held[j]) + total * 2**unit.activation_shift + bias
                    row.append(held[j])
            found.append(row)
        sent[layer.name] = found
    return {name: np.array(rows) for name, rows in sent.items()}


@pytest.mark.parametrize("first", ["half", "random"])
@pytest.mark.parametrize(("timesteps", "read"), [(7, 0), (7, 3), (1, 0), (2, 1)])
def test_a_stream_through_the_engine_is_each_sample_in_plain_integers(first: str, timesteps: int, read: int) -> None:
    rng = np.random.default_rng(3)
    graph = chain(rng, (7, 9, 8, 4))
    samples = rng.integers(-10, 40, (5, 7))
    options = HybridOptions(
        (3.0, 1.3), timesteps=timesteps, read=read, first=first, input_scale=1 / 40, state_bits=20, seed=5
    )
    plan = make_plan(graph)
    found = to_hybrid(plan, samples / 40, options)
    engine = windows(found.network, found.stream(samples / 40), 5, timesteps)
    for i, frames in enumerate(found.stream(samples / 40).reshape(5, timesteps, 7)):
        for name, sent in plain_run(found.network, frames).items():
            # Before the read timesteps of the first sample the answer holds nothing of another one.
            np.testing.assert_array_equal(engine[name][i][-1], sent[-1], err_msg=f"{name} of sample {i}")
            if name != "fc2":
                np.testing.assert_array_equal(engine[name][i], sent, err_msg=f"{name} of sample {i}")
    assert all(engine[name].max() > 1 for name in ("relu0", "relu1"))
    # The report's answer is what the network sends at the end, over its scale.
    report, counts = describe_hybrid(found, plan, samples / 40)
    last = counts.answers[timesteps] - (counts.answers[timesteps - read] if 0 < read < timesteps else 0)
    np.testing.assert_array_equal(last, engine["fc2"][:, -1])
    for i, name in enumerate(counts.names[:-1]):
        np.testing.assert_array_equal(counts.messages[i], (engine[name] != 0).sum(axis=(0, 2)))
        np.testing.assert_array_equal(counts.ranges[i][1], engine[name].max(axis=(0, 1)).clip(0))
        np.testing.assert_array_equal(counts.ranges[i][0], engine[name].min(axis=(0, 1)).clip(None, 0))
    assert report.messages == pytest.approx(sum((engine[name] != 0).sum() for name in ("relu0", "relu1")) / 5)


@pytest.mark.parametrize("first", ["half", "random"])
def test_images_branches_and_pools_are_counted_as_the_engine_runs_them(first: str) -> None:
    rng = np.random.default_rng(6)
    plan = make_plan(image_graph(rng))
    samples = rng.integers(-4, 16, (5, 2, 6, 6)) / 16
    omega = {"relu*": 2.0, "pool": 5.0}
    found = to_hybrid(plan, samples, HybridOptions(omega, timesteps=6, input_scale=1 / 16, first=first))
    network, frames = found.network, found.frames(samples)
    assert found.omegas == pytest.approx((2.0, 5.0, 2.0, 2.0))
    counted = count_spikes(network, lambda part: frames[part], 5, 6, at=(3, 6))
    engine = windows(network, found.stream(samples), 5, 6)
    fan_out, _ = network.fan_out
    for i, layer in enumerate(network.layers):
        sent = engine[layer.name]
        np.testing.assert_array_equal(counted.messages[i], (sent != 0).sum(axis=(0, 2)))
        fan = fan_out[network.offsets[i] : network.offsets[i + 1]]
        np.testing.assert_array_equal(counted.synops[i], (sent != 0).sum(axis=0) @ fan)
        np.testing.assert_array_equal(counted.unit_adds[i], np.abs(sent).sum(axis=0) @ fan)
    for t in (3, 6):
        np.testing.assert_array_equal(counted.answers[t], engine["out"][:, t - 1])
    assert all(engine[name].max() > 1 for name in ("relu", "pool", "relu2", "relu3"))
    reference = run_reference(network, {"in": found.stream(samples)}, 30).messages
    late = network.layer_delays["relu3"]
    np.testing.assert_array_equal(reference["relu3"][late:], engine["relu3"].reshape(30, -1)[: 30 - late])


def test_a_layer_that_is_no_relu_sends_negative_messages() -> None:
    """Two linear layers with nothing between: messages of both signs, which add up to the value within one."""
    rng = np.random.default_rng(9)
    nodes: list[Any] = [Input("in", (), (6,))]
    for i, size in enumerate((9, 4)):
        weight = rng.normal(size=(size, (6, 9)[i]))
        nodes.append(Linear(f"fc{i}", (nodes[-1].name,), weight, rng.normal(size=size)))
    plan = make_plan(DenseGraph(nodes, name="linear"))
    samples = rng.integers(-50, 50, (8, 6)) / 50
    found = to_hybrid(
        plan, samples, HybridOptions(1.5, timesteps=40, input_scale=1 / 50, weight_bits=14, state_bits=32)
    )
    sent = windows(found.network, found.stream(samples), 8, 40)["fc0"]
    assert sent.min() < -1
    # From half a message, t timesteps send floor(1/2 + t omega f); weights of 14 bits are nearly what they were.
    f = samples @ nodes[1].weight.T + nodes[1].bias
    exact = 0.5 + np.arange(1, 41)[None, :, None] * 1.5 * f[:, None]
    away = np.abs(np.cumsum(sent, axis=1) + 0.5 - exact)
    assert away.max() < 0.5 + 40 * 1.5 * 6 * np.abs(nodes[1].weight).max() / 8191
    assert (np.cumsum(sent, axis=1) == np.floor(exact)).mean() > 0.98


def test_the_answers_approach_the_original_as_omegas_grow() -> None:
    """In one timestep; a value is then off by half a step of 1 / omega at most."""
    rng = np.random.default_rng(8)
    graph = chain(rng, (20, 30, 30, 6))
    samples = rng.integers(0, 256, (200, 20)) / 255
    errors = []
    for omega in (1.0, 8.0, 64.0):
        options = HybridOptions(omega, timesteps=1, input_scale=1 / 255, weight_bits=12, state_bits=32)
        errors.append(convert_hybrid(graph, samples, options=options)[1].output_error)
    assert errors[2] < 0.01
    assert errors[2] < errors[1] / 4 < errors[0] / 16


def test_the_reference_network_at_two_omegas(reference_data: Path) -> None:
    """784-200-200-10 on 1,000 test images; the whole table stands in docs/methods.md."""
    folder = reference_data / "mnist_mlp"
    images, labels = mnist(folder, "t10k")
    training, _ = mnist(folder, "train")
    test = images[:1000] / 255, labels[:1000].astype(np.int64)
    found = {}
    for omega in (16.0, 1.0):
        options = HybridOptions(omega, timesteps=4, input_scale=1 / 255)
        _, found[omega] = convert_hybrid(reference_graph(folder), training[:500] / 255, options=options, test=test)
        assert found[omega].input_messages == pytest.approx(4 * np.count_nonzero(images[:1000]) / 1000)
    fine, coarse = ({row["timesteps"]: row for row in report.curve} for report in found.values())
    original = found[16.0].original_error_percent
    assert original is not None
    assert abs(fine[1]["error_percent"] - original) <= 0.2
    assert fine[1]["error_percent"] < coarse[1]["error_percent"]
    assert coarse[4]["error_percent"] < original + 0.5
    assert found[1.0].bits["per_activity"] < found[16.0].bits["per_activity"] - 3
