"""ODIN's energy a synaptic operation at its highest rate and at 10 Hz a neuron (Frenkel et al. 2019)."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from hwmodels import Chip, load_chip
from neurosim import api
from neurosim.costs import Interval
from neurosim.engine import LayerCount
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.silicon.case import NONE, WEAK, Case, Row, point

NEURONS = 256
ROUND_S = 0.1
"""Between two spikes of a neuron at 10 Hz."""

_VARIANT = """\
schema = "neurosim.chip/1"
extends = "odin"
name = "odin_10_hz"
title = "ODIN, a round of spikes each 100 ms"
summary = "The chip of odin.toml, which waits between two rounds"

[[sync.barrier]]
tiles = 1
time = { value = "WAIT ps", kind = "derived", source = "10 Hz a neuron", note = "100 ms less the time of the work" }
"""


def _waiting(wait_ps: int) -> Chip:
    """Return the chip with a wait at the end of each timestep."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "odin_10_hz.toml"
        path.write_text(_VARIANT.replace("WAIT", str(wait_ps)), encoding="utf-8")
        return load_chip(str(path))


def _energy_pj(chip: Chip) -> tuple[Interval, float, float]:
    """Return pJ an operation, operations a second and the share of leakage, with every input spiking in each round."""
    inputs = Layer("inputs", (NEURONS,), Relay(spikes=True))
    neurons = Layer("neurons", (NEURONS,), CubaLif(4096, 0, threshold=1 << 22))
    weights = np.resize(np.array([1, 2, 3], dtype=np.int32), (NEURONS, NEURONS))
    network = Network([inputs, neurons], [Connection(("inputs",), "neurons", Dense(weights))], "all inputs")
    rounds = 4
    frames = np.ones((rounds, NEURONS), dtype=np.int32)
    result = api.simulate(api.compile(network, chip), frames, steps=rounds, steps_per_inference=rounds)
    energy = result.energy_run
    operations = float(result.layer_total(LayerCount.SYNOPS).sum())
    total = energy.total_j
    return total.scaled(1e12 / operations), operations / energy.seconds, energy.idle_j.value / total.value


def _run(_: Path | None) -> list[Row]:
    fast, rate, _share = _energy_pj(load_chip("odin"))
    work_ps = round(NEURONS * NEURONS / rate * 1e12)
    slow, _rate, leakage = _energy_pj(_waiting(round(ROUND_S * 1e12) - work_ps))
    model = "constants are the published model of the power, fitted by its authors to such figures"
    return [
        Row("energy an operation, highest rate", fast, 12.7, "pJ", "measured", NONE, model, target=0.05),
        Row("energy an operation, 10 Hz a neuron", slow, 54.0, "pJ", "measured", NONE, model, target=0.05),
        Row("leakage at 10 Hz a neuron", point(100 * leakage), 78.0, "%", "measured", NONE, model, target=0.05),
        Row(
            "operations a second at 75 MHz",
            point(rate * 1e-6),
            37.5,
            "M/s",
            "derived",
            WEAK,
            "two cycles an operation, quoted from memory; taking in events costs the rest",
        ),
    ]


CASE = Case(
    "ODIN",
    "ODIN, energy an operation at two rates",
    "Frenkel et al. 2019, IEEE Trans. Biomed. Circuits Syst. 13(1), at 0.55 V, as a survey quotes it.",
    "256 inputs spike together onto 256 neurons, 65,536 operations a round: one round after the other, and a round "
    "each 100 ms.",
    "27 uW of leakage, 1.8 uW/MHz and 8.43 pJ an operation are the published model of the chip's power.",
    _run,
)
