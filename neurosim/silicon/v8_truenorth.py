"""V8: TrueNorth's rates and densities (Merolla et al. 2014), and its convolutional networks (Esser et al. 2016)."""

from __future__ import annotations

import math
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
"""Cores that are simulated by default: a corner of the chip, whose power goes with its cores."""

AXONS = NEURONS = 256
THRESHOLD = 1 << 22
CHIP_CORES = 4096
FULL_SIDE = 64


@dataclass(frozen=True)
class Activity:
    """What every core does: a neuron spikes every `period` ticks on average, a spike meets `synapses` synapses."""

    period: int
    synapses: int

    @property
    def periods(self) -> tuple[int, int, int, int]:
        """Ticks from spike to spike of each fourth neuron: three rates, whose mean is the one that is asked for."""
        return (self.period, self.period * 3 // 5, self.period, self.period * 3)

    @property
    def ticks(self) -> int:
        """Ticks in which every neuron spikes a whole number of times."""
        return 2 * math.lcm(*self.periods)


def ring(activity: Activity, cores: int = CORES) -> Network:
    """Return full cores, each of which gets the spikes of the next one through its crossbar.

    A constant input drives each neuron over its threshold again and again; synapses are met and paid, and weigh next
    to nothing.
    """
    periods = np.resize(np.array(activity.periods), NEURONS)
    # State units a tick: half a tick before the period is full, less what comes by synapses (64 each).
    synaptic = 64.0 * activity.synapses / activity.period
    bias = np.round((THRESHOLD / (periods - 0.5) - synaptic) / 64).astype(np.int64)
    unit = CubaLif(current_decay=4096, voltage_decay=0, threshold=THRESHOLD, bias=bias)
    target, source = np.indices((NEURONS, AXONS))
    crossbar = Dense(((target - source) % AXONS < activity.synapses).astype(np.int32))
    layers = [Layer(f"core{i}", (NEURONS,), unit) for i in range(cores)]
    connections = [Connection((f"core{(i + 1) % cores}",), f"core{i}", crossbar) for i in range(cores)]
    return Network(layers, connections, f"ring of {cores} cores")


def run_ring(chip: str, period_ps: int, activity: Activity, side: int = SIDE, cores: int = CORES) -> Result:
    """Simulate the ring in ticks of a given length, on a chip of `side` x `side` cores."""
    settings = {"mesh.columns": str(side), "mesh.rows": str(side), "sync.period": f"{period_ps} ps"}
    program = api.compile(ring(activity, cores), load_chip(chip, settings))
    return api.simulate(program, {}, steps=activity.ticks, steps_per_inference=activity.ticks)


def power_mw(result: Result, cores: int) -> Interval:
    """Return the mean power in mW of so many cores that do what the simulated ones do."""
    powers = result.energy_run.powers_w
    assert powers is not None
    return powers["active"].scaled(1e3 * cores / result.program.cores)


# Hz, active synapses of a neuron, mW: 72 mW is published, the other is what 400 GSOPS/W come to.
CORNERS = ((20, 128, 72.0), (200, 256, 1e3 * 2**20 * 200 * 256 / 400e9))
# Cores, frames a second, mW.
EEDN = {
    "CIFAR-10": (4042, 1249, 204.4),
    "SVHN": (4042, 2526, 256.5),
    "VAD": (423, 1539, 26.1),
    "TIMIT class": (1943, 2610, 142.6),
}
FIXED_CONSTANTS = ("CIFAR-10", "SVHN")
# A tenth of the lines active in a tick, half of the crosspoints on: assumed when the constants were derived.
EEDN_ACTIVITY = Activity(period=10, synapses=128)


def _corners(_: Path | None) -> list[Row]:
    rows = []
    for rate, synapses, published in CORNERS:
        result = run_ring("truenorth", 1_000_000_000, Activity(1000 // rate, synapses))
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


def eedn_row(name: str, full: bool) -> Row:
    """Return the row of a network, simulated with all its cores on the full chip, or as a corner of it."""
    cores, rate, published = EEDN[name]
    size = {"side": FULL_SIDE, "cores": cores} if full else {}
    result = run_ring("truenorth_1v0", round(1e12 / rate), EEDN_ACTIVITY, **size)
    fixed = name in FIXED_CONSTANTS
    evidence, note = (NONE, "this row fixed constants") if fixed else (TEST, "")
    what = f"power, {name}, {cores:,} cores, {rate:,} frames/s ({result.program.cores:,} cores simulated)"
    return Row(what, power_mw(result, cores), published, "mW", "measured", evidence, note, 0.20)


def _eedn(_: Path | None) -> list[Row]:
    return [eedn_row(name, full=name not in FIXED_CONSTANTS) for name in EEDN]


_SCALE = (
    f"Where fewer cores are simulated than there are, {CORES} full cores stand for all, and their power is multiplied: "
    "everything that is paid is paid by a core, but for hops."
)

CORNERS_CASE = Case(
    "V8-corners",
    "TrueNorth, recurrent networks of a full chip",
    "Merolla et al. 2014, Science 345(6197), 668-673, and its notes: one million neurons at 0.775 V; 400 GSOPS/W at "
    "200 Hz and 256 synapses is quoted from memory.",
    "Full cores in a ring: neurons that spike on their own at three rates whose mean is the given one, crossbars with "
    f"the given number of synapses on, ticks of 1 ms. {_SCALE}",
    "These two rows fixed the energy of a synaptic event and the power of a core at 0.775 V. They check the sums.",
    _corners,
    remarks=(
        f"All {CHIP_CORES:,} cores in full, which takes five gigabytes, come to 72.20 mW in the first row too. There "
        "each spike goes to a neighbour. With 40 hops a spike, as neurons with targets anywhere on the chip would "
        "have, 2 pJ a hop are 1.7 mW of it.",
    ),
)

EEDN_CASE = Case(
    "V8",
    "TrueNorth, convolutional networks at 1.0 V",
    "Esser et al. 2016, PNAS 113(41), table of networks on one chip, as a survey quotes it; power without the board.",
    "Full cores in a ring, ticks as long as a frame; VAD and TIMIT with all their cores on the chip of 64 x 64. No "
    "activity is published: a tenth of the lines is active in each tick and half of the crosspoints are on, in all "
    f"four networks. {_SCALE}",
    "CIFAR-10 and SVHN fixed the power of a core and the energy of an update at 1.0 V, at the assumed activity; VAD "
    "and TIMIT fixed nothing.",
    _eedn,
    remarks=(
        "What is tested is that power goes with cores and with ticks, alike in all four networks. The assumed activity "
        "cancels: what a core takes in a tick was fitted as a whole, so less of it for synapses is more for updates.",
    ),
)
