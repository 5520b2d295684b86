"""Cores with stages on networks with routing tables and packets that give up: whole runs against the plain stepper."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from random_networks import changed, number
from whole_runs import BY_HAND, compared, random_chip, relays, timed

import neurosim
from hwmodels import Chip
from neurosim.compiler import compile_network
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import (
    CoreCount,
    FunctionRun,
    LayerCount,
    StepTiming,
    TraceWindow,
    run_program,
)
from neurosim.engine.counters import StepCount
from neurosim.engine.timers import step_timer
from neurosim.errors import InputError
from neurosim.network import Connection, Dense, Layer, Network, Relay, SigmaDelta
from neurosim.report import summarise, write_timeline

# Kinds of waiting, and the least number of the systems below that must show each.
LEAST = {
    "copies": 10,
    "copy is dropped": 10,
    "flit is sent again": 5,
    "message waits for the phase": 3,
    "part of the copies is left": 6,
    "reinjection queue is full": 4,
    "second side is taken": 2,
    "several copies are given up": 1,
}


def compared_routed(case: int) -> Counter[str]:
    rng = Random(case)
    return compared(rng, random_chip(rng))


def test_whole_runs_equal_the_plain_machine() -> None:
    shown: Counter[str] = Counter()
    for case in range(30):
        shown.update(kind for kind, times in compared_routed(case).items() if times)
    assert not {kind: shown[kind] for kind in LEAST if shown[kind] < LEAST[kind]}


@pytest.mark.slow
def test_many_whole_runs_equal_the_plain_machine() -> None:
    for case in range(1000, 2000):
        compared_routed(case)


TABLES = {"network.tables": {"entries": number(8), "default_routing": True}}


def test_one_packet_reaches_two_cores_by_hand() -> None:
    """Packets leave their core at 4 and 8 ns, and are at both cores 5 ns later; stages take 5, 1 and 7 ns.

    Without tables there are four packets, which leave at 4, 8, 12 and 16 ns.
    """
    both = relays([0, 1], [0, 1])
    timing, trace = timed(both, changed("loihi2", BY_HAND | TABLES))[2:]
    assert trace.packet.tolist() == [0, 0, 1, 1]
    assert trace.injected_ps.tolist() == [4000, 8000]
    assert trace.arrived_ps.tolist() == [9000, 9000, 13000, 13000]
    assert trace.finish_ps.tolist() == [0, 29000, 29000]
    assert timing.layer_counts.sum(axis=0)[[LayerCount.PACKETS, LayerCount.COPIES]].tolist() == [2, 4]
    timing, trace = timed(both, changed("loihi2", BY_HAND))[2:]
    assert trace.arrived_ps.tolist() == [9000, 13000, 17000, 21000]
    assert trace.finish_ps.tolist() == [0, 30000, 34000]
    assert timing.layer_counts.sum(axis=0)[[LayerCount.PACKETS, LayerCount.COPIES]].tolist() == [4, 4]


def test_a_copy_for_which_a_core_has_no_synapses_takes_axon_in_there() -> None:
    timing, trace = timed(relays([0], [0, 1]), changed("loihi2", BY_HAND | TABLES))[2:]
    assert trace.arrived_ps.tolist() == [9000, 9000, 13000, 13000]
    assert trace.finish_ps.tolist() == [0, 22000, 29000]
    counts = timing.core_counts
    assert counts[:, CoreCount.AXON_IN_PS].tolist() == [0, 10000, 10000]
    assert counts[:, CoreCount.SYNAPSE_READ_PS].tolist() == [0, 1000, 2000]
    assert counts[:, CoreCount.ACCUMULATE_PS].tolist() == [0, 7000, 14000]


def test_a_crossbar_with_tables_by_hand() -> None:
    """A message takes axon-in; its synapse is done by the sweep, before the core's neuron: 7 ns a synop."""
    crossbar = BY_HAND | TABLES | {"core.kind": "crossbar"}
    crossbar |= {f"core.encodings.{kind}.synops": "nonzero" for kind in ("dense", "sparse", "conv")}
    timing, trace = _met(relays([0, 1], [0]), changed("loihi2", crossbar))
    assert trace.injected_ps.tolist() == [4000, 8000]
    assert trace.finish_ps.tolist() == [0, 19000, 19000]
    assert trace.sweep_end_ps.tolist() == [8000, 14000, 7000]
    assert timing.core_counts[:, CoreCount.SYNOPS_CHARGED].tolist() == [0, 2, 1]


