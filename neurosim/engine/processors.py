"""The timing of a program on processor cores, where late work goes on into the next timestep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import packet_kernels, processor_kernels, row_kernels, segment_kernels
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, CoreCount, StepCount
from neurosim.engine.function import StepActivity
from neurosim.engine.loads import Multicast, PacketLoad, PacketTimes
from neurosim.engine.processor_path import processor_path
from neurosim.engine.routed import check_copies
from neurosim.engine.timing import StepTiming, TimeRun
from neurosim.engine.trace import PacketTrace, ProcessorStages
from neurosim.errors import AuditError, InputError

IntArray = NDArray[np.int64]
kernels: Any = segment_kernels

_NO_CORES = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True)
class _Sweeps:
    """What one timestep asks of the cores: see `segment_kernels.build_segments`."""

    segments: IntArray
    copies: IntArray
    layer_counts: IntArray
    core_counts: IntArray


@dataclass(frozen=True)
class _Places:
    """Where the segments and copies of several timesteps went in their common load."""

    segment_step: IntArray
    copy_step: IntArray
    segment: IntArray


class ProcessorRun(TimeRun):
    """Times timesteps on processor cores, several together where the work of one goes on into the next.

    With timers a timestep takes its period, whatever its work; what is late goes on while the next sweep is due.
    A timestep whose work is done in time leaves nothing behind, so the next begins anew. With ticks or barriers every
    timestep waits for all work.

    Parameters
    ----------
    program
        What to time.
    fidelity
        ``cycle``; processors are not timed otherwise.

    Raises
    ------
    InputError
        Another fidelity.
    """

    routed = True

    def __init__(self, program: Program, fidelity: str = "cycle") -> None:
        if fidelity == "fast":
            raise InputError(f"{program.chip.name}: fidelity fast knows no processor cores; use fidelity cycle")
        super().__init__(program, fidelity)
        ticks = self.ticks
        names = ("timer", "active", "inactive", "send", "axon_out", "row", "word")
        at_once = program.chip.core.memories.synapse.width
        self.times = np.array([*(ticks[name] for name in names), at_once], dtype=np.int64)
        self.synop_ticks = np.array([ticks[f"synop_{kind}"] for kind in ("dense", "sparse", "conv")], dtype=np.int64)
        routes = program.routes
        if routes is None:
            self.trees = self.mesh.no_trees
            self.tree_hops = np.zeros((program.cores, 3), dtype=np.int64)
            self.route_start, self.route_core = np.zeros(program.cores + 1, dtype=np.int64), _NO_CORES
        else:
            self.trees, self.tree_hops = routes.trees, routes.hops
            self.route_start, self.route_core = routes.destination_start, routes.destination_core
        last_start = (program.cores - 1) * ticks.get("stagger", 0)
        if last_start >= ticks.get("period", last_start + 1):
            raise InputError(
                f"{program.chip.name}: the timers of {program.cores} cores, each sync.stagger after the one before, do "
                "not all start within one sync.period; make sync.stagger shorter"
            )
        self.period_ps = ticks["period"] * self.tick_ps if program.chip.sync.kind == "timer" else 0

    @property
    def waits(self) -> bool:
        """Whether a timestep waits until all its work is done."""
        return self.program.chip.sync.kind != "timer"

    def _sweeps(self, activity: StepActivity) -> _Sweeps:
        program = self.program
        self._check_width(activity)
        counts = np.zeros((len(program.network.layers), LAYER_COUNTS), dtype=np.int64)
        core_counts = np.zeros((program.cores, CORE_COUNTS), dtype=np.int64)
        payload = np.zeros(program.network.size, dtype=np.int64)
        payload[activity.neuron] = activity.value
        touched, _ = self.visits(activity)
        sent, most_copies = packet_kernels.count_copies(
            activity.neuron, activity.value, program.neuron_core, self.route_start, program.axon_start,
            program.routes is not None, self.form,
        )  # fmt: skip
        self._check_rows(activity, most_copies)
        packets = sent if program.routes is not None else most_copies
        segments = np.empty((packets + program.cores, kernels.SEGMENT), dtype=np.int64)
        copies = np.empty((most_copies, kernels.COPY), dtype=np.int64)
        used, made = kernels.build_segments(
            payload, activity.active, touched, program.neuron_order, program.core_start, program.core_layer,
            program.core_tile, self.hops, self.tree_hops, self.route_start, self.route_core, program.axon_start,
            program.axon_core, program.axon_encoding, self.axon_charged, program.axon_words, self.layer_flits,
            self.layer_state_words, self.layer_updates, self.synop_ticks, self.times, self.form, segments, copies,
            counts, core_counts,
        )  # fmt: skip
        self._count_synops(activity, counts)
        return _Sweeps(segments[:used], copies[:made], counts, core_counts)

    def _load(self, sweeps: list[_Sweeps]) -> tuple[PacketLoad, _Places]:
        """Return the work of successive timesteps as one load: each core does theirs one after the other."""
        period = self.ticks.get("period", 0)
        segments = np.concatenate([part.segments for part in sweeps])
        copies = np.concatenate([part.copies for part in sweeps])
        step = np.repeat(np.arange(len(sweeps)), [len(part.segments) for part in sweeps])
        order = np.argsort(segments[:, kernels.SEGMENT_CORE], kind="stable")
        each = segments[:, kernels.SEGMENT_COPIES]
        first = np.concatenate(([0], np.cumsum(each)))
        sizes = each[order]
        new_first = np.concatenate(([0], np.cumsum(sizes)))
        # Copies of a packet stay together and follow their packet to its new place.
        copy_order = np.repeat(first[order] - new_first[:-1], sizes) + np.arange(len(copies))
        segments, copies, step = segments[order], copies[copy_order], step[order]
        core = segments[:, kernels.SEGMENT_CORE]
        count = len(segments)
        tree = core if self.program.routes is not None else np.full(count, -1, dtype=np.int64)
        nothing = np.zeros(count, dtype=np.int64)
        many = Multicast(self.trees, tree, new_first, *np.ascontiguousarray(copies.T))
        load = PacketLoad(
            core_first=np.searchsorted(core, np.arange(self.program.cores + 1)).astype(np.int64),
            tail_work=np.zeros(self.program.cores, dtype=np.int64),
            destination=nothing,
            flits=np.ascontiguousarray(segments[:, kernels.SEGMENT_FLITS]),
            work=np.ascontiguousarray(segments[:, kernels.SEGMENT_WORK]),
            read=nothing,
            accumulate=nothing,
            multicast=many,
            release=step * period + core * self.ticks.get("stagger", 0),
        )
        segment = np.repeat(np.arange(count), sizes)
        return load, _Places(step, step[segment], segment)

    def step(self, activity: StepActivity) -> tuple[StepTiming, PacketTrace]:
        """Time one timestep by itself; for the errors see `TimeRun.step`."""
        return self.together([activity])[0]

    def together(self, activities: list[StepActivity]) -> list[tuple[StepTiming, PacketTrace]]:
        """Time successive timesteps in one piece.

        Returns
        -------
        For each timestep its timing and its packets. What the links carried and where packets were dropped is not
        told apart by timestep: it stands with the first.

        Raises
        ------
        MessageWidthError, DeadlockError, AuditError
            As `TimeRun.step`.
        """
        sweeps = [self._sweeps(activity) for activity in activities]
        load, places = self._load(sweeps)
        times = self.mesh.time(load)
        self._check(activities[0].timestep, load, times, sweeps)
        whole = self._trace(None, load, places, times)
        return [self._result(k, sweeps[k], load, places, times, whole) for k in range(len(sweeps))]

    def drained(self, activities: list[StepActivity], last: bool) -> list[tuple[StepTiming, PacketTrace]] | None:
        """Return `together` of successive timesteps; None where their work goes on into the one after them.

        Only whole powers of two are tried, so that a long overrun is not timed anew for each of its timesteps;
        or any number where none comes after the `last`.
        """
        steps = len(activities)
        if steps & (steps - 1) and not last:
            return None
        results = self.together(activities)
        room = [(steps - 1 - k) * self.period_ps for k in range(steps)]
        late = any(
            timing.events[StepCount.LATE_PS] > room_ps for (timing, _), room_ps in zip(results, room, strict=True)
        )
        return None if late and not last else results

    def _check(self, timestep: int, load: PacketLoad, times: PacketTimes, sweeps: list[_Sweeps]) -> None:
        counts = np.concatenate([part.layer_counts for part in sweeps])
        check_copies(self.program, timestep, load, times, counts, self.link_class)
        finished = times.stages[:, processor_kernels.FINISHED]
        if int((finished >= 0).sum()) + times.lost != times.delivered:
            raise AuditError(
                f"timestep {timestep}: {times.delivered} messages arrived, {int((finished >= 0).sum())} were worked "
                f"in and {times.lost} lost"
            )

    def _result(
        self, k: int, sweep: _Sweeps, load: PacketLoad, places: _Places, times: PacketTimes, whole: PacketTrace
    ) -> tuple[StepTiming, PacketTrace]:
        tick, cores = self.tick_ps, self.program.cores
        trace = self._trace(k, load, places, times) if places.segment_step.any() else whole
        stages = trace.stages
        assert stages is not None
        ends = trace.flits == 0
        sweep_end_ps = trace.sweep_end_ps
        finished = stages.times_ps[:, processor_kernels.FINISHED]
        arrived = trace.arrived_ps
        end = max(int(sweep_end_ps.max(initial=0)), int(finished.max(initial=0)), int(arrived.max(initial=0)))
        lost = stages.lost
        counts = sweep.core_counts
        self._complete(counts, trace, load, places, times, k)
        events = np.zeros(STEP_COUNTS, dtype=np.int64)
        if self.period_ps:
            events[StepCount.LATE_PS] = max(end - self.period_ps, 0)
            events[StepCount.LATE_SWEEPS] = int((stages.ready_ps[ends] > self.period_ps).sum())
            events[StepCount.LATE_MESSAGES] = int((finished > self.period_ps).sum())
        events[StepCount.DROPPED] = int((arrived < 0).sum())
        events[StepCount.LOST] = int(lost.sum())
        first = k == 0
        if first:
            events[StepCount.DETOURS] = int(times.detours.sum())
            events[StepCount.REINJECTED] = int(times.reinjected.sum())
        rest = max(end, self.period_ps) - end if self.period_ps else self.tick_wait_ps(end + self.barrier_ps)
        path = processor_path(
            whole, self.mesh, tick, k * self.period_ps, self.ticks.get("stagger", 0) * tick,
            np.flatnonzero(places.copy_step == k), np.flatnonzero((places.segment_step == k) & (load.flits == 0)),
            self.barrier_ps, rest,
        )  # fmt: skip
        duration = self.period_ps or end + self.barrier_ps + rest
        timing = StepTiming(
            duration,
            int(sweep_end_ps.max(initial=0)),
            int(arrived.max(initial=0)),
            int(finished.max(initial=0)),
            sweep.layer_counts,
            counts,
            times.link_flits if first else np.zeros_like(times.link_flits),
            path,
            events,
            times.dropped if first else np.zeros_like(times.dropped),
            np.bincount(trace.destination[lost], minlength=cores).astype(np.int64),
        )
        return timing, trace

    def _trace(self, k: int | None, load: PacketLoad, places: _Places, times: PacketTimes) -> PacketTrace:
        """Return the packets of timestep `k` of a load, in ps since that timestep began; of all for None."""
        many = load.multicast
        assert many is not None
        tick, start = self.tick_ps, 0 if k is None else k * self.period_ps
        mine = places.segment_step == k if k is not None else np.ones(load.flits.size, dtype=np.bool_)
        my_copies = places.copy_step == k if k is not None else np.ones(many.core.size, dtype=np.bool_)
        number = np.cumsum(mine) - 1
        core = np.repeat(np.arange(self.program.cores), np.diff(load.core_first))[mine]

        def since(values: IntArray) -> IntArray:
            return np.where(values < 0, values, values * tick - start)

        flits = load.flits[mine]
        ready = since(times.ready[mine])
        sweep_end = np.zeros(self.program.cores, dtype=np.int64)
        sweep_end[core[flits == 0]] = ready[flits == 0]
        stages = np.where(times.stages[my_copies] < 0, -1, times.stages[my_copies] * tick - start)
        finish = np.zeros(self.program.cores, dtype=np.int64)
        np.maximum.at(finish, many.core[my_copies], stages[:, processor_kernels.FINISHED])
        return PacketTrace(
            core_first=np.searchsorted(core, np.arange(self.program.cores + 1)).astype(np.int64),
            source=core,
            flits=flits,
            work_ps=load.work[mine] * tick,
            tail_ps=np.zeros(self.program.cores, dtype=np.int64),
            injected_ps=since(times.injected[mine]),
            left_ps=since(times.left[mine]),
            packet=number[places.segment[my_copies]],
            destination=many.core[my_copies],
            arrived_ps=since(times.arrived[my_copies]),
            read_ps=many.read[my_copies] * tick,
            accumulate_ps=many.accumulate[my_copies] * tick,
            sweep_end_ps=sweep_end,
            finish_ps=finish,
            stages=ProcessorStages(
                ready_ps=ready,
                times_ps=stages,
                lost=times.stages[my_copies, processor_kernels.FINISHED] == -2,
                packet_ps=self.ticks["packet"] * tick,
            ),
        )

    def _complete(
        self, counts: IntArray, trace: PacketTrace, load: PacketLoad, places: _Places, times: PacketTimes, k: int
    ) -> None:
        """Fill in the times of cores that only the run itself could tell."""
        counts[:, CoreCount.SWEEP_PS] *= self.tick_ps
        stages = trace.stages
        assert stages is not None
        spans, core = stages.times_ps, trace.destination
        p = processor_kernels

        def add(column: int, cores: IntArray, spent: IntArray) -> None:
            counts[:, column] += np.bincount(cores, weights=spent, minlength=len(counts)).astype(np.int64)

        here = trace.arrived_ps >= 0
        counts[:, CoreCount.AXON_IN_PS] = np.bincount(core[here], minlength=len(counts)) * stages.packet_ps
        add(CoreCount.INPUT_WAIT_PS, core[here], spans[here, p.TAKEN] - trace.arrived_ps[here])
        done = spans[:, p.SET_UP_END] >= 0
        set_up_ps = self.ticks["set_up"] * self.tick_ps
        counts[:, CoreCount.SET_UP_PS] = np.bincount(core[done], minlength=len(counts)) * set_up_ps
        moved = spans[:, p.TRANSFER_BEGIN] >= 0
        counts[:, [CoreCount.SYNAPSE_READ_PS, CoreCount.ACCUMULATE_PS]] = 0  # what was lost took no time
        add(CoreCount.SYNAPSE_READ_PS, core[moved], trace.read_ps[moved])
        add(CoreCount.ACCUMULATE_PS, core[moved], trace.accumulate_ps[moved])
        add(CoreCount.MEMORY_WAIT_PS, core[moved], spans[moved, p.TRANSFER_BEGIN] - spans[moved, p.SET_UP_END])
        sent = trace.flits > 0
        add(CoreCount.INJECTION_QUEUE_PS, trace.source[sent], trace.left_ps[sent] - stages.ready_ps[sent])
        if k == 0:
            counts[:, CoreCount.STALL_PS] = times.cores[:, row_kernels.CORE_STALL] * self.tick_ps
