"""The timing of a program on cores whose sweep takes turns with messages at one port."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import sharing_kernels
from neurosim.engine.counters import CoreCount, LayerCount
from neurosim.engine.critical import TO_PS, Flights, PathSpans, Resource, check_path
from neurosim.engine.function import StepActivity
from neurosim.engine.loads import PacketLoad, PacketTimes, SweepPieces
from neurosim.engine.routed import RoutedRun
from neurosim.engine.timing import StepTiming
from neurosim.engine.trace import PacketTrace, SharedPort, packet_trace
from neurosim.errors import AuditError, InputError

IntArray = NDArray[np.int64]
kernels: Any = sharing_kernels


class SharingRun(RoutedRun):
    """Times timesteps on cores with one port for the sweep and a stage of messages (docs/decisions/0006-one-port.md).

    The recurrences of a core's two ends hold with the times that passed, waits for the port included. These make the
    trace, from which the critical path is followed as on other cores; then it is said of each wait who had the port.

    Parameters
    ----------
    program
        What to time.
    fidelity
        ``cycle``; such cores are not timed otherwise.

    Raises
    ------
    InputError
        Another fidelity.
    """

    def __init__(self, program: Program, fidelity: str = "cycle") -> None:
        if fidelity == "fast":
            raise InputError(
                f"{program.chip.name}: fidelity fast knows no port that sweep and messages share (core.shared_port); "
                "use fidelity cycle"
            )
        super().__init__(program, fidelity)
        # In an empty network cores do nothing but send and get the one packet.
        self.flights = Flights(replace(self.mesh, shared_stage=""), self.tick_ps)

    def _packets(self, activity: StepActivity, counts: IntArray, core_counts: IntArray) -> PacketLoad:
        load = super()._packets(activity, counts, core_counts)
        program, ticks, routes = self.program, self.ticks, self.program.routes
        payload = np.zeros(program.network.size, dtype=np.int64)
        payload[activity.neuron] = activity.value
        touched, _ = self.visits(activity)
        first = np.zeros(load.flits.size + program.cores + 1, dtype=np.int64)
        sends = int(counts[:, LayerCount.SENDS].sum()) if self.form is not None else 0
        ends = np.empty(program.network.size + sends + 1, dtype=np.int64)
        starts = np.zeros(1, dtype=np.int64) if routes is None else routes.destination_start
        used = kernels.sweep_pieces(
            payload, activity.active, touched, program.neuron_order, program.core_start, program.core_layer,
            self.layer_state_words, self.layer_updates, routes is not None, starts, program.axon_start,
            program.axon_core, ticks["active"], ticks["inactive"], ticks["send"], self.form, first, ends,
        )  # fmt: skip
        pieces = SweepPieces(first, ends[: used + 1], ticks["axon_out"])
        last = load.core_first[1:] + np.arange(program.cores)
        worked = np.diff(pieces.ends[first])
        packets = np.delete(worked, last) + pieces.axon_out
        if (packets != load.work).any() or (worked[last] != load.tail_work).any():
            raise AuditError(f"timestep {activity.timestep}: the pieces of the sweeps' work are not all of it")
        return replace(load, pieces=pieces)

    def _packet_trace(self, load: PacketLoad, times: PacketTimes) -> PacketTrace:
        tick, trace = self.tick_ps, packet_trace(load, times, self.tick_ps)
        reads = self.mesh.shared_stage == "synapse_read"
        own = trace.read_ps if reads else trace.accumulate_ps
        ready, made = times.ready * tick, times.made * tick
        asked = times.stages[:, kernels.READ_START if reads else kernels.BEGIN]
        begin = np.where(times.stages[:, kernels.PORT_BEGIN] < 0, asked, times.stages[:, kernels.PORT_BEGIN])
        port = SharedPort(
            self.mesh.shared_stage, asked * tick, begin * tick, begin * tick + own, ready, made,
            self.ticks["axon_out"] * tick,
        )  # fmt: skip
        first = trace.core_first
        before = np.concatenate(([0], ready[:-1]))[: ready.size]
        sends = first[:-1] < first[1:]
        before[first[:-1][sends]] = 0
        tail = trace.sweep_end_ps.copy()
        tail[sends] -= ready[first[1:][sends] - 1]
        passed = own + port.begin_ps - port.asked_ps
        return replace(
            trace,
            work_ps=made - before,
            tail_ps=tail,
            read_ps=passed if reads else trace.read_ps,
            accumulate_ps=trace.accumulate_ps if reads else passed,
            sharing=port,
        )

    def step(self, activity: StepActivity) -> tuple[StepTiming, PacketTrace]:
        """Time one timestep; for the errors see `TimeRun.step`."""
        timing, trace = super().step(activity)
        port = trace.sharing
        assert port is not None
        waited = timing.core_counts[:, CoreCount.MEMORY_WAIT_PS]
        np.add.at(waited, trace.destination, port.begin_ps - port.asked_ps)
        return replace(timing, path=path_of_turns(timing.path, trace)), trace


def message_waits(trace: PacketTrace, core: int) -> IntArray:
    """Return when messages of a core waited while the sweep had the port, int64 (W, 3): begin, end, copy; by time."""
    port = trace.sharing
    assert port is not None
    copy = np.flatnonzero((trace.destination == core) & (port.begin_ps > port.asked_ps))
    copy = copy[np.argsort(port.asked_ps[copy])]
    return np.stack([port.asked_ps[copy], port.begin_ps[copy], copy], axis=1)


def sweep_waits(trace: PacketTrace, core: int) -> IntArray:
    """Return when the sweep of a core waited while a message had the port, int64 (W, 3): begin, end, copy; by time."""
    port = trace.sharing
    assert port is not None
    copy = np.flatnonzero((trace.destination == core) & (port.end_ps > port.begin_ps) & (trace.arrived_ps >= 0))
    copy = copy[np.argsort(port.begin_ps[copy])]
    mine = slice(trace.core_first[core], trace.core_first[core + 1])
    # The sweep is in its work, or waits to go on with it, from when a packet enters the queue until axon-out has the
    # next.
    since = [0, *port.ready_ps[mine].tolist()]
    until = [*(port.made_ps[mine] - port.axon_out_ps).tolist(), int(trace.sweep_end_ps[core])]
    rows, place = [], 0
    for number, begin, end in zip(copy.tolist(), port.begin_ps[copy].tolist(), port.end_ps[copy].tolist(), strict=True):
        while place < len(until) and until[place] <= begin:
            place += 1
        here = place
        while here < len(until) and since[here] < end:
            wait = max(begin, since[here]), min(end, until[here])
            if wait[0] < wait[1]:
                rows.append((*wait, number))
            here += 1
    return np.array(rows, dtype=np.int64).reshape(-1, 3)


def path_of_turns(path: IntArray, trace: PacketTrace) -> IntArray:
    """Return a critical path in which waits for the port are spans of whoever had it.

    Parameters
    ----------
    path
        As `critical_path` returns it: a wait for the port is part of the span of who waited.
    trace
        The packets.

    Raises
    ------
    AuditError
        The spans do not cover the timestep any more.
    """
    port = trace.sharing
    assert port is not None
    stage = Resource.SYNAPSE_READ if port.stage == "synapse_read" else Resource.ACCUMULATE
    waits: dict[tuple[int, int], IntArray] = {}
    spans = PathSpans()
    for kind, core, towards, since, until in path[::-1].tolist():
        if kind not in (Resource.SWEEP, stage):
            spans.add(kind, core, towards, since, until)
            continue
        if (kind, core) not in waits:
            waits[kind, core] = sweep_waits(trace, core) if kind == Resource.SWEEP else message_waits(trace, core)
        rows, other = waits[kind, core], stage if kind == Resource.SWEEP else Resource.SWEEP
        here = rows[(rows[:, 0] < until) & (rows[:, 1] > since)]
        for begin, end, _ in here[::-1].tolist():
            spans.add(kind, core, towards, min(end, until), until)
            spans.add(other, core, towards, max(begin, since), min(end, until))
            until = max(begin, since)
        spans.add(kind, core, towards, since, until)
    found = spans.array()
    check_path(found, int(path[-1, TO_PS]) if len(path) else 0)
    return found
