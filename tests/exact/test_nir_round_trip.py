"""Networks written as NIR and read back: equal to the last bit, and a graph that NIR's own checks accept."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import neurosim
from neurosim.errors import InputError, ModelError
from neurosim.formats import read_nir, read_nir_with_notes, write_nir
from neurosim.network import (
    Connection,
    Conv2d,
    CubaLif,
    CurrentLeaky,
    CurrentLif,
    Delay,
    Delta,
    Dense,
    Hybrid,
    Layer,
    Leaky,
    Lif,
    Network,
    Pool2d,
    Relay,
    Rounding,
    Sigma,
    SigmaDelta,
    Sparse,
    Transform,
    Unit,
    run_reference,
)

Rng = Any


def units(rng: Rng, shape: tuple[int, ...]) -> Unit:
    size = int(np.prod(shape))

    def some(low: int, high: int) -> Any:
        return rng.integers(low, high, rng.choice([1, shape[0], size]))

    current = {"current_keep": some(0, 4097), "current_bias": some(-9, 9), "old_current": bool(rng.integers(0, 2))}
    spiking = {"threshold": some(0, 999), "reset": some(-9, 9), "subtract": bool(rng.integers(0, 2))}
    plain = {"voltage_keep": some(0, 4097), "bias": some(-99, 99), "activation_shift": 3, "start": 1}
    kinds = (
        lambda: SigmaDelta(int(rng.integers(0, 9)) << 12, some(-99, 99), str(rng.choice(["default", "corrected"]))),
        lambda: CubaLif(*(int(v) for v in rng.integers(0, 4097, 2)), 77 << 6, some(-99, 99), 4, 2),
        Sigma,
        lambda: Lif(**plain, **spiking),
        lambda: CurrentLif(**plain, **spiking, **current),
        lambda: Leaky(**plain, message_shift=2),
        lambda: CurrentLeaky(**plain, **current),
        Relay,
        lambda: Rounding(some(0, 99), some(0, 9), some(-99, 99), 2, "half_even", 3, -9, 9, True, False),
        lambda: Hybrid(
            multiplier=some(0, 99), shift=some(0, 9), bias=some(-99, 99), residual=rng.integers(0, 9, size),
            function=str(rng.choice(["relu", "tanh"])), omega=5, omega_shift=1, lowest=-3, waits=2,
            reset_interval=3, reset_phase=int(rng.integers(0, 3)),
        ),
    )  # fmt: skip
    return kinds[rng.integers(0, len(kinds))]()


def transform(rng: Rng, shape: tuple[int, ...]) -> Transform:
    size, kind = int(np.prod(shape)), rng.integers(0, 4 if len(shape) == 3 else 2)
    if kind == 0:
        return Dense(rng.integers(-128, 128, (5, size)))
    if kind == 1:
        present = rng.random((size, 6)) < 0.4
        starts = np.concatenate(([0], np.cumsum(present.sum(axis=1))))
        return Sparse(starts, np.nonzero(present)[1], rng.integers(-3, 4, int(present.sum())), 6)
    if kind == 2:
        return Pool2d(str(rng.choice(["sum", "average"])), 2, shape, 1, int(rng.integers(0, 2)))
    weights = rng.integers(-128, 128, (4, shape[0] // 2, 3, 3))
    return Conv2d(weights, shape, [int(v) for v in rng.integers(1, 3, 2)], 1, 1, 2)


def delay(rng: Rng, t: Transform) -> Delay | None:
    kind = str(rng.choice(["none", "axon", "neuron", "synapse"]))
    shapes = {"axon": t.in_size, "neuron": t.out_size, "synapse": t.weights.shape}
    return None if kind == "none" else Delay(kind, rng.integers(0, 9, shapes[kind]))


def random_network(rng: Rng) -> Network:
    """A branch that joins by concatenation, of images or of vectors, and a loop."""
    shape = (2, *(int(v) for v in rng.integers(3, 6, 2)))
    first: Unit = [Relay(), Relay(spikes=True), Delta(3 << 12), CubaLif(1, 2, 64)][rng.integers(0, 4)]
    layers, connections = [Layer("in", shape, first)], []
    for name in ("a", "b"):
        t = transform(rng, shape)
        layers.append(Layer(name, t.out_shape, units(rng, t.out_shape)))
        bits = 24 if isinstance(t, Conv2d) else None
        connections.append(Connection(("in",), name, t, delay(rng, t), bits))
    t = transform(rng, (layers[1].size + layers[2].size,))
    layers.append(Layer("c", t.out_shape, units(rng, t.out_shape)))
    connections.append(Connection(("b", "a"), "c", t, delay(rng, t)))
    twice = Conv2d(rng.integers(-9, 9, (3, 4, 2, 2)), (4, *shape[1:]))
    layers.append(Layer("d", twice.out_shape, units(rng, twice.out_shape)))
    connections.append(Connection(("in", "in"), "d", twice, delay(rng, twice)))
    pool = Pool2d("average", 2, (4, *shape[1:]))
    layers.append(Layer("e", pool.out_shape, units(rng, pool.out_shape)))
    connections.append(Connection(("in", "in"), "e", pool))
    loop = Dense(rng.integers(-8, 8, (layers[3].size, layers[3].size)))
    connections.append(Connection(("c",), "c", loop))
    return Network(layers, connections, "random")


def test_random_networks_come_back_equal(tmp_path: Path) -> None:
    for seed in range(40):
        network = random_network(np.random.default_rng(seed))
        write_nir(network, tmp_path / "n.nir", dt_s=1e-3)
        assert read_nir(tmp_path / "n.nir") == network, seed


def chain(*stages: tuple[Unit, Transform]) -> Network:
    layers, connections = [Layer("in", (2, 6, 6), Relay(spikes=True))], []
    for i, (unit, t) in enumerate(stages):
        layers.append(Layer(f"l{i}", t.out_shape, unit))
        connections.append(Connection((layers[-2].name,), f"l{i}", t))
    return Network(layers, connections, "chain")


@pytest.fixture
def lif_chain() -> Network:
    rng = np.random.default_rng(3)
    conv = Conv2d(rng.integers(-64, 100, (3, 2, 3, 3)), (2, 6, 6))
    kept = {"voltage_keep": np.array([3072]), "state_bits": 36, "activation_shift": 16}
    first = Lif(**kept, threshold=np.array([150 << 16]), start=1)
    current = {"current_keep": np.array([2048]), "threshold": np.array([400 << 16])}
    return chain(
        (first, conv),
        (CurrentLif(**kept, **current, start=2), Dense(rng.integers(-64, 90, (5, 48)))),
        (Leaky(**kept, start=3), Dense(rng.integers(-64, 64, (2, 5)))),
    )


def test_the_graph_passes_the_checks_of_nir_and_means_the_same_without_the_metadata(
    tmp_path: Path, lif_chain: Network
) -> None:
    path = tmp_path / "chain.nir"
    write_nir(lif_chain, path, dt_s=1e-3)
    assert set(nir.read(path).nodes) >= {"in", "l0", "l1", "l2", "l2.out"}
    with h5py.File(path, "r+") as file:
        del file["node/metadata"]
    found = read_nir_with_notes(path, dt_s=1e-3, state_bits=36).network
    frames = (np.random.default_rng(4).random((30, 72)) < 0.3).astype(np.int64)
    ours, theirs = (run_reference(net, {"in": frames}, 33).messages for net in (lif_chain, found))
    assert ours["l0"].sum() > 200
    # Decays of 3/4 and 1/2 are exact, weights and thresholds whole numbers, and states have bits enough.
    for name in ("l0", "l1"):
        assert np.array_equal(ours[name], theirs[name]), name


def test_delta_thresholds_stand_in_the_metadata(tmp_path: Path) -> None:
    network = chain((SigmaDelta(5 << 12), Conv2d(np.ones((1, 2, 3, 3)), (2, 6, 6))))
    write_nir(network, tmp_path / "sd.nir")
    with h5py.File(tmp_path / "sd.nir") as file:
        about = json.loads(file["node/metadata/neurosim"][()])
    assert about["layers"][1]["unit"]["threshold"] == 5 << 12
    assert neurosim.load(tmp_path / "sd.nir") == network


def test_changed_weights_and_needless_options_are_refused(tmp_path: Path, lif_chain: Network) -> None:
    path = tmp_path / "chain.nir"
    write_nir(lif_chain, path)
    with pytest.raises(ModelError, match="so it takes no options"):
        read_nir(path, dt_s=1.0)
    with h5py.File(path, "r+") as file:
        file["node/nodes/connection2.0/weight"][0, 0] += 1
    assert read_nir(path)["l2"] == lif_chain["l2"]  # Weights of a dense layer are taken from the graph itself.
    with pytest.raises(InputError, match="cannot be written"):
        write_nir(lif_chain, tmp_path / "nowhere" / "x.nir")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda about: about.pop("layers"), "are damaged"),
        (lambda about: about.update(version=9), "have version 9"),
        (lambda about: about["layers"][1]["unit"].update(kind="liff"), 'did you mean "lif"'),
        (lambda about: about["layers"][1]["unit"].update(threshold="5"), "are damaged"),
        (lambda about: about["layers"][1]["unit"].update(state_bits=1000), "state_bits is 1000"),
        (lambda about: about["layers"][1].update(shape=[1 << 40, 1, 1]), "neurons"),
        (lambda about: about["connections"][0]["transform"].update(groups=2.5), "damaged|groups"),
        (lambda about: about["connections"][0].update(accumulator_bits=900), "are damaged"),
        (lambda about: about["connections"][0].update(target="l9"), 'no layer "l9"'),
    ],
)
def test_damaged_metadata_are_refused(tmp_path: Path, lif_chain: Network, change: Any, words: str) -> None:
    path = tmp_path / "chain.nir"
    write_nir(lif_chain, path)
    with h5py.File(path, "r+") as file:
        about = json.loads(file["node/metadata/neurosim"][()])
        change(about)
        del file["node/metadata/neurosim"]
        file["node/metadata/neurosim"] = json.dumps(about)
    with pytest.raises(ModelError, match=words) as caught:
        read_nir(path)
    assert re.match(re.escape(str(path)), str(caught.value))
