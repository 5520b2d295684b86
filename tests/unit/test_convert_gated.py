"""GRUs and LSTMs to delta networks in integers: their answers, that the engine sends the same, what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import neurosim
from neurosim.cli import main
from neurosim.compiler import write_network_file
from neurosim.convert import GatedFormats, describe_gated, run_delta_gru, run_delta_lstm, run_gated, to_gated
from neurosim.engine import FunctionRun
from neurosim.errors import InputError, ModelError
from neurosim.formats import read_torch, write_nir
from neurosim.formats.dense_files import read_dense
from neurosim.formats.dense_graph import Activation, DenseGraph, Gru, Input, Linear, Lstm, evaluate

Rng = np.random.Generator
PAGE = Path(__file__).parents[2] / "docs" / "methods.md"
FINE = GatedFormats(
    activation_fraction=12, activation_bits=24, weight_fraction=14, weight_bits=18, table_fraction=12, sum_bits=48
)
"""So fine that little is left of rounding."""


def random_node(rng: Rng, op: str, inputs: int, hidden: int, name: str = "cell", source: str = "x") -> Any:
    gates = 3 if op == "gru" else 4
    shapes = ((gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,))
    kind = Gru if op == "gru" else Lstm
    return kind(name, (source,), *(np.clip(rng.normal(size=shape) / 3, -0.99, 0.99) for shape in shapes))


def random_graph(rng: Rng, op: str, depth: int = 1) -> DenseGraph:
    nodes: list[Any] = [Input("x", (), (5,))]
    for k in range(depth):
        nodes.append(random_node(rng, op, 5 if k == 0 else 6, 6, f"cell{k}", nodes[-1].name))
    nodes.append(Linear("out", (nodes[-1].name,), rng.normal(size=(3, 6)), rng.normal(size=3)))
    return DenseGraph(nodes, name="small")


def random_inputs(rng: Rng, sequences: int = 2, frames: int = 20) -> Any:
    return np.cumsum(rng.normal(size=(sequences, frames, 5)) / 4, axis=1)


@pytest.mark.parametrize("op", ["gru", "lstm"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("read_out", ["frame", "mean"])
def test_fine_formats_without_thresholds_give_the_original(op: str, depth: int, read_out: str) -> None:
    rng = np.random.default_rng(1)
    graph, x = random_graph(rng, op, depth), random_inputs(rng)
    run = run_gated(to_gated(graph, 0, FINE, read_out), x)
    wanted = evaluate(graph, x)
    if read_out == "mean":
        wanted = np.cumsum(wanted, axis=1) / np.arange(1, 21)[:, None]
    # A few of its steps of 1/4096, times the weights of the read-out; gates of 1/16 are coarser by far.
    assert np.abs(run.answers - wanted).max() < 2e-3
    coarse = run_gated(to_gated(graph, 0, None, read_out), x)
    assert 2e-2 < np.abs(coarse.answers - wanted).max() < 0.25


@pytest.mark.parametrize("op", ["gru", "lstm"])
@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("read_out", ["frame", "mean"])
def test_the_engine_sends_and_answers_what_the_evaluation_does(op: str, depth: int, read_out: str) -> None:
    """Message by message, over the delays; several thresholds; with the units' own states."""
    rng = np.random.default_rng(2)
    graph, x = random_graph(rng, op, depth), random_inputs(rng, 1)
    for thresholds in (0.0, 0.1, [0.3, *[0.05] * depth]):
        found = to_gated(graph, thresholds, None, read_out)
        run = run_gated(found, x)
        frames = {"x": np.rint(x[0] * 256).astype(np.int64)}
        function = FunctionRun(found.network, frames)
        for activity in function.steps(20 + depth + 1):
            t, counts = activity.timestep, np.diff(activity.layer_start)
            for k, sent in enumerate(run.sent):
                if 0 <= t - 1 - k < 20:
                    assert counts[k] == sent[0, t - 1 - k]
            at = t - 2 - depth
            if at >= 0:
                share = at + 1 if read_out == "mean" else 1
                answer = np.zeros(3)
                low, high = activity.layer_start[-2:]
                answer[activity.neuron[low:high] - found.network.offsets[-2]] = activity.value[low:high]
                np.testing.assert_allclose(answer * found.answer_scale / share, run.answers[0, at], rtol=1e-12)
            else:
                assert counts[-1] == 0


