"""The ONNX operators that dense graphs know, each as one function that adds nodes to the graph being read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.formats.dense_nodes import (
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    FloatArray,
    Gru,
    Linear,
    Lstm,
    Pool2d,
    Scale,
)

if TYPE_CHECKING:
    from neurosim.formats.onnx_read import OnnxGraph

Attributes = dict[str, Any]
OPERATORS: dict[str, Callable[..., None]] = {"Constant": lambda *_: None}
"""Per operator, what reads it: graph, name of its result, inputs, outputs, attributes."""


class Refused(Exception):
    """An operator that cannot be read, with the reason."""


def operator(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function under the names of operators."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return register


def _given(graph: OnnxGraph, inputs: list[str], place: int) -> FloatArray | None:
    """Return the constant that is an input, in float64; None where there is no such input."""
    if place >= len(inputs) or not inputs[place]:
        return None
    if inputs[place] not in graph.constants:
        raise Refused(f'its input "{inputs[place]}" must be a constant')
    return np.asarray(graph.constants[inputs[place]], dtype=np.float64)


def _needed(graph: OnnxGraph, inputs: list[str], place: int) -> FloatArray:
    found = _given(graph, inputs, place)
    if found is None:
        raise Refused(f"lacks its input {place}")
    return found


def _result(graph: OnnxGraph, output: str, node: str) -> None:
    graph.alias[output] = node


def _put(graph: OnnxGraph, node: Any) -> None:
    graph.add(node)
    graph.alias[node.name] = node.name


@operator("Gemm")
def _gemm(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if a.get("transA", 0):
        raise Refused("transposes its input, which would mix samples")
    weight = _needed(graph, inputs, 1) * a.get("alpha", 1.0)
    weight = weight if a.get("transB", 0) else weight.T
    bias = _given(graph, inputs, 2)
    full = np.zeros(len(weight)) if bias is None else np.broadcast_to(bias.ravel() * a.get("beta", 1.0), (len(weight),))
    _put(graph, Linear(name, (graph.value(inputs[0]),), weight, full))


@operator("MatMul")
def _matmul(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    weight = _needed(graph, inputs, 1)
    if weight.ndim != 2:
        raise Refused(f"multiplies by an array of shape {list(weight.shape)}; a matrix is supported")
    _put(graph, Linear(name, (graph.value(inputs[0]),), weight.T, np.zeros(weight.shape[1])))


def _window(a: Attributes, sides: tuple[int, ...], places: int) -> dict[str, tuple[int, int]]:
    """Return stride, padding and dilation of a window over one or two axes, as (rows, columns)."""
    stride = list(a.get("strides", [1] * places))
    dilation = list(a.get("dilations", [1] * places))
    pads = list(a.get("pads", [0] * 2 * places))
    automatic = a.get("auto_pad", "NOTSET")
    if automatic in ("SAME_UPPER", "SAME_LOWER"):
        reach = [d * (k - 1) for d, k in zip(dilation, sides, strict=True)]
        if any(s != 1 for s in stride) or any(r % 2 for r in reach):
            raise Refused(f"auto_pad {automatic} pads its sides unevenly; export with pads")
        pads = [r // 2 for r in reach] * 2
    elif automatic not in ("NOTSET", "VALID"):
        raise Refused(f"auto_pad {automatic} is not known")
    if pads[:places] != pads[places:]:
        raise Refused(f"pads {pads} differ from side to side; pad both sides alike")
    if a.get("ceil_mode", 0):
        raise Refused("ceil_mode rounds the output's extent up; export without it")
    found = {"stride": stride, "padding": pads[:places], "dilation": dilation}
    lead = {"stride": 1, "padding": 0, "dilation": 1}
    return {k: (int(v[0]), int(v[1])) if places == 2 else (lead[k], int(v[0])) for k, v in found.items()}


@operator("Conv")
def _conv(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    weight = _needed(graph, inputs, 1)
    places = weight.ndim - 2
    if places not in (1, 2):
        raise Refused(f"has kernels of {places} axes; 1 and 2 are supported")
    window = _window(a, weight.shape[2:], places)
    weight = weight[:, :, None, :] if places == 1 else weight
    bias = _given(graph, inputs, 2)
    full = np.zeros(len(weight)) if bias is None else bias.ravel()
    _put(graph, Conv2d(name, (graph.value(inputs[0]),), weight, full, **window, groups=int(a.get("group", 1))))


def _pool(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes, mode: str) -> None:
    if len(outputs) > 1 and outputs[1]:
        raise Refused("gives the places of its maxima, which is not supported")
    sides = tuple(int(v) for v in a["kernel_shape"])
    if len(sides) not in (1, 2):
        raise Refused(f"pools over {len(sides)} axes; 1 and 2 are supported")
    window = _window(a, sides, len(sides))
    if window.pop("dilation") != (1, 1):
        raise Refused("is dilated, which is not supported")
    counted = bool(a.get("count_include_pad", 0))
    kernel = (sides[0], sides[1]) if len(sides) == 2 else (1, sides[0])
    _put(graph, Pool2d(name, (graph.value(inputs[0]),), mode, kernel, **window, count_padding=counted))


@operator("MaxPool")
def _max_pool(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _pool(graph, name, inputs, outputs, a, "max")


@operator("AveragePool")
def _average_pool(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _pool(graph, name, inputs, outputs, a, "average")


def _global(graph: OnnxGraph, name: str, source: str, mode: str) -> None:
    shape = graph.shapes[source]
    if len(shape) != 3:
        raise Refused(f"pools over rows and columns, and is given {list(shape)}")
    kernel = (shape[1], shape[2])
    _put(graph, Pool2d(name, (source,), mode, kernel, kernel))


@operator("GlobalAveragePool")
def _global_average(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _global(graph, name, graph.value(inputs[0]), "average")


@operator("GlobalMaxPool")
def _global_max(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _global(graph, name, graph.value(inputs[0]), "max")


@operator("ReduceMean")
def _mean(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    axes = a.get("axes")
    if axes is None:
        axes = _needed(graph, inputs, 1).astype(int).ravel().tolist()
    if sorted(v % 4 for v in axes) != [2, 3]:
        raise Refused(f"averages over axes {axes}; rows and columns, 2 and 3, are supported")
    if a.get("keepdims", 1):
        _global(graph, name, graph.value(inputs[0]), "average")
    else:
        _global(graph, f"{name}/mean", graph.value(inputs[0]), "average")
        _put(graph, Flatten(name, (f"{name}/mean",)))


@operator("BatchNormalization")
def _batch_norm(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if a.get("training_mode", 0):
        raise Refused("is in training mode; export the network in evaluation mode")
    gamma, beta, mean, variance = (_needed(graph, inputs, i).ravel() for i in (1, 2, 3, 4))
    scale = gamma / np.sqrt(variance + a.get("epsilon", 1e-5))
    _put(graph, Scale(name, (graph.value(inputs[0]),), scale, beta - mean * scale))


def _activation(function: str, low: float = 0.0, high: float = 0.0) -> Callable[..., None]:
    def read(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
        _put(graph, Activation(name, (graph.value(inputs[0]),), function, low, high))

    return read


OPERATORS |= {"Relu": _activation("relu"), "Sigmoid": _activation("sigmoid"), "Tanh": _activation("tanh")}


@operator("LeakyRelu")
def _leaky(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _put(graph, Activation(name, (graph.value(inputs[0]),), "leaky_relu", float(a.get("alpha", 0.01))))


@operator("HardSigmoid")
def _hard_sigmoid(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    low, high = float(a.get("alpha", 0.2)), float(a.get("beta", 0.5))
    _put(graph, Activation(name, (graph.value(inputs[0]),), "hard_sigmoid", low, high))


@operator("Clip")
def _clip(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    ends = []
    for place, key, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        given = _given(graph, inputs, place)
        ends.append(float(a.get(key, default)) if given is None else float(given.ravel()[0]))
    if ends[0] > ends[1]:
        raise Refused(f"clips to {ends[0]}..{ends[1]}")
    _put(graph, Activation(name, (graph.value(inputs[0]),), "clip", *ends))


@operator("Identity", "Dropout")
def _nothing(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if inputs[0] in graph.constants:
        graph.constants[outputs[0]] = graph.constants[inputs[0]]
    else:
        _result(graph, outputs[0], graph.value(inputs[0]))


@operator("Softmax", "LogSoftmax")
def _softmax(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _result(graph, outputs[0], graph.value(inputs[0]))
    graph.unread[outputs[0]] = "a softmax is supported at the end alone"
    graph.ends[outputs[0]] = f"{name}: a softmax at the end is left out; it does not change which output is largest"


@operator("Flatten")
def _flatten(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if a.get("axis", 1) != 1:
        raise Refused(f"keeps {a['axis']} axes; all but the batch can be flattened")
    _put(graph, Flatten(name, (graph.value(inputs[0]),)))


@operator("Reshape")
def _reshape(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    wanted = _needed(graph, inputs, 1).astype(np.int64).ravel().tolist()
    source = graph.value(inputs[0])
    shape = graph.shapes[source]
    if graph.sequences:
        if wanted[-1] not in (-1, shape[-1]):
            raise Refused(f"reshapes to {wanted} what has {shape[-1]} features; features must stay")
        _result(graph, outputs[0], source)
        graph.ranks[outputs[0]] = len(wanted)
    elif len(wanted) == 2 and wanted[0] in (-1, 0, *graph.leading) and wanted[1] in (-1, math.prod(shape)):
        _put(graph, Flatten(name, (source,)))
    else:
        raise Refused(f"reshapes to {wanted}; flattening all but the batch is supported")


def _rearrange(graph: OnnxGraph, inputs: list[str], outputs: list[str], a: Attributes, more: int) -> None:
    """Read what moves axes; `more` is 1 where it adds those that it names, -1 where it takes them away."""
    permutation = a.get("perm")
    if not graph.sequences or (permutation is not None and permutation[-1] != len(permutation) - 1):
        raise Refused("moves axes; that is supported around a GRU or LSTM alone, with the features last")
    if inputs[0] in graph.constants:
        raise Refused("moves the axes of a constant; fold constants when exporting")
    _result(graph, outputs[0], graph.value(inputs[0]))
    axes = a.get("axes") or (_given(graph, inputs, 1) if more else None)
    count = 1 if axes is None else int(np.size(axes))
    rank = graph.ranks.get(inputs[0], 3) + more * count
    graph.ranks[outputs[0]] = rank
    time = graph.times.get(inputs[0])
    if time is None:
        return
    if permutation is not None:
        graph.times[outputs[0]] = list(permutation).index(time)
    elif axes is not None:  # Axes are named in the larger of the two shapes.
        named = {int(v) % max(rank, rank - more * count) for v in np.ravel(np.asarray(axes))}
        kept = [axis for axis in range(max(rank, rank - more * count)) if axis not in named]
        if more > 0:
            graph.times[outputs[0]] = kept[time]
        elif time in kept:
            graph.times[outputs[0]] = kept.index(time)


@operator("Transpose")
def _transpose(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _rearrange(graph, inputs, outputs, a, 0)


@operator("Squeeze")
def _squeeze(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _rearrange(graph, inputs, outputs, a, -1)


@operator("Unsqueeze")
def _unsqueeze(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    _rearrange(graph, inputs, outputs, a, 1)


@operator("Gather")
def _last(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    index = _needed(graph, inputs, 1)
    axis, time = a.get("axis", 0), graph.times.get(inputs[0])
    if inputs[0] in graph.stacks:
        _pick(graph, inputs[0], outputs[0], axis, index.ravel().astype(int).tolist())
        graph.ranks[outputs[0]] = 3 - (index.ndim == 0)
        return
    if not graph.sequences or index.size != 1 or int(index.ravel()[0]) != -1 or axis not in (0, 1):
        raise Refused("picks values; the last frame of a sequence, index -1, is supported")
    if time is not None and axis != time:
        raise Refused(f"picks the last of axis {axis}, where time is axis {time}; the last frame is supported")
    rank = graph.ranks.get(inputs[0], 3)
    if rank < 3:
        raise Refused(f"picks the last of axis {axis} of values without an axis of time; pick the last frame once")
    _result(graph, outputs[0], graph.value(inputs[0]))
    graph.ranks[outputs[0]] = rank - (index.ndim == 0)
    graph.read_out = "last"


def _pick(graph: OnnxGraph, stack: str, output: str, axis: int, layers: list[int]) -> None:
    """Read what picks layers of stacked last states."""
    states = graph.stacks[stack]
    if axis != 0 or layers not in ([-1], [len(states) - 1]):
        raise Refused(f"picks {layers} of axis {axis} of the last states; that of the last layer, h[-1], is supported")
    _result(graph, output, graph.value(states[-1]))


@operator("Slice")
def _slice(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if inputs[0] not in graph.stacks:
        raise Refused("cuts values out; that is supported for the last states of a GRU or LSTM, h[-1:]")
    given = [graph.constants[v].ravel().tolist() if v in graph.constants else None for v in inputs[1:]]
    given += [None] * (4 - len(given))
    starts, stops, axes, steps = (
        a.get(key, [default]) if values is None else values
        for values, key, default in zip(given, ("starts", "ends", "axes", "steps"), (0, 0, 0, 1), strict=True)
    )
    if max(len(starts), len(stops), len(axes), len(steps)) > 1:
        raise Refused("cuts along several axes; the last states of a GRU or LSTM can be cut by layer, h[-1:]")
    count = len(graph.stacks[inputs[0]])
    _pick(graph, inputs[0], outputs[0], axes[0], list(range(count))[starts[0] : stops[0] : steps[0]])
    graph.ranks[outputs[0]] = 3


def _with_constant(
    graph: OnnxGraph, name: str, inputs: list[str], combine: Callable[[FloatArray], tuple[Any, Any]]
) -> bool:
    """Add a `Scale` where one of two inputs is a constant; return whether it was so."""
    places = [i for i in (0, 1) if inputs[i] in graph.constants]
    if not places:
        return False
    source = graph.value(inputs[1 - places[0]])
    values = _needed(graph, inputs, places[0])
    shape = graph.shapes[source]
    kept = values.reshape(values.shape[1:]) if values.ndim == len(shape) + 1 and values.shape[0] == 1 else values
    fits = kept.size == 1 or (
        kept.shape == (shape[0], *[1] * (len(shape) - 1)) if len(shape) > 1 else kept.shape == shape
    )
    if not fits:
        raise Refused(f"combines {list(shape)} with a constant of {list(values.shape)}; one a channel is supported")
    scale, shift = (np.atleast_1d(np.asarray(v, dtype=np.float64)) for v in combine(kept.ravel()))
    before = graph.nodes[-1] if graph.nodes else None
    alone = graph.uses[inputs[1 - places[0]]] == 1
    if alone and isinstance(before, Linear) and before.name == source and scale.size == 1 and scale[0] == 1.0:
        # A matrix product and the addition of its bias are one layer.
        graph.nodes[-1] = Linear(name, before.inputs, before.weight, before.bias + shift)
        graph.shapes[name] = graph.shapes.pop(source)
        graph.alias = {k: name if v == source else v for k, v in graph.alias.items()}
        graph.alias[name] = name
    else:
        _put(graph, Scale(name, (source,), scale, shift))
    return True


@operator("Add")
def _add(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if not _with_constant(graph, name, inputs, lambda c: (1.0, c)):
        _put(graph, Add(name, tuple(graph.value(v) for v in inputs)))


@operator("Sub")
def _subtract(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    first = inputs[0] in graph.constants
    if not _with_constant(graph, name, inputs, lambda c: (-1.0, c) if first else (1.0, -c)):
        raise Refused("subtracts one array from another, which is not supported")


@operator("Mul")
def _multiply(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if not _with_constant(graph, name, inputs, lambda c: (c, 0.0)):
        raise Refused("multiplies two arrays, which is not supported")


@operator("Div")
def _divide(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if inputs[0] in graph.constants or not _with_constant(graph, name, inputs, lambda c: (1.0 / c, 0.0)):
        raise Refused("divides by an array, which is not supported")


@operator("Concat")
def _concat(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if a.get("axis") == 0 and len(inputs) > 1 and all(v in graph.last_values for v in inputs):
        graph.stacks[outputs[0]] = inputs
        graph.alias[outputs[0]] = graph.alias[inputs[-1]]
        graph.unread[outputs[0]] = "it holds the last states of all layers; take the last layer's, h[-1]"
        return
    if a.get("axis", 1) != (2 if graph.sequences else 1) and not (graph.sequences and a.get("axis") == -1):
        raise Refused(f"joins along axis {a.get('axis')}; channels can be joined")
    _put(graph, Concat(name, tuple(graph.value(v) for v in inputs)))


def _recurrent(
    graph: OnnxGraph, inputs: list[str], a: Attributes, gates: int, order: tuple[int, ...]
) -> list[FloatArray]:
    """Return the input and hidden weights and biases with their gates in PyTorch's order."""
    if a.get("direction", "forward") != "forward":
        raise Refused(f"runs {a['direction']}; forward is supported")
    if a.get("activations") not in (None, ["Sigmoid", "Tanh"], ["Sigmoid", "Tanh", "Tanh"]) or "clip" in a:
        raise Refused("has functions of its own, or a clip; sigmoid and tanh are supported")
    if a.get("layout", 0) not in (0, 1):
        raise Refused("has an unknown layout")
    for place in (4, 5, 6, 7):
        values = _given(graph, inputs, place)
        if values is not None and (place == 4 or values.any()):
            raise Refused("has lengths, initial states or peepholes; all must be absent or 0")
    weight, again = _needed(graph, inputs, 1)[0], _needed(graph, inputs, 2)[0]
    hidden = again.shape[1]
    bias = _given(graph, inputs, 3)
    both = np.zeros(2 * gates * hidden) if bias is None else bias[0]
    arrays = [weight, again, both[: gates * hidden], both[gates * hidden :]]
    return [np.concatenate([array[g * hidden : (g + 1) * hidden] for g in order]) for array in arrays]


