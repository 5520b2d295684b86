"""Training of a hybrid LMU: derivatives, what is learnt, what is refused."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError
from neurosim.train import LmuData, LmuTraining, measure_lmu, train_lmu
from neurosim.train.hybrid_lmu import first_lmu, quantised
from neurosim.train.lmu import run_lmu
from neurosim.train.lmu_cell import NAMES, LmuCell

torch = pytest.importorskip("torch", reason="the extra torch is not installed")

TINY = LmuTraining(
    order=6, units=5, window=12, classes=3, centre=4, scale=4, omega_memory=6.0, omega_hidden=2.0, memory_levels=9,
    memory_bits=10, readout_steps=3, float_epochs=1, hybrid_epochs=1, batch=5,
)  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def sequences(count: int, seed: int, steps: int = 12) -> tuple[Any, Any]:
    """Sequences of 0..8 and their classes: in which third of the sequence the only high value stands."""
    rng = np.random.default_rng(seed)
    values, place = rng.integers(3, 6, (count, steps)), rng.integers(0, steps, count)
    values[np.arange(count), place] = 8
    return values, place * 3 // steps


def data(count: int = 20) -> LmuData:
    return LmuData(*sequences(count, 1), *sequences(max(5, count // 4), 2))


def some_lmu(options: LmuTraining, seed: int = 3) -> Any:
    rng = np.random.default_rng(seed)
    units = options.units
    return replace(
        first_lmu(options), state=rng.normal(0, 0.5, (units, units)), input=rng.normal(0, 1, units),
        bias=rng.normal(0, 0.3, units), answer=rng.normal(0, 0.3, options.classes),
    )  # fmt: skip


def through(torch: Any, f: Any, v: Any, omega: float, limits: tuple[int, int] | None) -> tuple[Any, Any]:
    """Quantise, with the derivative of the identity, by PyTorch's own means."""
    if not omega:
        return f, v
    v = v + omega * f.detach()
    n = torch.floor(v) if limits is None else torch.floor(v).clamp(*limits)
    return f + (n / omega - f).detach(), v - n


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@pytest.mark.parametrize("quantises", [False, True])
def test_derivatives_are_those_of_automatic_differentiation(activation: str, quantises: bool) -> None:
    options = replace(TINY, activation=activation)
    net = some_lmu(options)
    net = quantised(net, options) if quantises else net
    values, labels = sequences(7, 5)
    cell = LmuCell(torch, "cpu", net)
    u, label = cell.inputs(values), torch.as_tensor(labels)
    v, w = cell.starts(7)
    loss, slopes = cell.slopes(u, cell.remember(u, v), w, label)
    p = {name: value.clone().requires_grad_() for name, value in cell.p.items()}
    m, h = torch.zeros(7, options.order), torch.zeros(7, options.units)
    v, w = cell.starts(7)
    read = []
    for t in range(len(u)):
        m, v = through(torch, m @ cell.a + u[t][:, None] * cell.b, v, net.omega_memory, net.memory_limits)
        x = u[t][:, None] * p["input"] + h @ p["state"].T + m @ p["memory"].T + p["bias"]
        h, w = through(torch, torch.tanh(x) if activation == "tanh" else torch.sigmoid(x), w, net.omega_hidden, None)
        read.append(h)
    answers = torch.stack(read[-net.readout_steps :]).mean(0) @ p["readout"].T + p["answer"]
    expected = torch.nn.functional.cross_entropy(answers, label)
    expected.backward()
    assert float(loss) == pytest.approx(float(expected.detach()), abs=1e-5)
    for name in NAMES:
        assert slopes[name].numpy() == pytest.approx(p[name].grad.numpy(), abs=1e-5), name


def test_the_plain_pass_gives_the_same_answers() -> None:
    net = quantised(some_lmu(TINY), TINY)
    values, _ = sequences(40, 9)
    plain = run_lmu(net, values)
    labels = plain.answers.argmax(axis=1)
    measured = measure_lmu(net, values, labels, batch=7)
    assert measured.correct >= 38
    # float32 and float64 round few messages apart; no limit of a range moves by more than one.
    assert measured.memory_range is not None
    assert measured.hidden_range is not None
    assert np.abs(measured.memory_range - plain.memory_range).max() <= 1
    assert measured.memory_range[0].min() >= -4
    assert measured.memory_range[1].max() <= 4
    assert np.abs(measured.hidden_range - plain.hidden_range).max() <= 1


def test_it_learns_and_keeps_the_best_epochs() -> None:
    options = replace(
        TINY, order=12, units=16, float_epochs=10, hybrid_epochs=12, batch=20, float_rate=1e-2, hybrid_rate=1e-2,
        omega_memory=12.0, memory_levels=0,
    )  # fmt: skip
    kept: list[str] = []
    trained = train_lmu(data(400), options, keep=lambda name, _: kept.append(name))
    assert trained.hybrid_net is not None
    test, labels = sequences(200, 8)
    assert measure_lmu(trained.float_net, test, labels).accuracy > 0.9
    assert measure_lmu(trained.hybrid_net, test, labels).accuracy > 0.8
    assert trained.hybrid_net.omega_memory == 12.0
    assert set(kept) == {"float", "hybrid"}
    rows = [row for row in trained.history if row["hybrid"]]
    # Omega falls to its last value by half of the phase, and the epoch taken is the best of those tried.
    assert [row["factor"] for row in rows] == sorted((row["factor"] for row in rows), reverse=True)
    assert rows[0]["factor"] > 10
    assert all(row["factor"] == 1 for row in rows[7:])
    held = measure_lmu(trained.hybrid_net, data(400).validation, data(400).validation_labels)
    assert held.accuracy == max(row["validation"] for row in rows)


def test_the_same_seed_gives_the_same_network() -> None:
    one, two = (train_lmu(data(), TINY).hybrid_net for _ in range(2))
    assert one is not None
    assert two is not None
    assert np.array_equal(one.memory, two.memory)
    assert np.array_equal(one.state, two.state)


def test_it_ends_in_time() -> None:
    options = replace(TINY, float_epochs=10**6, hybrid_epochs=10**6, seconds=1.5)
    trained = train_lmu(data(), options)
    assert trained.history[-1]["seconds"] < 10
    assert trained.history[-1]["factor"] == 1


def test_a_time_limit_that_is_over_is_refused() -> None:
    with pytest.raises(InputError, match=r"seconds: 5 were over .* before the float phase began; give more"):
        train_lmu(data(), replace(TINY, seconds=5.0), began=time.monotonic() - 60)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": 2}, r"labels reach from 0 to 2; the readout has classes 0\.\.1"),
        ({"readout_steps": 13}, r"readout_steps: 13 is not in 1\.\.12"),
        ({"omega_hidden": 0.0}, "omegas must be above 0"),
        ({"batch": 21}, r"batch: 21 is not in 1\.\.20"),
        ({"activation": "relu"}, 'activation "relu" is one of tanh, sigmoid'),
        ({"float_rate": 1e38}, "diverged at a rate of 1e\\+38"),
        ({"order": 32, "window": 64, "memory_bits": 4}, "memory never ends"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        train_lmu(data(), replace(TINY, **options))


def test_sequences_are_integers() -> None:
    given = data()
    with pytest.raises(InputError, match="train: sequences are float64; give integers"):
        train_lmu(replace(given, train=given.train.astype(float)), TINY)
    with pytest.raises(InputError, match=r"validation: sequences \(5, 12\) and labels \(4,\)"):
        train_lmu(replace(given, validation_labels=given.validation_labels[:4]), TINY)
