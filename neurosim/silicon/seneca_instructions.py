"""SENECA: a run's energy against its instructions, each at its energy in Table 8 of Tang et al. 2023."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from hwmodels import load_chip
from neurosim import api
from neurosim.costs import Result
from neurosim.engine import LayerCount
from neurosim.network import Connection, Delta, Dense, Layer, Network, Sigma, SigmaDelta
from neurosim.silicon.case import NONE, WEAK, Case, Row, point

# pJ an instruction and element, as Table 8 gives it, and the sum of the parts that the table gives for it.
LOAD, STORE, ADD, COMPARE, CAPTURE, EVENT, RISCV, HOP = 3.7, 3.9, 1.4, 1.2, 0.5, 1.1, 11.6, 2.0
ELEMENTS = 8
PARTS = {
    "load of 16 bits": ((2.9, 0.6, 1.6 / ELEMENTS), LOAD),
    "store of 16 bits": ((3.5, 0.2, 1.6 / ELEMENTS), STORE),
    "addition": ((1.3, 0.9 / ELEMENTS), ADD),
    "instruction of the RISC-V": ((5.9, 5.7), RISCV),
}


def _network() -> Network:
    random = np.random.default_rng(8)
    layers = [
        Layer("in", (24,), Delta(threshold=1 << 12)),
        Layer("hidden", (40,), SigmaDelta(threshold=1 << 12)),
        Layer("out", (10,), Sigma()),
    ]
    pairs = [("in", "hidden", (40, 24)), ("hidden", "out", (10, 40))]
    links = [Connection((a,), b, Dense(random.integers(-9, 10, shape))) for a, b, shape in pairs]
    return Network(layers, links, "sigma-delta")


def _simulate() -> Result:
    frames = np.random.default_rng(9).integers(0, 20, (8, 24))
    return api.simulate(api.compile(_network(), load_chip("seneca")), frames)


def _by_table_nj(result: Result) -> float:
    """Return the energy of the run's instructions, in nJ.

    What was done is the simulator's count, the prices are the table's: a synaptic operation loads a weight and a
    state, adds and stores; an update loads, compares, and if it changes anything subtracts and stores; a message is
    captured and sent. Ten instructions of the RISC-V send a message to a core, twenty take it in: those two numbers
    are estimates.
    """
    total = {count: int(result.layer_total(count).sum()) for count in LayerCount}
    stateful = [i for i, layer in enumerate(result.network.layers) if layer.unit.state_names]
    sent = int(result.layer_total(LayerCount.MESSAGES)[stateful].sum())
    hops = total[LayerCount.FLIT_HOPS_EAST_WEST] + total[LayerCount.FLIT_HOPS_NORTH_SOUTH]
    return 1e-3 * math.fsum(
        (
            total[LayerCount.SYNOPS] * (LOAD + LOAD + ADD + STORE),
            total[LayerCount.UPDATES_INACTIVE] * (LOAD + COMPARE),
            total[LayerCount.UPDATES_ACTIVE] * (LOAD + COMPARE + ADD + STORE),
            sent * (CAPTURE + EVENT),
            (total[LayerCount.PACKETS] * 10 + total[LayerCount.COPIES] * 20) * RISCV,
            (hops + total[LayerCount.COPIES]) * HOP,
        )
    )


def _run(_: Path | None) -> list[Row]:
    rows = [
        Row(
            f"{name}, from its parts",
            point(math.fsum(parts)),
            published,
            "pJ",
            "simulated",
            NONE,
            "the table against itself",
            0.05,
        )
        for name, (parts, published) in PARTS.items()
    ]
    result = _simulate()
    synop = next(t for t in result.energy_run.terms if t.key == "core.encodings.dense.synop_energy")
    each = synop.energy_j.scaled(1e12 / float(synop.counts.sum()))
    note = "constants are sums of the table"
    dynamic = result.energy_run.dynamic_j.value * 1e9
    rows += [
        Row("run of a small network, in all", point(dynamic), _by_table_nj(result), "nJ", "derived", NONE,
            f"{note}, by which the figure is added up", 0.05),
        Row("synaptic operation, nothing shared", each, LOAD + LOAD + ADD + STORE, "pJ", "derived", NONE, note, 0.05),
        Row("synaptic operation, headline figure", each, 2.8, "pJ", "simulated", WEAK,
            "a miss: spikes that share reads and writes of a state are not modelled; the low end is this figure", 0.20),
    ]  # fmt: skip
    return rows


CASE = Case(
    "SENECA",
    "SENECA, energies of instructions",
    "Tang et al. 2023, Front. Neurosci. 17:1187252, Table 8: post-synthesis, GF 22FDX; no silicon was published.",
    "A small sigma-delta network without timesteps; its operations are turned into instructions and paid by the table, "
    "apart from the chip file.",
    "The constants are sums of the table's energies. The rows check the sums, but for the last one.",
    _run,
)