def _met(network: Network, chip: Chip) -> tuple[StepTiming, Any]:
    """The second timestep, in which the relays spike and targets meet what they sent in the first."""
    program = compile_network(network, chip)
    frames = {"in": np.ones((2, network["in"].size), dtype=np.int64)}
    *_, activity = FunctionRun(network, frames, counted_synapses(program)).steps(2)
    return step_timer(program).step(activity)


def dropping(wait: str) -> Chip:
    changes: dict[str, Any] = {"core.axon_in.time": ("100 ns",), "core.axon_in.queue": (1,)}
    changes["network.blocked"] = {"wait": number(wait), "emergency": False}
    return changed("loihi2", BY_HAND | changes)


def test_a_router_drops_what_waits_too_long_by_hand() -> None:
    """Messages are at the router at 6, 10 and 14 ns. The third waits until the second is taken, at 109 ns, or less."""
    timing, trace = timed(relays([0, 1, 2]), dropping("20 ns"))[2:]
    assert trace.arrived_ps.tolist()[:2] == [9000, 13000]
    assert trace.arrived_ps[2] < 0
    assert trace.finish_ps.tolist() == [0, 217_000]
    assert timing.events[StepCount.DROPPED] == timing.dropped.sum() == 1
    assert timing.core_counts[1, [CoreCount.PACKETS_IN, CoreCount.AXON_IN_PS]].tolist() == [3, 200_000]
    assert timing.path[-2, 4] == 217_000
    timing, trace = timed(relays([0, 1, 2]), dropping("200 ns"))[2:]
    assert trace.arrived_ps.tolist() == [9000, 13000, 113_000]
    assert not timing.events.any()


def test_reports_say_what_was_dropped(tmp_path: Path) -> None:
    program = neurosim.compile(relays([0, 1, 2]), dropping("20 ns"))
    result = neurosim.simulate(program, np.ones((1, 3), dtype=np.int64), 1, trace=TraceWindow(), threads=1)
    summary = summarise(result)
    assert summary["incidents"]["dropped"] == 1
    assert result.incidents.sentences == (
        "1 of 3 messages (33.3 %) were dropped by routers: the values computed assume that all arrived, and energy "
        "counts them as delivered",
    )
    write_timeline(result.counts, tmp_path / "t.json.gz")
    with gzip.open(tmp_path / "t.json.gz") as file:
        events = json.load(file)["traceEvents"]
    assert [event["ts"] for event in events if event["name"] == "message dropped"] == [0.012]


def test_fast_fidelity_copies_packets_and_refuses_to_give_up() -> None:
    network, chip = relays([0, 1], [0, 1]), changed("loihi2", BY_HAND | TABLES)
    program, frames = compile_network(network, chip), {"in": np.ones((1, 2), dtype=np.int64)}
    exact = run_program(program, frames, 2, threads=1)
    fast = run_program(program, frames, 2, threads=1, fidelity="fast", check_fidelity=2)
    assert fast.layer_counts.tolist() == exact.layer_counts.tolist()
    assert fast.link_flits.tolist() == exact.link_flits.tolist()
    assert fast.checked_ps.tolist() == exact.duration_ps.tolist()
    with pytest.raises(InputError, match="in fidelity fast nothing blocks, so no packet gives up"):
        run_program(compile_network(network, dropping("20 ns")), frames, 2, fidelity="fast")


def test_tables_are_refused_where_units_update_at_each_arrival() -> None:
    layers = [Layer("in", (1,), Relay(spikes=True)), Layer("out", (1,), SigmaDelta(64))]
    network = Network(layers, [Connection(("in",), "out", Dense(np.ones((1, 1), dtype=np.int64)))])
    program = compile_network(network, changed("loihi2", BY_HAND | TABLES | {"sync": {"kind": "none"}}))
    with pytest.raises(InputError, match=r"network\.tables or network\.blocked on cores that update at each arrival"):
        run_program(program, {"in": np.ones((1, 1), dtype=np.int64)}, 1)
