"""What gated units take of a chip, counted by hand on cases small enough for that."""

from __future__ import annotations

import numpy as np
import pytest

from hwmodels import Chip, load_chip
from neurosim.compiler import MEMORIES, compile_network
from neurosim.compiler.memory import state_words
from neurosim.costs import Result
from neurosim.engine import CoreCount, LayerCount, run_program
from neurosim.engine.exercise import exercise_chips, gated_network
from neurosim.network import Connection, Delta, DeltaGru, DeltaLstm, Dense, Layer, Network

INPUTS, HIDDEN, STEPS = 3, 2, 6


def tiny(kind: str) -> Network:
    """3 inputs, 2 gated neurons; no weight is 0."""
    rng = np.random.default_rng(3)
    unit = DeltaGru(threshold=10, start=1) if kind == "gru" else DeltaLstm(threshold=10, start=1)
    gates = 3 if kind == "gru" else 4
    into = [(0, 1, 2), (0, 1, 3)] if kind == "gru" else [None, None]
    shapes = ((gates * HIDDEN, INPUTS), (gates * HIDDEN, HIDDEN))
    weights = [rng.integers(1, 127, shape) * rng.choice([-1, 1], shape) for shape in shapes]
    layers = [Layer("x", (INPUTS,), Delta(20, 0, 0)), Layer("h", (HIDDEN,), unit)]
    sources = ("x", "h")
    connections = [
        Connection((name,), "h", Dense(w), compartments=c) for name, w, c in zip(sources, weights, into, strict=True)
    ]
    return Network(layers, connections, kind)


