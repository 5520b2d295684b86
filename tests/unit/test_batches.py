"""Many timesteps timed in one call give what the same timesteps give one by one."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_networks import WEIGHT_BITS, changed, random_frames, random_memories, random_network

import neurosim
from hwmodels import Chip
from neurosim.compiler import Program
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import FunctionRun, MeshModel, TimeRun
from neurosim.engine.batch import Batches, Piece
from neurosim.errors import AuditError, MessageWidthError
from neurosim.network import Connection, Dense, Layer, Network, Relay, Sigma

ARRAYS = ("spans_ps", "layer_counts", "path_ps", "events", "busy_ps", "core_counts", "link_flits", "dropped", "lost")


def assert_equal(many: Piece, single: Piece) -> None:
    for name in ARRAYS:
        a, b = getattr(many, name), getattr(single, name)
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


def both(
    program: Program, frames: dict[str, Any], timesteps: int, fidelity: str = "cycle", most: int = 1 << 30
) -> tuple[Piece, Piece]:
    function = FunctionRun(program.network, frames, counted_synapses(program))
    activities = [function.step() for _ in range(timesteps)]
    # Loops at random may grow without end: what no packet can carry ends the run.
    narrow = [bool((abs(a.value) < 1 << 30).all()) for a in activities]
    activities = activities[: narrow.index(False)] if False in narrow else activities
    activities = [replace(a, value=np.clip(a.value, -most, most)) for a in activities]
    timer = TimeRun(program, fidelity)
    batches = Batches(timer, traced=False)
    assert batches.many
    many = batches._time_many(activities)
    assert many is not None
    return many, Piece.of(program, activities, [timer.step(activity) for activity in activities])


def random_chip(rng: Random, spikes: bool) -> Any:
    """Small cores, so that networks spread; narrow links and short queues, so that packets wait."""
    kind = rng.choice(["all", "touched", "crossbar"])
    changes: dict[str, Any] = random_memories(rng) | {
        "core.neuron.sweep": "touched" if kind == "touched" else "all",
        "network.buffer": (rng.choice([1, 2, 16]),),
        "network.flit": (rng.choice(["16 bit", "32 bit", "64 bit"]),),
        "network.link_interval": (rng.choice(["0.291 ns", "7 ns"]),),
        "core.axon_in.queue": (rng.choice([1, 4, 4096]),),
        "core.axon_in.stage_queue": (rng.choice([1, 4]),),
        "core.axon_out.queue": (rng.choice([1, 16]),),
        "core.shared_port": rng.choice([None, ["synapse_read", "accumulate"]]),
    }
    if rng.random() < 0.3:
        changes |= {"sync.kind": "tick", "sync.period": ("900 ns",), "sync.barrier": None}
    return changed("loihi2", changes)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rng=st.randoms(use_true_random=False))
def test_many_timesteps_are_timed_as_single_ones(rng: Random) -> None:
    network = random_network(rng)
    program = neurosim.compile(network, random_chip(rng, False))
    frames = random_frames(rng, network, 8)
    many, single = both(program, frames, 10, rng.choice(["cycle", "cycle", "fast"]))
    assert_equal(many, single)
    assert many.path_ps.sum() == many.spans_ps[0].sum()


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rng=st.randoms(use_true_random=False))
def test_messages_in_several_packets_too(rng: Random) -> None:
    network, chip = random_network(rng), random_chip(rng, False)
    messages = rng.choice(["units", "split"])
    plain = chip.to_dict() | ({"core": chip.to_dict()["core"] | {"kind": "pipeline"}})
    plain["network"]["payload"]["value"] = f"{rng.choice([2, 4, 7])} bit"
    program = neurosim.compile(network, Chip.from_dict(plain), messages=messages)
    most = 3 if messages == "units" else 1 << 20
    many, single = both(program, random_frames(rng, network, 8), 10, rng.choice(["cycle", "fast"]), most)
    assert_equal(many, single)
    assert many.path_ps.sum() == many.spans_ps[0].sum()


def test_crossbars_too() -> None:
    ways = {f"core.encodings.{kind}.synop_time": ("11 ns",) for kind in ("dense", "sparse", "conv")}
    chip = changed("loihi2", {"core.kind": "crossbar", "core.axon_in_entries": (256,), **ways})
    rng = np.random.default_rng(2)
    layers = [Layer("in", (20,), Relay(spikes=True)), Layer("out", (9,), Sigma())]
    network = Network(layers, [Connection(("in",), "out", Dense(rng.integers(-3, 4, (9, 20))))])
    many, single = both(neurosim.compile(network, chip), {"in": rng.integers(0, 2, (6, 20))}, 8)
    assert_equal(many, single)
    assert many.layer_counts[:, :, 5].sum() > 0


def test_a_busy_network_of_many_cores() -> None:
    """Thousands of packets on 120 cores of 30 tiles and more: queues are full, rows of routers beyond 64 too."""
    rng = np.random.default_rng(5)
    chip = changed("loihi2", {
        "mesh.columns": (12,), "mesh.rows": (8,), "mesh.cores_usable": None, "core.neurons_usable": (8,),
        "core.weights.bits": ([WEIGHT_BITS],), "network.buffer": (2,),
    })  # fmt: skip
    layers = [Layer("in", (900,), Relay()), Layer("out", (1000,), Sigma())]
    weights = rng.integers(-5, 6, (1000, 900)) * (rng.random((1000, 900)) < 0.3)
    network = Network(layers, [Connection(("in",), "out", Dense(weights))])
    program = neurosim.compile(network, chip)
    assert program.cores > 200
    many, single = both(program, {"in": rng.integers(-2, 3, (3, 900))}, 4)
    assert many.layer_counts[:, :, 5].sum() > 10_000
    assert_equal(many, single)


def small() -> Program:
    layers = [Layer("in", (50,), Relay()), Layer("out", (40,), Sigma())]
    weights = np.random.default_rng(0).integers(-20, 20, (40, 50))
    network = Network(layers, [Connection(("in",), "out", Dense(weights))])
    return neurosim.compile(network, "loihi2", overrides={"network.payload": "8 bit"})


def test_what_is_not_in_order_is_said_by_the_timing_of_single_timesteps() -> None:
    frames = np.zeros((30, 50), dtype=np.int64)
    frames[20, 7] = 128
    with pytest.raises(MessageWidthError, match="timestep 21"):
        neurosim.simulate(small(), frames, threads=1)
    frames[20, 7] = -128
    assert neurosim.simulate(small(), frames, threads=1).counts.layer_counts[20, 0, 0] == 1


def test_runs_go_through_the_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a plain run timed a timestep by itself")

    monkeypatch.setattr(TimeRun, "step", never)
    neurosim.simulate(small(), np.ones((3, 50), dtype=np.int64), threads=1)


def test_every_audit_stops_a_batch() -> None:
    """Wrong fan-outs, hops, and queues that are not those of the timing are found."""
    program = small()
    function = FunctionRun(program.network, {"in": np.ones((1, 50), dtype=np.int64)})
    activity = function.step()
    timer = TimeRun(program)
    batches = Batches(timer, traced=False)
    assert batches._time_many([activity]) is not None
    wrong = [
        {"fan_out": batches.rules.fan_out + 1},
        {"sweep": batches.rules.sweep._replace(hops_x=batches.rules.sweep.hops_x + 1)},
        {"net": batches.rules.net._replace(inject_queue=2), "inject_queue": 1},
        {"link_class": np.where(batches.rules.link_class == 3, -1, batches.rules.link_class)},
    ]
    for change in wrong:
        other = Batches(timer, traced=False)
        other.__dict__["rules"] = batches.rules._replace(**change)
        assert other._time_many([activity]) is None, change
        with pytest.raises(AuditError, match="timesteps 1 to 1: an audit stopped them together"):
            other.time([activity])


def test_a_kernel_that_loses_packets_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    program = small()
    activity = FunctionRun(program.network, {"in": np.ones((1, 50), dtype=np.int64)}).step()
    monkeypatch.setattr(MeshModel, "_time_plain", lambda *_: None)
    with pytest.raises(AuditError, match="in the kernel for plain networks they do not"):
        TimeRun(program).step(activity)
