"""Rounding and sigma-delta networks: an all-integer recorded run, and that both hold the same sums."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import neurosim
from neurosim.engine import FunctionRun
from neurosim.network import Connection, Conv2d, Delay, Dense, Layer, Network, Pool2d, Rounding, Transform

FULL = 1 << 31
# Published with the recorded run, for 10,000 frames.
SUM_ABS = [2_253_640, 1_928_949, 2_710_599]
NNZ = [1_093_667, 1_002_331, 1_199_866]
UNIT_ADDS, GRADED_SYNOPS, ERROR = 86_362.379, 43_119.8, 2.18


def golden_network(golden: dict[str, NDArray[Any]], changes: bool) -> Network:
    """784-200-200-10: s_0 = (pixel * 4 + 128) >> 8; s_{l+1} = (max(acc_l, 0) * M_l + 32768) >> 16."""
    layers = [Layer("input", (784,), Rounding(4, 8, accumulates=False, changes=changes))]
    connections = []
    for i in range(3):
        last, bias = i == 2, golden[f"b{i}"]
        # The bias counts from when the first frame is there.
        rest: dict[str, Any] = {"bias_from": i + 2, "accumulates": changes}
        unit = (
            Rounding(1, 0, bias, lowest=-FULL, changes=False, **rest)
            if last
            else Rounding(golden["M"][i], 16, bias, changes=changes, **rest)
        )
        layers.append(Layer("output" if last else f"hidden{i + 1}", (bias.size,), unit))
        connections.append(Connection((layers[i].name,), layers[i + 1].name, Dense(golden[f"w{i}"].T)))
    return Network(layers, connections, "golden")


def golden_data(folder: Path) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64], NDArray[np.int64]]:
    """The recorded run, the frames and the labels, in temporal order."""
    with np.load(folder / "golden_int8.npz") as file:
        golden = {name: file[name] for name in file.files}
    order = np.load(folder / "temporal_order_test_S1000.npy")
    images = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    return golden, images.reshape(-1, 784)[order].astype(np.int64), labels[order].astype(np.int64)


def shifted_counts(activities: list[Any], network: Network, frames: int) -> dict[str, NDArray[np.int64]]:
    """Per frame and layer, each layer shifted by its distance from the input; and the outputs."""
    layers = len(network.layers)
    found = {name: np.zeros((frames, layers), dtype=np.int64) for name in ("sum_abs", "nnz", "synops")}
    messages = np.zeros((frames, network.size), dtype=np.int64)
    for activity in activities:
        for i in range(layers):
            frame = activity.timestep - 1 - i
            if 0 <= frame < frames:
                low, high = activity.layer_start[i : i + 2]
                value = activity.value[low:high]
                found["sum_abs"][frame, i], found["nnz"][frame, i] = np.abs(value).sum(), value.size
                found["synops"][frame, i] = activity.synops[i]
                messages[frame, activity.neuron[low:high]] = value
    return {**found, "messages": messages}


def test_the_integer_reference_through_the_function(reference_data: Path) -> None:
    """All 10,000 frames: every count, every recorded message, every answer."""
    golden, frames, labels = golden_data(reference_data / "mnist_mlp")
    network = golden_network(golden, changes=True)
    run = FunctionRun(network, {"input": frames})
    found = shifted_counts(list(run.steps(len(frames) + 3)), network, len(frames))
    assert np.array_equal(found["sum_abs"][:, :3], golden["sum_abs"])
    assert np.array_equal(found["nnz"][:, :3], golden["nnz"])
    assert found["sum_abs"].sum(axis=0)[:3].tolist() == SUM_ABS
    assert found["nnz"].sum(axis=0)[:3].tolist() == NNZ
    for i in range(3):
        part = found["messages"][:500, network.offsets[i] : network.offsets[i + 1]]
        assert np.array_equal(part, golden[f"d{i}_500"])
    outputs = found["messages"][:, network.offsets[3] :]
    assert np.array_equal(outputs[:500], golden["acc_out_500"])
    assert np.array_equal(outputs.argmax(axis=1), golden["argmax"])
    fan_out = np.array([200, 200, 10])
    assert (found["sum_abs"][:, :3] @ fan_out).mean() == pytest.approx(UNIT_ADDS, abs=1e-9)
    assert np.array_equal(found["synops"][:, :3], found["nnz"][:, :3] * fan_out)
    assert found["synops"].sum() / 1e4 == pytest.approx(GRADED_SYNOPS, abs=0.05)
    assert (outputs.argmax(axis=1) != labels).mean() * 100 == pytest.approx(ERROR, abs=1e-9)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_integer_reference_through_the_simulator(reference_data: Path, seed: int) -> None:
    """Compiled for a chip and timed, on two placements: the first 100 frames."""
    golden, frames, _ = golden_data(reference_data / "mnist_mlp")
    network = golden_network(golden, changes=True)
    program = neurosim.compile(network, "loihi2", seed=seed, overrides={"core.neurons_usable": "64"})
    assert program.cores > 17
    result = neurosim.simulate(program, frames[:100], steps=103, keep_activity=True)
    found = shifted_counts(list(result.counts.activity), network, 100)
    assert np.array_equal(found["sum_abs"][:, :3], golden["sum_abs"][:100])
    assert np.array_equal(found["nnz"][:, :3], golden["nnz"][:100])
    assert np.array_equal(found["messages"][:, network.offsets[3] :], golden["acc_out_500"][:100])


def test_the_rounding_form_gives_the_same_answers(reference_data: Path) -> None:
    golden, frames, _ = golden_data(reference_data / "mnist_mlp")
    network = golden_network(golden, changes=False)
    found = shifted_counts(list(FunctionRun(network, {"input": frames[:500]}).steps(503)), network, 500)
    assert np.array_equal(found["messages"][:, network.offsets[3] :], golden["acc_out_500"])
    deltas = np.diff(found["messages"], axis=0, prepend=0)
    for i in range(3):
        assert np.array_equal(deltas[:, network.offsets[i] : network.offsets[i + 1]], golden[f"d{i}_500"])


Rng = np.random.Generator


def random_transform(rng: Rng, in_shape: tuple[int, ...]) -> Transform:
    kind = int(rng.integers(0, 3))
    if kind == 0 or len(in_shape) == 1:
        return Dense(rng.integers(-128, 128, (int(rng.integers(1, 9)), int(np.prod(in_shape)))))
    kernel = [int(rng.integers(1, min(3, n) + 1)) for n in in_shape[1:]]
    if kind == 1:
        return Pool2d("sum", kernel, in_shape, 1)
    return Conv2d(rng.integers(-128, 128, (int(rng.integers(1, 4)), in_shape[0], *kernel)), in_shape, 1, 1)


def random_pair(rng: Rng) -> tuple[Network, Network]:
    """A rounding network with a branch, a join, a loop and delays, and the sigma-delta network made from it."""
    shape = tuple(int(v) for v in rng.integers(2, 6, 3))

    def unit(of: tuple[int, ...], big: int) -> Rounding:
        multiplier = rng.integers(1, big, rng.choice([1, of[0], int(np.prod(of))]))
        bias = rng.integers(-300, 300, of[0])
        rounding = str(rng.choice(["half_up", "half_even", "floor"]))
        limits = (int(rng.choice([-FULL, 0])), int(rng.choice([30, FULL - 1])))
        start = int(rng.integers(1, 4))
        return Rounding(multiplier, 12, bias, start, rounding, 1, *limits, accumulates=False, changes=False)

    layers = [Layer("in", shape, unit(shape, 1 << 12))]
    connections = []
    for name in ("a", "b"):
        transform = random_transform(rng, shape)
        delay = Delay("neuron", rng.integers(0, 3, transform.out_size)) if rng.integers(0, 2) else None
        layers.append(Layer(name, transform.out_shape, unit(transform.out_shape, 200)))
        connections.append(Connection(("in",), name, transform, delay))
    join = Dense(rng.integers(-128, 128, (int(rng.integers(1, 9)), layers[1].size + layers[2].size)))
    layers.append(Layer("c", join.out_shape, unit(join.out_shape, 200)))
    connections.append(Connection(("b", "a"), "c", join))
    connections.append(Connection(("c",), "c", Dense(rng.integers(-8, 8, (join.out_size, join.out_size)))))
    plain = Network(layers, connections)
    changed = {
        layer.name: Rounding(**{**vars(layer.unit), "accumulates": layer.name != "in", "changes": True})
        for layer in layers
    }
    return plain, plain.with_units(dict(changed))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_sigma_delta_holds_the_sums_of_rounding(seed: int) -> None:
    """No accumulated value differs, in any timestep; the changes add up to the rounded values."""
    rng = np.random.default_rng(seed)
    rounding, sigma_delta = random_pair(rng)
    frames = {"in": rng.integers(-200, 200, (8, rounding["in"].size))}
    one, other = FunctionRun(rounding, frames), FunctionRun(sigma_delta, frames)
    # Sums of the rounding network as they arrive: read from its slots before the step takes them.
    total = np.zeros(rounding.size, dtype=np.int64)
    for _ in range(8):
        t = one.timestep + 1
        arriving = {layer.name: np.zeros(layer.size, dtype=np.int64) for layer in rounding.layers}
        for state in one.connections:
            name = state.connection.target
            slot = state.slots[t % len(state.slots)].copy()
            channels = state.transform.out_shape[0] if isinstance(state.transform, Conv2d) else 1
            arriving[name] += slot.reshape(-1, channels).T.ravel()
        sent, changed = one.step(), other.step()
        for layer, state in zip(rounding.layers, other.layers, strict=True):
            if layer.name != "in":
                assert np.array_equal(state.state["sum"], arriving[layer.name])
        total[changed.neuron] += changed.value
        messages = np.zeros_like(total)
        messages[sent.neuron] = sent.value
        assert np.array_equal(total, messages)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1000), st.integers(3, 40))
def test_no_placement_changes_a_sum(seed: int, placement: int, neurons: int) -> None:
    """Both networks compiled for a chip, cut and placed differently: the outputs are the same."""
    rng = np.random.default_rng(seed)
    rounding, sigma_delta = random_pair(rng)
    frames = rng.integers(-20, 20, (6, rounding["in"].size))
    held = []
    for network, cores in ((rounding, 4096), (sigma_delta, neurons)):
        chip = {"core.neurons_usable": str(cores)}
        program = neurosim.compile(network, "loihi2", seed=placement, overrides=chip)
        result = neurosim.simulate(program, frames, steps=6, keep_activity=True)
        sent = np.zeros((6, network.size), dtype=np.int64)
        for activity in result.counts.activity:
            sent[activity.timestep - 1, activity.neuron] = activity.value
        held.append(sent)
    assert np.array_equal(held[0], np.cumsum(held[1], axis=0))
