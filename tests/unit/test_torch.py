"""PyTorch modules as dense graphs, against the modules themselves; and what is refused."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import evaluate, fold_scales
from neurosim.formats.onnx_read import read_onnx
from neurosim.formats.torch_read import read_torch

torch = pytest.importorskip("torch", reason="the extra torch is not installed")
nn, functional = torch.nn, torch.nn.functional


def trained(module: Any, seed: int = 0) -> Any:
    """The module with every parameter and statistic drawn, in evaluation mode and double precision."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                value.copy_(torch.rand(value.shape) + 0.5 if key.endswith("var") else torch.randn(value.shape) * 0.4)
    return module.double().eval()


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.conv = nn.Conv2d(8, 8, 3, padding="same", groups=2)
        self.down = nn.Conv2d(16, 6, 3, stride=2, dilation=2)
        self.drop, self.head = nn.Dropout(0.5), nn.Linear(6 * 2 * 2, 5)

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        y = functional.relu6(x + self.conv(x))
        y = torch.cat([y, functional.max_pool2d(x, 3, stride=1, padding=1)], dim=1)
        y = functional.leaky_relu(self.down(y), 0.1)
        y = functional.avg_pool2d(y, (2, 2), 1)
        return self.head(self.drop(y.view(y.size(0), -1))) * 0.5 + 1


class Words(nn.Module):
    def __init__(self, kind: str, last: bool) -> None:
        super().__init__()
        self.cell, self.last = getattr(nn, kind)(6, 9, num_layers=2, batch_first=True), last
        self.head = nn.Linear(9, 4)

    def forward(self, x: Any) -> Any:
        y, _ = self.cell(x)
        return self.head(y[:, -1] if self.last else y)


