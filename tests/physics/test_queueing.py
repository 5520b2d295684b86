"""Laws of queues that hold whatever the machine: waiting, saturation, Little's law, bounds, conservation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from fractions import Fraction
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_stepper import step_through
from random_systems import random_system

from neurosim.compiler.topology import EAST, LOCAL, NORTH, SOUTH, WEST, mesh
from neurosim.engine import MeshModel, PacketLoad, PacketTimes, row_kernels

IntArray = NDArray[np.int64]
SYSTEMS = 300


def roomy_mesh(side: int, local_ports: int, room: int, **changes: int) -> MeshModel:
    """A mesh whose every delay is one cycle and whose injection and ejection queues hold `room`."""
    top = mesh(side, side, local_ports)
    everywhere = np.ones(top.next_router.shape, dtype=np.int64)
    router, port = np.divmod(np.arange(side * side * local_ports), local_ports)
    plain = MeshModel(
        topology=top,
        core_router=router,
        core_port=port + LOCAL,
        latency=everywhere,
        interval=everywhere,
        credit=everywhere,
        buffer_flits=8,
        inject_latency=1,
        inject_interval=1,
        inject_queue=room,
        eject_slots=room,
        eject_credit=1,
        stage_queue=1,
        axon_in=0,
    )
    return replace(plain, **changes)


def made_at(created: list[IntArray], destination: IntArray) -> PacketLoad:
    """One-flit packets, per source the ticks in which they are made, that cost their receivers nothing."""
    nothing = np.zeros(destination.size, dtype=np.int64)
    return PacketLoad(
        core_first=np.cumsum([0, *(times.size for times in created)]),
        tail_work=np.zeros(len(created), dtype=np.int64),
        destination=destination,
        flits=nothing + 1,
        work=np.concatenate([np.diff(times, prepend=0) for times in created]),
        read=nothing,
        accumulate=nothing,
    )


def sources(load: PacketLoad) -> list[int]:
    """Core that sends each packet."""
    return np.repeat(np.arange(load.tail_work.size), np.diff(load.core_first)).tolist()


# Waiting


@pytest.mark.parametrize("server", ["axon-in", "local link"])
@pytest.mark.parametrize(("rate", "service"), [(0.05, 4), (0.1, 8), (0.03, 30)])
def test_bernoulli_source_waits_as_the_formula_says(server: str, rate: float, service: int) -> None:
    """Geo/D/1: p D (D - 1) / (2 (1 - p D)) cycles on average; 10 seeds, 4 standard errors."""
    packets = 60_000
    model = roomy_mesh(1, 2, packets, buffer_flits=packets)
    if server == "axon-in":
        model = replace(model, axon_in=service)
    else:
        model = replace(model, interval=model.interval * service)
    nothing = np.zeros(0, dtype=np.int64)
    means = []
    for seed in range(10):
        created = np.cumsum(np.random.default_rng(seed).geometric(rate, packets))
        times = model.time(made_at([created, nothing], np.ones(packets, dtype=np.int64)))
        assert np.array_equal(times.injected, created)
        if server == "axon-in":
            waited = int(times.cores[1, row_kernels.CORE_WAIT])
        else:
            waited = int((times.arrived - times.injected - 2).sum())
        means.append(waited / packets)
    expected = rate * service * (service - 1) / (2 * (1 - rate * service))
    standard_error = np.std(means, ddof=1) / np.sqrt(len(means))
    assert abs(np.mean(means) - expected) < 4 * standard_error
    assert standard_error < 0.05 * expected, "too few packets to tell"


# Saturation


def uniform_traffic(side: int, rate: float, cycles: int, seed: int) -> PacketLoad:
    """Every node makes a flit with probability `rate` in every cycle, for a node at random."""
    rng = np.random.default_rng(seed)
    nodes = side * side
    created = [np.flatnonzero(rng.random(cycles) < rate) for _ in range(nodes)]
    return made_at(created, rng.integers(0, nodes, sum(times.size for times in created)))


def flits_per_node_and_cycle(times: IntArray, nodes: int, window: tuple[int, int]) -> float:
    return int(((times >= window[0]) & (times < window[1])).sum()) / nodes / (window[1] - window[0])


@pytest.mark.parametrize("side", [4, 6, 8])
def test_uniform_traffic_saturates_below_the_bisection_bound(side: int) -> None:
    """Half of the flits cross the middle, k links a way: 4 / k flits a node and cycle at most."""
    bound, cycles = 4 / side, 6000
    window = (cycles // 3, cycles)
    accepted = {}
    for share in (0.2, 0.4, 0.6, 1.0, 1.5):
        load = uniform_traffic(side, min(share * bound, 1.0), cycles, seed=side)
        created = np.concatenate(
            [np.cumsum(load.work[a:b]) for a, b in zip(load.core_first[:-1], load.core_first[1:], strict=True)]
        )
        times = roomy_mesh(side, 1, load.destination.size).time(load)
        offered = flits_per_node_and_cycle(created, side * side, window)
        accepted[share] = flits_per_node_and_cycle(times.arrived, side * side, window)
        assert times.delivered == load.destination.size
        if share <= 0.6:
            assert accepted[share] == pytest.approx(offered, rel=0.01)
        else:
            assert accepted[share] < min(0.98 * offered, bound)
    assert max(accepted.values()) > 0.6 * bound


# Little's law


def integrate(entered: IntArray, left: IntArray) -> tuple[int, int]:
    """Return the number inside, integrated over time by stepping through all changes, and its maximum."""
    assert (left >= entered).all()
    changes: Counter[int] = Counter()
    for when, change in ((entered, 1), (left, -1)):
        for tick in when.tolist():
            changes[tick] += change
    inside = area = most = before = 0
    for tick in sorted(changes):
        area += inside * (tick - before)
        inside, before = inside + changes[tick], tick
        most = max(most, inside)
    assert inside == 0
    return area, most


def assert_littles_law(entered: IntArray, left: IntArray, area: int) -> None:
    """Mean number inside = arrivals a tick x mean time inside, as fractions."""
    horizon, count = int(left.max()) + 1, entered.size
    mean_time = Fraction(int(left.sum()) - int(entered.sum()), count)
    assert Fraction(area, horizon) == Fraction(count, horizon) * mean_time


def let_in(model: MeshModel, load: PacketLoad, times: PacketTimes, core: int) -> tuple[IntArray, int]:
    """When each one-flit packet of `core` got into the injection queue, and the ticks of stall before that."""
    first, last = int(load.core_first[core]), int(load.core_first[core + 1])
    entered, stall, now = [], 0, 0
    for k in range(first, last):
        made = now + int(load.work[k])
        room = int(times.injected[k - model.inject_queue]) if k - model.inject_queue >= first else 0
        now = max(made, room)
        stall += now - made
        entered.append(now)
    return np.array(entered, dtype=np.int64), stall


def test_littles_law_on_a_congested_mesh() -> None:
    """Queues before the network, the network, and the queues of the cores, from the engine's times alone."""
    side, service = 6, 3
    load = uniform_traffic(side, 0.5, 1500, seed=3)
    model = replace(roomy_mesh(side, 1, 5), axon_in=service)
    times = model.time(load)
    network, most = integrate(times.injected, times.arrived)
    assert_littles_law(times.injected, times.arrived, network)
    # No more is inside than the slots of all inputs and of the ejection queues hold.
    slots = int((model.topology.next_router >= 0).sum()) + side * side
    assert most <= slots * model.buffer_flits + side * side * model.eject_slots
    stalled = 0
    for core in range(side * side):
        mine = slice(load.core_first[core], load.core_first[core + 1])
        entered, stall = let_in(model, load, times, core)
        assert stall == times.cores[core, row_kernels.CORE_STALL]
        assert entered[-1] == times.cores[core, row_kernels.CORE_SWEEP_END]
        queue, most = integrate(entered, times.injected[mine])
        assert_littles_law(entered, times.injected[mine], queue)
        assert most <= model.inject_queue
        stalled += stall
        # Messages are taken in the order of arrival, one every `service` ticks at most.
        arrived = np.sort(times.arrived[load.destination == core])
        turns = service * np.arange(arrived.size)
        taken = np.maximum.accumulate(arrived - turns) + turns
        waiting, most = integrate(arrived, taken)
        assert_littles_law(arrived, taken, waiting)
        assert waiting == times.cores[core, row_kernels.CORE_WAIT]
        assert most <= model.eject_slots
        assert taken[-1] + service == times.cores[core, row_kernels.CORE_FINISH]
    assert stalled > 0
    assert times.cores[:, row_kernels.CORE_WAIT].min() > 0


