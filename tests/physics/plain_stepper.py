"""A second opinion on the engine: the same machine, stepped tick by tick in plain Python.

Nothing here jumps ahead in time and nothing is computed from an earlier packet's times. In every tick every
lane, core and router looks at what it holds and does what it can. Slow and obvious on purpose.

What the machine does beyond what `MeshModel` says of its delays:

- A lane is a way for flits into a queue of finite slots. Its sender spends a credit for each flit and gets it
  back some ticks after the flit has left the queue. Sources and ejections have one lane, links one for each
  virtual channel. A packet begins in channel 0, returns to it where it turns into another dimension, and
  changes to channel 1 where it crosses a dateline.
- An output serves one flit every `interval` ticks, and the input port that the flit came from rests as long.
- In a tick the outputs choose in the order of their numbers. Each goes to the first asking input, at or after
  its pointer, that can move; the pointer then moves past it. A port sends from one of its channels in a tick.
  A packet keeps its lane of an output from head to tail.
- A flit of a multicast packet is copied to the outputs of its tree as each grants it, and leaves with the last.
- With cut-through a head needs credits for its whole packet, except towards a core.
- A flit that was at the head of its queue for `patience` ticks tries once more, then drops what it still wants.
- A core's sweep puts a packet into the injection queue when it has worked for it and there is room. The packet
  has its place until its tail has left.
- The ejection queue is emptied from its front: the first flits of a message at once, its tail when axon-in is
  idle. A stage that is done holds its message until the queue of the next one has room.
- A time that may be zero (axon-in, read, accumulate, work, `eject_credit`) passes within the tick.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from neurosim.engine import MeshModel, PacketLoad

QUIET_TICKS = 400
"""After so many ticks without any movement, more than any delay in use, what is left cannot move."""


@dataclass(frozen=True)
class Flit:
    """One flit of a packet."""

    packet: int
    head: bool
    tail: bool


@dataclass(frozen=True)
class Observed:
    """What an onlooker wrote down.

    Attributes
    ----------
    injected, arrived
        Tick at which a packet's head left its core's queue, and at which a copy's tail reached its core; -1
        for never. A unicast packet has one copy.
    sweep_end, finish, stalled, waited
        Per core: end of the sweep, end of the last accumulation, ticks in which the sweep could not go on,
        ticks in which messages waited for axon-in (two that wait count twice).
    link_flits, dropped
        Flits that left, and copies that were dropped, by (router, output).
    happened
        Ticks in which something was kept from moving, by what kept it; summed over all places.
    moves
        Anything that moved.
    held
        Packets in the injection queues, flits in the network, and messages at the cores before axon-in, summed
        over the ticks.
    """

    injected: list[int]
    arrived: list[int]
    sweep_end: list[int]
    finish: list[int]
    stalled: list[int]
    waited: list[int]
    link_flits: Counter[tuple[int, int]] = field(default_factory=Counter)
    dropped: Counter[tuple[int, int]] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)
    moves: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)


class Pipe:
    """Things under way that all take the same time."""

    def __init__(self, delay: int) -> None:
        self.delay = delay
        self.under_way: deque[tuple[int, Any]] = deque()

    def put(self, thing: Any, now: int) -> None:
        self.under_way.append((now + self.delay, thing))

    def take(self, now: int) -> Iterator[Any]:
        """Take out what is there by `now`."""
        while self.under_way and self.under_way[0][0] <= now:
            yield self.under_way.popleft()[1]


class Lane:
    """A way for flits into a queue of finite slots."""

    def __init__(self, latency: int, credit: int, slots: int) -> None:
        self.flits, self.returning = Pipe(latency), Pipe(credit)
        self.slots, self.credits = slots, slots
        self.queue: deque[Flit] = deque()
        self.at_head_since = 0

    def send(self, flit: Flit, now: int) -> None:
        self.credits -= 1
        self.flits.put(flit, now)

    def deliver(self, now: int) -> list[Flit]:
        """Put what has come by `now` into the queue."""
        came = list(self.flits.take(now))
        if came and not self.queue:
            self.at_head_since = now
        self.queue += came
        assert len(self.queue) <= self.slots
        return came

    def remove(self, now: int) -> Flit:
        self.returning.put("credit", now)
        self.at_head_since = now
        return self.queue.popleft()

    @property
    def held(self) -> int:
        """Flits on the way and in the queue."""
        return len(self.flits.under_way) + len(self.queue)


class Stage:
    """A server of a core, with a queue before it."""

    def __init__(self, room: int) -> None:
        self.queue: deque[int] = deque()
        self.room = room
        self.message: int | None = None
        self.busy_until = 0


class Core:
    """A core's sending side (sweep, injection queue) and receiving side (ejection queue, three stages)."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        self.number, self.load, self.seen = number, load, seen
        self.to_sweep = deque(range(load.core_first[number], load.core_first[number + 1]))
        self.swept_at = 0  # when the packet that the sweep works for is made
        self._next_packet(0)
        self.injecting: deque[deque[Flit]] = deque()
        self.room = model.inject_queue
        port = model.core_router[number], model.core_port[number]
        self.to_router = Lane(model.inject_latency, int(model.credit[port]), model.buffer_flits)
        self.interval, self.busy_until = model.inject_interval, 0
        self.from_router = Lane(int(model.latency[port]), model.eject_credit, model.eject_slots)
        self.axon_ticks = model.axon_in
        self.axon_in, self.read, self.accumulate = Stage(0), Stage(model.stage_queue), Stage(model.stage_queue)
        many = load.multicast
        self.read_ticks = load.read if many is None else many.read
        self.accumulate_ticks = load.accumulate if many is None else many.accumulate
        self.copy = {packet: copy for copy, packet, core in copies_of(load) if core == number}

    def _next_packet(self, now: int) -> None:
        work = self.load.work[self.to_sweep[0]] if self.to_sweep else self.load.tail_work[self.number]
        self.swept_at = now + int(work)
        if not self.to_sweep:
            self.seen.sweep_end[self.number] = self.swept_at

    def send(self, now: int) -> None:
        """Sweep and inject."""
        moved = True
        while moved:
            moved = False
            if self.to_sweep and now >= self.swept_at and len(self.injecting) < self.room:
                packet = self.to_sweep.popleft()
                last = int(self.load.flits[packet]) - 1
                self.injecting.append(deque(Flit(packet, k == 0, k == last) for k in range(last + 1)))
                self._next_packet(now)
                moved = True
            if self.injecting and now >= self.busy_until and self.to_router.credits:
                flit = self.injecting[0].popleft()
                self.to_router.send(flit, now)
                self.busy_until = now + self.interval
                if flit.head:
                    self.seen.injected[flit.packet] = now
                if flit.tail:
                    self.injecting.popleft()
                moved = True
            self.seen.moves["send"] += moved
        if self.to_sweep and now >= self.swept_at:
            self.seen.stalled[self.number] += 1
            self.seen.happened["sweep stalls"] += 1
        if self.injecting and now >= self.busy_until:
            self.seen.happened["source waits for a slot"] += 1

    def receive(self, now: int) -> None:
        """Take flits out of the ejection queue and work on messages."""
        for flit in self.from_router.deliver(now):
            if flit.tail:
                self.seen.arrived[self.copy[flit.packet]] = now
        moved = True
        while moved:
            moved = self._leave(self.accumulate, None, now)
            moved |= self._enter(self.accumulate, self.accumulate_ticks, now)
            moved |= self._leave(self.read, self.accumulate, now)
            moved |= self._enter(self.read, self.read_ticks, now)
            moved |= self._leave(self.axon_in, self.read, now)
            queue = self.from_router.queue
            while queue and not (queue[0].tail and self.axon_in.message is not None):
                flit = self.from_router.remove(now)
                if flit.tail:
                    self.axon_in.message, self.axon_in.busy_until = self.copy[flit.packet], now + self.axon_ticks
                moved = True
            self.seen.moves["receive"] += moved
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
        return not (self.to_sweep or self.injecting or self.to_router.held or self.from_router.held or at_work)


