"""The timing of a program on its chip: one discrete-event simulation a timestep."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from math import gcd

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler import Program
from neurosim.compiler.memory import state_words
from neurosim.compiler.messages import message_ranges, other_ways, packet_bits
from neurosim.compiler.topology import link_classes
from neurosim.compiler.visits import crossbar_words
from neurosim.engine import packet_kernels, row_kernels
from neurosim.engine.chip_times import chip_delays_ps, mesh_model
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, CoreCount, LayerCount
from neurosim.engine.critical import Flights, critical_path, sending
from neurosim.engine.deadlocks import deadlock
from neurosim.engine.function import StepActivity
from neurosim.engine.loads import PacketLoad, PacketTimes
from neurosim.engine.trace import CoreEnds, PacketTrace, packet_trace
from neurosim.errors import AuditError, InputError, MessageWidthError, suggest

IntArray = NDArray[np.int64]

_NONE = np.zeros(0, dtype=np.int64)
_NO_ROWS = np.zeros(0, dtype=np.int32)
_ALL = np.zeros(0, dtype=np.bool_)

FIDELITIES = ("cycle", "fast")
"""How the network is timed: see `TimeRun`."""


@dataclass(frozen=True)
class StepTiming:
    """When one timestep's work was done.

    Attributes
    ----------
    duration_ps
        From the start of the timestep to the end of its barrier.
    sweep_ps, network_ps, synapse_ps
        When the last core ended its sweep, the last packet arrived, the last synapse was accumulated.
    layer_counts
        int64 (layers, LAYER_COUNTS): see `LayerCount`.
    core_counts
        int64 (C, CORE_COUNTS): see `CoreCount`.
    link_flits
        int64 (R, P): flits that left each router by each output.
    path
        int64 (S, 5): critical path, a span a row; see `critical_path`.
    events
        int64 (STEP_COUNTS,): see `StepCount`.
    dropped
        int64 (R, P): copies that gave up waiting for each output.
    lost
        int64 (C,): messages that found no place at each core.
    """

    duration_ps: int
    sweep_ps: int
    network_ps: int
    synapse_ps: int
    layer_counts: IntArray
    core_counts: IntArray
    link_flits: IntArray
    path: IntArray
    events: IntArray
    dropped: IntArray
    lost: IntArray


def _check_supported(chip: Chip, routed: bool) -> None:
    """Check that every rule of the chip is one that is timed.

    Parameters
    ----------
    chip
        Whose rules.
    routed
        Whether packets can be copied on their way, and given up.

    Raises
    ------
    InputError
        It is not.
    """
    if not routed and (chip.network.tables is not None or chip.network.blocked is not None):
        raise InputError(
            f"{chip.name}: network.tables or network.blocked on cores that update at each arrival: not timed by this "
            "version; choose a chip without"
        )


def _form(program: Program) -> int | None:
    """Return how the program's messages go, as `packet_kernels.Sweep.form`."""
    forms = {"graded": None, "units": packet_kernels.UNITS, "split": int(program.chip.network.payload.value)}
    return forms[program.messages]


