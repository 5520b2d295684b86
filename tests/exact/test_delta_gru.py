"""Delta GRUs: the recorded runs on spoken digits, the error bound, and equality with the GRU at no threshold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodels import load_chip
from neurosim.compiler import compile_network
from neurosim.convert import DeltaTraining, describe_gated, run_delta_gru, run_gated, to_gated, train_delta
from neurosim.engine import LayerCount, run_program
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import DenseGraph, Gru, Input, Linear, evaluate

# Threshold: accuracy %, times fewer multiply-accumulates.
RECORDED = {0.0: (99.0, 1.08), 0.0625: (98.67, 2.62), 0.125: (98.67, 4.63), 0.1875: (97.33, 7.31),
            0.25: (96.67, 10.69), 0.3125: (95.0, 14.77)}  # fmt: skip


def random_gru(rng: np.random.Generator, inputs: int = 5, hidden: int = 7) -> Gru:
    shapes = ((3 * hidden, inputs), (3 * hidden, hidden), (3 * hidden,), (3 * hidden,))
    return Gru("gru", ("x",), *(rng.normal(size=shape) / 2 for shape in shapes))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_without_thresholds_it_is_the_gru(seed: int) -> None:
    rng = np.random.default_rng(seed)
    node = random_gru(rng)
    x = rng.normal(size=(3, 11, 5))
    found = run_delta_gru(node, x, np.full(3, 11), 0.0, 0.0)
    wanted = evaluate(DenseGraph([Input("x", (), (5,)), node]), x)
    np.testing.assert_allclose(found.states, wanted, rtol=1e-9, atol=1e-12)
    assert found.widest_gap == (0.0, 0.0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 2.0), st.floats(0.001, 0.5))
def test_no_held_value_is_off_by_the_threshold(seed: int, input_threshold: float, state_threshold: float) -> None:
    rng = np.random.default_rng(seed)
    node, length = random_gru(rng), rng.integers(0, 20, 4)
    x = np.cumsum(rng.normal(size=(4, 20, 5)) / 3, axis=1)
    found = run_delta_gru(node, x, length, input_threshold, state_threshold)
    assert found.widest_gap[0] < input_threshold
    assert found.widest_gap[1] < state_threshold
    beyond = np.arange(20) >= length[:, None]
    assert not found.sent_inputs[beyond].any()
    assert not found.sent_states[beyond].any()


@pytest.fixture(scope="module")
def spoken(reference_data: Path) -> dict[str, Any]:
    folder = reference_data / "fsdd_deltagru"
    with np.load(folder / "fsdd_logmel_q3p4.npz") as file:
        data = {name: file[name] for name in file.files}
    with np.load(folder / "gru_f32.npz") as file:
        weights = {name: file[name].astype(np.float64) for name in file.files}
    with np.load(folder / "expected.npz") as file:
        expected = {name: file[name] for name in file.files}
    b = weights["b"]
    node = Gru(
        "gru", ("x",), weights["Wx"].T, weights["Wh"].T, b[:384], np.concatenate((np.zeros(256), b[384:]))
    )  # fmt: skip
    start = np.concatenate(([0], np.cumsum(data["length"].astype(np.int64))))
    chosen = expected["test_index"]
    x = np.zeros((len(chosen), int(data["length"][chosen].max()), 40))
    for row, i in enumerate(chosen):
        x[row, : data["length"][i]] = data["x"][start[i] : start[i + 1]] / 16
    return {
        "node": node, "x": x, "length": data["length"][chosen].astype(np.int64), "labels": data["label"][chosen],
        "expected": expected, "weights": weights,
    }  # fmt: skip


def answers(spoken: dict[str, Any], found: Any) -> Any:
    """Mean over time, then the linear layer."""
    mean = found.states.sum(axis=1) / spoken["length"][:, None]
    return mean @ spoken["weights"]["Wo"].T + spoken["weights"]["bo"]


@pytest.mark.parametrize("threshold", RECORDED)
def test_recorded_spoken_digits(spoken: dict[str, Any], threshold: float) -> None:
    """Every answer of 300 files within float tolerance, every count, frame by frame for the first file."""
    found = run_delta_gru(spoken["node"], spoken["x"], spoken["length"], threshold, threshold)
    expected = spoken["expected"]
    logits = answers(spoken, found)
    np.testing.assert_allclose(logits, expected[f"logits_{threshold}"], rtol=1e-6, atol=1e-8)
    counts = [int(found.sent_inputs.sum()), int(found.sent_states.sum()), found.frames]
    assert counts == expected[f"counts_{threshold}"].tolist()
    first = np.stack((found.sent_inputs[0], found.sent_states[0]), axis=1)[: spoken["length"][0]]
    assert np.array_equal(first, expected[f"trace_first_{threshold}"])
    accuracy, reduction = RECORDED[threshold]
    assert (logits.argmax(axis=1) == spoken["labels"]).mean() * 100 == pytest.approx(accuracy, abs=0.005)
    assert found.reduction(spoken["node"]) == pytest.approx(reduction, abs=0.005)


def in_integers(spoken: dict[str, Any], threshold: float) -> Any:
    readout = Linear("digit", ("gru",), spoken["weights"]["Wo"], spoken["weights"]["bo"])
    graph = DenseGraph([Input("x", (), (40,)), spoken["node"], readout], name="spoken")
    return to_gated(graph, threshold, None, "mean")


@pytest.mark.parametrize(
    "threshold", [0.125, 0.1875, 0.25, *(pytest.param(t, marks=pytest.mark.slow) for t in (0.0, 0.0625, 0.3125))]
)
def test_spoken_digits_in_the_accelerators_formats(
    spoken: dict[str, Any], threshold: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """The recorded weights in 8 bits, gates in steps of 1/16: near the recorded float run, and said how near."""
    found = in_integers(spoken, threshold)
    run = run_gated(found, spoken["x"], spoken["length"])
    last = run.answers[np.arange(300), spoken["length"] - 1]
    accuracy = float((last.argmax(axis=1) == spoken["labels"]).mean() * 100)
    reduction = run.frames * 168 / run.acting[0]
    recorded = RECORDED[threshold]
    with capsys.disabled():
        print(
            f"\nspoken digits in integers, threshold {threshold}: {accuracy:.2f} %, {reduction:.2f}x fewer; "
            f"in floats {recorded[0]:.2f} %, {recorded[1]:.2f}x"
        )
    assert found.formats.weight_fraction == 7
    assert accuracy >= recorded[0] - 1.5
    # Without a threshold small changes round to none, and fewer are sent.
    assert reduction == pytest.approx(recorded[1], rel=0.03) if threshold else reduction > recorded[1]
    # Messages fit 16 bits, and sums of gates 24, with room.
    assert max(run.message_bits) <= 11
    assert max(run.sum_bits) <= 21


def test_a_spoken_digit_on_a_chip_is_what_the_evaluation_says(spoken: dict[str, Any]) -> None:
    """GRU-128 on Loihi 2, on one core for its neurons or on six: each message's count, each answer."""
    found = in_integers(spoken, 0.1875)
    length = int(spoken["length"][0])
    x = spoken["x"][:1, :length]
    run = run_gated(found, x)
    frames = {"x": np.rint(x[0] * 256).astype(np.int64)}
    durations = []
    for setting in ({}, {"core.neurons": "100", "core.neurons_usable": "100"}):
        program = compile_network(found.network, load_chip("loihi2", setting))
        counts = run_program(program, frames, length + 2)
        durations.append(int(counts.duration_ps.sum()))
        sent = counts.layer_counts[:, :, LayerCount.MESSAGES]
        assert sent[:length, 0].tolist() == run.sent[0][0].tolist()
        assert sent[1 : length + 1, 1].tolist() == run.sent[1][0].tolist()
        assert counts.layer_counts[:, 0, LayerCount.SYNOPS].tolist() == (384 * sent[:, 0]).tolist()
        assert counts.layer_counts[:, 1, LayerCount.SYNOPS].tolist() == ((384 + 10) * sent[:, 1]).tolist()
        answers = counts.outputs["digit"][2:] * found.answer_scale / np.arange(1, length + 1)[:, None]
        np.testing.assert_allclose(answers, run.answers[0], rtol=1e-12)
    assert durations[1] < durations[0]


