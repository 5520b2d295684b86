"""The timeline of a run: a trace in Chrome's event format, for Perfetto and chrome://tracing.

The format is that of "Trace Event Format" (Google, 2016): complete events (X), async events (b, e), counters
(C) and names of tracks (M). Times are in microseconds with six decimals, so picoseconds are kept in the file;
Perfetto itself shows whole nanoseconds.

Tracks: process 1 holds timesteps (frames, on a chip without timesteps), with the barrier inside, and the critical
path; process 2 the utilisation of every link by timestep; every core has a process with a thread each for its sweep,
the head of its injection queue, and the stages of `timeline_rows`. A packet on its way is an async event of its
sender. Messages that are dropped or lost are instant events (i).
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from neurosim.compiler import Program
from neurosim.engine import LayerCount, Resource, RunCounts, StepTrace, binding
from neurosim.engine.critical import TO_PS, path_totals
from neurosim.errors import InputError
from neurosim.files import atomic_path
from neurosim.report.places import LinkPlace, link_places, tile_place
from neurosim.report.timeline_rows import FROM, KIND, KINDS, PacketRows

Event = dict[str, Any]

PS_PER_US = 1_000_000

BATCH = 4096
"""Events that are encoded at once."""

COMPRESSION = 4
"""Twice as fast as gzip's usual 6, for a sixth more bytes."""

STEPS, LINKS, FIRST_CORE = 1, 2, 10
"""Process numbers: timesteps, links, and core 0; the other cores follow."""

PATHS = 2
"""First thread of critical paths in the process of timesteps."""


