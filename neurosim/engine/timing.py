"""The timing of a program on its chip: one discrete-event simulation a timestep."""

from __future__ import annotations

from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.compiler.memory import state_words
from neurosim.engine import packet_kernels, time_kernels, topology
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, CoreCount, LayerCount
from neurosim.engine.function import StepActivity
from neurosim.errors import AuditError, DeadlockError, MessageWidthError

IntArray = NDArray[np.int64]

WHEEL_SLOTS = 1 << 12
"""Slots of the timing wheel, a power of two; its size changes speed, never results."""


@dataclass(frozen=True)
class StepTiming:
    """When one timestep's work was done.

    Attributes
    ----------
    duration_ps
        From the start of the timestep to the end of its barrier.
    sweep_ps, network_ps, synapse_ps
        When the last core ended its sweep, the last packet arrived, the last synapse was accumulated.
    barrier_ps
        Length of the barrier.
    layer_counts
        int64 (layers, LAYER_COUNTS): see `LayerCount`.
    packets
        Number of packets.
    """

    duration_ps: int
    sweep_ps: int
    network_ps: int
    synapse_ps: int
    barrier_ps: int
    layer_counts: IntArray
    packets: int


@dataclass(frozen=True)
class PacketTrace:
    """Packets of one timestep, in the order of cores and of sending; times in ps since it began.

    Attributes
    ----------
    source, destination
        int64 (N,): cores.
    flits
        int64 (N,).
    injected_ps, arrived_ps
        int64 (N,): head leaves the injection queue; tail reaches the destination core.
    """

    source: IntArray
    destination: IntArray
    flits: IntArray
    injected_ps: IntArray
    arrived_ps: IntArray


