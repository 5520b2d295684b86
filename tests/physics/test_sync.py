"""How timesteps end: ticks that wait, timers that do not, strict phases; and one SpiNNaker-like machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from spinnaker_like import spinnaker_like

import neurosim
import neurosim.errors
from hwmodels import Chip, load_chip
from neurosim.compiler import compile_network
from neurosim.engine import Checkpoint, CoreCount, LayerCount, Resource, RunCounts, TimeRun, run_program
from neurosim.engine.counters import StepCount
from neurosim.engine.exercise import exercise_network
from neurosim.network import Connection, CubaLif, Layer, Network, Relay, Sparse

NUMBER = {"kind": "estimate", "source": "this test", "note": "chosen here"}


def loihi2(sync: dict[str, Any] | None = None, **core: Any) -> Chip:
    plain = load_chip("loihi2").to_dict()
    plain["core"] |= core
    if sync is not None:
        plain["sync"] = sync
    return Chip.from_dict(plain)


def tick(period: str) -> dict[str, Any]:
    return {"kind": "tick", "period": NUMBER | {"value": period}}


def exercise(chip: Chip, threads: int = 1) -> RunCounts:
    network, frames = exercise_network()
    return run_program(compile_network(network, chip), frames, 9, threads=threads)


def test_a_tick_waits_for_late_work_and_work_waits_for_the_tick() -> None:
    program = compile_network(exercise_network()[0], loihi2())
    barrier = exercise(loihi2())
    work = barrier.duration_ps - TimeRun(program).barrier_ps
    period = int(np.median(work))
    ticked = exercise(loihi2(tick(f"{period} ps")))
    assert ticked.duration_ps.tolist() == np.maximum(work, period).tolist()
    assert (work > period).any()
    assert (work < period).any()
    assert ticked.path_ps[:, Resource.TICK].tolist() == np.maximum(period - work, 0).tolist()
    assert ticked.path_ps.sum(axis=1).tolist() == ticked.duration_ps.tolist()
    assert np.array_equal(exercise(loihi2(tick(f"{period} ps")), threads=3).path_ps, ticked.path_ps)


def one_spike(targets: int) -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """One relay that spikes in timestep 1, and neurons that it all reaches."""
    synapses = Sparse(np.array([0, targets]), np.arange(targets), np.full(targets, 5), targets)
    layers = [Layer("in", (1,), Relay(spikes=True)), Layer("out", (targets,), CubaLif(4096, 0, 1 << 20))]
    return Network(layers, [Connection(("in",), "out", synapses)], "one"), {"in": np.array([[1], [0]])}


def test_strict_phases_put_messages_behind_the_sweep() -> None:
    network, frames = one_spike(300)
    overlap, strict = (
        run_program(compile_network(network, chip), frames, 2, threads=1)
        for chip in (loihi2(), loihi2(phases="strict"))
    )
    assert overlap.network_ps[0] < overlap.sweep_ps[0]
    stages_ps = overlap.synapse_ps[0] - overlap.network_ps[0]
    assert strict.synapse_ps[0] == strict.sweep_ps[0] + stages_ps
    assert strict.path_ps[0, Resource.SWEEP] == strict.sweep_ps[0] == overlap.sweep_ps[0]
    assert strict.path_ps[0].sum() == strict.duration_ps[0]


def test_strict_phases_on_a_network_with_everything() -> None:
    overlap, strict = exercise(loihi2()), exercise(loihi2(phases="strict"))
    assert strict.path_ps.sum(axis=1).tolist() == strict.duration_ps.tolist()
    assert (strict.duration_ps >= overlap.duration_ps).all()
    assert (strict.duration_ps > overlap.duration_ps).any()
    assert np.array_equal(strict.layer_counts, overlap.layer_counts)


def ring_of_spikes(neurons: int) -> tuple[Network, dict[str, NDArray[np.int64]]]:
    """One relay that makes all neurons of a layer spike, which each reach themselves: as many messages on one core."""
    start = Sparse(np.array([0, neurons]), np.arange(neurons), np.full(neurons, 100), neurons)
    back = Sparse(np.arange(neurons + 1), np.arange(neurons), np.full(neurons, 100), neurons)
    layers = [Layer("in", (1,), Relay(spikes=True)), Layer("ring", (neurons,), CubaLif(4096, 4096, 64 * 50))]
    connections = [Connection(("in",), "ring", start), Connection(("ring",), "ring", back)]
    return Network(layers, connections, "ring"), {"in": np.array([[1], [0], [0]])}


def test_tianjic_keeps_a_message_for_each_axon_until_its_sweep_is_done() -> None:
    network, frames = ring_of_spikes(200)
    counts = run_program(neurosim.compile(network, "tianjic"), frames, 3, threads=1)
    assert counts.layer_counts[1:, 1, LayerCount.MESSAGES].tolist() == [200, 200]
    short = neurosim.compile(network, "tianjic", overrides={"core.axon_in.queue": 16})
    with pytest.raises(neurosim.errors.DeadlockError) as raised:
        run_program(short, frames, 3, threads=1)
    for words in ("ring on tianjic, timestep 2: ", "core 1 ->", "keeps 16 until then", "--set core.axon_in.queue=N"):
        assert words in str(raised.value)


def test_a_longer_queue_changes_no_time_where_the_short_one_has_room() -> None:
    network, frames = ring_of_spikes(16)
    long, short = (
        run_program(neurosim.compile(network, "tianjic", overrides={"core.axon_in.queue": n}), frames, 3, threads=1)
        for n in (256, 16)
    )
    assert long.duration_ps.tolist() == short.duration_ps.tolist()
    assert np.array_equal(long.core_counts, short.core_counts)
    assert np.array_equal(long.path_ps, short.path_ps)


def test_reading_and_adding_by_one_port_take_turns() -> None:
    """Two messages in a row: apart, the second is read while the first is added up; by one port it waits."""
    synapses = Sparse(np.array([0, 40, 80]), np.tile(np.arange(40), 2), np.full(80, 5), 40)
    layers = [Layer("in", (2,), Relay(spikes=True)), Layer("out", (40,), CubaLif(4096, 0, 1 << 20))]
    network = Network(layers, [Connection(("in",), "out", synapses)], "two")
    frames = {"in": np.array([[1, 1], [0, 0]])}
    chips = loihi2(), loihi2(shared_port=["synapse_read", "accumulate"])
    apart, shared = (run_program(compile_network(network, chip), frames, 2, threads=1) for chip in chips)
    core = apart.core_counts.sum(axis=0)
    read, add = int(core[CoreCount.SYNAPSE_READ_PS]) // 2, int(core[CoreCount.ACCUMULATE_PS]) // 2
    assert 0 < read < add
    axon_in = int(core[CoreCount.AXON_IN_PS]) // 2
    first = apart.synapse_ps[0] - 2 * add - read  # the first message is taken by the synapse read
    assert shared.synapse_ps[0] == max(first + read + add, first + axon_in) + read + add
    assert shared.path_ps.sum(axis=1).tolist() == shared.duration_ps.tolist()


def test_one_message_on_processors_by_hand() -> None:
    """Interrupt, set-up, transfer and row of one message, and the sweep that they interrupt; see `spinnaker_like`."""
    network, frames = one_spike(10)
    counts = run_program(compile_network(network, spinnaker_like()), frames, 2)
    ready = 1_000_000 + 100_000  # the timer's work, and one packet
    arrived = ready + 10_000 + 10_000
    set_up = arrived + 300_000 + 500_000
    row = set_up + (3 + 10) * 4_000 + 100_000
    finished = row + 600_000 + 10 * 50_000
    assert counts.network_ps[0] == arrived
    assert counts.synapse_ps[0] == finished
    alone = 1_000_000 + 10 * 320_000
    assert counts.sweep_ps.tolist() == [alone + 300_000 + 500_000 + 1_100_000, alone]
    assert counts.duration_ps.tolist() == [10**9] * 2
    assert counts.path_ps.sum(axis=1).tolist() == [10**9] * 2
    path = counts.path_ps[0]
    assert path[Resource.SWEEP] == alone
    assert path[Resource.INTERRUPT] == 300_000
    assert path[Resource.ROW] == 500_000 + 1_100_000
    assert not counts.step_counts.any()


def test_a_row_comes_by_several_words_at_a_time_by_hand() -> None:
    """The row above has 13 words: with 4 at a time it holds the memory for 4 accesses of 4 ns."""
    network, frames = one_spike(10)
    wide = spinnaker_like(core__memories__synapse__ports=2, core__memories__synapse__banks=2)
    counts = run_program(compile_network(network, wide), frames, 2)
    assert counts.synapse_ps[0] == 1_120_000 + 300_000 + 500_000 + 4 * 4_000 + 100_000 + 600_000 + 10 * 50_000
    assert counts.core_counts[:, CoreCount.SYNAPSE_READ_PS].tolist() == [0, 16_000]


def test_cores_wait_for_a_memory_that_they_share_and_not_for_their_own() -> None:
    """Two cores get a copy of a message at the same time; the row of the second is the same, 4 words, 16 ns."""
    layers = [Layer("in", (1,), Relay(spikes=True))]
    layers += [Layer(name, (1,), CubaLif(4096, 0, 1 << 20)) for name in ("a", "b")]
    ends = [
        Connection(("in",), name, Sparse(np.array([0, 1]), np.zeros(1, dtype=np.int64), np.full(1, 5), 1))
        for name in ("a", "b")
    ]
    network, frames = Network(layers, ends, "two"), {"in": np.array([[1], [0]])}
    waits = []
    for shared in ("tile", None):
        chip = spinnaker_like(chips=None, network__blocked=None, cores=3, core__memories__synapse__shared=shared)
        counts = run_program(compile_network(network, chip), frames, 2)
        assert counts.core_counts[:, CoreCount.SYNAPSE_READ_PS].tolist() == [0, 16_000, 16_000]
        waits.append(counts.core_counts[:, CoreCount.MEMORY_WAIT_PS].tolist())
    assert waits == [[0, 0, 16_000], [0, 0, 0]]


def random_pool(neurons: int, fan_out: int, slowest: int, load: float, seed: int = 3) -> Network:
    """Neurons that drive themselves to the threshold every so often, with random synapses among them.

    The time between two spikes of a neuron is drawn evenly up to `slowest` / `load` timesteps.
    """
    rng = np.random.default_rng(seed)
    step = neurons // fan_out
    targets = np.arange(fan_out)[None] * step + rng.integers(0, step, (neurons, fan_out))
    weights = rng.integers(-100, 100, neurons * fan_out)
    synapses = Sparse(np.arange(neurons + 1) * fan_out, targets.ravel(), weights, neurons)
    threshold = 1 << 20
    bias = (threshold / 64 * load / rng.uniform(slowest / 20, slowest, neurons)).astype(np.int64)
    layer = Layer("pool", (neurons,), CubaLif(4096, 0, threshold, bias=bias))
    return Network([layer], [Connection(("pool",), "pool", synapses)], "pool")


def machine(**changes: Any) -> Chip:
    """48 chips of 17 cores, whose timers start 1 us after one another."""
    return spinnaker_like(sync__stagger="1 us", **changes)


def test_work_in_time_leaves_nothing_to_the_next_timestep() -> None:
    """Where every timestep ends in its period, timing several together gives what timing each alone does."""
    network = random_pool(3000, 30, 40, 1.0)
    program = compile_network(network, machine())
    counts = run_program(program, {}, 8, keep_activity=True)
    assert not counts.step_counts[:, : StepCount.DETOURS].any()
    from neurosim.engine.processors import ProcessorRun

    runner = ProcessorRun(program)
    together = runner.together(list(counts.activity))
    for k, (timing, _) in enumerate(together):
        assert (timing.sweep_ps, timing.network_ps, timing.synapse_ps) == (
            counts.sweep_ps[k],
            counts.network_ps[k],
            counts.synapse_ps[k],
        )


@pytest.fixture(scope="module")
def overloaded() -> tuple[neurosim.Program, RunCounts]:
    """A pool whose work goes beyond a timer of 0.2 ms again and again, but not always."""
    program = compile_network(random_pool(3000, 30, 40, 2.0), machine(sync__period="200 us"))
    return program, run_program(program, {}, 24)


def test_late_work_is_reported_and_delays_what_follows(overloaded: tuple[neurosim.Program, RunCounts]) -> None:
    _, counts = overloaded
    late = counts.step_counts[:, StepCount.LATE_PS]
    end = np.maximum(np.maximum(counts.sweep_ps, counts.synapse_ps), counts.network_ps)
    assert late.tolist() == np.maximum(end - 200_000_000, 0).tolist()
    assert 0 < np.count_nonzero(late) < late.size
    assert (counts.step_counts[late == 0, StepCount.LATE_SWEEPS] == 0).all()
    assert (counts.step_counts[late == 0, StepCount.LATE_MESSAGES] == 0).all()
    assert counts.duration_ps.tolist() == [200_000_000] * 24
    spent = counts.path_ps.sum(axis=1)
    assert spent.tolist() == np.maximum(end, 200_000_000).tolist()


def test_a_run_with_late_work_goes_on_from_its_checkpoint(
    overloaded: tuple[neurosim.Program, RunCounts], tmp_path: Path
) -> None:
    program, whole = overloaded
    path = tmp_path / "run.h5"

    class CutError(Exception):
        pass

    for stop in (5, 11, 17):
        path.unlink(missing_ok=True)

        def cut(timestep: int, stop: int = stop) -> None:
            if timestep == stop:
                raise CutError

        with pytest.raises(CutError):
            run_program(program, {}, 24, progress=cut, checkpoint=Checkpoint(path, 2))
        again = run_program(program, {}, 24, checkpoint=Checkpoint(path, 2))
        for name in ("layer_counts", "core_counts", "link_flits", "step_counts", "path_ps", "synapse_ps", "dropped"):
            assert np.array_equal(getattr(again, name), getattr(whole, name)), name


def test_threads_change_nothing_on_processors() -> None:
    chip = spinnaker_like(sync__kind="tick")
    program = compile_network(random_pool(3000, 30, 40, 1.0), chip)
    one, three = (run_program(program, {}, 10, threads=threads) for threads in (1, 3))
    for name in ("layer_counts", "core_counts", "link_flits", "step_counts", "path_ps", "duration_ps"):
        assert np.array_equal(getattr(one, name), getattr(three, name)), name


def driven_pool(drivers: int, pool: int, fan_out: int) -> Network:
    """Relays of which each makes `fan_out` neurons of a pool fire, and weak random synapses within the pool."""
    rng = np.random.default_rng(3)

    def synapses(sources: int, low: int, high: int) -> Sparse:
        step = pool // fan_out
        targets = np.arange(fan_out)[None] * step + rng.integers(0, step, (sources, fan_out))
        weights = rng.integers(low, high, sources * fan_out)
        return Sparse(np.arange(sources + 1) * fan_out, targets.ravel(), weights, pool)

    layers = [Layer("drivers", (drivers,), Relay(spikes=True)), Layer("pool", (pool,), CubaLif(4096, 4096, 1000 << 6))]
    strong = Connection(("drivers",), "pool", synapses(drivers, 2000, 3000))
    return Network(layers, [strong, Connection(("pool",), "pool", synapses(pool, -20, 20))], "pool")


@pytest.mark.slow
def test_48_chips_run_100_000_neurons() -> None:
    """In time as it is; with the load tripled its timers overrun and routers drop packets, and both are reported."""
    program = compile_network(driven_pool(1_000, 99_000, 100), machine())
    assert program.network.size == 100_000
    assert program.tiles <= 48
    assert program.routes is not None
    assert program.routes.entries_minimised.max() <= 1023
    rng = np.random.default_rng(5)
    runs = {}
    for load in (1, 3):
        frames = np.zeros((100, 1_000), dtype=np.int64)
        for row in frames:
            row[rng.choice(1_000, 4 * load, replace=False)] = 1
        runs[load] = run_program(program, {"drivers": frames}, 100)
    events = {load: run.step_counts.sum(axis=0) for load, run in runs.items()}
    messages = {load: int(run.layer_counts[:, :, LayerCount.MESSAGES].sum()) for load, run in runs.items()}
    print({load: (messages[load], events[load].tolist()) for load in runs})
    assert 2.9 < messages[3] / messages[1] < 3.1
    for kind in (StepCount.LATE_PS, StepCount.LATE_SWEEPS, StepCount.LATE_MESSAGES, StepCount.DROPPED):
        assert events[1][kind] == 0
        assert events[3][kind] > 0
