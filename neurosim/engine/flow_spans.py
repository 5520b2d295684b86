"""What dataflow cores did from when to when, worked out once more from what their messages waited for.

A task of a core is its sweep, or a message. The engine says when each was taken and done and when each packet entered
its queue; all of that must follow from arrivals, from the work between packets and from when tails left.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.engine.counters import CoreCount
from neurosim.engine.trace import CoreEnds, PacketTrace
from neurosim.errors import AuditError

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class FlowSpans:
    """Spans of a frame's tasks (C cores, N packets, each a message, K = C + N tasks: sweeps by core, then messages).

    Attributes
    ----------
    made_ps
        int64 (N,): the core has worked for the packet; from then until it enters its queue the core stalls.
    task
        int64 (N,): task that made each packet.
    core, begin_ps, end_ps
        int64 (K,): core of each task; when it begins to update units, after axon-in, read and accumulation, and when
        it is done.
    """

    made_ps: IntArray
    task: IntArray
    core: IntArray
    begin_ps: IntArray
    end_ps: IntArray


def flow_spans(trace: PacketTrace, ends: CoreEnds) -> FlowSpans:
    """Work out the spans of a frame.

    Raises
    ------
    AuditError
        A message was taken, or a packet entered its queue, or a core was done, at another time than in the engine.
    """
    stages, cores, count = trace.dataflow, trace.cores, trace.source.size
    assert stages is not None
    number = np.arange(count)
    # A core takes messages in the order of their arrival, each once it is done with the one before, first its sweep.
    inbox = np.lexsort((trace.arrived_ps, trace.destination))
    to = trace.destination[inbox]
    first = np.diff(to, prepend=-1) != 0
    before = np.where(first, trace.sweep_end_ps[to], np.roll(stages.done_ps[inbox], 1))
    _equal("is taken", inbox, np.maximum(trace.arrived_ps[inbox], before), stages.taken_ps[inbox])

    core = np.concatenate((np.arange(cores), trace.destination))
    task = np.where(stages.cause < 0, trace.source, cores + stages.cause)
    begin = np.concatenate((np.zeros(cores, dtype=np.int64), stages.taken_ps))
    end = np.concatenate((trace.sweep_end_ps, stages.done_ps))
    # Packets of a core follow one another, those of a task too.
    first = np.diff(task, prepend=-1) != 0
    made = np.where(first, begin[task], np.roll(stages.ready_ps, 1)) + trace.work_ps
    full = number - ends.inject_queue
    waits = full >= trace.core_first[trace.source]
    room = np.where(waits, trace.left_ps[np.maximum(full, 0)], 0)
    _equal("enters its queue", number, np.maximum(made, room), stages.ready_ps)

    begin[cores:] += ends.axon_in_ps + trace.read_ps + trace.accumulate_ps
    last = begin.copy()
    np.maximum.at(last, task, stages.ready_ps)
    if (end < last).any():
        wrong = int(np.flatnonzero(end < last)[0])
        raise AuditError(f"core {core[wrong]}: it is done at {end[wrong]} ps with what takes until {last[wrong]} ps")
    done = np.zeros(cores, dtype=np.int64)
    np.maximum.at(done, core, end)
    if (done != trace.finish_ps).any():
        wrong = int(np.flatnonzero(done != trace.finish_ps)[0])
        raise AuditError(
            f"core {wrong}: it has finished at {trace.finish_ps[wrong]} ps, its messages say {done[wrong]} ps"
        )
    return FlowSpans(made, task, core, begin, end)


def _equal(what: str, packet: IntArray, due: IntArray, found: IntArray) -> None:
    wrong = np.flatnonzero(due != found)
    if wrong.size:
        k = wrong[0]
        raise AuditError(f"packet {packet[k]}: it {what} at {found[k]} ps, what it waited for says {due[k]} ps")


def audit_work(spans: FlowSpans, trace: PacketTrace, core_counts: IntArray) -> None:
    """Check that the spans of updates and stalls of every core are as long as its counts say.

    Parameters
    ----------
    spans, trace
        Of a frame.
    core_counts
        int64 (C, CORE_COUNTS) of the frame, complete: updates, messages and packets times what each takes.

    Raises
    ------
    AuditError
        They are not.
    """
    stages = trace.dataflow
    assert stages is not None
    work, stalls = np.zeros((2, trace.cores), dtype=np.int64)
    np.add.at(stalls, trace.source, stages.ready_ps - spans.made_ps)
    np.add.at(work, spans.core, spans.end_ps - spans.begin_ps)
    work -= stalls
    for name, found, count in (("work", work, CoreCount.SWEEP_PS), ("stalls", stalls, CoreCount.STALL_PS)):
        wrong = np.flatnonzero(found != core_counts[:, count])
        if wrong.size:
            core = int(wrong[0])
            raise AuditError(
                f"core {core}: its {name} take {found[core]} ps, what it counted takes {core_counts[core, count]} ps"
            )
