"""Small systems at random: networks with finite queues, and loads that make packets wait for one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.topology import Topology, mesh, torus, triangular_torus
from neurosim.engine import MeshModel, PacketLoad
from neurosim.engine.loads import Multicast, SweepPieces
from neurosim.engine.mesh import Processors

IntArray = NDArray[np.int64]


def integers(rng: Random, count: int, low: int, high: int) -> IntArray:
    return np.array([rng.randint(low, high) for _ in range(count)], dtype=np.int64)


def random_delays(rng: Random, shape: tuple[int, int]) -> IntArray:
    """One delay for all routers and ports, one for each port, or one for each port of each router."""
    high = rng.choice([1, 3, 9, 30])
    kind = rng.randint(0, 2)
    if kind == 0:
        return np.full(shape, rng.randint(1, high), dtype=np.int64)
    if kind == 1:
        return np.broadcast_to(integers(rng, shape[1], 1, high), shape).copy()
    return integers(rng, shape[0] * shape[1], 1, high).reshape(shape)


def random_system(rng: Random, build: Callable[[int, int, int], Topology] = mesh) -> tuple[MeshModel, PacketLoad, int]:
    """Routers with cores at some of their local ports, a load with a hot spot, and the number of columns."""
    columns, rows = (rng.randint(1, 4), rng.randint(1, 3)) if build is mesh else (rng.randint(2, 6), rng.randint(1, 2))
    local_ports = rng.randint(1, 3)
    top = build(columns, rows, local_ports)
    shape = top.next_router.shape
    places = [(router, top.links + port) for router in range(top.routers) for port in range(local_ports)]
    rng.shuffle(places)
    places = places[: rng.randint(1, len(places))]
    cores = len(places)
    model = MeshModel(
        topology=top,
        core_router=np.array([router for router, _ in places]),
        core_port=np.array([port for _, port in places]),
        latency=random_delays(rng, shape),
        interval=random_delays(rng, shape),
        credit=random_delays(rng, shape),
        buffer_flits=rng.randint(1, 5),
        inject_latency=rng.randint(1, 12),
        inject_interval=rng.randint(1, 8),
        inject_queue=rng.randint(1, 4),
        eject_slots=rng.randint(1, 5),
        eject_credit=rng.randint(0, 9),
        stage_queue=rng.randint(1, 3),
        axon_in=rng.randint(0, rng.choice([0, 3, 20])),
        wheel_slots=rng.choice([32, 64, 4096]),
    )
    count = rng.randint(0, 24 * min(cores, 8))
    hot, heat = rng.randint(0, cores - 1), rng.choice([0.0, 0.3, 0.9])
    longest, most_work = rng.randint(1, 4), rng.choice([0, 3, 12, 60, 150])
    most_read, most_accumulate = rng.choice([0, 4, 30]), rng.choice([0, 20, 60])
    destination = [hot if rng.random() < heat else rng.randint(0, cores - 1) for _ in range(count)]
    load = PacketLoad(
        core_first=np.array([0, *sorted(rng.randint(0, count) for _ in range(cores - 1)), count]),
        tail_work=integers(rng, cores, 0, 40),
        destination=np.array(destination, dtype=np.int64),
        flits=integers(rng, count, 1, longest),
        work=integers(rng, count, 0, most_work),
        read=integers(rng, count, 0, most_read),
        accumulate=integers(rng, count, 0, most_accumulate),
    )
    return model, load, columns


def random_trees(rng: Random, model: MeshModel, load: PacketLoad) -> Multicast:
    """For each packet a tree along the routes from its source to a few cores."""
    top, cores = model.topology, model.core_router.size
    count = load.flits.size
    sources = np.repeat(np.arange(cores), np.diff(load.core_first))
    trees = np.zeros((count + 1, top.routers), dtype=np.int64)
    targets: list[int] = []
    copy_first = [0]
    for packet, (source, first) in enumerate(zip(sources.tolist(), load.destination.tolist(), strict=True)):
        if not load.flits[packet]:  # work without a packet
            copy_first.append(len(targets))
            continue
        mine = {first, *(rng.randint(0, cores - 1) for _ in range(rng.randint(0, 3)))}
        reached = {int(model.core_router[source])}
        for core in sorted(mine):
            here, goal = int(model.core_router[source]), int(model.core_router[core])
            links = []
            while here != goal:
                links.append((here, int(top.route[here, goal])))
                here = int(top.next_router[links[-1]])
                if here in reached:  # the tree leads here already
                    links = []
            for router, out in links:
                trees[packet, router] |= 1 << out
                reached.add(int(top.next_router[router, out]))
            trees[packet, goal] |= 1 << int(model.core_port[core])
        targets += sorted(mine)
        copy_first.append(len(targets))
    copies = len(targets)
    return Multicast(
        trees=trees,
        tree=np.arange(count),
        copy_first=np.array(copy_first),
        core=np.array(targets, dtype=np.int64),
        read=integers(rng, copies, 0, rng.choice([0, 4, 30])),
        accumulate=integers(rng, copies, 0, rng.choice([0, 20])),
    )


def random_variant(rng: Random) -> tuple[MeshModel, PacketLoad]:
    """A random system of any topology, with virtual channels, cut-through, trees and drops where they fit."""
    model, load, _ = random_system(rng, rng.choice([mesh, torus, torus, triangular_torus]))
    model = replace(model, channels=rng.choice([1, 2, 2, 2, 3]), cut_through=rng.random() < 0.4)
    if rng.random() < 0.5:
        load = replace(load, flits=np.ones_like(load.flits))
        model = replace(model, patience=rng.choice([0, 3, 20, 60]))
    if model.cut_through and load.flits.size:
        model = replace(model, buffer_flits=max(model.buffer_flits, int(load.flits.max())))
    if rng.random() < 0.5:
        load = replace(load, multicast=random_trees(rng, model, load))
    return model, load


def with_spare_port(columns: int, rows: int, local_ports: int) -> Topology:
    """A torus with six links a router, whose last local port is left to the reinjection queue."""
    return triangular_torus(columns, rows, local_ports + 1)


def random_giving_up(rng: Random) -> tuple[MeshModel, PacketLoad]:
    """Single-flit packets on six links, whose routers try ways round, drop and send again."""
    model, load, _ = random_system(rng, rng.choice([triangular_torus, with_spare_port, with_spare_port]))
    spare = model.topology.next_router.shape[1] - 1 not in model.core_port
    model = replace(model, patience=rng.choice([1, 3, 10, 30]), detour_wait=rng.choice([0, 1, 5, 20, 50]))
    if spare and rng.random() < 0.8:
        model = replace(model, reinject_wait=rng.choice([1, 1, 7, 25]), reinject_slots=rng.randint(1, 4))
    load = replace(load, flits=np.ones_like(load.flits))
    if rng.random() < 0.4:
        load = replace(load, multicast=random_trees(rng, model, load))
    return model, load


def random_strict_system(rng: Random) -> tuple[MeshModel, PacketLoad]:
    """A random system whose cores take no message before their sweep is done."""
    model, load = random_variant(rng) if rng.random() < 0.7 else random_giving_up(rng)
    return replace(model, strict=True, eject_slots=rng.choice([1, 3, 5, 20])), load


def random_sharing_system(rng: Random) -> tuple[MeshModel, PacketLoad]:
    """A random system whose cores' sweeps take turns with messages at one port."""
    model, load = random_variant(rng) if rng.random() < 0.6 else random_giving_up(rng)
    cores, count = load.tail_work.size, load.flits.size
    most, each, idle = rng.choice([1, 5, 12]), rng.choice([1, 3, 8]), rng.choice([0.1, 0.6])
    first, ticks = [0], []
    for _ in range(count + cores):
        ticks += [rng.randint(1, most) for _ in range(0 if rng.random() < idle else rng.randint(1, each))]
        first.append(len(ticks))
    axon_out = rng.choice([0, 0, 2, 9])
    ends = np.cumsum([0, *ticks])
    worked = np.diff(ends[first])
    last = load.core_first[1:] + np.arange(cores)
    load = replace(
        load, pieces=SweepPieces(np.array(first), ends, axon_out), work=np.delete(worked, last) + axon_out,
        tail_work=worked[last],
    )  # fmt: skip
    stage = rng.choice(["synapse_read", "accumulate"])
    return replace(model, shared_stage=stage, eject_slots=rng.choice([1, 3, 20])), load