class TimeRun:
    """Times a program's timesteps, each by itself: every one starts with an empty network.

    Nothing is kept from one timestep to the next, so any thread may time any of them.

    Parameters
    ----------
    program
        What to time.
    fidelity
        ``cycle``: routers with finite buffers, credits and arbitration. ``fast``: links as first-in first-out
        servers, nothing blocks; an approximation for sweeps.

    Attributes
    ----------
    tick_ps
        Greatest common divisor of all delays of the chip, so that no time is rounded.
    barrier_ps
        Length of the barrier that ends every timestep.
    routed
        Whether packets can be copied on their way, and given up; `step_timer` chooses.
    """

    routed = False

    def __init__(self, program: Program, fidelity: str = "cycle") -> None:
        if fidelity not in FIDELITIES:
            raise InputError(
                f'fidelity "{fidelity}" is not known; use "cycle" or "fast"' + suggest(fidelity, FIDELITIES)
            )
        self.program, self.fidelity = program, fidelity
        chip, network = program.chip, program.network
        _check_supported(chip, self.routed)
        if (chip.core.lanes is None) != (program.axon_conflicts is None):
            raise InputError(
                f"{network.name} was compiled for cores with other lanes than those of {chip.name} (core.lanes), so "
                "the conflicts of its synapses are not known; compile it again"
            )
        delays = chip_delays_ps(chip)
        self.tick_ps = gcd(*delays.values())
        self.ticks = {name: value // self.tick_ps for name, value in delays.items()}
        self.barrier_ps = chip.barrier_ps(program.tiles)
        self.mesh = mesh_model(chip, program.core_slot, self.ticks)
        self.link_class, self.hops = link_classes(chip, self.mesh.topology)
        self.no_events = np.zeros(STEP_COUNTS, dtype=np.int64)
        self.no_losses = np.zeros(program.cores, dtype=np.int64)
        self.ends = CoreEnds.of(self.mesh, self.tick_ps, limited=fidelity == "cycle")
        self.flights = Flights(self.mesh, self.tick_ps)
        flit = chip.network.flit.value
        self.form = _form(program)
        bits = packet_bits(network, chip, program.messages)
        self.layer_flits = np.array([max(-(-b // flit), 1) for b in bits], dtype=np.int64)
        self.layer_state_words = np.array([state_words(layer, chip) for layer in network.layers], dtype=np.int64)
        self.layer_updates = np.array([layer.unit.compartments for layer in network.layers], dtype=np.int64)
        self.crossbar, self.touched = chip.core.kind == "crossbar", chip.core.neuron.sweep == "touched"
        self.crossbar_words = crossbar_words(program) if self.crossbar else _NONE
        self.axon_charged = program.axon_charged
        self.lanes = 1 if chip.core.lanes is None else chip.core.lanes.value
        # Reading and adding up by one port are one stage: a message's words, then its sums.
        self.one_port = {"synapse_read", "accumulate"} <= set(chip.core.shared_port or ())
        # A group of synapses takes no less than the reading and writing of an accumulator.
        kind_ticks = [self.ticks[name] for name in ("synop_dense", "synop_sparse", "synop_conv")]
        self.group_ticks = np.maximum(np.array(kind_ticks, dtype=np.int64), self.ticks["accumulator"])
        # Layers whose messages go through the network; the others are read out by the host.
        offsets = network.offsets
        fan_out = network.fan_out[0]
        self.layer_sends = [bool(fan_out[a:b].any()) for a, b in pairwise(offsets)]
        self.ranges = message_ranges(network, chip, program.messages)

    def _check_width(self, activity: StepActivity) -> None:
        program = self.program
        payload, split = program.chip.network.payload.value, program.messages == "split"
        extremes = packet_kernels.layer_extremes(activity.value, activity.layer_start).tolist()
        for layer, sends, (low, high), (least, most) in zip(
            program.network.layers, self.layer_sends, extremes, self.ranges.tolist(), strict=True
        ):
            if not sends or low == high == 1 or least <= low <= high <= most:  # spikes need no payload
                continue
            worst = low if -low > high else high
            if layer.unit.graded and program.messages == "units":
                raise MessageWidthError(
                    f"layer {layer.name}, {program.step_name} {activity.timestep}: a message of {worst} is not "
                    f"within the unit spikes that can be sent, {least}..{most}; scale the network down"
                )
            graded = payload and layer.unit.graded
            carried = f"{payload} bits, signed" if graded else "spikes without a value"
            if graded and split:
                carried = f"{least}..{most} in pieces of {payload} bits"
            others = other_ways(program.chip) if program.messages == "graded" and layer.unit.graded else ""
            raise MessageWidthError(
                f"layer {layer.name}, {program.step_name} {activity.timestep}: a message of {worst} needs "
                f"{1 + max(max(high, 0).bit_length(), max(-low - 1, 0).bit_length())} bits; this layer's messages on "
                f"{program.chip.name} carry {carried} (network.payload); scale the network down, choose a chip "
                f"with a wider payload, or set network.payload{others}"
            )

    def _check_rows(self, activity: StepActivity, rows: int) -> None:
        if self.form is not None and rows > packet_kernels.MOST_ROWS:
            raise InputError(
                f"{self.program.step_name} {activity.timestep}: sent as {self.program.messages}, its messages make up "
                f"to {rows} packets; the limit is {packet_kernels.MOST_ROWS}: scale the messages down, or send them "
                "otherwise"
            )

    @cached_property
    def sweep(self) -> packet_kernels.Sweep:
        """What the kernel that makes packets is told of the program."""
        program, ticks, hops = self.program, self.ticks, self.hops
        return packet_kernels.Sweep(
            program.neuron_order, program.core_start, program.core_layer, program.core_tile, hops[0], hops[1], hops[2],
            program.axon_start, program.axon_core, program.axon_encoding, self.axon_charged, program.axon_words,
            _NO_ROWS if program.axon_conflicts is None else program.axon_conflicts, self.layer_flits,
            self.layer_state_words, self.layer_updates, self.crossbar_words, ticks["synop_dense"], self.group_ticks,
            ticks["accumulator"], self.lanes, ticks["latency"], ticks["word"], program.chip.core.memories.synapse.width,
            ticks["active"], ticks["inactive"], ticks["send"], ticks["axon_out"], self.one_port, self.form,
        )  # fmt: skip

    def _packets(self, activity: StepActivity, counts: IntArray, core_counts: IntArray) -> PacketLoad:
        program = self.program
        payload = np.zeros(program.network.size, dtype=np.int64)
        payload[activity.neuron] = activity.value
        rows = packet_kernels.count_rows(activity.neuron, activity.value, program.axon_start, self.form)
        self._check_rows(activity, rows)
        packets = np.empty((rows + 1, row_kernels.PACKET), dtype=np.int64)
        copies = np.empty((rows, row_kernels.COPIES), dtype=np.int64)
        core_first = np.zeros(program.cores + 1, dtype=np.int64)
        tail_work = np.zeros(program.cores, dtype=np.int64)
        made = packet_kernels.build_packets(
            self.sweep._replace(one_port=False), payload, activity.active, *self.visits(activity),
            packets.reshape(-1), copies.reshape(-1), core_first, tail_work, counts, core_counts,
        )  # fmt: skip
        flits, work = packets[:made, [row_kernels.FLITS, row_kernels.WORK]].T.copy()
        destination, read, accumulate = copies[:made, : row_kernels.ARRIVED].T.copy()
        if self.one_port:
            both, nothing = read + accumulate, np.zeros_like(accumulate)
            return PacketLoad(core_first, tail_work, destination, flits, work, both, nothing, merged=accumulate)
        return PacketLoad(core_first, tail_work, destination, flits, work, read, accumulate)

    def visits(self, activity: StepActivity) -> tuple[NDArray[np.bool_], NDArray[np.int32]]:
        """Return the neurons that a sweep of touched ones visits, and the synapses that a crossbar's sweep does."""
        if not self.touched and not self.crossbar:
            return _ALL, _NO_ROWS
        if activity.touched is None or activity.met is None:
            raise InputError(
                f"timestep {activity.timestep}: {self.program.chip.name} sweeps by the synapses that neurons meet, and "
                "the activity does not hold them; give FunctionRun what counted_synapses returns"
            )
        return activity.touched if self.touched else _ALL, activity.met if self.crossbar else _NO_ROWS

    def step(self, activity: StepActivity) -> tuple[StepTiming, PacketTrace]:
        """Time one timestep.

        Raises
        ------
        MessageWidthError
            A message is wider than the chip's payload.
        DeadlockError
            Packets are left and nothing can move.
        AuditError
            Flits on the links are not those of the packets' routes, or the times of the packets do not add up.
        InputError
            The chip's sweep needs to know the synapses that neurons met, and `activity` does not.
        """
        self._check_width(activity)
        program, tick = self.program, self.tick_ps
        counts = np.zeros((len(program.network.layers), LAYER_COUNTS), dtype=np.int64)
        core_counts = np.zeros((program.cores, CORE_COUNTS), dtype=np.int64)
        load = self._packets(activity, counts, core_counts)
        times = self.mesh.time(load) if self.fidelity == "cycle" else self.mesh.time_fast(load)
        events = self._outcome(activity.timestep, load, times, counts, core_counts)
        self._complete_core_counts(core_counts, times.cores)
        self._count_synops(activity, counts)
        sweep = int(times.cores[:, row_kernels.CORE_SWEEP_END].max()) * tick
        synapse = int(times.cores[:, row_kernels.CORE_FINISH].max()) * tick
        network = times.last * tick
        end = max(sweep, network, synapse)
        trace = self._packet_trace(load, times)
        sent = sending(trace, self.ends)
        core_counts[:, CoreCount.INJECTION_QUEUE_PS] = sent.queued_ps
        rest = self.tick_wait_ps(end + self.barrier_ps)
        path = critical_path(load, trace, sent, self.ends, self.flights, end, self.barrier_ps, rest)
        timing = StepTiming(
            end + self.barrier_ps + rest, sweep, network, synapse, counts, core_counts, times.link_flits, path,
            events, times.dropped, self.no_losses,
        )  # fmt: skip
        return timing, trace

    def _outcome(
        self, timestep: int, load: PacketLoad, times: PacketTimes, counts: IntArray, core_counts: IntArray
    ) -> IntArray:
        """Check what came of a timestep's packets; return its `StepCount`."""
        check_delivery(self.program, timestep, load, times, counts, self.link_class)
        return self.no_events

    def _packet_trace(self, load: PacketLoad, times: PacketTimes) -> PacketTrace:
        return packet_trace(load, times, self.tick_ps)

    def tick_wait_ps(self, end_ps: int) -> int:
        """Return how long a timestep whose work and barrier end at `end_ps` waits for the next tick."""
        return max(self.ticks.get("period", 0) * self.tick_ps - end_ps, 0)

    def _count_synops(self, activity: StepActivity, counts: IntArray) -> None:
        counts[:, LayerCount.SYNOPS] = activity.synops
        nonzero = self.program.network.fan_out[1]
        counts[:, LayerCount.SYNOPS_NONZERO] = packet_kernels.layer_sums(nonzero, activity.neuron, activity.layer_start)
        packet_kernels.count_units(
            activity.neuron, activity.value, activity.layer_start, self.program.network.fan_out[0], counts
        )

    def _complete_core_counts(self, core_counts: IntArray, cores: IntArray) -> None:
        core_counts[:, CoreCount.STALL_PS] = cores[:, row_kernels.CORE_STALL]
        core_counts[:, CoreCount.INPUT_WAIT_PS] = cores[:, row_kernels.CORE_WAIT]
        self.scale(core_counts)

    def scale(self, core_counts: IntArray) -> None:
        """Turn ticks into picoseconds and complete them by the time of axon-in, int64 (C, CORE_COUNTS), in place."""
        core_counts[:, CoreCount.AXON_IN_PS] = core_counts[:, CoreCount.PACKETS_IN] * self.ticks["axon_in"]
        core_counts[:, CoreCount.SWEEP_PS :] *= self.tick_ps


def check_delivery(
    program: Program, timestep: int, load: PacketLoad, times: PacketTimes, counts: IntArray, link_class: IntArray
) -> None:
    """Check that every packet arrived, and that the links carried the flits of the packets' routes.

    Parameters
    ----------
    program, timestep
        For the message.
    load, times
        What was sent, and what came of it.
    counts
        int64 (layers, LAYER_COUNTS) of the timestep.
    link_class
        int64 (R, P), from `link_classes`.

    Raises
    ------
    DeadlockError
        Packets are left and nothing can move.
    AuditError
        The flits differ.
    """
    packets = load.destination.size
    if times.delivered != packets:
        left = int((times.arrived < 0).sum())
        way_out = "larger buffers (network.buffer), more virtual channels or cut-through routing break it"
        raise deadlock(
            program, f"timestep {timestep}", f"{left} of {packets} packets", times.waiting, way_out, times.behind_sweeps
        )
    check_links(timestep, times.link_flits, counts, link_class)


def check_links(timestep: int, link_flits: IntArray, counts: IntArray, link_class: IntArray) -> None:
    """Check that the links carried `link_flits`, int64 (R, P), as the packets' routes say; see `check_delivery`."""
    found = packet_kernels.class_sums(link_flits, link_class, 4).tolist()
    sums = counts.sum(axis=0).tolist()
    for flits, (name, count) in zip(
        found,
        (
            ("east-west", LayerCount.FLIT_HOPS_EAST_WEST),
            ("north-south", LayerCount.FLIT_HOPS_NORTH_SOUTH),
            ("chip-to-chip", LayerCount.FLIT_HOPS_CHIPS),
            ("ejected", LayerCount.FLITS),
        ),
        strict=True,
    ):
        if flits != sums[count]:
            raise AuditError(
                f"timestep {timestep}: {flits} {name} flits on the links, the packets' routes have {sums[count]}"
            )
