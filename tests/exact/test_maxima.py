"""Pools by maximum in converted networks: the unit, its kernel, its counts, its costs, and the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_graphs import messages_of

from hwmodels import load_chip
from neurosim.compiler import compile_network, read_network_file, write_network_file
from neurosim.convert import (
    IntegerOptions,
    QuantiseOptions,
    ScaleOptions,
    TuneOptions,
    convert_quantised,
    convert_rounding,
    make_plan,
    to_network,
)
from neurosim.convert.counting import count
from neurosim.convert.passes import backward, run
from neurosim.convert.plan import with_weights
from neurosim.convert.scales import rounded_pass
from neurosim.costs import baseline_cost
from neurosim.costs.baseline_work import network_work
from neurosim.engine import FunctionRun, LayerCount, run_program
from neurosim.errors import CapacityError, InputError, ModelError
from neurosim.formats.dense_graph import (
    Activation,
    Add,
    Conv2d,
    DenseGraph,
    Flatten,
    Input,
    Linear,
    Node,
    Pool2d,
    evaluate,
)
from neurosim.network import Connection, Delta, Dense, Layer, MaxRounding, Network, Rounding, run_reference

SHAPE = (2, 9, 8)


def pooled(seed: int = 0, padding: int = 1) -> DenseGraph:
    """Overlapping, padded and plain windows, and a shorter branch beside them."""
    rng = np.random.default_rng(seed)
    size = (9 + 2 * padding - 3) // 2 + 1, (8 + 2 * padding - 3) // 2 + 1
    last = size[0] // 2, size[1] // 2
    nodes: list[Node] = [
        Input("x", (), SHAPE),
        Conv2d("c1", ("x",), rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4), (1, 1), (1, 1)),
        Activation("r1", ("c1",)),
        Pool2d("p1", ("r1",), "max", (3, 3), (2, 2), (padding, padding)),
        Conv2d("c2", ("p1",), rng.normal(size=(4, 4, 3, 3)) / 5, rng.normal(size=4), (1, 1), (1, 1)),
        Add("sum", ("c2", "p1")),
        Activation("r2", ("sum",)),
        Pool2d("p2", ("r2",), "max", (2, 2), (2, 2)),
        Flatten("flat", ("p2",)),
        Linear("fc", ("flat",), rng.normal(size=(5, 4 * last[0] * last[1])) / 6, rng.normal(size=5)),
    ]
    return DenseGraph(nodes, name="pooled")


def converted(seed: int, changes: bool, k: tuple[float, ...] = (8.0, 5.0, 5.0, 7.0, 4.0)) -> Network:
    plan = make_plan(pooled(seed), maxima=True)
    return to_network(plan, [np.array([v]) for v in k], IntegerOptions(changes=changes, input_scale=1 / 16))[0]


def frames_of(count: int, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return np.clip(np.cumsum(rng.integers(-3, 4, (count, *SHAPE)), axis=0), -16, 16).reshape(count, -1)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_changes_add_up_to_what_rounding_sends(seed: int) -> None:
    """No value differs, whatever came before: each maximum is that of the values as they stand."""
    frames = frames_of(9, seed)
    by_values, by_changes = (messages_of(converted(seed % 7, changes), frames) for changes in (False, True))
    for name, values in by_values.items():
        held = by_changes[name] if name == "fc" else np.cumsum(by_changes[name], axis=0)
        assert np.array_equal(held, values), name


def test_a_maximum_sends_the_largest_of_what_it_was_sent() -> None:
    """Of equal scales the rounded maximum is the maximum of the rounded values, place by place."""
    network = converted(0, True, (8.0, 5.0, 5.0, 7.0, 7.0))
    held = {name: np.cumsum(values, axis=0) for name, values in messages_of(network, frames_of(6)).items()}
    values = held["r1"].reshape(6, 4, 9, 8)
    wide = np.pad(values, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for row in range(5):
        for column in range(4):
            window = wide[:, :, 2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
            assert np.array_equal(held["p1"].reshape(6, 4, 5, 4)[:, :, row, column], window.max(axis=(2, 3)))


@pytest.mark.parametrize("changes", [True, False])
def test_kernel_and_plain_numpy_agree(changes: bool) -> None:
    network, frames = converted(3, changes), frames_of(7)
    plain = run_reference(network, {"x": frames}, 12).messages
    for activity in FunctionRun(network, {"x": frames}).steps(12):
        for i, layer in enumerate(network.layers):
            low, high = activity.layer_start[i : i + 2]
            row = np.zeros(layer.size, dtype=np.int64)
            row[activity.neuron[low:high] - network.offsets[i]] = activity.value[low:high]
            assert np.array_equal(row, plain[layer.name][activity.timestep - 1])


@pytest.mark.parametrize("changes", [True, False])
def test_the_counts_are_those_of_the_engine(changes: bool) -> None:
    network, frames = converted(1, changes), frames_of(9)
    counted, found = count(network, frames), messages_of(network, frames)
    structural, _ = network.fan_out
    for i, layer in enumerate(network.layers[:-1]):
        sizes = np.abs(found[layer.name])
        fan = structural[network.offsets[i] : network.offsets[i + 1]]
        assert counted.messages[i] == np.count_nonzero(sizes) > 0
        assert counted.unit_adds[i] == (sizes @ fan).sum()
        assert counted.graded_synops[i] == ((sizes > 0) @ fan).sum()
    assert np.array_equal(counted.answers, found["fc"])


@pytest.mark.parametrize("sweep", ["all", "touched"])
def test_a_place_costs_a_slot_an_update_and_its_words(sweep: str) -> None:
    """Counted by hand: 4 windows of 2 x 2 that do not overlap, on one core."""
    graph = DenseGraph(
        [
            Input("x", (), (1, 4, 4)),
            Pool2d("p", ("x",), "max"),
            Flatten("f", ("p",)),
            Linear("y", ("f",), np.ones((1, 4)), np.zeros(1)),
        ]
    )
    plan = make_plan(graph, maxima=True)
    network, _ = to_network(plan, [np.ones(1), np.ones(1)], IntegerOptions())
    frames = np.array([np.arange(16), np.arange(16) + (np.arange(16) == 0)])
    chip = load_chip("loihi2", {"core.neuron.sweep": sweep})
    counts = run_program(compile_network(network, chip), {"x": frames}, 4).layer_counts
    pool = counts[:, 1]
    # 15 values other than 0 arrive, each at one place; then one that is not its window's largest.
    assert counts[:, 0, LayerCount.SYNOPS].tolist() == [15, 1, 0, 0]
    assert pool[:, LayerCount.MESSAGES].tolist() == [0, 4, 0, 0]
    updates = pool[:, LayerCount.UPDATES_ACTIVE] + pool[:, LayerCount.UPDATES_INACTIVE]
    assert updates.tolist() == ([16] * 4 if sweep == "all" else [0, 16, 4, 0])
    assert pool[:, LayerCount.UPDATES_ACTIVE].tolist() == [0, 16, 4, 0]
    spread_out = load_chip("loihi2", {"core.neurons_usable": "8"})
    parts = [part for part in compile_network(network, spread_out).slices if part.layer == 1]
    assert len(parts) == 2


def test_fine_scales_give_the_original_answers() -> None:
    graph, frames = pooled(2), frames_of(20) / 16
    found = convert_rounding(graph, frames, scales=512.0, integers=IntegerOptions(weight_bits=16, input_scale=1 / 16))
    assert found.report.output_error < 0.005
    assert np.allclose(run(make_plan(graph, maxima=True), frames.reshape(-1, *SHAPE))[-1], evaluate(
        graph, frames.reshape(-1, *SHAPE)
    ))  # fmt: skip
    by_bits = convert_quantised(graph, frames, options=QuantiseOptions(12), input_scale=1 / 16).report
    assert by_bits.output_error < 0.05


def test_scales_and_weights_are_fitted_through_maxima() -> None:
    frames = frames_of(60) / 16
    settings: dict[str, Any] = {"integers": IntegerOptions(input_scale=1 / 16)}
    search: dict[str, Any] = {"answer": "values", "batch": 10, "epochs": 20, "rate": 0.1, "least_steps": 1}
    coarse, fine = (
        convert_rounding(
            pooled(2), frames, options=ScaleOptions(tradeoff=lam, **search),
            weights="tuned", tuning=TuneOptions(batch=10, rate=1e-3), **settings,
        ).report
        for lam in (1e-3, 1e-7)
    )  # fmt: skip
    assert coarse.sigma_delta_adds < fine.sigma_delta_adds
    assert fine.output_error < coarse.output_error


def test_derivatives_are_those_of_small_steps() -> None:
    plan = make_plan(pooled(1), maxima=True)
    rng = np.random.default_rng(4)
    x, by_answer = rng.normal(size=(3, *SHAPE)), rng.normal(size=(3, 5))
    values, totals, _ = rounded_pass(plan, x, [])
    by_value, by_weight, _ = backward(plan, totals, values, by_answer, weights=True)
    step = 1e-6

    def slope(changed: Any) -> float:
        ends = [float((run(*changed(sign * step))[-1] * by_answer).sum()) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    for place in [(0, 0, 0, 0), (1, 1, 3, 2), (2, 0, 8, 5), (0, 1, 4, 4)]:
        moved = np.zeros_like(x)
        moved[place] = 1
        assert slope(lambda s, m=moved: (plan, x + s * m)) == pytest.approx(by_value[0][place], rel=1e-5, abs=1e-7)
    weight = plan.sites[1].terms[0].node.weight  # type: ignore[union-attr]
    for place in [(0, 0, 0, 0), (3, 1, 2, 1)]:
        moved = np.zeros_like(weight)
        moved[place] = 1
        found = slope(lambda s, m=moved: (with_weights(plan, {(1, 0): weight + s * m}, {}), x))
        assert found == pytest.approx(by_weight[1, 0][place], rel=1e-5, abs=1e-7)


def test_dense_hardware_takes_it_for_a_pooling() -> None:
    """One operation a value of a window; no weights; a value a window for its result, not one a place."""
    network = converted(0, True)
    for label, inputs, outputs, taps in (("p1", 288, 80, 4 * 13 * 11), ("p2", 80, 16, 64)):
        (work,) = (w for w in network_work(network, None, None) if w.label.endswith(f"-> {label}"))
        assert (work.pool, work.macs, work.weights, work.inputs, work.outputs) == (True, 0, 0, inputs, outputs)
        assert work.synapses == taps
    found = {
        name: {one.label: one for one in baseline_cost(network, name).layers}["connection r1 -> p1"]
        for name in ("cpu", "eyeriss", "tpu_v1")
    }
    assert [one.macs for one in found.values()] == [572, 0, 0]
    # Its values and its results pass once, in 16 bits and in 8.
    assert found["eyeriss"].traffic_bytes["dram"] == 2 * (288 + 80)
    assert found["tpu_v1"].traffic_bytes == {"buffer": 288 + 80}


def test_network_files_come_back_equal(tmp_path: Path) -> None:
    network = converted(0, True)
    assert isinstance(network["p1"].unit, MaxRounding)
    write_network_file(network, tmp_path / "net.nsnet")
    assert read_network_file(tmp_path / "net.nsnet") == network


def test_what_cannot_be_a_maximum_is_named() -> None:
    def graph(*nodes: Node) -> DenseGraph:
        return DenseGraph([Input("x", (), (1, 4, 4)), *nodes])

    with pytest.raises(ModelError, match=r"node p \(pool2d\): pads a maximum of values that may be below 0"):
        make_plan(
            graph(
                Pool2d("p", ("x",), "max", (3, 3), (1, 1), (1, 1)),
                Flatten("f", ("p",)),
                Linear("y", ("f",), np.ones((1, 16)), np.zeros(1)),
            ),
            maxima=True,
        )
    with pytest.raises(ModelError, match="must be one sum that nothing else reads"):
        make_plan(graph(Pool2d("p", ("x",), "max")), maxima=True)
    with pytest.raises(
        ModelError,
        match=r"node p \(pool2d\): a maximum is no sum.*by rounding, sigma-delta or fixed",
    ):
        make_plan(graph(Pool2d("p", ("x",), "max"), Conv2d("y", ("p",), np.ones((1, 1, 1, 1)), np.zeros(1))))
    with pytest.raises(ModelError, match="places is 1; a maximum is taken of 2 to 1024"):
        MaxRounding(np.array([1]), np.array([0]), places=1)
    layers = [Layer("a", (4,), Delta(0, 0, 0)), Layer("p", (1,), MaxRounding(np.array([1]), np.array([0]), places=3))]
    with pytest.raises(ModelError, match="has 1 neurons of 3 compartments each"):
        Network(layers, [Connection(("a",), "p", Dense(np.ones((2, 4), np.int64)))])


def test_a_maximum_of_values_with_scales_of_their_own_is_named() -> None:
    plan = make_plan(pooled(), maxima=True)
    scales = [np.array([4.0]) for _ in plan.sites[:-1]]
    scales[1] = np.linspace(4, 6, plan.sites[1].size)
    name = plan.sites[1].name
    with pytest.raises(ModelError, match=f"layer p1: takes maxima of {name}, whose .* give that layer 1 scale, or 4"):
        to_network(plan, scales, IntegerOptions())


def test_a_crossbar_and_a_chip_without_timesteps_refuse_it() -> None:
    for chip in ("truenorth", "neuronflow"):
        with pytest.raises((CapacityError, InputError), match=r"p1|max_rounding"):
            run_program(compile_network(converted(0, True), load_chip(chip)), {"x": frames_of(2)}, 2)


def test_a_rounding_layer_is_what_it_was() -> None:
    """The unit's one sum, where a maximum has several: the same step."""
    unit = Rounding(np.array([3]), np.array([1]), np.array([2]))
    pool = MaxRounding(np.array([3]), np.array([1]), np.array([2]), places=2)
    states = [one.initial_state(1) for one in (unit, pool)]
    for value in (5, -9, 4, 0):
        alone = unit.step(states[0], np.array([value]), np.zeros(1, np.int64), (1,), 1)
        two = pool.step(states[1], np.array([value, value]), np.zeros(1, np.int64), (1,), 1)
        assert alone.tolist() == two.tolist()
