"""What reports say of processor cores: losses, drops, late work and stretched ticks, by hand on systems of two cores.

All neurons of `in` are relays that spike where a frame holds 1. Their core begins with 1 us of timer's work and takes
100 ns for each packet. Messages need 10 ns into the router and 10 ns out of it.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from spinnaker_like import NUMBER, spinnaker_like

import neurosim
from hwmodels import Chip
from neurosim.costs import Result
from neurosim.engine import CoreCount, Resource, TraceWindow
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.report import print_report, summarise, write_tables, write_timeline
from neurosim.report.program_table import print_program
from neurosim.report.terminal import Summary

Event = dict[str, Any]

NS = 1_000
US = 1_000_000
FIRST_CORE = 10
QUIET = {"late_ps", "late_sweeps", "late_messages", "dropped", "lost", "detours", "reinjected"}


def pair(size: int, out: int, threshold: int = 1 << 20) -> Network:
    """`size` relays, each to all of `out` neurons, which never fire."""
    layers = [Layer("in", (size,), Relay(spikes=True)), Layer("out", (out,), CubaLif(4096, 4096, threshold))]
    return Network(layers, [Connection(("in",), "out", Dense(np.ones((out, size), dtype=np.int32)))], "pair")


def one_tile(cores: int = 2, **changes: Any) -> Chip:
    """A single router with its cores."""
    plain = {"chips": None, "network__blocked": None}
    return spinnaker_like(cores=cores, **(plain | changes))


def run(network: Network, chip: Chip, frames: Any, steps: int, **options: Any) -> Result:
    program = neurosim.compile(network, chip)
    return neurosim.simulate(program, np.array(frames), steps, trace=TraceWindow(), threads=1, **options)


def said(summary: Summary, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_report(summary, console)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, text.splitlines())) <= width
    return " ".join(text.split())


def tables(result: Result, folder: Path) -> dict[str, list[dict[str, str]]]:
    write_tables(result, summarise(result), folder)
    out = {}
    for path in folder.iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            out[path.stem] = list(csv.DictReader(file))
    return out


def timeline(result: Result, path: Path) -> list[Event]:
    assert write_timeline(result.counts, path).capped == ""
    with gzip.open(path) as file:
        events: list[Event] = json.load(file)["traceEvents"]
    return events


def tracks(events: list[Event]) -> dict[tuple[int, int], list[tuple[int, int, str]]]:
    """Complete events by process and thread, as (begin, end, name) in ps and in the order of time."""
    found = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin = round(event["ts"] * US)
            assert event["dur"] > 0
            found[event["pid"], event["tid"]].append((begin, begin + round(event["dur"] * US), event["name"]))
    return {track: sorted(spans) for track, spans in found.items()}


@pytest.fixture(scope="module")
def lossy() -> Result:
    """Three messages for a core whose buffer holds one.

    They arrive at 1.12, 1.22 and 1.32 us; their interrupts take the CPU from 1.12 to 2.02 us without a gap. The first
    is in the buffer at 1.42 us and leaves it when its set-up ends, which needs the CPU from 2.02 to 2.52 us: the second
    and third find no room, at 1.72 and 2.02 us.
    """
    return run(pair(3, 1), one_tile(core__processor__buffer=1), [[1, 1, 1], [0, 0, 0]], 2)


def test_lost_messages_are_told(lossy: Result, tmp_path: Path) -> None:
    summary = summarise(lossy)
    assert summary["incidents"] == {
        "messages_due": 3, "late_timesteps": 0, "late_most_ps": 0, "late_sweeps": 0, "late_messages": 0, "dropped": 0,
        "lost": 2, "detours": 0, "reinjected": 0, "stretched_timesteps": 0,
    }  # fmt: skip
    assert summary["per_timestep"]["lost"] == [2, 0]
    (warning,) = summary["warnings"]
    assert warning.startswith("2 of 3 messages (66.7 %) were lost for want of room in a core's buffer: the values")
    assert summary["notes"][0] == warning
    text = said(summary)
    assert text.count(warning) == 2
    assert "if ticks were in time" not in text
    found = tables(lossy, tmp_path / "t")
    assert [row["lost"] for row in found["timesteps"]] == ["2", "0"]
    assert [row["lost"] for row in found["cores"]] == ["0", "2"]
    assert sum(int(row["dropped_flits"]) for row in found["links"]) == 0


def test_busy_times_of_a_processor_are_told(lossy: Result, tmp_path: Path) -> None:
    """The first message waits for nothing, the second for 0.2 us, the third for 0.4 us."""
    sender, receiver = tables(lossy, tmp_path / "t")["cores"]
    assert (sender["sweep_ps"], sender["set_up_ps"], sender["axon_in_ps"]) == (str(2300 * NS), "0", "0")
    assert receiver["packets_in"] == "3"
    assert int(receiver["sweep_ps"]) == 2 * (1000 + 320) * NS
    assert int(receiver["axon_in_ps"]) == 3 * 300 * NS
    assert int(receiver["set_up_ps"]) == 500 * NS
    assert (int(receiver["memory_wait_ps"]), int(receiver["input_wait_ps"])) == (0, 600 * NS)
    assert float(receiver["input_queue_mean"]) == pytest.approx(600e-9 / 2e-3, rel=1e-12)


def test_timeline_of_lost_messages(lossy: Result, tmp_path: Path) -> None:
    """A row of 96 + 16 + 16 bits is 4 words of 4 ns, there 100 ns later; the work on it takes 0.6 us + 50 ns."""
    events = timeline(lossy, tmp_path / "t")
    moments = [event for event in events if event["ph"] == "i"]
    assert [(e["name"], e["ts"], e["s"], e["pid"], e["tid"]) for e in moments] == [
        ("message lost", 1.72, "t", FIRST_CORE + 1, 3),
        ("message lost", 2.02, "t", FIRST_CORE + 1, 3),
    ]
    assert [e["args"] for e in moments] == [{"packet": 1, "from_core": 0}, {"packet": 2, "from_core": 0}]
    found = tracks(events)
    core = FIRST_CORE + 1
    begins = [1120, 1420, 1720]
    assert found[core, 3] == [(t * NS, (t + 300) * NS, "interrupt") for t in begins]
    assert found[core, 4] == [(1420 * NS, 2520 * NS, "set-up"), (2636 * NS, 3286 * NS, "row")]
    assert found[core, 5] == [(2520 * NS, 2636 * NS, "row transfer")]
    # 1.32 us of work from 0: 1.12 us before the interrupts, then 116 ns beside the transfer, then the rest.
    ends = [end for _, end, _ in found[core, 1]]
    assert ends == [(3286 + 1320 - 1120 - 116) * NS, 1000 * US + 1320 * NS]
    ways = [e for e in events if e["ph"] in "be"]
    assert [(e["ph"], e["ts"]) for e in ways if e["id"] == "1.0.1"] == [("b", 1.1), ("e", 1.12)]
    threads = {e["args"]["name"] for e in events if e["name"] == "thread_name" and e["pid"] == core}
    assert {"interrupts", "set-ups and rows", "row transfers"} <= threads


GIVES_UP: dict[str, Any] = {
    "core__axon_in__queue": 1,
    "core__processor__packet_time": "10 us",
    "network__blocked": {"wait": {"value": "240 ns", **NUMBER}, "emergency": False},
}
"""The second message holds the only slot of the core until 11.12 us; the third stands at the router from 1.31 us."""


def test_dropped_messages_are_told(tmp_path: Path) -> None:
    result = run(pair(3, 1), one_tile(**GIVES_UP), [[1, 1, 1], [0, 0, 0]], 2)
    summary = summarise(result)
    assert {key: n for key, n in summary["incidents"].items() if n} == {"messages_due": 3, "dropped": 1}
    assert summary["per_timestep"]["dropped"] == [1, 0]
    assert summary["warnings"] == [
        "1 of 3 messages (33.3 %) were dropped by routers: the values computed assume that all arrived, and energy "
        "counts them as delivered"
    ]
    found = tables(result, tmp_path / "t")
    assert [(row["output"], row["to_core"], row["flits"], row["dropped_flits"]) for row in found["links"]] == [
        ("core_0", "0", "0", "0"),
        ("core_1", "1", "2", "1"),
    ]
    assert [row["dropped_flits"] for row in found["routers"]] == ["1"]
    (moment,) = (event for event in timeline(result, tmp_path / "t.gz") if event["ph"] == "i")
    assert (moment["name"], moment["pid"], moment["tid"]) == ("message dropped", FIRST_CORE, 2)
    assert (moment["ts"], moment["args"]) == (1.3, {"packet": 2, "to_core": 1})


def test_energy_counts_dropped_messages_as_delivered() -> None:
    chips = one_tile(**GIVES_UP), one_tile()
    dropped, delivered = (run(pair(3, 1), chip, [[1, 1, 1], [0, 0, 0]], 2) for chip in chips)
    assert dropped.incidents.messages_due == 3
    assert dropped.energy_run.total_j == delivered.energy_run.total_j


def test_messages_sent_again_are_told() -> None:
    """Given up at 1.55 us, ready 1 us later, given up 0.24 us after that: at the eighth time the slot is free."""
    again = GIVES_UP["network__blocked"] | {
        "reinjection": {"value": "1 us", **NUMBER}, "reinjection_queue": {"value": 4, **NUMBER},
    }  # fmt: skip
    result = run(pair(3, 1), one_tile(**(GIVES_UP | {"network__blocked": again})), [[1, 1, 1], [0, 0, 0]], 2)
    summary = summarise(result)
    assert {key: n for key, n in summary["incidents"].items() if n} == {"messages_due": 3, "reinjected": 8}
    assert summary["warnings"] == []
    assert "0 flits went round a blocked link, 8 were given up and sent again" in said(summary)


def late(kind: str, period: str, steps: int = 4) -> Result:
    """A sweep of 1 us + 10 x 0.32 us = 4.2 us, and nothing else."""
    chip = one_tile(sync={"kind": kind, "period": {"value": period, **NUMBER}})
    return run(pair(1, 10), chip, np.zeros((steps, 1), dtype=np.int64), steps)


def test_late_timesteps_are_told(tmp_path: Path) -> None:
    """The sweep of timestep k ends at k x 4.2 us, k x 1.2 us after its timer's next tick."""
    result = late("timer", "3 us")
    summary = summarise(result)
    found = {key: n for key, n in summary["incidents"].items() if n}
    assert found == {"late_timesteps": 4, "late_most_ps": 4800 * NS, "late_sweeps": 4}
    assert summary["per_timestep"]["late_ps"] == [1200 * NS, 2400 * NS, 3600 * NS, 4800 * NS]
    assert summary["warnings"] == [
        "4 of 4 timesteps overran their 3 us timer, by up to 4.8 us; latency, throughput and the values computed "
        "assume that all work was done in time"
    ]
    assert summary["timestep_s"]["period"] == 3e-6
    assert summary["timestep_s"]["each"] == [3e-6] * 4
    # Two layers: an answer is out after two timesteps.
    assert summary["latency_per_inference_s"] == pytest.approx(6e-6, rel=1e-12)
    assert summary["throughput_inferences_per_s"] == pytest.approx(1 / 3e-6, rel=1e-12)
    assert summary["energy_run_j"]["static"] == pytest.approx(0.35 * 12e-6, rel=1e-12)
    text = said(summary)
    assert text.count(", if ticks were in time") == 2
    assert "late in 4 timesteps: 4 sweeps and 0 messages" in text
    rows = tables(result, tmp_path / "t")["timesteps"]
    assert [int(row["late_ps"]) for row in rows] == summary["per_timestep"]["late_ps"]
    assert [int(row["sweep_end_ps"]) for row in rows] == [(4200 * k - 3000 * (k - 1)) * NS for k in (1, 2, 3, 4)]