def _recurrent_outputs(graph: OnnxGraph, name: str, outputs: list[str], layout: int) -> None:
    graph.alias[name] = name
    for place, output in enumerate(outputs):
        if not output:
            continue
        graph.alias[output] = name
        graph.ranks[output] = 3 if place else 4
        if place:
            graph.last_values.add(output)
        else:
            graph.times[output] = layout


@operator("GRU")
def _gru(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    arrays = _recurrent(graph, inputs, a, 3, (1, 0, 2))
    before = not a.get("linear_before_reset", 0)
    w, u, b, c = arrays
    graph.add(Gru(name, (graph.value(inputs[0]),), w, u, b, c, before))
    _recurrent_outputs(graph, name, outputs, int(a.get("layout", 0)))


@operator("LSTM")
def _lstm(graph: OnnxGraph, name: str, inputs: list[str], outputs: list[str], a: Attributes) -> None:
    if len(outputs) > 2 and outputs[2]:
        graph.unread[outputs[2]] = "the cell state of an LSTM is not supported"
    arrays = _recurrent(graph, inputs, a, 4, (0, 2, 3, 1))
    graph.add(Lstm(name, (graph.value(inputs[0]),), *arrays))
    _recurrent_outputs(graph, name, outputs, int(a.get("layout", 0)))
