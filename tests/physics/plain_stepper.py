"""A second opinion on the engine: the same machine, stepped tick by tick in plain Python.

Nothing here jumps ahead in time and nothing is computed from an earlier packet's times. In every tick every
lane, core and router looks at what it holds and does what it can. Slow and obvious on purpose.

What lanes and routers do is told in `plain_router`, what processor cores do in `plain_processors`. Of other cores:

- A core's sweep puts a packet into the injection queue when it has worked for it and there is room. The packet
  has its place until its tail has left.
- The ejection queue is emptied from its front: the first flits of a message at once, its tail when axon-in is
  idle. A stage that is done holds its message until the queue of the next one has room.
- With strict phases no message's tail is taken out of the ejection queue before the sweep's last work is done.
- A time that may be zero (axon-in, read, accumulate, work, `eject_credit`) passes within the tick.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from plain_processors import Processor, Tile
from plain_router import CoreEnds, Lane, Observed, Router, copies_of

from neurosim.engine import MeshModel, PacketLoad

QUIET_TICKS = 400
"""After so many ticks without any movement, more than any delay in use, what is left cannot move."""


class Stage:
    """A server of a core, with a queue before it."""

    def __init__(self, room: int) -> None:
        self.queue: deque[int] = deque()
        self.room = room
        self.message: int | None = None
        self.busy_until = 0


class Core(CoreEnds):
    """A core's sending side (sweep, injection queue) and receiving side (ejection queue, three stages)."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        super().__init__(number, model, load, seen)
        self.strict = model.strict
        self.to_sweep = deque(range(load.core_first[number], load.core_first[number + 1]))
        self.swept_at = 0  # when the packet that the sweep works for is made
        self._next_packet(0)
        self.axon_ticks = model.axon_in
        self.axon_in, self.read, self.accumulate = Stage(0), Stage(model.stage_queue), Stage(model.stage_queue)
        many = load.multicast
        self.read_ticks = load.read if many is None else many.read
        self.accumulate_ticks = load.accumulate if many is None else many.accumulate

    def _next_packet(self, now: int) -> None:
        work = self.load.work[self.to_sweep[0]] if self.to_sweep else self.load.tail_work[self.number]
        self.swept_at = now + int(work)
        if not self.to_sweep:
            self.seen.sweep_end[self.number] = self.swept_at

    def step(self, now: int) -> None:
        """Do all that the core does in a tick."""
        self.send(now)
        self.receive(now)

    def send(self, now: int) -> None:
        """Sweep and inject."""
        moved = True
        while moved:
            moved = False
            if self.to_sweep and now >= self.swept_at and len(self.injecting) < self.room:
                self.put(self.to_sweep.popleft())
                self._next_packet(now)
                moved = True
            moved |= self.inject(now)
            self.seen.moves["send"] += moved
        if self.to_sweep and now >= self.swept_at:
            self.seen.stalled[self.number] += 1
            self.seen.happened["sweep stalls"] += 1
        if self.injecting and now >= self.busy_until:
            self.seen.happened["source waits for a slot"] += 1

    def receive(self, now: int) -> None:
        """Take flits out of the ejection queue and work on messages."""
        self.deliver(now)
        held_back = self.strict and (bool(self.to_sweep) or now < self.swept_at)
        moved = True
        while moved:
            moved = self._leave(self.accumulate, None, now)
            moved |= self._enter(self.accumulate, self.accumulate_ticks, now)
            moved |= self._leave(self.read, self.accumulate, now)
            moved |= self._enter(self.read, self.read_ticks, now)
            moved |= self._leave(self.axon_in, self.read, now)
            queue = self.from_router.queue
            while queue and not (queue[0].tail and (held_back or self.axon_in.message is not None)):
                flit = self.from_router.remove(now)
                if flit.tail:
                    self.axon_in.message, self.axon_in.busy_until = self.copy[flit.packet], now + self.axon_ticks
                moved = True
            self.seen.moves["receive"] += moved
        self.seen.happened["message waits for the phase"] += held_back and bool(queue)
        self.seen.waited[self.number] += sum(flit.tail for flit in queue)
        for name, stage in (("axon-in", self.axon_in), ("read", self.read)):
            if stage.message is not None and now >= stage.busy_until:
                self.seen.happened[f"{name} is blocked"] += 1

    def _leave(self, stage: Stage, after: Stage | None, now: int) -> bool:
        if stage.message is None or now < stage.busy_until or (after and len(after.queue) == after.room):
            return False
        if after:
            after.queue.append(stage.message)
        else:
            self.seen.finish[self.number] = now
        stage.message = None
        return True

    def _enter(self, stage: Stage, ticks: Any, now: int) -> bool:
        if stage.message is not None or not stage.queue:
            return False
        stage.message = stage.queue.popleft()
        stage.busy_until = now + int(ticks[stage.message])
        return True

    @property
    def idle(self) -> bool:
        stages = (self.axon_in, self.read, self.accumulate)
        at_work = any(stage.message is not None or stage.queue for stage in stages)
        return not (self.to_sweep or self.holds_flits or at_work)


def step_through(model: MeshModel, load: PacketLoad) -> Observed:
    """Step one run until all is at rest, or nothing can move any more."""
    top, count, packets = model.topology, model.core_router.size, load.flits.size
    copies = sum(1 for _ in copies_of(load))
    stages = [[-1] * 7 for _ in range(copies if model.processors else 0)]
    seen = Observed([-1] * packets, [-1] * packets, [-1] * copies, stages, *([0] * count for _ in range(4)))
    routers = [Router(number, model, load, seen) for number in range(top.routers)]
    cores: list[Core | Processor]
    parts: list[Core | Tile]
    if model.processors:
        tiles = [Tile(number, model, load, seen) for number in range(top.routers)]
        cores, parts = [core for tile in tiles for core in tile.cores], [*tiles]
    else:
        hardwired = [Core(number, model, load, seen) for number in range(count)]
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
    while now - moved_at < QUIET_TICKS and not (
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
    seen.happened["machine is stuck"] += now - moved_at == QUIET_TICKS
    return seen