def test_late_sweeps_follow_each_other_in_the_timeline(tmp_path: Path) -> None:
    events = timeline(late("timer", "3 us"), tmp_path / "t")
    found = tracks(events)
    assert found[FIRST_CORE + 1, 1] == [(4200 * k * NS, 4200 * (k + 1) * NS, "sweep") for k in range(4)]
    assert found[FIRST_CORE, 1] == [(3 * k * US, (3 * k + 1) * US, "sweep") for k in range(4)]
    assert found[1, 1] == [(3 * k * US, 3 * (k + 1) * US, f"timestep {k + 1}") for k in range(4)]
    # Paths are as long as the work: that of timestep k ends at k x 4.2 us, and no two share a thread at a time.
    paths = [spans for (process, thread), spans in found.items() if process == 1 and thread >= 2]
    assert len(paths) == 2
    assert max(end for spans in paths for _, end, _ in spans) == 4 * 4200 * NS
    for spans in paths:
        assert all(before[1] <= after[0] for before, after in pairwise(spans))


def test_a_timer_in_time_says_nothing() -> None:
    summary = summarise(late("timer", "4.2 us"))
    assert not any(summary["incidents"].values())
    assert summary["warnings"] == []
    late_by_a_tick = summarise(late("timer", "4.19 us"))
    assert late_by_a_tick["per_timestep"]["late_ps"] == [10 * NS, 20 * NS, 30 * NS, 40 * NS]


