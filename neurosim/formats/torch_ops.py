"""The layers and functions of PyTorch that dense graphs know, each as one function that adds nodes to the graph."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.formats.dense_nodes import Activation, Add, Concat, Conv2d, Flatten, Gru, Linear, Lstm, Pool2d, Scale
from neurosim.formats.onnx_ops import Refused

if TYPE_CHECKING:
    from neurosim.formats.torch_read import Reader


@dataclass(frozen=True)
class RecurrentState:
    """The state that a GRU or LSTM ends in, a row a layer, of which the last layer's is its answer to the last frame.

    Attributes
    ----------
    node
        What the last layer answers to every frame.
    layers
        How many rows.
    part
        ``pair`` of hidden and cell state (LSTM), ``hidden``, or ``cell``.
    """

    node: str
    layers: int
    part: str


@dataclass(frozen=True)
class RecurrentPair:
    """What a GRU or LSTM returns: (every frame, last state)."""

    node: str
    state: RecurrentState


class Size:
    """A size of an array, of which nothing is needed but that it is the batch's or all the rest."""


def _pair(value: Any) -> tuple[int, int]:
    flat = [int(v) for v in np.atleast_1d(np.asarray(value))]
    return flat[0], flat[-1]


def _linear(r: Reader, name: str, m: Any, path: str, x: str) -> str:
    weight = r.state[f"{path}.weight"]
    return r.add(Linear(name, (x,), weight, r.array(path, "bias", len(weight))))


def _conv(r: Reader, name: str, m: Any, path: str, x: str) -> str:
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


def _batch_norm(r: Reader, name: str, m: Any, path: str, x: str) -> str:
    if m.running_mean is None:
        raise Refused("keeps no statistics, so it depends on its batch; train it with track_running_stats")
    mean, variance = (r.state[f"{path}.{key}"] for key in ("running_mean", "running_var"))
    gamma = r.state.get(f"{path}.weight", np.ones_like(mean))
    scale = gamma / np.sqrt(variance + m.eps)
    return r.add(Scale(name, (x,), scale, r.array(path, "bias", mean.size) - mean * scale))


def _pool(
    r: Reader, name: str, x: str, mode: str, kernel: Any, stride: Any = None, padding: Any = 0, counted: bool = True,
    line: bool = False,
) -> str:  # fmt: skip
    sides, steps, pads = _pair(kernel), _pair(kernel if stride in (None, []) else stride), _pair(padding)
    if line:  # A line stands as an image of one row.
        sides, steps, pads = (1, sides[1]), (1, steps[1]), (0, pads[1])
    return r.add(Pool2d(name, (x,), mode, sides, steps, pads, counted))


def _module_pool(mode: str, line: bool = False) -> Callable[..., str]:
    def read(r: Reader, name: str, m: Any, path: str, x: str) -> str:
        if m.ceil_mode or getattr(m, "divisor_override", None) or _pair(getattr(m, "dilation", 1)) != (1, 1):
            raise Refused("uses ceil_mode, a divisor or a dilation, which are not supported")
        counted = getattr(m, "count_include_pad", True)
        return _pool(r, name, x, mode, m.kernel_size, m.stride, m.padding, counted, line)

    return read


def _adaptive(mode: str) -> Callable[..., str]:
    def read(r: Reader, name: str, m: Any, path: str, x: str) -> str:
        return _whole(r, name, x, mode, m.output_size)

    return read


def _whole(r: Reader, name: str, x: str, mode: str, size: Any) -> str:
    if len(r.shapes[x]) != 3 or size not in (1, (1, 1), [1, 1]):
        raise Refused(f"pools {list(r.shapes[x])} to {size}; pooling all rows and columns to 1 is supported")
    whole = (r.shapes[x][1], r.shapes[x][2])
    return r.add(Pool2d(name, (x,), mode, whole, whole))


