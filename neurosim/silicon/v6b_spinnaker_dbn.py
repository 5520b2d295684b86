"""V6b: a spiking deep belief network on one SpiNNaker chip (Stromatias et al. 2015)."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from hwmodels import load_chip
from neurosim import api
from neurosim.engine import LayerCount
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.silicon.case import NONE, TEST, Case, Row, point
from neurosim.silicon.imposed import poisson
from neurosim.silicon.v6_spinnaker_kmeans import mean_power

SIZES = {"pixels": 784, "hidden1": 500, "hidden2": 500, "digits": 10}
INPUT_HZ = 1500.0
STEPS = 1000
# Spikes that a neuron takes in before it sends one. Published are the input spikes and the synaptic events in all;
# these numbers give the events, of which the second hidden layer's share hardly matters: its spikes meet 10 synapses.
SPIKES_TO_FIRE = {"hidden1": 312, "hidden2": 350, "digits": 300}
MEAN_WEIGHT = 5


def _run(_: Path | None) -> list[Row]:
    random = np.random.default_rng(2015)
    layers = [
        Layer("pixels", (SIZES["pixels"],), Relay(spikes=True)),
        *(
            # A time constant of 5 s is a decay of 1 in 4096 a millisecond.
            Layer(name, (SIZES[name],), CubaLif(4096, 1, threshold=(count * MEAN_WEIGHT) << 6))
            for name, count in SPIKES_TO_FIRE.items()
        ),
    ]
    connections = [
        Connection((a,), b, Dense(random.integers(1, 2 * MEAN_WEIGHT, (SIZES[b], SIZES[a]), dtype=np.int32)))
        for a, b in pairwise(SIZES)
    ]
    spikes = poisson(random, np.full(SIZES["pixels"], INPUT_HZ / SIZES["pixels"]), STEPS)
    program = api.compile(Network(layers, connections, "spiking deep belief network"), load_chip("spinnaker"))
    result = api.simulate(program, spikes.astype(np.int32), steps=STEPS, steps_per_inference=STEPS)
    events = float(result.layer_total(LayerCount.SYNOPS).sum()) / result.energy_run.seconds
    note = "a miss: the idle chip alone, 0.35 W, is above the whole measured power"
    return [
        Row("power", mean_power(result), 0.297, "W", "measured", TEST, note, target=0.10),
        Row("synaptic events", point(events * 1e-6), 1.88, "M/s", "measured", NONE, "thresholds are set for it"),
    ]


CASE = Case(
    "V6b",
    "SpiNNaker, a deep belief network on one chip",
    "Stromatias et al. 2015, as Liu et al. 2016 quote it: 784-500-500-10 on 16 cores of one chip, 1,500 input spikes "
    "a second, about 0.3 W, less than 2.97 kJ over 10,000 s, 1.88 million synaptic events a second.",
    "The network with drawn weights, and thresholds that give the published number of events. 1 s in ticks of 1 ms.",
    "As for V6; no constant came from this row.",
    _run,
    remarks=(
        "**The miss.** The chip model's idle power is a mean over a 48-chip board and holds the chip's SDRAM. On which "
        "board this chip stood, how it was metered and whether its 0.3 W hold the SDRAM is not known here. No single "
        "idle power meets this row and K = 1 of V6 within 10 %: the first asks for 0.286 W at most, the other for "
        "0.321 W at least. So the two differ by how they were measured, which no constant of a chip can mend.",
    ),
)
