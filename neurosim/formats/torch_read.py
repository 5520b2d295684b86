"""Reader of PyTorch modules: traced by torch.fx into a `DenseGraph`; needs the extra ``torch``.

The first axis is the batch. A module with a GRU or an LSTM takes sequences (batch, frames, features) with
`batch_first`, (frames, batch, features) else; every frame of a sequence is one sample of the graph.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError, join_errors
from neurosim.formats.dense_graph import DenseGraph, Input, Node, Shape
from neurosim.formats.dense_nodes import Activation, Add, Concat, Conv2d, Flatten, Gru, Linear, Lstm, Pool2d, Scale
from neurosim.formats.onnx_ops import Refused

MAX_WEIGHTS_BYTES = 1 << 31


def read_torch(module: Any, input_shape: Any, weights: str | Path | None = None, name: str | None = None) -> DenseGraph:
    """Return the dense graph of a PyTorch module in evaluation mode; the module itself is left as it is.

    Parameters
    ----------
    module
        A `torch.nn.Module` that torch.fx can trace: no branches on values.
    input_shape
        Shape of one sample without the batch, (N,), (C, L) or (C, H, W); of one frame, (N,), for a recurrent module.
    weights
        A file with the module's state dictionary, as `torch.save(module.state_dict(), file)` writes it. It is read
        with `weights_only`, so that it can hold tensors and nothing that runs. None for the module's own.
    name
        For reports; the module's class by default.

    Raises
    ------
    ModelError
        Operations that are not supported, all of them named; weights that do not fit the module.
    InputError
        The extra ``torch`` is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise InputError('PyTorch modules need the extra torch: pip install "neurosim-hw[torch]"') from error
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"a torch.nn.Module is needed, this is a {type(module).__name__}")
    name = name or type(module).__name__
    state = module.state_dict() if weights is None else _state(module, Path(weights), name)
    try:
        traced = torch.fx.symbolic_trace(module)
    except Exception as error:  # Whatever the module's own forward raises.
        raise ModelError(
            f"{name}: torch.fx cannot trace it ({type(error).__name__}: {error}); write its forward without branches "
            "on values, or export it to ONNX"
        ) from error
    reader = _Reader(dict(traced.named_modules()), {k: v.detach().cpu().double().numpy() for k, v in state.items()})
    shape = tuple(int(v) for v in np.atleast_1d(np.asarray(input_shape)))
    for node in traced.graph.nodes:
        reader.read(node, shape)
    if reader.errors:
        raise ModelError(join_errors(name, reader.errors))
    return DenseGraph(reader.nodes, reader.output, name, reader.read_out)


def _state(module: Any, path: Path, name: str) -> dict[str, Any]:
    import torch

    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    if path.stat().st_size > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path}: has {path.stat().st_size} bytes; the limit is {MAX_WEIGHTS_BYTES}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own.
        raise ModelError(
            f"{path}: is no file of weights alone ({type(error).__name__}); save them with "
            "torch.save(module.state_dict(), file)"
        ) from error
    wanted = module.state_dict()
    if not isinstance(state, dict) or not all(torch.is_tensor(v) for v in state.values()):
        raise ModelError(f"{path}: holds no state dictionary; save it with torch.save(module.state_dict(), file)")
    errors = [f"lacks {key}" for key in wanted if key not in state]
    errors += [f"{key} is not in {name}" for key in state if key not in wanted]
    errors += [
        f"{key} has shape {list(state[key].shape)}; {name} takes {list(value.shape)}"
        for key, value in wanted.items()
        if key in state and state[key].shape != value.shape
    ]
    if errors:
        raise ModelError(join_errors(str(path), errors))
    return dict(state)


def _pair(value: Any) -> tuple[int, int]:
    flat = [int(v) for v in np.atleast_1d(np.asarray(value))]
    return flat[0], flat[-1]


