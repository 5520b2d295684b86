"""Codes of spikes and rate conversion: what codes send, how layers are balanced, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neurosim.convert import RateOptions, convert_rates, count_spikes, describe_rates, make_plan, to_rates
from neurosim.convert.spiking_read_out import curve_timesteps
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import Activation, DenseGraph, Flatten, Input, Linear, Pool2d
from neurosim.formats.spike_codes import encode
from neurosim.network import Connection, Delay, Dense, Layer, Lif, Network, Relay


def test_the_even_code_sends_rounded_shares_evenly() -> None:
    values = np.arange(11)[None]
    sent = encode(values, 20, full=10, spikes=20)
    assert sent.shape == (1, 20, 11)
    np.testing.assert_array_equal(sent.sum(axis=1), 2 * values)
    # Half of the highest rate is every other timestep.
    assert np.diff(np.flatnonzero(sent[0, :, 5])).tolist() == [2] * 9
    np.testing.assert_array_equal(encode(values, 20, full=10, spikes=4).sum(axis=1), (values * 4 + 5) // 10)


def test_the_poisson_code_has_its_rates_and_its_seed() -> None:
    values = np.repeat([[0, 3, 10]], 400, axis=0)
    sent = encode(values, 25, full=10, spikes=25, code="poisson", seed=1)
    np.testing.assert_array_equal(sent, encode(values, 25, full=10, spikes=25, code="poisson", seed=1))
    assert (sent != encode(values, 25, full=10, spikes=25, code="poisson", seed=2)).any()
    rates = sent.mean(axis=(0, 1))
    assert rates[0] == 0
    assert rates[2] == 1
    assert rates[1] == pytest.approx(0.3, abs=5 * np.sqrt(0.21 / 10_000))


@pytest.mark.parametrize(
    ("values", "settings", "words"),
    [
        (np.zeros((2, 3)), {}, r"are float64 of shape \[2, 3\]; give integers"),
        (np.zeros(3, dtype=int), {}, "give integers"),
        (np.array([[11]]), {}, r"reach from 11 to 11; spikes stand for 0\.\.10"),
        (np.array([[-1]]), {}, "reach from -1 to -1"),
        (np.array([[1]]), {"spikes": 9}, "9 spikes for a value of 10 in 8 timesteps"),
        (np.array([[1]]), {"full": 1 << 30, "spikes": 1 << 16, "timesteps": 1 << 16}, "more than 63 bits"),
        (np.array([[1]]), {"code": "latency"}, 'code "latency" is not known'),
    ],
)
def test_codes_refuse(values: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        encode(values, **{"timesteps": 8, "full": 10, "spikes": 4, **settings})


def graph(weight: Any, last: Any, relu: bool = True, function: str = "relu", high: float = np.inf) -> DenseGraph:
    nodes: list[Any] = [Input("in", (), (np.shape(weight)[1],)), Linear("a", ("in",), weight, np.zeros(len(weight)))]
    if relu:
        nodes.append(Activation("r", ("a",), function, 0.0, high))
    nodes.append(Linear("out", (nodes[-1].name,), last, np.ones(len(last))))
    return DenseGraph(nodes, name="small")


def test_weights_thresholds_and_biases_are_balanced() -> None:
    """Worked out by hand: inputs of 1 and 2, weights 0.5 and 1, level 2.5, so that 127 stands for a weight of 1."""
    samples = np.array([[1.0, 2.0]])
    found = to_rates(make_plan(graph(np.array([[0.5, 1.0]]), np.array([[0.5]]))), samples, RateOptions(percentile=100))
    hidden, out = found.network.layers[1:]
    assert found.levels == (1.0, 2.5)
    assert found.network.connections[0].transform.weights.tolist() == [[64, 127]]
    # 2.5 * 127 * 2**6, of which half stand in the membrane at first.
    assert isinstance(hidden.unit, Lif)
    assert (hidden.unit.threshold[0], hidden.unit.reset[0]) == (10160, 10160 - 20320)
    assert found.network.connections[1].transform.weights.tolist() == [[127]]
    # The weight 0.5 meets a spike that stands for 2.5: 127 stand for 1.25, a bias of 1 for 101.6 in steps of 2**-6.
    assert found.answer_scale == pytest.approx(101.6 * 64)
    assert out.unit.bias[0] == round(101.6 * 64)


def test_a_clip_is_the_highest_rate() -> None:
    dense = graph(np.array([[1.0]]), np.array([[1.0]]), function="clip", high=0.5)
    found = to_rates(make_plan(dense), np.array([[1.0]]), RateOptions(timesteps=8))
    assert found.levels[1] == 0.5
    _, counts = describe_rates(found, make_plan(dense), np.array([[4.0]]))
    assert counts.messages[1].tolist() == [1] * 8
    assert counts.answers[8][0, 0] / (8 * found.answer_scale) == pytest.approx(0.5 + 1.0, rel=1e-3)


def test_a_curve_has_powers_of_two_and_the_end() -> None:
    assert curve_timesteps(2) == (2,)
    assert curve_timesteps(24) == (2, 4, 8, 16, 24)
    assert curve_timesteps(32) == (2, 4, 8, 16, 32)


def test_labels_and_reports() -> None:
    rng = np.random.default_rng(0)
    dense = graph(rng.normal(size=(12, 5)), rng.normal(size=(3, 12)))
    samples = rng.random((40, 5))
    plan = make_plan(dense)
    options = RateOptions(timesteps=64, input_scale=1 / 255)
    _, report = convert_rates(dense, samples, options=options, test=(samples, np.zeros(40, dtype=int)))
    assert report.error_percent is not None
    assert report.dense_operations == 12 * 9 + 3 * 23
    assert set(report.layer_messages) == {"in", "r"}
    assert report.layer_messages["in"] == report.input_messages
    assert report.synops == pytest.approx(12 * report.input_messages + 3 * report.spikes)
    with pytest.raises(InputError, match=r"labels\[3\] is 3; the answer has classes 0\.\.2"):
        describe_rates(to_rates(plan, samples, options), plan, samples, np.arange(40) % 4)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"timesteps": 1}, "timesteps is 1; it must be 2 or more"),
        ({"percentile": 0.0}, "percentile is 0"),
        ({"percentile": 101.0}, "percentile is 101"),
        ({"inputs": "spike"}, 'inputs is "spike"; use graded or spikes'),
        ({"first": "full"}, 'first is "full"; use half or empty'),
    ],
)
def test_bad_options(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        RateOptions(**values)


def test_what_has_no_rate_is_refused() -> None:
    one = np.array([[1.0]])
    with pytest.raises(ModelError, match="layer a may have negative values, which no spikes stand for; end it in a"):
        to_rates(make_plan(graph(one, one, relu=False)), one, RateOptions())
    with pytest.raises(ModelError, match="input in has negative values"):
        to_rates(make_plan(graph(one, one)), -one, RateOptions(inputs="spikes"))
    with pytest.raises(ModelError, match=r"layer r: the 99\.9 percentile of its values on the calibration frames is 0"):
        to_rates(make_plan(graph(one, one)), -one, RateOptions())
    with pytest.raises(ModelError, match="layer r: its membrane needs to hold"):
        to_rates(make_plan(graph(one, one)), one, RateOptions(input_scale=1e-4, state_bits=20))
    with pytest.raises(InputError, match=r"inputs have shape \[1, 2\]"):
        to_rates(make_plan(graph(one, one)), np.ones((1, 2)), RateOptions())


def test_inputs_that_round_to_no_spikes_are_refused_with_their_scale() -> None:
    options = RateOptions(timesteps=4, inputs="spikes", input_scale=1.0)
    with pytest.raises(ModelError, match=r"largest value .* is 0\.4, which an input scale of 1 rounds to 0"):
        to_rates(make_plan(graph(np.eye(2), np.eye(2))), np.array([[0.4, 0.1]]), options)


def test_counting_refuses_other_networks() -> None:
    unit = Lif(voltage_keep=np.array([4096]), threshold=np.array([1]))
    layers = [Layer("in", (2,), Relay(spikes=True)), Layer("out", (2,), unit)]
    frames = np.zeros((1, 4, 2), dtype=np.int64)
    for settings, words in (
        ({"delay": Delay("neuron", np.array([0, 1]))}, "has delays of several lengths"),
        ({"accumulator_bits": 16}, "wraps or divides"),
    ):
        network = Network(layers, [Connection(("in",), "out", Dense(np.ones((2, 2), dtype=int)), **settings)])
        with pytest.raises(ModelError, match=words):
            count_spikes(network, lambda part: frames[part], 1, 4)
    network = Network(layers, [Connection(("in",), "out", Dense(np.ones((2, 2), dtype=int)))])
    with pytest.raises(InputError, match=r"asked for at timesteps \[5\]; a sample has 1\.\.4"):
        count_spikes(network, lambda part: frames[part], 1, 4, at=(5,))
    with pytest.raises(InputError, match=r"frames of samples 0 to 0 have shape \[1, 3, 2\]; give \(1, 4 or 1, 2\)"):
        count_spikes(network, lambda part: frames[part, :3], 1, 4)


def test_maxima_are_refused_by_name() -> None:
    nodes = [
        Input("in", (), (1, 4, 4)), Pool2d("pool", ("in",), "max"), Flatten("flat", ("pool",)),
        Linear("out", ("flat",), np.ones((2, 4)), np.zeros(2)),
    ]  # fmt: skip
    plan = make_plan(DenseGraph(nodes, name="maxima"), maxima=True)
    with pytest.raises(
        ModelError,
        match=r"layer pool takes maxima, which rates.*by rounding, sigma-delta or fixed-point",
    ):
        to_rates(plan, np.ones((1, 1, 4, 4)), RateOptions())
