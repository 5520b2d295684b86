"""The timing of a program whose packets are copied on their way, or given up by routers, on cores with stages."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import branch_kernels, packet_kernels
from neurosim.engine.counters import STEP_COUNTS, CoreCount, LayerCount, StepCount
from neurosim.engine.deadlocks import deadlock
from neurosim.engine.function import StepActivity
from neurosim.engine.loads import Multicast, PacketLoad, PacketTimes
from neurosim.engine.timing import StepTiming, TimeRun
from neurosim.engine.trace import PacketTrace
from neurosim.errors import AuditError, InputError

IntArray = NDArray[np.int64]
kernels: Any = branch_kernels


class RoutedRun(TimeRun):
    """Times timesteps on networks with routing tables, and on those that give packets up.

    With tables a message makes one packet, which pays axon-out once and is copied along its core's tree; every core
    of the tree takes its copy by axon-in, and reads and adds up what it holds for the message, which may be nothing.
    What routers drop takes no time at its core; the timestep ends without it.

    Parameters
    ----------
    program
        What to time.
    fidelity
        ``cycle``; or ``fast`` where routers give nothing up.

    Raises
    ------
    InputError
        Fast fidelity where routers give packets up: nothing ever blocks there.
    """

    routed = True

    def __init__(self, program: Program, fidelity: str = "cycle") -> None:
        if fidelity == "fast" and program.chip.network.blocked is not None:
            raise InputError(
                f"{program.chip.name}: in fidelity fast nothing blocks, so no packet gives up (network.blocked); use "
                "fidelity cycle"
            )
        super().__init__(program, fidelity)

    def _packets(self, activity: StepActivity, counts: IntArray, core_counts: IntArray) -> PacketLoad:
        program, ticks, routes = self.program, self.ticks, self.program.routes
        if routes is None:
            return super()._packets(activity, counts, core_counts)
        payload = np.zeros(program.network.size, dtype=np.int64)
        payload[activity.neuron] = activity.value
        sent, most = packet_kernels.count_copies(
            activity.neuron, activity.value, program.neuron_core, routes.destination_start, program.axon_start, True,
            self.form,
        )  # fmt: skip
        self._check_rows(activity, most)
        touched, met = self.visits(activity)
        none = np.zeros(0, dtype=np.int32)
        conflicts = none if program.axon_conflicts is None else program.axon_conflicts
        flits, work, source = np.empty((3, sent), dtype=np.int64)
        copy_first = np.zeros(sent + 1, dtype=np.int64)
        copies = np.empty((most, kernels.COPY), dtype=np.int64)
        core_first = np.zeros(program.cores + 1, dtype=np.int64)
        tail_work = np.zeros(program.cores, dtype=np.int64)
        packets, made = kernels.build_branches(
            payload, activity.active, touched, met, program.neuron_order, program.core_start, program.core_layer,
            routes.hops, routes.destination_start, routes.destination_core, program.axon_start, program.axon_core,
            program.axon_encoding, self.axon_charged, program.axon_words, conflicts, self.layer_flits,
            self.layer_state_words, self.layer_updates, self.crossbar_words, ticks["synop_dense"], self.group_ticks,
            ticks["accumulator"], self.lanes, ticks["latency"], ticks["word"],
            program.chip.core.memories.synapse.width, ticks["active"], ticks["inactive"], ticks["send"],
            ticks["axon_out"], self.form, flits, work, source, copy_first, copies, core_first, tail_work, counts,
            core_counts,
        )  # fmt: skip
        core, read, accumulate = np.ascontiguousarray(copies[:made].T)
        merged = None
        if self.one_port:
            read, accumulate, merged = read + accumulate, np.zeros_like(accumulate), accumulate
        many = Multicast(routes.trees, source[:packets], copy_first[: packets + 1], core, read, accumulate)
        nothing = np.zeros(packets, dtype=np.int64)
        return PacketLoad(
            core_first, tail_work, nothing, flits[:packets], work[:packets], nothing, nothing, multicast=many,
            merged=merged,
        )  # fmt: skip

    def _outcome(
        self, timestep: int, load: PacketLoad, times: PacketTimes, counts: IntArray, core_counts: IntArray
    ) -> IntArray:
        check_copies(self.program, timestep, load, times, counts, self.link_class)
        events = np.zeros(STEP_COUNTS, dtype=np.int64)
        events[StepCount.DROPPED] = load.copies - times.delivered
        events[StepCount.DETOURS] = int(times.detours.sum())
        events[StepCount.REINJECTED] = int(times.reinjected.sum())
        # What was dropped took no time at its core.
        gone, many = times.arrived < 0, load.multicast
        core, read, accumulate = (
            (load.destination, load.read, load.accumulate) if many is None else (many.core, many.read, many.accumulate)
        )
        if load.merged is not None:
            read, accumulate = read - load.merged, load.merged
        np.subtract.at(core_counts[:, CoreCount.SYNAPSE_READ_PS], core[gone], read[gone])
        np.subtract.at(core_counts[:, CoreCount.ACCUMULATE_PS], core[gone], accumulate[gone])
        return events

    def step(self, activity: StepActivity) -> tuple[StepTiming, PacketTrace]:
        """Time one timestep; for the errors see `TimeRun.step`."""
        timing, trace = super().step(activity)
        gone = np.bincount(trace.destination[trace.arrived_ps < 0], minlength=self.program.cores)
        timing.core_counts[:, CoreCount.AXON_IN_PS] -= gone * self.ends.axon_in_ps
        return timing, trace


def check_copies(
    program: Program, timestep: int, load: PacketLoad, times: PacketTimes, counts: IntArray, link_class: IntArray
) -> None:
    """Check that every copy arrived or was dropped, and that the links carried what trees and ways round say.

    Parameters
    ----------
    program, timestep
        For the message.
    load, times
        What was sent, and what came of it.
    counts
        int64 (layers, LAYER_COUNTS) of what was sent.
    link_class
        int64 (R, P), from `link_classes`.

    Raises
    ------
    DeadlockError
        Packets are left and nothing can move.
    AuditError
        Copies are missing that nobody dropped, or the flits differ.
    """
    missing, dropped = load.copies - times.delivered, int(times.dropped.sum())
    if times.waiting:
        way_out = "larger buffers (network.buffer) or packets that give up (network.blocked) break it"
        left = f"{missing} of {load.copies} messages"
        raise deadlock(program, f"timestep {timestep}", left, times.waiting, way_out, times.behind_sweeps)
    many = load.multicast
    if (missing and not dropped) or (many is None and missing != dropped):
        raise AuditError(f"timestep {timestep}: {missing} messages did not arrive, and {dropped} were dropped")
    if missing:
        return
    classes = packet_kernels.class_sums(times.link_flits, link_class, 4).tolist()
    c = LayerCount
    due = sum(
        int(counts[:, column].sum()) for column in (c.FLIT_HOPS_EAST_WEST, c.FLIT_HOPS_NORTH_SOUTH, c.FLIT_HOPS_CHIPS)
    )
    flits = int((load.flits if many is None else np.diff(many.copy_first) * load.flits).sum())
    detours = int(times.detours.sum())
    if sum(classes[:3]) != due + detours or classes[3] != flits:
        raise AuditError(
            f"timestep {timestep}: links carried {sum(classes[:3])} flits, the trees say {due} and {detours} ways "
            f"round; cores got {classes[3]}, due are {flits}"
        )