def with_sweeps(rng: Random, load: PacketLoad) -> PacketLoad:
    """Spread the packets of a load over several sweeps with times of release."""
    sweeps, period = rng.randint(1, 4), rng.choice([0, 30, 150, 400])
    most_tail, idle = rng.choice([0, 20, 100]), rng.choice([0.0, 0.2])
    columns: list[tuple[int, int, int, int]] = []  # packet of `load` or -1, flits, work, release
    core_first = [0]
    for core in range(load.core_first.size - 1):
        offset = rng.choice([0, 0, rng.randint(0, 50)])
        packets = list(range(load.core_first[core], load.core_first[core + 1]))
        ends = [*sorted(rng.randint(0, len(packets)) for _ in range(sweeps - 1)), len(packets)]
        begin = 0
        for sweep, end in enumerate(ends):
            release = offset + sweep * period
            for packet in packets[begin:end]:
                if rng.random() < idle:
                    columns.append((-1, 0, rng.randint(0, most_tail), release))
                columns.append((packet, int(load.flits[packet]), int(load.work[packet]), release))
            columns.append((-1, 0, rng.randint(0, most_tail), release))
            begin = end
        core_first.append(len(columns))
    packet, flits, work, release = (np.array(column, dtype=np.int64) for column in zip(*columns, strict=True))
    empty = np.zeros_like(flits)
    if load.flits.size:
        destination, read, accumulate = (
            np.where(packet < 0, 0, values[packet]) for values in (load.destination, load.read, load.accumulate)
        )
    else:
        destination = read = accumulate = empty
    return PacketLoad(
        core_first=np.array(core_first), tail_work=np.zeros_like(load.tail_work), destination=destination,
        flits=flits, work=work, read=read, accumulate=accumulate, release=release,
    )  # fmt: skip


def random_processor_system(rng: Random) -> tuple[MeshModel, PacketLoad]:
    """Processor cores on any network, several sweeps with times of release, and buffers that may be too small."""
    model, load = random_variant(rng) if rng.random() < 0.5 else random_giving_up(rng)
    load = with_sweeps(rng, replace(load, multicast=None))
    processors = Processors(
        packet=rng.choice([0, 1, 3, 15]),
        set_up=rng.choice([0, 1, 4, 12]),
        memory_latency=rng.choice([0, 1, 5, 20]),
        buffer=rng.choice([1, 2, 3, 50]),
    )
    if rng.random() < 0.4:
        load = replace(load, multicast=random_trees(rng, model, load))
    processors = replace(processors, shared_memory=rng.random() < 0.8)
    return replace(model, processors=processors, eject_slots=rng.choice([1, 3, 20])), load
