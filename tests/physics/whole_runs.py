"""Whole runs of random programs on random chips, against the plain stepper on loads made in plain Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from plain_router import Observed
from plain_stepper import step_through
from plain_sweeps import PlainSweeps
from random_networks import changed, number, random_frames, random_memories, random_network

from hwmodels import Chip
from neurosim.compiler import Program, compile_network
from neurosim.engine import CoreCount, FunctionRun, StepActivity, StepTiming, TimeRun
from neurosim.engine.counters import StepCount
from neurosim.engine.timers import step_timer
from neurosim.errors import DeadlockError
from neurosim.network import Connection, CubaLif, Layer, Network, Relay, Sparse

TICK_PS = 1000
TIMESTEPS = 2
QUIET_TICKS = 5_000
"""Longer than any message takes at a stage."""


def random_chip(rng: Random, shared_port: list[str] | None = None, *, routed: bool = True) -> Chip:
    """Loihi 2 with few tiles and short queues; where `routed`, with routing tables or routers that give up."""

    def ns(low: int, high: int) -> tuple[str]:
        return (f"{rng.randint(low, high)} ns",)

    tables, blocked = rng.choice([(True, False), (False, True), (True, True), (True, True)])
    if not routed:
        tables, blocked = False, False
    six_links = rng.random() < 0.5
    changes: dict[str, Any] = random_memories(rng) | {
        "core.neurons_usable": (rng.randint(60, 120),),
        "core.phases": rng.choice([None, None, "overlap", None if shared_port else "strict"]),
        "core.shared_port": shared_port or rng.choice([None, None, ["synapse_read", "accumulate"]]),
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


def compare(timing: StepTiming, trace: Any, seen: Observed, timer: TimeRun) -> None:
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


def within(activity: StepActivity, most: int) -> StepActivity:
    """The same with messages of -most..most: values have no part in time but for how often they are sent."""
    return replace(activity, value=np.clip(activity.value, -most, most))


def compared(rng: Random, chip: Chip, messages: str = "graded", most: int = 1 << 30) -> Counter[str]:
    """Hold every timestep of a random program against the plain machine; return what there was to see."""
    network = random_network(rng)
    program = compile_network(network, chip, messages=messages)
    timer, plain = step_timer(program), PlainSweeps(program, TICK_PS)
    assert timer.tick_ps == TICK_PS
    model = timer.mesh
    shown: Counter[str] = Counter()
    for whole in FunctionRun(network, random_frames(rng, network, TIMESTEPS)).steps(TIMESTEPS):
        activity = within(whole, most)
        seen = step_through(model, plain.load(model, activity), QUIET_TICKS)
        if seen.happened["machine is stuck"]:
            # Strict phases: a sweep that cannot send waits for cores that take nothing before their sweeps end.
            with pytest.raises(DeadlockError):
                timer.step(activity)
            shown["stuck"] += 1
            continue
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
    assert timing.core_counts[:, CoreCount.SYNAPSE_READ_PS].tolist() == read.tolist()
    assert timing.core_counts[:, CoreCount.ACCUMULATE_PS].tolist() == accumulate.tolist()
    assert timing.core_counts[:, CoreCount.AXON_IN_PS].tolist() == axon_in.tolist()


# A single tile with round numbers.
BY_HAND: dict[str, Any] = {
    "mesh.columns": (1,),
    "mesh.rows": (1,),
    "mesh.cores_per_tile": (3,),
    "mesh.cores_usable": None,
    "core.neurons_usable": (6,),
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
