"""The timeline of a run: a trace in Chrome's event format, for Perfetto and chrome://tracing.

The format is that of "Trace Event Format" (Google, 2016): complete events (X), async events (b, e), counters
(C) and names of tracks (M). Times are in microseconds with six decimals, so picoseconds are kept in the file;
Perfetto itself shows whole nanoseconds.

Tracks: process 1 holds timesteps, with the barrier inside, and the critical path; process 2 the utilisation
of every link by timestep; every core has a process with a thread each for its sweep, the head of its
injection queue, axon-in, synapse read and accumulate. A packet on its way is an async event of its sender.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine import PacketTrace, Resource, RunCounts, StepTrace, binding
from neurosim.engine.critical import path_totals, receiving, sending
from neurosim.engine.trace import CoreEnds
from neurosim.engine.trace_kernels import AXON_LEFT, BEGIN, FINISH, READ_LEFT, READ_START, TAKEN
from neurosim.errors import InputError
from neurosim.files import atomic_path
from neurosim.report.places import LinkPlace, link_places, tile_place

IntArray = NDArray[np.int64]
Event = dict[str, Any]

PS_PER_US = 1_000_000

BATCH = 4096
"""Events that are encoded at once."""

COMPRESSION = 4
"""Twice as fast as gzip's usual 6, for a sixth more bytes."""

STEPS, LINKS, FIRST_CORE = 1, 2, 10
"""Process numbers: timesteps, links, and core 0; the other cores follow."""

# Kinds of a packet's events: name, thread of the core, category.
_SWEEP, _STALL, _INJECT, _NETWORK, _AXON_IN, _READ, _ACCUMULATE, _BLOCKED_AXON, _BLOCKED_READ = range(9)
_KINDS = (
    ("sweep", 1, "sender"),
    ("stall", 1, "sender"),
    ("inject", 2, "sender"),
    ("packet", 2, "network"),
    ("axon in", 3, "receiver"),
    ("synapse read", 4, "receiver"),
    ("accumulate", 5, "receiver"),
    ("blocked", 3, "receiver"),
    ("blocked", 4, "receiver"),
)
_THREADS = {1: "sweep", 2: "injection queue, head", 3: "axon in", 4: "synapse read", 5: "accumulate"}

# Columns of a packet's event; INFO is the core at the other end, or -1.
_FROM, _TO, _KIND, _CORE, _PACKET, _INFO = range(6)


@dataclass(frozen=True)
class TimelineReport:
    """What a timeline's file holds.

    Attributes
    ----------
    events
        Number of events, names of tracks not counted.
    capped
        Where it ends and why, in a sentence; empty where it holds everything that was asked for.
    """

    events: int
    capped: str


def write_timeline(counts: RunCounts, path: str | Path) -> TimelineReport:
    """Write the timeline of the timesteps that a run kept traces of, as JSON packed with gzip.

    Timesteps, critical paths and links come first, then the packets, timestep by timestep and in each by
    time, until the number of events that the run's `TraceWindow` allows. Equal runs give equal bytes.

    Parameters
    ----------
    counts
        Of a run with a `TraceWindow`; its cores and events are the timeline's.
    path
        Written whole or not at all; its folder must exist.

    Raises
    ------
    InputError
        The run kept no traces, or the file cannot be written.
    """
    if counts.trace_window is None:
        raise InputError("the run kept no traces; simulate with trace=TraceWindow(...)")
    timeline = _Timeline(counts)
    with (
        atomic_path(path) as part,
        part.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=raw, mtime=0) as packed,
    ):
        timeline.write(packed)
    return TimelineReport(timeline.events, timeline.capped)


def _us(ps: int) -> float:
    """Return picoseconds as microseconds, the float nearest to the exact value."""
    return ps / PS_PER_US


