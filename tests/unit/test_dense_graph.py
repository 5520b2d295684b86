"""Dense float graphs: what is refused, and the numpy forward pass against closed forms and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

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
    Lstm,
    Pool2d,
    Scale,
    evaluate,
    evaluate_all,
    fold_scales,
)


def residual_graph(seed: int = 0) -> DenseGraph:
    rng = np.random.default_rng(seed)
    return DenseGraph(
        [
            Input("x", (), (3, 8, 6)),
            Conv2d("c1", ("x",), rng.normal(size=(4, 3, 3, 3)), rng.normal(size=4), (2, 1), (1, 1)),
            Scale("bn1", ("c1",), rng.normal(size=4), rng.normal(size=4)),
            Activation("a1", ("bn1",)),
            Conv2d("c2", ("a1",), rng.normal(size=(4, 2, 3, 3)), np.zeros(4), (1, 1), (2, 2), (2, 2), 2),
            Add("sum", ("a1", "c2")),
            Concat("both", ("sum", "a1")),
            Pool2d("pool", ("both",), "average", (2, 2), (2, 2), (1, 1), False),
            Flatten("flat", ("pool",)),
            Linear("fc", ("flat",), rng.normal(size=(5, 96)), rng.normal(size=5)),
            Activation("clipped", ("fc",), "clip", -1.0, 6.0),
        ]
    )


def test_a_linear_layer_is_a_product_and_a_bias():
    graph = DenseGraph([Input("x", (), (2,)), Linear("y", ("x",), np.array([[1.0, 2.0]]), np.array([0.5]))])
    assert evaluate(graph, [[3.0, 4.0], [0.0, 1.0]]).tolist() == [[11.5], [2.5]]


def test_folding_scales_changes_no_output_but_rounding():
    graph = residual_graph()
    folded = fold_scales(graph)
    assert [n.op for n in folded.nodes] == [n.op for n in graph.nodes if n.op != "scale"]
    x = np.random.default_rng(1).normal(size=(7, 3, 8, 6))
    np.testing.assert_allclose(evaluate(folded, x), evaluate(graph, x), rtol=1e-12, atol=1e-12)


def test_a_scale_that_another_node_looks_behind_stays():
    graph = DenseGraph(
        [
            Input("x", (), (2,)),
            Linear("fc", ("x",), np.eye(2), np.zeros(2)),
            Scale("s", ("fc",), np.array([2.0]), np.array([1.0])),
            Add("sum", ("s", "fc")),
        ]
    )
    assert [n.op for n in fold_scales(graph).nodes] == ["input", "linear", "scale", "add"]


def test_the_convolutional_graph_equals_pytorch():
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    functional = torch.nn.functional
    graph = residual_graph()
    x = np.random.default_rng(2).normal(size=(5, 3, 8, 6))
    w = {n.name: {k: torch.from_numpy(v) for k, v in n.weights().items()} for n in graph.nodes}
    c1 = functional.conv2d(torch.from_numpy(x), w["c1"]["weight"], w["c1"]["bias"], (2, 1), 1)
    a1 = torch.relu(c1 * w["bn1"]["scale"][:, None, None] + w["bn1"]["shift"][:, None, None])
    c2 = functional.conv2d(a1, w["c2"]["weight"], w["c2"]["bias"], 1, 2, 2, 2)
    pooled = functional.avg_pool2d(torch.cat([a1 + c2, a1], 1), 2, 2, 1, count_include_pad=False)
    y = functional.linear(pooled.flatten(1), w["fc"]["weight"], w["fc"]["bias"]).clamp(-1, 6)
    np.testing.assert_allclose(evaluate(graph, x), y.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_recurrent_nodes_equal_pytorch(kind, gates):
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    torch.manual_seed(0)
    module = getattr(torch.nn, kind)(5, 7, batch_first=True).double()
    arrays = [p.detach().numpy() for p in module.parameters()]
    node = (Gru if kind == "GRU" else Lstm)("r", ("x",), *arrays)
    graph = DenseGraph([Input("x", (), (5,)), node], read_out="last")
    assert graph.recurrent
    x = np.random.default_rng(3).normal(size=(4, 11, 5))
    expected = module(torch.from_numpy(x))[0].detach().numpy()
    np.testing.assert_allclose(evaluate(graph, x), expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(evaluate(graph, x[2]), expected[2], rtol=1e-10, atol=1e-12)


def test_a_reset_gate_before_the_product_differs_only_through_that_product():
    rng = np.random.default_rng(4)
    arrays = [rng.normal(size=s) for s in ((9, 2), (9, 3), (9,), (9,))]
    arrays[1][6:] = 0  # Without Un both forms agree where cn is 0 too.
    arrays[3][6:] = 0
    x = rng.normal(size=(6, 2))
    after, before = (DenseGraph([Input("x", (), (2,)), Gru("g", ("x",), *arrays, flag)]) for flag in (False, True))
    np.testing.assert_allclose(evaluate(after, x), evaluate(before, x), rtol=1e-13)


def test_max_and_sum_pooling_and_the_other_functions():
    x = np.arange(16.0).reshape(1, 1, 4, 4) - 8
    for mode, expected in (("max", [[-3.0, -1.0], [5.0, 7.0]]), ("sum", [[-22.0, -14.0], [10.0, 18.0]])):
        graph = DenseGraph([Input("x", (), (1, 4, 4)), Pool2d("p", ("x",), mode)])
        assert evaluate(graph, x)[0, 0].tolist() == expected
    v = np.array([[-4.0, -0.5, 0.0, 2.0]])
    for function, low, high, expected in (
        ("leaky_relu", 0.1, 0.0, [-0.4, -0.05, 0.0, 2.0]),
        ("hard_sigmoid", 1 / 6, 0.5, [0.0, 0.5 - 0.5 / 6, 0.5, 0.5 + 2 / 6]),
        ("tanh", 0.0, 0.0, np.tanh(v[0])),
        ("sigmoid", 0.0, 0.0, 1 / (1 + np.exp(-v[0]))),
        ("identity", 0.0, 0.0, v[0]),
    ):
        graph = DenseGraph([Input("x", (), (4,)), Activation("f", ("x",), function, low, high)])
        np.testing.assert_allclose(evaluate(graph, v)[0], expected, rtol=1e-14)


def test_every_error_of_a_graph_is_named_at_once():
    with pytest.raises(ModelError) as caught:
        DenseGraph(
            [
                Input("x", (), (4,)),
                Linear("a", ("x",), np.zeros((2, 3)), np.zeros(2)),
                Linear("b", ("later",), np.zeros((2, 3)), np.zeros(2)),
                Activation("c", ("x",), "reluu"),
                Scale("d", ("x",), np.array([np.nan])),
                Flatten("x", ()),
            ]
        )
    text = str(caught.value)
    for part in ("node a", "takes 3 values", "no earlier node", 'did you mean "relu"', "used twice", "not finite"):
        assert part in text


def test_inputs_of_wrong_shape_are_refused_with_the_right_one():
    graph = residual_graph()
    with pytest.raises(InputError, match=r"give \(frames, 3, 8, 6\)"):
        evaluate(graph, np.zeros((3, 8, 6)))
    with pytest.raises(InputError, match="it takes x"):
        evaluate_all(graph, {"y": np.zeros((1, 3, 8, 6))})
