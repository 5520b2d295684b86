"""What sending messages as unit spikes or in pieces takes of a chip, what is refused, and what every report says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import neurosim
from hwmodels import load_chip
from neurosim.compiler import read_program, write_program
from neurosim.compiler.visits import charged_synapses
from neurosim.costs import Result
from neurosim.engine import Checkpoint, LayerCount
from neurosim.errors import CapacityError, InputError, MessageWidthError
from neurosim.explore import reprice
from neurosim.network import Connection, Conv2d, CubaLif, Dense, Layer, Network, Relay, Sigma, SigmaDelta
from neurosim.report import Run, read_results, summarise, write_results

PAYLOAD = {"network.payload": "4 bit"}


@pytest.fixture(scope="module")
def network() -> Network:
    """Values and spikes into one connection, a convolution, and an output."""
    rng = np.random.default_rng(3)
    image = Conv2d(rng.integers(-3, 4, (2, 1, 2, 2)), (1, 4, 4))
    layers = [
        Layer("in", (1, 4, 4), Relay()),
        Layer("image", image.out_shape, SigmaDelta(1 << 12, message_shift=12)),
        Layer("spiking", (5,), CubaLif(4096, 100, 3 << 6)),
        Layer("both", (6,), SigmaDelta(1 << 12, message_shift=12)),
        Layer("out", (3,), Sigma()),
    ]
    connections = [
        Connection(("in",), "image", image),
        Connection(("in",), "spiking", Dense(rng.integers(-4, 9, (5, 16)))),
        Connection(("image", "spiking"), "both", Dense(rng.integers(1, 9, (6, image.out_size + 5)) << 10)),
        Connection(("both",), "out", Dense(rng.integers(1, 9, (3, 6)))),
    ]
    return Network(layers, connections, "mixed")


@pytest.fixture(scope="module")
def frames() -> Any:
    return np.random.default_rng(4).integers(-9, 10, (6, 16))


def run(network: Network, frames: Any, messages: str, chip: str = "loihi2") -> Result:
    program = neurosim.compile(network, chip, overrides=PAYLOAD if messages == "split" else None, messages=messages)
    return neurosim.simulate(program, frames, keep_activity=True, threads=1)


def test_every_way_gives_the_same_values_and_both_accountings(network: Network, frames: Any) -> None:
    runs = {messages: run(network, frames, messages) for messages in ("graded", "units", "split")}
    graded = runs["graded"]
    fan_out, sends = network.fan_out[0], {}
    going = fan_out > 0
    for messages, result in runs.items():
        for name, values in result.counts.outputs.items():
            np.testing.assert_array_equal(values, graded.counts.outputs[name])
        found = result.accountings
        assert found is not None
        run_of = found["run"]
        assert run_of is not None
        sent = [(n, v) for a in graded.counts.activity for n, v in zip(a.neuron, a.value, strict=True) if going[n]]
        assert run_of["messages"] == len(sent)
        assert run_of["graded_synops"] == sum(int(fan_out[n]) for n, _ in sent)
        assert run_of["unit_spikes"] == sum(abs(int(v)) for _, v in sent)
        assert run_of["unit_adds"] == sum(abs(int(v)) * int(fan_out[n]) for n, v in sent)
        assert found["per_inference"] is not None
        sends[messages] = run_of["sends"]
        assert summarise(result)["messages"] == {"sent_as": messages, "accountings": found}
    assert sends["graded"] == len(sent) < sends["split"] < sends["units"]
    assert sends["units"] == sum(abs(int(v)) for _, v in sent)


def test_a_network_of_spikes_alone_has_one_accounting(frames: Any) -> None:
    layers = [Layer("in", (16,), Relay(spikes=True)), Layer("out", (2,), CubaLif(4096, 0, 1 << 6))]
    network = Network(layers, [Connection(("in",), "out", Dense(np.ones((2, 16), dtype=np.int64)))])
    result = neurosim.simulate(neurosim.compile(network, "loihi"), np.abs(frames) > 4)
    assert result.accountings is None
    assert summarise(result)["messages"] == {"sent_as": "graded", "accountings": None}


def test_axons_and_lists_that_unit_spikes_take(network: Network) -> None:
    """Two axons for a neuron that sends values, and two lists; one for a neuron that spikes."""
    graded, units = (neurosim.compile(network, "loihi2", messages=messages) for messages in ("graded", "units"))
    split = neurosim.compile(network, "loihi2", overrides=PAYLOAD, messages="split")
    layer = [network.layers[number].name for number in graded.core_layer]
    assert layer == ["in", "image", "spiking", "both", "out"]
    image = network["image"].size
    # A convolution has an entry a source core; lists have one a source neuron.
    assert graded.axon_in_entries.tolist() == [0, 1, 16, image + 5, 6]
    assert units.axon_in_entries.tolist() == [0, 2, 32, 2 * image + 5, 12]
    assert split.axon_in_entries.tolist() == [0, 6, 96, 6 * image + 5, 36]
    assert graded.axon_out_entries.tolist() == [32, image, 5, 6, 0]
    assert units.axon_out_entries.tolist() == [64, 2 * image, 5, 12, 0]
    assert split.axon_out_entries.tolist() == [192, 6 * image, 5, 36, 0]
    whole, twice = graded.memory_words[:, 0].tolist(), units.memory_words[:, 0].tolist()
    assert twice[:3] + twice[4:] == [2 * words for words in whole[:3] + whole[4:]]
    per_source = whole[3] // (image + 5)
    assert whole[3] == per_source * (image + 5)
    assert twice[3] == per_source * (2 * image + 5)
    assert split.memory_words[:, 0].tolist() == whole
    for name in ("axon_core", "axon_words", "axon_synops", "traffic"):
        np.testing.assert_array_equal(getattr(units, name), getattr(graded, name))
    charged_synapses(units)  # as stored, by the same compiler


def test_weights_are_stored_with_either_sign() -> None:
    layers = [Layer("in", (2,), Relay()), Layer("out", (1,), Sigma())]
    network = Network(layers, [Connection(("in",), "out", Dense(np.array([[-128, 127]])))])
    neurosim.compile(network, "loihi2")
    with pytest.raises(CapacityError, match=r"weights -128\.\.127 and their negatives need 9 bits"):
        neurosim.compile(network, "loihi2", messages="units")


def test_keys_number_both_axons_of_a_neuron() -> None:
    layers = [Layer("in", (64,), Relay()), Layer("out", (2,), CubaLif(4096, 0, 1 << 20))]
    network = Network(layers, [Connection(("in",), "out", Dense(np.ones((2, 64), dtype=np.int64)))])
    bits = [neurosim.compile(network, "spinnaker", messages=messages).routes for messages in ("graded", "units")]
    assert [routes.key_bits for routes in bits if routes is not None] == [6, 7]


@pytest.mark.parametrize(
    ("chip", "messages", "words"),
    [
        ("loihi", "graded", "carries spikes without a value .* or send them as units \\(--messages\\)"),
        ("loihi", "split", "network.payload is 0 bits; send them as units"),
        ("truenorth", "units", "truenorth, a crossbar"),
        ("truenorth", "graded", "such as loihi2$"),
        ("neuronflow", "units", "neuronflow, which has no timesteps"),
        ("seneca", "split", "seneca, which has no timesteps"),
    ],
)
def test_what_a_chip_cannot_carry(network: Network, chip: str, messages: str, words: str) -> None:
    with pytest.raises(MessageWidthError, match=words):
        neurosim.compile(network, chip, messages=messages)


def test_an_unknown_way() -> None:
    with pytest.raises(InputError, match='messages "unit" is not known; use graded, units, split; did you mean'):
        neurosim.compile(Network([Layer("in", (2,), Relay())], []), "loihi2", messages="unit")


def one_message(value: int, messages: str) -> Result:
    layers = [Layer("in", (1,), Relay()), Layer("out", (1,), Sigma())]
    network = Network(layers, [Connection(("in",), "out", Dense(np.array([[1]])))])
    program = neurosim.compile(network, "loihi2", overrides={"network.payload": "12 bit"}, messages=messages)
    return neurosim.simulate(program, np.array([[value]]), 1, threads=1)


def test_messages_too_wide_and_too_many() -> None:
    """Two digits of 12 bits reach 2047 x 4097."""
    assert one_message(2047 * 4097, "split").layer_total(LayerCount.PACKETS)[0] == 2
    with pytest.raises(MessageWidthError, match=r"carry -8390656\.\.8386559 in pieces of 12 bits"):
        one_message(2047 * 4097 + 1, "split")
    with pytest.raises(MessageWidthError, match=r"or send them as units or split \(--messages\)"):
        one_message(2048, "graded")
    with pytest.raises(InputError, match="sent as units, its messages make up to 33554433 packets"):
        one_message((1 << 25) + 1, "units")


def test_program_and_results_files_hold_it(network: Network, frames: Any, tmp_path: Path) -> None:
    result = run(network, frames, "units")
    write_program(result.program, tmp_path / "p.h5")
    program = read_program(tmp_path / "p.h5")
    assert program.messages == "units"
    again = neurosim.simulate(program, frames, keep_activity=True, threads=1)
    np.testing.assert_array_equal(again.counts.layer_counts, result.counts.layer_counts)
    write_results(Run(result), tmp_path / "r.h5")
    kept = read_results(tmp_path / "r.h5").result
    assert kept.program.messages == "units"
    dear = load_chip("loihi2", {"core.axon_out.energy": "7 pJ", "core.neuron.send_energy": "3 pJ"})
    anew = neurosim.simulate(neurosim.compile(network, dear, messages="units"), frames, threads=1)
    assert summarise(reprice(kept, dear)) == summarise(anew)


def test_a_program_file_cannot_ask_for_what_its_chip_has_not(network: Network, tmp_path: Path) -> None:
    import h5py

    write_program(neurosim.compile(network, "loihi", messages="units"), tmp_path / "p.h5")
    for text, words in ((b"pieces", 'attribute messages .*"pieces" is not known'), (b"split", "0 bits; send them as")):
        with h5py.File(tmp_path / "p.h5", "r+") as file:
            file.attrs["messages"] = np.bytes_(text)
        with pytest.raises(InputError, match=words):
            read_program(tmp_path / "p.h5")


def test_a_checkpoint_of_another_way_is_refused(network: Network, frames: Any, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "c.npz", 2)
    graded, units = (neurosim.compile(network, "loihi2", messages=messages) for messages in ("graded", "units"))
    neurosim.simulate(graded, frames, checkpoint=checkpoint)
    with pytest.raises(InputError, match="of another program"):
        neurosim.simulate(units, frames, checkpoint=checkpoint)