def test_sequences_of_several_lengths_are_each_run_alone() -> None:
    rng = np.random.default_rng(3)
    graph, x, lengths = random_graph(rng, "gru"), random_inputs(rng, 3), np.array([20, 0, 7])
    found = to_gated(graph, 0.1, None, "mean")
    run = run_gated(found, x, lengths)
    alone = run_gated(found, x[2:, :7])
    assert np.array_equal(run.answers[2, :7], alone.answers[0])
    assert not run.answers[2, 7:].any()
    assert not run.answers[1].any()
    assert run.frames == 27
    both = run_gated(found, x[:1])
    assert [a + b for a, b in zip(both.acting, alone.acting, strict=True)] == list(run.acting)
    # As the paper counts: changes of inputs with a frame, and of states before it.
    acts = sum(int(sent.sum()) for sent in run.sent) - int(run.sent[1][0, 19] + run.sent[1][2, 6])
    assert run.acting == (acts,)
    report = describe_gated(found, x, np.array([0, 1, 2]), lengths)
    assert report.answers == 2
    assert report.macs * 27 == pytest.approx(18 * acts)
    assert report.reduction == pytest.approx(27 * 11 / acts)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 2.0), st.floats(0.001, 0.5))
def test_the_float_delta_lstm_holds_nothing_off_by_the_threshold(seed: int, inputs: float, states: float) -> None:
    rng = np.random.default_rng(seed)
    node, length = random_node(rng, "lstm", 5, 7), rng.integers(0, 20, 4)
    found = run_delta_lstm(node, random_inputs(rng, 4), length, inputs, states)
    assert found.widest_gap[0] < inputs
    assert found.widest_gap[1] < states
    beyond = np.arange(20) >= length[:, None]
    assert not found.sent_inputs[beyond].any()
    assert not found.sent_states[beyond].any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_the_float_delta_lstm_without_thresholds_is_the_lstm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    node, x = random_node(rng, "lstm", 5, 7), random_inputs(rng, 3)
    found = run_delta_lstm(node, x, np.full(3, 20), 0.0, 0.0)
    wanted = evaluate(DenseGraph([Input("x", (), (5,)), node]), x)
    np.testing.assert_allclose(found.states, wanted, rtol=1e-9, atol=1e-12)
    assert found.widest_gap == (0.0, 0.0)


@pytest.mark.parametrize("op", ["gru", "lstm"])
def test_integers_send_about_what_floats_do(op: str) -> None:
    rng = np.random.default_rng(5)
    graph, x = random_graph(rng, op), random_inputs(rng, 8, 60)
    run: Any = run_delta_gru if op == "gru" else run_delta_lstm
    floats = run(graph.nodes[1], x, np.full(8, 60), 0.125, 0.125)
    found = run_gated(to_gated(graph, 0.125), x)
    assert found.acting[0] == pytest.approx(int(floats.sent_inputs.sum() + floats.sent_states.sum()), rel=0.02)
    # A change that one sends and the other keeps back is a threshold apart.
    assert np.abs(found.states[0] - floats.states).max() < 0.125


def refused(graph: DenseGraph, words: str, thresholds: Any = 0.1, kind: Any = ModelError, **formats: int) -> None:
    with pytest.raises(kind, match=words):
        to_gated(graph, thresholds, GatedFormats(**formats))