def test_stretched_ticks_are_told() -> None:
    summary = summarise(late("tick", "3 us"))
    assert {key: n for key, n in summary["incidents"].items() if n} == {"stretched_timesteps": 4}
    assert summary["warnings"] == [
        "4 of 4 ticks were stretched beyond 3 us, the longest to 4.2 us; throughput and latency hold the stretched ones"
    ]
    assert summary["timestep_s"]["each"] == [4.2e-6] * 4
    assert summarise(late("tick", "4.2 us"))["warnings"] == []
    slack = summarise(late("tick", "10 us"))
    assert slack["warnings"] == []
    assert slack["per_timestep"]["critical_path_ps"]["tick wait"] == [5800 * NS] * 4
    assert slack["per_timestep"]["binding"] == ["tick wait"] * 4


def test_copies_and_routing_tables_are_told(tmp_path: Path) -> None:
    """Six relays on three cores, each to four neurons on two cores: a packet a spike, with two copies."""
    chip = one_tile(5, core__neurons_usable=2, core__axon_in_entry_bits="40 bit", core__axon_out_entry_bits="40 bit")
    result = run(pair(6, 4), chip, [[1, 1, 1, 1, 1, 0], [0] * 6], 2)
    summary = summarise(result)
    assert [(layer["packets"], layer["copies"]) for layer in summary["layers"]] == [(5, 10), (0, 0)]
    assert (summary["network"]["packets"], summary["network"]["copies"]) == (5, 10)
    # An entry of 40 bits is two words of 32; one is read a packet, and one a copy.
    words = {memory["name"]: memory["words_read"] for memory in summary["memories"]}
    assert (words["axon_out"], words["axon_in"]) == (10, 20)
    fullest = summary["routing_tables"]
    assert (fullest["x"], fullest["y"], fullest["entries_full"], fullest["entries_default"]) == (0, 0, 3, 3)
    assert fullest["entries_limit"] == 1023
    # All three keys go the same way, and no other key comes by.
    assert fullest["entries_minimised"] == 1
    sentence = (
        "routing tables: the fullest router (0, 0) holds 1 of 1,023 entries; the keys of 3 cores pass it, default "
        "routing leaves 3 of them, minimising 1"
    )
    assert sentence in said(summary)
    assert "10 copies for cores" in said(summary)
    console = Console(file=io.StringIO(), width=80)
    print_program(result.program, console)
    assert sentence in " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    found = tables(result, tmp_path / "t")
    (router,) = found["routers"]
    assert [router[f"entries_{kind}"] for kind in ("full", "default", "minimised")] == ["3", "3", "1"]
    assert [row["copies"] for row in found["timesteps"]] == ["10", "0"]


