"""Sweeps of touched neurons only, and crossbars: by hand on small networks, on random ones against plain counting."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from core_stepper import Core, listed, synapses
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from random_networks import WEIGHT_BITS, changed, random_frames, random_memories, random_network

import neurosim
from hwmodels import Chip
from neurosim.compiler import Program
from neurosim.compiler.visits import counted_synapses
from neurosim.engine import Checkpoint, CoreCount, FunctionRun, LayerCount, RunCounts, TimeRun
from neurosim.errors import InputError
from neurosim.network import Connection, CubaLif, Delay, Delta, Dense, Layer, Network, Relay, Transform

RANDOM = st.randoms(use_true_random=False)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

TIMES: dict[str, Any] = {
    "core.neuron.update_active_time": ("7 ns",),
    "core.neuron.update_inactive_time": ("2 ns",),
    "core.neuron.send_time": ("3 ns",),
    "core.axon_out.time": ("5 ns",),
    "core.neuron.state": ("16 B",),
    "core.memories.neuron_state.word": ("64 bit",),
}


def touched(**synops: str) -> Chip:
    """Loihi 2 with a sweep of touched neurons, simple times, and two words of state a neuron."""
    kinds = {f"core.encodings.{kind}.synops": rule for kind, rule in synops.items()}
    return changed("loihi2", TIMES | {"core.neuron.sweep": "touched"} | kinds)


def crossbar(**changes: Any) -> Chip:
    """A crossbar of 256 lines and rows of one word, a bit a crosspoint; a synop takes 11 ns."""
    synops = {f"core.encodings.{kind}.synop_time": ("11 ns",) for kind in ("dense", "sparse", "conv")}
    rows = {
        "core.kind": "crossbar", "core.axon_in_entries": (256,), "core.weights.bits": ([1],),
        "core.memories.synapse.word": ("256 bit",),
    }  # fmt: skip
    return changed("loihi2", TIMES | synops | rows | changes)


def pair(transform: Transform, delay: Delay | None = None) -> Network:
    """Spikes into neurons that forget their current at once and keep their voltage; they never fire."""
    layers = [
        Layer("in", (transform.in_size,), Relay(spikes=True)),
        Layer("out", (transform.out_size,), CubaLif(4096, 0, 1 << 20)),
    ]
    return Network(layers, [Connection(("in",), "out", transform, delay)], "pair")


def run(network: Network, chip: Chip, frames: Any, **options: Any) -> RunCounts:
    program = neurosim.compile(network, chip)
    return neurosim.simulate(program, np.array(frames), keep_activity=True, threads=1, **options).counts


def updates(counts: RunCounts, layer: str = "out") -> list[tuple[int, int]]:
    columns = [LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE]
    found = counts.layer_counts[:, counts.program.network.index[layer]][:, columns]
    return [(int(active), int(inactive)) for active, inactive in found]


# Neuron 0 gets 5 from the first input, neuron 1 gets 5 and -5 from the first two, neuron 2 a 0, neuron 3 nothing.
WEIGHTS = np.array([[5, 0], [5, -5], [0, 0], [0, 0]])


def test_touched_neurons_by_hand() -> None:
    """Timestep 2: 0 moves; 1 gets a sum of zero and stays. 3: 0's current falls back to zero. 4: nothing."""
    counts = run(pair(Dense(WEIGHTS)), touched(), [[1, 1], [0, 0]], steps=5)
    assert updates(counts) == [(0, 0), (1, 1), (1, 0), (0, 0), (0, 0)]
    assert [activity.met.tolist() for activity in counts.activity][1] == [0, 0, 1, 2, 0, 0]  # type: ignore[union-attr]
    words = counts.layer_counts.sum(axis=0)[1]
    assert words[LayerCount.STATE_WORDS_READ] == 2 * 3
    assert words[LayerCount.STATE_WORDS_WRITTEN] == 2 * 2
    assert counts.core_counts[:, CoreCount.SWEEP_PS].tolist() == [2 * 5_000, (7 + 2 + 7) * 1000]
    assert counts.sweep_ps.tolist() == [10_000, 9_000, 7_000, 0, 0]


