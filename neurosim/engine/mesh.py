"""A mesh of routers with cores, and the timing of one timestep's packets on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import time_kernels
from neurosim.engine.topology import LOCAL, Topology

IntArray = NDArray[np.int64]

WHEEL_SLOTS = 1 << 12
"""Slots of the timing wheel, a power of two; its size changes speed, never results."""


@dataclass(frozen=True)
class PacketLoad:
    """One timestep's packets, grouped by sending core in the order of sending (N packets, C cores).

    Attributes
    ----------
    core_first
        int64 (C + 1,): where each core's packets begin.
    tail_work
        int64 (C,): ticks of sweep after a core's last packet.
    destination, flits
        int64 (N,): core that gets the packet, and its length.
    work
        int64 (N,): ticks that the sender works between the packet before and this one.
    read, accumulate
        int64 (N,): ticks that the packet takes at the synapse memory and the accumulators.
    """

    core_first: IntArray
    tail_work: IntArray
    destination: IntArray
    flits: IntArray
    work: IntArray
    read: IntArray
    accumulate: IntArray


@dataclass(frozen=True)
class PacketTimes:
    """When everything happened, in ticks since the timestep began.

    Attributes
    ----------
    injected, arrived
        int64 (N,): head leaves its queue; tail reaches its core; -1 where it never did.
    cores
        int64 (C, CORE_COUNTERS): end of the sweep, end of the last accumulation, stalled and waiting
        ticks.
    link_flits
        int64 (R, P): flits that left by each output.
    delivered
        Number of packets that arrived.
    last
        When the last one arrived.
    """

    injected: IntArray
    arrived: IntArray
    cores: IntArray
    link_flits: IntArray
    delivered: int
    last: int


@dataclass(frozen=True)
class MeshModel:
    """Routers, links and the two ends of every core; all delays in ticks, at least 1 where not said.

    Attributes
    ----------
    topology
        Routers, links and routes.
    core_router, core_port
        int64 (C,): router and local port of each core.
    latency
        int64 (R, P): from the grant of an output to being ready at the next input or core.
    interval
        int64 (R, P): between two flits of an output.
    credit
        int64 (R, P): from emptying a slot of an input to its use by the sender upstream.
    buffer_flits
        Slots of an input.
    inject_latency, inject_interval
        From leaving a core's queue to being ready at its router, and between two flits.
    inject_queue
        Packets that wait at a core before its sweep stalls.
    eject_slots
        Flits that a core holds before axon-in takes them.
    eject_credit
        From axon-in's taking a flit to the use of its slot; may be 0.
    stage_queue
        Messages that wait before each of the two later stages of a core.
    axon_in
        Ticks of axon-in for each message; may be 0.
    wheel_slots
        Slots of the timing wheel.
    """

    topology: Topology
    core_router: IntArray
    core_port: IntArray
    latency: IntArray
    interval: IntArray
    credit: IntArray
    buffer_flits: int
    inject_latency: int
    inject_interval: int
    inject_queue: int
    eject_slots: int
    eject_credit: int
    stage_queue: int
    axon_in: int
    wheel_slots: int = WHEEL_SLOTS

    @cached_property
    def router_core(self) -> IntArray:
        """int64 (R, P): core behind a local port, or -1."""
        cores = np.full(self.topology.next_router.shape, -1, dtype=np.int64)
        cores[self.core_router, self.core_port] = np.arange(self.core_router.size)
        return cores

    @cached_property
    def wheel_shift(self) -> int:
        """log2 of the ticks that a slot of the wheel covers: no more than the shortest delay."""
        links = self.topology.next_router >= 0
        links[:, LOCAL:] = True
        shortest = min(
            int(self.latency[links].min()),
            int(self.interval[links].min()),
            int(self.credit.min()),
            self.inject_latency,
            self.inject_interval,
        )
        return shortest.bit_length() - 1

    def time(self, load: PacketLoad) -> PacketTimes:
        """Time one timestep that begins with an empty network."""
        count = load.destination.size
        packets = np.full((count, time_kernels.PACKET), -1, dtype=np.int64)
        columns = (load.destination, load.flits, load.work, load.read, load.accumulate)
        for column, values in enumerate(columns):
            packets[:, column] = values
        cores = np.zeros((self.core_router.size, time_kernels.CORE_COUNTERS), dtype=np.int64)
        link_flits = np.zeros(self.topology.next_router.shape, dtype=np.int64)
        delivered, last = time_kernels.time_step(
            self.topology.next_router, self.topology.next_port, self.topology.route, self.latency, self.interval,
            self.credit, self.buffer_flits, self.core_router, self.core_port, self.router_core,
            self.inject_latency, self.inject_interval, self.eject_slots, self.eject_credit, self.inject_queue,
            self.stage_queue, self.axon_in, self.wheel_slots, self.wheel_shift, load.core_first, load.tail_work,
            packets.ravel(), cores, link_flits,
        )  # fmt: skip
        injected, arrived = packets[:, time_kernels.INJECTED], packets[:, time_kernels.ARRIVED]
        return PacketTimes(injected, arrived, cores, link_flits, int(delivered), int(last))
