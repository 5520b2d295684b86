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
from plain_router import Observed
from plain_stepper import step_through
from plain_sweeps import PlainSweeps
from random_networks import changed, number, random_frames, random_memories, random_network

import neurosim
from hwmodels import Chip
from neurosim.compiler import Program, compile_network
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import (
    CoreCount,
    FunctionRun,
    LayerCount,
    StepActivity,
    StepTiming,
    TraceWindow,
    run_program,
)
from neurosim.engine.counters import StepCount
from neurosim.engine.routed import RoutedRun, step_timer
from neurosim.errors import InputError
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay, SigmaDelta, Sparse
from neurosim.report import summarise, write_timeline

TICK_PS = 1000
TIMESTEPS = 2


def random_chip(rng: Random) -> Chip:
    """Loihi 2 with few tiles and short queues, routing tables, and routers that give up."""

    def ns(low: int, high: int) -> tuple[str]:
        return (f"{rng.randint(low, high)} ns",)

    tables, blocked = rng.choice([(True, False), (False, True), (True, True), (True, True)])
    six_links = rng.random() < 0.5
    changes: dict[str, Any] = random_memories(rng) | {
        "core.neurons_usable": (rng.randint(60, 120),),
        "core.phases": rng.choice([None, None, "overlap", "strict"]),
        "core.shared_port": rng.choice([None, None, ["synapse_read", "accumulate"]]),
        "core.axon_in.time": ns(0, 9),
        "core.axon_in.queue": (rng.randint(1, 4),),
        "core.axon_in.stage_queue": (rng.randint(1, 3),),
        "core.axon_out.time": ns(0, 4),
        "core.axon_out.queue": (rng.randint(1, 4),),
        "core.neuron.update_active_time": ns(0, 4),
        "core.neuron.update_inactive_time": ns(0, 2),
        "core.neuron.send_time": ns(0, 3),
        "network.flit": ("64 bit",),
        "network.buffer": (rng.randint(1, 4),),
        "network.latency_injection": ns(1, 4),
        "network.latency_ejection": ns(1, 4),
        "network.latency_east_west": ns(1, 6),
        "network.latency_north_south": ns(1, 6),
        "network.link_interval": ns(1, 9),
        "network.local_interval": ns(1, 5),
        "network.credit_return": ns(1, 5),
        "mesh.cores_per_tile": (rng.randint(1, 2),),
        "mesh.cores_usable": None,
        "mesh.columns": (1 if six_links else 3,),
        "mesh.rows": (1 if six_links else 2,),
    }
    if rng.random() < 0.5:
        changes["sync"] = {"kind": "tick", "period": number(f"{rng.choice([1, 400, 4000])} ns")}
    if six_links:
        times = {"latency": number(*ns(1, 6)), "interval": number(*ns(1, 9)), "energy": number("1 pJ")}
        changes["chips"] = {"topology": "triangular_torus", "columns": number(3), "rows": number(2)} | times
        if not blocked:
            changes["network.virtual_channels"] = (2,)
    if tables:
        changes["network.tables"] = {"entries": number(100), "default_routing": rng.random() < 0.5}
    if blocked:
        table = {"wait": number(*ns(1, 12)), "emergency": six_links and rng.random() < 0.7}
        if table["emergency"]:
            table["emergency_wait"] = number(*ns(1, 12))
        if rng.random() < 0.5:
            table |= {"reinjection": number(*ns(1, 9)), "reinjection_queue": number(rng.randint(1, 3))}
        changes["network.blocked"] = table
    return changed("loihi2", changes)


def compare(timing: StepTiming, trace: Any, seen: Observed, timer: RoutedRun) -> None:
    """Hold one timestep against what was seen on the plain machine."""
    assert not seen.happened["machine is stuck"]
    assert trace.arrived_ps.tolist() == [tick * TICK_PS for tick in seen.arrived]
    assert trace.injected_ps.tolist() == [tick * TICK_PS for tick in seen.injected]
    assert trace.sweep_end_ps.tolist() == [tick * TICK_PS for tick in seen.sweep_end]
    assert trace.finish_ps.tolist() == [tick * TICK_PS for tick in seen.finish]
    for count, ticks in ((CoreCount.STALL_PS, seen.stalled), (CoreCount.INPUT_WAIT_PS, seen.waited)):
        assert timing.core_counts[:, count].tolist() == [tick * TICK_PS for tick in ticks]
    for flits, counted in ((timing.link_flits, seen.link_flits), (timing.dropped, seen.dropped)):
        assert {(int(r), int(o)): int(flits[r, o]) for r, o in np.argwhere(flits)} == +counted
    events = timing.events
    assert events[StepCount.DROPPED] == seen.arrived.count(-1)
    assert events[StepCount.DETOURS] == seen.detours.total()
    assert events[StepCount.REINJECTED] == seen.reinjected.total()
    done = max(*seen.sweep_end, *seen.finish) * TICK_PS + timer.barrier_ps
    period = timer.program.chip.sync.period
    assert timing.duration_ps == max(done, 0 if period is None else period.value)