def test_routers_without_tables_have_empty_cells(tmp_path: Path) -> None:
    result = run(pair(2, 2), one_tile(network__tables=None), [[1, 1]], 1)
    assert summarise(result)["routing_tables"] is None
    (router,) = tables(result, tmp_path / "t")["routers"]
    assert [router[f"entries_{kind}"] for kind in ("full", "default", "minimised")] == ["", "", ""]


def test_the_fullest_router_is_the_one_with_the_largest_table() -> None:
    """A ring of cores on a mesh of 6 by 2: every router's entries are those of the program's routes."""
    size = 24
    weights = np.zeros((size, size), dtype=np.int32)
    for reach in (1, 2, 5):
        weights[(np.arange(size) + reach) % size, np.arange(size)] = 3
    network = Network([Layer("cells", (size,), CubaLif(0, 0, 64))], [Connection(("cells",), "cells", Dense(weights))])
    program = neurosim.compile(network, one_tile(1, core__neurons_usable=2, mesh__columns=6, mesh__rows=2))
    result = neurosim.simulate(program, {}, 1)
    fullest = summarise(result)["routing_tables"]
    routes = program.routes
    assert routes is not None
    held = np.diff(routes.table_start)
    assert len(set(held.tolist())) > 1
    assert fullest["entries_minimised"] == held.max()
    router = fullest["y"] * 6 + fullest["x"]
    assert router == int(np.flatnonzero(held == held.max())[0])
    assert fullest["entries_full"] == np.count_nonzero(routes.trees[:, router])
    assert fullest["entries_full"] >= fullest["entries_default"] >= fullest["entries_minimised"]


