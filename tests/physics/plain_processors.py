"""Processor cores of the plain stepper: one CPU a core, and a memory that the cores of a tile share.

Written from docs/decisions/0004-processor-cores.md. Whatever that leaves open is settled here:

- The first flits of a message leave the ejection queue at once, as at other cores; its tail is the message.
- A job or segment begins when it is the first of its kind, even if the CPU is at something else.
- `read` is the time for which a transfer holds the memory; a copy with `read` 0 has no words.
- Where the cores of a tile do not share a memory, each has one of its own.
- A message without words is finished as its set-up ends, and counts for the end of a core's work like others.
"""

from __future__ import annotations

from collections import deque

from plain_router import CoreEnds, Observed

from neurosim.engine import MeshModel, PacketLoad
from neurosim.engine.processor_kernels import (
    FINISHED,
    ROW_AT,
    ROW_BEGIN,
    SET_UP_BEGIN,
    SET_UP_END,
    TAKEN,
    TRANSFER_BEGIN,
)

LOST = -2


class Memory:
    """The memory of a tile: one transfer at a time, in the order in which they were asked for."""

    def __init__(self, latency: int, seen: Observed) -> None:
        self.latency, self.seen = latency, seen
        self.asked: deque[tuple[Processor, int]] = deque()
        self.busy_until = 0

    def step(self, now: int) -> None:
        """Begin the next transfer if none is at work."""
        if self.asked and now >= self.busy_until:
            core, copy = self.asked.popleft()
            core.stages[copy][TRANSFER_BEGIN] = now
            self.busy_until = now + core.words_ticks(copy)
            core.row_comes = self.busy_until + self.latency
            self.seen.moves["transfer"] += 1
        self.seen.happened["transfer waits for the memory"] += bool(self.asked)


class Job:
    """Work of the CPU for a message: setting up the transfer of its row, or the row itself."""

    def __init__(self, kind: str, copy: int, ticks: int) -> None:
        self.kind, self.copy, self.ticks, self.left = kind, copy, ticks, ticks
        self.begun = False