def test_stored_zeros_touch_where_they_are_charged() -> None:
    """In a dense list that charges them, zeros reach every neuron; a sparse list does not hold them."""
    frames = [[0, 1], [0, 0]]
    both = [[5, 5], [5, -5], [5, 0], [5, 5]]
    assert updates(run(pair(Dense(both)), touched(dense="nonzero"), frames, steps=3))[1] == (3, 0)
    assert updates(run(pair(Dense(both)), touched(dense="structural"), frames, steps=3))[1] == (3, 1)
    counts = run(
        pair(Dense(np.eye(40, dtype=int) * 5)), touched(dense="structural"), np.eye(40, dtype=int)[:1], steps=3
    )
    assert counts.program.axon_encoding.tolist() == [1] * 40
    assert updates(counts)[1] == (1, 0)


def test_delayed_sums_touch_when_they_are_taken_up() -> None:
    delay = Delay("neuron", np.array([0, 3, 1, 1]))
    counts = run(pair(Dense(WEIGHTS), delay), touched(), [[1, 1], [0, 0]], steps=6)
    assert updates(counts) == [(0, 0), (1, 0), (1, 0), (0, 0), (0, 1), (0, 0)]


def test_frames_touch() -> None:
    """A frame that is held moves nothing after its first timestep; its neuron is visited all the same."""
    counts = run(Network([Layer("in", (3,), Delta(1))], []), touched(), [[3, 0, 0]], steps=3)
    assert updates(counts, "in") == [(1, 0), (0, 1), (0, 1)]


def test_a_crossbar_by_hand() -> None:
    """All four neurons in every timestep; timestep 2 does the three synapses that are there, at 11 ns."""
    network = pair(Dense([[1, 0], [1, 1], [0, 0], [0, 0]]))
    counts = run(network, crossbar(), [[1, 1], [0, 0]], steps=4)
    assert updates(counts) == [(0, 4), (2, 2), (2, 2), (0, 4)]
    still, moved = 4 * 2_000, 2 * 7_000 + 2 * 2_000
    assert counts.core_counts[:, CoreCount.SWEEP_PS].tolist() == [2 * 5_000, still + moved + 3 * 11_000 + moved + still]
    assert counts.sweep_ps.tolist()[1:] == [moved + 33_000, moved, still]
    for count in (CoreCount.SYNAPSE_READ_PS, CoreCount.ACCUMULATE_PS):
        assert counts.core_counts[:, count].tolist() == [0, 0]
    # A row a neuron and timestep, booked to the layer itself; the synops to the layer that sends.
    assert counts.layer_counts[:, :, LayerCount.SYNAPSE_WORDS].tolist() == [[0, 4]] * 4
    kinds = [LayerCount.CHARGED_DENSE, LayerCount.CHARGED_SPARSE, LayerCount.CHARGED_CONV]
    assert counts.layer_counts[:, :, kinds].sum(axis=2).tolist() == [[3, 0], [0, 0], [0, 0], [0, 0]]


def test_a_crossbar_takes_a_message_in_and_is_done() -> None:
    """Arrival plus axon-in is the end of a message: the way takes the same time whatever it meets."""
    ends = []
    for weight in ([[1] * 2] * 200, [[1, 0], [0, 1]]):
        counts = run(pair(Dense(weight)), crossbar(), [[1, 1], [0, 0]], steps=2)
        ends.append((int(counts.synapse_ps[0]), int(counts.network_ps[0])))
    assert ends[0] == ends[1]
    assert ends[0][0] == ends[0][1] + counts.program.chip.core.axon_in.time.value


@pytest.mark.parametrize(
    ("lines", "word", "weights", "expected"),
    [
        (256, "256 bit", [[1, 0]], 1),
        (257, "256 bit", [[1, 0]], 2),
        (256, "64 bit", [[1, 0]], 4),
        (256, "64 bit", [[3, 1]], 8),  # two bits a crosspoint
        (None, "64 bit", [[3, 1]], 1),  # without a limit as many lines as the core has entries: two
        (None, "3 bit", [[3, 1]], 2),
    ],
)
def test_words_of_a_row(lines: int | None, word: str, weights: list[list[int]], expected: int) -> None:
    chip = crossbar(**{
        "core.axon_in_entries": None if lines is None else (lines,), "core.memories.synapse.word": (word,),
        "core.weights.bits": ([1, 2],), "core.weights.sign_modes": True,
    })  # fmt: skip
    counts = run(pair(Dense(weights)), chip, [[1, 1]], steps=3)
    assert counts.layer_counts[:, 1, LayerCount.SYNAPSE_WORDS].tolist() == [expected] * 3


