"""Tori, six links, several channels, cut-through, multicast and drops: what can be worked out by hand."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from plain_stepper import step_through

from neurosim.compiler.topology import Topology, mesh, torus, triangular_torus
from neurosim.engine import MeshModel, PacketLoad
from neurosim.engine.loads import Multicast
from neurosim.errors import InputError

INJECT, EJECT = 13, 17
BY_DIMENSION = (101, 211, 307)
"""Latencies by dimension, so that a sum tells the route."""

BUILDERS = {
    "mesh 5x3": mesh(5, 3, 1),
    "torus 5x4": torus(5, 4, 1),
    "torus 4x1": torus(4, 1, 2),
    "torus 2x2": torus(2, 2, 1),
    "triangular 5x4": triangular_torus(5, 4, 1),
    "triangular 8x8": triangular_torus(8, 8, 1),
    "triangular 2x3": triangular_torus(2, 3, 1),
}


def model(top: Topology, **changes: object) -> MeshModel:
    """One core at the first local port of every router."""
    shape = top.next_router.shape
    latency = np.full(shape, EJECT, dtype=np.int64)
    for port in range(top.links):
        latency[:, port] = BY_DIMENSION[top.side[port]]
    plain = MeshModel(
        topology=top,
        core_router=np.arange(top.routers),
        core_port=np.full(top.routers, top.links),
        latency=latency,
        interval=np.full(shape, 10, dtype=np.int64),
        credit=np.full(shape, 5, dtype=np.int64),
        buffer_flits=4,
        inject_latency=INJECT,
        inject_interval=10,
        inject_queue=8,
        eject_slots=64,
        eject_credit=5,
        stage_queue=2,
        axon_in=0,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def load(cores: int, packets: list[tuple[int, int]], flits: int = 1, multicast: Multicast | None = None) -> PacketLoad:
    packets = sorted(packets, key=lambda packet: packet[0])
    source = np.array([p[0] for p in packets])
    count = len(packets)
    return PacketLoad(
        core_first=np.searchsorted(source, np.arange(cores + 1)).astype(np.int64),
        tail_work=np.zeros(cores, dtype=np.int64),
        destination=np.array([p[1] for p in packets], dtype=np.int64),
        flits=np.full(count, flits),
        work=np.zeros(count, dtype=np.int64),
        read=np.zeros(count, dtype=np.int64),
        accumulate=np.zeros(count, dtype=np.int64),
        multicast=multicast,
    )


def shortest(top: Topology, source: int) -> dict[int, int]:
    """Links on a shortest way to each router, by breadth-first search over the links."""
    found, queue = {source: 0}, deque([source])
    while queue:
        here = queue.popleft()
        for out in range(top.links):
            there = int(top.next_router[here, out])
            if there >= 0 and there not in found:
                found[there] = found[here] + 1
                queue.append(there)
    return found


@pytest.mark.parametrize("name", BUILDERS)
def test_zero_load_latency_of_all_pairs(name: str) -> None:
    """Latency = injection + the hops of each dimension + ejection, over a shortest way."""
    top = BUILDERS[name]
    timer = model(top, channels=2 if top.rings else 1)
    for source in range(top.routers):
        ways = shortest(top, source)
        assert len(ways) == top.routers
        for target in range(top.routers):
            hops = top.hops[source, target]
            assert hops.sum() == ways[target], (source, target)
            times = timer.time(load(top.routers, [(source, target)]))
            expected = INJECT + EJECT + sum(int(n) * t for n, t in zip(hops, BY_DIMENSION, strict=False))
            assert times.arrived[0] == expected, (source, target)
            assert times.link_flits[:, : top.links].sum() == hops.sum()


@pytest.mark.parametrize("name", BUILDERS)
def test_links_lead_back(name: str) -> None:
    """The neighbour's output named after its input leads back, and ends at the output's own side."""
    top = BUILDERS[name]
    for router, out in np.argwhere(top.next_router >= 0):
        there, entry = top.next_router[router, out], top.next_port[router, out]
        assert top.next_router[there, entry] == router
        assert top.next_port[there, entry] == out
        assert top.side[out] == top.side[entry]


RING = [(i, (i + 2) % 5) for i in range(5)] * 8


def test_a_ring_of_wormholes_can_deadlock_and_is_named() -> None:
    """Five routers in a ring, everyone sends two links on: with one channel of one flit all wait in a circle."""
    top = torus(5, 1, 1)
    times = model(top, buffer_flits=1).time(load(5, RING, flits=4))
    assert times.delivered < len(RING)
    named = times.waiting.split(" -> ")
    assert len(named) >= 3
    assert named[0] == named[-1]
    assert all("input 1" in word for word in named)  # all come from the west


@pytest.mark.parametrize("places", [16, 24])
def test_a_strict_sweep_that_sends_to_its_own_core_needs_room_for_its_messages(places: int) -> None:
    """The last message must find a place in the queues before the sweep can end; the plain stepper says so too."""
    buffer, queue = 4, 7
    machine = model(mesh(1, 1, 1), buffer_flits=buffer, strict=True, eject_slots=places, inject_queue=queue)
    room = places + buffer + queue
    for messages in (room, room + 1):
        packets = load(1, [(0, 0)] * messages)
        times, seen = machine.time(packets), step_through(machine, packets)
        assert times.arrived.tolist() == seen.arrived
        assert times.behind_sweeps == bool(seen.happened["machine is stuck"]) == (messages > room)
        assert (times.delivered == messages) == (messages <= room)
    named = times.waiting.split(" -> ")
    assert "core 0" in named
    assert named[0] == named[-1]


@pytest.mark.parametrize(("channels", "buffer", "cut_through"), [(2, 1, False), (2, 4, True), (2, 4, False)])
def test_two_channels_free_the_ring(channels: int, buffer: int, cut_through: bool) -> None:
    top = torus(5, 1, 1)
    times = model(top, buffer_flits=buffer, channels=channels, cut_through=cut_through).time(load(5, RING, flits=4))
    assert times.delivered == len(RING)
    assert times.waiting == ""
    assert times.link_flits[:, : top.links].sum() == len(RING) * 2 * 4


def test_random_traffic_arrives_on_every_topology() -> None:
    rng = np.random.default_rng(2)
    for name, top in BUILDERS.items():
        packets = [(int(a), int(b)) for a, b in rng.integers(0, top.routers, (400, 2))]
        for flits, cut_through in ((1, False), (3, False), (3, True)):
            timer = model(top, channels=2 if top.rings else 1, cut_through=cut_through)
            if "triangular" in name and flits > 1:
                continue  # three dimensions with one dateline each: its routers carry single flits
            times = timer.time(load(top.routers, packets, flits))
            assert times.delivered == len(packets), name
            expected = sum(int(top.hops[a, b].sum()) for a, b in packets) * flits
            assert times.link_flits[:, : top.links].sum() == expected
            assert times.link_flits[:, top.links :].sum() == len(packets) * flits


def test_cut_through_waits_for_room_for_the_whole_packet() -> None:
    """Two packets of 3 flits into buffers of 4: the second head waits until two slots are back."""
    top = mesh(3, 1, 1)
    packets = [(0, 2), (0, 2)]
    worm = model(top, buffer_flits=4).time(load(3, packets, flits=3))
    cut = model(top, buffer_flits=4, cut_through=True).time(load(3, packets, flits=3))
    # Flits of packet 1 leave router 0 at 13, 23 and 33 and router 1 at 114, 124 and 134.
    assert worm.arrived[0] == cut.arrived[0] == 33 + 202 + EJECT
    # Wormhole: head 2 follows at 43 into the fourth slot, its second flit when the first slot is back at
    # 114 + 5, its tail when the second is, at 124 + 5.
    assert worm.arrived[1] == 129 + 202 + EJECT
    # Cut-through: head 2 itself waits for the second slot to be back, and the others follow.
    assert cut.arrived[1] == 129 + 20 + 202 + EJECT
    with pytest.raises(InputError, match="never fits buffers of 2 whole"):
        model(top, buffer_flits=2, cut_through=True).time(load(3, packets, flits=3))


def spread(top: Topology, source: int, targets: list[int], local: int) -> Multicast:
    """One tree from `source` to the cores of `targets`, along the unicast routes."""
    tree = np.zeros((1, top.routers), dtype=np.int64)
    for target in targets:
        here = source
        while here != target:
            out = int(top.route[here, target])
            tree[0, here] |= 1 << out
            here = int(top.next_router[here, out])
        tree[0, target] |= 1 << local
    cores = np.array(sorted(targets), dtype=np.int64)
    zeros = np.zeros_like(cores)
    return Multicast(tree, np.zeros(1, dtype=np.int64), np.array([0, cores.size]), cores, zeros, zeros)


@pytest.mark.parametrize("name", BUILDERS)
def test_multicast_copies_at_branch_points(name: str) -> None:
    """In an empty network every copy takes the time of a packet of its own, and each link carries one."""
    top = BUILDERS[name]
    timer = model(top, channels=2 if top.rings else 1)
    rng = np.random.default_rng(7)
    for _ in range(20):
        source = int(rng.integers(top.routers))
        targets = rng.choice(top.routers, int(rng.integers(1, top.routers + 1)), replace=False).tolist()
        many = spread(top, source, targets, top.links)
        times = timer.time(load(top.routers, [(source, 0)], multicast=many))
        assert times.delivered == len(targets)
        for target, arrived in zip(many.core, times.arrived, strict=True):
            hops = top.hops[source, target]
            assert arrived == INJECT + EJECT + sum(int(n) * t for n, t in zip(hops, BY_DIMENSION, strict=False))
        branches = int(sum(int(v).bit_count() for v in many.trees[0]))
        assert times.link_flits.sum() == branches == times.link_flits.astype(bool).sum()


def test_a_copy_waits_without_holding_up_the_others() -> None:
    """One branch is blocked by a slow core; the copy to the other side arrives at its own time."""
    top = mesh(3, 1, 2)
    timer = model(top, eject_slots=1, axon_in=5000, core_router=np.array([0, 1, 2]), core_port=np.full(3, 4))
    many = spread(top, 1, [0, 2], 4)
    many = replace(
        many,
        tree=np.array([-1, 0, 0]),
        copy_first=np.array([0, 1, 3, 5]),
        core=np.array([2, 0, 2, 0, 2]),
        read=np.zeros(5, dtype=np.int64),
        accumulate=np.zeros(5, dtype=np.int64),
    )
    # Core 1 sends a unicast to core 2, then two packets to both others.
    times = timer.time(load(3, [(1, 0)] * 3, multicast=many))
    to_west, to_east = times.arrived[[1, 3]], times.arrived[[0, 2, 4]]
    assert times.delivered == 5
    assert to_west[0] == INJECT + 10 + 101 + EJECT  # right behind the unicast, which goes the other way
    # The first is taken on arrival and its slot is back 5 later; the second sits in the slot until axon-in has
    # done with the first.
    first = INJECT + 101 + EJECT
    assert to_east.tolist() == [first, first + 5 + EJECT, first + 5000 + 5 + EJECT]


def test_impatient_flits_are_dropped_and_counted() -> None:
    """A core that takes a message every 5,000 ticks: with patience 100 most packets give up."""
    top = mesh(2, 1, 1)
    packets = [(0, 1)] * 30
    patient = model(top, eject_slots=1, axon_in=5000).time(load(2, packets))
    assert (patient.delivered, patient.dropped.sum()) == (30, 0)
    hasty = model(top, eject_slots=1, axon_in=5000, patience=100).time(load(2, packets))
    assert 0 < hasty.delivered < 30
    assert hasty.delivered + hasty.dropped.sum() == 30
    assert hasty.waiting == ""
    assert (hasty.arrived >= 0).sum() == hasty.delivered
    # A flit that finds its output free within its patience is not dropped.
    assert model(top, eject_slots=1, axon_in=5000, patience=200_000).time(load(2, packets)).dropped.sum() == 0
    with pytest.raises(InputError, match="cannot give up"):
        model(top, patience=5).time(load(2, packets, flits=2))
