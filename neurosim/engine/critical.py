"""The critical path of a timestep: what its end waited for, and what that waited for, back to its start.

The path is a chain of spans without gaps. It begins with the event that ended the timestep before its
barrier: the end of the last sweep, or the last message accumulated. From there it goes back along what each
event waited for. At a core that receives: the accumulators while they were busy with messages before, then
the synapse read, then axon-in, up to a message that was taken as it arrived. Through the network: the flight
that the packet has in an empty network, and before it what it took longer, as a wait for links; where the
messages of a core came as closely as its ejection port lets them, the port is followed to the message before.
At the core that sent it: the wait in the injection queue, then the sweep, with its stalls followed to the
packets that filled the queue. The resource with the largest part of the path binds the timestep.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from neurosim.engine import trace_kernels as kernels
from neurosim.engine.loads import Multicast, PacketLoad
from neurosim.engine.mesh import MeshModel
from neurosim.engine.trace import CoreEnds, PacketTrace
from neurosim.errors import AuditError

IntArray = NDArray[np.int64]


class Resource(IntEnum):
    """What a span of a critical path is spent on.

    Sweep: a core's updates, messages and axon-out. Injection: flits of a core leave one by one. Link: a
    packet waits for other packets, for slots or for credits, on its way or at its core's router. Flight: the
    way through an empty network. Ejection: messages reach a core one by one. Tick: all is done, and the next tick
    is waited for. On processors: interrupts that take packets; rows, their set-ups and the work on them; transfers of
    rows, and the wait for the tile's memory. The others say it themselves.
    """

    SWEEP = kernels.SWEEP
    INJECTION = kernels.INJECTION
    LINK = kernels.LINK
    FLIGHT = kernels.FLIGHT
    EJECTION = kernels.EJECTION
    AXON_IN = kernels.AXON_IN
    SYNAPSE_READ = kernels.SYNAPSE_READ
    ACCUMULATE = kernels.ACCUMULATE
    BARRIER = kernels.BARRIER
    TICK = kernels.TICK
    INTERRUPT = kernels.INTERRUPT
    ROW = kernels.ROW
    TRANSFER = kernels.TRANSFER
    MEMORY = kernels.MEMORY

    @property
    def label(self) -> str:
        """Name for people: ``synapse read``."""
        return _LABELS.get(self.name, self.name.lower().replace("_", " "))


_LABELS = {"TRANSFER": "row transfer", "MEMORY": "memory wait", "TICK": "tick wait"}
"""Names that say more than the resource's own."""


RESOURCES = len(Resource)

# Columns of a path.
RESOURCE, CORE, TOWARDS, FROM_PS, TO_PS, PATH = 0, 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Sending:
    """When packets entered their queues (N packets, C cores).

    Attributes
    ----------
    ready_ps
        int64 (N,): the sweep lets go of the packet.
    queued_ps
        int64 (C,): time from then until the tail leaves, added up over a core's packets: their mean number in
        the queue is this over the length of the timestep (Little's law).
    """

    ready_ps: IntArray
    queued_ps: IntArray


def sending(trace: PacketTrace, ends: CoreEnds) -> Sending:
    """Work out when the sweeps let go of their packets.

    Raises
    ------
    AuditError
        A sweep then ends at another time than in the engine.
    """
    ready, queued = np.empty_like(trace.work_ps), np.empty_like(trace.tail_ps)
    core = kernels.send_times(
        trace.core_first, trace.work_ps, trace.left_ps, trace.tail_ps, trace.sweep_end_ps, ends.inject_queue, ready,
        queued,
    )  # fmt: skip
    if core >= 0:
        a, b = int(ready[trace.core_first[core + 1] - 1] + trace.tail_ps[core]), int(trace.sweep_end_ps[core])
        raise AuditError(f"core {core}: its sweep ends at {b} ps, its packets say {a} ps")
    return Sending(ready, queued)


@dataclass(frozen=True)
class Receiving:
    """A core's messages in the order of their arrival (M of them), and their times at its stages.

    Attributes
    ----------
    copy
        int64 (M,): which copies of the trace they are.
    times_ps
        int64 (M, 6): axon-in takes the message and is left by it, its synapse read begins and is left, its
        accumulation begins and ends. A stage is left once there is room in the next.
    """

    copy: IntArray
    times_ps: IntArray