def test_a_residual_net_equals_the_module_and_folds() -> None:
    module = trained(Residual())
    graph = read_torch(module, (3, 9, 9))
    x = np.random.default_rng(0).normal(size=(4, 3, 9, 9))
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(evaluate(graph, x), expected, rtol=1e-10, atol=1e-10)
    folded = fold_scales(graph)
    assert len(folded.nodes) < len(graph.nodes)
    np.testing.assert_allclose(evaluate(folded, x), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("last", [False, True])
def test_recurrent_modules_equal_themselves(kind: str, last: bool) -> None:
    module = trained(Words(kind, last))
    graph = read_torch(module, 6)
    assert (graph.recurrent, graph.read_out) == (True, "last" if last else "every")
    x = np.random.default_rng(1).normal(size=(3, 8, 6))
    expected = module(torch.from_numpy(x)).detach().numpy()
    found = evaluate(graph, x)
    np.testing.assert_allclose(found[:, -1] if last else found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("layers", "shape"),
    [
        (
            [nn.Conv1d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(12, 2)],
            (3, 12),
        ),
        ([nn.Linear(7, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3), nn.Sigmoid()], (7,)),
        ([nn.Conv2d(2, 3, 3), nn.Hardtanh(-0.5, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Identity()], (2, 6, 5)),
        ([nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.LeakyReLU(0.3), nn.Hardsigmoid()], (2, 7, 7)),
        ([nn.AvgPool2d(3, 2, 1), nn.ReLU6(), nn.MaxPool2d((2, 1))], (2, 7, 7)),
    ],
)
def test_sequences_of_layers_equal_themselves(layers: list[Any], shape: tuple[int, ...]) -> None:
    module = trained(nn.Sequential(*layers))
    x = np.random.default_rng(2).normal(size=(5, *shape))
    expected = module(torch.from_numpy(x)).detach().numpy()
    found = evaluate(read_torch(module, shape), x[:, :, None] if len(shape) == 2 else x)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


class LeNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.hidden, self.head = nn.Linear(400, 84), nn.Linear(84, 10)

    def forward(self, x: Any) -> Any:
        x = functional.max_pool2d(functional.relu(self.conv1((x - 0.13) / 0.31), inplace=True), 2)
        x = functional.avg_pool2d(torch.relu(self.conv2(x)), 2).flatten(1)
        return self.head(functional.dropout(functional.relu(self.hidden(x)), 0.5, self.training))


class Stages(nn.Module):
    """Residual stages as torchvision writes them: sums in place, a projection, a mean over the image."""

    def __init__(self, mean: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
            for _ in range(2)
        )
        self.stem, self.wide = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 16, 3, 2, 1, bias=False)
        self.down = nn.Sequential(nn.Conv2d(8, 16, 1, stride=2, bias=False), nn.BatchNorm2d(16))
        self.head, self.mean = nn.Linear(16, 4), mean

    def forward(self, x: Any) -> Any:
        x = self.stem(x)
        for stage in self.stages:
            x = x + stage(x)
        y = self.wide(x)
        y += self.down(x)
        y = 1.5 - torch.clamp(y, min=0, max=6)
        return self.head(y.mean((2, 3)) if self.mean else functional.adaptive_avg_pool2d(y, 1).flatten(1))


@pytest.mark.parametrize(
    ("module", "shape"), [(LeNet(), (1, 28, 28)), (Stages(True), (3, 8, 8)), (Stages(False), (3, 8, 8))]
)
def test_networks_as_people_write_them_equal_themselves(module: Any, shape: tuple[int, ...]) -> None:
    module = trained(module)
    x = np.random.default_rng(7).normal(size=(3, *shape))
    expected = module(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(evaluate(read_torch(module, shape), x), expected, rtol=1e-9, atol=1e-9)


class LastState(nn.Module):
    """Answers by the state in which a GRU or LSTM ends."""

    def __init__(self, kind: str, layers: int, batch_first: bool) -> None:
        super().__init__()
        self.cell = getattr(nn, kind)(6, 9, num_layers=layers, batch_first=batch_first)
        self.head, self.kind, self.layers = nn.Linear(9, 4), kind, layers

    def forward(self, x: Any) -> Any:
        _, state = self.cell(x)
        hidden = state[0] if self.kind == "LSTM" else state
        return self.head(hidden.squeeze(0) if self.layers == 1 else hidden[-1])


class Stacked(nn.Module):
    """Answers by what a function picks from the states of two layers."""

    def __init__(self, kind: str, batch_first: bool, pick: Any, width: int = 9) -> None:
        super().__init__()
        self.cell = getattr(nn, kind)(6, 9, num_layers=2, batch_first=batch_first)
        self.head, self.kind, self.pick = nn.Linear(width, 4), kind, pick

    def forward(self, x: Any) -> Any:
        _, state = self.cell(x)
        return self.head(self.pick(state[0] if self.kind == "LSTM" else state))


@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("batch_first", [True, False])
def test_the_state_in_which_a_module_ends_is_its_last_frame(kind: str, layers: int, batch_first: bool) -> None:
    module = trained(LastState(kind, layers, batch_first))
    graph = read_torch(module, 6)
    assert graph.read_out == "last"
    x = np.random.default_rng(1).normal(size=(3, 8, 6))
    given = torch.from_numpy(x if batch_first else x.swapaxes(0, 1))
    np.testing.assert_allclose(evaluate(graph, x)[:, -1], module(given).detach().numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["GRU", "LSTM"])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("cut", [False, True])
def test_the_last_of_stacked_states_comes_through_onnx(tmp_path: Path, kind: str, batch_first: bool, cut: bool) -> None:
    """The exporter stacks the states of all layers by a `Concat` and picks the last by `Gather`, or `Slice`."""
    onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
    module = trained(Stacked(kind, batch_first, lambda state: state[-1:].squeeze(0) if cut else state[-1])).float()
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 8, 6))).float()
    given = x if batch_first else x.swapaxes(0, 1)
    path = tmp_path / "net.onnx"
    torch.onnx.export(module, (given,), str(path), dynamo=False)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert "Slice" in operators if cut else operators.count("Gather") > 0
    graph = read_onnx(path)
    assert graph.read_out == "last"
    expected = module(given).detach().numpy()
    np.testing.assert_allclose(evaluate(graph, x.numpy())[:, -1], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("pick", "words"),
    [
        (lambda state: state[0], "(Gather): picks [0] of axis 0 of the last states; that of the last layer, h[-1]"),
        (lambda state: state[:1].squeeze(0), "(Slice): picks [0] of axis 0 of the last states"),
        (lambda state: state.relu()[-1], "it holds the last states of all layers; take the last layer's, h[-1]"),
        (lambda state: state[-1][:, 2:6], "(Slice): cuts values out; that is supported for the last states"),
    ],
)
def test_other_uses_of_stacked_states_in_onnx_are_named(tmp_path: Path, pick: Any, words: str) -> None:
    pytest.importorskip("onnx", reason="the extra onnx is not installed")
    module = Stacked("GRU", True, pick, 4 if "cuts" in words else 9).eval()
    torch.onnx.export(module, (torch.zeros(1, 8, 6),), str(tmp_path / "net.onnx"), dynamo=False)
    with pytest.raises(ModelError, match=re.escape(words)):
        read_onnx(tmp_path / "net.onnx")


class Sequences(nn.Module):
    """What a function makes of a recurrent module and its input."""

    def __init__(self, function: Any, kind: str = "GRU", **options: Any) -> None:
        super().__init__()
        self.cell, self.call = getattr(nn, kind)(6, 9, **options), function

    def forward(self, x: Any, start: Any = None) -> Any:
        return self.call(self.cell, x, start)


