"""The timeline of a run without timesteps: spans add up to its counts, and times that do not fit are found."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurosim
from hwmodels import Chip, load_chip
from neurosim.costs import Result
from neurosim.engine import CoreCount, LayerCount, PacketTrace, Resource, TraceWindow
from neurosim.engine.flow_spans import audit_work, flow_spans
from neurosim.errors import AuditError, InputError
from neurosim.network import Connection, CubaLif, Delta, Dense, Layer, Network, Sigma, SigmaDelta
from neurosim.report import write_timeline

Event = dict[str, Any]
Drawn = tuple[Result, list[Event], dict[str, Any]]

FRAMES = 4
FIRST_CORE = 10
SIZES = {1: CoreCount.SWEEP_PS, 3: CoreCount.AXON_IN_PS, 4: CoreCount.SYNAPSE_READ_PS, 5: CoreCount.ACCUMULATE_PS}


def events_of(path: Path) -> tuple[list[Event], dict[str, Any]]:
    with gzip.open(path) as file:
        content = json.load(file)
    return content["traceEvents"], content["otherData"]


def spans(events: list[Event]) -> dict[tuple[int, int], list[tuple[int, int, str]]]:
    """Complete events by track, as (begin, end, name) in ps and in the order of time."""
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = round(event["ts"] * 1e6)
            tracks[event["pid"], event["tid"]].append((begin, begin + round(event["dur"] * 1e6), event["name"]))
    return {track: sorted(found) for track, found in tracks.items()}


def chip() -> Chip:
    """Loihi 2 without timesteps: a core a tile, small cores and short queues, so that cores stall."""
    plain = load_chip("loihi2").to_dict()
    plain["sync"] = {"kind": "none"}

    def number(value: int) -> dict[str, Any]:
        return {"value": value, "kind": "estimate", "source": "this test", "note": "chosen here"}

    plain["mesh"]["cores_per_tile"] = number(1)
    plain["mesh"].pop("cores_usable", None)
    plain["core"]["neurons_usable"] = number(8)
    plain["core"]["axon_out"]["queue"] = plain["core"]["axon_in"]["queue"] = number(2)
    return Chip.from_dict(plain)


def run(trace: TraceWindow | None = None) -> Result:
    random = np.random.default_rng(3)
    layers = [Layer("in", (20,), Delta(1 << 6, 6)), Layer("mid", (16,), SigmaDelta(1 << 8, bias_shift=0))]
    layers += [Layer("spikes", (6,), CubaLif(4096, 0, 300, activation_shift=0)), Layer("out", (3,), Sigma())]
    connections = [
        Connection((a.name,), b.name, Dense(random.integers(-20, 40, (b.size, a.size))))
        for a, b in pairwise(layers)
    ]  # fmt: skip
    program = neurosim.compile(Network(layers, connections, "small"), chip())
    return neurosim.simulate(program, random.integers(-60, 60, (FRAMES, 20)), trace=trace)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A run in which cores stall, its timeline's events and metadata."""
    result = run(TraceWindow())
    path = tmp_path_factory.mktemp("timeline") / "t.json.gz"
    report = write_timeline(result.counts, path)
    events, metadata = events_of(path)
    assert (report.capped, metadata["capped"]) == ("", None)
    return result, events, metadata


def test_spans_add_up_to_the_counts(whole: Drawn) -> None:
    result, events, _ = whole
    counts, tracks = result.counts, spans(events)
    assert counts.core_counts[:, CoreCount.STALL_PS].sum() > 0
    for core in range(result.program.cores):
        for thread, count in SIZES.items():
            track = tracks.get((FIRST_CORE + core, thread), [])
            assert sum(b - a for a, b, name in track if name != "stall") == counts.core_counts[core, count]
        stalled = sum(b - a for a, b, name in tracks.get((FIRST_CORE + core, 1), []) if name == "stall")
        assert stalled == counts.core_counts[core, CoreCount.STALL_PS]
    packets = int(counts.layer_counts[:, :, LayerCount.PACKETS].sum())
    shown = Counter(event["name"] for event in events)
    assert packets == shown["inject"] == shown["axon in"] == sum(event["ph"] == "b" for event in events)


def test_a_core_is_at_one_thing_at_a_time(whole: Drawn) -> None:
    """All threads of a core together, but for that of its queue; and nothing leaves its frame."""
    result, events, _ = whole
    together = defaultdict(list)
    for (process, thread), track in spans(events).items():
        if process >= FIRST_CORE and thread != 2:
            together[process] += track
    ends = np.cumsum(result.counts.duration_ps).tolist()
    assert len(together) == result.program.cores
    for track in together.values():
        track.sort()
        assert all(before[1] <= after[0] for before, after in pairwise(track))
        assert all(b <= ends[int(np.searchsorted(ends, a, side="right"))] for a, b, _ in track)
    for (process, thread), track in spans(events).items():
        assert thread != 2 or process < FIRST_CORE or all(a[1] <= b[0] for a, b in pairwise(track))