class Processor(CoreEnds):
    """A core whose CPU takes messages, works on rows and sweeps."""

    def __init__(self, number: int, model: MeshModel, load: PacketLoad, seen: Observed, memory: Memory) -> None:
        super().__init__(number, model, load, seen)
        assert model.processors is not None
        assert load.release is not None
        self.habits, self.memory, self.stages = model.processors, memory, seen.stages
        many = load.multicast
        self.read = load.read if many is None else many.read
        self.accumulate = load.accumulate if many is None else many.accumulate
        self.interrupt: int | None = None  # message that the interrupt at work takes
        self.interrupt_left = 0
        self.buffer: deque[int] = deque()
        self.fetches = False
        self.row_message = -1
        self.row_comes: int | None = None
        self.jobs: deque[Job] = deque()
        self.segments = deque(range(load.core_first[number], load.core_first[number + 1]))
        self.segment_left: int | None = None  # None where the first segment has not begun

    def words_ticks(self, copy: int) -> int:
        return int(self.read[copy])

    def step_messages(self, now: int) -> None:
        """End interrupts and take messages, take in the row that has come, end jobs."""
        self.deliver(now)
        self._interrupts(now)
        if self.row_comes is not None and now >= self.row_comes:
            self.stages[self.row_message][ROW_AT] = now
            self.row_comes = None
            self.fetches = False
            self._fetch_next()
            self.jobs.append(Job("row", self.row_message, int(self.accumulate[self.row_message])))
        self._jobs(now)

    def _interrupts(self, now: int) -> None:
        queue = self.from_router.queue
        moved = True
        while moved:
            moved = False
            if self.interrupt is not None and self.interrupt_left == 0:
                self._enter_buffer(self.interrupt)
                self.interrupt = None
                moved = True
            while queue and not queue[0].tail:
                self.from_router.remove(now)
            if queue and self.interrupt is None:
                self.interrupt = self.copy[self.from_router.remove(now).packet]
                self.interrupt_left = self.habits.packet
                self.stages[self.interrupt][TAKEN] = now
                moved = True
            self.seen.moves["interrupt"] += moved
        waiting = sum(flit.tail for flit in queue)
        self.seen.waited[self.number] += waiting
        self.seen.happened["message waits for an interrupt"] += bool(waiting)

    def _enter_buffer(self, copy: int) -> None:
        if len(self.buffer) == self.habits.buffer:
            self.stages[copy][FINISHED] = LOST
            self.seen.happened["message is lost"] += 1
            return
        self.buffer.append(copy)
        self.seen.happened["several messages in the buffer"] += len(self.buffer) > 1
        if not self.fetches:
            self._fetch_next()

    def _fetch_next(self) -> None:
        """Put the set-up for the oldest message of the buffer, if there is one, behind the jobs."""
        self.fetches = bool(self.buffer)
        if self.buffer:
            self.seen.happened["set-up waits behind a job"] += bool(self.jobs)
            self.jobs.append(Job("set-up", self.buffer[0], self.habits.set_up))

    def _jobs(self, now: int) -> None:
        while self.jobs:
            job = self.jobs[0]
            row = self.stages[job.copy]
            if not job.begun:
                job.begun = True
                row[SET_UP_BEGIN if job.kind == "set-up" else ROW_BEGIN] = now
            if job.left:
                return
            self.jobs.popleft()
            self.seen.moves["job"] += 1
            if job.kind == "row":
                self._finish(job.copy, now)
                continue
            row[SET_UP_END] = now
            assert self.buffer.popleft() == job.copy
            if self.words_ticks(job.copy):
                self.row_message = job.copy
                self.memory.asked.append((self, job.copy))
            else:
                self._finish(job.copy, now)
                self.seen.happened["message has no words"] += 1
                self._fetch_next()

    def _finish(self, copy: int, now: int) -> None:
        self.stages[copy][FINISHED] = now
        self.seen.finish[self.number] = now

    def step_sweep(self, now: int) -> None:
        """End segments, send flits, and give the CPU to what is first at work."""
        moved = True
        while moved:
            moved = self._segment(now)
            moved |= self.inject(now)
            self.seen.moves["send"] += moved
        if self.segment_left == 0:
            self.seen.stalled[self.number] += 1
            self.seen.happened["sweep stalls"] += 1
        if self.injecting and now >= self.busy_until:
            self.seen.happened["source waits for a slot"] += 1
        self._work()

    def _segment(self, now: int) -> bool:
        """Begin the first segment if its time has come; end it if its work is done and there is room."""
        if not self.segments:
            return False
        packet = self.segments[0]
        if self.segment_left is None:
            release = int(self.load.release[packet])  # type: ignore[index]
            if now < release:
                self.seen.happened["sweep waits for its release"] += 1
                self.seen.moves["timer"] += 1  # the machine is not stuck
                return False
            first = packet == self.load.core_first[self.number]
            if not first and release > self.load.release[packet - 1]:  # type: ignore[index]
                self.seen.happened["sweep is late for its release"] += now > release
            self.segment_left = int(self.load.work[packet])
        has_packet = self.load.flits[packet] > 0
        if self.segment_left or (has_packet and len(self.injecting) >= self.room):
            return False
        if has_packet:
            self.put(packet)
        self.seen.ready[packet] = now
        self.seen.sweep_end[self.number] = now
        self.segments.popleft()
        self.segment_left = None
        return True

    def _work(self) -> None:
        """Give the CPU to what is first at work, until the next tick."""
        sweep_waits = bool(self.segment_left)
        sweep_was_at_work = sweep_waits and self.segment_left != self.load.work[self.segments[0]]
        job_was_at_work = bool(self.jobs) and self.jobs[0].left != self.jobs[0].ticks
        if self.interrupt is not None:
            self.interrupt_left -= 1
            self.seen.happened["interrupt before a set-up"] += job_was_at_work and self.jobs[0].kind == "set-up"
            self.seen.happened["interrupt before a row"] += job_was_at_work and self.jobs[0].kind == "row"
            self.seen.happened["interrupt before the sweep"] += sweep_was_at_work
        elif self.jobs:
            self.jobs[0].left -= 1
            self.seen.happened["job before the sweep"] += sweep_was_at_work
        elif sweep_waits:
            self.segment_left -= 1  # type: ignore[operator]
        else:
            return
        self.seen.moves["work"] += 1

    @property
    def idle(self) -> bool:
        at_work = self.interrupt is not None or self.buffer or self.fetches or self.jobs or self.segments
        return not (at_work or self.holds_flits)


class Tile:
    """The processors of a router, lower core numbers first, and their memory."""

    def __init__(self, router: int, model: MeshModel, load: PacketLoad, seen: Observed) -> None:
        assert model.processors is not None
        numbers = [core for core in range(model.core_router.size) if model.core_router[core] == router]
        latency, shared = model.processors.memory_latency, model.processors.shared_memory
        self.memories = [Memory(latency, seen) for _ in range(1 if shared else len(numbers))]
        places = [0 if shared else place for place in range(len(numbers))]
        self.cores = [
            Processor(number, model, load, seen, self.memories[place])
            for number, place in zip(numbers, places, strict=True)
        ]

    def step(self, now: int) -> None:
        """Do all that the cores do in a tick."""
        for core in self.cores:
            core.step_messages(now)
        for memory in self.memories:
            memory.step(now)
        for core in self.cores:
            core.step_sweep(now)
