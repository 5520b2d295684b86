"""ONNX files as dense graphs, against the reference evaluator of ONNX; and what is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.errors import ModelError
from neurosim.formats.dense_graph import evaluate
from neurosim.formats.onnx_read import read_onnx, read_onnx_with_notes

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
helper, numpy_helper = onnx.helper, onnx.numpy_helper


def save(path: Path, shape: list[Any], nodes: list[Any], constants: dict[str, Any], output: str = "y") -> Path:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(v, np.float32 if np.asarray(v).dtype.kind == "f" else np.int64), k)
         for k, v in constants.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def reference(path: Path, x: Any, output: str = "y") -> Any:
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(str(path)).run([output], {"x": x.astype(np.float32)})[0]


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [output], **attributes)


def test_a_residual_convolutional_net_equals_the_reference(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    constants = {
        "w1": rng.normal(size=(4, 3, 3, 3)), "b1": rng.normal(size=4), "w2": rng.normal(size=(4, 2, 3, 3)),
        "g": rng.normal(size=4), "bt": rng.normal(size=4), "m": rng.normal(size=4), "v": rng.uniform(0.5, 2, 4),
        "lo": np.float32(0.0), "hi": np.float32(6.0), "f": rng.normal(size=(128, 9)), "fb": rng.normal(size=9),
        "w3": rng.normal(size=(5, 9)), "half": np.float32(0.5), "shape": np.array([0, -1]),
    }  # fmt: skip
    nodes = [
        node("Conv", ["x", "w1", "b1"], "c1", pads=[1, 1, 1, 1], strides=[1, 1]),
        node("BatchNormalization", ["c1", "g", "bt", "m", "v"], "n1", epsilon=1e-3),
        node("Relu", ["n1"], "r1"),
        node("Conv", ["r1", "w2"], "c2", pads=[1, 1, 1, 1], group=2),
        node("Add", ["r1", "c2"], "s"),
        node("Clip", ["s", "lo", "hi"], "k"),
        node("Concat", ["k", "r1"], "both", axis=1),
        node("AveragePool", ["both"], "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Mul", ["p", "half"], "h"),
        node("Reshape", ["h", "shape"], "flat"),
        node("MatMul", ["flat", "f"], "mm"),
        node("Add", ["mm", "fb"], "fc"),
        node("LeakyRelu", ["fc"], "lr", alpha=0.2),
        node("Dropout", ["lr"], "d"),
        node("Gemm", ["d", "w3"], "y", transB=1, alpha=0.5),
    ]
    path = save(tmp_path / "r.onnx", ["batch", 3, 8, 8], nodes, constants)
    x = rng.normal(size=(6, 3, 8, 8))
    graph = read_onnx(path)
    assert "scale" in {n.op for n in graph.nodes}
    np.testing.assert_allclose(evaluate(graph, x), reference(path, x), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize(
    ("kind", "attributes"),
    [
        ("MaxPool", {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 0]}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("GlobalAveragePool", {}),
        ("GlobalMaxPool", {}),
        ("Sigmoid", {}),
        ("Tanh", {}),
        ("HardSigmoid", {"alpha": 0.3}),
        ("Flatten", {}),
        ("Identity", {}),
    ],
)
def test_single_operators_equal_the_reference(tmp_path: Path, kind: str, attributes: dict[str, Any]) -> None:
    path = save(tmp_path / "o.onnx", [1, 2, 6, 6], [node(kind, ["x"], "y", **attributes)], {})
    x = np.random.default_rng(1).normal(size=(1, 2, 6, 6))
    np.testing.assert_allclose(evaluate(read_onnx(path), x), reference(path, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("GRU before", 3), ("LSTM", 4)])
def test_recurrent_operators_equal_the_reference(tmp_path: Path, kind: str, gates: int) -> None:
    rng = np.random.default_rng(2)
    constants = {
        "W": rng.normal(size=(1, gates * 4, 3)), "R": rng.normal(size=(1, gates * 4, 4)),
        "B": rng.normal(size=(1, 2 * gates * 4)), "one": np.array([1]), "fc": rng.normal(size=(4, 2)),
    }  # fmt: skip
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node(kind.split()[0], ["x", "W", "R", "B"], ["h"], hidden_size=4, **attributes),
        node("Squeeze", ["h", "one"], "s"),
        node("MatMul", ["s", "fc"], "y"),
    ]
    path = save(tmp_path / "g.onnx", ["t", 1, 3], nodes, constants)
    x = rng.normal(size=(9, 1, 3))
    graph = read_onnx(path)
    assert graph.recurrent
    np.testing.assert_allclose(evaluate(graph, x[:, 0]), reference(path, x)[:, 0], rtol=1e-4, atol=1e-5)


def test_the_last_frame_alone_is_a_read_out(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    constants = {"W": rng.normal(size=(1, 12, 3)), "R": rng.normal(size=(1, 12, 4)), "axis": np.array([0])}
    nodes = [
        helper.make_node("GRU", ["x", "W", "R"], ["", "last"], hidden_size=4, linear_before_reset=1),
        node("Squeeze", ["last", "axis"], "y"),
    ]
    path = save(tmp_path / "g.onnx", ["t", 1, 3], nodes, constants)
    x = rng.normal(size=(9, 1, 3))
    graph = read_onnx(path)
    assert graph.read_out == "last"
    np.testing.assert_allclose(evaluate(graph, x[:, 0])[-1:], reference(path, x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_the_last_of_the_batch_is_not_the_last_frame(tmp_path: Path, kind: str) -> None:
    """Behind a transposition time is another axis, and what is picked from the batch is refused."""
    rng, gates = np.random.default_rng(3), 3 if kind == "GRU" else 4
    constants = {
        "W": rng.normal(size=(1, gates * 4, 3)), "R": rng.normal(size=(1, gates * 4, 4)),
        "one": np.array([1]), "last": np.array(-1),
    }  # fmt: skip
    attributes = {"linear_before_reset": 1} if kind == "GRU" else {}
    nodes = [
        helper.make_node(kind, ["x", "W", "R"], ["h"], hidden_size=4, **attributes),
        node("Squeeze", ["h", "one"], "s"),
        node("Relu", ["s"], "r"),
        node("Transpose", ["r"], "t", perm=[1, 0, 2]),
    ]
    x = rng.normal(size=(9, 2, 3))
    path = save(tmp_path / "g.onnx", ["t", 2, 3], [*nodes, node("Gather", ["t", "last"], "y", axis=1)], constants)
    graph = read_onnx(path)
    assert graph.read_out == "last"
    np.testing.assert_allclose(evaluate(graph, x.swapaxes(0, 1))[:, -1], reference(path, x), rtol=1e-4, atol=1e-5)
    twice = [*nodes, node("Gather", ["t", "last"], "z", axis=1), node("Gather", ["z", "last"], "y", axis=1)]
    with pytest.raises(ModelError, match="picks the last of axis 1 of values without an axis of time"):
        read_onnx(save(tmp_path / "z.onnx", ["t", 2, 3], twice, constants))
    path = save(tmp_path / "b.onnx", ["t", 2, 3], [*nodes, node("Gather", ["t", "last"], "y", axis=0)], constants)
    with pytest.raises(ModelError, match="picks the last of axis 0, where time is axis 1"):
        read_onnx(path)


RECURRENT: dict[str, tuple[dict[str, Any], list[str], dict[str, Any], str]] = {
    "both ways": ({"direction": "bidirectional"}, [], {}, "(LSTM): runs bidirectional; forward is supported"),
    "backwards": ({"direction": "reverse"}, [], {}, "(LSTM): runs reverse; forward is supported"),
    "clipped": ({"clip": 1.0}, [], {}, "has functions of its own, or a clip"),
    "functions": ({"activations": ["Sigmoid", "Relu", "Tanh"]}, [], {}, "has functions of its own"),
    "start": ({}, ["", "", "h0"], {"h0": np.ones((1, 1, 4))}, "has lengths, initial states or peepholes"),
    "peepholes": ({}, ["", "", "", "", "p"], {"p": np.ones((1, 12))}, "has lengths, initial states or peepholes"),
}


@pytest.mark.parametrize("case", RECURRENT)
def test_what_an_lstm_does_not_do_here_is_named(tmp_path: Path, case: str) -> None:
    attributes, inputs, extra, words = RECURRENT[case]
    ways = 2 if case == "both ways" else 1
    constants = {"W": np.ones((ways, 16, 3)), "R": np.ones((ways, 16, 4)), **extra}
    cell = helper.make_node("LSTM", ["x", "W", "R", *inputs], ["y"], hidden_size=4, **attributes)
    with pytest.raises(ModelError, match=re.escape(words)):
        read_onnx(save(tmp_path / "l.onnx", ["t", 1, 3], [cell], constants))


def test_a_product_that_two_read_keeps_its_bias_apart(tmp_path: Path) -> None:
    constants = {"w": np.eye(3) * 2, "b": np.array([1.0, 2.0, 3.0])}
    nodes = [node("MatMul", ["x", "w"], "m"), node("Add", ["m", "b"], "a"), node("Add", ["a", "m"], "y")]
    path = save(tmp_path / "t.onnx", [1, 3], nodes, constants)
    x = np.array([[1.0, -1.0, 0.5]])
    assert evaluate(read_onnx(path), x).tolist() == reference(path, x).tolist() == [[5.0, -2.0, 5.0]]


def test_reckonings_with_shapes_are_worked_out_within_bounds(tmp_path: Path) -> None:
    constants = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]), "many": np.array([1 << 40])}
    nodes = [
        node("Shape", ["x"], "s"),
        node("Gather", ["s", "zero"], "batch"),
        node("Unsqueeze", ["batch", "axis"], "one"),
        node("Concat", ["one", "rest"], "both", axis=0),
        node("Reshape", ["x", "both"], "y"),
    ]
    path = save(tmp_path / "s.onnx", ["b", 2, 3, 3], nodes, constants)
    assert [n.op for n in read_onnx(path).nodes] == ["input", "flatten"]
    path = save(tmp_path / "big.onnx", ["b", 2], [node("ConstantOfShape", ["many"], "y")], constants)
    with pytest.raises(ModelError, match="makes an array of shape"):
        read_onnx(path)
    doubling = [node("Concat", [f"c{i}", f"c{i}"], f"c{i + 1}", axis=0) for i in range(40)]
    path = save(tmp_path / "double.onnx", ["b", 2], doubling, {"c0": np.zeros(1 << 12)}, "c40")
    with pytest.raises(ModelError, match="makes an array of more than"):
        read_onnx(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["GRU", "LSTM", "convolution"])
def test_what_pytorch_exports_equals_the_module(tmp_path: Path, kind: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    nn = torch.nn

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = getattr(nn, kind)(6, 9, num_layers=2, batch_first=True)
            self.head = nn.Linear(9, 4)

        def forward(self, x: Any) -> Any:
            return self.head(self.cell(x)[0][:, -1])

    class Image(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm, self.head = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Linear(16, 3)

        def forward(self, x: Any) -> Any:
            x = nn.functional.avg_pool2d(torch.relu(self.norm(self.conv(x))), 2)
            return self.head(x.view(x.size(0), -1))

    torch.manual_seed(0)
    module = (Image() if kind == "convolution" else Sequence()).eval()
    x = torch.randn(3, 2, 6, 6) if kind == "convolution" else torch.randn(3, 7, 6)
    path = tmp_path / "m.onnx"
    torch.onnx.export(module, (x,), path, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "batch"}})
    graph = read_onnx(path)
    found = evaluate(graph, x.numpy())
    expected = module(x).detach().numpy()
    assert graph.read_out == ("every" if kind == "convolution" else "last")
    np.testing.assert_allclose(found if kind == "convolution" else found[:, -1], expected, rtol=1e-4, atol=1e-5)


def test_a_softmax_at_the_end_is_left_out_with_a_word(tmp_path: Path) -> None:
    path = save(tmp_path / "s.onnx", [1, 4], [node("Softmax", ["x"], "y")], {})
    graph, notes = read_onnx_with_notes(path)
    assert [n.op for n in graph.nodes] == ["input"]
    assert "a softmax at the end is left out" in notes[0]


CASES: dict[str, tuple[list[Any], dict[str, Any], str]] = {
    "operator": ([node("Erf", ["x"], "e"), node("Det", ["e"], "y")], {}, "(Det): is not supported"),
    "named": ([node("Erf", ["x"], "y", name="gelu_3")], {}, "operator gelu_3 (Erf): is not supported"),
    "softmax": ([node("Softmax", ["x"], "s"), node("Relu", ["s"], "y")], {}, "a softmax is supported at the end alone"),
    "uneven": (
        [node("Conv", ["x", "w"], "y", pads=[0, 0, 1, 1])],
        {"w": np.ones((1, 2, 3, 3))},
        "pads [0, 0, 1, 1] differ from side to side",
    ),
    "ceil": ([node("MaxPool", ["x"], "y", kernel_shape=[2, 2], ceil_mode=1)], {}, "ceil_mode rounds"),
    "product": ([node("Mul", ["x", "x"], "y")], {}, "multiplies two arrays"),
    "reshape": ([node("Reshape", ["x", "s"], "y")], {"s": np.array([0, 6, 12])}, "reshapes to [0, 6, 12]"),
    "not finite": ([node("MatMul", ["x", "w"], "y")], {"w": np.full((6, 2), np.nan)}, "values that are not finite"),
    "channels": ([node("Conv", ["x", "w"], "y")], {"w": np.ones((1, 5, 3, 3))}, "do not fit an input [2, 6, 6]"),
    "no attribute": ([node("MaxPool", ["x"], "y")], {}, "not what ONNX asks for ('kernel_shape')"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_is_not_supported_is_named(tmp_path: Path, case: str) -> None:
    nodes, constants, words = CASES[case]
    path = save(tmp_path / "bad.onnx", [1, 2, 6, 6], nodes, constants)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        read_onnx(path)
    assert str(path) in str(caught.value)


def test_weights_in_another_file_are_not_followed(tmp_path: Path) -> None:
    path = save(tmp_path / "e.onnx", [1, 4], [node("MatMul", ["x", "w"], "y")], {"w": np.ones((4, 3))})
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="tensor w: lies in another file, which is not read"):
        read_onnx(path)


def test_damaged_files_end_in_an_error_of_this_package(tmp_path: Path) -> None:
    path = save(tmp_path / "g.onnx", [1, 4], [node("MatMul", ["x", "w"], "y")], {"w": np.ones((4, 3))})
    good, bad = path.read_bytes(), tmp_path / "bad.onnx"
    rng, refused = np.random.default_rng(0), 0
    for _ in range(150):
        data = bytearray(good)
        for place in rng.integers(0, len(good), 3):
            data[place] = int(rng.integers(0, 256))
        bad.write_bytes(data[: int(rng.integers(len(good) // 2, len(good) + 1))])
        try:
            read_onnx(bad)
        except ModelError:
            refused += 1
    assert refused > 75
