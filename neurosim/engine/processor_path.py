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

    def __init__(self, trace: PacketTrace, mesh: MeshModel, tick_ps: int) -> None:
        assert trace.stages is not None
        self.trace, self.mesh, self.tick_ps = trace, mesh, tick_ps
        self.times, self.packet_ps = trace.stages.times_ps, trace.stages.packet_ps
        self.spans = PathSpans()
        self.jobs: dict[int, _Jobs] = {}

    def add(self, resource: Resource, core: int, since: int, until: int, towards: int = -1) -> None:
        """Lay down a span, cut off at the start of the timestep."""
        since = max(since, 0)
        if since < until:
            self.spans.add(resource, core, towards, since, until)

    def cpu(self, core: int, since: int, until: int) -> None:
        """Lay down who had the CPU of `core`: interrupts before jobs, jobs before the sweep."""
        jobs, since = self._of(core), max(since, 0)
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
        self.cpu(core, 0, int(self.trace.stages.ready_ps[segment]))

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
        while until > 0:
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

    def job(self, core: int, place: int) -> None:
        """Follow the job at `place` in the core's order back to what started it all."""
        jobs = self._of(core)
        while place >= 0 and jobs.end[place] > 0:
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
    trace: PacketTrace, mesh: MeshModel, tick_ps: int, end_ps: int, barrier_ps: int, rest_ps: int, alone: bool
) -> IntArray:
    """Return the critical path of a timestep; for its columns see `critical.critical_path`.

    Parameters
    ----------
    trace
        Its packets, with `stages`.
    mesh, tick_ps
        The network and its ticks.
    end_ps
        When the last of its work was done.
    barrier_ps, rest_ps
        Length of the barrier behind it, and of the wait for the next tick.
    alone
        Whether it began without work of earlier timesteps; if not, a path may end where such work was waited for.

    Raises
    ------
    AuditError
        The spans do not account for the whole time.
    """
    walk = _Walk(trace, mesh, tick_ps)
    walk.add(Resource.TICK, -1, end_ps + barrier_ps, end_ps + barrier_ps + rest_ps)
    walk.add(Resource.BARRIER, -1, end_ps, end_ps + barrier_ps)
    finished = walk.times[:, stage.FINISHED]
    sweep_core = int(trace.sweep_end_ps.argmax())
    if trace.sweep_end_ps[sweep_core] == end_ps:
        walk.sweep(sweep_core, int(trace.core_first[sweep_core + 1]) - 1)
    elif finished.size and finished.max() == end_ps:
        core = int(trace.destination[int(finished.argmax())])
        walk.job(core, len(walk._of(core).end) - 1)
    else:
        copy = int(trace.arrived_ps.argmax())
        walk.arrival(copy)
    since = end_ps if walk.spans.since is None else min(walk.spans.since, end_ps)
    if not alone:
        walk.add(Resource.EARLIER, -1, 0, since)
    spans = walk.spans.array()
    check_path(spans, end_ps + barrier_ps + rest_ps)
    return spans
