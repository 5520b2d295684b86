"""NeuroBench's metrics against their definitions, worked out from the messages one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from hwmodels import load_chip
from neurosim import api
from neurosim.costs import Result, neurobench
from neurosim.costs.neurobench import unit_calls
from neurosim.network import (
    Connection,
    CubaLif,
    CurrentLif,
    DeltaGru,
    Dense,
    Layer,
    Network,
    Relay,
    Rounding,
    SigmaDelta,
)

CHIP = load_chip("loihi2")


def spiking(sizes: tuple[int, ...], seed: int) -> Network:
    random = np.random.default_rng(seed)
    unit = CubaLif(threshold=60, current_decay=4096, voltage_decay=500)
    layers = [Layer("in", (sizes[0],), Relay())]
    layers += [Layer(f"fc{i}", (size,), unit) for i, size in enumerate(sizes[1:])]
    joins = [
        Connection((a.name,), b.name, Dense(random.integers(-30, 31, (b.size, a.size)))) for a, b in pairwise(layers)
    ]
    return Network(layers, joins, "spiking")


def run(network: Network, frames: np.ndarray) -> Result:
    return api.simulate(api.compile(network, CHIP), frames, keep_activity=True)


def by_hand(result: Result) -> tuple[float, float]:
    """MACs and ACs of an execution: every message times every weight it meets, call by call."""
    network, macs, acs = result.network, 0, 0
    for step in result.counts.activity:
        sent = np.zeros(network.size, dtype=np.int64)
        sent[step.neuron] = step.value
        for connection in network.connections:
            places = [network.index[name] for name in connection.sources]
            inputs = np.concatenate([sent[network.offsets[i] : network.offsets[i + 1]] for i in places])
            done = int(((connection.transform.weights != 0) & (inputs != 0)).sum())
            if np.isin(inputs, (-1, 0, 1)).all():
                acs += done
            else:
                macs += done
    return macs / result.timesteps, acs / result.timesteps


def test_dense_operations_and_weights_of_the_primate_motor_baselines() -> None:
    # NeuroBench's leaderboard: 4900 and 9700 dense operations, footprints of 19,648 and 38,848 bytes, of which
    # weights of 4 bytes are all but 48; 96 and 192 inputs, 50 hidden neurons, 2 outputs.
    for inputs, dense, footprint in ((96, 4900, 19_648), (192, 9700, 38_848)):
        network = spiking((inputs, 50, 2), 1)
        network = Network(
            network.layers,
            [
                Connection(c.sources, c.target, Dense(c.transform.weights.astype(np.int64) << 16))
                for c in network.connections
            ],
            "wide",
        )
        frames = np.random.default_rng(2).integers(0, 2, (3, inputs))
        program = api.compile(network, load_chip("loihi2", {"core.weights.bits": "[24]"}))
        found = neurobench(api.simulate(program, frames).counts)
        assert found.dense == dense
        assert found.footprint_bytes == footprint - 48


def test_spikes_are_accumulations_and_graded_messages_are_not() -> None:
    network = spiking((20, 12, 5), 3)
    random = np.random.default_rng(4)
    binary = run(network, random.integers(0, 2, (9, 20)))
    graded = run(network, random.integers(0, 5, (9, 20)))
    for result in (binary, graded):
        found = neurobench(result.counts)
        macs, acs = by_hand(result)
        assert (found.effective_macs, found.effective_acs) == (pytest.approx(macs), pytest.approx(acs))
    assert neurobench(binary.counts).effective_macs == 0 < neurobench(binary.counts).effective_acs
    # Hidden spikes are accumulations still.
    assert neurobench(graded.counts).effective_macs > 0 < neurobench(graded.counts).effective_acs


def test_one_graded_message_makes_the_whole_call_of_joined_layers_macs() -> None:
    random = np.random.default_rng(5)
    layers = [
        Layer("a", (6,), Relay()),
        Layer("b", (4,), Relay()),
        Layer("out", (3,), SigmaDelta(threshold=1 << 12)),
    ]
    join = Connection(("a", "b"), "out", Dense(random.integers(1, 9, (3, 10))))
    network = Network(layers, [join], "joined")
    frames = {"a": np.ones((2, 6), dtype=np.int64), "b": np.array([[1, 0, 1, 0], [1, 0, 2, 0]])}
    result = api.simulate(api.compile(network, CHIP), frames, steps=2, keep_activity=True)
    found = neurobench(result.counts)
    # Timestep 1: 8 messages of size 1 meet 3 weights each; timestep 2: the same, one message being 2.
    assert (found.effective_acs, found.effective_macs) == (12.0, 12.0)
    assert by_hand(result) == (12.0, 12.0)


def test_calls_of_a_layer_are_told_by_all_that_it_joins() -> None:
    layers = [Layer(name, (1,), Relay()) for name in "ab"] + [Layer("c", (1,), SigmaDelta(threshold=1))]
    network = Network(layers, [Connection(("a", "b"), "c", Dense(np.ones((1, 2), dtype=np.int64)))], "n")
    largest = np.array([[1, 1, 0], [1, 2, 0], [0, 1, 9]])
    assert unit_calls(network, largest).tolist() == [[True, True, True], [False, False, True], [True, True, False]]


def test_sparsities_by_their_definitions() -> None:
    network = spiking((20, 12, 5), 6)
    result = run(network, np.random.default_rng(7).integers(0, 2, (9, 20)))
    found = neurobench(result.counts)
    weights = np.concatenate([c.transform.weights.ravel() for c in network.connections])
    assert found.connection_sparsity == pytest.approx(np.mean(weights == 0))
    sent = sum(int((step.neuron >= 20).sum()) for step in result.counts.activity)
    assert found.activation_sparsity == pytest.approx(1 - sent / (17 * result.timesteps))
    assert found.executions == result.timesteps


def test_biases_of_every_kind_of_unit_are_in_the_footprint() -> None:
    # Beside weights of a byte each: 3 biases of 2 bytes; 1 and 3 of a byte; 3 of 4 bytes, and three that are zero.
    one, kept = np.array([1]), np.array([4096])
    cases = (
        (Rounding(one, one, np.array([1, 300, -5])), 1, 6),
        (CurrentLif(voltage_keep=kept, current_keep=kept, threshold=one, bias=one, current_bias=np.arange(3)), 1, 4),
        (DeltaGru(update_bias=np.arange(3) << 20), 4, 12),
    )
    for unit, compartments, biases in cases:
        layers = [Layer("in", (4,), Relay()), Layer("out", (3,), unit)]
        join = Connection(("in",), "out", Dense(np.ones((3 * compartments, 4), dtype=np.int64)))
        result = api.simulate(api.compile(Network(layers, [join], "biased"), CHIP), np.ones((2, 4), dtype=np.int64))
        assert neurobench(result.counts).footprint_bytes == 12 * compartments + biases