def receiving(trace: PacketTrace, core: int, ends: CoreEnds) -> Receiving:
    """Work out what a core did with its messages.

    Raises
    ------
    AuditError
        Its last message then ends at another time than in the engine.
    """
    copy = np.flatnonzero((trace.destination == core) & (trace.arrived_ps >= 0))
    copy = copy[np.argsort(trace.arrived_ps[copy], kind="stable")]
    times = np.empty((copy.size, kernels.STAGES), dtype=np.int64)
    kernels.receive_times(
        trace.arrived_ps[copy], trace.read_ps[copy], trace.accumulate_ps[copy],
        trace.sweep_end_ps[core] if ends.strict else 0, ends.axon_in_ps, ends.stage_queue, times,
    )  # fmt: skip
    found = int(times[-1, kernels.FINISH]) if copy.size else 0
    if found != trace.finish_ps[core]:
        raise AuditError(
            f"core {core}: its last message is accumulated at {int(trace.finish_ps[core])} ps, "
            f"the times of its messages say {found} ps"
        )
    return Receiving(copy, times)


class Flights:
    """Times from injection to arrival in an empty network.

    A packet of one flit waits for nothing there: the latencies of its way make its time. That of a longer one,
    whose flits share slots and credits, and of a multicast packet is taken from the engine itself.

    Parameters
    ----------
    mesh
        The network.
    tick_ps
        Length of its ticks.
    """

    def __init__(self, mesh: MeshModel, tick_ps: int) -> None:
        self.mesh, self.tick_ps = mesh, tick_ps
        self._known: dict[tuple[int, ...], int] = {}

    def of(self, load: PacketLoad, trace: PacketTrace, copy: int) -> int:
        """Return the time in ps that `copy` takes when its packet is alone."""
        packet = int(trace.packet[copy])
        tree = -1 if load.multicast is None else int(load.multicast.tree[packet])
        key = (int(trace.source[packet]), int(trace.destination[copy]), int(trace.flits[packet]), tree)
        if key not in self._known:
            alone = key[2] == 1 and tree < 0
            self._known[key] = self._way(*key[:2]) if alone else self._time(load, packet, *key)
        return self._known[key]

    def _way(self, source: int, destination: int) -> int:
        mesh = self.mesh
        router, ticks = int(mesh.core_router[source]), mesh.inject_latency
        while router >= 0:
            out = int(mesh.way[destination, router])
            ticks += int(mesh.latency[router, out])
            router = int(mesh.topology.next_router[router, out])
        return ticks * self.tick_ps

    def _time(self, load: PacketLoad, packet: int, source: int, destination: int, flits: int, tree: int) -> int:
        first = np.zeros_like(load.core_first)
        first[source + 1 :] = 1
        nothing, many = np.zeros(1, dtype=np.int64), None
        to = np.array([destination])
        if load.multicast is not None:
            a, b = load.multicast.copy_first[packet : packet + 2]
            to, rest = load.multicast.core[a:b], np.zeros(b - a, dtype=np.int64)
            many = Multicast(load.multicast.trees, np.array([tree]), np.array([0, b - a]), to, rest, rest)
        one = PacketLoad(
            first, np.zeros_like(load.tail_work), to[:1], np.array([flits]), nothing, nothing, nothing, many
        )
        times = self.mesh.time(one)
        return int(times.arrived[to == destination][0] - times.injected[0]) * self.tick_ps


