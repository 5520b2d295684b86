"""The critical path of a timestep on processor cores: what its end waited for, back to its start.

It begins with what ended the timestep's work: a sweep, or the last message worked in. On a processor a job waits for
the job before it, a set-up for an interrupt or for the row before, a row for its transfer, a transfer for the tile's
memory, an interrupt for the one before it or for the message's arrival; from there the path goes through the network
to the core that sent the packet, and along its sweep. A span holds what interrupted it.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import processor_kernels as stage
from neurosim.engine.critical import PathSpans, Resource, check_path
from neurosim.engine.mesh import MeshModel
from neurosim.engine.trace import PacketTrace

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class _Jobs:
    """A core's jobs in the order in which they were done, and the copies it worked on by other times.

    Attributes
    ----------
    begin, end, copy
        Of each job; set-ups and rows.
    is_row
        Whether a job is a row.
    interrupts
        When interrupts began, ascending.
    interrupt_end, row_at
        Time -> copy whose interrupt ended, or whose row had come, then.
    """

    begin: list[int]
    end: list[int]
    copy: list[int]
    is_row: list[bool]
    interrupts: list[int]
    interrupt_end: dict[int, int]
    row_at: dict[int, int]


def _jobs(trace: PacketTrace, core: int) -> _Jobs:
    assert trace.stages is not None
    times, packet_ps = trace.stages.times_ps, trace.stages.packet_ps
    mine = np.flatnonzero((trace.destination == core) & (times[:, stage.TAKEN] >= 0))
    set_up = mine[times[mine, stage.SET_UP_END] >= 0]
    rows = mine[times[mine, stage.ROW_BEGIN] >= 0]
    rows = rows[times[rows, stage.FINISHED] >= 0]
    begin = np.concatenate((times[set_up, stage.SET_UP_BEGIN], times[rows, stage.ROW_BEGIN]))
    end = np.concatenate((times[set_up, stage.SET_UP_END], times[rows, stage.FINISHED]))
    order = np.lexsort((begin, end))
    came = times[mine, stage.ROW_AT] >= 0
    return _Jobs(
        begin[order].tolist(),
        end[order].tolist(),
        np.concatenate((set_up, rows))[order].tolist(),
        (order >= set_up.size).tolist(),
        np.sort(times[mine, stage.TAKEN]).tolist(),
        dict(zip((times[mine, stage.TAKEN] + packet_ps).tolist(), mine.tolist(), strict=True)),
        dict(zip(times[mine[came], stage.ROW_AT].tolist(), mine[came].tolist(), strict=True)),
    )


def _flight_ps(mesh: MeshModel, tick_ps: int, source: int, destination: int) -> int:
    """Return the latencies of the straight way from core to core."""
    router, ticks = int(mesh.core_router[source]), mesh.inject_latency
    while router >= 0:
        out = int(mesh.way[destination, router])
        ticks += int(mesh.latency[router, out])
        router = int(mesh.topology.next_router[router, out])
    return ticks * tick_ps


class _Walk:
    """Follows what a time waited for, and lays down spans."""

    def __init__(self, trace: PacketTrace, mesh: MeshModel, tick_ps: int, start_ps: int, stagger_ps: int) -> None:
        assert trace.stages is not None
        self.trace, self.mesh, self.tick_ps = trace, mesh, tick_ps
        self.start_ps, self.stagger_ps = start_ps, stagger_ps
        self.times, self.packet_ps = trace.stages.times_ps, trace.stages.packet_ps
        self.spans = PathSpans()
        self.jobs: dict[int, _Jobs] = {}

    def add(self, resource: Resource, core: int, since: int, until: int, towards: int = -1) -> None:
        """Lay down a span, cut off at the start of the timestep."""
        since = max(since, self.start_ps)
        if since < until:
            self.spans.add(resource, core, towards, since - self.start_ps, until - self.start_ps)

    def cpu(self, core: int, since: int, until: int) -> None:
        """Lay down who had the CPU of `core`: interrupts before jobs, jobs before the sweep."""
        jobs, since = self._of(core), max(since, self.start_ps)
        while until > since:
            k = bisect_left(jobs.interrupts, until) - 1
            interrupt_end = jobs.interrupts[k] + self.packet_ps if k >= 0 else -1
            if interrupt_end >= until and self.packet_ps > 0:
                begin, kind = jobs.interrupts[k], Resource.INTERRUPT
            else:
                place = bisect_left(jobs.begin, until) - 1
                if place >= 0 and jobs.end[place] >= until:
                    begin, kind = max(jobs.begin[place], interrupt_end), Resource.ROW
                else:
                    begin, kind = max(jobs.end[place] if place >= 0 else 0, interrupt_end), Resource.SWEEP
            self.add(kind, core, max(begin, since), until)
            until = max(begin, since)

    def sweep(self, core: int, segment: int) -> None:
        """Follow a sweep back from when `segment` entered the queue."""
        assert self.trace.stages is not None
        until = int(self.trace.stages.ready_ps[segment])
        release = min(self.start_ps + core * self.stagger_ps, until)
        self.cpu(core, release, until)
        self.add(Resource.TICK, core, self.start_ps, release)

    def arrival(self, copy: int) -> None:
        """Follow a message back to the core that sent it."""
        trace = self.trace
        packet, core = int(trace.packet[copy]), int(trace.destination[copy])
        source = int(trace.source[packet])
        arrived, injected = int(trace.arrived_ps[copy]), int(trace.injected_ps[packet])
        flown = arrived - min(_flight_ps(self.mesh, self.tick_ps, source, core), arrived - injected)
        assert trace.stages is not None
        ready = int(trace.stages.ready_ps[packet])
        self.add(Resource.FLIGHT, source, flown, arrived, core)
        self.add(Resource.LINK, source, injected, flown, core)
        self.add(Resource.INJECTION, source, ready, injected)
        self.sweep(source, packet)

    def interrupt(self, core: int, copy: int) -> None:
        """Follow an interrupt back to the arrival of its message, over those that it stood behind."""
        jobs = self._of(core)
        until = int(self.times[copy, stage.TAKEN]) + self.packet_ps
        while until > self.start_ps:
            since = int(self.times[copy, stage.TAKEN])
            self.add(Resource.INTERRUPT, core, since, until)
            if int(self.trace.arrived_ps[copy]) == since or since not in jobs.interrupt_end or self.packet_ps == 0:
                self.add(Resource.EJECTION, core, int(self.trace.arrived_ps[copy]), since)
                self.arrival(copy)
                return
            copy, until = jobs.interrupt_end[since], since

    def _of(self, core: int) -> _Jobs:
        if core not in self.jobs:
            self.jobs[core] = _jobs(self.trace, core)
        return self.jobs[core]

    def place(self, core: int, copy: int) -> int:
        """Return where in a core's order the last job on `copy` stands."""
        jobs = self._of(core)
        return max(k for k, other in enumerate(jobs.copy) if other == copy)

    def job(self, core: int, place: int) -> None:
        """Follow the job at `place` in the core's order back to what started it all."""
        jobs = self._of(core)
        while place >= 0 and jobs.end[place] > self.start_ps:
            begin, copy = jobs.begin[place], jobs.copy[place]
            self.cpu(core, begin, jobs.end[place])
            if place > 0 and jobs.end[place - 1] == begin and begin < jobs.end[place]:
                place -= 1
                continue
            if jobs.is_row[place]:
                # Nothing was at work before it, so its transfer had just ended.
                set_up_end = int(self.times[copy, stage.SET_UP_END])
                transfer = int(self.times[copy, stage.TRANSFER_BEGIN])
                self.add(Resource.TRANSFER, core, transfer, begin)
                self.add(Resource.MEMORY, core, set_up_end, transfer)
                before = [k for k in range(place - 1, -1, -1) if jobs.copy[k] == copy and not jobs.is_row[k]]
                place = before[0]
                continue
            if place > 0 and jobs.end[place - 1] == begin:
                place -= 1
                continue
            if begin in jobs.row_at:
                # The row before had just come, and made room for this one's set-up.
                before_copy = jobs.row_at[begin]
                transfer = int(self.times[before_copy, stage.TRANSFER_BEGIN])
                self.add(Resource.TRANSFER, core, transfer, begin)
                self.add(Resource.MEMORY, core, int(self.times[before_copy, stage.SET_UP_END]), transfer)
                earlier = [k for k in range(place - 1, -1, -1) if jobs.copy[k] == before_copy and not jobs.is_row[k]]
                if not earlier:
                    return
                place = earlier[0]
                continue
            if begin in jobs.interrupt_end:
                self.interrupt(core, jobs.interrupt_end[begin])
            return


