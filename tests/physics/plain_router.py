"""Lanes and routers of the plain stepper, and the two queues by which a core is tied to its router.

What they do beyond what `MeshModel` says of its delays:

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
- A flit that was at the head of its queue for `patience` ticks also asks for the ways round the links that it
  still wants, where both links of the way are there, for `detour_wait` ticks; then it tries once more and gives up
  what it still wants. A copy on a way round wants the second side of the triangle at the router where it comes,
  and nothing else. An output that was granted the straight way can be granted again for a way round.
- What a flit gives up is dropped, or waits in the router's reinjection queue if that has room. Flits are given
  up in the order of the inputs, after all outputs have chosen.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from neurosim.engine import MeshModel, PacketLoad

SIX = 6
"""Links of a router that has ways round."""


@dataclass(frozen=True)
class Flit:
    """One flit of a packet; `wants` outputs at the router where it comes, those of its packet where None."""

    packet: int
    head: bool
    tail: bool
    wants: frozenset[int] | None = None
    goes_round: bool = False


@dataclass(frozen=True)
class Observed:
    """What an onlooker wrote down.

    Attributes
    ----------
    injected, ready, arrived
        Tick at which a packet's head left its core's queue, at which a processor put it there (or ended a piece of
        work without a packet), and at which a copy's tail reached its core; -1 for never. A unicast packet has
        one copy.
    stages
        For each copy, the ticks at which it went through the stages of a processor, in the order of `PacketTimes`.
    sweep_end, finish, stalled, waited
        Per core: end of the sweep, end of the last accumulation, ticks in which the sweep could not go on,
        ticks in which messages waited for axon-in or an interrupt (two that wait count twice).
    link_flits, dropped, detours
        Flits that left, copies that were dropped, and copies that left on a way round, by (router, output).
    reinjected
        Flits that were put into the reinjection queue, by router.
    happened
        Ticks in which something was kept from moving, by what kept it; summed over all places.
    moves
        Anything that moved.
    held
        Packets in the injection queues, flits in the network, and messages at the cores before axon-in, summed
        over the ticks.
    """

    injected: list[int]
    ready: list[int]
    arrived: list[int]
    stages: list[list[int]]
    sweep_end: list[int]
    finish: list[int]
    stalled: list[int]
    waited: list[int]
    link_flits: Counter[tuple[int, int]] = field(default_factory=Counter)
    dropped: Counter[tuple[int, int]] = field(default_factory=Counter)
    detours: Counter[tuple[int, int]] = field(default_factory=Counter)
    reinjected: Counter[int] = field(default_factory=Counter)
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

    def take_credits(self, now: int) -> None:
        self.credits += sum(1 for _ in self.returning.take(now))

    @property
    def held(self) -> int:
        """Flits on the way and in the queue."""
        return len(self.flits.under_way) + len(self.queue)


class ReinjectionQueue(Lane):
    """A queue whose flits become ready one after the other, each some ticks after the one before it."""

    def __init__(self, wait: int, slots: int) -> None:
        super().__init__(0, 0, slots)
        self.wait, self.last_ready = wait, 0

    def send(self, flit: Flit, now: int) -> None:
        self.last_ready = max(self.last_ready, now) + self.wait
        self.flits.under_way.append((self.last_ready, flit))

    @property
    def room(self) -> bool:
        return self.held < self.slots


class CoreEnds:
    """Where a core meets its router: the injection queue and its source, and the ejection queue."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        self.number, self.load, self.seen = number, load, seen
        self.injecting: deque[deque[Flit]] = deque()
        self.room = model.inject_queue
        port = model.core_router[number], model.core_port[number]
        self.to_router = Lane(model.inject_latency, int(model.credit[port]), model.buffer_flits)
        self.interval, self.busy_until = model.inject_interval, 0
        self.from_router = Lane(int(model.latency[port]), model.eject_credit, model.eject_slots)
        self.copy = {packet: copy for copy, packet, core in copies_of(load) if core == number}

    def put(self, packet: int) -> None:
        """Put a packet into the injection queue."""
        last = int(self.load.flits[packet]) - 1
        self.injecting.append(deque(Flit(packet, k == 0, k == last) for k in range(last + 1)))

    def inject(self, now: int) -> bool:
        """Send a flit if that is possible."""
        if not self.injecting or now < self.busy_until or not self.to_router.credits:
            return False
        flit = self.injecting[0].popleft()
        self.to_router.send(flit, now)
        self.busy_until = now + self.interval
        if flit.head:
            self.seen.injected[flit.packet] = now
        if flit.tail:
            self.injecting.popleft()
        return True

    def deliver(self, now: int) -> None:
        """Put what has come into the ejection queue."""
        for flit in self.from_router.deliver(now):
            if flit.tail:
                self.seen.arrived[self.copy[flit.packet]] = now

    @property
    def holds_flits(self) -> bool:
        return bool(self.injecting or self.to_router.held or self.from_router.held)


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
        self.again: ReinjectionQueue | None = None
        if model.reinject_wait:
            self.again = ReinjectionQueue(model.reinject_wait, model.reinject_slots)
            self.inputs[(ports - 1) * self.channels] = self.again

    def ways(self, flit: Flit) -> set[int]:
        """Outputs that a flit takes here."""
        if flit.wants is not None:
            return set(flit.wants)
        many = self.load.multicast
        if many is not None:
            bits = int(many.trees[many.tree[flit.packet], self.number])
            return {o for o in range(bits.bit_length()) if bits >> o & 1}
        core = int(self.load.destination[flit.packet])
        if self.model.core_router[core] == self.number:
            return {int(self.model.core_port[core])}
        return {int(self.model.topology.route[self.number, self.model.core_router[core]])}

    def ways_round(self, i: int, now: int) -> set[int]:
        """Outputs that the flit at the head of input `i` would leave by to go round links that it wants."""
        model, lane = self.model, self.inputs[i]
        if not model.detour_wait or now < lane.at_head_since + model.patience or lane.queue[0].goes_round:
            return set()
        leads_to = model.topology.next_router
        found = set()
        for d in self.wanted[i]:
            first, second = (d + 1) % SIX, (d - 1) % SIX
            if d < SIX and first in self.outputs and leads_to[leads_to[self.number, first], second] >= 0:
                found.add(first)
        return found

    def channel_after(self, i: int, o: int) -> int:
        """Channel in which a flit from input `i` goes on by output `o`."""
        top = self.model.topology
        if self.channels == 1 or o >= top.links:
            return 0
        if top.dateline[self.number, o]:
            return 1
        return i % self.channels if top.side[i // self.channels] == top.side[o] else 0

    def grant(self, now: int) -> None:
        """Pass on what can move, give up what has waited too long."""
        asking = []
        for i, lane in sorted(self.inputs.items()):
            if lane.queue and now >= self.port_rests_until[i // self.channels]:
                self.wanted.setdefault(i, self.ways(lane.queue[0]))
                asking.append(i)
        if not asking:
            return
        sends: dict[int, int] = {}  # input that a port sends from in this tick
        for o in sorted(self.outputs):
            inputs = [i for i in asking if o in self.wanted[i] | self.ways_round(i, now)]
            if inputs and now < self.output_busy_until[o]:
                self.seen.happened["output is busy"] += 1
                continue
            self.seen.happened["inputs compete"] += len(inputs) > 1
            turns = len(self.pointer) * self.channels
            for i in sorted(inputs, key=lambda i: (i - self.pointer[o]) % turns):
                channel = self.channel_after(i, o)
                if self.can_move(i, o, channel, sends):
                    flit = self.pass_on(i, o, channel, now)
                    self.output_busy_until[o] = now + int(self.model.interval[self.number, o])
                    sends[i // self.channels] = i
                    self.pointer[o] = (i + 1) % turns
                    self.held_by[o, channel] = i
                    if flit.tail:
                        del self.held_by[o, channel]
                    self.seen.link_flits[self.number, o] += 1
                    port = i // self.channels
                    self.port_rests_until[port] = max(self.port_rests_until[port], self.output_busy_until[o])
                    self.seen.moves["grant"] += 1
                    break
        for i in asking:
            lane, patience = self.inputs[i], self.model.patience
            flit, wanted = lane.queue[0], self.wanted[i]
            gives_up = wanted and patience and now >= lane.at_head_since + patience + self.model.detour_wait
            if wanted and not gives_up:
                self.seen.happened["part of the copies is left"] += sends.get(i // self.channels) == i
                continue
            del self.wanted[i]
            lane.remove(now)
            self.seen.moves["leave"] += 1
            if gives_up:
                self.give_up(replace(flit, wants=frozenset(wanted)), now)

    def pass_on(self, i: int, o: int, channel: int, now: int) -> Flit:
        """Send a copy of the flit at the head of input `i` by output `o`, the straight way if it wants that."""
        flit = self.inputs[i].queue[0]
        self.seen.happened["second side is taken"] += flit.goes_round
        if o in self.wanted[i]:
            self.wanted[i].remove(o)
            sent = replace(flit, wants=None, goes_round=False)
        else:
            self.wanted[i].remove((o - 1) % SIX)
            sent = replace(flit, wants=frozenset({(o - 2) % SIX}), goes_round=True)
            self.seen.detours[self.number, o] += 1
            self.seen.happened["way round is taken"] += 1
        self.outputs[o][channel].send(sent, now)
        return sent

    def give_up(self, flit: Flit, now: int) -> None:
        """Send a flit again, or drop it."""
        assert flit.wants
        self.seen.happened["flit on a way round gives up"] += flit.goes_round
        self.seen.happened["several copies are given up"] += len(flit.wants) > 1
        if self.again is not None and self.again.room:
            self.again.send(flit, now)
            self.seen.reinjected[self.number] += 1
            self.seen.happened["flit is sent again"] += 1
            return
        self.seen.happened["reinjection queue is full"] += self.again is not None
        self.seen.dropped.update((self.number, o) for o in flit.wants)
        self.seen.happened["copy is dropped"] += 1

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