class _Reader:
    """Turns the nodes of a traced graph into those of a dense graph.

    A value is the name of a dense node; `rnn` marks the pair that a GRU or LSTM returns.
    """

    def __init__(self, modules: dict[str, Any], state: dict[str, np.ndarray]) -> None:
        self.modules, self.state = modules, state
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {}
        self.values: dict[Any, Any] = {}
        self.errors: list[str] = []
        self.output: str | None = None
        self.read_out = "every"
        self.recurrent = any(type(m).__name__ in ("GRU", "LSTM") for m in modules.values())

    def add(self, node: Node) -> str:
        """Add a node and return its name."""
        try:
            self.shapes[node.name] = tuple(node.out_shape(*(self.shapes[n] for n in node.inputs)))
        except (ModelError, IndexError) as error:
            raise Refused(str(error)) from error
        self.nodes.append(node)
        return node.name

    def read(self, node: Any, shape: Shape) -> None:
        """Read one node of the traced graph."""
        if self.errors and node.op not in ("call_module", "call_function", "call_method"):
            return
        label = f"module {node.target}" if node.op == "call_module" else f"operation {node.name}"
        try:
            if node.op == "placeholder":
                full = (shape[0], 1, shape[1]) if len(shape) == 2 else shape
                self.values[node] = self.add(Input(node.name, (), full))
            elif node.op == "output":
                answer = node.args[0]
                answer = answer[0] if isinstance(answer, tuple | list) and len(answer) == 1 else answer
                self.output = self._value(answer)
            elif node.op == "call_module":
                module = self.modules[node.target]
                label += f" ({type(module).__name__})"
                read = MODULES.get(type(module).__name__)
                if read is None:
                    raise Refused(f"is not supported; supported: {', '.join(sorted(MODULES))}")
                if not self.errors:
                    self.values[node] = read(self, node.name, module, str(node.target), self._value(node.args[0]))
            elif node.op in ("call_function", "call_method"):
                called = node.target if node.op == "call_method" else getattr(node.target, "__name__", str(node.target))
                label += f" ({called})"
                function = FUNCTIONS.get(str(called).rstrip("_"))
                if function is None:
                    raise Refused(f"is not supported; supported: {', '.join(sorted(FUNCTIONS))}")
                if not self.errors:
                    self.values[node] = function(self, node.name, node.args, node.kwargs)
            else:
                raise Refused("reads a parameter of its own; use layers of torch.nn")
        except Refused as error:
            self.errors.append(f"{label}: {error}")
        except (IndexError, KeyError, TypeError, ValueError) as error:
            self.errors.append(f"{label}: is called in a way that is not supported ({error})")

    def _value(self, node: Any) -> Any:
        value = self.values.get(node) if not isinstance(node, tuple | list) else None
        if isinstance(value, _Pair):
            raise Refused("takes the last state of a GRU or LSTM, or the pair that it returns; take its frames, out[0]")
        if value is None:
            raise Refused(f"takes {node}, which is no value of the network")
        return value

    def array(self, path: str, key: str, size: int) -> np.ndarray:
        """Return a parameter; zeros where a module has none (its bias)."""
        return self.state.get(f"{path}.{key}" if path else key, np.zeros(size))


class _Pair:
    """What a GRU or LSTM returns: (every frame, last state)."""

    def __init__(self, node: str) -> None:
        self.node = node


class _Size:
    """A size of an array, of which nothing is needed but that it is the batch's or all the rest."""


Modules = dict[str, Callable[[_Reader, str, Any, str, str], Any]]