class _Timeline:
    def __init__(self, counts: RunCounts) -> None:
        assert counts.trace_window is not None
        self.counts, self.window = counts, counts.trace_window
        self.program: Program = counts.program
        self.limit = self.window.events
        self.events = 0
        self.capped = ""
        self.used: set[int] = set()
        ends = np.concatenate(([0], np.cumsum(counts.duration_ps)))
        self.start_ps = {trace.timestep: int(ends[trace.timestep - 1]) for trace in counts.traces}
        chosen = np.zeros(self.program.cores, dtype=np.bool_)
        chosen[slice(None) if self.window.cores is None else list(self.window.cores)] = True
        self.chosen = chosen

    def write(self, file: gzip.GzipFile) -> None:
        """Write all; `events` and `capped` hold what came of it afterwards."""
        encode = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
        file.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
        events = self._all()
        while batch := list(islice(events, BATCH)):
            file.write(encode(batch)[1:-1].encode() + b",\n")
        # Names come last, when it is known which cores are shown.
        file.write(encode(list(self._names()))[1:-1].encode())
        file.write(b'\n],\n"otherData":' + encode(self._metadata()).encode() + b"}\n")

    def _all(self) -> Iterator[Event]:
        for events in (self._steps(), self._paths(), self._links()):
            for event in events:
                if self.events == self.limit:
                    self.capped = (
                        f"The timeline holds {self.limit:,} events at most, so it lacks timesteps, paths or links, and "
                        "all packets; allow more events, or choose fewer timesteps"
                    )
                    return
                self.events += 1
                yield event
        for trace in self.counts.traces:
            yield from self._packets(trace)
            if self.capped:
                return

    def _steps(self) -> Iterator[Event]:
        for trace in self.counts.traces:
            start = self.start_ps[trace.timestep]
            bound = binding(path_totals(trace.path))
            args = {"timestep": trace.timestep, "binding": None if bound is None else bound.label}
            yield _span(f"timestep {trace.timestep}", "timestep", start, start + trace.duration_ps, STEPS, 1, args)
            end = start + trace.duration_ps
            if self.counts.barrier_ps:
                yield _span("barrier", "timestep", end - self.counts.barrier_ps, end, STEPS, 1, {})

    def _paths(self) -> Iterator[Event]:
        for trace in self.counts.traces:
            start = self.start_ps[trace.timestep]
            for kind, core, towards, since, until in trace.path.tolist():
                name = Resource(kind).label
                args = {}
                if core >= 0:
                    name, args["core"] = f"{name}, core {core}", core
                if towards >= 0:
                    name, args["to_core"] = f"{name} to {towards}", towards
                yield _span(name, "critical path", start + since, start + until, STEPS, 2, args)

    def _links(self) -> Iterator[Event]:
        """Yield the utilisation of each link between routers that any timestep used, and 0 at the end."""
        traces = self.counts.traces
        flits = np.sum([trace.link_flits for trace in traces], axis=0)
        places = [
            place for place in link_places(self.program) if place.to_core is None and flits[place.router, place.port]
        ]
        for trace in traces:
            for place in places:
                busy_ps = int(trace.link_flits[place.router, place.port]) * place.interval_ps
                yield _counter(place, self.start_ps[trace.timestep], busy_ps / max(trace.duration_ps, 1))
        if traces:
            end = self.start_ps[traces[-1].timestep] + traces[-1].duration_ps
            for place in places:
                yield _counter(place, end, 0.0)

    def _packets(self, trace: StepTrace) -> Iterator[Event]:
        step, start = trace.timestep, self.start_ps[trace.timestep]
        room = self.limit - self.events
        if trace.packets is None or not room:
            self._cap(step, 0, trace.packets is None)
            return
        rows = self._rows(trace.packets, trace.ends, trace.duration_ps)
        # A packet on its way is two events, which stay together.
        weight = np.where(rows[:, _KIND] == _NETWORK, 2, 1)
        fits = int(np.searchsorted(np.cumsum(weight), room, side="right"))
        self.events += int(weight[:fits].sum())
        if fits < len(rows):
            self._cap(step, int(rows[fits, _FROM]))
        for since, until, kind, core, packet, info in rows[:fits].tolist():
            self.used.add(core)
            name, thread, category = _KINDS[kind]
            pid, begin, end = FIRST_CORE + core, start + since, start + until
            if kind == _NETWORK:
                common = {"cat": category, "id": f"{step}.{packet}.{info}", "pid": pid, "tid": thread}
                args = {"packet": packet, "to_core": info}
                yield {"name": f"to core {info}", "ph": "b", "ts": _us(begin), **common, "args": args}
                yield {"name": f"to core {info}", "ph": "e", "ts": _us(end), **common}
                continue
            args = {} if packet < 0 else {"packet": packet}
            if info >= 0:
                args["from_core"] = info
            yield _span(name, category, begin, end, pid, thread, args)

    def _cap(self, timestep: int, at_ps: int, whole: bool = False) -> None:
        self.capped = (
            f"The timeline holds {self.limit:,} events at most; its packets end "
            + (f"before timestep {timestep}" if whole or not at_ps else f"{_us(at_ps):.3f} us into timestep {timestep}")
            + "; allow more events, or choose fewer timesteps or cores"
        )

    def _rows(self, packets: PacketTrace, ends: CoreEnds, duration_ps: int) -> IntArray:
        """Return the events of a timestep's packets by time; see the columns above."""
        parts = [*self._sent(packets, ends), self._flown(packets)]
        for core in np.flatnonzero(self.chosen).tolist():
            parts.extend(self._received(packets, core, ends))
        rows = np.concatenate(parts)
        # The port may be busy with a last flit when all work is done.
        rows[:, _TO] = np.minimum(rows[:, _TO], duration_ps)
        rows = rows[rows[:, _TO] > rows[:, _FROM]]
        return rows[np.lexsort((rows[:, _PACKET], rows[:, _KIND], rows[:, _CORE], rows[:, _FROM]))]

    def _sent(self, packets: PacketTrace, ends: CoreEnds) -> Iterator[IntArray]:
        ready = sending(packets, ends).ready_ps
        core, number = packets.source, np.arange(packets.source.size)
        mine = self.chosen[core]
        first = packets.core_first[core] == number
        made = np.where(first, 0, np.roll(ready, 1)) + packets.work_ps
        stall = np.flatnonzero((ready > made) & mine)
        yield _rows(made[stall], ready[stall], _STALL, core[stall], -1, -1)
        # A core sweeps from 0 to its end but for its stalls: as many spans begin as end.
        cores = np.flatnonzero(self.chosen)
        owner = np.concatenate((cores, core[stall]))
        begins = np.concatenate((np.zeros_like(cores), ready[stall]))
        stops = np.concatenate((packets.sweep_end_ps[cores], made[stall]))
        by_begin, by_stop = np.lexsort((begins, owner)), np.lexsort((stops, owner))
        yield _rows(begins[by_begin], stops[by_stop], _SWEEP, owner[by_begin], -1, -1)
        free = packets.injected_ps + packets.flits * ends.inject_interval_ps
        head = np.maximum(ready, np.where(first, 0, np.roll(free, 1)))
        yield _rows(head, free, _INJECT, core, number, -1)[mine]

    def _flown(self, packets: PacketTrace) -> IntArray:
        source = packets.source[packets.packet]
        mine = (self.chosen[source] | self.chosen[packets.destination]) & (packets.arrived_ps >= 0)
        begin = packets.injected_ps[packets.packet]
        return _rows(begin, packets.arrived_ps, _NETWORK, source, packets.packet, packets.destination)[mine]

    def _received(self, packets: PacketTrace, core: int, ends: CoreEnds) -> Iterator[IntArray]:
        got = receiving(packets, core, ends)
        times, packet = got.times_ps, packets.packet[got.copy]
        source = packets.source[packet]
        axon, read = times[:, TAKEN] + ends.axon_in_ps, times[:, READ_START] + packets.read_ps[got.copy]
        yield _rows(times[:, TAKEN], axon, _AXON_IN, core, packet, source)
        yield _rows(axon, times[:, AXON_LEFT], _BLOCKED_AXON, core, packet, source)
        yield _rows(times[:, READ_START], read, _READ, core, packet, source)
        yield _rows(read, times[:, READ_LEFT], _BLOCKED_READ, core, packet, source)
        yield _rows(times[:, BEGIN], times[:, FINISH], _ACCUMULATE, core, packet, source)

    def _names(self) -> Iterator[Event]:
        yield from _named(STEPS, "timesteps", {1: "timesteps", 2: "critical path"})
        yield from _named(LINKS, "links: utilisation", {})
        per_tile = self.program.chip.mesh.cores_per_tile.value
        for core in sorted(self.used):
            layer = self.program.network.layers[int(self.program.core_layer[core])].name
            x, y = tile_place(self.program, int(self.program.core_tile[core]))
            place = f"x {x}, y {y}, core_{int(self.program.core_slot[core]) % per_tile}"
            yield from _named(FIRST_CORE + core, f"core {core}: {layer} ({place})", _THREADS)

    def _metadata(self) -> Event:
        steps = [trace.timestep for trace in self.counts.traces]
        return {
            "model": self.program.network.name,
            "chip": self.program.chip.name,
            "timesteps": [steps[0], steps[-1]] if steps else [],
            "cores": None if self.window.cores is None else sorted(set(self.window.cores)),
            "events": self.events,
            "capped": self.capped or None,
        }


