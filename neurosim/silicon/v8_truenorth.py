"""V8: TrueNorth's rates and densities (Merolla et al. 2014), and its convolutional networks (Esser et al. 2016)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodels import load_chip
from neurosim import api
from neurosim.costs import Interval, Result
from neurosim.network import Connection, CubaLif, Dense, Layer, Network
from neurosim.silicon.case import NONE, TEST, Case, Row

SIDE = 8
CORES = SIDE * SIDE
"""Cores that are simulated: a corner of the chip, whose power goes with its cores."""

AXONS = NEURONS = 256
THRESHOLD = 1 << 22
OFFSETS = (-8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8)
CHIP_CORES = 4096


@dataclass(frozen=True)
class Activity:
    """What every core does: in `ticks` each neuron spikes about `spikes` times, a spike meets `synapses` synapses."""

    ticks: int
    spikes: int
    synapses: int


def ring(activity: Activity) -> Network:
    """Return full cores, each of which gets the spikes of the next one through its crossbar.

    A constant input drives each neuron over its threshold again and again, at rates that differ by up to eight
    spikes in `ticks` and have the mean that is asked for; synapses are met and paid, and weigh next to nothing.
    """
    counts = activity.spikes + np.resize(np.array(OFFSETS), NEURONS)
    # In state units a tick: half a spike more than wanted, less what comes by synapses (64 each).
    synaptic = 64.0 * activity.spikes * activity.synapses / activity.ticks
    bias = np.round(((counts + 0.5) * THRESHOLD / activity.ticks - synaptic) / 64).astype(np.int64)
    unit = CubaLif(current_decay=4096, voltage_decay=0, threshold=THRESHOLD, bias=bias)
    target, source = np.indices((NEURONS, AXONS))
    crossbar = Dense(((target - source) % AXONS < activity.synapses).astype(np.int32))
    layers = [Layer(f"core{i}", (NEURONS,), unit) for i in range(CORES)]
    connections = [Connection((f"core{(i + 1) % CORES}",), f"core{i}", crossbar) for i in range(CORES)]
    return Network(layers, connections, f"ring of {CORES} cores")


def run_ring(chip: str, period_ps: int, activity: Activity) -> Result:
    """Simulate the ring in ticks of a given length."""
    settings = {"mesh.columns": str(SIDE), "mesh.rows": str(SIDE), "sync.period": f"{period_ps} ps"}
    program = api.compile(ring(activity), load_chip(chip, settings))
    return api.simulate(program, {}, steps=activity.ticks, steps_per_inference=activity.ticks)


def power_mw(result: Result, cores: int) -> Interval:
    """Return the mean power in mW of so many cores that do what the simulated ones do."""
    powers = result.energy_run.powers_w
    assert powers is not None
    return powers["active"].scaled(1e3 * cores / CORES)


# Hz, active synapses of a neuron, mW: 72 mW is published, the other is what 400 GSOPS/W come to.
CORNERS = ((20, 128, 72.0), (200, 256, 1e3 * 2**20 * 200 * 256 / 400e9))
# Name, cores, frames a second, mW.
EEDN = (
    ("CIFAR-10", 4042, 1249, 204.4),
    ("SVHN", 4042, 2526, 256.5),
    ("VAD", 423, 1539, 26.1),
    ("TIMIT class", 1943, 2610, 142.6),
)
# A tenth of the lines active in a tick, half of the crosspoints on: assumed when the constants were derived.
EEDN_ACTIVITY = Activity(ticks=200, spikes=20, synapses=128)


def _corners(_: Path | None) -> list[Row]:
    rows = []
    for rate, synapses, published in CORNERS:
        ticks = 1000 if rate < 100 else 200
        result = run_ring("truenorth", 1_000_000_000, Activity(ticks, rate * ticks // 1000, synapses))
        power = power_mw(result, CHIP_CORES)
        kind = "measured" if rate == 20 else "derived"
        rows.append(
            Row(
                f"power, {rate} Hz x {synapses} synapses",
                power,
                published,
                "mW",
                kind,
                NONE,
                "this row fixed constants",
                target=0.20,
            )
        )
    return rows


def _eedn(_: Path | None) -> list[Row]:
    rows = []
    for name, cores, rate, published in EEDN:
        result = run_ring("truenorth_1v0", round(1e12 / rate), EEDN_ACTIVITY)
        power = power_mw(result, cores)
        fixed = cores == 4042
        evidence, note = (NONE, "this row fixed constants") if fixed else (TEST, "")
        rows.append(
            Row(
                f"power, {name}, {cores} cores, {rate} frames/s",
                power,
                published,
                "mW",
                "measured",
                evidence,
                note,
                0.20,
            )
        )
    return rows


_SCALE = (
    f"{CORES} full cores of {NEURONS} neurons are simulated, each fed by a neighbour, and their power is multiplied by "
    f"cores/{CORES}. Everything that is paid is paid by a core, but for hops: here each spike goes one hop or two, on "
    "a full chip more. With 20 Hz and 40 hops a spike, which is what neurons with targets anywhere on the chip would "
    "have, 2 pJ a hop are 1.7 mW of the 72 mW."
)

CORNERS_CASE = Case(
    "V8-corners",
    "TrueNorth, recurrent networks of a full chip",
    "Merolla et al. 2014, Science 345(6197), 668-673, and its notes: one million neurons at 0.775 V; 400 GSOPS/W at "
    "200 Hz and 256 synapses is quoted from memory.",
    "Neurons that spike on their own at the given mean rate, crossbars with the given number of synapses on, ticks of "
    f"1 ms. {_SCALE}",
    "These two rows fixed the energy of a synaptic event and the power of a core at 0.775 V. They check the sums.",
    _corners,
)

EEDN_CASE = Case(
    "V8",
    "TrueNorth, convolutional networks at 1.0 V",
    "Esser et al. 2016, PNAS 113(41), table of networks on one chip, as a survey quotes it; power without the board.",
    "As many cores as published, ticks as long as a frame. No activity is published: a tenth of the lines is active in "
    f"each tick and half of the crosspoints are on, in all four networks. {_SCALE}",
    "CIFAR-10 and SVHN fixed the power of a core and the energy of an update at 1.0 V, at the assumed activity; VAD "
    "and TIMIT fixed nothing.",
    _eedn,
)
