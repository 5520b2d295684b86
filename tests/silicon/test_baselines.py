"""Baselines beside published figures of the real parts: the error is printed, whatever it is.

Eyeriss (Chen et al., JSSC 52(1), 2017; ISSCC 2016): AlexNet's five convolutions, 666 million MACs a frame, batch of 4,
34.7 frames/s, 278 mW for the chip without DRAM, 0.0029 DRAM accesses a MAC. The chip gates zeros and compresses what
goes to DRAM; how many zeros each layer had is not used here, so predictions stand without gating.

TPU v1 (Jouppi et al., ISCA 2017; quoted from memory): 92 TOPS at its peak; computing binds above about 1350 MACs for
a byte of weights; 12.3 TOPS on MLP0 (5 layers, 20 million weights, batch of 200) and 9.7 on MLP1 (4 layers, 5 million,
168). The layers' shapes are not published; equal square ones are assumed.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest

from neurosim.costs import BaselineCost, baseline_cost
from neurosim.network import Connection, Conv2d, Dense, Layer, Network, Relay, Sigma

# Channels and size of the input, filters, kernel, stride, padding, groups (Krizhevsky et al. 2012).
ALEXNET = {
    "conv1": (3, 227, 96, 11, 4, 0, 1),
    "conv2": (96, 27, 256, 5, 1, 2, 2),
    "conv3": (256, 13, 384, 3, 1, 1, 1),
    "conv4": (384, 13, 384, 3, 1, 1, 2),
    "conv5": (384, 13, 256, 3, 1, 1, 2),
}


def alexnet_convolutions() -> Network:
    """The convolutions alone, each with an input of its own: what lies between them is not in the measurement."""
    layers, connections = [], []
    for name, (channels, size, filters, kernel, stride, padding, groups) in ALEXNET.items():
        weights = np.ones((filters, channels // groups, kernel, kernel), dtype=np.int32)
        conv = Conv2d(weights, (channels, size, size), stride, padding, 1, groups)
        layers += [Layer(f"{name} in", conv.in_shape, Relay()), Layer(name, conv.out_shape, Sigma())]
        connections.append(Connection((f"{name} in",), name, conv))
    return Network(layers, connections, "alexnet convolutions")


def perceptron(layers: int, size: int) -> Network:
    weights = np.ones((size, size), dtype=np.int32)
    names = [f"layer{i}" for i in range(layers + 1)]
    populations = [Layer(name, (size,), Sigma() if i else Relay()) for i, name in enumerate(names)]
    connections = [Connection((a,), b, Dense(weights)) for a, b in pairwise(names)]
    return Network(populations, connections, "perceptron")


def show(rows: list[tuple[str, float, float, str]]) -> None:
    print(f"\n{'quantity':34} {'predicted':>12} {'published':>12} {'error':>8}  evidence")
    for name, found, published, evidence in rows:
        print(f"{name:34} {found:12.5g} {published:12.5g} {found / published - 1:+8.1%}  {evidence}")


def test_eyeriss_runs_the_convolutions_of_alexnet() -> None:
    cost = baseline_cost(alexnet_convolutions(), "eyeriss", batch=4, weight_bits=16, activation_bits=16)
    rate = cost.throughput_per_s
    assert rate is not None
    chip = [term for term in cost.terms if not term.key.endswith(".dram")]
    value, low, high = (math.fsum(getattr(term.energy_j, end) for term in chip) for end in ("value", "low", "high"))
    accesses = float(cost.terms[-1].counts.sum()) / cost.macs
    measured_j = 0.278 / 34.7
    show(
        [
            ("MACs/frame", cost.macs, 666e6, "independent"),
            ("frames/s", rate, 34.7, "independent; filling and draining not modelled"),
            ("chip energy/frame (J)", value, measured_j, "unit of energy is an estimate"),
            ("chip power (W)", value * rate, 0.278, "from the two above"),
            ("DRAM accesses/MAC", accesses, 0.0029, "weak: one order of loops came after a look; no compression"),
        ]
    )
    print(f"chip energy/frame from {low:.4g} to {high:.4g} J")
    assert cost.macs == pytest.approx(666e6, rel=0.001)
    # The time is a lower bound, and the published energy lies where the unit's range puts it.
    assert rate > 34.7
    assert low < measured_j < high
    assert accesses > 0.0029


def tera_operations(cost: BaselineCost) -> float:
    assert cost.throughput_per_s is not None
    return 2 * cost.macs * cost.throughput_per_s / 1e12


def test_tpu_reaches_its_peak_and_is_bound_by_its_weights() -> None:
    peak = tera_operations(baseline_cost(perceptron(1, 2048), "tpu_v1", batch=2048, weight_bits=8))
    mlp0 = tera_operations(baseline_cost(perceptron(5, 2000), "tpu_v1", batch=200, weight_bits=8))
    mlp1 = tera_operations(baseline_cost(perceptron(4, 1118), "tpu_v1", batch=168, weight_bits=8))
    bounds = [
        baseline_cost(perceptron(1, 512), "tpu_v1", batch=batch, weight_bits=8).layers[0].bound
        for batch in range(1300, 1400)
    ]
    ridge = 1300 + bounds.index("compute")
    show(
        [
            ("peak (TOPS)", peak, 92.0, "independent"),
            ("MACs/byte where computing binds", float(ridge), 1350.0, "independent"),
            ("MLP0 (TOPS)", mlp0, 12.3, "shapes assumed"),
            ("MLP1 (TOPS)", mlp1, 9.7, "shapes assumed; small matrices leave tiles part empty"),
        ]
    )
    assert peak == pytest.approx(92.0, rel=0.01)
    assert ridge == pytest.approx(1350, rel=0.01)
    assert mlp0 > 12.3


def test_the_energy_that_keras_spiking_prints_for_its_own_example() -> None:
    """784 inputs to 128 units on the CPU: 8.64e-4 J in its documentation. The constants are its, so: the accounting."""
    inputs, outputs = Layer("in", (784,), Relay()), Layer("out", (128,), Sigma())
    dense = Connection(("in",), "out", Dense(np.ones((128, 784), dtype=np.int32)))
    cost = baseline_cost(Network([inputs, outputs], [dense]), "cpu")
    show([("CPU, 784 to 128 (J)", cost.energy_j.value, 8.64e-4, "constants from there")])
    assert cost.energy_j.value == pytest.approx(8.64e-4, abs=0.005e-4)
