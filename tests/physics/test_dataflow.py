"""Chips without timesteps: every packet as a plain stepper has it, and values that no order of arrivals changes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from fractions import Fraction
from math import floor, lcm
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, seed, settings
from hypothesis import strategies as st
from plain_flow import Machine
from plain_router import Observed
from random_flow import NONE, random_flow_chip, random_flow_frames, random_flow_network, random_image
from random_networks import WEIGHT_BITS, changed, random_sparse

from hwmodels import Chip
from neurosim import api
from neurosim.cli import main
from neurosim.compiler import Program, compile_network, write_program
from neurosim.costs import Result
from neurosim.engine import (
    Checkpoint,
    CoreCount,
    FunctionRun,
    LayerCount,
    PacketTrace,
    RunCounts,
    StepActivity,
    StepTiming,
    StepTrace,
    flow,
)
from neurosim.engine import lists as list_module
from neurosim.engine.flow import FlowRun
from neurosim.engine.run import run_program
from neurosim.errors import CapacityError, ChipError, DeadlockError, InputError
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    Delay,
    Delta,
    Dense,
    Layer,
    Lif,
    Network,
    Pool2d,
    Relay,
    Sigma,
    SigmaDelta,
    Sparse,
)
from neurosim.network.reference import run_reference
from neurosim.network.units import spread
from neurosim.report import timeline_rows

RANDOM = st.randoms(use_true_random=False)
SETTINGS = settings(
    deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
)
ROOMY = (40, 80)
"""Queues in which hardly anything deadlocks."""

# Kinds of waiting that the stepper counts, and the least share of random systems that must show each.
WAITS = {
    "message waits for its core": 0.8,
    "source waits for a slot": 0.5,
    "core stalls": 0.5,
    "inputs compete": 0.5,
    "output is busy": 0.5,
    "link: no slot is free": 0.3,
    "core: no slot is free": 0.5,
    "packet keeps another out": 0.3,
    "machine is stuck": 0.01,
}


@contextmanager
def what_fits() -> Iterator[None]:
    """Leave out systems that do not fit their chip, inside a property."""
    try:
        yield
    except CapacityError:
        assume(False)


def compare(rng: Random, **units: bool) -> Counter[str]:
    """Run a random system both ways, message by message; return what the stepper saw happen."""
    network = random_flow_network(rng, thresholds=True, shift=rng.choice([0, 0, 2]), relays=True, **units)
    chip = random_flow_chip(rng)
    program = compile_network(network, chip)
    frames = random_flow_frames(rng, network, 2)
    run = FlowRun(program, FunctionRun(network, frames))
    machine = Machine(program, run.mesh, run.tick_ps, WEIGHT_BITS)
    happened: Counter[str] = Counter()
    for given_frame in frames["in"]:
        seen = compare_frame(run, machine, {"in": given_frame})
        happened.update(seen.happened)
        if seen.happened["machine is stuck"]:
            break
        note_units(machine, happened)
    return happened


def note_units(machine: Machine, happened: Counter[str]) -> None:
    """Count what only some units and connections do."""
    layers = machine.program.network.layers
    for core, number in zip(machine.cores, machine.program.core_layer.tolist(), strict=True):
        if isinstance(layers[number].unit, CubaLif):
            happened["unit spikes"] += len(core.said)
    for neuron in machine.neurons:
        happened["average leaves a rest"] += neuron.total != floor(neuron.total)
        happened["error is added up"] += int(neuron.state.get("error", [0])[0]) != 0
        happened["voltage is kept"] += int(neuron.state.get("voltage", [0])[0]) != 0


def compare_frame(run: FlowRun, machine: Machine, frame: dict[str, Any]) -> Observed:
    load, seen = machine.frame(frame)
    if seen.happened["machine is stuck"]:
        with pytest.raises(DeadlockError, match="cannot move"):
            run.advance()
        return seen
    activity, timing, trace = run.advance()
    stages, tick = trace.dataflow, run.tick_ps
    assert stages is not None
    columns = (
        trace.source, trace.destination, stages.value, stages.ready_ps // tick, trace.injected_ps // tick,
        trace.arrived_ps // tick, stages.taken_ps // tick, stages.done_ps // tick,
    )  # fmt: skip
    found = list(zip(*(column.tolist() for column in columns), strict=True))
    # One core's packets stand in the order of their making in both.
    order = sorted(range(len(load.messages)), key=lambda packet: load.messages[packet].source)
    due = []
    for packet in order:
        m = load.messages[packet]
        times = (m.ready, seen.injected[packet], seen.arrived[packet], m.taken, m.done)
        due.append((m.source, m.destination, m.value, *times))
    assert found == due
    counts = timing.core_counts
    assert (trace.sweep_end_ps // tick).tolist() == seen.sweep_end
    assert (trace.finish_ps // tick).tolist() == seen.finish
    assert timing.duration_ps == max(seen.finish) * tick
    assert (counts[:, CoreCount.STALL_PS] // tick).tolist() == seen.stalled
    assert (counts[:, CoreCount.INPUT_WAIT_PS] // tick).tolist() == seen.waited
    assert counts[:, CoreCount.SYNOPS_CHARGED].tolist() == [core.synops for core in machine.cores]
    assert {(r, o): int(timing.link_flits[r, o]) for r, o in np.argwhere(timing.link_flits).tolist()} == seen.link_flits
    compare_spans(run, machine, timing, trace)
    layers = machine.program.core_layer.tolist()
    updates = np.zeros((len(machine.program.network.layers), 2), dtype=np.int64)
    for core, layer in zip(machine.cores, layers, strict=True):
        updates[layer] += core.updates
    assert timing.layer_counts[:, [LayerCount.UPDATES_INACTIVE, LayerCount.UPDATES_ACTIVE]].tolist() == updates.tolist()
    said = [said for core in machine.cores for said in core.said]
    assert sorted(zip(activity.neuron.tolist(), activity.value.tolist(), strict=True)) == sorted(said)
    offsets = machine.program.network.offsets.tolist()
    for state, low in zip(run.function.layers, offsets, strict=False):
        neurons = machine.neurons[low : low + state.layer.size]
        for name in state.layer.unit.state_names:
            assert state.state[name].tolist() == [int(n.state[name][0]) for n in neurons]
        if "rest" in state.state:
            divisor = lcm(*machine.divisors[state.layer.name])
            assert state.state["rest"].tolist() == [(n.total - floor(n.total)) * divisor for n in neurons]
    return seen


NAMES = {
    timeline_rows.SWEEP: "update", timeline_rows.UPDATE: "update", timeline_rows.STALL: "stall",
    timeline_rows.AXON_IN: "axon in", timeline_rows.READ: "read", timeline_rows.ACCUMULATE: "accumulate",
}  # fmt: skip
"""What the stepper calls the kinds of spans of a timeline."""


def compare_spans(run: FlowRun, machine: Machine, timing: StepTiming, trace: PacketTrace) -> None:
    """The timeline shows what each core is at tick by tick, reads before accumulations as sums over its lists."""
    program, tick = machine.program, run.tick_ps
    step = StepTrace(machine.timestep, timing.duration_ps, timing.path, timing.link_flits, run.ends, trace)
    rows = timeline_rows.PacketRows(program, np.ones(program.cores, dtype=np.bool_)).of(step)
    shown: list[dict[int, str]] = [{} for _ in machine.cores]
    for since, until, kind, core, *_ in rows.tolist():
        if kind in NAMES:
            for now in range(since // tick, until // tick):
                assert now not in shown[core], "two things at a time"
                shown[core][now] = NAMES[kind]
    for core, found in zip(machine.cores, shown, strict=True):
        assert found.keys() == core.did.keys()
        # Lists of several connections are read and added up in turn; the timeline puts all reads first.
        assert Counter(found.values()) == Counter(core.did.values())
        order = {"read": "list", "accumulate": "list"}
        assert {t: order.get(k, k) for t, k in found.items()} == {t: order.get(k, k) for t, k in core.did.items()}


@seed(5)
@settings(SETTINGS, max_examples=60)
@given(RANDOM)
def test_engine_equals_the_stepper_message_by_message(rng: Random) -> None:
    with what_fits():
        compare(rng, averages=rng.random() < 0.5, spikes=rng.random() < 0.5, cum_error=rng.random() < 0.5)


@pytest.mark.slow
@seed(6)
@settings(SETTINGS, max_examples=2000)
@given(RANDOM)
def test_engine_equals_the_stepper_on_many(rng: Random) -> None:
    with what_fits():
        compare(rng, averages=rng.random() < 0.5, spikes=rng.random() < 0.5, cum_error=rng.random() < 0.5)


def test_every_kind_of_waiting_occurs() -> None:
    """The comparison is worth something only where cores, packets and credits wait for one another."""
    shown: Counter[str] = Counter()
    number = 0
    for k in range(80):
        try:
            happened = compare(Random(k))
        except CapacityError:
            continue
        shown.update(kind for kind, ticks in happened.items() if ticks)
        number += 1
    assert number > 40
    assert not {kind: shown[kind] for kind, share in WAITS.items() if shown[kind] < share * number}


def test_every_kind_of_unit_shows() -> None:
    """Spikes, voltages below the threshold, errors added up and rests of averages all occur in the comparison."""
    shown: Counter[str] = Counter()
    for k in range(20):
        with suppress(CapacityError):
            happened = compare(Random(k), averages=True, spikes=True, cum_error=True)
            shown.update(kind for kind, times in happened.items() if times)
    for kind in ("unit spikes", "voltage is kept", "error is added up", "average leaves a rest"):
        assert shown[kind] >= 2, shown


def settled(network: Network, frames: dict[str, Any]) -> list[dict[str, dict[str, Any]]]:
    """States of all layers after each frame was held until the barrier run was at rest."""
    held = network.depth_timesteps + 1
    states = []
    for count in range(1, len(frames["in"]) + 1):
        fed = np.repeat(frames["in"][:count], held, axis=0)
        states.append(run_reference(network, {"in": fed}, len(fed)).states)
    return states


def run_frames(program: Program, frames: dict[str, Any]) -> tuple[FlowRun, list[StepActivity], list[dict[str, Any]]]:
    """Run all frames; return the messages of each, and the states after each."""
    run = FlowRun(program, FunctionRun(program.network, frames))
    activities, states = [], []
    for _ in frames["in"]:
        activities.append(run.advance()[0])
        states.append(
            {layer.layer.name: {k: v.copy() for k, v in layer.state.items()} for layer in run.function.layers}
        )
    return run, activities, states


@seed(7)
@settings(SETTINGS, max_examples=60)
@given(RANDOM)
def test_what_units_hold_at_rest_is_that_of_the_barrier_run(rng: Random) -> None:
    """Where every change is sent exactly, for any placement, buffers and delays."""
    network = random_flow_network(rng, side=6)
    frames = random_flow_frames(rng, network, 3)
    expected = settled(network, frames)
    arrivals = set()
    for _ in range(2):
        with what_fits():
            program = compile_network(network, random_flow_chip(rng, rng.choice([(1, 6), ROOMY])))
        try:
            _, activities, states = run_frames(program, frames)
        except DeadlockError:
            continue
        arrivals.add(tuple(activity.neuron.size for activity in activities))
        for activity, found, due in zip(activities, states, expected, strict=True):
            assert activity.read_out is not None
            assert activity.read_out["sum"].tolist() == due["sum"]["sigma"].tolist()
            for layer in network.layers:
                for name in layer.unit.state_names:
                    assert found[layer.name][name].tolist() == due[layer.name][name].tolist(), (layer.name, name)
        changes = np.sum([activity.read_out["change"] for activity in activities if activity.read_out], axis=0)
        assert changes.tolist() == expected[-1]["change"]["held"].tolist()
    assume(arrivals)


@seed(8)
@settings(SETTINGS, max_examples=60)
@given(RANDOM)
def test_thresholds_bound_what_is_lost(rng: Random) -> None:
    """Messages add up to what a unit holds, and that lies within the thresholds of all layers before it."""
    shift = rng.choice([0, 0, 3])
    network = random_flow_network(
        rng, thresholds=True, shift=shift, side=6, averages=rng.random() < 0.5, cum_error=rng.random() < 0.5
    )
    with what_fits():
        program = compile_network(network, random_flow_chip(rng, ROOMY))
    frames = random_flow_frames(rng, network, 3)
    try:
        _, activities, states = run_frames(program, frames)
    except DeadlockError:
        assume(False)
    sums = np.zeros(network.size, dtype=np.int64)
    exact, _ = exactly(network, frames["in"][-1])
    for activity, state in zip(activities, states, strict=True):
        np.add.at(sums, activity.neuron, activity.value)
        for layer, low in zip(network.layers, network.offsets.tolist(), strict=False):
            if isinstance(layer.unit, SigmaDelta | Delta):
                sent = sums[low : low + layer.size] << layer.unit.message_shift
                assert sent.tolist() == state[layer.name]["held"].tolist()
    _, bound = exactly(network, frames["in"][-1])
    for layer in network.layers:
        name = "sigma" if isinstance(layer.unit, Sigma) else "held"
        scale = 1 if isinstance(layer.unit, Sigma) else 1 << layer.unit.message_shift  # type: ignore[union-attr]
        assert (np.abs(states[-1][layer.name][name] - exact[layer.name] * scale) <= bound[layer.name] * scale).all()


def exactly(network: Network, frame: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What layers would send in all without thresholds, in messages, and by how much they may differ with them.

    A unit's output is 1-Lipschitz in its sum, so an error of its inputs comes through times the weights' magnitudes.
    At rest what it holds is off its output by less than its threshold, or by less than a message's unit. Where errors
    are added up, both that before the last update and that after it are less than the threshold, so their difference,
    which is what it is off by, is less than twice that. Averages are rounded down once.
    """
    values: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    for layer in network.layers:
        unit = layer.unit
        if isinstance(unit, Delta):
            values[layer.name] = frame.astype(np.float64)
            bounds[layer.name] = np.full(layer.size, max(unit.threshold - 1, 0) / (1 << unit.message_shift))
            continue
        total, error = np.zeros(layer.size), np.zeros(layer.size)
        for connection in network.connections:
            if connection.target == layer.name:
                transform = connection.transform
                given_values = np.concatenate([values[name] for name in connection.sources])
                given_bounds = np.concatenate([bounds[name] for name in connection.sources])
                as_floats: Any = transform.weights.astype(np.float64)
                total += plain_apply(transform, given_values, as_floats) / transform.divisor
                error += plain_apply(transform, given_bounds, np.abs(as_floats)) / transform.divisor
        error += any(c.transform.divisor > 1 for c in network.connections if c.target == layer.name)
        if isinstance(unit, SigmaDelta):
            unit_size = 1 << unit.message_shift
            output = np.maximum(total + (spread(unit.bias, layer.shape) << unit.bias_shift), 0)
            values[layer.name] = output / unit_size
            kept = max(unit.threshold - 1, 0) * (1 + unit.cum_error)
            bounds[layer.name] = (error + max(kept, unit_size - 1)) / unit_size
        else:
            values[layer.name], bounds[layer.name] = total, error
    return values, bounds