def test_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(6)
    graph = random_graph(rng, "gru")
    source, cell, readout = graph.nodes
    assert isinstance(cell, Gru)
    wide = cell.weight_ih.copy()
    wide[4, 3] = 1.31
    refused(DenseGraph([source, replace(cell, weight_ih=wide), readout]),
            r"node cell0 \(gru\): weight_ih\[4, 3\] is 1\.31; 8 bits with 7 of fraction hold \+-0\.992188; give a "
            r"weight fraction of 6 \(--weight-fraction 6\)")  # fmt: skip
    to_gated(DenseGraph([source, replace(cell, weight_ih=wide), readout]), 0.1, GatedFormats(weight_fraction=6))
    refused(DenseGraph([source, replace(cell, reset_before=True), readout]), "resets before its product")
    refused(DenseGraph([source, cell]), r"node cell0 \(gru\): a delta network is an input, GRUs or LSTMs, and a linear")
    refused(
        DenseGraph([source, readout.__class__("l", ("x",), np.ones((2, 5)), np.zeros(2))]), r"node l \(linear\): a d"
    )
    relu = Activation("relu", ("cell0",), "relu")
    refused(DenseGraph([source, cell, relu, replace(readout, inputs=("relu",))]), r"node relu \(activation\)")
    lstm = random_node(rng, "lstm", 6, 6, "l", "cell0")
    refused(DenseGraph([source, cell, lstm, replace(readout, inputs=("l",))]), r"node l \(lstm\): behind a gru; give")
    refused(graph, "thresholds are \\[0.1, 0.2, 0.3\\]; give 1 or 2", [0.1, 0.2, 0.3], InputError)
    refused(graph, "a threshold of 0.001 is less than half of 1/256", 0.001, InputError)
    refused(graph, r"node cell0 \(gru\): reset_bias reaches", 0.1, sum_bits=9)
    with pytest.raises(InputError, match='the read-out is "last"; use frame or mean'):
        to_gated(graph, 0.1, None, "last")
    found = to_gated(graph, 0.1)
    with pytest.raises(InputError, match="integer frames have 16 bits"):
        run_gated(found, np.full((1, 2, 5), 200.0))
    padded = describe_gated(found, np.zeros((1, 2, 5)), np.array([[1, -1]]), np.array([1]))
    assert padded.answers == 1
    with pytest.raises(InputError, match=r"labels reach from -1 to 1;"):
        describe_gated(found, np.zeros((1, 2, 5)), np.array([[1, -1]]))
    with pytest.raises(InputError, match=r"labels reach from 9 to 9; the answer has classes 0\.\.2"):
        describe_gated(found, np.zeros((1, 2, 5)), np.array([9]))
    with pytest.raises(
        InputError, match=r"labels have shape \[3\] and dtype int64; give 1 integers, one a sequence, or"
    ):
        describe_gated(found, np.zeros((1, 2, 5)), np.array([0, 1, 2]))
    with pytest.raises(ModelError, match=r"NIR has no units of several compartments; write a network file"):
        write_nir(found.network, "never.nir")