def compared(rng: Random) -> Counter[str]:
    """Hold every timestep of a random program against the plain machine; return what there was to see."""
    network, chip = random_network(rng), random_chip(rng)
    program = compile_network(network, chip)
    timer, plain = step_timer(program), PlainSweeps(program, TICK_PS)
    assert isinstance(timer, RoutedRun)
    assert timer.tick_ps == TICK_PS
    model = timer.mesh
    shown: Counter[str] = Counter()
    for activity in FunctionRun(network, random_frames(rng, network, TIMESTEPS)).steps(TIMESTEPS):
        seen = step_through(model, plain.load(model, activity))
        timing, trace = timer.step(activity)
        compare(timing, trace, seen, timer)
        check_busy_times(timing, trace, plain, activity)
        shown.update(kind for kind, ticks in seen.happened.items() if ticks)
        shown["timesteps"] += 1
        shown["packets"] += trace.flits.size > 0
        shown["copies"] += trace.packet.size > trace.flits.size
    return shown


def check_busy_times(timing: StepTiming, trace: Any, plain: PlainSweeps, activity: StepActivity) -> None:
    """Stages were busy with what arrived, and with nothing else."""
    packets = [packet for core in range(plain.program.cores) for packet in plain.of(core, activity)[0]]
    read = np.zeros(plain.program.cores, dtype=np.int64)
    accumulate = np.zeros_like(read)
    for copy, (to, times) in enumerate(item for packet in packets for item in packet.met.items()):
        if trace.arrived_ps[copy] >= 0:
            read[to] += times[0] * TICK_PS
            accumulate[to] += times[1] * TICK_PS
    axon_in = np.bincount(trace.destination[trace.arrived_ps >= 0], minlength=read.size) * (
        plain.program.chip.core.axon_in.time.value
    )
    if plain.program.chip.core.shared_port is None:
        assert timing.core_counts[:, CoreCount.SYNAPSE_READ_PS].tolist() == read.tolist()
        assert timing.core_counts[:, CoreCount.ACCUMULATE_PS].tolist() == accumulate.tolist()
    assert timing.core_counts[:, CoreCount.AXON_IN_PS].tolist() == axon_in.tolist()


# Kinds of waiting, and the least number of the systems below that must show each.
LEAST = {
    "copies": 15,
    "copy is dropped": 15,
    "flit is sent again": 10,
    "message waits for the phase": 5,
    "part of the copies is left": 10,
    "reinjection queue is full": 8,
    "second side is taken": 3,
    "several copies are given up": 2,
}


def test_whole_runs_equal_the_plain_machine() -> None:
    shown: Counter[str] = Counter()
    for case in range(40):
        shown.update(kind for kind, times in compared(Random(case)).items() if times)
    assert not {kind: shown[kind] for kind in LEAST if shown[kind] < LEAST[kind]}


@pytest.mark.slow
def test_many_whole_runs_equal_the_plain_machine() -> None:
    for case in range(1000, 2000):
        compared(Random(case))


BY_HAND: dict[str, Any] = {
    "mesh.columns": (1,),
    "mesh.rows": (1,),
    "mesh.cores_per_tile": (3,),
    "mesh.cores_usable": None,
    "core.neurons_usable": (4,),
    "core.axon_in.time": ("5 ns",),
    "core.axon_in.queue": (4,),
    "core.axon_out.time": ("4 ns",),
    "core.memories.synapse.read_latency": ("1 ns",),
    "core.neuron.update_active_time": ("0 ns",),
    "core.neuron.update_inactive_time": ("0 ns",),
    "network.flit": ("64 bit",),
    "network.latency_injection": ("2 ns",),
    "network.latency_ejection": ("3 ns",),
    "network.local_interval": ("1 ns",),
    "network.credit_return": ("1 ns",),
} | {f"core.encodings.{kind}.synop_time": ("7 ns",) for kind in ("dense", "sparse", "conv")}
TABLES = {"network.tables": {"entries": number(8), "default_routing": True}}


def relays(*targets: list[int]) -> Network:
    """Relays, and for each list of them a layer of one neuron that they lead to and that never fires."""
    count = 1 + max(max(sources) for sources in targets)
    layers, connections = [Layer("in", (count,), Relay(spikes=True))], []
    for place, sources in enumerate(targets):
        layers.append(Layer(f"out{place}", (1,), CubaLif(4096, 0, 1 << 20)))
        starts = np.concatenate(([0], np.cumsum([source in sources for source in range(count)])))
        ends = np.zeros(len(sources), dtype=np.int64)
        connections.append(Connection(("in",), f"out{place}", Sparse(starts, ends, ends + 5, 1)))
    return Network(layers, connections, "relays")


def timed(network: Network, chip: Chip) -> tuple[Program, StepActivity, StepTiming, Any]:
    """The timestep in which every relay spikes."""
    program = compile_network(network, chip)
    ones = np.ones((1, network["in"].size), dtype=np.int64)
    activity = next(iter(FunctionRun(network, {"in": ones}).steps(1)))
    return program, activity, *step_timer(program).step(activity)


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