def _rows(
    since: IntArray, until: IntArray, kind: int, core: IntArray | int, packet: IntArray | int, info: IntArray | int
) -> IntArray:
    rows = np.empty((since.size, 6), dtype=np.int64)
    for column, values in enumerate((since, until, kind, core, packet, info)):
        rows[:, column] = values
    return rows


def _span(name: str, category: str, since: int, until: int, pid: int, tid: int, args: dict[str, Any]) -> Event:
    return {
        "name": name, "cat": category, "ph": "X", "ts": _us(since), "dur": _us(until - since), "pid": pid,
        "tid": tid, "args": args,
    }  # fmt: skip


def _counter(place: LinkPlace, at: int, share: float) -> Event:
    name = f"{place.x},{place.y} {place.output}"
    return {"name": name, "cat": "link", "ph": "C", "ts": _us(at), "pid": LINKS, "args": {"utilisation": share}}


def _named(pid: int, process: str, threads: dict[int, str]) -> Iterable[Event]:
    yield {"name": "process_name", "ph": "M", "pid": pid, "args": {"name": process}}
    yield {"name": "process_sort_index", "ph": "M", "pid": pid, "args": {"sort_index": pid}}
    for tid, name in threads.items():
        yield {"name": "thread_name", "ph": "M", "pid": pid, "tid": tid, "args": {"name": name}}
        yield {"name": "thread_sort_index", "ph": "M", "pid": pid, "tid": tid, "args": {"sort_index": tid}}