def counted_by_hand(counts: RunCounts) -> list[dict[int, int]]:
    """Synapses that every neuron met in each timestep, message by message and list by list."""
    program = counts.program
    every = listed(program.network)
    cores = [Core(program.network, every, part, program.chip, WEIGHT_BITS) for part in program.slices]
    offsets = [int(program.network.offsets[part.layer]) for part in program.slices]
    met: list[Counter[int]] = [Counter() for _ in range(counts.timesteps + 70)]
    for activity in counts.activity:
        for neuron in activity.neuron.tolist():
            for core, first in zip(cores, offsets, strict=True):
                for kept in core.lists(neuron):
                    for synapse in kept.charged:
                        met[activity.timestep + synapse.delay][first + synapse.target] += 1
    return [dict(step) for step in met]


def check_visits(program: Program, frames: dict[str, Any]) -> Counter[str]:
    """Hold a run's counts and sweep times against plain counting."""
    timesteps, network, core = 6, program.network, program.chip.core
    counts = neurosim.simulate(program, frames, steps=timesteps, keep_activity=True, threads=1).counts
    by_hand = counted_by_hand(counts)
    is_crossbar, seen = core.kind == "crossbar", Counter[str]()
    time = {name: getattr(core.neuron, f"{name}_time").value for name in ("update_active", "update_inactive", "send")}
    sweep, stored = np.zeros(program.cores, dtype=np.int64), words_of_rows(program)
    for step, activity in enumerate(counts.activity):
        met = np.array([by_hand[step].get(neuron, 0) for neuron in range(network.size)])
        assert activity.met is not None
        assert activity.met.tolist() == met.tolist()
        expected = np.zeros((len(network.layers), 5), dtype=np.int64)
        for number, part in enumerate(program.slices):
            layer = network.layers[part.layer]
            state = bool(layer.unit.state_names)
            for neuron in (part.neurons(layer.shape) + network.offsets[part.layer]).tolist():
                framed = layer.name in frames and frames[layer.name][step][neuron - network.offsets[part.layer]] != 0
                active, sends = bool(activity.active[neuron]), neuron in activity.neuron
                visited = is_crossbar or active or met[neuron] > 0 or framed
                seen["visited"] += visited
                seen["passed over"] += not visited
                if state and visited:
                    expected[part.layer] += [active, not active, 2, 2 * active, stored[number]]
                    sweep[number] += time["update_active" if active else "update_inactive"] + sends * time["send"]
                    sweep[number] += int(met[neuron]) * core.encodings.dense.synop_time.value * is_crossbar
                if sends:
                    rows = program.axon_core[program.axon_start[neuron] : program.axon_start[neuron + 1]]
                    sweep[number] += len(set(rows.tolist())) * core.axon_out.time.value
                seen["synops"] += int(met[neuron])
        columns = [
            LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE, LayerCount.STATE_WORDS_READ,
            LayerCount.STATE_WORDS_WRITTEN, LayerCount.SYNAPSE_WORDS,
        ]  # fmt: skip
        used = columns if is_crossbar else columns[:-1]
        assert counts.layer_counts[step][:, used].tolist() == expected[:, : len(used)].tolist()
    assert counts.core_counts[:, CoreCount.SWEEP_PS].tolist() == sweep.tolist()
    if is_crossbar:
        assert not counts.core_counts[:, [CoreCount.SYNAPSE_READ_PS, CoreCount.ACCUMULATE_PS]].any()
    return seen


