"""Sweeps and messages that take turns at one port: whole runs against the plain stepper, and by hand."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from random_networks import changed
from random_systems import random_sharing_system
from whole_runs import BY_HAND, compared, random_chip, timed

import neurosim
from hwmodels import Chip
from neurosim.compiler import compile_network
from neurosim.engine import CoreCount, Resource, RunCounts, TraceWindow, run_program
from neurosim.errors import InputError
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay
from neurosim.report import write_timeline

NS = 1000
PORTS = (["sweep", "synapse_read"], ["sweep", "accumulate"], ["sweep", "accumulate", "synapse_read"])


def compared_sharing(case: int) -> Counter[str]:
    rng = Random(case)
    return compared(rng, random_chip(rng, rng.choice(PORTS), routed=rng.random() < 0.3))


# Kinds of waiting, and the least number of the systems below that must show each.
LEAST = {"copy is dropped": 2, "message waits for the sweep": 6, "sweep waits for messages": 8}


def test_whole_runs_equal_the_plain_machine() -> None:
    shown: Counter[str] = Counter()
    for case in range(20):
        shown.update(kind for kind, times in compared_sharing(case).items() if times)
    assert not {kind: shown[kind] for kind in LEAST if shown[kind] < LEAST[kind]}


@pytest.mark.slow
def test_many_whole_runs_equal_the_plain_machine() -> None:
    for case in range(1000, 2000):
        compared_sharing(case)


def shared(*stages: str, **changes: Any) -> Chip:
    """A neuron's update takes 10 ns."""
    keys = {"core.shared_port": ["sweep", *stages], "core.neuron.update_inactive_time": ("10 ns",)}
    return changed("loihi2", BY_HAND | keys | {key.replace("__", "."): value for key, value in changes.items()})


def two_messages(neurons: int) -> Network:
    """Two relays, each with one synapse to the first of some neurons that never fire."""
    weights = np.zeros((neurons, 2), dtype=np.int64)
    weights[0] = 5
    layers = [Layer("in", (2,), Relay(spikes=True)), Layer("out", (neurons,), CubaLif(4096, 0, 1 << 20))]
    return Network(layers, [Connection(("in",), "out", Dense(weights))], "two")


@pytest.mark.parametrize(
    ("stages", "waited", "finish", "sweep_end"),
    [
        # Messages are there at 9 and 13 ns and through axon-in at 14 and 19. The first waits for the second neuron,
        # until 20. Read from 20 and from 21, added up from 21 and from 28; the sweep goes on at 22.
        (("synapse_read",), 6, 35, 22 + 40),
        # Read from 14 and from 19, the first waits from 15 to 20; added up from 20 and 27; the sweep goes on at 34.
        (("accumulate",), 5, 34, 34 + 40),
        # Read and added up from 20 and from 28; the sweep goes on at 36.
        (("synapse_read", "accumulate"), 6, 36, 36 + 40),
    ],
)
def test_two_messages_in_a_sweep_of_six_neurons_by_hand(
    stages: tuple[str, ...], waited: int, finish: int, sweep_end: int
) -> None:
    timing, trace = timed(two_messages(6), shared(*stages))[2:]
    assert trace.arrived_ps.tolist() == [9 * NS, 13 * NS]
    assert trace.finish_ps.tolist() == [0, finish * NS]
    assert trace.sweep_end_ps.tolist() == [8 * NS, sweep_end * NS]
    counts = timing.core_counts[1]
    assert counts[[CoreCount.SYNAPSE_READ_PS, CoreCount.ACCUMULATE_PS]].tolist() == [2 * NS, 14 * NS]
    assert counts[[CoreCount.SWEEP_PS, CoreCount.STALL_PS]].tolist() == [60 * NS, 0]
    assert counts[CoreCount.MEMORY_WAIT_PS] == waited * NS
    # The path is that of the sweep, and of the messages that it waited for.
    stage = Resource.ACCUMULATE if stages == ("accumulate",) else Resource.SYNAPSE_READ
    until = (sweep_end - 40) * NS
    assert timing.path[:-1].tolist() == [
        [Resource.SWEEP, 1, -1, 0, 20 * NS],
        [stage, 1, -1, 20 * NS, until],
        [Resource.SWEEP, 1, -1, until, sweep_end * NS],
    ]
    assert timing.path[-1, 0] == Resource.BARRIER


def test_the_path_of_a_message_that_waits_for_the_sweep_by_hand() -> None:
    """Two neurons only: the sweep ends at 20 ns, the second message at 34."""
    timing = timed(two_messages(2), shared("accumulate"))[2]
    assert timing.path[:-1].tolist() == [
        [Resource.SWEEP, 0, -1, 0, 4 * NS],
        [Resource.FLIGHT, 0, 1, 4 * NS, 9 * NS],
        [Resource.AXON_IN, 1, -1, 9 * NS, 14 * NS],
        [Resource.SYNAPSE_READ, 1, -1, 14 * NS, 15 * NS],
        [Resource.SWEEP, 1, -1, 15 * NS, 20 * NS],
        [Resource.ACCUMULATE, 1, -1, 20 * NS, 34 * NS],
    ]