def test_littles_law_against_counting_in_every_tick() -> None:
    """The stepper counts what is inside in every tick; the engine's times must add up to the same."""
    held: Counter[str] = Counter()
    for number in range(60):
        model, load, _ = random_system(Random(number))
        load = replace(load, flits=np.ones_like(load.flits))
        times, seen = model.time(load), step_through(model, load)
        before = 0
        for core in range(model.core_router.size):
            mine = slice(load.core_first[core], load.core_first[core + 1])
            before += int((times.injected[mine] - let_in(model, load, times, core)[0]).sum())
        assert seen.held["injection"] == before
        assert seen.held["network"] == int((times.arrived - times.injected).sum())
        assert seen.held["core"] == int(times.cores[:, row_kernels.CORE_WAIT].sum())
        held += seen.held
    assert min(held[place] for place in ("injection", "network", "core")) > 1000


# Bounds and conservation


def links_on_the_way(model: MeshModel, load: PacketLoad, columns: int) -> list[list[tuple[int, int]]]:
    """Per packet, the (router, output) pairs of its route, x before y, with the output to its core at the end."""
    routes = []
    for source, target in zip(sources(load), load.destination.tolist(), strict=True):
        y, x = divmod(int(model.core_router[source]), columns)
        to_y, to_x = divmod(int(model.core_router[target]), columns)
        route = []
        while x != to_x:
            route.append((y * columns + x, EAST if to_x > x else WEST))
            x += 1 if to_x > x else -1
        while y != to_y:
            route.append((y * columns + x, NORTH if to_y > y else SOUTH))
            y += 1 if to_y > y else -1
        routes.append([*route, (y * columns + x, int(model.core_port[target]))])
    return routes


