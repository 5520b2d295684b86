"""What is known of every packet of a timestep, and which timesteps of a run keep it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import row_kernels
from neurosim.engine.loads import PacketLoad, PacketTimes
from neurosim.engine.mesh import MeshModel
from neurosim.errors import InputError, join_errors

IntArray = NDArray[np.int64]

ENDLESS = 1 << 40
"""Places of a queue that never fills."""


@dataclass(frozen=True)
class CoreEnds:
    """The two ends of the cores; times in ps, queues as in `MeshModel`.

    Attributes
    ----------
    axon_in_ps, inject_interval_ps
        Time of axon-in a message; time between two flits that leave a core.
    eject_interval_ps
        int64 (C,): time between two flits that reach a core.
    inject_queue, stage_queue
        Packets before the sweep stalls; messages before each of the two later stages.
    strict
        Whether a core takes no message before its sweep is done.
    """

    axon_in_ps: int
    inject_interval_ps: int
    eject_interval_ps: IntArray
    inject_queue: int
    stage_queue: int
    strict: bool = False

    @classmethod
    def of(cls, mesh: MeshModel, tick_ps: int, limited: bool = True) -> CoreEnds:
        """Return those of a mesh whose ticks are `tick_ps` long; not `limited`: with queues without end."""
        return cls(
            mesh.axon_in * tick_ps,
            mesh.inject_interval * tick_ps,
            mesh.interval[mesh.core_router, mesh.core_port] * tick_ps,
            mesh.inject_queue if limited else ENDLESS,
            mesh.stage_queue if limited else ENDLESS,
            mesh.strict,
        )


@dataclass(frozen=True)
class ProcessorStages:
    """What processors did (N segments of sweeps, M copies).

    Attributes
    ----------
    ready_ps
        int64 (N,): the packet entered its queue, or its core's sweep ended.
    times_ps
        int64 (M, STAGES): see `processor_kernels`; negative where a copy never came that far.
    lost
        bool (M,): copies that found no place in their core's buffer.
    packet_ps
        Length of an interrupt.
    """

    ready_ps: IntArray
    times_ps: IntArray
    lost: NDArray[np.bool_]
    packet_ps: int


@dataclass(frozen=True)
class SharedPort:
    """Where a core's sweep and messages took turns at one port (M copies).

    The times of such a trace are then those that passed, waits for the port included: the sweep's work, and the time
    of the stage that shares the port.

    Attributes
    ----------
    stage
        ``synapse_read`` or ``accumulate``.
    asked_ps, begin_ps
        int64 (M,): the copy was in the stage, and got the port; alike for one that did not need it, negative for one
        that never came.
    end_ps
        int64 (M,): it was done with the port.
    ready_ps, made_ps
        int64 (N,): the packet entered its queue; the sweep was done with it.
    axon_out_ps
        Time before that in which the sweep did not need the port.
    """

    stage: str
    asked_ps: IntArray
    begin_ps: IntArray
    end_ps: IntArray
    ready_ps: IntArray
    made_ps: IntArray
    axon_out_ps: int


@dataclass(frozen=True)
class DataflowStages:
    """What cores did that update at each arrival (N packets, each with one copy, the message).

    Attributes
    ----------
    ready_ps
        int64 (N,): the packet entered its injection queue.
    cause
        int64 (N,): message in the course of which it was made; -1 for the sweep at the start of the frame.
    value
        int64 (N,): what the message says.
    taken_ps, done_ps
        int64 (N,): its core took the message out of the ejection queue, and was done with all that came of it. From
        the one to the other it worked on axon-in, synapse read, accumulation, updates and the packets it made.
    """

    ready_ps: IntArray
    cause: IntArray
    value: IntArray
    taken_ps: IntArray
    done_ps: IntArray


@dataclass(frozen=True)
class PacketTrace:
    """Packets of one timestep in the order of cores and of sending; times in ps since it began.

    N packets, C cores, M copies: a packet has one, a multicast packet one for each destination.

    Attributes
    ----------
    core_first
        int64 (C + 1,): where each core's packets begin.
    source, flits
        int64 (N,): core that sends it, and its length.
    work_ps, tail_ps
        int64 (N,) and (C,): work of the sweep before each packet, and after a core's last one.
    injected_ps, left_ps
        int64 (N,): head and tail leave the injection queue.
    packet, destination
        int64 (M,): packet of each copy, and the core that gets it.
    arrived_ps
        int64 (M,): tail reaches the core; negative where it never did.
    read_ps, accumulate_ps
        int64 (M,): time at the synapse memory and the accumulators.
    sweep_end_ps, finish_ps
        int64 (C,): a core's sweep ends; its last message is accumulated.
    stages
        What processors did; None on cores without. There a packet of no flits is the end of a core's sweep.
    dataflow
        What cores did that update at each arrival; None on others.
    sharing
        How the sweep and messages shared a port; None where the sweep has its own.
    """

    core_first: IntArray
    source: IntArray
    flits: IntArray
    work_ps: IntArray
    tail_ps: IntArray
    injected_ps: IntArray
    left_ps: IntArray
    packet: IntArray
    destination: IntArray
    arrived_ps: IntArray
    read_ps: IntArray
    accumulate_ps: IntArray
    sweep_end_ps: IntArray
    finish_ps: IntArray
    stages: ProcessorStages | None = None
    dataflow: DataflowStages | None = None
    sharing: SharedPort | None = None

    @property
    def cores(self) -> int:
        """Number of cores."""
        return len(self.tail_ps)

    def about(self, cores: IntArray | None) -> NDArray[np.bool_]:
        """Return the copies that one of `cores` sends or gets, bool (M,); all for None."""
        if cores is None:
            return np.ones(self.packet.size, dtype=np.bool_)
        chosen = np.zeros(self.cores, dtype=np.bool_)
        chosen[cores] = True
        return chosen[self.destination] | chosen[self.source[self.packet]]


def packet_trace(load: PacketLoad, times: PacketTimes, tick_ps: int) -> PacketTrace:
    """Return the trace of a timestep.

    Parameters
    ----------
    load, times
        What was sent, and what came of it.
    tick_ps
        Length of their ticks.
    """
    many = load.multicast
    if many is None:
        packet = np.arange(load.flits.size)
        destination, read, accumulate = load.destination, load.read, load.accumulate
    else:
        packet = np.repeat(np.arange(load.flits.size), np.diff(many.copy_first))
        destination, read, accumulate = many.core, many.read, many.accumulate
    cores = load.tail_work.size
    return PacketTrace(
        core_first=load.core_first,
        source=np.repeat(np.arange(cores), np.diff(load.core_first)),
        flits=load.flits,
        work_ps=load.work * tick_ps,
        tail_ps=load.tail_work * tick_ps,
        injected_ps=times.injected * tick_ps,
        left_ps=times.left * tick_ps,
        packet=packet,
        destination=destination,
        arrived_ps=times.arrived * tick_ps,
        read_ps=read * tick_ps,
        accumulate_ps=accumulate * tick_ps,
        sweep_end_ps=times.cores[:, row_kernels.CORE_SWEEP_END] * tick_ps,
        finish_ps=times.cores[:, row_kernels.CORE_FINISH] * tick_ps,
    )


@dataclass(frozen=True)
class StepTrace:
    """What is kept of one timestep.

    Attributes
    ----------
    timestep
        Its number, from 1.
    duration_ps
        Its length, with the barrier.
    path
        Its critical path; see `StepTiming`.
    link_flits
        int64 (R, P): flits that left each router by each output.
    ends
        What the stages of its cores were.
    packets
        Its packets; None once enough are kept.
    """

    timestep: int
    duration_ps: int
    path: IntArray
    link_flits: IntArray
    ends: CoreEnds
    packets: PacketTrace | None


@dataclass(frozen=True)
class TraceWindow:
    """Which timesteps to keep traces of, and how much.

    Attributes
    ----------
    first, last
        Timesteps from 1, both kept; None for the first and the last of the run.
    cores
        Cores whose packets are wanted; None for all.
    events
        Packets are kept until a timeline of this many events is surely full; at least 1.
    """

    first: int | None = None
    last: int | None = None
    cores: tuple[int, ...] | None = None
    events: int = 200_000

    def check(self, timesteps: int, cores: int, step: str = "timestep") -> None:
        """Check that the window lies in a run of `timesteps` on `cores` cores; `step` is what the run calls them.

        Raises
        ------
        InputError
            It does not; all that is wrong is named.
        """
        errors = []
        first = 1 if self.first is None else self.first
        last = timesteps if self.last is None else self.last
        if first < 1 or max(first, last) > timesteps:
            asked = f"{first} to {last}" if first <= last else f"from {first}"
            errors.append(f"{step}s {asked} are asked for; the run has {step}s 1 to {timesteps}")
        elif first > last:
            errors.append(f"{step}s {first} to {last} are none; give the smaller number first")
        wrong = [core for core in self.cores or () if not 0 <= core < cores]
        if wrong:
            names = ", ".join(str(core) for core in wrong[:8]) + (", ..." if len(wrong) > 8 else "")
            errors.append(f"cores {names}: the program uses cores 0 to {cores - 1}")
        if self.cores is not None and not self.cores:
            errors.append("no cores are asked for; name one, or leave the choice out for all")
        if self.events < 1:
            errors.append(f"{self.events} events are asked for; at least 1")
        if errors:
            raise InputError(join_errors("timeline", errors))

    def holds(self, timestep: int) -> bool:
        """Whether `timestep` is kept."""
        return (self.first or 1) <= timestep and (self.last is None or timestep <= self.last)


class TraceKeeper:
    """Keeps the traces of a run's timesteps, given in their order, within the bounds of a window.

    The packets of a timestep are kept whole, or, once those before make the window's number of events by
    their way through the network alone, not at all. Path and links are kept of every timestep.
    """

    EVENTS_A_PACKET = 2

    def __init__(self, window: TraceWindow | None, ends: CoreEnds) -> None:
        self.window, self.ends = window, ends
        self.room = 0 if window is None else window.events
        self.traces: list[StepTrace] = []

    def add(self, timestep: int, duration_ps: int, path: IntArray, link_flits: IntArray, packets: PacketTrace) -> None:
        """Keep what the window asks for; for the parameters see `StepTrace`."""
        if self.window is None or not self.window.holds(timestep):
            return
        kept = packets if self.room > 0 else None
        if kept is not None:
            chosen = None if self.window.cores is None else np.array(self.window.cores, dtype=np.int64)
            self.room -= self.EVENTS_A_PACKET * int(np.count_nonzero(packets.about(chosen)))
        self.traces.append(StepTrace(timestep, duration_ps, path, link_flits, self.ends, kept))
