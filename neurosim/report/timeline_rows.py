"""The events of a timestep's packets: what the stages of cores did with them, and when, as rows of numbers.

A row is an event: begin and end in ps since the timestep began, its kind, the core that it stands with, the packet,
and the core at the other end, or -1. On pipelines a core's stages each have a thread. A processor has one CPU, and
its work is shown from beginning to end, with what interrupted it: interrupts, the jobs (set-ups and rows) and the
sweep have a thread each, and so have the transfers of rows. A core that updates at each arrival does one thing at a
time: of all its threads but that of the injection queue one is at work. Where sweep and messages share a port, waits
for it lie within the spans of those that waited.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import PacketTrace, StepTrace, processor_kernels
from neurosim.engine.critical import receiving, sending
from neurosim.engine.flow_spans import flow_spans
from neurosim.engine.sharing import message_waits, sweep_waits
from neurosim.engine.trace import CoreEnds, DataflowStages
from neurosim.engine.trace_kernels import AXON_LEFT, BEGIN, FINISH, READ_LEFT, READ_START, TAKEN

IntArray = NDArray[np.int64]

# Columns of a row.
FROM, TO, KIND, CORE, PACKET, INFO = range(6)


@dataclass(frozen=True)
class EventKind:
    """A kind of event of a packet.

    Attributes
    ----------
    name, thread, category
        Its name, the thread of the core, and what it is part of.
    phase
        As in the format: ``X`` has a length, ``b`` is a packet on its way, ``i`` a moment.
    """

    name: str
    thread: int
    category: str
    phase: str = "X"


SWEEP, STALL, INJECT, NETWORK, AXON_IN, READ, ACCUMULATE, BLOCKED_AXON, BLOCKED_READ = range(9)
INTERRUPT, SET_UP, ROW, MEMORY_WAIT, TRANSFER, LOST, DROPPED, UPDATE = range(9, 17)
SWEEP_WAITS, READ_WAITS, ACCUMULATE_WAITS = range(17, 20)

KINDS = (
    EventKind("sweep", 1, "sender"),
    EventKind("stall", 1, "sender"),
    EventKind("inject", 2, "sender"),
    EventKind("packet", 2, "network", "b"),
    EventKind("axon in", 3, "receiver"),
    EventKind("synapse read", 4, "receiver"),
    EventKind("accumulate", 5, "receiver"),
    EventKind("blocked", 3, "receiver"),
    EventKind("blocked", 4, "receiver"),
    EventKind("interrupt", 3, "receiver"),
    EventKind("set-up", 4, "receiver"),
    EventKind("row", 4, "receiver"),
    EventKind("memory wait", 5, "receiver"),
    EventKind("row transfer", 5, "receiver"),
    EventKind("message lost", 3, "receiver", "i"),
    EventKind("message dropped", 2, "network", "i"),
    EventKind("update", 1, "receiver"),
    EventKind("port wait", 1, "sender"),
    EventKind("port wait", 4, "receiver"),
    EventKind("port wait", 5, "receiver"),
)

THREADS = {1: "sweep", 2: "injection queue, head", 3: "axon in", 4: "synapse read", 5: "accumulate"}
DATAFLOW_THREADS = THREADS | {1: "updates and messages"}
PROCESSOR_THREADS = THREADS | {3: "interrupts", 4: "set-ups and rows", 5: "row transfers"}

_IS_MOMENT = np.array([kind.phase == "i" for kind in KINDS])


class PacketRows:
    """Makes the rows of timesteps, given in their order.

    Parameters
    ----------
    program
        What ran.
    chosen
        bool (C,): cores whose work and packets are wanted.
    """

    def __init__(self, program: Program, chosen: NDArray[np.bool_]) -> None:
        self.program, self.chosen = program, chosen
        self.threads = THREADS if program.chip.core.processor is None else PROCESSOR_THREADS
        if not program.has_timesteps:
            self.threads = DATAFLOW_THREADS
        stagger = program.chip.sync.stagger
        self.timers_ps = np.arange(program.cores) * (0 if stagger is None else int(stagger.value))
        # When each core has done the sweeps, and sent the packets, of the timesteps before; ps since this one began.
        self.swept_ps = np.zeros(program.cores, dtype=np.int64)
        self.sent_ps = np.zeros(program.cores, dtype=np.int64)

    def of(self, trace: StepTrace) -> IntArray:
        """Return the rows of a timestep by time, int64 (E, 6)."""
        packets, ends = trace.packets, trace.ends
        assert packets is not None
        if packets.dataflow is not None:
            parts = [*self._arrived(packets, packets.dataflow, ends), self._flown(packets)]
        elif packets.stages is None:
            parts = [*self._sent(packets, ends), self._flown(packets), self._dropped(packets)]
            for core in np.flatnonzero(self.chosen).tolist():
                parts.extend(self._received(packets, core, ends))
        else:
            parts = [*self._processed(packets, ends), self._flown(packets)]
            self.swept_ps = np.maximum(packets.sweep_end_ps, self.swept_ps) - trace.duration_ps
            self.sent_ps -= trace.duration_ps
        rows: IntArray = np.concatenate(parts)
        if packets.stages is None:
            # The port may be busy with a last flit when all work is done.
            rows[:, TO] = np.minimum(rows[:, TO], trace.duration_ps)
        rows = rows[(rows[:, TO] > rows[:, FROM]) | _IS_MOMENT[rows[:, KIND]]]
        order = np.lexsort((rows[:, PACKET], rows[:, KIND], rows[:, CORE], rows[:, FROM]))
        return rows[order]

    def _sent(self, packets: PacketTrace, ends: CoreEnds) -> Iterator[IntArray]:
        ready = sending(packets, ends).ready_ps
        core = packets.source
        mine = self.chosen[core]
        first = packets.core_first[core] == np.arange(core.size)
        made = np.where(first, 0, np.roll(ready, 1)) + packets.work_ps
        stall = np.flatnonzero((ready > made) & mine)
        yield _rows(made[stall], ready[stall], STALL, core[stall], -1, -1)
        # A core sweeps from 0 to its end but for its stalls: as many spans begin as end.
        cores = np.flatnonzero(self.chosen)
        owner = np.concatenate((cores, core[stall]))
        begins = np.concatenate((np.zeros_like(cores), ready[stall]))
        stops = np.concatenate((packets.sweep_end_ps[cores], made[stall]))
        by_begin, by_stop = np.lexsort((begins, owner)), np.lexsort((stops, owner))
        yield _rows(begins[by_begin], stops[by_stop], SWEEP, owner[by_begin], -1, -1)
        yield self._injected(packets, ready, ends)

    def _injected(self, packets: PacketTrace, ready: IntArray, ends: CoreEnds) -> IntArray:
        """Return the time of each packet at the head of its core's queue."""
        core, number = packets.source, np.arange(packets.source.size)
        free = packets.injected_ps + packets.flits * ends.inject_interval_ps
        head = np.maximum(ready, np.where(packets.core_first[core] == number, 0, np.roll(free, 1)))
        return _rows(head, free, INJECT, core, number, -1)[self.chosen[core]]

    def _arrived(self, packets: PacketTrace, stages: DataflowStages, ends: CoreEnds) -> Iterator[IntArray]:
        """Yield the rows of cores that update at each arrival, but for packets on their way."""
        spans, core = flow_spans(packets, ends), packets.source
        sender = np.append(core, -1)  # of message -1, which is none, as well
        stall = np.flatnonzero((stages.ready_ps > spans.made_ps) & self.chosen[core])
        message = stages.cause[stall]
        yield _rows(spans.made_ps[stall], stages.ready_ps[stall], STALL, core[stall], message, sender[message])
        # A task works from its begin to its end but for its stalls: as many spans begin as end.
        tasks = np.flatnonzero(self.chosen[spans.core])
        owner = np.concatenate((tasks, spans.task[stall]))
        begins = np.concatenate((spans.begin_ps[tasks], stages.ready_ps[stall]))
        stops = np.concatenate((spans.end_ps[tasks], spans.made_ps[stall]))
        by_begin, by_stop = np.lexsort((begins, owner)), np.lexsort((stops, owner))
        owner = owner[by_begin]
        message = np.maximum(owner - packets.cores, -1)
        kind = np.where(message < 0, SWEEP, UPDATE)
        yield _rows(begins[by_begin], stops[by_stop], kind, spans.core[owner], message, sender[message])
        yield self._injected(packets, stages.ready_ps, ends)
        mine = np.flatnonzero(self.chosen[packets.destination])
        to, source, since = packets.destination[mine], core[mine], stages.taken_ps[mine]
        times = ((AXON_IN, ends.axon_in_ps), (READ, packets.read_ps[mine]), (ACCUMULATE, packets.accumulate_ps[mine]))
        for stage, length_ps in times:
            yield _rows(since, since + length_ps, stage, to, mine, source)
            since = since + length_ps

    def _flown(self, packets: PacketTrace) -> IntArray:
        source = packets.source[packets.packet]
        mine = (self.chosen[source] | self.chosen[packets.destination]) & (packets.arrived_ps >= 0)
        begin = packets.injected_ps[packets.packet]
        return _rows(begin, packets.arrived_ps, NETWORK, source, packets.packet, packets.destination)[mine]

    def _received(self, packets: PacketTrace, core: int, ends: CoreEnds) -> Iterator[IntArray]:
        got = receiving(packets, core, ends)
        times, packet = got.times_ps, packets.packet[got.copy]
        source = packets.source[packet]
        axon, read = times[:, TAKEN] + ends.axon_in_ps, times[:, READ_START] + packets.read_ps[got.copy]
        yield _rows(times[:, TAKEN], axon, AXON_IN, core, packet, source)
        yield _rows(axon, times[:, AXON_LEFT], BLOCKED_AXON, core, packet, source)
        yield _rows(times[:, READ_START], read, READ, core, packet, source)
        yield _rows(read, times[:, READ_LEFT], BLOCKED_READ, core, packet, source)
        yield _rows(times[:, BEGIN], times[:, FINISH], ACCUMULATE, core, packet, source)
        if packets.sharing is not None:
            yield from self._took_turns(packets, core)

    def _took_turns(self, packets: PacketTrace, core: int) -> Iterator[IntArray]:
        """Yield the rows of waits for a port that sweep and messages share."""
        assert packets.sharing is not None
        since, until, copy = message_waits(packets, core).T
        kind = READ_WAITS if packets.sharing.stage == "synapse_read" else ACCUMULATE_WAITS
        packet = packets.packet[copy]
        yield _rows(since, until, kind, core, packet, packets.source[packet])
        since, until, copy = sweep_waits(packets, core).T
        packet = packets.packet[copy]
        yield _rows(since, until, SWEEP_WAITS, core, packet, packets.source[packet])

    def _processed(self, packets: PacketTrace, ends: CoreEnds) -> Iterator[IntArray]:
        """Yield the rows of processors, but for packets on their way."""
        stages = packets.stages
        assert stages is not None
        # A sweep begins with its core's timer, or when the sweep before it is done.
        cores = np.flatnonzero(self.chosen)
        begin = np.maximum(self.timers_ps, self.swept_ps)[cores]
        yield _rows(begin, packets.sweep_end_ps[cores], SWEEP, cores, -1, -1)
        number = np.flatnonzero(packets.flits > 0)
        source, ready = packets.source[number], stages.ready_ps[number]
        free = packets.injected_ps[number] + packets.flits[number] * ends.inject_interval_ps
        first = np.diff(source, prepend=-1) != 0
        head = np.maximum(ready, np.where(first, self.sent_ps[source], np.roll(free, 1)))
        yield _rows(head, free, INJECT, source, number, -1)[self.chosen[source]]
        np.maximum.at(self.sent_ps, source, free)

        packet, core, times = packets.packet, packets.destination, stages.times_ps
        source = packets.source[packet]
        p = processor_kernels
        spans = (
            (INTERRUPT, times[:, p.TAKEN], times[:, p.TAKEN] + stages.packet_ps),
            (SET_UP, times[:, p.SET_UP_BEGIN], times[:, p.SET_UP_END]),
            (MEMORY_WAIT, times[:, p.SET_UP_END], times[:, p.TRANSFER_BEGIN]),
            (TRANSFER, times[:, p.TRANSFER_BEGIN], times[:, p.ROW_AT]),
            (ROW, times[:, p.ROW_BEGIN], times[:, p.FINISHED]),
        )
        for kind, since, until in spans:
            mine = np.flatnonzero(self.chosen[core] & (since >= 0) & (until >= 0))
            yield _rows(since[mine], until[mine], kind, core[mine], packet[mine], source[mine])
        lost = np.flatnonzero(stages.lost & self.chosen[core])
        at = times[lost, p.TAKEN] + stages.packet_ps
        yield _rows(at, at, LOST, core[lost], packet[lost], source[lost])
        yield self._dropped(packets)

    def _dropped(self, packets: PacketTrace) -> IntArray:
        """Return the rows of messages that were dropped.

        Where in the network that was is known only by the sums over the run; a message left its core here.
        """
        packet, core = packets.packet, packets.destination
        source = packets.source[packet]
        dropped = np.flatnonzero((packets.arrived_ps < 0) & (self.chosen[core] | self.chosen[source]))
        at = packets.injected_ps[packet[dropped]]
        return _rows(at, at, DROPPED, source[dropped], packet[dropped], core[dropped])


def _rows(
    since: IntArray,
    until: IntArray,
    kind: IntArray | int,
    core: IntArray | int,
    packet: IntArray | int,
    info: IntArray | int,
) -> IntArray:
    rows = np.empty((since.size, 6), dtype=np.int64)
    for column, values in enumerate((since, until, kind, core, packet, info)):
        rows[:, column] = values
    return rows