def test_updates_follow_the_message_that_they_are_named_after(whole: Drawn) -> None:
    """Each begins where its accumulation ends, or where a stall of its message does."""
    _, events, _ = whole
    by_message: dict[Any, list[Event]] = defaultdict(list)
    frames = sorted(e["ts"] for e in events if e["name"].startswith("frame "))
    for event in events:
        if event["ph"] == "X" and event["pid"] >= FIRST_CORE and event["tid"] != 2 and "packet" in event["args"]:
            frame = int(np.searchsorted(frames, event["ts"], side="right"))
            by_message[frame, event["args"]["packet"]].append(event)
    assert any(event["name"] == "stall" for found in by_message.values() for event in found)
    for found in by_message.values():
        found.sort(key=lambda event: event["ts"])
        assert len({(event["pid"], event["args"]["from_core"]) for event in found}) == 1
        assert all(a["ts"] + a["dur"] == pytest.approx(b["ts"], abs=1e-9) for a, b in pairwise(found))


def test_frames_and_their_critical_paths(whole: Drawn) -> None:
    result, events, metadata = whole
    assert metadata["frames"] == [1, FRAMES]
    frames = list(spans(events)[1, 1])
    ends = np.cumsum(result.counts.duration_ps).tolist()
    assert frames == [(a, b, f"frame {k}") for k, (a, b) in enumerate(pairwise([0, *ends]), 1)]
    path = spans(events)[1, 2]
    assert path[0][0] == 0
    assert path[-1][1] == ends[-1]
    assert all(before[1] == after[0] for before, after in pairwise(path))
    sums = Counter[str]()
    for begin, end, name in path:
        sums[name.split(",")[0]] += end - begin
    assert sums == {r.label: int(t) for r, t in zip(Resource, result.counts.path_ps.sum(axis=0), strict=True) if t}
    assert not any("timestep" in str(event) for event in events)


def test_window_cores_and_limit(whole: Drawn, tmp_path: Path) -> None:
    counts = run(TraceWindow(2, 3, (1,))).counts
    write_timeline(counts, tmp_path / "t")
    events, metadata = events_of(tmp_path / "t")
    assert (metadata["frames"], metadata["cores"]) == ([2, 3], [1])
    assert {e["pid"] - FIRST_CORE for e in events if e["ph"] == "X" and e["pid"] >= FIRST_CORE} == {1}
    for less, words in ((50, r"us into frame 4; .* choose fewer frames"), (10**9, "lacks frames, paths or links")):
        limit = max(whole[2]["events"] - less, 40)
        report = write_timeline(run(TraceWindow(events=limit)).counts, tmp_path / "t")
        assert report.events <= limit
        assert re.search(words, report.capped)
    with pytest.raises(InputError, match="frames 1 to 5 are asked for; the run has frames 1 to 4"):
        run(TraceWindow(last=5))


def changed(trace: PacketTrace, name: str, packet: int) -> PacketTrace:
    """A trace in which one time of one packet is a picosecond later."""
    stages = trace.dataflow
    assert stages is not None
    mine = hasattr(stages, name)
    values = getattr(stages if mine else trace, name).copy()
    values[packet] += 1
    return replace(trace, dataflow=replace(stages, **{name: values})) if mine else replace(trace, **{name: values})


TIMES = ("ready_ps", "taken_ps", "done_ps", "work_ps", "arrived_ps", "sweep_end_ps", "finish_ps")


@pytest.mark.parametrize("name", TIMES)
def test_a_time_that_is_off_by_a_picosecond_is_found(whole: Drawn, name: str) -> None:
    """Everywhere, but for arrivals of messages that waited for their core."""
    result, _, _ = whole
    step = result.counts.traces[0]
    trace = step.packets
    assert trace is not None
    stages = trace.dataflow
    assert stages is not None
    good = flow_spans(trace, step.ends)
    size = trace.cores if name in ("sweep_end_ps", "finish_ps") else trace.source.size
    counts = np.zeros((trace.cores, len(CoreCount)), dtype=np.int64)
    np.add.at(counts[:, CoreCount.STALL_PS], trace.source, stages.ready_ps - good.made_ps)
    np.add.at(counts[:, CoreCount.SWEEP_PS], good.core, good.end_ps - good.begin_ps)
    counts[:, CoreCount.SWEEP_PS] -= counts[:, CoreCount.STALL_PS]
    audit_work(good, trace, counts)
    found = 0
    for k in range(size):
        try:
            audit_work(flow_spans(changed(trace, name, k), step.ends), trace, counts)
        except AuditError:
            found += 1
    needless = {"arrived_ps": int((stages.taken_ps > trace.arrived_ps).sum())}
    assert found >= size - needless.get(name, 0)
    assert found > 0