@pytest.mark.slow
def test_trained_spoken_digits(
    spoken: dict[str, Any], reference_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Trained through thresholds of 0.25 from the recorded weights: 98 % or better at 9 times fewer operations."""
    with np.load(reference_data / "fsdd_deltagru" / "fsdd_logmel_q3p4.npz") as file:
        data = {name: file[name] for name in file.files}
    length = data["length"].astype(np.int64)
    start = np.concatenate(([0], np.cumsum(length)))
    chosen = np.flatnonzero(~data["is_test"])
    x = np.zeros((len(chosen), int(length[chosen].max()), 40), dtype=np.float32)
    for row, i in enumerate(chosen):
        x[row, : length[i]] = data["x"][start[i] : start[i + 1]] / 16
    readout = Linear("out", ("gru",), spoken["weights"]["Wo"], spoken["weights"]["bo"])
    options = DeltaTraining(0.25, 0.25, sparsity=0.02, noise=0.2, epochs=15, rate=1e-3)
    node, readout = train_delta(spoken["node"], readout, x, length[chosen], data["label"][chosen], options)
    found = run_delta_gru(node, spoken["x"], spoken["length"], 0.25, 0.25)
    logits = found.states.sum(axis=1) / spoken["length"][:, None] @ readout.weight.T + readout.bias
    accuracy = float((logits.argmax(axis=1) == spoken["labels"]).mean() * 100)
    graph = DenseGraph([Input("x", (), (40,)), node, readout], name="spoken")
    report = describe_gated(to_gated(graph, 0.25, None, "mean"), spoken["x"], spoken["labels"], spoken["length"])
    assert report.error_percent is not None
    assert report.reduction is not None
    with capsys.disabled():
        print(
            f"\nspoken digits, trained through thresholds of 0.25: {accuracy:.2f} %, {found.reduction(node):.2f}x "
            f"fewer; in integers {100 - report.error_percent:.2f} %, {report.reduction:.2f}x"
        )
    assert accuracy >= 98.0
    assert found.reduction(node) >= 9.0
    assert report.error_percent <= 2.0
    assert report.reduction >= 9.0


def test_what_does_not_fit_is_refused() -> None:
    node = random_gru(np.random.default_rng(0))
    x, length = np.zeros((2, 3, 5)), np.array([3, 3])
    with pytest.raises(InputError, match=r"inputs have shape \[2, 3, 4\]"):
        run_delta_gru(node, np.zeros((2, 3, 4)), length, 0.1, 0.1)
    with pytest.raises(InputError, match="lengths must be 2 integers"):
        run_delta_gru(node, x, np.array([3, 4]), 0.1, 0.1)
    with pytest.raises(InputError, match="the state threshold is -1"):
        run_delta_gru(node, x, length, 0.1, -1)
    before = Gru(*vars(node).values())
    object.__setattr__(before, "reset_before", True)
    with pytest.raises(ModelError, match="resets before its product"):
        run_delta_gru(before, x, length, 0.1, 0.1)