def processor_path(
    trace: PacketTrace, mesh: MeshModel, tick_ps: int, start_ps: int, stagger_ps: int, copies: IntArray,
    cores: IntArray, barrier_ps: int, rest_ps: int,
) -> IntArray:  # fmt: skip
    """Return the critical path of a timestep; for its columns see `critical.critical_path`.

    Parameters
    ----------
    trace
        Packets, with `stages`, of all timesteps that were timed together.
    mesh, tick_ps
        The network and its ticks.
    start_ps, stagger_ps
        When the timestep began; how much later the timer of each core starts than that of the one before.
    copies, cores
        Its copies, and the segments that ended its sweeps.
    barrier_ps, rest_ps
        Length of the barrier behind its work, and of the wait for the next tick.

    Raises
    ------
    AuditError
        The spans do not account for the whole time.
    """
    walk = _Walk(trace, mesh, tick_ps, start_ps, stagger_ps)
    assert trace.stages is not None
    ready, finished, arrived = (
        trace.stages.ready_ps[cores],
        walk.times[copies, stage.FINISHED],
        trace.arrived_ps[copies],
    )
    end_ps = max(int(times.max(initial=start_ps)) for times in (ready, finished, arrived))
    walk.add(Resource.TICK, -1, end_ps + barrier_ps, end_ps + barrier_ps + rest_ps)
    walk.add(Resource.BARRIER, -1, end_ps, end_ps + barrier_ps)
    if ready.size and ready.max() == end_ps:
        segment = int(cores[ready.argmax()])
        walk.sweep(int(trace.source[segment]), segment)
    elif finished.size and finished.max() == end_ps:
        copy = int(copies[finished.argmax()])
        core = int(trace.destination[copy])
        walk.job(core, walk.place(core, copy))
    else:
        walk.arrival(int(copies[arrived.argmax()]))
    spans = walk.spans.array()
    check_path(spans, end_ps - start_ps + barrier_ps + rest_ps)
    return spans
