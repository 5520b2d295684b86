"""The timeline's file: valid events, spans that add up to the run's counts, a limit that is kept and told."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurosim
from neurosim.costs import Result
from neurosim.engine import CoreCount, LayerCount, Resource, TraceWindow, binding
from neurosim.engine.critical import sending
from neurosim.errors import InputError
from neurosim.network import Connection, Delta, Dense, Layer, Network, Sigma, SigmaDelta
from neurosim.report import summarise, write_tables, write_timeline

Event = dict[str, Any]

FRAMES = 9
FIRST_CORE = 10
SLOW = {
    "mesh.cores_per_tile": "1",
    "mesh.cores_usable": "32",
    "core.axon_out.queue": "2",
    "core.axon_in.queue": "4",
    "core.axon_in.time": "90 ns",
}
"""A core a tile, so that packets use links, and a slow axon-in, so that queues fill back to the sweep."""

SIZES = {1: CoreCount.SWEEP_PS, 3: CoreCount.AXON_IN_PS, 4: CoreCount.SYNAPSE_READ_PS, 5: CoreCount.ACCUMULATE_PS}


def run(trace: TraceWindow | None = None, threads: int | None = None, **settings: str) -> Result:
    random = np.random.default_rng(3)
    layers = [Layer("in", (50,), Delta(1 << 12)), Layer("mid", (40,), SigmaDelta(1 << 12)), Layer("out", (3,), Sigma())]
    connections = [
        Connection(("in",), "mid", Dense(random.integers(-20, 20, (40, 50)))),
        Connection(("mid",), "out", Dense(random.integers(-20, 20, (3, 40)))),
    ]
    program = neurosim.compile(Network(layers, connections, "small"), "loihi2", overrides=settings)
    return neurosim.simulate(program, random.integers(-60, 60, (FRAMES, 50)), threads=threads, trace=trace)


def events_of(path: Path) -> tuple[list[Event], dict[str, Any]]:
    with gzip.open(path) as file:
        content = json.load(file)
    assert set(content) == {"displayTimeUnit", "traceEvents", "otherData"}
    assert content["displayTimeUnit"] == "ns"
    return content["traceEvents"], content["otherData"]


def ps(us: float) -> int:
    value = round(us * 1_000_000)
    assert value / 1_000_000 == us, "more than six decimals"
    return value


def spans(events: list[Event]) -> dict[tuple[int, int], list[tuple[int, int, str]]]:
    """Complete events by track, as (begin, end, name) in ps and in the order of time."""
    tracks = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = ps(event["ts"])
            tracks[event["pid"], event["tid"]].append((begin, begin + ps(event["dur"]), event["name"]))
    return {track: sorted(found) for track, found in tracks.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, list[Event], dict[str, Any]]:
    """A run in which sweeps stall and queues fill, its timeline's events and metadata."""
    result = run(TraceWindow(), **SLOW)
    path = tmp_path_factory.mktemp("timeline") / "t.json.gz"
    report = write_timeline(result.counts, path)
    events, metadata = events_of(path)
    assert (report.capped, metadata["capped"]) == ("", None)
    assert report.events == metadata["events"] == sum(event["ph"] != "M" for event in events)
    return result, events, metadata


