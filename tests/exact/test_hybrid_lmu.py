"""A hybrid LMU in integers: its network against plain Python integers, its matrices against what they stand for."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim
from neurosim.convert import IntegerLmu, LmuOptions, convert_lmu
from neurosim.convert.hybrid_lmu import parts
from neurosim.engine import FunctionRun
from neurosim.errors import InputError, ModelError
from neurosim.network import Hybrid
from neurosim.train.hybrid_lmu import Measured
from neurosim.train.lmu import Lmu, memory_matrices, read_lmu, rounded, run_lmu, write_lmu


def random_lmu(seed: int, order: int = 6, units: int = 5, classes: int = 3, window: float = 12.0) -> Lmu:
    rng = np.random.default_rng(seed)
    a, b = memory_matrices(order, window, seed)
    return Lmu(
        memory_matrix=a, memory_input=b, input=rng.normal(0, 0.5, units), state=rng.normal(0, 0.4, (units, units)),
        memory=rng.normal(0, 2, (units, order)), bias=rng.normal(0, 0.2, units),
        readout=rng.normal(0, 1, (classes, units)), answer=rng.normal(0, 0.3, classes), start_memory=rng.random(order),
        start_hidden=rng.random(units), omega_memory=float(rng.choice([4.0, 21.0, 37.5])),
        omega_hidden=float(rng.choice([1.0, 2.0, 3.5])), memory_levels=int(rng.choice([0, 9, 45])),
        activation=str(rng.choice(["tanh", "sigmoid"])), readout_steps=int(rng.integers(1, 6)), centre=7, scale=16,
    )  # fmt: skip


class Neurons:
    """One layer in Python's own integers and fractions, function values from the C library."""

    def __init__(self, unit: Hybrid, size: int) -> None:
        self.unit = unit
        self.v = [int(unit.residual[i % unit.residual.size]) for i in range(size)]
        self.bias = [int(unit.bias[i % unit.bias.size]) for i in range(size)]
        self.n = [0] * size

    def step(self, sums: list[int]) -> None:
        unit = self.unit
        true = {"tanh": math.tanh, "sigmoid": lambda x: 1 / (1 + math.exp(-x)), "identity": None}[unit.function]
        for i, total in enumerate(sums):
            y = round(Fraction((total + self.bias[i]) * int(unit.multiplier[0]), 1 << int(unit.shift[0])))
            f = round(true(y / 2**unit.index_fraction) * 2**unit.fraction) if true else y
            v = self.v[i] + round(Fraction(f * unit.omega, 1 << unit.omega_shift))
            self.n[i] = min(max(v // (1 << unit.fraction), unit.lowest), unit.highest)
            self.v[i] = v - self.n[i] * (1 << unit.fraction)


def plain(net: IntegerLmu, values: Any) -> tuple[list[list[list[int]]], list[int]]:
    """Messages of the memory and the hidden layer at each step, and the answer."""
    memory = Neurons(net.memory, len(net.memory_from_input))
    hidden = Neurons(net.hidden, len(net.hidden_from_input))
    sent, answers = [], []

    def times(weights: Any, n: list[int]) -> list[int]:
        return [sum(int(w) * x for w, x in zip(row, n, strict=True)) for row in weights]

    for value in values:
        u = [int(value) - net.centre]
        memory.step([a + b for a, b in zip(times(net.memory_from_memory, memory.n),
                                           times(net.memory_from_input[:, None], u), strict=True)])  # fmt: skip
        hidden.step([a + b + c for a, b, c in zip(times(net.hidden_from_hidden, hidden.n),
                                                  times(net.hidden_from_memory, memory.n),
                                                  times(net.hidden_from_input[:, None], u), strict=True)])  # fmt: skip
        sent.append([list(memory.n), list(hidden.n)])
        read = times(net.answer_from_hidden, hidden.n)
        answers.append([a + int(b) for a, b in zip(read, net.answer_bias, strict=True)])
    return sent, [sum(column) for column in zip(*answers[-net.readout_steps :], strict=True)]


def messages(net: IntegerLmu, values: Any) -> dict[str, Any]:
    """What each layer of the network sends, (timesteps, neurons)."""
    network = net.network()
    run = FunctionRun(network, {"input": net.frames(values)})
    found = np.zeros((net.timesteps(len(values)), network.size), dtype=np.int64)
    for activity in run.steps(len(found)):
        found[activity.timestep - 1, activity.neuron] = activity.value
    return {layer.name: found[:, low:high] for layer, low, high in
            zip(network.layers, network.offsets, network.offsets[1:], strict=False)}  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_network_sends_what_plain_integers_give(seed: int) -> None:
    rng = np.random.default_rng(seed)
    net = convert_lmu(random_lmu(seed), LmuOptions(memory_bits=int(rng.integers(6, 13))))
    values = rng.integers(0, 17, 25)
    sent, answer = plain(net, values)
    found = messages(net, values)
    for t, (memory, hidden) in enumerate(sent):
        # Step t, from 0, is sent by the input in timestep t + 1.
        assert found["input"][t, 0] == values[t] - net.centre
        assert found["memory"][t + 1].tolist() == memory
        assert found["hidden"][t + 2].tolist() == hidden
    assert net.answers(found["answer"]).tolist() == answer
    assert not found["memory"][0].any()
    assert not found["hidden"][:2].any()
    assert not found["answer"][:3].any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_many_sequences_at_once_give_the_same(seed: int) -> None:
    net = convert_lmu(random_lmu(seed), LmuOptions())
    values = np.random.default_rng(seed).integers(0, 17, (3, 20))
    answers, memory_range, hidden_range = net.run(values)
    several = [plain(net, row) for row in values]
    assert answers.tolist() == [answer for _, answer in several]
    for group, found in ((0, memory_range), (1, hidden_range)):
        sent = np.array([[step[group] for step in sent] for sent, _ in several]).reshape(-1, found.shape[1])
        assert np.array_equal(found[0], np.minimum(sent.min(axis=0), 0))
        assert np.array_equal(found[1], np.maximum(sent.max(axis=0), 0))


@pytest.mark.parametrize("seed", range(4))
def test_fine_integers_send_what_floats_send(seed: int) -> None:
    lmu = random_lmu(seed)
    wide = LmuOptions(
        weight_bits=24, memory_bits=24, part_bits=24, exponent_max=20, memory_fraction=16, hidden_fraction=12,
        index_fraction=12,
    )  # fmt: skip
    net = convert_lmu(lmu, wide)
    values = np.random.default_rng(seed).integers(0, 17, (20, 25))
    answers, *_ = net.run(values)
    found = run_lmu(lmu, values)
    # A message that floats and integers round apart changes what follows; one answer in 20 may be of such.
    assert (answers.argmax(axis=1) == found.answers.argmax(axis=1)).mean() >= 0.95


@pytest.mark.parametrize(
    ("chip", "how"),
    [("loihi2", "graded"), ("spinnaker2", "graded"), ("loihi", "units"), ("spinnaker", "units"), ("loihi2", "split")],
)
def test_it_runs_on_chips(chip: str, how: str) -> None:
    net = convert_lmu(random_lmu(3), LmuOptions())
    values = np.random.default_rng(3).integers(0, 17, 25)
    steps = net.timesteps(len(values))
    program = neurosim.compile(net.network(), chip, messages=how)
    result = neurosim.simulate(program, net.frames(values), steps=steps)
    assert result.timesteps == steps
    assert result.energy_run.seconds > 0
    assert result.energy_run.dynamic_j.value > 0
    assert net.answers(result.counts.outputs["answer"]).tolist() == plain(net, values)[1]


def test_the_memory_holds_the_last_window() -> None:
    # Of a slow wave the state gives back the value of any moment in the window, by Legendre polynomials: weight
    # sqrt(2i+1) on the neuron, divided by sqrt(window), as the published neuron is sqrt((2i+1) / window) times it.
    order, window = 12, 100.0
    a, b = memory_matrices(order, window)
    m = np.zeros(order)

    def wave(t: float) -> float:
        return math.sin(2 * math.pi * t / 80)

    for t in range(400):
        m = a @ m + b * wave(t + 0.5)
    for back in (0.0, 0.25, 0.5, 0.9):
        at = np.polynomial.legendre.legval(2 * back - 1, np.sqrt((2 * np.arange(order) + 1.0) / window) * m)
        assert at == pytest.approx(wave(400 - back * window), abs=0.02)


def test_the_matrices_are_the_published_ones_in_another_basis() -> None:
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed")
    order, window = 16, 40.0
    both = np.zeros((order + 1, order + 1))
    for i in range(order):
        both[i, order] = (2 * i + 1) * (-1) ** i / window
        for j in range(order):
            both[i, j] = (2 * i + 1) / window * (-1 if i < j else (-1) ** (i - j + 1))
    held = linalg.expm(both)
    factor = np.sqrt(window / (2 * np.arange(order) + 1))
    a, b = memory_matrices(order, window)
    assert a == pytest.approx(held[:order, :order] * factor[:, None] / factor, abs=1e-12)
    assert b == pytest.approx(held[:order, order] * factor, abs=1e-12)
    turned, input_ = memory_matrices(order, window, 5)
    # What comes out of the memory at any time after an input depends on products such as these alone.
    assert np.linalg.norm(turned @ turned @ input_) == pytest.approx(np.linalg.norm(a @ a @ b))
    assert np.trace(turned) == pytest.approx(np.trace(a))
    assert np.linalg.norm(turned, 2) <= 1 + 1e-9


def test_bits_are_counted_by_hand() -> None:
    # Memory -3..4 over both neurons: 8 levels; hidden layer -1..1: 3. Two neurons and one.
    measured = Measured(1, 2, np.array([[-3, 0], [0, 4]]), np.array([[-1], [1]]))
    bits = measured.bits()
    assert bits["memory"] == 3
    assert bits["hidden"] == pytest.approx(np.log2(3))
    assert bits["per_activity"] == pytest.approx((2 * 3 + np.log2(3)) / 3)
    assert bits["per_neuron"] == pytest.approx((np.log2(4) + np.log2(5) + np.log2(3)) / 3)


def test_weights_fill_their_bits() -> None:
    integers, exponent = rounded(np.array([0.5, -1.0, 0.26]), 4)
    assert (integers.tolist(), exponent) == ([4, -8, 2], 3)
    integers, exponent = rounded(np.array([0.99, 0.1]), 4)
    assert (integers.tolist(), exponent) == ([4, 0], 2)
    with pytest.raises(InputError, match="not finite"):
        rounded(np.array([np.nan]), 8)


@given(st.lists(st.integers(-(2**20), 2**20 - 1), min_size=1), st.integers(3, 12))
def test_parts_add_up_and_fit(weights: list[int], bits: int) -> None:
    found = parts(np.array(weights), bits)
    assert sum(found).tolist() == weights  # type: ignore[union-attr]
    for part in found:
        common = int(np.bitwise_or.reduce(part))
        low = (common & -common).bit_length() - 1 if common else 0
        assert -(1 << (bits - 1)) <= int(part.min()) >> low
        assert int(part.max()) >> low < 1 << (bits - 1)


def test_a_network_without_omegas_is_refused() -> None:
    with pytest.raises(ModelError, match="has no omegas"):
        convert_lmu(replace(random_lmu(0), omega_hidden=0.0), LmuOptions())


def test_the_file_comes_back(tmp_path: Path) -> None:
    lmu = random_lmu(1)
    write_lmu(tmp_path / "net.npz", lmu)
    back = read_lmu(tmp_path / "net.npz")
    assert np.array_equal(back.memory_matrix, lmu.memory_matrix)
    assert back.memory == pytest.approx(lmu.memory, rel=1e-6)
    assert (back.omega_memory, back.memory_levels, back.activation) == (
        lmu.omega_memory, lmu.memory_levels, lmu.activation,
    )  # fmt: skip
    with np.load(tmp_path / "net.npz") as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(tmp_path / "short.npz", **(arrays | {"bias": np.zeros(2)}))
    with pytest.raises(ModelError, match=r"short\.npz: input is \(5,\) where \(2,\) fits"):
        read_lmu(tmp_path / "short.npz")
    arrays.pop("answer")
    np.savez(tmp_path / "less.npz", **arrays)
    with pytest.raises(ModelError, match="lacks answer"):
        read_lmu(tmp_path / "less.npz")
    (tmp_path / "text.npz").write_text("no arrays")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(InputError, match=f"{name}: cannot be read as .npz"):
            read_lmu(tmp_path / name)