class TimeRun:
    """A program being timed, timestep by timestep; each starts with an empty network.

    Parameters
    ----------
    program
        What to time.

    Attributes
    ----------
    tick_ps
        Greatest common divisor of all delays of the chip, so that no time is rounded.
    core_counts
        int64 (C, CORE_COUNTS): see `CoreCount`, over all timesteps so far.
    link_flits
        int64 (R, P): flits that left each router by each output, over all timesteps so far.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        chip = program.chip
        core, network, mesh = chip.core, chip.network, chip.mesh
        per_tile = int(mesh.cores_per_tile.value)
        self.topology = topology.mesh(int(mesh.columns.value), int(mesh.rows.value), per_tile)
        kinds = (core.encodings.dense, core.encodings.sparse, core.encodings.conv)
        synapse = core.memories.synapse
        delays = {
            "inject": network.latency_injection.value,
            "eject": network.latency_ejection.value,
            "x": network.latency_east_west.value,
            "y": network.latency_north_south.value,
            "link": network.link_interval.value,
            "local": network.local_interval.value,
            "credit": network.credit_return.value,
            "axon_in": core.axon_in.time.value,
            "axon_out": core.axon_out.time.value,
            "active": core.neuron.update_active_time.value,
            "inactive": core.neuron.update_inactive_time.value,
            "send": core.neuron.send_time.value,
            "word": synapse.read_interval.value,
            "synop_dense": kinds[0].synop_time.value,
            "synop_sparse": kinds[1].synop_time.value,
            "synop_conv": kinds[2].synop_time.value,
        }
        self.tick_ps = gcd(*(int(v) for v in delays.values())) or 1
        ticks = {name: int(v) // self.tick_ps for name, v in delays.items()}
        self.ticks = ticks
        shortest = min(ticks[name] for name in ("inject", "eject", "x", "y", "link", "local", "credit"))
        self.wheel_shift = shortest.bit_length() - 1
        self.barrier_ps = chip.barrier_ps(program.tiles)
        self._bind_network(ticks, per_tile)
        self._bind_program(kinds)
        self.core_counts = np.zeros((program.cores, CORE_COUNTS), dtype=np.int64)
        self.link_flits = np.zeros(self.topology.next_router.shape, dtype=np.int64)

    def _bind_network(self, ticks: dict[str, int], per_tile: int) -> None:
        program, top = self.program, self.topology
        shape = top.next_router.shape
        self.latency = np.full(shape, ticks["eject"], dtype=np.int64)
        self.latency[:, [topology.EAST, topology.WEST]] = ticks["x"]
        self.latency[:, [topology.NORTH, topology.SOUTH]] = ticks["y"]
        self.interval = np.full(shape, ticks["local"], dtype=np.int64)
        self.interval[:, : topology.LOCAL] = ticks["link"]
        self.credit = np.full(shape, ticks["credit"], dtype=np.int64)
        self.core_router = program.core_tile.copy()
        self.core_port = program.core_slot.astype(np.int64) % per_tile + topology.LOCAL
        self.router_core = np.full(shape, -1, dtype=np.int64)
        self.router_core[self.core_router, self.core_port] = np.arange(program.cores)

    def _bind_program(self, kinds: tuple) -> None:
        program, chip = self.program, self.program.chip
        structural = np.array([kind.synops == "structural" for kind in kinds])
        self.axon_charged = np.where(
            structural[program.axon_encoding], program.axon_synops, program.axon_synops_nonzero
        )
        network = chip.network
        flit, header, payload = (int(q.value) for q in (network.flit, network.header, network.payload))
        self.layer_flits = np.array(
            [-(-(header + (payload if layer.unit.graded else 0)) // flit) for layer in program.network.layers],
            dtype=np.int64,
        )
        self.layer_state_words = np.array(
            [state_words(layer, chip) for layer in program.network.layers], dtype=np.int64
        )
        self.synop_ticks = np.array(
            [self.ticks["synop_dense"], self.ticks["synop_sparse"], self.ticks["synop_conv"]], dtype=np.int64
        )
        # Synapses of non-zero weight that a message of each neuron meets on all cores together.
        running = np.concatenate(([0], np.cumsum(program.axon_synops_nonzero, dtype=np.int64)))
        self.fan_out_nonzero = np.diff(running[program.axon_start])
        # Layers whose messages reach a core through the network; the others are read out by the host.
        per_neuron = np.diff(program.axon_start)
        offsets = program.network.offsets
        self.layer_sends = np.array(
            [bool(per_neuron[a:b].any()) for a, b in zip(offsets[:-1], offsets[1:], strict=True)]
        )

    def _check_width(self, activity: StepActivity) -> None:
        payload = int(self.program.chip.network.payload.value)
        for i, layer in enumerate(self.program.network.layers):
            values = activity.value[activity.layer_start[i] : activity.layer_start[i + 1]]
            if not self.layer_sends[i] or not values.size or not layer.unit.graded:
                continue
            low, high = int(values.min()), int(values.max())
            if payload == 0:
                if low == high == 1:
                    continue
                limit, need = "binary spikes only", "a graded message"
            else:
                if -(1 << (payload - 1)) <= low and high < 1 << (payload - 1):
                    continue
                limit = f"{payload} bits, signed"
                bits = 1 + max(high.bit_length() if high > 0 else 0, (-low - 1).bit_length() if low < 0 else 0)
                need = f"{bits} bits"
            worst = low if -low > high else high
            raise MessageWidthError(
                f"layer {layer.name}, timestep {activity.timestep}: a message of {worst} needs {need}; "
                f"{self.program.chip.name} carries {limit} (network.payload); scale the network down, choose a chip "
                "with a wider payload, or set network.payload"
            )

    def step(self, activity: StepActivity, trace: bool = False) -> tuple[StepTiming, PacketTrace | None]:
        """Time one timestep.

        Parameters
        ----------
        activity
            Its messages.
        trace
            Whether to return every packet.

        Raises
        ------
        MessageWidthError
            A message is wider than the chip's payload.
        DeadlockError
            Packets are left and nothing can move.
        AuditError
            Flits on the links are not those of the packets' routes.
        """
        self._check_width(activity)
        program, ticks, top = self.program, self.ticks, self.topology
        payload = np.zeros(program.network.size, dtype=np.int64)
        payload[activity.neuron] = activity.value
        rows = packet_kernels.count_rows(activity.neuron, program.axon_start)
        destination, flits, work, read, accumulate = (np.zeros(rows, dtype=np.int64) for _ in range(5))
        core_first = np.zeros(program.cores + 1, dtype=np.int64)
        tail_work = np.zeros(program.cores, dtype=np.int64)
        counts = np.zeros((len(program.network.layers), LAYER_COUNTS), dtype=np.int64)
        core_counts = np.zeros_like(self.core_counts)
        packets = packet_kernels.build_packets(
            payload, activity.active, program.neuron_order, program.core_start, program.core_layer,
            program.core_tile, top.hops_x, top.hops_y, program.axon_start, program.axon_core,
            program.axon_encoding, self.axon_charged, program.axon_words, self.layer_flits,
            self.layer_state_words, self.synop_ticks, ticks["word"], ticks["active"], ticks["inactive"],
            ticks["send"], ticks["axon_out"], destination, flits, work, read, accumulate, core_first,
            tail_work, counts, core_counts,
        )  # fmt: skip
        destination, flits = destination[:packets], flits[:packets]
        injected, arrived = np.full(packets, -1, dtype=np.int64), np.full(packets, -1, dtype=np.int64)
        stages = np.zeros((program.cores, time_kernels.CORE_COUNTERS), dtype=np.int64)
        link_flits = np.zeros_like(self.link_flits)
        axon_in = program.chip.core.axon_in
        delivered, last = time_kernels.time_step(
            top.next_router, top.next_port, top.route, self.latency, self.interval, self.credit,
            int(program.chip.network.buffer.value), self.core_router, self.core_port, self.router_core,
            ticks["inject"], ticks["local"], int(axon_in.queue.value), ticks["credit"],
            int(program.chip.core.axon_out.queue.value), int(axon_in.stage_queue.value), ticks["axon_in"],
            WHEEL_SLOTS, self.wheel_shift, core_first, tail_work, destination, flits, work[:packets], read[:packets],
            accumulate[:packets], injected, arrived, stages, link_flits,
        )  # fmt: skip
        self._check_delivery(activity.timestep, packets, int(delivered), arrived, link_flits, counts)
        self.link_flits += link_flits
        self._add_core_counts(core_counts, stages)
        counts[:, LayerCount.SYNOPS] = activity.synops
        met = self.fan_out_nonzero[activity.neuron]
        running = np.concatenate(([0], np.cumsum(met, dtype=np.int64)))
        counts[:, LayerCount.SYNOPS_NONZERO] = np.diff(running[activity.layer_start])
        sweep = int(stages[:, time_kernels.CORE_SWEEP_END].max())
        synapse = int(stages[:, time_kernels.CORE_FINISH].max())
        duration = max(sweep, synapse, int(last)) * self.tick_ps + self.barrier_ps
        timing = StepTiming(
            duration, sweep * self.tick_ps, int(last) * self.tick_ps, synapse * self.tick_ps,
            self.barrier_ps, counts, packets,
        )  # fmt: skip
        if not trace:
            return timing, None
        source = np.repeat(np.arange(program.cores), np.diff(core_first))
        return timing, PacketTrace(
            source, destination, flits, injected * self.tick_ps, arrived * self.tick_ps
        )

    def _add_core_counts(self, core_counts: IntArray, stages: IntArray) -> None:
        core_counts[:, CoreCount.STALL_PS] = stages[:, time_kernels.CORE_STALL]
        core_counts[:, CoreCount.INPUT_WAIT_PS] = stages[:, time_kernels.CORE_WAIT]
        core_counts[:, CoreCount.AXON_IN_PS] = core_counts[:, CoreCount.PACKETS_IN] * self.ticks["axon_in"]
        core_counts[:, CoreCount.SWEEP_PS :] *= self.tick_ps
        self.core_counts += core_counts

    def _check_delivery(
        self, timestep: int, packets: int, delivered: int, arrived: IntArray, link_flits: IntArray, counts: IntArray
    ) -> None:
        if delivered != packets:
            left = int((arrived < 0).sum())
            raise DeadlockError(
                f"timestep {timestep}: {left} of {packets} packets cannot move; a packet must fit the buffers "
                "(network.buffer) and the ejection queue (core.axon_in.queue)"
            )
        sums = counts.sum(axis=0)
        for name, ports, expected in (
            ("east-west", slice(topology.EAST, topology.NORTH), sums[LayerCount.FLIT_HOPS_EAST_WEST]),
            ("north-south", slice(topology.NORTH, topology.LOCAL), sums[LayerCount.FLIT_HOPS_NORTH_SOUTH]),
            ("ejected", slice(topology.LOCAL, None), sums[LayerCount.FLITS]),
        ):
            found = int(link_flits[:, ports].sum())
            if found != int(expected):
                raise AuditError(f"timestep {timestep}: {found} {name} flits on links, the packets' routes have {expected}")
