"""A network of routers with cores, and the timing of one timestep's packets on it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.topology import Topology
from neurosim.engine import (
    fast_kernels,
    flow_kernels,
    plain_kernels,
    processor_kernels,
    row_kernels,
    sharing_kernels,
    time_kernels,
)
from neurosim.engine.deadlocks import waiting_circle
from neurosim.engine.loads import FlowTimes, PacketLoad, PacketTimes, SweepPieces
from neurosim.errors import AuditError, InputError

IntArray = NDArray[np.int64]

MOST_INPUTS = 62
"""Inputs of a router, virtual channels counted, that fit the bits of a request."""

MOST_BUFFER_BYTES = 1 << 30
"""Most memory that the slots of all inputs and queues may take."""

WHEEL_SLOTS = 1 << 12
"""Slots of the timing wheel, a power of two; its size changes speed, never results."""


@dataclass(frozen=True)
class Processors:
    """What the CPU of a processor core does besides the sweep; see docs/decisions/0004-processor-cores.md.

    Attributes
    ----------
    packet, set_up
        Ticks of the interrupt that takes a packet, and of finding its row and starting the transfer.
    memory_latency
        Ticks from the end of a transfer to the row's being there.
    buffer
        Messages that wait for their row; more are lost.
    shared_memory
        Whether the cores of a tile share the memory that rows come from; otherwise each core has its own.
    """

    packet: int
    set_up: int
    memory_latency: int
    buffer: int
    shared_memory: bool = True


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
    channels
        Virtual channels of an input, each with its own slots. Two keep rings free of deadlock.
    cut_through
        Whether a packet's head waits until the next input has room for all of it (virtual cut-through);
        otherwise flits follow each other as slots come free (wormhole).
    patience
        Ticks after which a flit at the head of an input gives up the outputs that it waits for; 0 for
        never. Only packets of one flit can give up.
    detour_wait
        Ticks for which a flit then looks for a way round by two other links before it gives up; six links only.
    reinject_wait, reinject_slots
        What gives up is sent again after so many ticks, as long as so many slots have room; the last local port
        of every router is for this and has no core. 0 for never.
    strict
        Whether a core takes no message before its sweep is done.
    processors
        What the CPUs of processor cores do; None for cores whose stages are servers of their own. Then `read` of
        a packet is the time that it holds the tile's memory, `accumulate` the work on its row.
    shared_stage
        Stage of messages, ``synapse_read`` or ``accumulate``, that takes turns with the sweep at one port; empty where
        the sweep has its own.
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
    channels: int = 1
    cut_through: bool = False
    patience: int = 0
    detour_wait: int = 0
    reinject_wait: int = 0
    reinject_slots: int = 0
    strict: bool = False
    processors: Processors | None = None
    shared_stage: str = ""
    wheel_slots: int = WHEEL_SLOTS

    @cached_property
    def router_core(self) -> IntArray:
        """int64 (R, P): core behind a local port, or -1."""
        cores = np.full(self.topology.next_router.shape, -1, dtype=np.int64)
        cores[self.core_router, self.core_port] = np.arange(self.core_router.size)
        return cores

    @cached_property
    def way(self) -> IntArray:
        """int64 (C, R): output towards a core at each router."""
        towards = self.topology.route[:, self.core_router].T.copy()
        towards[np.arange(self.core_router.size), self.core_router] = self.core_port
        return towards

    @cached_property
    def wheel_shift(self) -> int:
        """log2 of the ticks that a slot of the wheel covers: no more than the shortest delay."""
        links = self.topology.next_router >= 0
        links[:, self.topology.links :] = True
        shortest = min(
            int(self.latency[links].min()),
            int(self.interval[links].min()),
            int(self.credit.min()),
            self.inject_latency,
            self.inject_interval,
        )
        return shortest.bit_length() - 1

    @cached_property
    def new_ports(self) -> tuple[IntArray, int]:
        """int64: the kernel's rows of all inputs and outputs as a timestep begins; and the size of their slots."""
        top = self.topology
        rows, places = row_kernels.new_ports(
            top.next_router, top.next_port, self.latency, self.interval, self.credit, self.router_core, top.side,
            top.dateline, self.channels, self.buffer_flits, self.reinject_slots,
        )  # fmt: skip
        return rows, int(places)

    @cached_property
    def _extras(self) -> IntArray | None:
        """What the kernel is told of channels, switching, giving up and phases; None where there is nothing to tell."""
        told = (
            self.channels, self.cut_through, self.patience, self.detour_wait, self.reinject_wait, self.reinject_slots,
            self.strict,
        )  # fmt: skip
        plain = told == (1, False, 0, 0, 0, 0, False) and self.processors is None and not self.shared_stage
        return None if plain else np.array(told, dtype=np.int64)

    @cached_property
    def _habits(self) -> IntArray | None:
        """What the kernel is told of processors."""
        cpu = self.processors
        told = None if cpu is None else (cpu.packet, cpu.set_up, cpu.memory_latency, cpu.buffer, cpu.shared_memory)
        return None if told is None else np.array(told, dtype=np.int64)

    @cached_property
    def tile_cores(self) -> tuple[IntArray, IntArray]:
        """int64 (R + 1,) and (C,): where each router's cores begin, and the cores of each router, ascending."""
        order = np.argsort(self.core_router, kind="stable").astype(np.int64)
        first = np.searchsorted(self.core_router[order], np.arange(self.topology.routers + 1)).astype(np.int64)
        return first, order

    @cached_property
    def no_trees(self) -> IntArray:
        """int64 (1, R): what the kernel is given where no packet is multicast."""
        return np.zeros((1, self.topology.routers), dtype=np.int64)

    def _rows(self, load: PacketLoad) -> tuple[IntArray, IntArray, IntArray]:
        """Return the kernel's rows of packets and of copies, and the multicast trees."""
        count = load.flits.size
        packets = np.full((count + 1, row_kernels.PACKET), -1, dtype=np.int64)
        packets[:count, row_kernels.FLITS] = load.flits
        packets[:count, row_kernels.WORK] = load.work
        if load.release is not None:
            packets[:count, row_kernels.RELEASE] = load.release
        many = load.multicast
        if many is None:
            trees = self.no_trees
            packets[:, row_kernels.COPY] = np.arange(count + 1)
            columns: tuple[IntArray, ...] = (load.destination, load.read, load.accumulate)
        else:
            trees = many.trees
            packets[:count, row_kernels.TREE] = many.tree
            packets[:, row_kernels.COPY] = many.copy_first
            columns = (many.core, many.read, many.accumulate)
        copies = np.full((columns[0].size, row_kernels.COPIES), -1, dtype=np.int64)
        for column, values in enumerate(columns):
            copies[:, column] = values
        return packets, copies, trees

    @cached_property
    def too_large(self) -> str:
        """What is too large for the kernel whatever the packets, in words; empty where nothing is."""
        width = self.topology.next_router.shape[1]
        if width * self.channels > MOST_INPUTS:
            return f"a router has {width} ports with {self.channels} virtual channels; at most {MOST_INPUTS} inputs fit"
        need_bytes = 16 * self.topology.routers * width * self.channels * self.buffer_flits
        need_bytes += 16 * self.core_router.size * self.stage_queue
        if need_bytes > MOST_BUFFER_BYTES:
            return (
                f"input buffers of {self.buffer_flits} flits and stage queues of {self.stage_queue} messages need "
                f"{need_bytes / 2**30:.1f} GiB, the limit is {MOST_BUFFER_BYTES / 2**30:.0f} GiB; make them smaller "
                "(network.buffer, core.axon_in.stage_queue)"
            )
        return ""

    def _check(self, load: PacketLoad) -> None:
        if self.too_large:
            raise InputError(self.too_large)
        if (load.release is not None) != (self.processors is not None):
            raise InputError("times of release are for processors, and they need them")
        if (load.pieces is not None) != bool(self.shared_stage) or (load.pieces is not None and self.strict):
            raise InputError(
                "pieces of sweeps are for ports that overlapping sweeps and messages share, which need them"
            )
        if not (self.patience or self.cut_through) or not load.flits.size:
            return
        longest = int(load.flits.max())
        if self.patience and longest > 1:
            raise InputError(
                f"packets of {longest} flits cannot give up waiting; use packets of one flit or patience 0"
            )
        if self.cut_through and longest > self.buffer_flits:
            raise InputError(
                f"a packet of {longest} flits never fits buffers of {self.buffer_flits} whole; "
                "use wormhole or larger buffers"
            )

    @cached_property
    def plain(self) -> bool:
        """Whether `plain_kernels` can time unicast packets here."""
        return self._extras is None and not self.too_large and self.core_router.size < plain_kernels.MOST_CORES

    @cached_property
    def net(self) -> plain_kernels.Net:
        """What the kernel for plain networks is told of this one."""
        top = self.topology
        rows = plain_kernels.new_rows(
            top.next_router, top.next_port, self.latency, self.interval, self.credit, self.router_core
        )
        return plain_kernels.Net(
            rows, self.way.astype(np.uint8), top.next_router.shape[1], self.buffer_flits, self.core_router,
            self.core_port, self.inject_latency, self.inject_interval, self.inject_queue, self.eject_slots,
            self.eject_credit, self.stage_queue, self.axon_in,
            max(min(self.wheel_slots, plain_kernels.best_wheel_slots(top.routers)), 64), self.wheel_shift,
        )  # fmt: skip

    def _time_plain(self, load: PacketLoad) -> PacketTimes | None:
        """Time unicast packets on a plain network; None where not all arrive."""
        packets, copies, _ = self._rows(load)
        cores = np.zeros((self.core_router.size, row_kernels.CORE_COUNTERS), dtype=np.int64)
        rows = self.net.rows.copy()
        shape = self.topology.next_router.shape
        delivered, last = plain_kernels.plain_step(
            self.net, rows, load.core_first, load.tail_work, packets.reshape(-1), copies.reshape(-1), cores
        )
        if delivered != load.copies:
            return None
        nothing = np.zeros(shape, dtype=np.int64)
        return PacketTimes(
            injected=packets[:-1, row_kernels.INJECTED],
            left=packets[:-1, row_kernels.LEFT],
            arrived=copies[:, row_kernels.ARRIVED],
            cores=cores,
            link_flits=rows.reshape(*shape, plain_kernels.ROW)[:, :, plain_kernels.PASSED].copy(),
            dropped=nothing,
            detours=nothing,
            reinjected=np.zeros(shape[0], dtype=np.int64),
            lost=0,
            ready=packets[:-1, row_kernels.READY_AT],
            made=packets[:-1, row_kernels.RELEASE],
            stages=np.zeros((0, processor_kernels.STAGES), dtype=np.int64),
            waiting="",
            delivered=int(delivered),
            last=int(last),
        )

    def _sharing(self, pieces: SweepPieces, copies: int) -> tuple[sharing_kernels.Sharing, IntArray]:
        """Return what the kernel is told of shared ports, and the times that it fills."""
        times = np.full((copies, sharing_kernels.TIMES), -1, dtype=np.int64)
        stages = {"synapse_read": sharing_kernels.SHARED_READ, "accumulate": sharing_kernels.SHARED_ACCUMULATE}
        stage = stages[self.shared_stage]
        told = sharing_kernels.Sharing(stage, pieces.axon_out, pieces.first, pieces.ends, times.reshape(-1))
        return told, times

    def time(self, load: PacketLoad, plain: bool = True) -> PacketTimes:
        """Time one timestep that begins with an empty network.

        Parameters
        ----------
        load
            Its packets.
        plain
            Whether the kernel for plain networks may be used where it can; the times are the same.

        Raises
        ------
        InputError
            Packets that these routers cannot handle.
        AuditError
            The two kernels do not agree on whether all packets arrive.
        """
        self._check(load)
        plain = plain and self.plain and load.multicast is None and load.pieces is None
        if plain:
            times = self._time_plain(load)
            if times is not None:
                return times
        top = self.topology
        packets, copies, trees = self._rows(load)
        cores = np.zeros((self.core_router.size, row_kernels.CORE_COUNTERS), dtype=np.int64)
        rows, places = self.new_ports
        rows = rows.copy()
        stages = np.full((len(copies) if self.processors else 0, processor_kernels.STAGES), -1, dtype=np.int64)
        sharing = None
        if load.pieces is not None:
            sharing, stages = self._sharing(load.pieces, len(copies))
        delivered, last, lost = time_kernels.time_step(
            top.next_router, top.next_port, self.way, trees, self._extras, self.buffer_flits, self.core_router,
            self.core_port, self.inject_latency, self.inject_interval, self.eject_slots, self.eject_credit,
            self.inject_queue, self.stage_queue, self.axon_in, self._habits, None, sharing, *self.tile_cores,
            self.wheel_slots, self.wheel_shift, load.core_first, load.tail_work, places, rows, packets.reshape(-1),
            copies.reshape(-1), stages.reshape(-1), cores,
        )  # fmt: skip
        if plain and delivered == load.copies:
            raise AuditError(
                f"all {load.copies} packets arrive, and in the kernel for plain networks they do not; please report it "
                "with the network and the chip"
            )
        ports = rows.reshape(*top.next_router.shape, self.channels, row_kernels.PORT)
        waiting, by_core = ("", False) if delivered == load.copies else self._circle(ports, self.strict)
        return PacketTimes(
            injected=packets[:-1, row_kernels.INJECTED],
            left=packets[:-1, row_kernels.LEFT],
            arrived=copies[:, row_kernels.ARRIVED],
            cores=cores,
            link_flits=ports[:, :, 0, row_kernels.PASSED].copy(),
            dropped=ports[:, :, 0, row_kernels.DROPPED].copy(),
            detours=ports[:, :, 0, row_kernels.DETOURS].copy(),
            reinjected=ports[:, :, 0, row_kernels.REINJECTED].sum(axis=1),
            lost=int(lost),
            ready=packets[:-1, row_kernels.READY_AT],
            made=packets[:-1, row_kernels.RELEASE],
            stages=stages,
            waiting=waiting,
            delivered=int(delivered),
            last=int(last),
            behind_sweeps=by_core,
        )

    def time_flow(self, flow: Any, room: int) -> FlowTimes:
        """Time one frame in which messages make packets.

        Parameters
        ----------
        flow
            `flow_kernels.Flow`, changed; where its totals say that it was full, what is returned means nothing.
        room
            Packets for which there are rows.

        Raises
        ------
        InputError
            Routers or queues that cannot do this.
        """
        slots = self.core_router.size * (self.eject_slots + self.inject_queue)
        if self.too_large or 24 * slots > MOST_BUFFER_BYTES:
            raise InputError(self.too_large or f"{slots} places in the queues of cores take too much memory; use fewer")
        if self.patience or self.processors is not None or self.strict:
            raise InputError(
                "cores that update at each arrival need routers that give nothing up, are no processors, and have no "
                "phases"
            )
        top, count = self.topology, self.core_router.size
        packets = np.full((room + 1, row_kernels.PACKET), -1, dtype=np.int64)
        packets[:, row_kernels.COPY] = np.arange(room + 1)
        copies = np.full((room, row_kernels.COPIES), -1, dtype=np.int64)
        cores = np.zeros((count, row_kernels.CORE_COUNTERS), dtype=np.int64)
        nothing = np.zeros(count + 1, dtype=np.int64)
        rows, places = self.new_ports
        rows = rows.copy()
        delivered, last, _ = time_kernels.time_step(
            top.next_router, top.next_port, self.way, self.no_trees, self._extras, self.buffer_flits, self.core_router,
            self.core_port, self.inject_latency, self.inject_interval, self.eject_slots, self.eject_credit,
            self.inject_queue, self.stage_queue, self.axon_in, None, flow, None, *self.tile_cores, self.wheel_slots,
            self.wheel_shift, nothing, nothing[1:], places, rows, packets.reshape(-1), copies.reshape(-1),
            np.zeros(0, dtype=np.int64), cores,
        )  # fmt: skip
        ports = rows.reshape(*top.next_router.shape, self.channels, row_kernels.PORT)
        made = int(flow.totals[flow_kernels.USED])
        waiting = "" if delivered == made or flow.totals[flow_kernels.FULL] else self._circle(ports, True)[0]
        link_flits = ports[:, :, 0, row_kernels.PASSED].copy()
        return FlowTimes(packets, copies, cores, link_flits, waiting, int(delivered), int(last))

    def time_fast(self, load: PacketLoad) -> PacketTimes:
        """Time one timestep with links as first-in first-out servers: no buffer, queue or credit ever limits.

        An approximation for sweeps: `time` is what it is measured against.
        """
        top = self.topology
        packets, copies, trees = self._rows(load)
        cores = np.zeros((self.core_router.size, row_kernels.CORE_COUNTERS), dtype=np.int64)
        link_flits = np.zeros(top.next_router.shape, dtype=np.int64)
        made = np.zeros(load.flits.size, dtype=np.int64)
        fast_kernels.made_times(load.core_first, packets.reshape(-1), made)
        order = np.argsort(made, kind="stable")
        delivered, last = fast_kernels.fast_step(
            top.next_router, top.route, trees, self.latency, self.interval, self.core_router, self.core_port,
            self.router_core, self.inject_latency, self.inject_interval, self.axon_in, load.core_first,
            load.tail_work, made, order, packets.reshape(-1), copies.reshape(-1), cores, link_flits,
        )  # fmt: skip
        return PacketTimes(
            injected=packets[:-1, row_kernels.INJECTED],
            left=packets[:-1, row_kernels.LEFT],
            arrived=copies[:, row_kernels.ARRIVED],
            cores=cores,
            link_flits=link_flits,
            dropped=np.zeros_like(link_flits),
            detours=np.zeros_like(link_flits),
            reinjected=np.zeros(top.routers, dtype=np.int64),
            lost=0,
            ready=packets[:-1, row_kernels.READY_AT],
            made=packets[:-1, row_kernels.RELEASE],
            stages=np.zeros((0, processor_kernels.STAGES), dtype=np.int64),
            waiting="",
            delivered=int(delivered),
            last=int(last),
        )

    def _circle(self, ports: IntArray, cores_wait: bool) -> tuple[str, bool]:
        return waiting_circle(ports, self.topology, (self.core_router, self.core_port, self.router_core), cores_wait)
