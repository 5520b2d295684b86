"""Baselines: Eyeriss on AlexNet's convolutions, TPU v1 at its peak and on perceptrons, and a CPU's accounting."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np

from neurosim.costs import BaselineCost, Interval, baseline_cost
from neurosim.network import Connection, Conv2d, Dense, Layer, Network, Relay, Sigma
from neurosim.silicon.case import NONE, TEST, WEAK, Case, Row, point

# Channels and size of the input, filters, kernel, stride, padding, groups (Krizhevsky et al. 2012).
ALEXNET = {
    "conv1": (3, 227, 96, 11, 4, 0, 1),
    "conv2": (96, 27, 256, 5, 1, 2, 2),
    "conv3": (256, 13, 384, 3, 1, 1, 1),
    "conv4": (384, 13, 384, 3, 1, 1, 2),
    "conv5": (384, 13, 256, 3, 1, 1, 2),
}


def alexnet_convolutions() -> Network:
    """Return the convolutions alone, each with an input of its own: what lies between them was not measured."""
    layers, connections = [], []
    for name, (channels, size, filters, kernel, stride, padding, groups) in ALEXNET.items():
        weights = np.ones((filters, channels // groups, kernel, kernel), dtype=np.int32)
        conv = Conv2d(weights, (channels, size, size), stride, padding, 1, groups)
        layers += [Layer(f"{name} in", conv.in_shape, Relay()), Layer(name, conv.out_shape, Sigma())]
        connections.append(Connection((f"{name} in",), name, conv))
    return Network(layers, connections, "alexnet convolutions")


def perceptron(layers: int, size: int) -> Network:
    """Return so many dense layers of the same size."""
    weights = np.ones((size, size), dtype=np.int32)
    names = [f"layer{i}" for i in range(layers + 1)]
    populations = [Layer(name, (size,), Sigma() if i else Relay()) for i, name in enumerate(names)]
    return Network(populations, [Connection((a,), b, Dense(weights)) for a, b in pairwise(names)], "perceptron")


def _eyeriss(_: Path | None) -> list[Row]:
    cost = baseline_cost(alexnet_convolutions(), "eyeriss", batch=4, weight_bits=16, activation_bits=16)
    rate = cost.throughput_per_s
    assert rate is not None
    chip = [term for term in cost.terms if not term.key.endswith(".dram")]
    energy = Interval(*(math.fsum(getattr(term.energy_j, end) for term in chip) for end in ("value", "low", "high")))
    accesses = float(cost.terms[-1].counts.sum()) / cost.macs
    return [
        Row("MACs a frame", point(cost.macs * 1e-6), 666.0, "M", "derived", TEST, "", 0.01),
        Row("frames a second", point(rate), 34.7, "", "measured", TEST, "a bound: filling and draining are left out"),
        Row("chip energy a frame", energy.scaled(1e3), 278.0 / 34.7, "mJ", "measured", TEST,
            "the unit of energy is an estimate"),
        Row("chip power", energy.scaled(rate * 1e3), 278.0, "mW", "measured", TEST, "from the two above"),
        Row("accesses to DRAM a MAC", point(accesses), 0.0029, "", "measured", WEAK,
            "nothing is compressed; the order of loops was chosen after a look"),
    ]  # fmt: skip


def _tera_operations(cost: BaselineCost) -> float:
    assert cost.throughput_per_s is not None
    return 2 * cost.macs * cost.throughput_per_s / 1e12


def _tpu(_: Path | None) -> list[Row]:
    def run(layers: int, size: int, batch: int) -> BaselineCost:
        return baseline_cost(perceptron(layers, size), "tpu_v1", batch=batch, weight_bits=8)

    ridge = next(batch for batch in range(1300, 1500) if run(1, 512, batch).layers[0].bound == "compute")
    shapes = "shapes are assumed: equal square ones"
    return [
        Row("peak", point(_tera_operations(run(1, 2048, 2048))), 92.0, "TOPS", "derived", NONE,
            "follows from clock and array, which are constants", 0.01),
        Row("MACs a byte of weights where computing binds", point(ridge), 1350.0, "", "derived", NONE,
            "follows from clock, array and bandwidth, which are constants", 0.01),
        Row("MLP0", point(_tera_operations(run(5, 2000, 200))), 12.3, "TOPS", "measured", WEAK, shapes),
        Row("MLP1", point(_tera_operations(run(4, 1118, 168))), 9.7, "TOPS", "measured", WEAK,
            f"{shapes}; small matrices leave tiles part empty"),
    ]  # fmt: skip


def _cpu(_: Path | None) -> list[Row]:
    inputs, outputs = Layer("in", (784,), Relay()), Layer("out", (128,), Sigma())
    dense = Connection(("in",), "out", Dense(np.ones((128, 784), dtype=np.int32)))
    cost = baseline_cost(Network([inputs, outputs], [dense]), "cpu")
    energy = cost.energy_j.scaled(1e3)
    return [Row("784 inputs to 128 units", energy, 0.864, "mJ", "derived", NONE, "constants are from there", 0.001)]


EYERISS = Case(
    "Eyeriss",
    "Eyeriss, AlexNet's convolutions",
    "Chen et al. 2017, IEEE J. Solid-State Circuits 52(1), and ISSCC 2016: 34.7 frames/s, 278 mW without DRAM.",
    "The five convolutions with a batch of 4. The chip gates zeros and compresses what goes to DRAM; how many zeros "
    "each layer had is not used here.",
    "Relative costs of accesses are published; the energy that they are relative to is an estimate.",
    _eyeriss,
    remarks=(
        "Time is a lower bound of a formula, so the rate is above the measured one. Both errors of energy and power "
        "lie within the range of the unit.",
    ),
)
TPU = Case(
    "TPU",
    "TPU v1, its roofline and two perceptrons",
    "Jouppi et al. 2017, ISCA; quoted from memory.",
    "Dense layers alone: MLP0 of five layers, 20 million weights and a batch of 200, MLP1 of four, 5 million and 168.",
    "Clock, array and bandwidth are published; nothing was fitted.",
    _tpu,
    remarks=("The formulas leave out the host, which the published rates of whole networks hold.",),
)
CPU = Case(
    "CPU",
    "A CPU by energy an operation",
    "KerasSpiking's documentation (commit b28875a) of its own example.",
    "784 inputs to 128 units.",
    "The constant is from there; the row checks the sum.",
    _cpu,
)
