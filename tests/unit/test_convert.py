"""Conversion: how a dense graph is cut, what its integers are, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import messages_of

from neurosim.convert import (
    IntegerOptions,
    QuantiseOptions,
    ScaleOptions,
    TuneOptions,
    choose_formats,
    convert_quantised,
    convert_rounding,
    count,
    make_plan,
    pareto,
    refit,
    sweep,
    temporal_order,
    to_network,
    tune,
)
from neurosim.convert.densities import DENSITIES, KURTOSIS, best_length, max_length, moments
from neurosim.convert.passes import backward, dense_operations, run
from neurosim.convert.plan import Plan, weighted, with_weights
from neurosim.convert.scales import original_answers, rounded_pass
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import (
    Activation,
    Add,
    Concat,
    Conv2d,
    DenseGraph,
    Flatten,
    Gru,
    Input,
    Linear,
    Node,
    Pool2d,
    evaluate,
)
from neurosim.network import Conv2d as IntegerConv2d
from neurosim.network import Dense, Rounding

Rng = np.random.Generator
IMAGE = (2, 8, 6)


def branched(seed: int = 0) -> DenseGraph:
    """A residual, a join of branches of different depth, pools, groups, a clip."""
    rng = np.random.default_rng(seed)
    return DenseGraph(
        [
            Input("x", (), IMAGE),
            Conv2d("c1", ("x",), rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), (1, 1), (1, 1)),
            Activation("r1", ("c1",)),
            Conv2d("c2", ("r1",), rng.normal(size=(4, 2, 3, 3)) / 4, rng.normal(size=4), (1, 1), (1, 1), (1, 1), 2),
            Add("sum", ("c2", "r1")),
            Activation("r2", ("sum",), "clip", 0.0, 6.0),
            Pool2d("pool", ("r2",), "average", (2, 2), (2, 2)),
            Conv2d("c3", ("pool",), rng.normal(size=(3, 4, 2, 2)) / 4, rng.normal(size=3), (1, 1), (1, 1)),
            Activation("r3", ("c3",)),
            Pool2d("small", ("pool",), "sum", (2, 2), (1, 1), (1, 1)),
            Concat("both", ("r3", "small")),
            Flatten("flat", ("both",)),
            Linear("fc", ("flat",), rng.normal(size=(5, 7 * 5 * 4)) / 8, rng.normal(size=5)),
        ],
        name="branched",
    )


def chain(rng: Rng, sizes: tuple[int, ...] = (6, 9, 7, 3)) -> DenseGraph:
    nodes: list[Node] = [Input("x", (), (sizes[0],))]
    for i, (a, b) in enumerate(pairwise(sizes)):
        nodes.append(Linear(f"fc{i}", (nodes[-1].name,), rng.normal(size=(b, a)) / np.sqrt(a), rng.normal(size=b) / 4))
        if i < len(sizes) - 2:
            nodes.append(Activation(f"relu{i}", (nodes[-1].name,)))
    return DenseGraph(nodes, name="chain")


def test_sites_are_inputs_activations_and_sums_that_others_read() -> None:
    plan = make_plan(branched())
    assert [site.name for site in plan.sites] == ["x", "r1", "r2", "pool", "r3", "small", "fc"]
    assert [site.depth for site in plan.sites] == [0, 1, 2, 3, 4, 4, 5]
    assert [len(site.terms) for site in plan.sites] == [0, 1, 2, 1, 1, 1, 1]
    assert (plan.sites[1].low, plan.sites[1].high) == (0.0, np.inf)
    assert (plan.sites[2].low, plan.sites[2].high) == (0.0, 6.0)


def test_a_plan_gives_the_answers_of_its_graph() -> None:
    graph = branched()
    x = np.random.default_rng(3).normal(size=(5, *IMAGE))
    np.testing.assert_allclose(run(make_plan(graph), x)[-1], evaluate(graph, x), rtol=1e-12, atol=1e-12)


def test_dense_operations_of_784_200_200_10() -> None:
    graph = chain(np.random.default_rng(0), (784, 200, 200, 10))
    assert dense_operations(make_plan(graph)) == 397_190  # seeds: sum n_in n_out + (n_in - 1) n_out


def test_derivatives_are_those_of_small_steps() -> None:
    plan = make_plan(branched(1))
    rng = np.random.default_rng(4)
    x, by_answer = rng.normal(size=(3, *IMAGE)), rng.normal(size=(3, 5))

    def objective(changed: Plan, inputs: Any) -> float:
        return float((run(changed, inputs)[-1] * by_answer).sum())

    values, totals, _ = rounded_pass(plan, x, [])
    by_value, by_weight, by_bias = backward(plan, totals, values, by_answer, weights=True)
    step = 1e-6
    for i, j, term in weighted(plan):
        weights = term.node.weight  # type: ignore[union-attr]
        place = tuple(rng.integers(0, n) for n in weights.shape)
        ends = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[place] += sign * step
            ends.append(objective(with_weights(plan, {(i, j): moved}, {}), x))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(by_weight[i, j][place], rel=1e-5, abs=1e-7)
        ends = []
        for sign in (1, -1):
            bias = plan.sites[i].bias.copy()
            bias[0] += sign * step
            ends.append(objective(with_weights(plan, {}, {i: bias}), x))
        assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(by_bias[i][0], rel=1e-5, abs=1e-7)
    for place in [(0, 0, 0, 0), (1, 1, 3, 2), (2, 0, 7, 5)]:
        near = [x.copy(), x.copy()]
        near[0][place] += step
        near[1][place] -= step
        slope = (objective(plan, near[0]) - objective(plan, near[1])) / (2 * step)
        assert slope == pytest.approx(by_value[0][place], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("changes", [True, False])
@pytest.mark.parametrize("weight_scales", ["layer", "channel"])
def test_the_counts_are_those_of_the_engine(changes: bool, weight_scales: str) -> None:
    """Branches of different depth, frame by frame: the engine, timestep by timestep, sends what is counted."""
    plan = make_plan(branched())
    rng = np.random.default_rng(5)
    frames = rng.integers(-60, 60, (9, 96))
    scales = [np.array([k]) for k in (3.0, 4.0, 5.0, 6.0, 7.0, 8.0)]
    options = IntegerOptions(changes=changes, weight_scales=weight_scales, input_scale=1 / 64)
    network, _ = to_network(plan, scales, options)
    counted = count(network, frames)
    sent = messages_of(network, frames)
    structural, _ = network.fan_out
    for i, layer in enumerate(network.layers[:-1]):
        values = np.abs(sent[layer.name])
        fan = structural[network.offsets[i] : network.offsets[i + 1]]
        assert counted.messages[i] == np.count_nonzero(values)
        assert counted.spikes[i] == values.sum()
        assert counted.unit_adds[i] == (values @ fan).sum()
        assert counted.graded_synops[i] == ((values > 0) @ fan).sum()
        assert 2 ** (counted.message_bits[i] - 1) >= values.max()
    assert np.array_equal(counted.answers, sent[network.layers[-1].name])


def test_fine_scales_and_wide_weights_give_the_original_answers() -> None:
    graph = branched()
    x = np.random.default_rng(6).integers(-128, 128, (20, *IMAGE)) / 128
    integers = IntegerOptions(weight_bits=16, input_scale=1 / 128)
    found = convert_rounding(graph, x, scales=512.0, integers=integers)
    assert found.report.output_error < 2e-3
    assert found.report.disagreement_percent == 0
    # With scales a hundred times coarser the error is much larger: the bound above is no accident.
    assert convert_rounding(graph, x, scales=4.0, integers=integers).report.output_error > 0.02


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rounding_and_sigma_delta_answer_alike(seed: int) -> None:
    rng = np.random.default_rng(seed)
    plan = make_plan(chain(rng))
    scales = [rng.uniform(1, 20, rng.choice([1, plan.sites[i].size])) for i in plan.rounded]
    frames = rng.integers(-200, 200, (12, 6))
    nets = [to_network(plan, scales, IntegerOptions(changes=c, input_scale=1 / 64))[0] for c in (True, False)]
    by_changes, by_values = (messages_of(network, frames) for network in nets)
    for name, values in by_values.items():
        found = by_changes[name] if name == "fc2" else np.cumsum(by_changes[name], axis=0)
        assert np.array_equal(found, values)


def test_integers_of_one_layer_by_hand() -> None:
    # k = 2 at the input, 8-bit weights: A = 127 / (2 / 2); multiplier for k = 3: 3 / 127.
    graph = DenseGraph(
        [
            Input("x", (), (2,)),
            Linear("fc", ("x",), np.array([[2.0, -1.0]]), np.array([0.5])),
            Activation("r", ("fc",)),
            Linear("out", ("r",), np.array([[1.0]]), np.zeros(1)),
        ]
    )
    network, density = to_network(
        make_plan(graph), [np.array([2.0]), np.array([3.0])], IntegerOptions(input_scale=0.25)
    )
    first = network.connections[0].transform
    assert isinstance(first, Dense)
    assert first.weights.tolist() == [[127, -64]]
    source, hidden, out = (layer.unit for layer in network.layers)
    assert isinstance(source, Rounding)
    assert isinstance(hidden, Rounding)
    assert isinstance(out, Rounding)
    assert source.multiplier / 2.0**source.shift == pytest.approx([0.5], rel=2**-13)
    assert hidden.bias.tolist() == [round(0.5 * 127)]
    assert hidden.multiplier / 2.0**hidden.shift == pytest.approx([3 / 127], rel=2**-13)
    assert (hidden.bias_from, out.bias_from) == (2, 3)
    assert density == pytest.approx(3 * 127, rel=2**-13)


def test_more_weight_on_operations_means_fewer_of_them() -> None:
    rng = np.random.default_rng(7)
    x = np.maximum(rng.normal(size=(400, 6)), 0)
    integers = IntegerOptions(input_scale=1 / 256)
    options = ScaleOptions(epochs=20, batch=50, rate=0.05)
    found = sweep(chain(rng), x, [1e-6, 1e-4, 1e-2], options=options, integers=integers)
    assert [c.tradeoff for c in found] == [1e-2, 1e-4, 1e-6]
    adds = [c.report.sigma_delta_adds for c in found]
    errors = [c.report.output_error for c in found]
    assert adds[0] < adds[1] / 2 < adds[2] / 4
    assert errors[0] > errors[1] > errors[2]
    best = pareto(found)
    assert best[0] is found[0]
    disagreement = [one.report.disagreement_percent for one in best]
    assert disagreement == sorted(disagreement, reverse=True)


def test_scales_per_channel_stay_within_a_factor_of_four() -> None:
    rng = np.random.default_rng(14)
    x = rng.random((200, *IMAGE)).astype(np.float32)
    x[:, 1] *= 0.01  # a channel of little
    options = ScaleOptions(
        tradeoff=1e-5, per="channel", answer="values", sequence=False, epochs=30, batch=50, rate=0.1, least_steps=1
    )
    found = convert_rounding(branched(), x, options=options, integers=IntegerOptions(input_scale=1 / 4096))
    sizes = [k.size for k in found.scales]
    assert sizes == [2, 4, 1, 4, 3, 4]  # x, r1, the clipped r2, pool, r3, small
    for k in found.scales:
        assert k.max() <= 16 * k.min()
    assert found.scales[0].max() > 1.5 * found.scales[0].min()
    assert found.report.output_error < 0.3


def test_the_optimiser_is_the_same_for_the_same_seed() -> None:
    rng = np.random.default_rng(8)
    x, graph = rng.random((200, 6)), chain(rng)
    one, same, other = (
        convert_rounding(graph, x, options=ScaleOptions(seed=s), integers=IntegerOptions(input_scale=1 / 256))
        for s in (1, 1, 2)
    )
    assert [k.tolist() for k in one.scales] == [k.tolist() for k in same.scales]
    assert [k.tolist() for k in one.scales] != [k.tolist() for k in other.scales]


def test_the_search_goes_as_far_on_few_frames_as_on_many() -> None:
    rng = np.random.default_rng(8)
    x, graph = np.maximum(rng.normal(size=(1000, 6)), 0), chain(rng)
    integers = IntegerOptions(input_scale=1 / 256)
    held_out = (np.maximum(rng.normal(size=(500, 6)), 0), None)

    def searched(frames: int, **options: Any) -> Any:
        found = convert_rounding(
            graph, x[:frames], options=ScaleOptions(answer="values", **options), integers=integers, test=held_out
        )
        return found.report

    short, few, many = searched(50, least_steps=1), searched(50), searched(1000)
    assert (short.scale_steps, few.scale_steps, many.scale_steps) == (2, 1000, 1000)
    assert len(short.unsettled) == 3
    assert few.unsettled == many.unsettled == ()
    assert few.output_error < 0.5 * short.output_error
    assert few.output_error == pytest.approx(many.output_error, rel=0.5)


def test_many_frames_take_the_epochs_asked_for_and_no_more() -> None:
    rng = np.random.default_rng(8)
    x, graph = rng.random((1000, 6)), chain(rng)
    one, other = (
        convert_rounding(
            graph, x, options=ScaleOptions(epochs=100, least_steps=least), integers=IntegerOptions(input_scale=1 / 256)
        )
        for least in (1, 1000)
    )
    assert one.report.scale_steps == other.report.scale_steps == 1000
    assert [k.tolist() for k in one.scales] == [k.tolist() for k in other.scales]


def test_refitted_and_tuned_weights_lose_less() -> None:
    rng = np.random.default_rng(9)
    # Values that tell of each other: a few sources, mixed.
    x = (rng.normal(size=(2000, 3)) @ rng.normal(size=(3, 6))).astype(np.float32)
    plan = make_plan(chain(rng))
    scales = [np.array([1.0])] * 3
    wanted = original_answers(plan, x)

    def lost(changed: Plan) -> float:
        return float(((run(changed, x, scales)[-1] - wanted) ** 2).mean())

    fitted = refit(plan, x, scales)
    trained = tune(fitted, x, scales, TuneOptions("values", epochs=5, rate=0.02), wanted)
    assert lost(fitted) < 0.85 * lost(plan)
    assert lost(trained) < lost(fitted)


def test_refitting_a_convolution_loses_less() -> None:
    rng = np.random.default_rng(10)
    smooth = rng.normal(size=(60, 2, 4, 3)).repeat(2, axis=2).repeat(2, axis=3).astype(np.float32)
    plan = make_plan(branched())
    scales = [np.array([2.0])] * 6
    wanted = original_answers(plan, smooth)
    before, after = (((run(p, smooth, scales)[-1] - wanted) ** 2).mean() for p in (plan, refit(plan, smooth, scales)))
    assert after < 0.9 * before


def test_temporal_order_takes_the_nearest_held() -> None:
    images = np.array([[0], [9], [4], [1], [3]])
    # Held 2: from 0 the nearer of 9 and 4 is 4 (place of 4 goes to 1); then of 9, 1: 1; of 9, 3: 3; 9.
    assert temporal_order(images, held=2).tolist() == [0, 2, 3, 4, 1]


@pytest.mark.parametrize("name", sorted(DENSITIES))
def test_densities_have_mass_and_variance_one(name: str) -> None:
    z = np.linspace(-2000, 2000, 4_000_001)
    p = DENSITIES[name](z)
    step = z[1] - z[0]
    assert p.sum() * step == pytest.approx(1, abs=1e-3)
    assert (z * z * p).sum() * step == pytest.approx(1, abs=1e-3)
    if name != "super_cauchy":
        assert (z**4 * p).sum() * step == pytest.approx(KURTOSIS[name], rel=3e-3)


@pytest.mark.parametrize(("largest", "bits", "length"), [(1.0, 8, 7), (1.01, 8, 6), (0.5, 8, 8), (100.0, 4, -4)])
def test_the_max_rule(largest: float, bits: int, length: int) -> None:
    assert max_length(largest, bits) == length  # b - 1 - ceil(log2 max)


def test_a_fitted_density_cuts_far_tails_at_few_bits() -> None:
    rng = np.random.default_rng(11)
    values = rng.laplace(size=4000)
    found = moments(values)
    by_max, by_fit = (best_length(found, 4, rule, -np.inf, np.inf) for rule in ("max", "laplace"))
    assert by_fit > by_max

    def lost(length: int) -> float:
        step = 2.0**-length
        return float(((np.clip(np.rint(values / step), -8, 7) * step - values) ** 2).mean())

    assert by_fit == min(range(by_max - 2, by_max + 6), key=lost)
    # Nothing is cut where nothing lies far out.
    flat = moments(rng.uniform(-0.99, 0.99, 4000))
    assert best_length(flat, 8, "auto", -np.inf, np.inf) == max_length(flat.largest, 8)


def test_formats_align_so_that_partial_sums_need_no_shifts() -> None:
    graph = branched()
    x = np.random.default_rng(12).integers(-128, 128, (10, *IMAGE)) / 128
    plan = make_plan(graph)
    formats = choose_formats(plan, x, QuantiseOptions())
    found = convert_quantised(graph, x, input_scale=1 / 128)
    # c1: FL_w[o, c] = FL_sum[o] - FL_x[c], and weights are whole in it.
    first = found.network.connections[0].transform
    assert isinstance(first, IntegerConv2d)
    length = formats.sum_lengths[1][:, None] - formats.lengths[0][None, :]
    exact = np.clip(np.rint(graph["c1"].weights()["weight"] * 2.0 ** length[:, :, None, None]), -128, 127)
    assert np.array_equal(first.weights, exact)
    unit = found.network["r1"].unit
    assert isinstance(unit, Rounding)
    # One shift a channel: multipliers are powers of two.
    assert (unit.multiplier & (unit.multiplier - 1) == 0).all()
    ratio = unit.multiplier / 2.0**unit.shift
    assert np.array_equal(ratio, 2.0 ** (formats.lengths[1] - formats.sum_lengths[1]))
    assert (unit.lowest, unit.highest) == (0, 127)
    assert max(found.report.message_bits.values()) == max(found.report.weight_bits.values()) == 8
    assert found.report.output_error < 0.05


@pytest.mark.parametrize(
    ("node", "words"),
    [
        (Pool2d("bad", ("r1",), "max"), "node bad (pool2d): a maximum is no sum of changes"),
        (Activation("bad", ("r1",), "sigmoid"), "node bad (activation): sigmoid is none of relu and clip"),
        (Activation("bad", ("r1",), "clip", 0.5, 1.0), "node bad (activation): clip is none"),
        (Pool2d("bad", ("r1",), "average", padding=(1, 1), count_padding=False), "count the padding"),
    ],
)
def test_what_cannot_be_converted_is_named(node: Node, words: str) -> None:
    graph = branched()
    with pytest.raises(ModelError) as caught:
        make_plan(DenseGraph([*graph.nodes[:3], node]))
    assert words in str(caught.value)


def test_recurrent_graphs_are_refused_by_name() -> None:
    graph = DenseGraph([Input("x", (), (3,)), Gru("gru", ("x",), *(np.zeros(s) for s in ((6, 3), (6, 2), 6, 6)))])
    with pytest.raises(ModelError, match=r"node gru \(gru\): is not supported by this method.*--to delta-gru"):
        make_plan(graph)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"calibration": np.zeros((4, 5))}, r"inputs have shape \[4, 5\]; chain takes \(frames, 6\)"),
    ({"calibration": np.zeros((0, 6))}, "no frames are given"),
    ({"calibration": np.full((4, 6), np.nan)}, r"inputs\[0, 0\] is nan"),
    ({"calibration": np.full((4, 6), 1e6)}, "integer frames have 16 bits"),
    ({"test": (np.ones((4, 6)), np.array([0, 1, 2, 3]))}, r"labels\[3\] is 3; the answer has classes 0\.\.2"),
    ({"test": (np.ones((4, 6)), np.array([0, 1]))}, "labels have shape"),
    ({"scales": [1.0, 2.0]}, "2 scales are given; chain rounds at 3 places: x, relu0, relu1"),
    ({"scales": -1.0}, "a scale given for x is -1; scales must be above 0"),
    ({"weights": "learned"}, 'weights are to be "learned"'),
]


@pytest.mark.parametrize(("changed", "words"), BAD)
def test_bad_input_is_refused(changed: dict[str, Any], words: str) -> None:
    arguments: dict[str, Any] = {"calibration": np.ones((4, 6)), "scales": 4.0, **changed}
    integers = IntegerOptions(input_scale=1 / 256)
    with pytest.raises(InputError, match=words):
        convert_rounding(chain(np.random.default_rng(0)), integers=integers, **arguments)


def test_bad_options_are_refused() -> None:
    for wrong, words in (
        (lambda: ScaleOptions(tradeoff=-1.0), "lambda is -1.0"),
        (lambda: ScaleOptions(per="pixel"), 'per is "pixel"'),
        (lambda: IntegerOptions(weight_bits=1), "weights of 1 bits"),
        (lambda: IntegerOptions(input_scale=0.0), "an input scale of 0.0"),
        (lambda: QuantiseOptions(bits=40), "40 bits"),
        (lambda: QuantiseOptions(rule="gauss"), 'rule "gauss" is not known'),
    ):
        with pytest.raises(InputError, match=words):
            wrong()


def test_training_that_diverges_is_an_error() -> None:
    rng = np.random.default_rng(13)
    plan = make_plan(chain(rng))
    x = rng.normal(size=(200, 6)).astype(np.float32) * 100
    with pytest.raises(InputError, match="training diverged"), np.errstate(all="ignore"):
        tune(plan, x, [np.array([1.0])] * 3, TuneOptions("values", epochs=20, rate=1e6))


def test_a_site_with_a_limit_keeps_one_scale() -> None:
    plan = make_plan(branched())
    many = [np.ones(plan.sites[i].shape[0]) * 4 for i in plan.rounded]
    many[2] = np.array([1.0, 2.0, 3.0, 4.0])
    with pytest.raises(ModelError, match=r"is limited to 6\.0 and has several scales"):
        to_network(plan, many, IntegerOptions())
    unlimited = plan.with_sites({2: replace(plan.sites[2], high=np.inf)})
    to_network(unlimited, many, IntegerOptions())
