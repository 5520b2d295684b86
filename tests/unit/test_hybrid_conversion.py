"""Conversion to hybrid-spiking neurons: numbers worked out by hand, omegas of groups, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from neurosim.cli.convert_spiking import omegas
from neurosim.convert import HybridOptions, convert_hybrid, describe_hybrid, make_plan, to_hybrid
from neurosim.convert.hybrid_options import omegas_of
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Activation, DenseGraph, Flatten, Input, Linear, Pool2d
from neurosim.network import Hybrid, Leaky
from neurosim.train.omegas import bits_per_activity, fallen


def graph(*weights: Any, function: str = "relu", high: float = math.inf, low: float = 0.0) -> DenseGraph:
    """Linear layers fc0, fc1, ... with activations r0, r1, ... between them; biases are 0 but for the last, 1."""
    nodes: list[Any] = [Input("in", (), (np.shape(weights[0])[1],))]
    for i, weight in enumerate(weights):
        last = i == len(weights) - 1
        nodes.append(Linear(f"fc{i}", (nodes[-1].name,), np.array(weight), np.full(len(weight), float(last))))
        if not last and function:
            nodes.append(Activation(f"r{i}", (nodes[-1].name,), function, low, high))
    return DenseGraph(nodes, name="small")


def test_weights_multipliers_and_biases_by_hand() -> None:
    """Inputs of 1 and 2, weights 0.5 and 1, so that 127 stands for 1 in a sum; omega of 4."""
    samples = np.array([[1.0, 2.0]])
    found = to_hybrid(make_plan(graph([[0.5, 1.0]], [[0.5]])), samples, HybridOptions(4.0, timesteps=3, read=2))
    hidden, out = found.network.layers[1:]
    assert found.network.connections[0].transform.weights.tolist() == [[64, 127]]
    assert isinstance(hidden.unit, Hybrid)
    # A sum of 127 is 4 messages of 2**12 steps.
    assert hidden.unit.fraction == 12
    factor = int(hidden.unit.multiplier[0]) / 2.0 ** int(hidden.unit.shift[0])
    assert factor == pytest.approx(4 * 4096 / 127, rel=2.0**-23)
    assert found.omegas[0] == pytest.approx(4.0, rel=2.0**-23)
    assert (hidden.unit.function, hidden.unit.waits, hidden.unit.reset_interval, hidden.unit.reset_phase) == (
        "relu", 1, 3, 2
    )  # fmt: skip
    assert hidden.unit.residual.tolist() == [2048]
    # The weight 0.5 meets a message that is worth a quarter: 127 stand for an eighth, the bias of 1 for 1016.
    assert isinstance(out.unit, Leaky)
    assert found.network.connections[1].transform.weights.tolist() == [[127]]
    assert found.answer_scale == pytest.approx(1016 * 64, rel=1e-6)
    assert out.unit.bias.tolist() == [1016 * 64]
    # The answer's window begins in timestep 3; of its 3 timesteps the last 2 are read: cleared in 4, 7, ...
    assert (out.unit.start, out.unit.reset_interval, out.unit.reset_phase) == (2, 3, 1)


def test_a_value_is_sent_in_steps_of_one_over_omega() -> None:
    """One neuron with f = 0.3: from half a message, floor(0.5 + 4 * 0.3 t) messages in t timesteps."""
    dense = graph([[1.0]], [[1.0]])
    samples = np.array([[0.3]])
    options = HybridOptions(4.0, timesteps=10, input_scale=0.001)
    found = to_hybrid(make_plan(dense), samples, options)
    _, counts = describe_hybrid(found, make_plan(dense), samples)
    assert counts.messages[1].tolist() == [1] * 10
    # 12.5 in ten timesteps: 12 messages in all, of which the third and the eighth count double.
    assert counts.unit_adds[1].tolist() == [1, 1, 2, 1, 1, 1, 1, 2, 1, 1]
    assert counts.ranges[1].tolist() == [[0], [2]]
    assert counts.answers[10][0, 0] / (10 * found.answer_scale) == pytest.approx(1 + 12 / 4 / 10, rel=1e-6)


def test_omegas_of_layers_and_groups() -> None:
    one = [[1.0]]
    plan = make_plan(graph(one, one, one, one))
    assert omegas_of(plan, 4) == (4.0, 4.0, 4.0)
    assert omegas_of(plan, [4]) == (4.0, 4.0, 4.0)
    assert omegas_of(plan, (4, 2, 0.5)) == (4.0, 2.0, 0.5)
    assert omegas_of(plan, {"r*": 2, "r1": 8}) == (2.0, 8.0, 2.0)
    assert omegas_of(plan, {"r[01]": 2, "r2": 8}) == (2.0, 2.0, 8.0)
    found = to_hybrid(plan, np.ones((1, 1)), HybridOptions({"r*": 2, "r1": 8}))
    assert found.omegas == pytest.approx((2.0, 8.0, 2.0))


@pytest.mark.parametrize(
    ("omega", "words"),
    [
        ((1, 2), "2 omegas are given; give 1, or 3, of r0, r1, r2, or by name"),
        ((), "0 omegas are given"),
        ({"r0": 1, "r1": 1}, "layer r2 has no omega; give one"),
        ({"r*": 1, "q1": 1}, 'omega of "q1": no layer has this name'),
        ({"r*": 1, "*2": 1}, r"layer r2: omegas of r\* and \*2 are both its own"),
        (0.0, "layer r0: omega is 0.0; it must be a number above 0"),
        ({"r*": math.nan}, "layer r0: omega is nan"),
        ((1, math.inf, 1), "layer r1: omega is inf"),
    ],
)
def test_omegas_that_do_not_fit(omega: Any, words: str) -> None:
    one = [[1.0]]
    with pytest.raises(InputError, match=words):
        omegas_of(make_plan(graph(one, one, one, one)), omega)


def test_omegas_of_the_command_line() -> None:
    assert omegas(["4", "0.5"]) == [4.0, 0.5]
    assert omegas(["conv*=4", "a=b=2"]) == {"conv*": 4.0, "a=b": 2.0}
    for texts, words in (
        (["four"], "--omega four: four is no number"),
        (["a="], "--omega a=:  is no number"),
        (["a=1", "a=2"], "a has one already, 1"),
        (["a=1", "2"], "with names and without"),
    ):
        with pytest.raises(InputError, match=words):
            omegas(texts)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"timesteps": 0}, "timesteps is 0; it must be 1 or more"),
        ({"read": 9}, r"read is 9; it must lie in 1\.\.8"),
        ({"read": -1}, "read is -1"),
        ({"first": "empty"}, 'first is "empty"; use half or random'),
    ],
)
def test_bad_options(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        HybridOptions(1.0, **values)


def test_what_cannot_be_converted_is_named() -> None:
    one, some = [[1.0]], np.ones((2, 1))
    options = HybridOptions(1.0)
    clipped = graph(one, one, one, function="clip", low=-1.0, high=1.0)
    with pytest.raises(ModelError, match=r"layer r0 is limited to -1\.\.1; hybrid(.|\n)*layer r1 is limited to"):
        to_hybrid(make_plan(clipped), some, options)
    nodes = [
        Input("in", (), (1, 4, 4)), Pool2d("pool", ("in",), "max"), Flatten("flat", ("pool",)),
        Linear("out", ("flat",), np.ones((2, 4)), np.zeros(2)),
    ]  # fmt: skip
    with pytest.raises(ModelError, match=r"layer pool takes maxima.*convert by rounding, sigma-delta or fixed-point"):
        to_hybrid(make_plan(DenseGraph(nodes, name="maxima"), maxima=True), np.ones((1, 1, 4, 4)), options)
    with pytest.raises(ModelError, match="no layer between input and answer"):
        to_hybrid(make_plan(graph(one)), some, options)
    with pytest.raises(InputError, match="all 2 calibration inputs are 0"):
        to_hybrid(make_plan(graph(one, one)), 0 * some, options)
    with pytest.raises(
        ModelError, match=r"layer r0: its values reach 1, which is 1e\+06 messages a timestep; states of"
    ):
        to_hybrid(make_plan(graph(one, one)), some, HybridOptions(1e6))
    wide = HybridOptions(1.0, weight_bits=16, input_scale=1e-5)
    with pytest.raises(ModelError, match=r"layer r0: its sums reach 3\.277e\+09 on the calibration frames"):
        to_hybrid(make_plan(graph(one, one)), some, wide)
    with pytest.raises(ModelError, match="layer fc1: its membrane needs to hold"):
        to_hybrid(make_plan(graph(one, one)), some, HybridOptions(200.0, timesteps=100, weight_bits=12))


def test_residuals_come_from_the_seed() -> None:
    one = np.ones((40, 1))
    plan = make_plan(graph(one, one.T))
    drawn = [
        to_hybrid(plan, np.ones((1, 1)), HybridOptions(1.0, first="random", seed=seed)).network.layers[1].unit
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert isinstance(drawn[0], Hybrid)
    assert 0 <= drawn[0].residual.min() < drawn[0].residual.max() < 1 << drawn[0].fraction


def test_narrow_states_have_fewer_bits_of_fraction() -> None:
    plan = make_plan(graph([[1.0]], [[1.0]]))
    # 16 bits hold 2**15 steps: 2 * (100 + 1) messages leave 7 bits of fraction.
    options = HybridOptions(100.0, timesteps=1, weight_bits=4, state_bits=16)
    unit = to_hybrid(plan, np.ones((1, 1)), options).network.layers[1].unit
    assert isinstance(unit, Hybrid)
    assert unit.fraction == 7


def test_labels_and_reports() -> None:
    rng = np.random.default_rng(0)
    dense = graph(rng.normal(size=(12, 5)), rng.normal(size=(3, 12)))
    samples = rng.random((40, 5))
    options = HybridOptions(3.0, timesteps=12, input_scale=1 / 255)
    _, report = convert_hybrid(dense, samples, options=options, test=(samples, np.zeros(40, dtype=int)))
    assert report.error_percent is not None
    assert report.dense_operations == 12 * 9 + 3 * 23
    assert [row["timesteps"] for row in report.curve] == [1, 2, 4, 8, 12]
    assert report.layer_messages["in"] == report.input_messages
    assert report.synops == pytest.approx(12 * report.input_messages + 3 * report.messages)
    assert report.unit_adds > 3 * report.messages
    assert set(report.bits) == {"r0", "per_activity", "per_neuron"}
    assert report.bits["per_activity"] == report.bits["r0"] >= report.bits["per_neuron"]
    assert report.to_dict()["curve"][-1]["messages"] == report.messages
    plan = make_plan(dense)
    with pytest.raises(InputError, match=r"labels\[3\] is 3; the answer has classes 0\.\.2"):
        describe_hybrid(to_hybrid(plan, samples, options), plan, samples, np.arange(40) % 4)


def test_bits_and_falling_omegas() -> None:
    ranges = {"a": np.array([[0, -1, 0], [2, 2, 0]]), "b": np.array([[0], [1]])}
    found = bits_per_activity(ranges)
    # Three neurons with -1..2, four levels; one with 0..1. Apart: 3, 4, 1 and 2 levels.
    assert (found["a"], found["b"], found["per_activity"]) == (2.0, 1.0, 7 / 4)
    assert found["per_neuron"] == pytest.approx((math.log2(3) + 2 + 0 + 1) / 4)
    assert [fallen(over, 16.0, 0.5) for over in (0.0, 0.125, 0.25, 0.5, 1.0)] == [16.0, 8.0, 4.0, 1.0, 1.0]
    assert fallen(0.0, 16.0, 0.0) == 1.0