@pytest.mark.parametrize(
    ("module", "words"),
    [
        (Sequences(lambda cell, x, start: cell(x, start)[0]), "module cell (GRU): is given more than one input"),
        (Sequences(lambda cell, x, start: cell(x, hx=x)[0]), "is given more than one input, or one by its name"),
        (Sequences(lambda cell, x, start: cell(x)[0][:, -1]), "the last frame of a sequence, [-1], is supported"),
        (Sequences(lambda cell, x, start: cell(x)[0][-1], batch_first=True), "[:, -1], is supported"),
        (Sequences(lambda cell, x, start: cell(x)[1][0] + 1, num_layers=2), "that of the last layer, [-1]"),
        (Sequences(lambda cell, x, start: cell(x)[1] + 1), "the last layer's state, [-1]"),
        (Sequences(lambda cell, x, start: cell(x)[1][1][-1], "LSTM"), "takes the cell state of an LSTM"),
        (Sequences(lambda cell, x, start: cell(x)[0], "LSTM", proj_size=4), "is bidirectional or projects"),
        (Sequences(lambda cell, x, start: cell(x)[0].mean(1), batch_first=True), "averages over axes 1"),
        (Sequences(lambda cell, x, start: cell(x)[0] + start), "takes start, which is no value of the network"),
    ],
)
def test_what_recurrent_modules_do_not_do_here_is_named(module: Any, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        read_torch(module, 6)


class Two(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x + y


def test_several_inputs_and_softmax_are_refused() -> None:
    with pytest.raises(ModelError, match="operation y: is a second input of forward"):
        read_torch(Two(), 4)
    with pytest.raises(ModelError, match=re.escape("module 1 (Softmax): a softmax is not supported; leave it out")):
        read_torch(nn.Sequential(nn.Linear(4, 3), nn.Softmax(1)), 4)


def test_weights_come_from_a_file_of_weights(tmp_path: Path) -> None:
    module, other = trained(nn.Sequential(nn.Linear(4, 3))), trained(nn.Sequential(nn.Linear(4, 3)), 1)
    torch.save(other.state_dict(), tmp_path / "w.pt")
    x = np.random.default_rng(3).normal(size=(2, 4))
    found = evaluate(read_torch(module, 4, tmp_path / "w.pt"), x)
    np.testing.assert_allclose(found, other(torch.from_numpy(x)).detach().numpy(), rtol=1e-12)
    before = module(torch.from_numpy(x)).detach().numpy()
    assert not np.allclose(found, before)


class Trap:
    """What runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return (Path.touch, (Path("sprung"),))


def test_a_file_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = nn.Sequential(nn.Linear(4, 3))
    torch.save({"0.weight": Trap()}, tmp_path / "trap.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Trap(), 2))
    for name in ("trap.pt", "plain.pt"):
        with pytest.raises(ModelError, match=re.escape(name) + ": is no file of weights alone"):
            read_torch(module, 4, tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_weights_that_do_not_fit_are_named(tmp_path: Path) -> None:
    torch.save({"0.weight": torch.zeros(2, 4), "1.bias": torch.zeros(3)}, tmp_path / "w.pt")
    with pytest.raises(ModelError) as caught:
        read_torch(nn.Sequential(nn.Linear(4, 3)), 4, tmp_path / "w.pt")
    for words in ("lacks 0.bias", "1.bias is not in Sequential", "0.weight has shape [2, 4]; Sequential takes [3, 4]"):
        assert words in str(caught.value)


class Branch(nn.Module):
    def forward(self, x: Any) -> Any:
        return x if x.sum() > 0 else -x


class Square(nn.Module):
    def forward(self, x: Any) -> Any:
        return x * x


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.GELU()), 4, "module 1 (GELU): is not supported"),
        (nn.Sequential(nn.GELU(), nn.Softplus()), 4, "module 1 (Softplus): is not supported"),
        (Branch(), 4, "torch.fx cannot trace it"),
        (Square(), 4, "operation mul (mul): multiplies two arrays"),
        (type("Halves", (nn.Module,), {"forward": lambda self, x: x / 0})(), 4, "operation truediv (truediv): is"),
        (nn.Sequential(nn.Linear(4, 3)), 5, "module 0 (Linear): takes 4 values in one axis, and is given [5]"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, padding_mode="circular", padding=1)), (1, 5, 5), "pads with circular"),
        (nn.Sequential(nn.MaxPool2d(2, ceil_mode=True)), (1, 5, 5), "uses ceil_mode"),
        (nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False)), 4, "keeps no statistics"),
        (nn.Sequential(nn.GRU(4, 3, bidirectional=True)), 4, "is bidirectional"),
        (nn.Sequential(nn.Flatten(2)), (2, 3, 4), "flattens axes 2 to -1"),
    ],
)
def test_what_is_not_supported_is_named(module: Any, shape: Any, words: str) -> None:
    with pytest.raises(ModelError, match=re.escape(words)):
        read_torch(module, shape)


def test_a_class_of_ones_own_may_have_a_name_of_torchs() -> None:
    """Layers are told by class; a user's own GRU is a module like others, with or without torch's in it."""
    for kind in ("GRU", "LSTM", "Linear"):
        own = type(kind, (Words,), {})("GRU", True)
        module = trained(own)
        graph = read_torch(module, 6)
        x = np.random.default_rng(2).normal(size=(2, 5, 6))
        expected = module(torch.from_numpy(x)).detach().numpy()
        np.testing.assert_allclose(evaluate(graph, x)[:, -1], expected, rtol=1e-10, atol=1e-12)
        plain = trained(type(kind, (Square,), {"forward": lambda self, x: x * 2.0})())
        assert evaluate(read_torch(plain, 4), np.ones((1, 4))).tolist() == [[2.0] * 4]


@pytest.mark.parametrize(
    ("module", "shape"), [(nn.Linear(64, 10), (64,)), (nn.Conv2d(2, 3, 3), (2, 5, 6)), (nn.ReLU(), (7,))]
)
def test_a_layer_alone_is_a_network(tmp_path: Path, module: Any, shape: tuple[int, ...]) -> None:
    module = trained(module)
    x = np.random.default_rng(3).normal(size=(2, *shape))
    expected = module(torch.from_numpy(x)).detach().numpy()
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    for weights in (None, tmp_path / "weights.pt"):
        graph = read_torch(module, shape, weights)
        assert graph.name == type(module).__name__
        np.testing.assert_allclose(evaluate(graph, x), expected, rtol=1e-10, atol=1e-12)
    with pytest.raises(ModelError, match=re.escape("module layer (GELU): is not supported; supported: ")):
        read_torch(nn.GELU(), 4)


def test_what_is_no_module_is_refused() -> None:
    with pytest.raises(InputError, match=r"a torch.nn.Module is needed, this is a str"):
        read_torch("net.pt", 4)


class Called(nn.Module):
    """One call of a function, with given arguments."""

    def __init__(self, function: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self.call, self.args, self.kwargs = function, args, kwargs

    def forward(self, x: Any) -> Any:
        return self.call(x, *self.args, **self.kwargs)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.AvgPool1d(3, 1, 1)), (2, 9)),
        (nn.Sequential(nn.AvgPool1d(2), nn.ReLU()), (2, 8)),
        (nn.Sequential(nn.MaxPool1d(3, 2)), (2, 9)),
        (nn.Sequential(nn.AvgPool2d(3, 1, 1)), (2, 1, 7)),
        (Called(functional.avg_pool2d, 3, 1, 1, False, False), (2, 7, 7)),
        (Called(functional.max_pool2d, 3, 2, 1, 1, False), (2, 7, 7)),
        (Called(functional.adaptive_max_pool2d, 1), (2, 5, 6)),
        (Called(torch.mean, (-1, -2), True), (2, 5, 6)),
    ],
)
def test_pools_are_those_of_the_module(module: Any, shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(4).normal(size=(3, *shape))
    wanted = module.double()(torch.from_numpy(x)).numpy()
    found = evaluate(read_torch(module, shape), x[:, :, None] if len(shape) == 2 else x)
    np.testing.assert_allclose(found.reshape(wanted.shape), wanted, atol=1e-12)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Called(functional.avg_pool2d, 2, ceil_mode=True), "ceil_mode"),
        (Called(functional.avg_pool2d, 2, divisor_override=1), "divisor_override"),
        (Called(functional.max_pool2d, 2, 2, 0, 2), "dilation"),
    ],
)
def test_options_of_pools_that_are_not_read_are_refused(module: Any, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_torch(module, (2, 6, 6))


@pytest.mark.parametrize("state", [False, True])
def test_the_last_frame_is_not_picked_of_the_last_frame(state: bool) -> None:
    """Behind it the same index takes the last neuron, which would be another answer."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRU(3, 4, batch_first=True)

        def forward(self, x: Any) -> Any:
            frames, last = self.cell(x)
            return (last[-1] if state else frames[:, -1]).relu()[:, -1]

    with pytest.raises(ModelError, match="of what is the last frame already"):
        read_torch(Twice(), 3)