@seed(9)
@settings(SETTINGS, max_examples=25)
@given(RANDOM)
def test_averages_are_rounded_once_whatever_came_when(rng: Random) -> None:
    """At rest a layer has the sum of its averages rounded down, for any chip, order and number of frames."""
    network = random_flow_network(rng, averages=True, cum_error=True, side=6)
    frames = random_flow_frames(rng, network, 3)
    with what_fits():
        program = compile_network(network, random_flow_chip(rng, ROOMY))
    try:
        _, _, states = run_frames(program, frames)
    except DeadlockError:
        assume(False)
    for frame, state in zip(frames["in"], states, strict=True):
        values: dict[str, Any] = {"in": frame}
        for layer in network.layers[1:]:
            total = [Fraction(0)] * layer.size
            for connection in network.connections:
                if connection.target == layer.name:
                    sums = connection.transform.apply(np.concatenate([values[name] for name in connection.sources]))
                    area = connection.transform.divisor
                    total = [t + Fraction(int(s), area) for t, s in zip(total, sums.tolist(), strict=True)]
            sigma = np.array([floor(t) for t in total])
            assert state[layer.name]["sigma"].tolist() == sigma.tolist(), layer.name
            if isinstance(layer.unit, SigmaDelta):
                values[layer.name] = np.maximum(sigma + spread(layer.unit.bias, layer.shape), 0)
                assert state[layer.name]["held"].tolist() == values[layer.name].tolist()


