"""One timestep's packets, and when everything happened to them; the sides of `MeshModel.time`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Multicast:
    """Where multicast packets go (N packets, M copies, T trees, R routers).

    Attributes
    ----------
    trees
        int64 (T, R): outputs that a tree takes at a router, a bit each.
    tree
        int64 (N,): tree of each packet.
    copy_first
        int64 (N + 1,): where each packet's copies begin.
    core
        int64 (M,): core that gets the copy.
    read, accumulate
        int64 (M,): ticks that the copy takes at the synapse memory and the accumulators of its core.
    """

    trees: IntArray
    tree: IntArray
    copy_first: IntArray
    core: IntArray
    read: IntArray
    accumulate: IntArray


@dataclass(frozen=True)
class SweepPieces:
    """The work of sweeps piece by piece (N packets, C cores, K pieces); see docs/decisions/0006-one-port.md.

    Attributes
    ----------
    first
        int64 (N + C + 1,): where the pieces of each packet begin, and, behind a core's packets, those of its work
        after the last of them: packet p of core c has row p + c.
    ends
        int64 (K + 1,): ticks of all pieces up to each, added up; a piece is at least a tick long.
    axon_out
        Ticks between the last piece of work for a packet and its being made.
    """

    first: IntArray
    ends: IntArray
    axon_out: int


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
    multicast
        Where packets go that have several destinations; then destination, read and accumulate are not used.
    release
        int64 (N,), for processors only: time before which the sweep does not begin to work for a packet. A
        packet of no flits is work without a packet, and ends each sweep in place of `tail_work`.
    pieces
        Where sweep and messages share a port: what `work` and `tail_work` consist of.
    merged
        Where synapse read and accumulate are one stage: the ticks of a message at its accumulators, which are part of
        its `read`, or of its copies' where it is multicast.
    """

    core_first: IntArray
    tail_work: IntArray
    destination: IntArray
    flits: IntArray
    work: IntArray
    read: IntArray
    accumulate: IntArray
    multicast: Multicast | None = None
    release: IntArray | None = None
    pieces: SweepPieces | None = None
    merged: IntArray | None = None

    @property
    def copies(self) -> int:
        """Number of messages that should reach a core."""
        if self.multicast is not None:
            return self.multicast.core.size
        return self.flits.size if self.release is None else int(np.count_nonzero(self.flits))


@dataclass(frozen=True)
class PacketTimes:
    """When everything happened, in ticks since the timestep began.

    Attributes
    ----------
    injected, left
        int64 (N,): head and tail leave the injection queue; -1 where they never did.
    arrived
        int64 (N,), or (M,) for multicast copies: tail reaches its core; -1 where it never did.
    cores
        int64 (C, CORE_COUNTERS): end of the sweep, end of the last accumulation, stalled and waiting
        ticks.
    link_flits
        int64 (R, P): flits that left by each output.
    dropped, detours
        int64 (R, P): copies that gave up waiting for each output, and that left by it on a way round.
    reinjected
        int64 (R,): flits that were sent again.
    lost
        Messages that found no place in a processor's buffer.
    ready
        int64 (N,): the packet entered its queue, or its sweep ended; processors and shared ports only, otherwise -1.
    made
        int64 (N,): the sweep was done with the packet, which then waited for room; shared ports only.
    stages
        int64 (M, STAGES) of each copy at its processor; see `processor_kernels`. Where sweep and messages share a port
        int64 (M, TIMES); see `sharing_kernels`. Without rows otherwise.
    waiting
        The circle of inputs and cores that wait for each other, or the chain up to what they wait for, in words;
        empty where everything moved.
    delivered
        Number of packets, or of copies, that arrived.
    last
        When the last one arrived.
    behind_sweeps
        Whether the circle goes through cores that take no message before their sweep is done.
    """

    injected: IntArray
    left: IntArray
    arrived: IntArray
    cores: IntArray
    link_flits: IntArray
    dropped: IntArray
    detours: IntArray
    reinjected: IntArray
    lost: int
    ready: IntArray
    made: IntArray
    stages: IntArray
    waiting: str
    delivered: int
    last: int
    behind_sweeps: bool = False


@dataclass(frozen=True)
class FlowTimes:
    """What happened where packets are made as messages arrive; times in ticks since the frame began.

    Attributes
    ----------
    packets, copies
        int64 (N, PACKET) and (N, COPIES): the kernel's rows, in the order in which packets were made.
    cores
        int64 (C, CORE_COUNTERS): end of the sweep and of the last work, stalled and waiting ticks.
    link_flits
        int64 (R, P): flits that left by each output.
    waiting, delivered, last
        As in `PacketTimes`.
    """

    packets: IntArray
    copies: IntArray
    cores: IntArray
    link_flits: IntArray
    waiting: str
    delivered: int
    last: int