def _activation(function: str, ends: Callable[[Any], tuple[float, float]] = lambda m: (0.0, 0.0)) -> Callable[..., str]:
    def read(r: Reader, name: str, m: Any, path: str, x: str) -> str:
        return r.add(Activation(name, (x,), function, *ends(m)))

    return read


def _recurrent(kind: type[Gru] | type[Lstm]) -> Callable[..., Any]:
    def read(r: Reader, name: str, m: Any, path: str, x: str) -> Any:
        if m.bidirectional or getattr(m, "proj_size", 0):
            raise Refused("is bidirectional or projects; one direction is supported")
        rows = kind.gates * m.hidden_size
        for k in range(m.num_layers):
            w, u = (r.state[f"{path}.weight_{key}_l{k}"] for key in ("ih", "hh"))
            b, c = (r.array(path, f"bias_{key}_l{k}", rows) for key in ("ih", "hh"))
            x = r.add(kind(name if k == m.num_layers - 1 else f"{name}_layer{k}", (x,), w, u, b, c))
        return RecurrentPair(x, RecurrentState(x, int(m.num_layers), "pair" if kind is Lstm else "hidden"))

    return read


MODULES: dict[str, Callable[..., Any]] = {
    "Linear": _linear,
    "Conv1d": _conv,
    "Conv2d": _conv,
    "BatchNorm1d": _batch_norm,
    "BatchNorm2d": _batch_norm,
    "AvgPool1d": _module_pool("average", True),
    "AvgPool2d": _module_pool("average"),
    "MaxPool1d": _module_pool("max", True),
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
    "Softmax": lambda *_: _softmax(*_),
    "LogSoftmax": lambda *_: _softmax(*_),
    "GRU": _recurrent(Gru),
    "LSTM": _recurrent(Lstm),
}
"""Per class of module: reader, name of the result, the module, its path, the node that it takes."""


def _flatten(r: Reader, name: str, x: str, start: int, end: int) -> str:
    if start != 1 or end not in (-1, len(r.shapes[x])):
        raise Refused(f"flattens axes {start} to {end}; all but the batch can be flattened")
    return r.add(Flatten(name, (x,)))