def _linear(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
    weight = r.state[f"{path}.weight"]
    return r.add(Linear(name, (x,), weight, r.array(path, "bias", len(weight))))


def _conv(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
    weight = r.state[f"{path}.weight"]
    line = weight.ndim == 3
    if m.padding_mode != "zeros":
        raise Refused(f"pads with {m.padding_mode}; zeros are supported")
    dilation, stride = _pair(m.dilation), _pair(m.stride)
    if isinstance(m.padding, str):
        reach = [d * (k - 1) for d, k in zip(m.dilation, m.kernel_size, strict=True)]
        if m.padding == "same" and any(v % 2 for v in reach):
            raise Refused('padding "same" pads its sides unevenly; pad by numbers')
        padding = _pair([v // 2 for v in reach]) if m.padding == "same" else (0, 0)
    else:
        padding = _pair(m.padding)
    if line:
        weight, dilation, stride, padding = weight[:, :, None, :], (1, dilation[1]), (1, stride[1]), (0, padding[1])
    bias = r.array(path, "bias", len(weight))
    return r.add(Conv2d(name, (x,), weight, bias, stride, padding, dilation, int(m.groups)))


def _batch_norm(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
    if m.running_mean is None:
        raise Refused("keeps no statistics, so it depends on its batch; train it with track_running_stats")
    mean, variance = (r.state[f"{path}.{key}"] for key in ("running_mean", "running_var"))
    gamma = r.state.get(f"{path}.weight", np.ones_like(mean))
    scale = gamma / np.sqrt(variance + m.eps)
    return r.add(Scale(name, (x,), scale, r.array(path, "bias", mean.size) - mean * scale))


def _pool(
    r: _Reader, name: str, x: str, mode: str, kernel: Any, stride: Any = None, padding: Any = 0, counted: bool = True
) -> str:
    line = r.shapes[x][1:2] == (1,) and np.ndim(kernel) == 0 and len(r.shapes[x]) == 3
    sides, steps, pads = _pair(kernel), _pair(kernel if stride in (None, []) else stride), _pair(padding)
    if line:  # A line stands as an image of one row.
        sides, steps, pads = (1, sides[1]), (1, steps[1]), (0, pads[1])
    return r.add(Pool2d(name, (x,), mode, sides, steps, pads, counted))


def _module_pool(mode: str) -> Callable[..., str]:
    def read(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
        if m.ceil_mode or getattr(m, "divisor_override", None) or _pair(getattr(m, "dilation", 1)) != (1, 1):
            raise Refused("uses ceil_mode, a divisor or a dilation, which are not supported")
        return _pool(r, name, x, mode, m.kernel_size, m.stride, m.padding, getattr(m, "count_include_pad", True))

    return read


def _adaptive(mode: str) -> Callable[..., str]:
    def read(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
        if _pair(m.output_size) != (1, 1):
            raise Refused(f"pools to {m.output_size}; pooling to 1 is supported")
        whole = (r.shapes[x][1], r.shapes[x][2])
        return r.add(Pool2d(name, (x,), mode, whole, whole))

    return read


def _activation(function: str, ends: Callable[[Any], tuple[float, float]] = lambda m: (0.0, 0.0)) -> Callable[..., str]:
    def read(r: _Reader, name: str, m: Any, path: str, x: str) -> str:
        return r.add(Activation(name, (x,), function, *ends(m)))

    return read


def _recurrent(kind: type[Gru] | type[Lstm]) -> Callable[..., Any]:
    def read(r: _Reader, name: str, m: Any, path: str, x: str) -> Any:
        if m.bidirectional or getattr(m, "proj_size", 0):
            raise Refused("is bidirectional or projects; one direction is supported")
        rows = kind.gates * m.hidden_size
        for k in range(m.num_layers):
            w, u = (r.state[f"{path}.weight_{key}_l{k}"] for key in ("ih", "hh"))
            b, c = (r.array(path, f"bias_{key}_l{k}", rows) for key in ("ih", "hh"))
            x = r.add(kind(name if k == m.num_layers - 1 else f"{name}_layer{k}", (x,), w, u, b, c))
        return _Pair(x)

    return read


MODULES: Modules = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "AvgPool1d": _module_pool("average"),
    "AvgPool2d": _module_pool("average"),
    "MaxPool1d": _module_pool("max"),
    "MaxPool2d": _module_pool("max"),
    "AdaptiveAvgPool2d": _adaptive("average"),
    "AdaptiveMaxPool2d": _adaptive("max"),
    "ReLU": _activation("relu"),
    "ReLU6": _activation("clip", lambda m: (0.0, 6.0)),
    "Hardtanh": _activation("clip", lambda m: (float(m.min_val), float(m.max_val))),
    "LeakyReLU": _activation("leaky_relu", lambda m: (float(m.negative_slope), 0.0)),
    "Sigmoid": _activation("sigmoid"),
    "Tanh": _activation("tanh"),
    "Hardsigmoid": _activation("hard_sigmoid", lambda m: (1 / 6, 0.5)),
    "Identity": lambda r, name, m, path, x: x,
    "Dropout": lambda r, name, m, path, x: x,
    "Dropout1d": lambda r, name, m, path, x: x,
    "Dropout2d": lambda r, name, m, path, x: x,
    "Flatten": lambda r, name, m, path, x: _flatten(r, name, x, m.start_dim, m.end_dim),
    "GRU": _recurrent(Gru),
    "LSTM": _recurrent(Lstm),
}


def _flatten(r: _Reader, name: str, x: str, start: int, end: int) -> str:
    if start != 1 or end not in (-1, len(r.shapes[x])):
        raise Refused(f"flattens axes {start} to {end}; all but the batch can be flattened")
    return r.add(Flatten(name, (x,)))


def _view(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
    x = r._value(args[0])
    wanted = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
    batch, rest = wanted[0], [v for v in wanted[1:] if not isinstance(r.values.get(v), _Size)]
    own = isinstance(r.values.get(batch), _Size) if not isinstance(batch, int) else batch == -1
    if len(wanted) != 2 or not own or rest not in ([-1], [math.prod(r.shapes[x])]):
        raise Refused(f"reshapes to {wanted}; flattening all but the batch is supported")
    return r.add(Flatten(name, (x,)))


def _sum(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
    numbers = [v for v in args[:2] if isinstance(v, int | float)]
    if kwargs.get("alpha", 1) != 1:
        raise Refused("adds with a factor; multiply first")
    if numbers:
        source = next(v for v in args[:2] if not isinstance(v, int | float))
        return r.add(Scale(name, (r._value(source),), np.ones(1), np.full(1, float(numbers[0]))))
    return r.add(Add(name, (r._value(args[0]), r._value(args[1]))))


def _product(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
    numbers = [v for v in args[:2] if isinstance(v, int | float)]
    if len(numbers) != 1:
        raise Refused("multiplies two arrays, which is not supported")
    source = next(v for v in args[:2] if not isinstance(v, int | float))
    return r.add(Scale(name, (r._value(source),), np.full(1, float(numbers[0])), np.zeros(1)))


def _concat(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if axis != (2 if r.recurrent else 1) and not (r.recurrent and axis == -1):
        raise Refused(f"joins along axis {axis}; channels can be joined")
    return r.add(Concat(name, tuple(r._value(v) for v in args[0])))


def _item(r: _Reader, name: str, args: Any, kwargs: Any) -> Any:
    value, index = r.values.get(args[0]), args[1]
    if isinstance(value, _Size):
        return value
    if isinstance(value, _Pair):
        return value.node if index == 0 else value  # The last state may be taken apart, but not used.
    every = slice(None, None, None)
    if r.recurrent and isinstance(index, tuple) and index in ((every, -1), (every, -1, every), (-1, every), (-1,)):
        r.read_out = "last"
        return r._value(args[0])
    raise Refused(f"picks {index}; the last frame of a sequence, [:, -1], is supported")


def _plain(function: str) -> Callable[..., str]:
    def read(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
        return r.add(Activation(name, (r._value(args[0]),), function))

    return read


def _window(mode: str) -> Callable[..., str]:
    def read(r: _Reader, name: str, args: Any, kwargs: Any) -> str:
        given = dict(zip(("kernel_size", "stride", "padding"), args[1:], strict=False)) | kwargs
        known = {"kernel_size", "stride", "padding", "count_include_pad", "return_indices"}
        wrong = [k for k, v in given.items() if k not in known and v not in (False, None, 1)]
        if wrong or given.get("return_indices"):
            raise Refused(f"is given {', '.join(wrong) or 'return_indices'}, which is not supported")
        counted = bool(given.get("count_include_pad", True))
        x = r._value(args[0])
        return _pool(r, name, x, mode, given["kernel_size"], given.get("stride"), given.get("padding", 0), counted)

    return read


def _softmax(r: _Reader, name: str, args: Any, kwargs: Any) -> Any:
    raise Refused("a softmax is not supported; leave it out, it does not change which output is largest")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": _plain("relu"),
    "sigmoid": _plain("sigmoid"),
    "tanh": _plain("tanh"),
    "flatten": lambda r, name, args, kw: _flatten(
        r, name, r._value(args[0]),
        kw.get("start_dim", args[1] if len(args) > 1 else 0), kw.get("end_dim", args[2] if len(args) > 2 else -1),
    ),
    "view": _view,
    "reshape": _view,
    "size": lambda r, name, args, kw: _Size(),
    "getattr": lambda r, name, args, kw: _Size(),
    "contiguous": lambda r, name, args, kw: r._value(args[0]),
    "dropout": lambda r, name, args, kw: r._value(args[0]),
    "relu6": lambda r, name, args, kw: r.add(Activation(name, (r._value(args[0]),), "clip", 0.0, 6.0)),
    "hardtanh": lambda r, name, args, kw: r.add(
        Activation(name, (r._value(args[0]),), "clip", float(kw.get("min_val", -1.0)), float(kw.get("max_val", 1.0)))
    ),
    "leaky_relu": lambda r, name, args, kw: r.add(
        Activation(name, (r._value(args[0]),), "leaky_relu", float((*args, kw.get("negative_slope", 0.01))[1]))
    ),
    "add": _sum,
    "mul": _product,
    "cat": _concat,
    "concat": _concat,
    "getitem": _item,
    "max_pool2d": _window("max"),
    "avg_pool2d": _window("average"),
    "softmax": _softmax,
    "log_softmax": _softmax,
}  # fmt: skip
"""Functions and methods by name; ``add_`` and the like count as ``add``."""
FUNCTIONS[operator.iadd.__name__] = _sum