@pytest.fixture(scope="module")
def torus() -> Result:
    """Two cores on two of six chips: three packets cross one link of 167 ns a flit."""
    return run(pair(3, 1), spinnaker_like(3, 2, 1), [[1, 1, 1], [0, 0, 0]], 3)


def test_six_links_have_names_and_the_interval_of_chips(torus: Result, tmp_path: Path) -> None:
    found = tables(torus, tmp_path / "t")
    links = [row for row in found["links"] if not row["to_core"]]
    steps = {
        "east": (1, 0), "north-east": (1, 1), "north": (0, 1), "west": (-1, 0), "south-west": (-1, -1),
        "south": (0, -1),
    }  # fmt: skip
    assert len(links) == 6 * 6
    for row in links:
        x, y = steps[row["output"]]
        assert (int(row["to_x"]), int(row["to_y"])) == ((int(row["x"]) + x) % 3, (int(row["y"]) + y) % 2)
    busy = [row for row in links if row["flits"] != "0"]
    assert sum(int(row["flits"]) for row in busy) == summarise(torus)["network"]["hops"] == 3
    assert float(busy[0]["utilisation"]) == pytest.approx(3 * 167e-9 / 3e-3, rel=1e-12)
    assert torus.peak_link_utilisation == pytest.approx(3 * 167e-9 / 3e-3, rel=1e-12)


def test_static_energy_is_that_of_all_chips(torus: Result) -> None:
    summary = summarise(torus)
    assert summary["energy_run_j"]["static"] == pytest.approx(0.35 * 6 * 3e-3, rel=1e-12)
    terms = {term["key"]: term["energy_run_j"] for term in summary["energy_terms"]}
    assert terms["chips.energy"] == pytest.approx(3 * 1e-9, rel=1e-12)
    assert summary["timestep_s"]["each"] == [1e-3] * 3


@pytest.fixture(scope="module", params=["1 ms", "95 us", "25 us"])
def busy(request: pytest.FixtureRequest) -> Result:
    """A recurrent network whose messages all arrive, in time or with later and later work."""
    rng = np.random.default_rng(1)
    layers = [
        Layer("in", (20,), Relay(spikes=True)),
        Layer("res", (40,), CubaLif(2048, 200, 6 << 6)),
        Layer("out", (10,), CubaLif(2048, 200, 20 << 6)),
    ]
    connections = [
        Connection(("in",), "res", Dense(rng.integers(-20, 60, (40, 20)))),
        Connection(("res",), "res", Dense(rng.integers(-20, 20, (40, 40)))),
        Connection(("res",), "out", Dense(rng.integers(-20, 40, (10, 40)))),
    ]
    chip = one_tile(4, core__neurons_usable=8, mesh__columns=3, mesh__rows=2, sync__period=request.param)
    result = run(Network(layers, connections, "recurrent"), chip, rng.integers(0, 2, (8, 20)), 8)
    assert summarise(result)["incidents"]["late_timesteps"] == {"1 ms": 0, "95 us": 3, "25 us": 7}[request.param]
    return result


def covered(spans: list[tuple[int, int, str]], by: list[tuple[int, int, str]]) -> int:
    """Return how much of `spans` lies in `by`, both without overlaps of their own."""
    return sum(max(min(b, d) - max(a, c), 0) for a, b, _ in spans for c, d, _ in by)


def length(spans: list[tuple[int, int, str]]) -> int:
    return sum(end - begin for begin, end, _ in spans)