def words_of_rows(program: Program) -> list[int]:
    """Words of a crossbar's row on each core, of crosspoints of 8 bits and the width of a synapse's own delay."""
    core, network = program.chip.core, program.network
    found = []
    for number, part in enumerate(program.slices):
        widest = 0
        for connection in network.connections:
            if connection.target == network.layers[part.layer].name:
                own = connection.delay is not None and connection.delay.kind == "synapse"
                widest = max(widest, WEIGHT_BITS + (connection.longest_delay.bit_length() if own else 0))
        entries = core.axon_in_entries
        lines = int(program.axon_in_entries[number]) if entries is None else entries.value
        bits = lines * widest
        found.append(bits // core.memories.synapse.word.value + (bits % core.memories.synapse.word.value > 0))
    return found


def random_case(rng: Random, kind: str) -> tuple[Program, dict[str, Any]]:
    changes = TIMES | random_memories(rng) | {"network.payload": ("62 bit",)}
    if kind == "crossbar":
        rule, time = rng.choice(["structural", "nonzero"]), (f"{rng.randint(0, 12)} ns",)
        for encoding in ("dense", "sparse", "conv"):
            changes |= {f"core.encodings.{encoding}.synops": rule, f"core.encodings.{encoding}.synop_time": time}
        changes |= {"core.kind": "crossbar", "core.lanes": None}
        changes["core.axon_in_entries"] = rng.choice([None, (300,)])
    else:
        changes["core.neuron.sweep"] = "touched"
    network = random_network(rng, spikes=rng.random() < 0.3)
    return neurosim.compile(network, changed("loihi2", changes)), random_frames(rng, network, 6)


@pytest.mark.parametrize("kind", ["touched", "crossbar"])
@seed(7)
@settings(SETTINGS, max_examples=60)
@given(rng=RANDOM)
def test_visits_equal_plain_counting(kind: str, rng: Random) -> None:
    check_visits(*random_case(rng, kind))


def test_the_random_cases_have_what_matters() -> None:
    seen = sum((check_visits(*random_case(Random(number), "touched")) for number in range(15)), Counter())
    assert min(seen["visited"], seen["passed over"], seen["synops"]) > 1000


@pytest.mark.parametrize("kind", ["touched", "crossbar"])
@pytest.mark.parametrize("number", range(4))
def test_a_run_cut_at_any_timestep(kind: str, number: int, tmp_path: Path) -> None:
    """Synapses on their way, over delays, are saved with the sums."""
    program, frames = random_case(Random(number), kind)
    whole = neurosim.simulate(program, frames, steps=6).counts
    for cut in range(1, 6):
        saved = Checkpoint(tmp_path / f"{cut}.ckpt", cut)
        neurosim.simulate(program, frames, steps=cut, checkpoint=saved)
        rest = neurosim.simulate(program, frames, steps=6, checkpoint=saved, threads=2).counts
        assert np.array_equal(rest.layer_counts, whole.layer_counts)
        assert np.array_equal(rest.core_counts, whole.core_counts)
        assert np.array_equal(rest.duration_ps, whole.duration_ps)


def test_where_all_are_visited_nothing_is_counted() -> None:
    program = neurosim.compile(pair(Dense(WEIGHTS)), "loihi2")
    assert counted_synapses(program) is None
    activity = FunctionRun(program.network, {"in": np.array([[1, 1]])}).step()
    assert activity.met is None
    assert activity.touched is None


def test_an_activity_that_does_not_say_what_was_touched() -> None:
    program = neurosim.compile(pair(Dense(WEIGHTS)), touched())
    activity = FunctionRun(program.network, {"in": np.array([[1, 1]])}).step()
    with pytest.raises(InputError, match="timestep 1: loihi2 sweeps by the synapses that neurons meet, and"):
        TimeRun(program).step(activity)


def test_a_table_that_charges_other_synapses() -> None:
    """Another compiler may store a dense connection as it likes; what its lists touch cannot be known from them."""
    program = neurosim.compile(pair(Dense(WEIGHTS)), touched(dense="structural"))
    assert counted_synapses(program) is not None
    other = replace(program, axon_synops=program.axon_synops - np.int32(1))
    with pytest.raises(InputError, match="pair on loihi2: the axon table charges a message of neuron 0 at core 1"):
        counted_synapses(other)


def test_lists_of_the_stepper_are_those_of_the_network() -> None:
    """The plain lists that these tests count by give the sums that the transforms give."""
    for number in range(20):
        rng = Random(number)
        for connection in random_network(rng).connections:
            messages = np.array([rng.randint(-9, 9) for _ in range(connection.transform.in_size)])
            sums = np.zeros(connection.transform.out_size, dtype=np.int64)
            for source, message in enumerate(messages.tolist()):
                for synapse in synapses(connection, source):
                    sums[synapse.target] += synapse.weight * message
            assert sums.tolist() == connection.transform.apply(messages).tolist()