def test_events_are_those_of_the_format(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    """Keys and types that "Trace Event Format" asks for, phase by phase."""
    _, events, _ = whole
    assert set(Counter(event["ph"] for event in events)) == {"X", "b", "e", "C", "M"}
    for event in events:
        assert isinstance(event["name"], str)
        assert isinstance(event["pid"], int)
        if event["ph"] != "M":
            assert event["ts"] >= 0.0
        if event["ph"] == "X":
            assert event["dur"] > 0.0
            assert isinstance(event["tid"], int)
        if event["ph"] == "C":
            assert list(event["args"]) == ["utilisation"]
            assert 0.0 <= event["args"]["utilisation"] <= 1.0
        if event["ph"] == "M":
            kind = event["name"].split("_")[1] if "sort" not in event["name"] else "sort_index"
            assert set(event["args"]) == {"name" if kind == "name" else "sort_index"}
    ways: dict[Any, list[Event]] = defaultdict(list)
    for event in events:
        if event["ph"] in "be":
            ways[event["cat"], event["id"]].append(event)
    for pair in ways.values():
        begin, end = pair
        assert (begin["ph"], end["ph"], begin["name"]) == ("b", "e", end["name"])
        assert begin["ts"] < end["ts"]


def test_tracks_have_names(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    _, events, _ = whole
    named = {(e["pid"], e.get("tid")) for e in events if e["name"] in ("process_name", "thread_name")}
    assert {track for track in spans(events) if track[0] >= FIRST_CORE} <= named
    assert {(pid, None) for pid, _ in spans(events)} <= named


def test_spans_of_a_track_follow_each_other(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    """No overlap on any track but that of timesteps, where each barrier lies in its timestep."""
    result, events, _ = whole
    tracks = spans(events)
    steps = [span for span in tracks.pop((1, 1)) if span[2] != "barrier"]
    ends = np.cumsum(result.counts.duration_ps).tolist()
    assert [(a, b) for a, b, _ in steps] == list(zip([0, *ends], ends, strict=False))
    barriers = [span[:2] for span in spans(events)[1, 1] if span[2] == "barrier"]
    assert barriers == [(end - result.counts.barrier_ps, end) for end in ends]
    for track in tracks.values():
        assert all(before[1] <= after[0] for before, after in pairwise(track))
        for begin, end, _ in track:
            step = int(np.searchsorted(ends, begin, side="right"))
            assert end <= ends[step], "a span leaves its timestep"


def test_spans_add_up_to_the_counts(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    result, events, _ = whole
    counts, tracks = result.counts, spans(events)
    assert counts.core_counts[:, CoreCount.STALL_PS].sum() > 0
    for core in range(result.program.cores):
        for thread, count in SIZES.items():
            track = tracks.get((FIRST_CORE + core, thread), [])
            busy = sum(end - begin for begin, end, name in track if name not in ("stall", "blocked"))
            assert busy == counts.core_counts[core, count], (core, count)
        stalled = sum(b - a for a, b, name in tracks.get((FIRST_CORE + core, 1), []) if name == "stall")
        assert stalled == counts.core_counts[core, CoreCount.STALL_PS]
    packets = int(counts.layer_counts[:, :, LayerCount.PACKETS].sum())
    assert sum(event["ph"] == "b" for event in events) == packets
    assert sum(event["name"] == "inject" for event in events) == packets


def test_critical_paths_are_as_long_as_their_timesteps(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    result, events, _ = whole
    path = spans(events)[1, 2]
    assert path[0][0] == 0
    assert all(before[1] == after[0] for before, after in pairwise(path))
    assert path[-1][1] == result.counts.duration_ps.sum()
    assert np.array_equal(result.counts.path_ps.sum(axis=1), result.counts.duration_ps)
    sums = Counter[str]()
    for begin, end, name in path:
        sums[name.split(",")[0]] += end - begin
    assert sums == {r.label: int(t) for r, t in zip(Resource, result.counts.path_ps.sum(axis=0), strict=True) if t}


def test_links_carry_the_flits_of_their_timesteps(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    result, events, _ = whole
    interval_ps = result.chip.network.link_interval.value
    starts = np.concatenate(([0], np.cumsum(result.counts.duration_ps))).tolist()
    flits: Counter[str] = Counter()
    for event in events:
        if event["ph"] == "C":
            step = starts.index(ps(event["ts"]))
            if step == FRAMES + 3:
                assert event["args"]["utilisation"] == 0.0
                continue
            busy_ps = event["args"]["utilisation"] * int(result.counts.duration_ps[step])
            assert busy_ps / interval_ps == pytest.approx(round(busy_ps / interval_ps), abs=1e-6)
            flits[event["name"]] += round(busy_ps / interval_ps)
    assert sum(flits.values()) == result.counts.link_flits[:, :4].sum()


def test_report_names_what_binds(whole: tuple[Result, list[Event], dict[str, Any]], tmp_path: Path) -> None:
    result, events, _ = whole
    summary = summarise(result)
    section = summary["per_timestep"]
    bound = [e["args"]["binding"] for e in events if e["name"].startswith("timestep ")]
    assert section["binding"] == bound
    paths = section["critical_path_ps"]
    for step, name in enumerate(bound):
        found = binding(paths[resource.label][step] for resource in Resource)
        assert found is not None
        assert name == found.label
        assert paths[name][step] == max(path[step] for path in paths.values())
    write_tables(result, summary, tmp_path / "tables")
    tables = {}
    for name in ("timesteps", "cores", "routers", "links"):
        with (tmp_path / "tables" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
            tables[name] = list(csv.DictReader(file))
    assert [row["binding"] for row in tables["timesteps"]] == bound
    total_ps = int(result.counts.duration_ps.sum())
    for row in tables["cores"]:
        assert float(row["input_queue_mean"]) * total_ps == pytest.approx(int(row["input_wait_ps"]), rel=1e-12)
        assert float(row["injection_queue_mean"]) * total_ps == pytest.approx(int(row["injection_queue_ps"]), rel=1e-12)
    for row in tables["routers"]:
        links = [link for link in tables["links"] if (link["x"], link["y"]) == (row["x"], row["y"])]
        assert int(row["outputs"]) == len(links)
        assert int(row["flits"]) == sum(int(link["flits"]) for link in links)
        busy = [float(link["utilisation"]) for link in links]
        assert float(row["utilisation_max"]) == max(busy)
        assert float(row["utilisation_mean"]) == pytest.approx(sum(busy) / len(busy), rel=1e-12)


def test_mean_queue_is_the_integral_of_its_length(whole: tuple[Result, list[Event], dict[str, Any]]) -> None:
    """Little's law, with the length of the queue followed event by event."""
    result, _, _ = whole
    areas = np.zeros(result.program.cores, dtype=np.int64)
    for trace in result.counts.traces:
        packets = trace.packets
        assert packets is not None
        ready = sending(packets, trace.ends).ready_ps
        for core in range(packets.cores):
            mine = slice(packets.core_first[core], packets.core_first[core + 1])
            changes = sorted([(int(t), 1) for t in ready[mine]] + [(int(t), -1) for t in packets.left_ps[mine]])
            length, before = 0, 0
            for at, change in changes:
                areas[core] += length * (at - before)
                length, before = length + change, at
            assert length == 0
    assert areas.sum() > 0
    assert areas.tolist() == result.counts.core_counts[:, CoreCount.INJECTION_QUEUE_PS].tolist()


def test_bytes_are_the_same_every_time_and_hold_no_date(tmp_path: Path) -> None:
    for name, threads in (("a", 1), ("b", 4)):
        write_timeline(run(TraceWindow(), threads).counts, tmp_path / name)
    content = (tmp_path / "a").read_bytes()
    assert content == (tmp_path / "b").read_bytes()
    # RFC 1952: magic, method, no flags (so no name), and no time.
    assert content[:8] == b"\x1f\x8b\x08\x00" + bytes(4)


def test_window_and_cores(tmp_path: Path) -> None:
    counts = run(TraceWindow(3, 5, (1,))).counts
    assert [trace.timestep for trace in counts.traces] == [3, 4, 5]
    write_timeline(counts, tmp_path / "t")
    events, metadata = events_of(tmp_path / "t")
    assert (metadata["timesteps"], metadata["cores"]) == ([3, 5], [1])
    starts = np.concatenate(([0], np.cumsum(counts.duration_ps)))
    times = [ps(event["ts"]) for event in events if event["ph"] != "M"]
    assert starts[2] <= min(times)
    assert max(times) <= starts[5]
    worked = {event["pid"] - FIRST_CORE for event in events if event["ph"] == "X" and event["pid"] >= FIRST_CORE}
    assert worked == {1}
    ways = [event for event in events if event["ph"] == "b"]
    assert ways
    assert all(1 in (event["pid"] - FIRST_CORE, event["args"]["to_core"]) for event in ways)


@pytest.mark.parametrize("limit", [1, 40, 137, 138, 139, 400])
def test_limit_is_kept_and_told(limit: int, tmp_path: Path) -> None:
    counts = run(TraceWindow(events=limit)).counts
    report = write_timeline(counts, tmp_path / "t")
    events, metadata = events_of(tmp_path / "t")
    shown = [event for event in events if event["ph"] != "M"]
    # A packet on its way is two events: one place may stay empty.
    assert limit - 1 <= len(shown) == report.events <= limit
    assert f"{limit:,} events" in report.capped
    assert metadata["capped"] == report.capped
    assert sum(event["ph"] == "b" for event in shown) == sum(event["ph"] == "e" for event in shown)
    if limit == 400:
        assert "us into timestep" in report.capped
        assert sum(event["name"].startswith("timestep ") for event in shown) == FRAMES + 3
        kept = [trace.timestep for trace in counts.traces if trace.packets is not None]
        assert kept == list(range(1, len(kept) + 1))
        assert len(kept) < FRAMES + 3, "all packets are held in memory, whatever the limit"


def test_run_without_traces_has_no_timeline(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="kept no traces"):
        write_timeline(run().counts, tmp_path / "t")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (TraceWindow(first=0), "timesteps 0 to 12 are asked for; the run has timesteps 1 to 12"),
        (TraceWindow(last=13), "timesteps 1 to 13 are asked for; the run has timesteps 1 to 12"),
        (TraceWindow(5, 4), "5 to 4 are none"),
        (TraceWindow(cores=(0, 99)), "cores 99: the program uses cores 0 to 2"),
        (TraceWindow(cores=()), "no cores"),
        (TraceWindow(events=0), "0 events"),
        (TraceWindow(first=20, cores=(-1,)), "cores -1"),
    ],
)
def test_window_outside_the_run_is_refused(window: TraceWindow, words: str) -> None:
    with pytest.raises(InputError, match=words):
        run(window)