def test_an_average_is_that_of_the_barrier_run_where_all_comes_at_once() -> None:
    """Later frames of the barrier run lose up to one each to rounding; without timesteps nothing is lost."""
    layers = [Layer("in", (2, 4, 4), Delta(0, 6, 6)), Layer("pool", (2, 2, 2), Sigma())]
    network = Network(layers, [Connection(("in",), "pool", Pool2d("average", 2, (2, 4, 4)))], "pooled")
    frames = {"in": np.random.default_rng(2).integers(-20, 20, (6, 32))}
    _, _, states = run_frames(compile_network(network, small_chip()), frames)
    expected = settled(network, frames)
    assert states[0]["pool"]["sigma"].tolist() == expected[0]["pool"]["sigma"].tolist()
    windows = frames["in"].reshape(6, 2, 2, 2, 2, 2).sum(axis=(3, 5)).reshape(6, 8)
    for t, (state, due) in enumerate(zip(states, expected, strict=True)):
        assert state["pool"]["sigma"].tolist() == (windows[t] // 4).tolist()
        lost = state["pool"]["sigma"] - due["pool"]["sigma"]
        assert (lost >= 0).all()
        assert (lost <= t).all()
    assert lost.any()


def test_averages_without_a_common_divisor_of_a_usable_size_are_refused() -> None:
    layers = [Layer("in", (1, 47, 47), Delta(0, 6, 6)), Layer("out", (1, 1, 1), Sigma())]
    heavy = Connection(("in",), "out", Conv2d(np.full((1, 1, 47, 47), 1 << 22), (1, 47, 47)))
    pool = Connection(("in",), "out", Pool2d("average", 47, (1, 47, 47)))
    network = Network(layers, [heavy, pool], "heavy")
    with pytest.raises(InputError, match="common divisor is 2209, and these weights times it take more than 32 bits"):
        list_module.common_divisors(network)


@seed(10)
@settings(SETTINGS, max_examples=30)
@given(RANDOM)
def test_spikes_of_equal_weights_are_counted_whatever_came_when(rng: Random) -> None:
    """Where all weights into a layer are w > 0, a unit spikes at every k-th arrival: the first k with k w > threshold.

    Excess is forgotten on a spike, but each arrival is one step of w, so the count knows no order.
    """
    shape = (rng.randint(1, 2), rng.randint(2, 5), rng.randint(2, 5))
    layers, connections, weight = [Layer("in", shape, Relay(spikes=True))], [], {}
    for name in ("a", "b", "c"):
        before = layers[-1]
        weight[name] = rng.randint(1, 20)
        transform = random_sparse(rng, before.size, rng.randint(2, 12))
        if len(before.shape) == 3 and rng.random() < 0.6:
            transform = random_image(rng, before.shape)
        even = np.full_like(transform.weights, weight[name])
        if isinstance(transform, Conv2d):
            transform = Conv2d(even, before.shape, transform.stride, transform.padding, 1, transform.groups)
        else:
            transform = Sparse(transform.row_start, transform.targets, even, transform.out_size)
        unit = CubaLif(4096, 0, rng.randint(0, 200), activation_shift=rng.choice([0, 2]))
        layers.append(Layer(name, transform.out_shape, unit))
        connections.append(Connection((before.name,), name, transform))
    network = Network(layers, connections, "even")
    frames = {"in": np.array([[rng.random() < 0.7 for _ in range(layers[0].size)] for _ in range(6)]).astype(np.int64)}
    with what_fits():
        program = compile_network(network, random_flow_chip(rng, ROOMY))
    _, activities, states = run_frames(program, frames)
    sent = {"in": frames["in"].sum(axis=0)}
    found = np.zeros(network.size, dtype=np.int64)
    for activity in activities:
        assert (activity.value == 1).all()
        np.add.at(found, activity.neuron, 1)
    for connection, layer, low in zip(connections, layers[1:], network.offsets[1:].tolist(), strict=False):
        step = weight[layer.name] << layer.unit.activation_shift
        every = layer.unit.threshold // step + 1
        arrivals = connection.transform.apply(sent[connection.sources[0]]) // weight[layer.name]
        sent[layer.name] = arrivals // every
        assert found[low : low + layer.size].tolist() == sent[layer.name].tolist()
        assert states[-1][layer.name]["voltage"].tolist() == (arrivals % every * step).tolist()
        assert not states[-1][layer.name]["current"].any()


@pytest.mark.parametrize(
    "unit",
    [
        CubaLif(4096, 0, 300, activation_shift=3),
        CubaLif(4096, 0, 1 << 20, activation_shift=18),  # wraps its current and clips its voltage
        SigmaDelta(9, np.array([4]), "default", True, 0, 0),
        SigmaDelta(9, np.array([4]), "corrected", True, 0, 2),
        SigmaDelta(9, np.array([4]), "corrected", False, 0, 2),
    ],
)
def test_one_message_a_timestep_is_the_barrier_run(unit: Any) -> None:
    """A unit that gets one message in every frame does the step that it would do in the timestep after it."""
    rng = np.random.default_rng(3)
    weights = np.diag(rng.integers(1, 60, 12) * rng.choice([-1, 1], 12))
    layers = [Layer("in", (12,), Relay()), Layer("unit", (12,), unit)]
    network = Network(layers, [Connection(("in",), "unit", Dense(weights))], "single")
    frames = rng.integers(1, 12, (40, 12)) * rng.choice([-1, 1], (40, 12))
    _, activities, states = run_frames(compile_network(network, small_chip()), {"in": frames})
    expected = run_reference(network, {"in": frames}, 41)
    due = expected.messages["unit"]
    due = np.concatenate((due[:1] + due[1:2], due[2:]))  # the first frame holds the answer to biases too
    assert np.count_nonzero(due) > 40
    for activity, messages in zip(activities, due, strict=True):
        assert activity.read_out is not None
        assert activity.read_out["unit"].tolist() == messages.tolist()
    for name in {"sigma", "held", "error", "voltage"} & set(unit.state_names):
        assert states[-1]["unit"][name].tolist() == expected.states["unit"][name].tolist()


def plain_apply(transform: Any, inputs: Any, weights: Any) -> Any:
    """A transform as a sum over unit inputs, for numbers that are no integers."""
    columns = [transform.apply(row, weights.astype(np.int64)) for row in np.eye(transform.in_size, dtype=np.int64)]
    return np.array(columns, dtype=np.float64).T @ inputs


def small_network(threshold: int = 0) -> Network:
    """Two layers that both feed an output."""
    rng = np.random.default_rng(4)
    hidden = SigmaDelta(threshold, np.array([3]), "default", False, 0, 0)
    layers = [Layer("in", (6,), Delta(0, 6, 6)), Layer("a", (9,), hidden), Layer("b", (7,), hidden)]
    layers.append(Layer("out", (4,), Sigma()))
    connections = [
        Connection(("in",), "a", Dense(rng.integers(-9, 10, (9, 6)))),
        Connection(("a",), "b", Dense(rng.integers(-9, 10, (7, 9)))),
        Connection(("a", "b"), "out", Dense(rng.integers(-9, 10, (4, 16)))),
    ]
    return Network(layers, connections, "small")


def small_chip(**changes: Any) -> Chip:
    keys = {"core.neurons_usable": (4,), "core.axon_in.queue": (64,), "core.axon_out.queue": (64,)}
    return changed("loihi2", NONE | keys | {key.replace("__", "."): value for key, value in changes.items()})


def small_frames(count: int = 4) -> dict[str, Any]:
    return {"in": np.random.default_rng(9).integers(-20, 20, (count, 6))}


def small_run(**options: Any) -> RunCounts:
    program = compile_network(small_network(), small_chip())
    return run_program(program, small_frames(), 4, **options)


def digest(counts: RunCounts) -> str:
    """A digest of all that was counted and timed."""
    hashed = hashlib.sha256()
    for name in ("layer_counts", "core_counts", "link_flits", "duration_ps", "sweep_ps", "network_ps", "path_ps"):
        hashed.update(np.ascontiguousarray(getattr(counts, name)).tobytes())
    for values in counts.outputs.values():
        hashed.update(values.tobytes())
    return hashed.hexdigest()


SCRIPT = "from test_dataflow import digest, small_run; print(digest(small_run()))"


def digest_elsewhere(**environment: str) -> str:
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": here, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_same_bytes_for_repeated_runs_and_any_hash_seed() -> None:
    first = digest(small_run())
    assert digest(small_run(threads=2)) == first
    for hash_seed in ("0", "1", "4711"):
        assert digest_elsewhere(PYTHONHASHSEED=hash_seed) == first


def test_same_bytes_without_the_compiler() -> None:
    assert digest_elsewhere(NUMBA_DISABLE_JIT="1") == digest(small_run())


def test_tables_grow_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    first = digest(small_run())
    for room in (1, 16, 4096):
        monkeypatch.setattr(flow, "FIRST_ROOM", room)
        assert digest(small_run()) == first


def test_a_run_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    program = compile_network(small_network(), small_chip())
    whole = run_program(program, small_frames(), 4)
    file = Checkpoint(tmp_path / "run.npz", 2)
    run_program(program, small_frames(), 2, checkpoint=file)
    assert file.path.exists()
    assert digest(run_program(program, small_frames(), 4, checkpoint=file)) == digest(whole)


def test_one_message_by_hand() -> None:
    """A chain of single neurons on one tile: every time worked out from the chip's constants."""

    def ns(value: int) -> tuple[str]:
        return (f"{value} ns",)

    chip = changed(
        "loihi2",
        NONE
        | {
            "mesh.columns": (1,), "mesh.rows": (1,), "mesh.cores_usable": None,
            "core.axon_in.time": ns(3), "core.axon_out.time": ns(5),
            "core.neuron.update_active_time": ns(7), "core.neuron.update_inactive_time": ns(2),
            "core.neuron.send_time": ns(11), "core.memories.synapse.read_latency": ns(13),
            "core.memories.synapse.read_interval": ns(1), "core.encodings.dense.synop_time": ns(17),
            "core.encodings.sparse.synop_time": ns(17), "network.flit": ("64 bit",),
            "network.latency_injection": ns(19), "network.latency_ejection": ns(23),
        },
    )  # fmt: skip
    one = SigmaDelta(0, np.array([0]), "default", False, 0, 0)
    layers = [Layer("in", (1,), Delta(0, 6, 6)), Layer("mid", (1,), one), Layer("out", (1,), Sigma())]
    connections = [Connection(("in",), "mid", Dense([[2]])), Connection(("mid",), "out", Dense([[3]]))]
    program = compile_network(Network(layers, connections, "hand"), chip)
    counts = run_program(program, {"in": np.array([[5], [5]])}, 2)
    # The input: an active update, a message, a destination. Then twice the flight, axon-in, read, synop, an active
    # update and, for the first, a message and a destination; for the output a message to the host.
    hop, work = 19 + 23, 3 + 13 + 17 + 7
    first = 7 + 11 + 5 + hop + work + 11 + 5 + hop + work + 11
    assert counts.duration_ps.tolist() == [first * 1000, 2000]  # then nothing changes: an inactive update
    assert counts.outputs["out"].tolist() == [[30], [30]]
    updates = counts.layer_counts[:, :, [LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE]]
    assert updates.tolist() == [[[1, 0], [1, 1], [1, 1]], [[0, 1], [0, 0], [0, 0]]]


def test_path_covers_the_frame_and_every_resource_has_its_share() -> None:
    counts = small_run()
    assert (counts.path_ps.sum(axis=1) == counts.duration_ps).all()
    assert (counts.duration_ps > 0).all()


def test_an_inference_is_a_frame() -> None:
    """Frames come out in the timestep in which they go in, so all but the first are steady."""
    program = compile_network(small_network(), small_chip())
    result = api.simulate(program, small_frames()["in"])
    assert isinstance(result, Result)
    assert (result.timesteps, result.window.inferences, result.window.steady) == (4, 4, 3)
    assert result.latency_inference_s == pytest.approx(float(result.counts.duration_ps[1:].mean()) * 1e-12)
    assert result.energy_inference is not None


def test_command_runs_a_program_without_timesteps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, frames, summary = tmp_path / "small.h5", tmp_path / "frames.npy", tmp_path / "summary.json"
    write_program(compile_network(small_network(), small_chip()), program)
    np.save(frames, small_frames()["in"])
    code = main(["run", str(program), "--input", str(frames), "--json", str(summary), "--csv", str(tmp_path / "csv")])
    assert code == 0, capsys.readouterr().err
    written = json.loads(summary.read_text())
    assert (written["step"], written["timesteps"]) == ("frame", 4)
    durations = small_run().duration_ps
    path = written["per_timestep"]["critical_path_ps"]
    assert np.sum([*path.values()], axis=0).tolist() == durations.tolist()


def test_command_draws_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program, frames, drawn = (str(tmp_path / name) for name in ("small.h5", "frames.npy", "t.json.gz"))
    write_program(compile_network(small_network(), small_chip()), program)
    np.save(frames, small_frames()["in"])
    command = ["run", program, "--input", frames, "--timeline", drawn, "--timeline-steps"]
    assert main([*command, "2:3"]) == 0, capsys.readouterr().err
    content = json.loads(gzip.decompress(Path(drawn).read_bytes()))
    assert content["otherData"]["frames"] == [2, 3]
    names = {event["name"] for event in content["traceEvents"]}
    assert {"frame 2", "frame 3", "update", "synapse read"} <= names
    said = capsys.readouterr().out
    assert f"{content['otherData']['events']:,} events, all that was asked for" in said
    assert "4 frames, 1 frame per inference, 4 inferences complete (3 steady)" in said
    assert "from its first frame until its answer is out" in said
    said = said.split("What is not published")[0]  # what follows speaks of the chip
    assert "timestep" not in said
    assert "pipeline" not in said
    assert main(["run", program, "--input", frames, "--steps", "1"]) == 0
    said = " ".join(capsys.readouterr().out.split("What is not published")[0].split())
    assert "its answer needs 2 frames, the run has 1" in said
    assert "timestep" not in said
    assert main([*command, "3:9"]) == 2
    assert "frames 3 to 9 are asked for; the run has frames 1 to 4" in " ".join(capsys.readouterr().err.split())


def with_layer(name: str, unit: Any) -> Network:
    network = small_network()
    return network.with_units({name: unit})


def with_connection(**changes: Any) -> Network:
    network = small_network()
    first, *rest = network.connections
    return Network(network.layers, [replace(first, **changes), *rest], "small")


def firing(**changes: Any) -> Network:
    """The network with a layer that integrates and fires, but for `changes`."""
    return with_layer("a", replace(CubaLif(4096, 0, 64), **changes))


CUBA = "layer a of cuba_lif units changes with timesteps: "
REFUSED = {
    "current": (firing(current_decay=4095), CUBA + "its current outlasts an arrival .current_decay 4095; set 4096"),
    "leak": (firing(voltage_decay=1), CUBA + "its voltage leaks .voltage_decay 1; set 0"),
    "bias": (firing(bias=np.array([0] * 8 + [1])), CUBA + "its bias is added in every timestep"),
    "reset": (firing(reset_interval=16), CUBA + "it is reset every 16 timesteps"),
    "threshold": (firing(threshold=-1), CUBA + "it spikes though nothing arrives .threshold -1"),
    "fed cuba_lif": (with_layer("in", CubaLif(0, 9, 64)), "its current .* 4096.; its voltage leaks .voltage_decay 9"),
    "lif": (
        with_layer("a", Lif(voltage_keep=np.array([9]), threshold=np.array([9]))),
        "layer a of lif units takes the sum of a timestep",
    ),
    "relay": (with_layer("a", Relay()), "layer a of relay units takes the sum"),
    "sigma": (with_layer("b", Sigma()), "layer b sends its sum in every timestep"),
    "delay": (with_connection(delay=Delay("axon", np.arange(6))), "in -> a has delays of up to 5 timesteps, and"),
}


@pytest.mark.parametrize("kind", sorted(REFUSED))
def test_what_means_something_else_is_refused(kind: str) -> None:
    network, words = REFUSED[kind]
    program = compile_network(network, small_chip())
    with pytest.raises(InputError, match=words):
        run_program(program, {"in": np.ones((1, network["in"].size), dtype=np.int64)}, 1)


def test_products_that_would_wrap_are_refused() -> None:
    program = compile_network(with_connection(accumulator_bits=6), small_chip())
    with pytest.raises(InputError, match="its accumulators hold 6 bits and would wrap"):
        run_program(program, {"in": np.full((1, 6), 19)}, 1)
    run_program(program, {"in": np.full((1, 6), 2)}, 1)


def test_a_loop_that_keeps_itself_going_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    network = small_network()
    loop = Connection(("a",), "a", Dense(-np.eye(9, dtype=np.int64)))
    monkeypatch.setattr(flow, "MOST_ROOM", 2048)
    program = compile_network(Network(network.layers, [*network.connections, loop], "loop"), small_chip())
    with pytest.raises(InputError, match="more than 2048 messages, and loop is not at rest"):
        run_program(program, {"in": np.full((1, 6), 9)}, 1)


def test_lists_beyond_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_module, "MOST_LIST_BYTES", 1000)
    with pytest.raises(InputError, match="every synapse is written down by itself"):
        small_run()


def test_what_is_not_done_is_named() -> None:
    with pytest.raises(InputError, match="fidelity fast knows no chips without timesteps"):
        small_run(fidelity="fast")
    with pytest.raises(ChipError, match=r"core.phases: with sync.kind .none. a core does one thing at a time"):
        small_chip(core__phases="strict")
    with pytest.raises(ChipError, match=r'sync.kind "none" needs cores of kind "pipeline"'):
        small_chip(core__kind="crossbar")