class Router:
    """Inputs that ask, outputs that grant. An input is a channel of a port, numbered port x channels + channel."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        self.number, self.model, self.load, self.seen = number, model, load, seen
        ports, self.channels = model.latency.shape[1], model.channels
        self.inputs: dict[int, Lane] = {}
        self.outputs: dict[int, list[Lane]] = {}
        self.port_rests_until, self.output_busy_until, self.pointer = [0] * ports, [0] * ports, [0] * ports
        self.held_by: dict[tuple[int, int], int] = {}
        self.wanted: dict[int, set[int]] = {}  # outputs that the flit at the head of an input still wants

    def ways(self, packet: int) -> set[int]:
        """Outputs that a packet takes here."""
        many = self.load.multicast
        if many is not None:
            bits = int(many.trees[many.tree[packet], self.number])
            return {o for o in range(bits.bit_length()) if bits >> o & 1}
        core = int(self.load.destination[packet])
        if self.model.core_router[core] == self.number:
            return {int(self.model.core_port[core])}
        return {int(self.model.topology.route[self.number, self.model.core_router[core]])}

    def channel_after(self, i: int, o: int) -> int:
        """Channel in which a flit from input `i` goes on by output `o`."""
        top = self.model.topology
        if self.channels == 1 or o >= top.links:
            return 0
        if top.dateline[self.number, o]:
            return 1
        return i % self.channels if top.side[i // self.channels] == top.side[o] else 0

    def grant(self, now: int) -> None:
        """Pass on what can move, drop what has waited too long."""
        asking = []
        for i, lane in self.inputs.items():
            if lane.queue and now >= self.port_rests_until[i // self.channels]:
                self.wanted.setdefault(i, self.ways(lane.queue[0].packet))
                asking.append(i)
        if not asking:
            return
        sends: dict[int, int] = {}  # input that a port sends from in this tick
        for o in sorted(self.outputs):
            inputs = [i for i in asking if o in self.wanted[i]]
            if inputs and now < self.output_busy_until[o]:
                self.seen.happened["output is busy"] += 1
                continue
            self.seen.happened["inputs compete"] += len(inputs) > 1
            turns = len(self.pointer) * self.channels
            for i in sorted(inputs, key=lambda i: (i - self.pointer[o]) % turns):
                channel = self.channel_after(i, o)
                if self.can_move(i, o, channel, sends):
                    flit = self.inputs[i].queue[0]
                    self.outputs[o][channel].send(flit, now)
                    self.output_busy_until[o] = now + int(self.model.interval[self.number, o])
                    sends[i // self.channels] = i
                    self.pointer[o] = (i + 1) % turns
                    self.held_by[o, channel] = i
                    if flit.tail:
                        del self.held_by[o, channel]
                    self.wanted[i].remove(o)
                    self.seen.link_flits[self.number, o] += 1
                    port = i // self.channels
                    self.port_rests_until[port] = max(self.port_rests_until[port], self.output_busy_until[o])
                    self.seen.moves["grant"] += 1
                    break
        for i in asking:
            lane, patience = self.inputs[i], self.model.patience
            if self.wanted[i] and patience and now >= lane.at_head_since + patience:
                self.seen.dropped.update((self.number, o) for o in self.wanted.pop(i))
                self.seen.happened["copy is dropped"] += 1
            elif self.wanted[i]:
                self.seen.happened["part of the copies is left"] += sends.get(i // self.channels) == i
                continue
            self.wanted.pop(i, None)
            lane.remove(now)
            self.seen.moves["leave"] += 1

    def can_move(self, i: int, o: int, channel: int, sends: dict[int, int]) -> bool:
        """Whether the flit at the head of input `i` can leave by this channel of output `o`."""
        lane, flit = self.outputs[o][channel], self.inputs[i].queue[0]
        if sends.get(i // self.channels, i) != i:
            self.seen.happened["port sends from another channel"] += 1
            return False
        if self.held_by.get((o, channel), i) != i:
            self.seen.happened["packet keeps another out"] += 1
            return False
        towards_core = o >= self.model.topology.links
        whole = self.model.cut_through and flit.head and not towards_core
        if lane.credits >= (int(self.load.flits[flit.packet]) if whole else 1):
            return True
        if lane.credits:
            self.seen.happened["head waits for room for all"] += 1
        else:
            what = "credit is under way" if lane.returning.under_way else "no slot is free"
            self.seen.happened[f"{'core' if towards_core else 'link'}: {what}"] += 1
        return False


def copies_of(load: PacketLoad) -> Iterator[tuple[int, int, int]]:
    """Copies as (copy, packet, core)."""
    if load.multicast is None:
        yield from ((packet, packet, int(core)) for packet, core in enumerate(load.destination))
        return
    for packet in range(load.flits.size):
        for copy in range(load.multicast.copy_first[packet], load.multicast.copy_first[packet + 1]):
            yield copy, packet, int(load.multicast.core[copy])


def step_through(model: MeshModel, load: PacketLoad) -> Observed:
    """Step one timestep until all is at rest, or nothing can move any more."""
    top, count = model.topology, model.core_router.size
    copies = sum(1 for _ in copies_of(load))
    seen = Observed([-1] * load.flits.size, [-1] * copies, *([0] * count for _ in range(4)))
    routers = [Router(number, model, load, seen) for number in range(top.routers)]
    cores = [Core(number, model, load, seen) for number in range(count)]
    links: list[Lane] = []
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
        for core in cores:
            core.receive(now)
        for lane in links + entries + exits:
            if lane.returning.under_way:
                lane.credits += sum(1 for _ in lane.returning.take(now))
        for core in cores:
            core.send(now)
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
