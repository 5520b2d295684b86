"""The memories of a core: how long a message takes there, against the plain stepper and by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
import pytest
from core_stepper import Core, accumulate_ticks, listed, message_ticks, read_ticks, transfer_ticks
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from random_networks import WEIGHT_BITS, changed, random_memories, random_network
from spinnaker_like import NUMBER, spinnaker_like

from hwmodels import Chip
from neurosim.compiler import Program, compile_network
from neurosim.compiler.program import Encoding
from neurosim.compiler.program_checks import check_program
from neurosim.engine import CoreCount, PacketTrace, StepActivity, TimeRun
from neurosim.engine.processors import ProcessorRun
from neurosim.network import Connection, Conv2d, Dense, Layer, Network, Relay, SigmaDelta

TICK_PS = 1000
TABLES = {"entries": {"value": 1000, **NUMBER}, "default_routing": True}
WORDS = ["16 bit", "32 bit", "100 bit"]
RANDOM = st.randoms(use_true_random=False)
SETTINGS = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def everyone_sends(program: Program) -> StepActivity:
    """A timestep in which every neuron sends 1."""
    network = program.network
    size = network.size
    structural = network.fan_out[0]
    synops = [int(structural[a:b].sum()) for a, b in zip(network.offsets, network.offsets[1:], strict=False)]
    return StepActivity(
        1, np.arange(size), np.ones(size, dtype=np.int64), np.asarray(network.offsets, dtype=np.int64),
        np.ones(size, dtype=np.bool_), np.array(synops, dtype=np.int64),
    )  # fmt: skip


def timed(program: Program) -> tuple[PacketTrace, np.ndarray]:
    timing, trace = TimeRun(program).step(everyone_sends(program))
    return trace, timing.core_counts


def by_the_book(program: Program) -> Iterator[tuple[int, int, int, int]]:
    """Source core, destination core and the two times in ps of every packet, in the order of the sweeps."""
    network = program.network
    every = listed(network)
    cores = [Core(network, every, part, program.chip, WEIGHT_BITS) for part in program.slices]
    for core, part in enumerate(program.slices):
        first = int(network.offsets[part.layer])
        for neuron in cores[core].place:
            for to, other in enumerate(cores):
                ticks = message_ticks(other, first + neuron, TICK_PS)
                if ticks is not None:
                    yield core, to, ticks[0] * TICK_PS, ticks[1] * TICK_PS


def compare(program: Program) -> Counter[str]:
    """Hold every packet's times at its core against the stepper's; return what there was to see."""
    assert check_program(program) == []
    trace, counts = timed(program)
    expected = list(by_the_book(program))
    found = zip(trace.source[trace.packet], trace.destination, trace.read_ps, trace.accumulate_ps, strict=True)
    assert [tuple(map(int, packet)) for packet in found] == expected
    for column, count in ((2, CoreCount.SYNAPSE_READ_PS), (3, CoreCount.ACCUMULATE_PS)):
        busy = [sum(packet[column] for packet in expected if packet[1] == core) for core in range(program.cores)]
        assert counts[:, count].tolist() == busy
    conflicts = 0 if program.axon_conflicts is None else int(program.axon_conflicts.sum())
    return Counter(
        {
            "packets": len(expected),
            "conflicts": conflicts,
            "splits": program.cores > len(program.network.layers),
            "rows together": int(program.axon_core.size > len(expected)),
        }
    ) + Counter(f"encoding {kind}" for kind in set(program.axon_encoding.tolist()))


def random_program(rng: Random) -> Program:
    return compile_network(random_network(rng), changed("loihi2", random_memories(rng)))


@seed(5)
@settings(SETTINGS, max_examples=100)
@given(RANDOM)
def test_stage_times_equal_the_stepper(rng: Random) -> None:
    compare(random_program(rng))


@pytest.mark.slow
@seed(6)
@settings(SETTINGS, max_examples=2000)
@given(RANDOM)
def test_stage_times_equal_the_stepper_on_many(rng: Random) -> None:
    compare(random_program(rng))


def test_the_random_programs_have_what_matters() -> None:
    shown: Counter[str] = Counter()
    for number in range(60):
        shown.update(kind for kind, count in compare(random_program(Random(number))).items() if count)
    least = {
        "packets": 60, "conflicts": 20, "splits": 30, "rows together": 20, "encoding 0": 20, "encoding 1": 20,
        "encoding 2": 50,
    }  # fmt: skip
    assert not {kind: shown[kind] for kind in least if shown[kind] < least[kind]}


def test_transfers_of_rows_equal_the_stepper() -> None:
    """A row of a processor holds what a message meets at a core, and is moved in one piece."""
    shown: Counter[str] = Counter()
    for case in range(12):
        rng = Random(case)
        network = random_network(rng, spikes=True)
        banks = rng.choice([None, 1, 2, 3, 8])
        changes = {} if banks is None else {"core__memories__synapse__banks": banks}
        chip = spinnaker_like(
            chips=None, network__blocked=None, network__tables=None if case % 2 else TABLES, cores=40,
            core__neurons_usable=rng.randint(10, 40), core__weights__bits=[WEIGHT_BITS],
            core__memories__synapse__ports=rng.randint(1, 3), core__memories__synapse__word=rng.choice(WORDS),
            **changes,
        )  # fmt: skip
        program = compile_network(network, chip)
        every = listed(network)
        cores = [Core(network, every, part, chip, WEIGHT_BITS) for part in program.slices]
        words = [
            [
                {
                    to: sum(kept.words for kept in lists)
                    for to, other in enumerate(cores)
                    if (lists := other.lists(first))
                }
                for first in (int(network.offsets[part.layer]) + neuron for neuron in core.place)
            ]
            for core, part in zip(cores, program.slices, strict=True)
        ]
        expected = []
        for mine in words:
            tree = sorted({to for met in mine for to in met})
            for met in mine:
                expected += [(to, met.get(to, 0)) for to in (tree if program.routes is not None else sorted(met))]
        trace = ProcessorRun(program).step(everyone_sends(program))[1]
        found = zip(trace.destination.tolist(), (trace.read_ps // TICK_PS).tolist(), strict=True)
        assert list(found) == [(to, transfer_ticks(count, chip, TICK_PS)) for to, count in expected]
        shown["rows"] += len(expected)
        shown["several at a time"] += chip.core.memories.synapse.width > 1
    assert shown["rows"] > 500
    assert shown["several at a time"] > 5


def memory(banks: int, ports: int, latency: int, interval: int) -> Chip:
    return changed(
        "loihi2",
        {
            "core.memories.synapse.banks": (banks,),
            "core.memories.synapse.ports": (ports,),
            "core.memories.synapse.read_latency": (f"{latency} ns",),
            "core.memories.synapse.read_interval": (f"{interval} ns",),
        },
    )


@pytest.mark.parametrize(
    ("words", "banks", "ports", "latency", "interval", "expected"),
    [
        (0, 1, 1, 3, 2, 0),
        (1, 1, 1, 3, 2, 3),
        (5, 1, 1, 3, 2, 3 + 4 * 2),
        (5, 1, 1, 1, 1, 5),  # latency and interval alike: a word after the other
        (5, 2, 1, 3, 2, 3 + 2 * 2),
        (5, 1, 2, 3, 2, 3 + 2 * 2),
        (5, 2, 2, 3, 2, 3 + 1 * 2),
        (8, 4, 2, 7, 5, 7),
        (9, 4, 2, 7, 5, 7 + 5),
    ],
)
def test_reads_by_hand(words: int, banks: int, ports: int, latency: int, interval: int, expected: int) -> None:
    """The stepper itself, and the engine on a dense list of so many words: eight weights of 8 bits each."""
    chip = memory(banks, ports, latency, interval)
    assert read_ticks(words, chip, TICK_PS) == expected
    if words:
        program = dense(np.full((8 * words, 1), 77), chip)
        assert program.axon_words.tolist() == [words]
        assert timed(program)[0].read_ps.tolist() == [expected * TICK_PS]


def dense(weights: np.ndarray, chip: Chip) -> Program:
    plain = chip.to_dict()
    plain["core"]["encodings"]["dense"]["header"]["value"] = "0 bit"
    plain["core"]["weights"]["bits"]["value"] = [8]
    layers = [Layer("a", (weights.shape[1],), Relay()), Layer("b", (weights.shape[0],), SigmaDelta(64))]
    network = Network(layers, [Connection(("a",), "b", Dense(weights))])
    return compile_network(network, Chip.from_dict(plain))


def accumulators(lanes: int | None, banks: int, ports: int, synop: int = 5, read: int = 1, write: int = 2) -> Chip:
    changes = {
        "core.lanes": None if lanes is None else (lanes,),
        "core.memories.accumulator.banks": (banks,),
        "core.memories.accumulator.ports": (ports,),
        "core.memories.accumulator.read_interval": (f"{read} ns",),
        "core.memories.accumulator.write_interval": (f"{write} ns",),
    }
    synops = {f"core.encodings.{kind}.synop_time": (f"{synop} ns",) for kind in ("dense", "sparse", "conv")}
    return changed("loihi2", changes | synops)


@pytest.mark.parametrize(
    ("chip", "groups", "conflicts", "expected"),
    [
        # Ten synapses to neurons 0..9, a synop of 5 ns, an accumulation of 3 ns.
        (accumulators(None, 1, 1), 10, None, 50),
        (accumulators(1, 1, 1), 10, 0, 50),
        (accumulators(None, 1, 1, synop=2), 10, None, 30),  # the accumulators bind
        (accumulators(4, 4, 1), 3, 0, 15),  # 0..3, 4..7, 8..9 each in banks of their own
        (accumulators(4, 1, 4), 3, 0, 15),  # or one bank of four ports
        (accumulators(4, 2, 1), 3, 2, 15 + 2 * 3),  # two turns, two turns, one
        (accumulators(4, 1, 1), 3, 7, 15 + 7 * 3),  # four turns, four, two
        (accumulators(4, 1, 2), 3, 2, 15 + 2 * 3),
        (accumulators(16, 4, 1, synop=1), 1, 2, 3 + 2 * 3),  # banks 0 and 1 have three of the ten
    ],
)
def test_accumulation_by_hand(chip: Chip, groups: int, conflicts: int | None, expected: int) -> None:
    synop_ps = chip.core.encodings.dense.synop_time.value
    assert accumulate_ticks(list(range(10)), synop_ps, chip, TICK_PS) == expected
    program = dense(np.full((10, 1), 77), chip)
    if conflicts is None:
        assert program.axon_conflicts is None
    else:
        assert program.axon_conflicts is not None
        assert program.axon_conflicts.tolist() == [conflicts]
        assert -(-10 // chip.core.lanes.value) == groups  # type: ignore[union-attr]
    assert timed(program)[0].accumulate_ps.tolist() == [expected * TICK_PS]


@pytest.mark.parametrize(
    ("encoding", "synops", "expected"),
    [("dense", "structural", 15), ("dense", "nonzero", 11), ("sparse", "nonzero", 11)],
)
def test_zero_weights_are_passed_over_where_they_are_not_charged(encoding: str, synops: str, expected: int) -> None:
    """Neurons 0, 4 and 8 share a bank; without the zeros between them they are taken together: 5 + 2 x 3."""
    plain = accumulators(4, 4, 1).to_dict()
    plain["core"]["encodings"]["dense"]["synops"] = synops
    if encoding == "sparse":  # a dense list of long headers takes more words
        plain["core"]["encodings"]["dense"]["header"]["value"] = "1000 bit"
    weights = np.array([[7, 0, 0, 0, 7, 0, 0, 0, 7, 0]]).T
    layers = [Layer("a", (1,), Relay()), Layer("b", (10,), SigmaDelta(64))]
    program = compile_network(Network(layers, [Connection(("a",), "b", Dense(weights))]), Chip.from_dict(plain))
    assert Encoding(program.axon_encoding[0]).name == encoding.upper()
    assert timed(program)[0].accumulate_ps.tolist() == [expected * TICK_PS]


def test_channels_of_a_convolution_meet_in_a_bank() -> None:
    """A list of a kernel leads to one position of every channel: a plane of a multiple of the banks is one bank."""
    kernel = np.full((4, 1, 1, 1), 77)
    for width, conflicts in ((4, 3), (5, 0), (6, 1)):
        conv = Conv2d(kernel, (1, 1, width))
        layers = [Layer("a", (1, 1, width), Relay()), Layer("b", conv.out_shape, SigmaDelta(64))]
        program = compile_network(Network(layers, [Connection(("a",), "b", conv)]), accumulators(4, 4, 1))
        assert program.cores == 2
        assert program.axon_conflicts is not None
        assert program.axon_conflicts.tolist() == [conflicts] * width