class PathSpans:
    """Spans from the latest to the earliest, each ending where the one before it begins."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []

    def add(self, resource: int, core: int, towards: int, since: int, until: int) -> None:
        if since == until:
            return
        last = self.rows[-1] if self.rows else None
        if last is not None and last[:FROM_PS] == [resource, core, towards]:
            last[FROM_PS] = since
        else:
            self.rows.append([resource, core, towards, since, until])

    def extend(self, core: int, spans: IntArray) -> None:
        for kind, since, until in spans.tolist():
            self.add(kind, core, -1, since, until)

    @property
    def since(self) -> int | None:
        """Begin of the earliest span; None without any."""
        return self.rows[-1][FROM_PS] if self.rows else None

    def array(self) -> IntArray:
        return np.array(self.rows[::-1], dtype=np.int64).reshape(-1, PATH)


def critical_path(
    load: PacketLoad, trace: PacketTrace, sent: Sending, ends: CoreEnds, flights: Flights, end_ps: int,
    barrier_ps: int, rest_ps: int = 0,
) -> IntArray:  # fmt: skip
    """Return the critical path of a timestep.

    Parameters
    ----------
    load, trace, sent
        Its packets, and `sending` of them.
    ends, flights
        The cores' ends and the network.
    end_ps
        When the last of its work was done.
    barrier_ps, rest_ps
        Length of the barrier behind it, and of the wait for the next tick behind that.

    Returns
    -------
    int64 (S, 5): `Resource`; core, or -1 for the barrier; core towards which a packet was on its way, or -1;
    begin and end of the span in ps since the timestep began. Spans stand in the order of time, each begins
    where the one before ends, and together they are as long as the timestep. Of several events at the end the
    sweep comes first, then the lower core.

    Raises
    ------
    AuditError
        The times of the packets are not those of the engine, or do not account for the whole timestep.
    """
    path = PathSpans()
    path.add(Resource.TICK, -1, -1, end_ps + barrier_ps, end_ps + barrier_ps + rest_ps)
    path.add(Resource.BARRIER, -1, -1, end_ps, end_ps + barrier_ps)
    core = int(trace.sweep_end_ps.argmax())
    if trace.sweep_end_ps[core] == end_ps:
        _follow_sweep(path, trace, sent, ends, core)
    elif (copy := _follow_receiver(path, load, trace, ends, flights, int(trace.finish_ps.argmax()))) < 0:
        _follow_sweep(path, trace, sent, ends, int(trace.finish_ps.argmax()))
    else:
        packet = int(trace.packet[copy])
        arrived, injected = int(trace.arrived_ps[copy]), int(trace.injected_ps[packet])
        flown = arrived - min(flights.of(load, trace, copy), arrived - injected)
        source, to = int(trace.source[packet]), int(trace.destination[copy])
        path.add(Resource.FLIGHT, source, to, flown, arrived)
        path.add(Resource.LINK, source, to, injected, flown)
        _follow_sender(path, trace, sent, ends, packet, True)
    spans = path.array()
    check_path(spans, end_ps + barrier_ps + rest_ps)
    return spans


def check_path(path: IntArray, duration_ps: int) -> None:
    """Check that a path accounts for every picosecond of its timestep.

    Raises
    ------
    AuditError
        It has a gap, an overlap or an empty span, or begins or ends elsewhere.
    """
    since, until = path[:, FROM_PS], path[:, TO_PS]
    reached = np.concatenate(([0], until))
    if (since != reached[:-1]).any() or (until <= since).any() or reached[-1] != duration_ps:
        raise AuditError(f"critical path: its spans do not cover the timestep's {duration_ps} ps: {path.tolist()}")


def _follow_sweep(path: PathSpans, trace: PacketTrace, sent: Sending, ends: CoreEnds, core: int) -> None:
    """Follow a core's sweep back from its end."""
    until = int(trace.sweep_end_ps[core])
    path.add(Resource.SWEEP, core, -1, until - int(trace.tail_ps[core]), until)
    last = int(trace.core_first[core + 1]) - 1
    if last >= trace.core_first[core]:
        _follow_sender(path, trace, sent, ends, last, False)


def _follow_sender(
    path: PathSpans, trace: PacketTrace, sent: Sending, ends: CoreEnds, packet: int, injected: bool
) -> None:
    core = int(trace.source[packet])
    first = int(trace.core_first[core])
    spans = np.empty((4 * (packet - first + 1) + 1, kernels.SPAN), dtype=np.int64)
    used = kernels.walk_sender(
        packet, injected, first, trace.work_ps, trace.flits, trace.injected_ps, trace.left_ps, sent.ready_ps,
        ends.inject_queue, ends.inject_interval_ps, spans,
    )  # fmt: skip
    path.extend(core, spans[:used])


def _follow_receiver(
    path: PathSpans, load: PacketLoad, trace: PacketTrace, ends: CoreEnds, flights: Flights, core: int
) -> int:
    """Follow a core's stages back to an arrival, and its ejection port; return the copy that arrived.

    -1 where the core took its first message of these only because its sweep had ended.
    """
    got = receiving(trace, core, ends)
    spans = np.empty((3 * got.copy.size + 1, kernels.SPAN), dtype=np.int64)
    m, used = kernels.walk_receiver(
        got.copy.size - 1, got.times_ps, ends.axon_in_ps, trace.read_ps[got.copy], ends.stage_queue, spans
    )
    path.extend(core, spans[:used])
    arrived = trace.arrived_ps[got.copy]
    if ends.strict and trace.sweep_end_ps[core] > arrived[m]:
        return -1
    apart = trace.flits[trace.packet[got.copy]] * ends.eject_interval_ps[core]
    while m > 0 and arrived[m] - arrived[m - 1] == apart[m]:
        copy = int(got.copy[m])
        if flights.of(load, trace, copy) >= arrived[m] - trace.injected_ps[trace.packet[copy]]:
            break
        path.add(Resource.EJECTION, core, -1, int(arrived[m - 1]), int(arrived[m]))
        m -= 1
    return int(got.copy[m])


def path_totals(path: IntArray) -> IntArray:
    """Return the time on a path by resource in ps, int64 (RESOURCES,)."""
    totals = np.zeros(RESOURCES, dtype=np.int64)
    np.add.at(totals, path[:, RESOURCE], path[:, TO_PS] - path[:, FROM_PS])
    return totals


def binding(path_ps: Iterable[int]) -> Resource | None:
    """Return the resource with the most time, the first of `Resource` among equals; None where there is no time."""
    totals = [int(value) for value in path_ps]
    most = max(totals)
    return Resource(totals.index(most)) if most > 0 else None
