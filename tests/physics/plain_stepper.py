"""A second opinion on the engine: the same machine, stepped tick by tick in plain Python.

Nothing here jumps ahead in time and nothing is computed from an earlier packet's times. In every tick every
lane, core and router looks at what it holds and does what it can. Slow and obvious on purpose.

What lanes and routers do is told in `plain_router`, what processor cores do in `plain_processors`, what cores with
stages do in `plain_stage`, and those of them whose sweep shares a port in `plain_port`.
"""

from __future__ import annotations

from plain_port import PortCore
from plain_processors import Processor, Tile
from plain_router import Lane, Observed, Router, copies_of
from plain_stage import Core

from neurosim.engine import MeshModel, PacketLoad

QUIET_TICKS = 400
"""After so many ticks without any movement, more than any delay in use, what is left cannot move."""


def step_through(model: MeshModel, load: PacketLoad, quiet_ticks: int = QUIET_TICKS) -> Observed:
    """Step one run until all is at rest, or nothing can move any more for more than any delay in use."""
    top, count, packets = model.topology, model.core_router.size, load.flits.size
    copies = sum(1 for _ in copies_of(load))
    stages = [[-1] * 7 for _ in range(copies if model.processors or model.shared_stage else 0)]
    seen = Observed([-1] * packets, [-1] * packets, [-1] * copies, stages, *([0] * count for _ in range(4)))
    routers = [Router(number, model, load, seen) for number in range(top.routers)]
    cores: list[Core | Processor]
    parts: list[Core | Tile]
    if model.processors:
        tiles = [Tile(number, model, load, seen) for number in range(top.routers)]
        cores, parts = [core for tile in tiles for core in tile.cores], [*tiles]
    else:
        kind = PortCore if model.shared_stage else Core
        hardwired = [kind(number, model, load, seen) for number in range(count)]
        cores, parts = [*hardwired], [*hardwired]
    links: list[Lane] = [router.again for router in routers if router.again is not None]
    for router in routers:
        for o in range(top.links):
            to, entry = int(top.next_router[router.number, o]), int(top.next_port[router.number, o])
            if to >= 0:
                latency, credit = int(model.latency[router.number, o]), int(model.credit[to, entry])
                lanes = [Lane(latency, credit, model.buffer_flits) for _ in range(model.channels)]
                router.outputs[o] = lanes
                routers[to].inputs.update((entry * model.channels + v, lane) for v, lane in enumerate(lanes))
                links += lanes
    for core in cores:
        router, port = routers[model.core_router[core.number]], int(model.core_port[core.number])
        router.inputs[port * model.channels], router.outputs[port] = core.to_router, [core.from_router]
    entries = [core.to_router for core in cores]
    exits = [core.from_router for core in cores]

    now = moved_at = 0
    while now - moved_at < quiet_ticks and not (
        all(core.idle for core in cores) and not any(lane.held for lane in links)
    ):
        before = seen.moves.total()
        for lane in links + entries:
            if lane.flits.under_way:
                lane.deliver(now)
            lane.take_credits(now)
        for part in parts:
            part.step(now)
        for lane in exits:
            lane.take_credits(now)
        for router in routers:
            router.grant(now)
        seen.held["injection"] += sum(len(core.injecting) for core in cores)
        seen.held["network"] += sum(lane.held for lane in links + entries)
        seen.held["network"] += sum(len(lane.flits.under_way) for lane in exits)
        seen.held["core"] += sum(flit.tail for lane in exits for flit in lane.queue)
        if seen.moves.total() != before:
            moved_at = now
        now += 1
    seen.happened["machine is stuck"] += now - moved_at == quiet_ticks
    return seen
