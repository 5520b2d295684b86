"""Messages as unit spikes and in pieces: against the plain stepper, against networks of spikes, and by hand."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import numpy as np
import pytest
from random_networks import changed, number
from spinnaker_like import spinnaker_like
from whole_runs import BY_HAND, compared, random_chip

from hwmodels import Chip
from neurosim.compiler import compile_network
from neurosim.engine import CoreCount, FunctionRun, LayerCount, RunCounts, run_program
from neurosim.engine.packet_kernels import UNITS, sends_of
from neurosim.engine.timers import step_timer
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay

c = LayerCount


def with_payload(chip: Chip, bits: int) -> Chip:
    plain = chip.to_dict()
    plain["network"]["payload"] = number(f"{bits} bit")
    return Chip.from_dict(plain)


def compared_formats(case: int) -> Counter[str]:
    """Any kind of core with stages: plain, with tables or routers that give up, with a shared port."""
    rng = Random(case)
    port = ["sweep", rng.choice(["synapse_read", "accumulate"])] if case % 3 == 2 else None
    chip = random_chip(rng, port, routed=case % 3 == 1)
    if rng.random() < 0.5:
        return compared(rng, chip, "units", 2)
    return compared(rng, with_payload(chip, rng.choice([2, 3, 8])), "split", 100)


def test_whole_runs_equal_the_plain_machine() -> None:
    shown: Counter[str] = Counter()
    for case in range(18):
        shown.update(kind for kind, times in compared_formats(case).items() if times)
    assert shown["packets"] >= 15
    assert shown["copies"] >= 3
    assert shown["stuck"] <= 2


@pytest.mark.slow
def test_many_whole_runs_equal_the_plain_machine() -> None:
    for case in range(1000, 1600):
        compared_formats(case)


def valued(values: list[int], weights: Any) -> tuple[Network, dict[str, Any]]:
    """Relays that send `values` to neurons that never fire."""
    layers = [Layer("in", (len(values),), Relay()), Layer("out", (len(weights),), CubaLif(4096, 0, 1 << 22))]
    network = Network(layers, [Connection(("in",), "out", Dense(np.array(weights)))], "valued")
    return network, {"in": np.array([values], dtype=np.int64)}


def as_spikes(values: list[int], weights: Any) -> tuple[Network, dict[str, Any]]:
    """The same with a relay for each unit spike, which has the synapses of the relay that it stands for."""
    times = [abs(value) for value in values]
    layers = [
        Layer("in", (sum(times),), Relay(spikes=True)),
        Layer("out", (len(weights),), CubaLif(4096, 0, 1 << 22)),
    ]
    columns = Dense(np.repeat(np.array(weights), times, axis=1))
    return Network(layers, [Connection(("in",), "out", columns)], "spikes"), {
        "in": np.ones((1, sum(times)), dtype=np.int64)
    }


@pytest.mark.parametrize("kind", ["plain", "routed", "processors", "processors in haste"])
def test_unit_spikes_are_the_spikes_of_as_many_relays(kind: str) -> None:
    """A relay that sends d takes the time and the events of |d| relays that spike, on every kind of core."""
    for case in range(8):
        rng = Random(case)
        values = [rng.choice([-3, -2, -1, 1, 2, 5]) for _ in range(rng.randint(1, 5))]
        weights = [[rng.choice([-7, 0, 3, 9]) or 1 for _ in values] for _ in range(rng.randint(1, 60))]
        if kind.startswith("processors"):
            # A 3 us timer is over long before the work, which goes on into the next timesteps.
            haste = {"sync__period": number("3 us")} if kind.endswith("haste") else {}
            chip = spinnaker_like(3, 2, 4, **haste)
        else:
            chip = random_chip(rng, routed=kind == "routed")
        runs: list[RunCounts] = []
        for (network, frames), messages in ((valued(values, weights), "units"), (as_spikes(values, weights), "graded")):
            once = {"in": np.concatenate([frames["in"], np.zeros_like(frames["in"])])}
            runs.append(run_program(compile_network(network, chip, messages=messages), once, 3, threads=1))
        units, spikes = runs
        assert units.duration_ps.tolist() == spikes.duration_ps.tolist()
        assert units.synapse_ps.tolist() == spikes.synapse_ps.tolist()
        assert units.core_counts.tolist() == spikes.core_counts.tolist()
        assert units.link_flits.tolist() == spikes.link_flits.tolist()
        assert units.path_ps.tolist() == spikes.path_ps.tolist()
        assert units.step_counts.tolist() == spikes.step_counts.tolist()
        apart = [c.MESSAGES, c.SYNOPS, c.SYNOPS_NONZERO, c.LARGEST_MESSAGE]
        same = [column for column in c if column not in apart]
        assert units.layer_counts[:, :, same].tolist() == spikes.layer_counts[:, :, same].tolist()
        assert units.layer_counts[0, 0, c.MESSAGES] == len(values)
        assert units.layer_counts[0, 0, c.SENDS] == sum(map(abs, values))
        adds = units.layer_counts[0, 0, c.UNIT_ADDS]
        assert adds == spikes.layer_counts[0, 0, c.SYNOPS] == sum(map(abs, values)) * len(weights)


def test_three_unit_spikes_to_two_cores_by_hand() -> None:
    """Packets leave at 4, 8, .. 24 ns, by turns for both cores, and are there 5 ns later; stages take 5, 1 and 7 ns.

    The first core's are through axon-in at 14, 22 and 30 ns and added up from 15, 23 and 31; the second's 4 ns later.
    """
    layers = [Layer("in", (1,), Relay())]
    layers += [Layer(name, (1,), CubaLif(4096, 0, 1 << 20)) for name in ("a", "b")]
    connections = [Connection(("in",), name, Dense(np.array([[5]]))) for name in ("a", "b")]
    network, chip = Network(layers, connections, "fork"), changed("loihi2", BY_HAND)
    program = compile_network(network, chip, messages="units")
    activity = FunctionRun(network, {"in": np.array([[-3]])}).step()
    timing, trace = step_timer(program).step(activity)
    assert trace.injected_ps.tolist() == [4000, 8000, 12000, 16000, 20000, 24000]
    assert trace.destination.tolist() == [1, 2, 1, 2, 1, 2]
    assert trace.finish_ps.tolist() == [0, 38000, 42000]
    assert timing.core_counts[:, CoreCount.SYNOPS_CHARGED].tolist() == [0, 3, 3]
    counts = timing.layer_counts[0]
    columns = [c.MESSAGES, c.SENDS, c.PACKETS, c.COPIES, c.SYNAPSE_WORDS, c.SYNOPS, c.UNIT_SPIKES, c.UNIT_ADDS]
    assert counts[columns].tolist() == [1, 3, 6, 6, 6, 2, 3, 6]
    # An axon for either sign: each has an entry at both ends, and a list of one word.
    assert program.axon_in_entries.tolist() == [0, 2, 2]
    assert program.axon_out_entries.tolist() == [4, 0, 0]
    assert program.memory_words[:, 0].tolist() == [0, 2, 2]


def test_two_pieces_to_one_core_by_hand() -> None:
    """100 is 6 x 16 + 4: two digits of 4 bits, two packets, which leave at 4 and 8 ns; see above."""
    network, frames = valued([100], [[5]])
    program = compile_network(network, with_payload(changed("loihi2", BY_HAND), 4), messages="split")
    timing, trace = step_timer(program).step(FunctionRun(network, frames).step())
    assert trace.injected_ps.tolist() == [4000, 8000]
    assert trace.finish_ps.tolist() == [0, 29000]
    columns = [c.MESSAGES, c.SENDS, c.PACKETS, c.SYNAPSE_WORDS, c.SYNOPS, c.UNIT_SPIKES, c.UNIT_ADDS]
    assert timing.layer_counts[0, columns].tolist() == [1, 2, 2, 2, 1, 100, 100]
    # Six digits of 4 bits hold 24: as many axons, which share one list.
    assert program.axon_in_entries.tolist() == [0, 6]
    assert program.axon_out_entries.tolist() == [6, 0]
    assert program.memory_words[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize("bits", [2, 3, 8])
def test_pieces_are_the_fewest_signed_digits_that_hold_a_message(bits: int) -> None:
    base, half = 1 << bits, 1 << (bits - 1)
    digits: dict[int, int] = dict.fromkeys(range(-half, half), 1)
    for more in range(2, 17 // bits):
        place = base ** (more - 1)
        for digit in range(-half, half):
            for rest in [value for value, used in digits.items() if used < more]:
                digits.setdefault(rest + digit * place, more)
        if len(digits) > 50_000:
            break
    assert {value: int(sends_of(np.int64(value), bits)) for value in digits} == digits
    assert sends_of(np.int64(-7), UNITS) == 7