def flits_of_links(load: PacketLoad, routes: list[list[tuple[int, int]]]) -> Counter[tuple[int, int]]:
    """Flits by (router, output)."""
    flits: Counter[tuple[int, int]] = Counter()
    for route, length in zip(routes, load.flits.tolist(), strict=True):
        flits.update(dict.fromkeys(route, length))
    return flits


def makespan(times: PacketTimes) -> int:
    ends = times.cores[:, [row_kernels.CORE_SWEEP_END, row_kernels.CORE_FINISH]]
    return max(int(ends.max()), times.last)


def busiest_ticks(model: MeshModel, load: PacketLoad, flits: Counter[tuple[int, int]]) -> int:
    """The largest time that one sweep, server or link needs for itself."""
    cores = model.core_router.size
    received = np.bincount(load.destination, minlength=cores)
    sums = [int(received.max()) * model.axon_in]
    for ticks in (load.read, load.accumulate):
        sums.append(int(np.bincount(load.destination, weights=ticks, minlength=cores).max()))
    for core in range(cores):
        sums.append(int(load.work[load.core_first[core] : load.core_first[core + 1]].sum() + load.tail_work[core]))
    # The last of n flits starts n - 1 intervals after the first, and is on its way for the latency.
    sums += [(n - 1) * int(model.interval[link]) + int(model.latency[link]) for link, n in flits.items()]
    return max(sums)


def serial_ticks(model: MeshModel, load: PacketLoad, routes: list[list[tuple[int, int]]]) -> int:
    """All delays that all packets cause, one after the other.

    Whatever happens ends a delay that some earlier happening began, so no chain of them is longer.
    """
    total = int(load.tail_work.sum() + load.work.sum() + load.read.sum() + load.accumulate.sum())
    total += load.destination.size * model.axon_in
    credit = int(model.credit.max())
    for source, route, flits in zip(sources(load), routes, load.flits.tolist(), strict=True):
        at = (model.core_router[source], model.core_port[source])
        each = model.inject_latency + model.inject_interval + int(model.credit[at]) + model.eject_credit
        each += sum(int(model.latency[link] + model.interval[link]) + credit for link in route)
        total += flits * each
    return total


def test_links_carry_the_flits_of_the_routes() -> None:
    """Each link by itself, and each direction as the sum over packets of its hops that way x flits."""
    for number in range(SYSTEMS):
        model, load, columns = random_system(Random(number))
        times = model.time(load)
        assert times.delivered == load.destination.size
        found = {(int(r), int(o)): int(times.link_flits[r, o]) for r, o in np.argwhere(times.link_flits)}
        assert found == flits_of_links(load, links_on_the_way(model, load, columns))
        from_y, from_x = np.divmod(model.core_router[sources(load)], columns)
        to_y, to_x = np.divmod(model.core_router[load.destination], columns)
        hops = {EAST: to_x - from_x, WEST: from_x - to_x, NORTH: to_y - from_y, SOUTH: from_y - to_y}
        for direction, ahead in hops.items():
            assert times.link_flits[:, direction].sum() == (np.maximum(ahead, 0) * load.flits).sum()
        assert times.link_flits[:, LOCAL:].sum() == load.flits.sum()


def test_makespan_lies_between_its_bounds() -> None:
    """Not before the busiest sweep, server or link could end, and not after all delays one by one."""
    near = 0
    for number in range(SYSTEMS):
        model, load, columns = random_system(Random(number))
        routes = links_on_the_way(model, load, columns)
        least = busiest_ticks(model, load, flits_of_links(load, routes))
        found = makespan(model.time(load))
        assert least <= found <= serial_ticks(model, load, routes)
        near += found <= 1.5 * least
    assert near > SYSTEMS // 4, "the lower bound is never near"
