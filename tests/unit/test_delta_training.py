"""Training of delta GRUs and LSTMs: derivatives, what the price on changes does, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neurosim.convert import (
    DeltaTraining,
    GatedFormats,
    run_delta_gru,
    run_delta_lstm,
    run_gated,
    to_gated,
    train_delta,
)
from neurosim.convert.delta_cells import cell_of
from neurosim.convert.delta_training import loss_and_slopes, parameters_of
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import DenseGraph, Gru, Input, Linear, Lstm

CLASSES = 4
KINDS = [Gru, Lstm]
FINE = GatedFormats(
    activation_fraction=12, activation_bits=24, weight_fraction=14, weight_bits=18, table_fraction=12, sum_bits=48
)


def start(rng: np.random.Generator, kind: Any, inputs: int = 3, hidden: int = 5) -> tuple[Any, Linear]:
    gates = kind.gates
    shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    node = kind("cell", ("x",), *(rng.normal(size=shape) / 2 for shape in shapes))
    return node, Linear("out", ("cell",), rng.normal(size=(CLASSES, hidden)), np.zeros(CLASSES))


def run(node: Any, *given: Any) -> Any:
    return (run_delta_gru if isinstance(node, Gru) else run_delta_lstm)(node, *given)


@pytest.mark.parametrize("reads_sent", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_are_those_of_small_steps(kind: Any, reads_sent: bool) -> None:
    """Away from thresholds the loss is smooth, and what is kept back or sent does not change in a small step."""
    rng = np.random.default_rng(0)
    node, readout = start(rng, kind)
    p = parameters_of(node, readout)
    x = np.cumsum(rng.normal(size=(9, 6, 3)) / 3, axis=0)
    length, labels = np.array([9, 5, 1, 7, 9, 3]), rng.integers(0, CLASSES, 6)
    noise = rng.normal(size=(9, 6, 20)) / 10
    options = DeltaTraining(0.3, 0.05, sparsity=0.7, reads_sent=reads_sent)

    def at(p: Any) -> Any:
        return loss_and_slopes(p, cell_of(node, 9, 6, x.dtype), x, length, labels, options, noise)

    slopes = at(p)[1]
    step = 1e-6
    for key, values in p.items():
        for _ in range(5):
            place = tuple(rng.integers(0, n) for n in values.shape)
            ends = []
            for sign in (1, -1):
                moved = {name: array.copy() for name, array in p.items()}
                moved[key][place] += sign * step
                ends.append(at(moved)[0])
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slopes[key][place], rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_that_of_the_run(kind: Any) -> None:
    rng = np.random.default_rng(1)
    node, readout = start(rng, kind)
    x, length = np.cumsum(rng.normal(size=(4, 12, 3)) / 3, axis=1), np.array([12, 3, 8, 5])
    labels = rng.integers(0, CLASSES, 4)
    found = run(node, x, length, 0.2, 0.1)
    mean = found.states.sum(axis=1) / length[:, None]
    u = mean @ readout.weight.T + readout.bias
    wanted = np.log(np.exp(u).sum(axis=1)) - u[np.arange(4), labels]
    options = DeltaTraining(0.2, 0.1)
    cell = cell_of(node, 12, 4, x.dtype)
    loss, _ = loss_and_slopes(parameters_of(node, readout), cell, x.transpose(1, 0, 2), length, labels, options)
    assert loss == pytest.approx(wanted.mean(), rel=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_by_what_was_sent_is_that_of_the_network_in_integers(kind: Any) -> None:
    """In formats so fine that little is left of rounding; the last changes are heard by the readout alone."""
    # Drawn so that no change lies within rounding of its threshold.
    rng = np.random.default_rng(5)
    node, readout = start(rng, kind)
    x, length = np.cumsum(rng.normal(size=(6, 12, 3)) / 3, axis=1), np.array([12, 1, 8, 5, 12, 2])
    labels = rng.integers(0, CLASSES, 6)
    graph = DenseGraph([Input("x", (), (3,)), node, readout])
    found = run_gated(to_gated(graph, [0.25, 0.125], FINE, "mean"), x, length)
    u = found.answers[np.arange(6), length - 1]
    wanted = float((np.log(np.exp(u).sum(axis=1)) - u[np.arange(6), labels]).mean())
    losses = []
    for reads_sent in (True, False):
        options = DeltaTraining(0.25, 0.125, reads_sent=reads_sent)
        cell = cell_of(node, 12, 6, x.dtype)
        given = x.transpose(1, 0, 2), length, labels, options
        losses.append(loss_and_slopes(parameters_of(node, readout), cell, *given)[0])
    assert losses[0] == pytest.approx(wanted, abs=1e-3)
    assert abs(losses[1] - wanted) > 1e-2


def sequences(rng: np.random.Generator, count: int) -> tuple[Any, Any, Any]:
    """Sines of four frequencies with noise."""
    labels = rng.integers(0, CLASSES, count)
    t = np.arange(30)[None, :, None]
    phase = rng.random((count, 1, 3)) * 6
    x = np.sin(0.2 * (1 + labels[:, None, None]) * t + phase) + rng.normal(size=(count, 30, 3)) / 10
    return x, rng.integers(20, 31, count), labels


@pytest.mark.parametrize(("kind", "price"), [(Gru, 0.3), (Lstm, 0.1)])
def test_training_learns_and_a_price_on_changes_saves_some(kind: Any, price: float) -> None:
    rng = np.random.default_rng(2)
    node, readout = start(rng, kind, 3, 16)
    x, length, labels = sequences(rng, 400)
    found = {}
    for sparsity in (0.0, price):
        options = DeltaTraining(0.2, 0.1, sparsity=sparsity, noise=0.05, epochs=12, rate=2e-2)
        trained, out = train_delta(node, readout, x, length, labels, options)
        after = run(trained, x, length, 0.2, 0.1)
        answers = after.states.sum(axis=1) / length[:, None] @ out.weight.T + out.bias
        found[sparsity] = (float((answers.argmax(axis=1) == labels).mean()), int(after.sent_states.sum()))
    assert found[0.0][0] > 0.9
    assert found[price][0] > 0.8
    assert found[price][1] < 0.8 * found[0.0][1]


@pytest.mark.parametrize("kind", KINDS)
def test_bad_training_data_is_refused(kind: Any) -> None:
    rng = np.random.default_rng(3)
    node, readout = start(rng, kind)
    x, length, labels = sequences(rng, 10)
    options = DeltaTraining(0.2, 0.1, epochs=1)
    with pytest.raises(InputError, match=r"labels\[0\] is \d+; it must lie in 0\.\.3"):
        train_delta(node, readout, x, length, labels + 9, options)
    with pytest.raises(InputError, match=r"lengths\[0\] is 0; it must lie in 1\.\.30"):
        train_delta(node, readout, x, length * 0, labels, options)
    with pytest.raises(InputError, match=r"inputs\[0, 0, 0\] is nan; inputs must be finite in 32 bits"):
        train_delta(node, readout, x * np.nan, length, labels, options)
    with pytest.raises(InputError, match="training diverged"), np.errstate(all="ignore"):
        train_delta(node, readout, x, length, labels, DeltaTraining(0.2, 0.1, epochs=9, rate=1e38))
    with pytest.raises(ModelError, match=r"node out \(linear\): takes 6 values, and cell has 5 states"):
        train_delta(node, Linear("out", ("cell",), np.ones((4, 6)), np.zeros(4)), x, length, labels, options)


def test_a_gru_that_resets_before_its_product_is_refused() -> None:
    rng = np.random.default_rng(6)
    node, readout = start(rng, Gru)
    with pytest.raises(ModelError, match="resets before its product"):
        train_delta(replace(node, reset_before=True), readout, *sequences(rng, 10), DeltaTraining(0.2, 0.1))