def save_onnx(path: str, op: str, rng: Rng) -> None:
    """Write a network of 5 inputs, 6 hidden values and 3 classes."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    helper, rows = onnx.helper, 18 if op == "GRU" else 24
    arrays = {
        "W": rng.uniform(-0.9, 0.9, (1, rows, 5)), "R": rng.uniform(-0.9, 0.9, (1, rows, 6)),
        "B": rng.normal(size=(1, 2 * rows)) / 4, "one": np.array([1]), "fc": rng.normal(size=(6, 3)),
    }  # fmt: skip
    attributes = {"linear_before_reset": 1} if op == "GRU" else {}
    nodes = [
        helper.make_node(op, ["x", "W", "R", "B"], ["h"], hidden_size=6, **attributes),
        helper.make_node("Squeeze", ["h", "one"], ["s"]),
        helper.make_node("MatMul", ["s", "fc"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "spoken", [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["t", 1, 5])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [onnx.numpy_helper.from_array(v.astype(np.float32 if v.dtype.kind == "f" else np.int64), name)
         for name, v in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)


@pytest.fixture
def gru_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, gone into, with `gru.onnx`, `lstm.onnx` and `x.npz`: frames and labels."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(8)
    save_onnx("gru.onnx", "GRU", rng)
    save_onnx("lstm.onnx", "LSTM", rng)
    x = random_inputs(rng, 1, 30)[0]
    np.savez("x.npz", inputs=x, labels=rng.integers(0, 3, 30))
    np.save("many.npy", np.stack([x, x[::-1]]))
    np.save("ints.npy", np.rint(x * 16).astype(np.int16))
    return tmp_path


CONVERT = ["convert", "gru.onnx", "--to", "delta-gru", "--data", "x.npz", "-o", "net.nsnet"]


@pytest.mark.usefixtures("gru_file")
def test_the_command_writes_a_network_that_two_chips_run(capsys: pytest.CaptureFixture[str]) -> None:
    extra = [
        "--threshold",
        "0.125",
        "--threshold",
        "0.0625",
        "--test",
        "x.npz",
        "--json",
        "r.json",
        "--frames",
        "f.npy",
    ]
    assert main([*CONVERT, *extra]) == 0
    printed = capsys.readouterr().out
    report = json.loads(Path("r.json").read_text(encoding="utf-8"))
    assert "written to net.nsnet" in printed
    assert f"{report['reduction']:.2f} times fewer in gated layers" in printed
    assert report["thresholds"] == [0.125, 0.0625]
    assert report["dense_macs"] == 18 * 11
    assert report["weight_bits"]["h"] <= 8
    assert set(report["message_bits"]) == {"x", "h"}
    assert (report["frames"], report["answers"]) == (30, 30)
    found = np.load("f.npy")
    assert found.dtype == np.int16
    assert np.array_equal(found, np.rint(np.load("x.npz")["inputs"] * 256))
    for chip in ("loihi2", "spinnaker2"):
        run = ["run", "net.nsnet", "--input", "f.npy", "--chip", chip, "--steps", "32", "--json", f"{chip}.json"]
        assert main(run) == 0
        result = neurosim.simulate(neurosim.compile(neurosim.load("net.nsnet"), chip), found, steps=32)
        counted = result.counts.layer_counts
        # Each layer's own 30 frames: the inputs' from timestep 1 on, the gated layer's from 2 on.
        assert counted[:30, 0, 0].sum() == pytest.approx(report["messages"]["x"] * 30)
        assert counted[1:31, 1, 0].sum() == pytest.approx(report["messages"]["h"] * 30)
        summary = json.loads(Path(f"{chip}.json").read_text(encoding="utf-8"))
        assert summary["schema"] == "neurosim.summary/1"
        (answers,) = result.counts.outputs.values()
        wanted = run_gated(to_gated(read_dense("gru.onnx"), [0.125, 0.0625]), np.load("x.npz")["inputs"][None])
        scale = to_gated(read_dense("gru.onnx"), 0.125).answer_scale
        np.testing.assert_allclose(answers[2:] * scale, wanted.answers[0], rtol=1e-12)
    capsys.readouterr()
    assert main(["info", "net.nsnet"]) == 0
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("delta_gru", "0, 1, 2", "0, 1, 3"))


@pytest.mark.usefixtures("gru_file")
def test_the_command_converts_lstms(capsys: pytest.CaptureFixture[str]) -> None:
    base = ["convert", "lstm.onnx", "--to", "delta-lstm", "--data", "x.npz", "-o", "l.nsnet", "--frames", "f.npy"]
    assert main([*base, "--threshold", "0.0625", "--json", "l.json"]) == 0
    report = json.loads(Path("l.json").read_text(encoding="utf-8"))
    assert report["dense_macs"] == 24 * 11
    assert report["error_percent"] is None
    assert main(["run", "l.nsnet", "--input", "f.npy", "--chip", "loihi2", "--steps", "32"]) == 0
    assert main(["info", "l.nsnet"]) == 0
    assert "delta_lstm" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
def test_pytorch_modules_come_through_their_graph(kind: str) -> None:
    torch = pytest.importorskip("torch", reason="the extra torch is not installed")
    nn = torch.nn

    class Words(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell, self.head = getattr(nn, kind)(5, 6, num_layers=2, batch_first=True), nn.Linear(6, 3)

        def forward(self, x: Any) -> Any:
            return self.head(self.cell(x)[0])

    torch.manual_seed(0)
    module = Words().double().eval()
    x = random_inputs(np.random.default_rng(1))
    run = run_gated(to_gated(read_torch(module, 5), 0, FINE), x)
    assert np.abs(run.answers - module(torch.from_numpy(x)).detach().numpy()).max() < 2e-3


@pytest.mark.usefixtures("gru_file")
def test_the_command_takes_integers_and_several_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    base = [*CONVERT[:5], "ints.npy", "-o", "net.nsnet", "--threshold", "0.1"]
    assert main([*base, "--input-scale", "0.0625", "--read-out", "mean", "--weight-fraction", "6"]) == 0
    assert "over the number of frames so far" in capsys.readouterr().out
    assert main([*CONVERT, "--threshold", "0", "--test", "many.npy"]) == 0
    assert "on 60 frames of 2 sequences" in capsys.readouterr().out


REFUSED = {
    "no threshold": ([], "needs --threshold T"),
    "other method": (["--to", "delta-lstm", "--threshold", "0.1"], "gru has gru nodes; give --to delta-gru"),
    "scale of floats": (["--threshold", "0.1", "--input-scale", "0.5"], "samples are floats"),
    "rule": (["--threshold", "0.1", "--rule", "max"], "--rule: of no effect with --to delta-gru"),
    "several sequences": (
        ["--threshold", "0.1", "--test", "many.npy", "--frames", "f.npy"],
        "a run takes one sequence",
    ),
    "integers": (["--threshold", "0.1", "--data", "ints.npy"], "samples are integers: give --input-scale S"),
}


@pytest.mark.usefixtures("gru_file")
@pytest.mark.parametrize("case", REFUSED)
def test_the_command_refuses(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    extra, words = REFUSED[case]
    assert main([*CONVERT, *extra]) != 0
    assert words in " ".join(capsys.readouterr().err.split())
    assert not Path("net.nsnet").exists()


@pytest.mark.usefixtures("gru_file")
def test_other_methods_name_gated_nodes(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["convert", "gru.onnx", "--to", "rounding", "--data", "x.npz", "--input-scale", "1", "-o", "n.nsnet"]) != 0
    )
    assert "gru" in capsys.readouterr().err
    assert main([*CONVERT[:2], "--to", "rounding", "--data", "x.npz", "--read-out", "mean", "-o", "n.nsnet"]) != 0
    assert "--read-out: of no effect with --to rounding" in " ".join(capsys.readouterr().err.split())


def test_networks_of_gated_layers_are_files_too(tmp_path: Path) -> None:
    found = to_gated(random_graph(np.random.default_rng(9), "lstm", 2), 0.1)
    write_network_file(found.network, tmp_path / "n.nsnet")
    assert neurosim.load(tmp_path / "n.nsnet") == found.network


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
def test_many_sequences_are_evaluated_as_the_page_says() -> None:
    page = PAGE.read_text(encoding="utf-8")
    start = page.index("**Many sequences.**")
    lines = page[page.index("```python", start) + 9 : page.index("```\n", page.index("```python", start) + 9)]
    rng = np.random.default_rng(3)
    names: dict[str, Any] = {
        "graph": random_graph(rng, "gru", 1), "sequences": random_inputs(rng, 3, 9), "labels": np.array([0, 1, 2]),
        "lengths": np.array([9, 4, 7]), "GatedFormats": GatedFormats, "to_gated": to_gated,
        "describe_gated": describe_gated, "run_gated": run_gated,
    }  # fmt: skip
    exec(lines, names)
    assert names["report"].sequences == 3
    assert names["report"].frames == 20
    last = names["answers"][np.arange(3), names["lengths"] - 1].argmax(axis=1)
    assert names["report"].error_percent == pytest.approx((last != names["labels"]).mean() * 100)
