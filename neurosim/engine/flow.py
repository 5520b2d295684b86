"""A program on a chip without timesteps: units update as messages arrive, so function and time are one run.

docs/decisions/0005-dataflow.md says what is assumed, and what is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import flow_after_kernels, flow_kernels, flow_unit_kernels, packet_kernels, row_kernels
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, CoreCount, LayerCount
from neurosim.engine.critical import Resource, check_path
from neurosim.engine.deadlocks import deadlock
from neurosim.engine.flow_checks import check_products, check_units
from neurosim.engine.flow_spans import audit_work, flow_spans
from neurosim.engine.function import FunctionRun, StepActivity
from neurosim.engine.lists import synapse_lists
from neurosim.engine.loads import FlowTimes, PacketLoad
from neurosim.engine.timing import StepTiming, TimeRun, check_links
from neurosim.engine.trace import DataflowStages, PacketTrace
from neurosim.errors import AuditError, InputError
from neurosim.network import CubaLif, Sigma, SigmaDelta

IntArray = NDArray[np.int64]
kernels: Any = flow_kernels
after: Any = flow_after_kernels
kinds: Any = flow_unit_kernels

STATES = ("sigma", "held", "error", "voltage", "rest")
"""States that updates at arrivals change, in the order in which the kernel takes them."""

FIRST_ROOM = 1 << 10
MOST_ROOM = 1 << 24
"""Most packets, and most messages, of a frame."""


@dataclass(frozen=True)
class _Frame:
    """What came of a frame.

    Attributes
    ----------
    times
        From the mesh.
    flow
        What the kernel was given, filled.
    """

    times: FlowTimes
    flow: Any

    @property
    def used(self) -> int:
        """Number of packets."""
        return int(self.flow.totals[kernels.USED])

    @property
    def says(self) -> IntArray:
        """int64 (M, 2): neuron and value of every message."""
        said = int(self.flow.totals[kernels.SAID])
        return self.flow.says[: said * kernels.SAYS].reshape(-1, kernels.SAYS)  # type: ignore[no-any-return]


class FlowRun(TimeRun):
    """Runs a program frame by frame on cores that update at each arrival.

    A frame stands for a timestep. It is fed when all is at rest: the layers that no connection feeds update and
    their cores sweep; in the first frame every layer does, with no activation, so that biases answer. From then on
    everything happens by arrival, until all is at rest again.

    Parameters
    ----------
    program
        What to run.
    function
        Gives frames, keeps the units' state between frames and counts them; its own steps are not used.
    fidelity
        ``cycle``; dataflow is not timed otherwise.

    Raises
    ------
    InputError
        Another fidelity, or a network that means something else without timesteps.
    """

    def __init__(self, program: Program, function: FunctionRun, fidelity: str = "cycle") -> None:
        if fidelity == "fast":
            raise InputError(f"{program.chip.name}: fidelity fast knows no chips without timesteps; use fidelity cycle")
        check_units(program.network, program.chip.name)
        super().__init__(program, fidelity)
        self.function = function
        network, ticks, chip = program.network, self.ticks, program.chip
        self.lists = lists = synapse_lists(program)
        words, width = program.axon_words.astype(np.int64), chip.core.memories.synapse.width
        reads = ticks["latency"] + (-(-words // width) - 1) * ticks["word"]
        self.row_read = np.where(words > 0, reads, 0)
        groups = -(-program.axon_charged.astype(np.int64) // self.lanes)
        self.row_add = groups * self.group_ticks[program.axon_encoding]
        if program.axon_conflicts is not None:
            self.row_add += program.axon_conflicts.astype(np.int64) * ticks["accumulator"]
        pairs = np.zeros((lists.pair_core.size + 1, kernels.PAIR), dtype=np.int64)
        pairs[:-1, kernels.PAIR_CORE] = lists.pair_core
        np.add.at(pairs[:, kernels.PAIR_READ], lists.row_pair, self.row_read)
        np.add.at(pairs[:, kernels.PAIR_ADD], lists.row_pair, self.row_add)
        pairs[:, kernels.PAIR_LIST] = lists.first
        self.pairs = pairs
        self.units = self._units()
        self.state = {name: np.zeros(network.size, dtype=np.int64) for name in STATES}
        self.bias = np.zeros(network.size, dtype=np.int64)
        for (layer, low, high), divisor in zip(self._layers(), lists.divisor.tolist(), strict=True):
            if divisor > 1:
                layer.state["rest"] = np.zeros(high - low, dtype=np.int64)
            if layer.bias.size:
                self.bias[low:high] = layer.bias
        self.room = FIRST_ROOM

    def _layers(self) -> list[tuple[Any, int, int]]:
        return [(layer, *ends) for layer, ends in zip(self.function.layers, self._ends, strict=True)]

    @property
    def _ends(self) -> list[tuple[int, int]]:
        return list(pairwise(self.program.network.offsets.tolist()))

    def _units(self) -> IntArray:
        k, ticks = kinds, self.ticks
        units = np.zeros((len(self.program.network.layers), k.UNIT), dtype=np.int64)
        for row, layer, words in zip(units, self.program.network.layers, self.layer_state_words, strict=True):
            unit = layer.unit
            if isinstance(unit, Sigma):
                row[k.KIND] = k.ADDS
            elif isinstance(unit, CubaLif):
                row[[k.KIND, k.THRESHOLD, k.SHIFT]] = k.FIRES, unit.threshold, unit.activation_shift
            elif isinstance(unit, SigmaDelta):
                row[[k.THRESHOLD, k.SHIFT]] = unit.threshold, unit.message_shift
                row[[k.CORRECTED, k.CUM_ERROR]] = unit.rounding == "corrected", unit.cum_error
            if words:
                row[[k.ACTIVE, k.INACTIVE, k.SEND]] = ticks["active"], ticks["inactive"], ticks["send"]
            row[k.STATE] = bool(words)
        units[:, k.LENGTH] = self.layer_flits
        units[:, k.DIVISOR] = self.lists.divisor
        return units

    def _swept(self) -> tuple[IntArray, NDArray[np.bool_], NDArray[np.bool_]]:
        """Update the layers that are fed; return what each neuron sends, and who was visited and active."""
        function, network = self.function, self.program.network
        payload = np.zeros(network.size, dtype=np.int64)
        visited, active = np.zeros((2, network.size), dtype=np.bool_)
        neuron, value = np.empty((2, network.size), dtype=np.int64)
        for (layer, low, high), into in zip(self._layers(), function.into, strict=True):
            if into and function.timestep > 1:
                continue
            frame = None if into else function.frame(layer.layer.name)
            sent = layer.update(function.timestep, frame, neuron, value, active[low:high])
            payload[neuron[:sent]] = value[:sent]
            visited[low:high] = True
            if self.touched:
                visited[low:high] = active[low:high] if frame is None else active[low:high] | (frame != 0)
        return payload, visited, active

    def _run(self) -> _Frame:
        """Run a frame; again with more room where packets found none."""
        payload, visited, active = self._swept()
        program, lists = self.program, self.lists
        while True:
            room = self.room
            for layer, low, high in self._layers():
                for name in layer.state.keys() & self.state.keys():
                    self.state[name][low:high] = layer.state[name]
            flow = kernels.Flow(
                self.units.reshape(-1), program.core_layer, program.core_start, program.neuron_order, payload, visited,
                active.copy(), *self.state.values(), self.bias, lists.pair_first, self.pairs.reshape(-1),
                lists.targets, lists.weights, np.full(room * kernels.MARKS, -1, dtype=np.int64),
                np.zeros(program.network.size, dtype=np.int64),
                np.zeros(program.cores * kernels.DONE, dtype=np.int64),
                np.empty(room * kernels.SAYS, dtype=np.int64),
                np.array([0, 0, 0, self.ticks["axon_in"], self.ticks["axon_out"]], dtype=np.int64),
            )  # fmt: skip
            times = self.mesh.time_flow(flow, room)
            if not flow.totals[kernels.FULL]:
                frame = _Frame(times, flow)
                most = max(frame.used, len(frame.says), FIRST_ROOM // 2)
                self.room = min(2 << most.bit_length(), MOST_ROOM)
                for layer, low, high in self._layers():
                    for name in layer.state.keys() & self.state.keys():
                        layer.state[name][:] = self.state[name][low:high]
                return frame
            if room >= MOST_ROOM:
                raise InputError(
                    f"frame {self.function.timestep}: more than {room} messages, and {program.network.name} is not "
                    "at rest; a loop may keep itself going for ever without timesteps; raise thresholds, scale the "
                    "loop's weights down, or choose a chip with timesteps"
                )
            self.room = min(4 * room, MOST_ROOM)

    def advance(self) -> tuple[StepActivity, StepTiming, PacketTrace]:
        """Feed the next frame and run until all is at rest.

        Raises
        ------
        InputError
            The network does not come to rest, or a product is too wide for its accumulator.
        MessageWidthError
            A message is wider than the chip's payload.
        DeadlockError
            Packets are left and nothing can move.
        AuditError
            What was counted in two ways differs.
        """
        self.function.timestep += 1
        frame = self._run()
        activity = self._activity(frame)
        self._check_width(activity)
        check_products(self.program.network, activity)
        counts = np.zeros((len(self.program.network.layers), LAYER_COUNTS), dtype=np.int64)
        core_counts = np.zeros((self.program.cores, CORE_COUNTS), dtype=np.int64)
        self._count(frame, activity, counts, core_counts)
        self._check(frame, counts, core_counts)
        trace = self._trace(frame)
        timing = self._timing(frame, trace, counts, core_counts)
        return activity, timing, trace

    def _activity(self, frame: _Frame) -> StepActivity:
        network, says = self.program.network, frame.says
        says = says[np.argsort(says[:, 0], kind="stable")]
        neuron, value = np.ascontiguousarray(says.T)
        start = np.searchsorted(neuron, network.offsets).astype(np.int64)
        synops = packet_kernels.layer_sums(network.fan_out[0], neuron, start)
        read_out = {}
        for layer, low, high in self._layers():
            values = np.zeros(high - low, dtype=np.int64)
            if isinstance(layer.layer.unit, Sigma):
                values[:] = layer.state["sigma"]
            else:
                mine = slice(*np.searchsorted(neuron, (low, high)))
                np.add.at(values, neuron[mine] - low, value[mine])
            read_out[layer.layer.name] = values
        timestep = self.function.timestep
        return StepActivity(timestep, neuron, value, start, frame.flow.active, synops, read_out=read_out)

    def _count(self, frame: _Frame, activity: StepActivity, counts: IntArray, core_counts: IntArray) -> None:
        program, flow, c = self.program, frame.flow, CoreCount
        after.book_messages(
            flow.sent, program.neuron_core, program.core_layer, program.core_tile, self.hops, program.axon_start,
            program.axon_core, program.axon_encoding, self.axon_charged, program.axon_words, self.row_read,
            self.row_add, self.layer_flits, counts, core_counts,
        )  # fmt: skip
        done = flow.done.reshape(-1, kernels.DONE)
        active, inactive = done[:, kernels.UPDATES_ACTIVE], done[:, kernels.UPDATES_INACTIVE]
        np.add.at(counts[:, LayerCount.UPDATES_ACTIVE], program.core_layer, active)
        np.add.at(counts[:, LayerCount.UPDATES_INACTIVE], program.core_layer, inactive)
        words = self.layer_state_words
        counts[:, LayerCount.STATE_WORDS_WRITTEN] = words * counts[:, LayerCount.UPDATES_ACTIVE]
        counts[:, LayerCount.STATE_WORDS_READ] = words * counts[:, LayerCount.UPDATES_INACTIVE]
        counts[:, LayerCount.STATE_WORDS_READ] += counts[:, LayerCount.STATE_WORDS_WRITTEN]
        extremes = packet_kernels.layer_extremes(activity.value, activity.layer_start)
        sent = np.diff(activity.layer_start) > 0
        counts[:, LayerCount.LARGEST_MESSAGE] = np.where(sent, np.abs(extremes).max(axis=1), 0)
        self._count_synops(activity, counts)
        counts[:, LayerCount.SENDS] = counts[:, LayerCount.MESSAGES]
        messages = np.zeros(program.cores, dtype=np.int64)
        np.add.at(messages, program.neuron_core, flow.sent)
        mine = self.units[program.core_layer]
        core_counts[:, c.SWEEP_PS] = active * mine[:, kinds.ACTIVE] + inactive * mine[:, kinds.INACTIVE]
        core_counts[:, c.SWEEP_PS] += messages * mine[:, kinds.SEND]
        core_counts[:, c.SWEEP_PS] += core_counts[:, c.PACKETS_OUT] * self.ticks["axon_out"]

    def _check(self, frame: _Frame, counts: IntArray, core_counts: IntArray) -> None:
        """Check that all arrived, and that what cores did is what messages asked for."""
        times, t = frame.times, self.function.timestep
        if times.delivered != frame.used:
            arrived = times.copies[:, row_kernels.ARRIVED] >= 0
            waiting = np.flatnonzero(arrived & (frame.flow.marks.reshape(-1, kernels.MARKS)[:, kernels.TAKEN] < 0))
            cores = np.unique(times.copies[waiting, row_kernels.TO_CORE]).tolist()
            full = f"; cores {', '.join(map(str, cores))} cannot send and so take no messages" if cores else ""
            way_out = (
                "larger queues of cores (core.axon_in.queue, core.axon_out.queue) or buffers (network.buffer) break it"
            )
            left = f"{frame.used - times.delivered} of {frame.used} packets"
            raise deadlock(self.program, f"frame {t}", left, f"{times.waiting}{full}", way_out)
        check_links(t, times.link_flits, counts, self.link_class)
        synops = frame.flow.done.reshape(-1, kernels.DONE)[:, kernels.SYNOPS]
        wrong = np.flatnonzero(synops != core_counts[:, CoreCount.SYNOPS_CHARGED])
        if wrong.size:
            core = int(wrong[0])
            raise AuditError(
                f"frame {t}, core {core}: {synops[core]} synops were done, its messages ask for "
                f"{core_counts[core, CoreCount.SYNOPS_CHARGED]}"
            )

    def _trace(self, frame: _Frame) -> PacketTrace:
        """Return the packets in the order of cores and of sending."""
        k, tick, used = kernels, self.tick_ps, frame.used
        marks = frame.flow.marks.reshape(-1, k.MARKS)[:used]
        order = np.argsort(marks[:, k.MADE_BY], kind="stable")
        number = np.empty(used, dtype=np.int64)
        number[order] = np.arange(used)
        packets, copies, marks = frame.times.packets[:used][order], frame.times.copies[:used][order], marks[order]
        cause = marks[:, k.MADE_FOR]
        pair = copies[:, k.MESSAGE_PAIR]
        cores = self.program.cores

        def in_ps(values: IntArray) -> IntArray:
            return np.ascontiguousarray(values) * tick

        return PacketTrace(
            core_first=np.searchsorted(marks[:, k.MADE_BY], np.arange(cores + 1)).astype(np.int64),
            source=np.ascontiguousarray(marks[:, k.MADE_BY]),
            flits=np.ascontiguousarray(packets[:, row_kernels.FLITS]),
            work_ps=in_ps(packets[:, row_kernels.WORK]),
            tail_ps=np.zeros(cores, dtype=np.int64),
            injected_ps=in_ps(packets[:, row_kernels.INJECTED]),
            left_ps=in_ps(packets[:, row_kernels.LEFT]),
            packet=np.arange(used),
            destination=np.ascontiguousarray(copies[:, row_kernels.TO_CORE]),
            arrived_ps=in_ps(copies[:, row_kernels.ARRIVED]),
            read_ps=self.pairs[pair, k.PAIR_READ] * tick,
            accumulate_ps=self.pairs[pair, k.PAIR_ADD] * tick,
            sweep_end_ps=in_ps(frame.times.cores[:, row_kernels.CORE_SWEEP_END]),
            finish_ps=in_ps(frame.times.cores[:, row_kernels.CORE_FINISH]),
            dataflow=DataflowStages(
                ready_ps=in_ps(packets[:, row_kernels.READY_AT]),
                cause=np.where(cause < 0, cause, number[cause]),
                value=np.ascontiguousarray(copies[:, k.VALUE]),
                taken_ps=in_ps(marks[:, k.TAKEN]),
                done_ps=in_ps(marks[:, k.ENDED]),
            ),
        )

    def _timing(self, frame: _Frame, trace: PacketTrace, counts: IntArray, core_counts: IntArray) -> StepTiming:
        self._complete_core_counts(core_counts, frame.times.cores)
        audit_work(flow_spans(trace, self.ends), trace, core_counts)
        stages = trace.dataflow
        assert stages is not None
        np.add.at(core_counts[:, CoreCount.INJECTION_QUEUE_PS], trace.source, trace.left_ps - stages.ready_ps)
        end = int(trace.finish_ps.max())
        return StepTiming(
            end, int(trace.sweep_end_ps.max()), frame.times.last * self.tick_ps, end, counts, core_counts,
            frame.times.link_flits, self._path(trace, end), self.no_events,
            np.zeros_like(frame.times.link_flits), self.no_losses,
        )  # fmt: skip

    def _path(self, trace: PacketTrace, end_ps: int) -> IntArray:
        """Return the critical path; for its columns see `critical.critical_path`."""
        stages = trace.dataflow
        assert stages is not None
        inbox = np.lexsort((trace.arrived_ps, trace.destination))
        inbox_first = np.searchsorted(trace.destination[inbox], np.arange(self.program.cores + 1))
        spans = after.walk_flow(
            int(trace.finish_ps.argmax()), trace.core_first, trace.source, trace.work_ps, trace.flits, stages.ready_ps,
            trace.injected_ps, trace.left_ps, stages.cause, trace.destination, trace.arrived_ps, stages.taken_ps,
            stages.done_ps, trace.read_ps, trace.accumulate_ps, inbox_first, inbox, trace.sweep_end_ps,
            self.ends.axon_in_ps, self.ends.inject_queue, self.ends.inject_interval_ps,
        )  # fmt: skip
        nothing = np.zeros(0, dtype=np.int64)
        load = PacketLoad(trace.core_first, trace.tail_ps, nothing, nothing, nothing, nothing, nothing)
        # A flight holds waits for links too; the flight in an empty network is the last part of it.
        spans = spans[::-1]
        mine = np.flatnonzero(spans[:, after.KIND] == Resource.FLIGHT)
        alone = np.array(
            [self.flights.of(load, trace, packet) for packet in spans[mine, after.PACKET].tolist()], dtype=np.int64
        )
        flown = np.maximum(spans[mine, after.TO] - alone, spans[mine, after.FROM])
        waits = flown > spans[mine, after.FROM]
        spans[mine, after.PACKET] = trace.destination[spans[mine, after.PACKET]]
        twice = np.ones(len(spans), dtype=np.int64)
        twice[mine[waits]] = 2
        path: IntArray = np.repeat(spans, twice, axis=0)
        flight = np.cumsum(twice)[mine] - 1
        path[flight, after.FROM] = flown
        path[flight[waits] - 1, after.TO] = flown[waits]
        path[flight[waits] - 1, after.KIND] = Resource.LINK
        check_path(path, end_ps)
        return path