FRAMES = {"x": np.array([[100, 0, -300], [110, 400, -300], [500, 400, -300], [500, 385, 0]])}
# Changes of 20 or more: the first frame 2, then 1, 1 (the 400 to 385 is kept back) and 1.
SENT = [2, 1, 1, 1, 0, 0]


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_counts_by_hand(kind: str) -> None:
    network, gates = tiny(kind), 3 if kind == "gru" else 4
    program = compile_network(network, load_chip("loihi2"))
    counts = run_program(program, FRAMES, STEPS, keep_activity=True)
    by_layer, c = counts.layer_counts, LayerCount
    states = [int(a.layer_start[2] - a.layer_start[1]) for a in counts.activity]
    assert by_layer[:, 0, c.MESSAGES].tolist() == SENT
    assert by_layer[:, 1, c.MESSAGES].tolist() == states
    assert sum(states) > 0
    # One message meets one list: a weight for each gate of each neuron.
    synops = gates * HIDDEN
    for layer, messages in ((0, SENT), (1, states)):
        for column in (c.SYNOPS, c.SYNOPS_NONZERO, c.CHARGED_DENSE):
            assert by_layer[:, layer, column].tolist() == [synops * m for m in messages]
        assert by_layer[:, layer, c.PACKETS].tolist() == messages
        # The list: header and weights of 8 bits, in words of 64 bits.
        dense = program.chip.core.encodings.dense
        bits = dense.header.value + synops * (8 + dense.index.value)
        words = -(-bits // program.chip.core.memories.synapse.word.value)
        assert by_layer[:, layer, c.SYNAPSE_WORDS].tolist() == [words * m for m in messages]
    # Four compartments of two neurons are updated in every timestep, and an input's one.
    updates = by_layer[:, :, [c.UPDATES_ACTIVE, c.UPDATES_INACTIVE]].sum(axis=2)
    assert updates[:, 1].tolist() == [4 * HIDDEN] * STEPS
    assert updates[:, 0].tolist() == [INPUTS] * STEPS
    assert (by_layer[:, 1, c.UPDATES_ACTIVE] % 4 == 0).all()
    # The state: four sums of 32 bits; h, what was sent of it, and c, of 16 bits; or what the chip says a slot takes.
    fixed = program.chip.core.neuron.state
    bits = 4 * int(fixed.value) if fixed is not None else 4 * 32 + (2 if kind == "gru" else 3) * 16
    words = -(-bits // program.chip.core.memories.neuron_state.word.value)
    assert state_words(network["h"], program.chip) == words
    assert by_layer[:, 1, c.STATE_WORDS_READ].tolist() == [HIDDEN * words] * STEPS
    # Every synop reads and writes an accumulator, and every update of the gated layer reads and clears one.
    traffic = {memory.name: memory for memory in Result(counts, frames=4).memories}
    expected = synops * (sum(SENT) + sum(states)) + 4 * HIDDEN * STEPS
    assert traffic["accumulator"].words_read == traffic["accumulator"].words_written == expected


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_memories_by_hand(kind: str) -> None:
    network = tiny(kind)
    program = compile_network(network, load_chip("loihi2"))
    (core,) = [i for i, part in enumerate(program.slices) if part.layer == 1]
    assert program.slices[core].neuron_slots == 4 * HIDDEN
    words = dict(zip(MEMORIES, program.memory_words[core].tolist(), strict=True))
    memories = program.chip.core.memories
    assert words["neuron_state"] == HIDDEN * state_words(network["h"], program.chip)
    # Accumulators of 24 bits, one slot of time, four a neuron.
    assert words["accumulator"] == -(-4 * HIDDEN * 24 // memories.accumulator.word.value)
    assert program.occupancy()["neurons"][0][core] == 4 * HIDDEN
    assert program.axon_in_entries[core] == INPUTS + HIDDEN


def test_a_silent_step_takes_the_sweep_and_nothing_else() -> None:
    """Nothing arrives and no neuron moves: four inactive updates a neuron, then the barrier."""
    network = tiny("lstm")
    program = compile_network(network, load_chip("loihi2", {"core.neuron.update_inactive_time": "7 ns"}))
    counts = run_program(program, {"x": np.zeros((1, INPUTS), dtype=np.int64)}, 4)
    assert not counts.layer_counts[:, :, LayerCount.MESSAGES].any()
    assert counts.sweep_ps.tolist() == [4 * HIDDEN * 7000] * 4
    assert counts.duration_ps.tolist() == [4 * HIDDEN * 7000 + counts.barrier_ps] * 4


def variants() -> list[Chip]:
    sharing = load_chip("loihi2").to_dict()
    sharing["core"]["shared_port"] = ["sweep", "accumulate"]
    return [load_chip("loihi2"), load_chip("spinnaker2"), *exercise_chips(), Chip.from_dict(sharing)]


@pytest.mark.parametrize("number", range(5))
def test_every_kind_of_core_sweeps_each_compartment(number: int) -> None:
    """Core counts by hand: the time of a sweep is that of its updates, sends and axon-out accesses."""
    chip = variants()[number]
    network, frames = gated_network()
    program = compile_network(network, chip)
    counts = run_program(program, frames, STEPS, keep_activity=True)
    core = chip.core
    active = np.array([np.add.reduceat(a.active, network.offsets[:-1]) for a in counts.activity])
    sizes = np.diff(network.offsets)
    each = np.array([1, 4, 4])
    c = LayerCount
    assert counts.layer_counts[:, :, c.UPDATES_ACTIVE].tolist() == (active * each).tolist()
    assert counts.layer_counts[:, :, c.UPDATES_INACTIVE].tolist() == ((sizes - active) * each).tolist()
    sums = counts.layer_counts.sum(axis=0)
    timer = 0 if core.processor is None else core.processor.timer_time.value * STEPS
    sends = core.neuron.send_time.value
    for layer in range(3):
        (place,) = np.flatnonzero(program.core_layer == layer)
        expected = (
            timer
            + int(sums[layer, c.UPDATES_ACTIVE]) * core.neuron.update_active_time.value
            + int(sums[layer, c.UPDATES_INACTIVE]) * core.neuron.update_inactive_time.value
            + int(sums[layer, c.SENDS]) * sends
            + int(sums[layer, c.PACKETS]) * core.axon_out.time.value
        )
        assert counts.core_counts[place, CoreCount.SWEEP_PS] == expected
    Result(counts, frames=5)  # Its audit holds every law.


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_sweep_of_touched_neurons_visits_all_compartments_of_each(kind: str) -> None:
    """What a neuron met is counted by hand: a weight for each gate of each message of the timestep before."""
    network, gates = tiny(kind), 3 if kind == "gru" else 4
    program = compile_network(network, load_chip("loihi2", {"core.neuron.sweep": "touched"}))
    counts = run_program(program, FRAMES, 40, keep_activity=True)
    messages = 0
    for activity in counts.activity:
        assert activity.met is not None
        assert activity.touched is not None
        assert activity.met[INPUTS:].tolist() == [gates * messages] * HIDDEN
        touched = np.add.reduceat(activity.touched, network.offsets[:-1])
        updates = counts.layer_counts[
            activity.timestep - 1, :, [LayerCount.UPDATES_ACTIVE, LayerCount.UPDATES_INACTIVE]
        ]
        assert updates.sum(axis=0).tolist() == (touched * [1, 4]).tolist()
        messages = activity.neuron.size
    # At rest nothing is touched but inputs that are not 0.
    assert updates.sum(axis=0).tolist() == [2, 0]
    Result(counts, frames=4)


def test_banks_of_accumulators_hold_compartments_side_by_side() -> None:
    """Eight lanes over four banks: a list of a GRU leads to compartments 0, 1 and 2 of each neuron, of four banks."""
    plain = load_chip("loihi2").to_dict()
    number = {"kind": "architecture", "source": "this test"}
    plain["core"]["lanes"] = number | {"value": 8}
    plain["core"]["memories"]["accumulator"] |= {"banks": number | {"value": 4}, "ports": number | {"value": 1}}
    layers = [Layer("x", (1,), Delta(0, 0, 0)), Layer("h", (5,), DeltaGru())]
    connection = Connection(("x",), "h", Dense(np.ones((15, 1))), compartments=(0, 1, 2))
    program = compile_network(Network(layers, [connection]), Chip.from_dict(plain))
    # Places 0 1 2 4 5 6 8 9 | 10 12 13 14 16 17 18: banks 0 1 2 0 1 2 0 1 | 2 0 1 2 0 1 2, so two further turns each.
    assert program.axon_conflicts is not None
    assert program.axon_conflicts.tolist() == [2 + 2]