def test_axon_out_leaves_the_port_to_messages_by_hand() -> None:
    """Two neurons fire at once and send to a third core, with 40 ns of axon-out each.

    The relays' messages are injected at 40 and 80 ns, and through axon-in at 50 and 90. The sweep of the two neurons
    has the port from 0 to 10 and from 50 to 60, because of axon-out from 10 to 50 and from 60 to 100. At 50 the first
    message is read and at 51 it has to wait for the sweep, until 60.
    """
    layers = [
        Layer("in", (2,), Relay(spikes=True)),
        Layer("mid", (2,), CubaLif(4096, 0, 64, np.array([100]))),
        Layer("out", (1,), CubaLif(4096, 0, 1 << 20)),
    ]
    connections = [
        Connection(("in",), "mid", Dense(np.array([[5, 5], [0, 0]]))),
        Connection(("mid",), "out", Dense(np.array([[5, 5]]))),
    ]
    chip = shared("accumulate", core__axon_out__time=("40 ns",), core__neuron__update_active_time=("10 ns",),
                  core__neuron__send_time=("0 ns",))  # fmt: skip
    timing, trace = timed(Network(layers, connections, "three"), chip)[2:]
    assert trace.injected_ps.tolist() == [40 * NS, 80 * NS, 50 * NS, 100 * NS]
    assert trace.finish_ps[1] == max(60 + 7, 91 + 7) * NS
    assert trace.sweep_end_ps[1] == 100 * NS
    assert timing.core_counts[1, CoreCount.MEMORY_WAIT_PS] == 9 * NS


def small_run(threads: int = 1) -> RunCounts:
    """Two connections' messages, leaks and biases, for some timesteps."""
    rng = np.random.default_rng(5)
    layers = [
        Layer("in", (12,), Relay(spikes=True)),
        Layer("a", (20,), CubaLif(600, 300, 30 << 6, np.array([3]))),
        Layer("b", (6,), CubaLif(600, 300, 30 << 6)),
    ]
    connections = [
        Connection(("in",), "a", Dense(rng.integers(-20, 60, (20, 12)))),
        Connection(("a",), "a", Dense(rng.integers(-20, 30, (20, 20)))),
        Connection(("a",), "b", Dense(rng.integers(-20, 60, (6, 20)))),
    ]
    chip = shared("accumulate", core__axon_in__queue=(2,), core__neuron__update_active_time=("3 ns",))
    plain = chip.to_dict()
    plain["core"]["neurons_usable"]["value"] = 7
    plain["mesh"]["columns"]["value"] = 3
    program = compile_network(Network(layers, connections, "small"), Chip.from_dict(plain))
    frames = {"in": rng.integers(0, 2, (6, 12))}
    return run_program(program, frames, 6, threads=threads, trace=TraceWindow())


def digest(counts: RunCounts) -> str:
    arrays = counts.layer_counts, counts.core_counts, counts.link_flits, counts.duration_ps, counts.path_ps
    return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


def test_same_bytes_on_any_thread_count_and_without_the_compiler() -> None:
    here = str(Path(__file__).parent)
    script = "from test_shared_port import digest, small_run; print(digest(small_run()))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": here, "NUMBA_DISABLE_JIT": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert digest(small_run()) == digest(small_run(threads=3)) == done.stdout.strip()


def test_the_timeline_adds_up_to_the_counts(tmp_path: Path) -> None:
    counts = small_run()
    write_timeline(counts, tmp_path / "t.json.gz")
    with gzip.open(tmp_path / "t.json.gz") as file:
        events = json.load(file)["traceEvents"]
    spent: dict[tuple[int, str, int], int] = defaultdict(int)
    for event in events:
        if event["ph"] == "X" and event["pid"] >= 10:
            spent[event["pid"] - 10, event["name"], event["tid"]] += round(event["dur"] * 1_000_000)
    waits = 0
    for core, row in enumerate(counts.core_counts):
        assert spent[core, "sweep", 1] - spent[core, "port wait", 1] == row[CoreCount.SWEEP_PS]
        assert spent[core, "accumulate", 5] - spent[core, "port wait", 5] == row[CoreCount.ACCUMULATE_PS]
        assert spent[core, "port wait", 5] == row[CoreCount.MEMORY_WAIT_PS]
        waits += spent[core, "port wait", 1] * row[CoreCount.MEMORY_WAIT_PS] > 0
    assert waits > 0


def test_what_is_refused() -> None:
    program = compile_network(two_messages(2), shared("accumulate"))
    frames = {"in": np.ones((1, 2), dtype=np.int64)}
    with pytest.raises(InputError, match=r"fidelity fast knows no port that sweep and messages share"):
        run_program(program, frames, 2, fidelity="fast")
    with pytest.raises(InputError, match="pieces of sweeps are for ports that overlapping"):
        neurosim.engine.TimeRun(program).step(next(iter(neurosim.engine.FunctionRun(program.network, frames).steps(1))))
    model, load = random_sharing_system(Random(1))
    with pytest.raises(InputError, match="pieces of sweeps are for ports that overlapping"):
        replace(model, shared_stage="").time(load)
    with pytest.raises(InputError, match="pieces of sweeps are for ports that overlapping"):
        replace(model, strict=True).time(load)
