"""Cores with stages of the plain stepper: a sweep, an injection queue, an ejection queue, and three servers.

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

from plain_router import CoreEnds, Observed

from neurosim.engine import MeshModel, PacketLoad


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
                    self.take_tail(self.copy[flit.packet], now)
                moved = True
            self.seen.moves["receive"] += moved
        self.seen.happened["message waits for the phase"] += held_back and bool(queue)
        self.seen.waited[self.number] += sum(flit.tail for flit in queue)
        for name, stage in (("axon-in", self.axon_in), ("read", self.read)):
            if stage.message is not None and now >= stage.busy_until:
                self.seen.happened[f"{name} is blocked"] += 1

    def take_tail(self, message: int, now: int) -> None:
        self.axon_in.message, self.axon_in.busy_until = message, now + self.axon_ticks

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
