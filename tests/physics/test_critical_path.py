"""Critical paths: worked out by hand where one thing binds, and without a gap or an excuse on random systems."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurosim.compiler.topology import EAST, LOCAL, Topology, mesh, torus
from neurosim.engine import MeshModel, PacketLoad, PacketTrace
from neurosim.engine.critical import (
    Flights,
    Resource,
    binding,
    check_path,
    critical_path,
    path_totals,
    receiving,
    sending,
)
from neurosim.engine.loads import Multicast, PacketTimes
from neurosim.engine.row_kernels import CORE_FINISH, CORE_STALL, CORE_SWEEP_END, CORE_WAIT
from neurosim.engine.trace import CoreEnds, packet_trace
from neurosim.errors import AuditError

TICK_PS = 3
BARRIER_PS = 24

Span = tuple[Resource, int, int, int, int]


def small_mesh(routers: int = 3, **changes: int) -> MeshModel:
    """A row of routers with a core each, and delays that are easy to tell apart."""
    top = mesh(routers, 1, 1)
    everywhere = np.ones(top.next_router.shape, dtype=np.int64)
    plain = MeshModel(
        topology=top, core_router=np.arange(routers), core_port=np.full(routers, LOCAL), latency=everywhere * 100,
        interval=everywhere * 20, credit=everywhere * 7, buffer_flits=4, inject_latency=30, inject_interval=20,
        inject_queue=4, eject_slots=4, eject_credit=7, stage_queue=2, axon_in=5,
    )  # fmt: skip
    return replace(plain, **changes)


def load(cores: int, packets: list[dict[str, int]], tail: tuple[int, ...] = ()) -> PacketLoad:
    """Packets in the order of each source; keys source, to, and what is not 1 flit or 0 ticks."""
    packets = sorted(packets, key=lambda packet: packet["source"])

    def column(name: str, otherwise: int = 0) -> Any:
        return np.array([packet.get(name, otherwise) for packet in packets], dtype=np.int64)

    first = np.searchsorted(column("source"), np.arange(cores + 1)).astype(np.int64)
    tails = np.array([*tail, *[0] * (cores - len(tail))], dtype=np.int64)
    return PacketLoad(first, tails, column("to"), column("flits", 1), column("work"), column("read"), column("acc"))


def timed(model: MeshModel, sent: PacketLoad) -> tuple[PacketTimes, PacketTrace, CoreEnds]:
    times = model.time(sent)
    return times, packet_trace(sent, times, TICK_PS), CoreEnds.of(model, TICK_PS)


def path_of(model: MeshModel, sent: PacketLoad) -> list[Span]:
    """The critical path of a timestep in ticks, checked against what the engine says about its end."""
    times, trace, ends = timed(model, sent)
    end = max(int(times.cores[:, [CORE_SWEEP_END, CORE_FINISH]].max()), times.last) * TICK_PS
    path = critical_path(sent, trace, sending(trace, ends), ends, Flights(model, TICK_PS), end, BARRIER_PS)
    assert int((path[:, 4] - path[:, 3]).sum()) == end + BARRIER_PS
    assert path[-1].tolist() == [Resource.BARRIER, -1, -1, end, end + BARRIER_PS]
    assert path[0, 3] == 0
    assert np.array_equal(path[1:, 3], path[:-1, 4])
    assert int(path_totals(path).sum()) == end + BARRIER_PS
    return [
        (Resource(kind), core, to, since // TICK_PS, until // TICK_PS) for kind, core, to, since, until in path.tolist()
    ]


def shown(path: list[Span]) -> list[tuple[Any, ...]]:
    """The path without its barrier; the other core only where there is one."""
    return [(kind.name, *((core,) if to < 0 else (core, to)), since, until) for kind, core, to, since, until in path][
        :-1
    ]


def test_one_packet() -> None:
    """Sweep, injection and three routers, the three stages: nothing to wait for."""
    sent = load(3, [{"source": 0, "to": 2, "work": 40, "read": 11, "acc": 50}])
    assert shown(path_of(small_mesh(), sent)) == [
        ("SWEEP", 0, 0, 40),
        ("FLIGHT", 0, 2, 40, 370),
        ("AXON_IN", 2, 370, 375),
        ("SYNAPSE_READ", 2, 375, 386),
        ("ACCUMULATE", 2, 386, 436),
    ]


def test_last_sweep() -> None:
    sent = load(3, [{"source": 0, "to": 2, "work": 40}], (5, 1000))
    assert shown(path_of(small_mesh(), sent)) == [("SWEEP", 1, 0, 1000)]
    # Core 0's own sweep goes on after its packet.
    assert shown(path_of(small_mesh(), replace(sent, tail_work=np.array([2000, 9, 0])))) == [("SWEEP", 0, 0, 2040)]


def test_nothing_to_do_is_the_barrier_alone() -> None:
    assert [span[0] for span in path_of(small_mesh(), load(3, []))] == [Resource.BARRIER]
    assert binding([0] * len(Resource)) is None
    assert binding(path_totals(np.array([[Resource.BARRIER, -1, -1, 0, 7]]))) is Resource.BARRIER


@pytest.mark.parametrize(
    ("stage", "read", "acc", "expected"),
    [
        ("ACCUMULATE", 11, 50, [("AXON_IN", 130, 135), ("SYNAPSE_READ", 135, 146), ("ACCUMULATE", 146, 646)]),
        ("SYNAPSE_READ", 50, 11, [("AXON_IN", 130, 135), ("SYNAPSE_READ", 135, 635), ("ACCUMULATE", 635, 646)]),
    ],
)
def test_slowest_stage_binds(stage: str, read: int, acc: int, expected: list[Any]) -> None:
    """Ten messages: the slowest stage is busy from the first to the last, the others add their time once."""
    model = small_mesh(eject_slots=64, stage_queue=64)
    path = path_of(model, load(3, [{"source": 0, "to": 0, "read": read, "acc": acc}] * 10))
    assert shown(path) == [("FLIGHT", 0, 0, 0, 130), *((name, 0, since, until) for name, since, until in expected)]
    totals = [0] * len(Resource)
    for kind, _, _, since, until in path:
        totals[kind] += until - since
    assert binding(totals) is Resource[stage]


def test_slow_axon_in_binds() -> None:
    path = path_of(small_mesh(axon_in=1000, eject_slots=64), load(3, [{"source": 0, "to": 0}] * 6))
    assert shown(path) == [("FLIGHT", 0, 0, 0, 130), ("AXON_IN", 0, 130, 6130)]


def test_flits_that_leave_one_by_one_bind() -> None:
    """Packets made every 3 ticks leave every 20; the last of four leaves 60 after the first."""
    model = small_mesh(buffer_flits=64, eject_slots=64)
    path = path_of(model, load(3, [{"source": 0, "to": 1, "work": 3}] * 4))
    assert shown(path) == [
        ("SWEEP", 0, 0, 3), ("INJECTION", 0, 3, 63), ("FLIGHT", 0, 1, 63, 293), ("AXON_IN", 1, 293, 298),
    ]  # fmt: skip


def test_sweep_stalled_by_a_full_queue() -> None:
    """One place in the queue, and a sweep that ends last: its stalls lead to the packets that left before.

    Packets are let into the queue at 3, 6, 23 and 43 and leave at 3, 23, 43 and 63.
    """
    model = small_mesh(inject_queue=1, buffer_flits=64, eject_slots=64)
    sent = load(3, [{"source": 0, "to": 0, "work": 3}] * 4, (500,))
    assert shown(path_of(model, sent)) == [("SWEEP", 0, 0, 3), ("INJECTION", 0, 3, 43), ("SWEEP", 0, 43, 543)]
    _, trace, ends = timed(model, sent)
    found = sending(trace, ends)
    assert (found.ready_ps // TICK_PS).tolist() == [3, 6, 23, 43]
    assert found.queued_ps.tolist() == [(0 + 17 + 20 + 20) * TICK_PS, 0, 0]


def test_packet_waits_for_a_link() -> None:
    """Core 1's packet has the link from router 1 to 2 from 125 to 145; core 0's is there at 130."""
    sent = load(4, [{"source": 0, "to": 2, "acc": 500}, {"source": 1, "to": 3, "work": 95}])
    assert shown(path_of(small_mesh(4), sent)) == [
        ("LINK", 0, 2, 0, 15), ("FLIGHT", 0, 2, 15, 345), ("AXON_IN", 2, 345, 350), ("ACCUMULATE", 2, 350, 850),
    ]  # fmt: skip


def test_core_s_port_gives_one_message_after_the_other() -> None:
    """Core 1's own packet is at its router at 145, where core 0's has the port to the core until 150."""
    sent = load(3, [{"source": 0, "to": 1}, {"source": 1, "to": 1, "work": 115, "acc": 40}])
    assert shown(path_of(small_mesh(axon_in=0), sent)) == [
        ("FLIGHT", 0, 1, 0, 230), ("EJECTION", 1, 230, 250), ("ACCUMULATE", 1, 250, 290),
    ]  # fmt: skip


def test_credit_is_a_wait_for_the_link() -> None:
    """With one slot at the router the second flit of a packet waits until the first has left and its credit is back."""
    model = small_mesh(buffer_flits=1, inject_interval=1)
    path = path_of(model, load(3, [{"source": 0, "to": 0}] * 2))
    # Granted at 30, credit at 37, arrival 37 + 130.
    assert shown(path) == [
        ("INJECTION", 0, 0, 1), ("LINK", 0, 1, 37), ("FLIGHT", 0, 0, 37, 167), ("AXON_IN", 0, 167, 172),
    ]  # fmt: skip


def test_multicast_copy() -> None:
    """One packet from core 0 to cores 1 and 2; core 2 is the last."""
    none = np.zeros(2, dtype=np.int64)
    trees = np.array([[1 << EAST, 1 << EAST | 1 << LOCAL, 1 << LOCAL]])
    many = Multicast(trees, np.array([0]), np.array([0, 2]), np.array([1, 2]), none, np.array([10, 20]))
    sent = replace(load(3, [{"source": 0, "to": -1, "work": 6}]), multicast=many)
    assert shown(path_of(small_mesh(), sent)) == [
        ("SWEEP", 0, 0, 6), ("FLIGHT", 0, 2, 6, 336), ("AXON_IN", 2, 336, 341), ("ACCUMULATE", 2, 341, 361),
    ]  # fmt: skip


def test_times_that_are_not_the_engine_s_are_an_error() -> None:
    sent = load(3, [{"source": 0, "to": 2, "work": 40, "acc": 9}])
    _, trace, ends = timed(small_mesh(), sent)
    with pytest.raises(AuditError, match="core 2: its last message"):
        receiving(replace(trace, accumulate_ps=trace.accumulate_ps + 1), 2, ends)
    with pytest.raises(AuditError, match="core 0: its sweep ends"):
        sending(replace(trace, work_ps=trace.work_ps + 1), ends)
    for wrong in ([[0, 0, -1, 0, 5]], [[0, 0, -1, 0, 5], [0, 0, -1, 6, 9]], [[0, 0, -1, 1, 9]], []):
        with pytest.raises(AuditError, match="do not cover"):
            check_path(np.array(wrong, dtype=np.int64).reshape(-1, 5), 9)


def plain_stages(
    arrivals: list[tuple[int, int, int]], axon_in: int, queue: int
) -> tuple[list[tuple[int, int, int, int, int, int]], int]:
    """Three servers in tandem, each with a finite queue behind it, from (arrival, read, accumulate); waits too."""
    rows: list[tuple[int, int, int, int, int, int]] = []
    wait = 0
    for m, (arrival, read, acc) in enumerate(arrivals):
        taken = max(arrival, rows[-1][1] if rows else 0)
        room_read = rows[m - queue][2] if m >= queue else 0
        room_acc = rows[m - queue][4] if m >= queue else 0
        axon_left = max(taken + axon_in, room_read)
        start = max(axon_left, rows[-1][3] if rows else 0)
        read_left = max(start + read, room_acc)
        begin = max(read_left, rows[-1][5] if rows else 0)
        rows.append((taken, axon_left, start, read_left, begin, begin + acc))
        wait += taken - arrival
    return rows, wait


TICKS = st.integers(0, 120)


@st.composite
def systems(draw: st.DrawFn) -> tuple[MeshModel, PacketLoad]:
    size = draw(st.integers(1, 4))
    model = small_mesh(
        size, buffer_flits=draw(st.integers(3, 5)), inject_latency=draw(st.integers(1, 40)),
        inject_interval=draw(st.integers(1, 40)), inject_queue=draw(st.integers(1, 5)),
        eject_slots=draw(st.integers(3, 6)), eject_credit=draw(st.integers(0, 9)), stage_queue=draw(st.integers(1, 3)),
        axon_in=draw(st.integers(0, 60)),
    )  # fmt: skip
    node = st.integers(0, size - 1)
    packet = st.fixed_dictionaries(
        {"source": node, "to": node, "work": TICKS, "read": TICKS, "acc": TICKS},
        optional={"flits": st.integers(1, 3)} if draw(st.booleans()) else {},
    )
    tail = tuple(draw(st.lists(st.integers(0, 3000), min_size=size, max_size=size)))
    return model, load(size, draw(st.lists(packet, max_size=60)), tail)


@settings(max_examples=150, deadline=None)
@given(systems())
def test_random_systems(system: tuple[MeshModel, PacketLoad]) -> None:
    """Every core's times are the engine's; the path has no gap, and every span of it is what it says."""
    model, sent = system
    times, trace, ends = timed(model, sent)
    found = sending(trace, ends)
    single = bool((trace.flits == 1).all())
    busy: dict[tuple[Resource, int], list[tuple[int, int]]] = {}
    for core in range(trace.cores):
        got = receiving(trace, core, ends)
        rows = [
            (int(trace.arrived_ps[c]) // TICK_PS, int(sent.read[c]), int(sent.accumulate[c])) for c in got.copy.tolist()
        ]
        plain, wait = plain_stages(rows, model.axon_in, model.stage_queue)
        assert (got.times_ps // TICK_PS).tolist() == [list(row) for row in plain]
        assert times.cores[core, CORE_WAIT] == wait
        for resource, a, b in ((Resource.AXON_IN, 0, 1), (Resource.SYNAPSE_READ, 2, 3), (Resource.ACCUMULATE, 4, 5)):
            busy[resource, core] = [(row[a], row[b]) for row in plain]
        mine = slice(trace.core_first[core], trace.core_first[core + 1])
        ready = (found.ready_ps[mine] // TICK_PS).tolist()
        stalls = [b - a - w for a, b, w in zip([0, *ready], ready, sent.work[mine].tolist(), strict=False)]
        assert min(stalls, default=0) >= 0
        assert sum(stalls) == times.cores[core, CORE_STALL]
        if single:
            # A packet is let in when the one `inject_queue` before it has left, and leaves when it is in.
            left = (trace.left_ps[mine] // TICK_PS).tolist()
            for k, stall in enumerate(stalls):
                assert not stall or ready[k] == left[k - model.inject_queue]
        assert (found.ready_ps[mine] <= trace.injected_ps[mine]).all()
    flights = {
        (int(trace.source[p]), int(to), int(trace.injected_ps[p]) // TICK_PS, int(at) // TICK_PS)
        for p, to, at in zip(trace.packet, trace.destination, trace.arrived_ps, strict=True)
    }
    for kind, core, to, since, until in path_of(model, sent):
        if (kind, core) in busy:
            inside = [(max(a, since), min(b, until)) for a, b in busy[kind, core]]
            assert sum(max(b - a, 0) for a, b in inside) == until - since
        elif kind is Resource.FLIGHT:
            assert any((a, b, at) == (core, to, until) and left <= since for a, b, left, at in flights)
        elif kind is Resource.LINK and to >= 0:
            assert any((a, b, left) == (core, to, since) and at > until for a, b, left, at in flights)
        elif kind is Resource.EJECTION:
            ends_here = {at for _, b, _, at in flights if b == core}
            assert {since, until} <= ends_here


@settings(max_examples=60, deadline=None)
@given(systems())
def test_paths_without_queues(system: tuple[MeshModel, PacketLoad]) -> None:
    """The fast fidelity has the same stages with endless queues; its paths have no gap either."""
    model, sent = system
    times = model.time_fast(sent)
    trace = packet_trace(sent, times, TICK_PS)
    ends = CoreEnds.of(model, TICK_PS, limited=False)
    end = max(int(times.cores[:, [CORE_SWEEP_END, CORE_FINISH]].max()), times.last) * TICK_PS
    path = critical_path(sent, trace, sending(trace, ends), ends, Flights(model, TICK_PS), end, BARRIER_PS)
    assert int(path_totals(path).sum()) == end + BARRIER_PS
    for core in range(trace.cores):
        got = receiving(trace, core, ends)
        assert (got.times_ps[:, 1] == got.times_ps[:, 0] + ends.axon_in_ps).all(), "no stage is ever blocked"


@pytest.mark.parametrize("build", [mesh, torus])
def test_a_lone_flit_takes_as_long_as_the_engine_says(build: Callable[[int, int, int], Topology]) -> None:
    """The sum of the latencies of a way is the engine's own time, for every pair of cores."""
    top = build(4, 3, 2)
    rng = np.random.default_rng(5)
    shape = top.next_router.shape
    tile, within = np.divmod(np.arange(24), 2)
    model = MeshModel(
        topology=top, core_router=tile, core_port=within + LOCAL, latency=rng.integers(3, 90, shape),
        interval=rng.integers(3, 90, shape), credit=rng.integers(3, 9, shape), buffer_flits=2, inject_latency=13,
        inject_interval=5, inject_queue=1, eject_slots=1, eject_credit=0, stage_queue=1, axon_in=0, channels=2,
    )  # fmt: skip
    flights = Flights(model, TICK_PS)
    for source in range(24):
        for to in range(24):
            sent = load(24, [{"source": source, "to": to}])
            times = model.time(sent)
            trace = packet_trace(sent, times, TICK_PS)
            assert flights.of(sent, trace, 0) == int(times.arrived[0] - times.injected[0]) * TICK_PS