def _view(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    x = r.value(args[0])
    wanted = args[1] if len(args) == 2 and isinstance(args[1], tuple | list) else args[1:]
    batch, rest = wanted[0], [v for v in wanted[1:] if not isinstance(r.values.get(v), Size)]
    own = isinstance(r.values.get(batch), Size) if not isinstance(batch, int) else batch == -1
    if len(wanted) != 2 or not own or rest not in ([-1], [math.prod(r.shapes[x])]):
        raise Refused(f"reshapes to {wanted}; flattening all but the batch is supported")
    return r.add(Flatten(name, (x,)))


def _sum(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    if kwargs.get("alpha", 1) != 1:
        raise Refused("adds with a factor; multiply first")
    number, source, _ = _number_and_array(args)
    if number is None:
        return r.add(Add(name, (r.value(args[0]), r.value(args[1]))))
    return r.add(Scale(name, (r.value(source),), np.ones(1), np.full(1, number)))


def _difference(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    number, source, first = _number_and_array(args)
    if number is None or kwargs.get("alpha", 1) != 1:
        raise Refused("subtracts one array from another, or with a factor, which is not supported")
    sign = -1.0 if first else 1.0
    return r.add(Scale(name, (r.value(source),), np.full(1, sign), np.full(1, -sign * number)))


def _product(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    number, source, _ = _number_and_array(args)
    if number is None:
        raise Refused("multiplies two arrays, which is not supported")
    return r.add(Scale(name, (r.value(source),), np.full(1, number), np.zeros(1)))


def _quotient(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    number, source, first = _number_and_array(args)
    if number is None or first or kwargs.get("rounding_mode"):
        raise Refused("divides by an array, or rounds, which is not supported")
    return r.add(Scale(name, (r.value(source),), np.full(1, 1.0 / number), np.zeros(1)))


def _number_and_array(args: Any) -> tuple[float | None, Any, bool]:
    """Return the number of two operands, the array, and whether the number comes first; None where both are arrays."""
    for place in (0, 1):
        if isinstance(args[place], int | float):
            return float(args[place]), args[1 - place], place == 0
    return None, args[0], False


def _mean(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    x = r.value(args[0])
    shape = r.shapes[x]
    axes = kwargs.get("dim", args[1] if len(args) > 1 else None)
    places = sorted(int(v) % 4 for v in np.atleast_1d(np.asarray(axes if axes is not None else [])))
    if r.recurrent or len(shape) != 3 or places != [2, 3]:
        raise Refused(f"averages over axes {axes}; rows and columns, (2, 3), are supported")
    if kwargs.get("keepdim", args[2] if len(args) > 2 else False):
        return r.add(Pool2d(name, (x,), "average", shape[1:], shape[1:]))
    return r.add(Flatten(name, (r.add(Pool2d(f"{name}_image", (x,), "average", shape[1:], shape[1:])),)))


def _ends(r: Reader, name: str, args: Any, kwargs: Any, *ends: tuple[str, float]) -> str:
    """Read a function that limits to two ends, each of a name and a default."""
    given = dict(zip((key for key, _ in ends), args[1:], strict=False)) | kwargs
    found = [default if given.get(key) is None else given[key] for key, default in ends]
    if any(not isinstance(end, int | float) for end in found):
        raise Refused("is limited to arrays; numbers are supported")
    return r.add(Activation(name, (r.value(args[0]),), "clip", *map(float, found)))


def _clamp(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    return _ends(r, name, args, kwargs, ("min", -math.inf), ("max", math.inf))


def _adaptive_function(mode: str) -> Callable[..., str]:
    def read(r: Reader, name: str, args: Any, kwargs: Any) -> str:
        return _whole(r, name, r.value(args[0]), mode, kwargs.get("output_size", args[1] if len(args) > 1 else None))

    return read


def _concat(r: Reader, name: str, args: Any, kwargs: Any) -> str:
    axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if axis != (2 if r.recurrent else 1) and not (r.recurrent and axis == -1):
        raise Refused(f"joins along axis {axis}; channels can be joined")
    return r.add(Concat(name, tuple(r.value(v) for v in args[0])))


EVERY = slice(None, None, None)


def _item(r: Reader, name: str, args: Any, kwargs: Any) -> Any:
    value, index = r.values.get(args[0]), args[1]
    if isinstance(value, Size):
        return value
    if isinstance(value, RecurrentPair):
        return value.node if index == 0 else value.state
    if isinstance(value, RecurrentState):
        return _state_item(r, name, value, index)
    places = index if isinstance(index, tuple) else (index,)
    last = ((EVERY, -1), (EVERY, -1, EVERY)) if r.batch_first else ((-1,), (-1, EVERY), (-1, EVERY, EVERY))
    if r.recurrent and places in last:
        if _follows(args[0], r.picks):
            raise Refused(f"picks {index} of what is the last frame already; leave it out")
        r.read_out = "last"
        r.picks.add(name)
        return r.value(args[0])
    wanted = "[:, -1]" if r.batch_first else "[-1]"
    raise Refused(f"picks {index}; the last frame of a sequence, {wanted}, is supported")


def _state_item(r: Reader, name: str, state: RecurrentState, index: Any) -> Any:
    if state.part == "pair":
        return replace(state, part="hidden" if index == 0 else "cell")
    places = index if isinstance(index, tuple) else (index,)
    if state.part == "cell":
        raise Refused(
            "takes the cell state of an LSTM, which is not supported; take its frames, out[0], or hidden state"
        )
    if places[0] not in (-1, state.layers - 1) or any(place != EVERY for place in places[1:]):
        raise Refused(f"picks {index} of the last states; that of the last layer, [-1], is supported")
    r.read_out = "last"
    r.picks.add(name)
    return state.node


def _follows(node: Any, names: set[str]) -> bool:
    """Return whether a node of a traced graph is made of one of these, or is one."""
    open_nodes, seen = [node], set()
    while open_nodes:
        one = open_nodes.pop()
        if one.name in names:
            return True
        if one not in seen:
            seen.add(one)
            open_nodes += one.all_input_nodes
    return False


def _squeeze(r: Reader, name: str, args: Any, kwargs: Any) -> Any:
    state, axis = r.values.get(args[0]), kwargs.get("dim", args[1] if len(args) > 1 else None)
    if not isinstance(state, RecurrentState) or axis != 0 or state.layers != 1:
        raise Refused("leaves axes out; that is supported for the last state of one layer, squeeze(0)")
    return _state_item(r, name, state, -1)


def _plain(function: str) -> Callable[..., str]:
    def read(r: Reader, name: str, args: Any, kwargs: Any) -> str:
        return r.add(Activation(name, (r.value(args[0]),), function))

    return read


def _window(mode: str) -> Callable[..., str]:
    def read(r: Reader, name: str, args: Any, kwargs: Any) -> str:
        rest = ("dilation", "ceil_mode", "return_indices")
        if mode == "average":
            rest = ("ceil_mode", "count_include_pad", "divisor_override")
        given = dict(zip(("kernel_size", "stride", "padding", *rest), args[1:], strict=False)) | kwargs
        wrong = [k for k in ("ceil_mode", "return_indices") if given.get(k)]
        wrong += ["divisor_override"] * (given.get("divisor_override") is not None)
        wrong += ["dilation"] * (_pair(given.get("dilation", 1)) != (1, 1))
        if wrong:
            raise Refused(f"is given {', '.join(wrong)}, which is not supported")
        counted = bool(given.get("count_include_pad", True))
        x = r.value(args[0])
        return _pool(r, name, x, mode, given["kernel_size"], given.get("stride"), given.get("padding", 0), counted)

    return read


def _softmax(r: Reader, name: str, *args: Any) -> Any:
    raise Refused("a softmax is not supported; leave it out, it does not change which output is largest")


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": _plain("relu"),
    "sigmoid": _plain("sigmoid"),
    "tanh": _plain("tanh"),
    "flatten": lambda r, name, args, kw: _flatten(
        r, name, r.value(args[0]),
        kw.get("start_dim", args[1] if len(args) > 1 else 0), kw.get("end_dim", args[2] if len(args) > 2 else -1),
    ),
    "view": _view,
    "reshape": _view,
    "size": lambda r, name, args, kw: Size(),
    "getattr": lambda r, name, args, kw: Size(),
    "contiguous": lambda r, name, args, kw: r.value(args[0]),
    "dropout": lambda r, name, args, kw: r.value(args[0]),
    "relu6": lambda r, name, args, kw: r.add(Activation(name, (r.value(args[0]),), "clip", 0.0, 6.0)),
    "hardtanh": lambda r, name, args, kw: _ends(r, name, args, kw, ("min_val", -1.0), ("max_val", 1.0)),
    "leaky_relu": lambda r, name, args, kw: r.add(
        Activation(name, (r.value(args[0]),), "leaky_relu", float((*args, kw.get("negative_slope", 0.01))[1]))
    ),
    "add": _sum,
    "sub": _difference,
    "mul": _product,
    "div": _quotient,
    "truediv": _quotient,
    "mean": _mean,
    "clamp": _clamp,
    "clip": _clamp,
    "squeeze": _squeeze,
    "cat": _concat,
    "concat": _concat,
    "getitem": _item,
    "max_pool2d": _window("max"),
    "avg_pool2d": _window("average"),
    "adaptive_avg_pool2d": _adaptive_function("average"),
    "adaptive_max_pool2d": _adaptive_function("max"),
    "softmax": _softmax,
    "log_softmax": _softmax,
}  # fmt: skip
"""Functions and methods by name; ``add_`` and the like count as ``add``."""
FUNCTIONS |= {operator.iadd.__name__: _sum, operator.isub.__name__: _difference, operator.imul.__name__: _product}
FUNCTIONS[operator.itruediv.__name__] = _quotient