def test_timeline_of_processors_adds_up_to_the_counts(busy: Result, tmp_path: Path) -> None:
    """What is at work but not interrupted has the CPU: interrupts first, then jobs, then the sweep."""
    events = timeline(busy, tmp_path / "t")
    assert {event["ph"] for event in events} == {"X", "b", "e", "C", "M"}
    assert all(0.0 <= event["args"]["utilisation"] <= 1.0 for event in events if event["ph"] == "C")
    found = tracks(events)
    for track, spans in found.items():
        overlaps = [(a, b) for a, b in pairwise(spans) if a[1] > b[0]]
        assert overlaps == [], track
    assert sum(event["ph"] == "b" for event in events) == busy.incidents.messages_due
    counts = busy.counts.core_counts
    assert counts[:, CoreCount.MEMORY_WAIT_PS].sum() > 0
    latency_ps = busy.chip.core.memories.synapse.read_latency.value
    for core in range(busy.program.cores):
        sweeps, interrupts, jobs, memory = (found.get((FIRST_CORE + core, thread), []) for thread in (1, 3, 4, 5))
        c = CoreCount
        assert length(interrupts) == counts[core, c.AXON_IN_PS]
        worked = counts[core, [c.SET_UP_PS, c.ACCUMULATE_PS]].sum()
        assert length(jobs) - covered(jobs, interrupts) == worked
        waits = [span for span in memory if span[2] == "memory wait"]
        transfers = [span for span in memory if span[2] == "row transfer"]
        assert length(waits) == counts[core, c.MEMORY_WAIT_PS]
        assert length(transfers) == counts[core, c.SYNAPSE_READ_PS] + latency_ps * len(transfers)
        both = covered(sweeps, interrupts) + covered(sweeps, jobs)
        twice = sum(covered([span], interrupts) for span in [(max(a, c), min(b, d), "") for a, b, _ in sweeps
                    for c, d, _ in jobs if max(a, c) < min(b, d)])  # fmt: skip
        assert length(sweeps) - both + twice == counts[core, [c.SWEEP_PS, c.STALL_PS]].sum()


def test_paths_are_as_long_as_their_work(busy: Result) -> None:
    summary = summarise(busy)
    section = summary["per_timestep"]
    assert set(section["critical_path_ps"]) == {resource.label for resource in Resource}
    assert {"row transfer", "memory wait", "tick wait"} <= set(section["critical_path_ps"])
    for step, seconds in enumerate(summary["timestep_s"]["each"]):
        path_ps = sum(times[step] for times in section["critical_path_ps"].values())
        assert path_ps == round(seconds * 1e12) + section["late_ps"][step]


def test_a_window_and_a_limit_of_the_timeline(busy: Result, tmp_path: Path) -> None:
    whole = write_timeline(busy.counts, tmp_path / "whole").events
    frames = np.random.default_rng(3).integers(0, 2, (8, 20))
    for window in (TraceWindow(2, 3, (4,)), TraceWindow(events=whole // 3)):
        result = neurosim.simulate(busy.program, frames, 8, trace=window)
        report = write_timeline(result.counts, tmp_path / "t")
        with gzip.open(tmp_path / "t") as file:
            events = json.load(file)["traceEvents"]
        shown = [event for event in events if event["ph"] != "M"]
        assert len(shown) == report.events <= window.events
        assert bool(report.capped) == (window.cores is None)
        worked = {event["pid"] - FIRST_CORE for event in shown if event["ph"] == "X" and event["pid"] >= FIRST_CORE}
        assert window.cores is None or worked == {4}


def test_pipelines_have_no_incidents() -> None:
    """The keys are there all the same, and copies are packets."""
    program = neurosim.compile(pair(3, 2), "loihi2")
    summary = summarise(neurosim.simulate(program, np.ones((3, 3), dtype=np.int64), 4))
    due = summary["network"]["packets"]
    assert due > 0
    assert {key: n for key, n in summary["incidents"].items() if n} == {"messages_due": due}
    assert summary["network"]["copies"] == due
    assert {key: summary["per_timestep"][key] for key in QUIET} == dict.fromkeys(QUIET, [0] * 4)
    assert (summary["warnings"], summary["routing_tables"], summary["timestep_s"]["period"]) == ([], None, None)
    text = said(summary)
    assert "copies" not in text
    assert "routing tables" not in text
