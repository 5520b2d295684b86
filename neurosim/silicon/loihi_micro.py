"""Loihi's micro-figures: one message over one hop of an empty mesh, and the barrier (Davies et al. 2018, Table 2)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hwmodels import load_chip
from neurosim import api
from neurosim.costs import Result
from neurosim.engine import Resource, StepTrace, TraceWindow
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.silicon.case import NONE, Case, Row, point

WITHIN = {"mesh.columns": "1", "mesh.rows": "1", "mesh.cores_per_tile": "2"}
EAST_WEST = {"mesh.columns": "2", "mesh.rows": "1", "mesh.cores_per_tile": "1"}
NORTH_SOUTH = {"mesh.columns": "1", "mesh.rows": "2", "mesh.cores_per_tile": "1"}


def _pair() -> Network:
    """Return one source and one neuron, each of which takes a core."""
    neuron = Layer("neuron", (1,), CubaLif(4096, 4096, threshold=1 << 20))
    link = Connection(("source",), "neuron", Dense(np.ones((1, 1), dtype=np.int32)))
    return Network([Layer("source", (1,), Relay(spikes=True)), neuron], [link], "one message")


def _one_message(settings: dict[str, str]) -> tuple[Result, StepTrace]:
    """Send one message in timestep 2 of 3, and return the run and what is kept of that timestep."""
    program = api.compile(_pair(), load_chip("loihi", settings))
    window = TraceWindow(2, 2)
    result = api.simulate(program, np.array([[0], [1], [0]]), steps=3, steps_per_inference=3, trace=window)
    return result, result.counts.traces[0]


def _flight_ns(settings: dict[str, str]) -> float:
    _, trace = _one_message(settings)
    packets = trace.packets
    assert packets is not None
    return float(packets.arrived_ps[0] - packets.injected_ps[0]) * 1e-3


def _network_pj(settings: dict[str, str], key: str) -> float:
    result, _ = _one_message(settings)
    return next(term.energy_j.value for term in result.energy_run.terms if term.key == key) * 1e12


def _barrier_ns(tiles: int) -> float:
    """Return what ends a timestep of so many tiles, one neuron on each, in which nothing is sent."""
    names = [f"neuron{i}" for i in range(tiles)]
    layers = [Layer(name, (1,), CubaLif(4096, 4096, threshold=1 << 20)) for name in names]
    settings = {"mesh.cores_per_tile": "1"}
    program = api.compile(Network(layers, [], "idle"), load_chip("loihi", settings))
    result = api.simulate(program, {}, steps=1, trace=TraceWindow(1, 1))
    path = result.counts.traces[0].path
    return float((path[:, 4] - path[:, 3])[path[:, 0] == Resource.BARRIER].sum()) * 1e-3


def _run(_: Path | None) -> list[Row]:
    within = _flight_ns(WITHIN)
    figures = [
        ("message within a tile", within, 2.1, "ns"),
        ("one hop east or west", _flight_ns(EAST_WEST) - within, 4.1, "ns"),
        ("one hop north or south", _flight_ns(NORTH_SOUTH) - within, 6.5, "ns"),
        ("message within a tile", _network_pj(WITHIN, "network.energy_local"), 1.7, "pJ"),
        ("one hop east or west", _network_pj(EAST_WEST, "network.energy_east_west"), 3.0, "pJ"),
        ("one hop north or south", _network_pj(NORTH_SOUTH, "network.energy_north_south"), 4.0, "pJ"),
        ("barrier, 1 tile", _barrier_ns(1), 113.0, "ns"),
        ("barrier, 32 tiles", _barrier_ns(32), 465.0, "ns"),
    ]
    return [
        Row(name, point(found), published, unit, "simulated", NONE, "it is the constant", target=0.01)
        for name, found, published, unit in figures
    ]


CASE = Case(
    "Loihi-micro",
    "Loihi, one message and the barrier",
    "Davies et al. 2018, IEEE Micro 38(1), Table 2 (SPICE, 0.75 V), as SANA-FE's loihi.tech (commit a7d6d51b) "
    "gives it.",
    "One message of one neuron through an empty mesh, between two cores of a tile and between tiles side by side; a "
    "timestep of 1 and of 32 tiles in which nothing is sent. A hop is the flight over one less the flight within "
    "a tile.",
    "Every figure is a constant of the chip. The rows check that a whole run of the simulator pays each once, no more.",
    _run,
)
