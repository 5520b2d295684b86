"""Training of delta GRUs: derivatives, what the price on changes does, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.convert import DeltaTraining, run_delta_gru, train_delta_gru
from neurosim.convert.delta_gru_training import loss_and_slopes, parameters_of
from neurosim.errors import InputError
from neurosim.formats.dense_graph import Gru, Linear

CLASSES = 4


def start(rng: np.random.Generator, inputs: int = 3, hidden: int = 5) -> tuple[Gru, Linear]:
    shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
    node = Gru("gru", ("x",), *(rng.normal(size=shape) / 2 for shape in shapes))
    return node, Linear("out", ("gru",), rng.normal(size=(CLASSES, hidden)), np.zeros(CLASSES))


def test_derivatives_are_those_of_small_steps() -> None:
    """Away from thresholds the loss is smooth, and what is kept back or sent does not change in a small step."""
    rng = np.random.default_rng(0)
    p = parameters_of(*start(rng))
    x = np.cumsum(rng.normal(size=(9, 6, 3)) / 3, axis=0)
    length, labels = np.array([9, 5, 1, 7, 9, 3]), rng.integers(0, CLASSES, 6)
    noise = rng.normal(size=(9, 6, 20)) / 10
    options = DeltaTraining(0.3, 0.05, sparsity=0.7)
    _, slopes = loss_and_slopes(p, x, length, labels, options, noise)
    step = 1e-6
    for key, values in p.items():
        for _ in range(5):
            place = tuple(rng.integers(0, n) for n in values.shape)
            ends = []
            for sign in (1, -1):
                moved = {name: array.copy() for name, array in p.items()}
                moved[key][place] += sign * step
                ends.append(loss_and_slopes(moved, x, length, labels, options, noise)[0])
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slopes[key][place], rel=1e-4, abs=1e-8)


def test_the_loss_is_that_of_the_run() -> None:
    rng = np.random.default_rng(1)
    node, readout = start(rng)
    x, length = np.cumsum(rng.normal(size=(4, 12, 3)) / 3, axis=1), np.array([12, 3, 8, 5])
    labels = rng.integers(0, CLASSES, 4)
    found = run_delta_gru(node, x, length, 0.2, 0.1)
    mean = found.states.sum(axis=1) / length[:, None]
    u = mean @ readout.weight.T + readout.bias
    wanted = np.log(np.exp(u).sum(axis=1)) - u[np.arange(4), labels]
    options = DeltaTraining(0.2, 0.1)
    loss, _ = loss_and_slopes(parameters_of(node, readout), x.transpose(1, 0, 2), length, labels, options)
    assert loss == pytest.approx(wanted.mean(), rel=1e-9)


def sequences(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
    """Sines of four frequencies with noise."""
    labels = rng.integers(0, CLASSES, count)
    t = np.arange(30)[None, :, None]
    phase = rng.random((count, 1, 3)) * 6
    x = np.sin(0.2 * (1 + labels[:, None, None]) * t + phase) + rng.normal(size=(count, 30, 3)) / 10
    return x, rng.integers(20, 31, count), labels


def test_training_learns_and_a_price_on_changes_saves_some() -> None:
    rng = np.random.default_rng(2)
    node, readout = start(rng, 3, 16)
    x, length, labels = sequences(rng, 400)
    found = {}
    for sparsity in (0.0, 0.3):
        options = DeltaTraining(0.2, 0.1, sparsity=sparsity, noise=0.05, epochs=12, rate=2e-2)
        trained, out = train_delta_gru(node, readout, x, length, labels, options)
        run = run_delta_gru(trained, x, length, 0.2, 0.1)
        answers = run.states.sum(axis=1) / length[:, None] @ out.weight.T + out.bias
        found[sparsity] = (float((answers.argmax(axis=1) == labels).mean()), int(run.sent_states.sum()))
    assert found[0.0][0] > 0.9
    assert found[0.3][0] > 0.8
    assert found[0.3][1] < 0.8 * found[0.0][1]


def test_bad_training_data_is_refused() -> None:
    rng = np.random.default_rng(3)
    node, readout = start(rng)
    x, length, labels = sequences(rng, 10)
    options = DeltaTraining(0.2, 0.1, epochs=1)
    with pytest.raises(InputError, match=r"labels\[0\] is \d+; it must lie in 0\.\.3"):
        train_delta_gru(node, readout, x, length, labels + 9, options)
    with pytest.raises(InputError, match=r"lengths\[0\] is 0; it must lie in 1\.\.30"):
        train_delta_gru(node, readout, x, length * 0, labels, options)
    with pytest.raises(InputError, match=r"inputs\[0, 0, 0\] is nan; inputs must be finite"):
        train_delta_gru(node, readout, x * np.nan, length, labels, options)
    with pytest.raises(InputError, match="training diverged"), np.errstate(all="ignore"):
        train_delta_gru(node, readout, x, length, labels, DeltaTraining(0.2, 0.1, epochs=9, rate=1e38))