_EVENTS = np.array([2 if kind.phase == "b" else 1 for kind in KINDS])
"""Events of a row of each kind."""


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
    """Write the timeline of the timesteps that a run kept traces of, as JSON; packed with gzip unless named ``.json``.

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
    with atomic_path(path) as part, part.open("wb") as raw:
        if Path(path).suffix.lower() == ".json":
            timeline.write(raw)
        else:
            with gzip.GzipFile(filename="", mode="wb", compresslevel=COMPRESSION, fileobj=raw, mtime=0) as packed:
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
        self.step = self.program.step_name
        self.limit = self.window.events
        self.events = 0
        self.capped = ""
        self.used: set[int] = set()
        ends = np.concatenate(([0], np.cumsum(counts.duration_ps)))
        self.start_ps = {trace.timestep: int(ends[trace.timestep - 1]) for trace in counts.traces}
        chosen = np.zeros(self.program.cores, dtype=np.bool_)
        chosen[slice(None) if self.window.cores is None else list(self.window.cores)] = True
        self.rows = PacketRows(self.program, chosen)
        self.path_ends: list[int] = []

    def write(self, file: IO[bytes] | gzip.GzipFile) -> None:
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
                        f"The timeline holds {self.limit:,} events at most, so it lacks {self.step}s, paths or links, "
                        f"and all packets; allow more events, or choose fewer {self.step}s"
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
            args = {self.step: trace.timestep, "binding": None if bound is None else bound.label}
            yield _span(f"{self.step} {trace.timestep}", self.step, start, start + trace.duration_ps, STEPS, 1, args)
            end = start + trace.duration_ps
            if self.counts.barrier_ps:
                yield _span("barrier", self.step, end - self.counts.barrier_ps, end, STEPS, 1, {})

    def _paths(self) -> Iterator[Event]:
        for trace in self.counts.traces:
            start = self.start_ps[trace.timestep]
            lane = self._lane(start, start + int(trace.path[:, TO_PS].max(initial=0)))
            for kind, core, towards, since, until in trace.path.tolist():
                name = Resource(kind).label
                args = {}
                if core >= 0:
                    name, args["core"] = f"{name}, core {core}", core
                if towards >= 0:
                    name, args["to_core"] = f"{name} to {towards}", towards
                yield _span(name, "critical path", start + since, start + until, STEPS, lane, args)

    def _lane(self, since: int, until: int) -> int:
        """Return the first thread on which nothing is left: a path of late work goes on into the next timesteps."""
        for place, end in enumerate(self.path_ends):
            if end <= since:
                self.path_ends[place] = until
                return PATHS + place
        self.path_ends.append(until)
        return PATHS + len(self.path_ends) - 1

    def _links(self) -> Iterator[Event]:
        """Yield the utilisation of each link between routers that any timestep used, and 0 at the end."""
        traces = self.counts.traces
        flits = np.sum([trace.link_flits for trace in traces], axis=0)
        places = [
            place for place in link_places(self.program) if place.to_core is None and flits[place.router, place.port]
        ]
        for trace, duration_ps in self._timed_together():
            for place in places:
                busy_ps = int(trace.link_flits[place.router, place.port]) * place.interval_ps
                yield _counter(place, self.start_ps[trace.timestep], busy_ps / max(duration_ps, 1))
        if traces:
            end = self.start_ps[traces[-1].timestep] + traces[-1].duration_ps
            for place in places:
                yield _counter(place, end, 0.0)

    def _timed_together(self) -> Iterator[tuple[StepTrace, int]]:
        """Yield timesteps with the time in which their links carried what is booked to them.

        What timesteps that are timed together send stands with the first: those after it have packets, and no flits.
        """
        packets = self.counts.layer_counts[:, :, LayerCount.PACKETS].sum(axis=1)
        waiting: list[StepTrace] = []
        together = 1
        for trace in self.counts.traces:
            if waiting and trace.link_flits.any():
                yield from _stretches(waiting, together)
                waiting, together = [], 1
            waiting.append(trace)
            if packets[trace.timestep - 1] and not trace.link_flits.any():
                together = len(waiting)
        yield from _stretches(waiting, together)

    def _packets(self, trace: StepTrace) -> Iterator[Event]:
        step, start = trace.timestep, self.start_ps[trace.timestep]
        room = self.limit - self.events
        if trace.packets is None or not room:
            self._cap(step, 0, trace.packets is None)
            return
        rows = self.rows.of(trace)
        # A packet on its way is two events, which stay together.
        weight = _EVENTS[rows[:, KIND]]
        fits = int(np.searchsorted(np.cumsum(weight), room, side="right"))
        self.events += int(weight[:fits].sum())
        if fits < len(rows):
            self._cap(step, int(rows[fits, FROM]))
        for since, until, kind, core, packet, info in rows[:fits].tolist():
            self.used.add(core)
            this = KINDS[kind]
            pid, begin, end = FIRST_CORE + core, start + since, start + until
            if this.phase == "b":
                common = {"cat": this.category, "id": f"{step}.{packet}.{info}", "pid": pid, "tid": this.thread}
                args = {"packet": packet, "to_core": info}
                yield {"name": f"to core {info}", "ph": "b", "ts": _us(begin), **common, "args": args}
                yield {"name": f"to core {info}", "ph": "e", "ts": _us(end), **common}
                continue
            args = {} if packet < 0 else {"packet": packet}
            if info >= 0:
                args["to_core" if this.category == "network" else "from_core"] = info
            if this.phase == "i":
                common = {"cat": this.category, "pid": pid, "tid": this.thread, "args": args}
                yield {"name": this.name, "ph": "i", "ts": _us(begin), "s": "t", **common}
                continue
            yield _span(this.name, this.category, begin, end, pid, this.thread, args)

    def _cap(self, timestep: int, at_ps: int, whole: bool = False) -> None:
        self.capped = (
            f"The timeline holds {self.limit:,} events at most; its packets end "
            + (
                f"before {self.step} {timestep}"
                if whole or not at_ps
                else f"{_us(at_ps):.3f} us into {self.step} {timestep}"
            )
            + f"; allow more events, or choose fewer {self.step}s or cores"
        )

    def _names(self) -> Iterator[Event]:
        lanes = range(PATHS, PATHS + max(len(self.path_ends), 1))
        paths = {lane: "critical path" if lane == PATHS else "critical path of late work" for lane in lanes}
        yield from _named(STEPS, f"{self.step}s", {1: f"{self.step}s"} | paths)
        yield from _named(LINKS, "links: utilisation", {})
        per_tile = self.program.chip.mesh.cores_per_tile.value
        for core in sorted(self.used):
            layer = self.program.network.layers[int(self.program.core_layer[core])].name
            x, y = tile_place(self.program, int(self.program.core_tile[core]))
            place = f"x {x}, y {y}, core_{int(self.program.core_slot[core]) % per_tile}"
            yield from _named(FIRST_CORE + core, f"core {core}: {layer} ({place})", self.rows.threads)

    def _metadata(self) -> Event:
        steps = [trace.timestep for trace in self.counts.traces]
        return {
            "model": self.program.network.name,
            "chip": self.program.chip.name,
            f"{self.step}s": [steps[0], steps[-1]] if steps else [],
            "cores": None if self.window.cores is None else sorted(set(self.window.cores)),
            "events": self.events,
            "capped": self.capped or None,
        }


def _stretches(traces: list[StepTrace], together: int) -> Iterator[tuple[StepTrace, int]]:
    """Yield the first of `together` timesteps with the length of all of them, and the others one by one."""
    if traces:
        yield traces[0], sum(trace.duration_ps for trace in traces[:together])
    for trace in traces[together:]:
        yield trace, trace.duration_ps


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
