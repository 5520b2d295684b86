"""Shapes of the nodes of a NIR graph: those given, and those that follow where files lack them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from neurosim.errors import ModelError
from neurosim.formats.dense_nodes import Conv2d, Shape, window_extents
from neurosim.formats.linear_maps import Convolution, LinearMap, Matrix, Scaling, identity
from neurosim.formats.nir_file import NirGraph

NEURONS = ("CubaLI", "CubaLIF", "I", "IF", "LI", "LIF", "Threshold")
MAX_EXTENT = 1 << 31


def kind_of(node: Any) -> str:
    """Return the name of a node's type."""
    return type(node).__name__


def _pair(value: Any, place: str, key: str) -> tuple[int, int]:
    flat = np.asarray(value).ravel()
    if flat.size not in (1, 2) or flat.dtype.kind not in "iuf" or (flat != np.rint(flat)).any():
        raise ModelError(f"{place}: {key} is {value!r}; give one integer or a pair")
    if np.abs(flat).max() > MAX_EXTENT:
        raise ModelError(f"{place}: {key} is {value!r}; the limit is {MAX_EXTENT}")
    return int(flat[0]), int(flat[-1])


def _bias(node: Any, out: int, place: str) -> np.ndarray:
    bias = np.asarray(node.bias, dtype=np.float64).ravel()
    if bias.size not in (1, out):
        raise ModelError(f"{place}: bias has {bias.size} values for {out} outputs; correct one of them")
    return np.broadcast_to(bias, (out,))


def _padding(value: Any, kernel: Shape, dilation: tuple[int, int], stride: tuple[int, int], place: str) -> Any:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, str):
        return _pair(value, place, "padding")
    if value == "valid":
        return (0, 0)
    reach = [dilation[a] * (kernel[a] - 1) for a in (0, 1)]
    if stride != (1, 1) or reach[0] % 2 or reach[1] % 2:
        raise ModelError(
            f'{place}: padding "same" with stride {list(stride)} and kernel {list(kernel)} is not symmetric; '
            "pad by numbers"
        )
    return (reach[0] // 2, reach[1] // 2)


def convolution(name: str, node: Any, shape: Shape | None) -> tuple[Convolution, np.ndarray]:
    """Return the map of a Conv1d, Conv2d or pooling node and its bias per channel; a line is an image of one row.

    Parameters
    ----------
    name, node
        The node.
    shape
        What it is given; None where only the node itself may say so.

    Raises
    ------
    ModelError
        It does not fit, or the shape is not known.
    """
    kind = kind_of(node)
    place = f"node {name} ({kind})"
    line = kind == "Conv1d"
    if kind in ("SumPool2d", "AvgPool2d"):
        if shape is None:
            raise ModelError(f"{place}: nothing says the shape of its input")
        image = as_image(shape, place)
        kernel, stride = _pair(node.kernel_size, place, "kernel_size"), _pair(node.stride, place, "stride")
        padding, dilation, groups = _pair(node.padding, place, "padding"), (1, 1), image[0]
        if min(kernel) < 1 or math.prod(kernel) * image[0] > MAX_EXTENT:
            raise ModelError(f"{place}: kernel_size is {list(kernel)}; give 1 or more")
        value = 1.0 if kind == "SumPool2d" else 1.0 / math.prod(kernel)
        window_extents(image, kernel, stride, padding, dilation)
        weight = np.full((image[0], 1, *kernel), value)
        bias = np.zeros(image[0])
    else:
        weight = np.asarray(node.weight, dtype=np.float64)
        if weight.ndim != (3 if line else 4) or 0 in weight.shape:
            raise ModelError(f"{place}: weight has shape {list(weight.shape)}; give (out, in, kernel)")
        weight = weight[:, :, None, :] if line else weight
        groups = int(np.asarray(node.groups).ravel()[0])
        stride, dilation = (_pair(getattr(node, key), place, key) for key in ("stride", "dilation"))
        padding = _padding(node.padding, weight.shape[2:], dilation, stride, place)
        if line:
            stride, dilation, padding = (1, stride[1]), (1, dilation[1]), (0, padding[1])
        if shape is None and node.input_shape is not None:
            extents = np.asarray(node.input_shape).ravel().astype(int).tolist()
            shape = (weight.shape[1] * groups, *extents)
        if shape is None:
            raise ModelError(f"{place}: nothing says the shape of its input; export it with input_shape")
        image = as_image(shape, place)
        bias = _bias(node, weight.shape[0], place)
    inner = Conv2d(name, ("x",), weight, bias * 0, stride, padding, dilation, groups)
    try:
        inner.out_shape(image)
    except ModelError as error:
        raise ModelError(f"{place}: {error}") from error
    return Convolution(image, inner), bias


def as_image(shape: Shape, place: str) -> Shape:
    """Return (C, H, W) for a shape (C, H, W), for (C, L), a line, and for either behind axes of 1."""
    kept = shape
    while len(kept) > 3 and kept[0] == 1:
        kept = kept[1:]
    if len(kept) == 2:
        return (kept[0], 1, kept[1])
    if len(kept) != 3:
        raise ModelError(f"{place}: is given shape {list(shape)}; it takes channels, rows and columns")
    return kept


def parameter_size(node: Any) -> int:
    """Return how many values the parameters of a neuron, scale or delay have at most."""
    return max(int(np.size(v)) for key, v in vars(node).items() if isinstance(v, np.ndarray | float) and key[0] != "_")


def _parameter_shape(node: Any) -> Shape:
    arrays = [v for v in vars(node).values() if isinstance(v, np.ndarray)]
    return tuple(int(v) for v in max(arrays, key=np.size).shape) if arrays else ()


class Shapes:
    """Shapes of what goes into each node and what comes out of it.

    Parameters
    ----------
    graph
        The graph.

    Attributes
    ----------
    into, out
        Per node name, the shape; there is none where an error says so.
    maps
        Per linear node, its map and its bias per output value.
    errors, notes
        Sentences.
    """

    def __init__(self, graph: NirGraph) -> None:
        self.graph = graph
        self.into: dict[str, Shape] = {}
        self.out: dict[str, Shape] = {}
        self.maps: dict[str, tuple[LinearMap, np.ndarray]] = {}
        self.errors: list[str] = []
        self.notes: list[str] = []
        self.before: dict[str, list[str]] = {name: [] for name in graph.nodes}
        for a, b in graph.edges:
            self.before[b].append(a)
        waiting = list(graph.nodes)
        known = -1
        while waiting and known != len(self.out) + len(self.errors):
            known = len(self.out) + len(self.errors)
            waiting = [name for name in waiting if not self._try(name, False)]
        while waiting:  # Shapes that a loop hides: the node itself may say its own.
            found = next((name for name in waiting if self._try(name, True)), None)
            if found is None:
                break
            waiting = [name for name in waiting if name != found and not self._try(name, False)]
        self.errors += [
            f"node {name} ({kind_of(graph.nodes[name])}): nothing says its shape; export the network with shapes"
            for name in waiting
            if not self.errors
        ]
        if not self.errors:
            self._check_edges()

    def _try(self, name: str, alone: bool) -> bool:
        """Find the shapes of a node from those before it, or from itself `alone`; return whether it is done with."""
        node = self.graph.nodes[name]
        given = next((self.out[a] for a in self.before[name] if a in self.out), None)
        if given is None and self.before[name] and not alone:
            return False
        try:
            done = self._infer(name, node, given)
        except ModelError as error:
            self.errors.append(str(error))
            return True
        if done and math.prod(self.out[name]) > MAX_EXTENT:
            self.errors.append(f"node {name}: has shape {list(self.out[name])}; the limit is {MAX_EXTENT} values")
        return done

    def _infer(self, name: str, node: Any, given: Shape | None) -> bool:
        kind = kind_of(node)
        place = f"node {name} ({kind})"
        if kind in ("Input", "Output"):
            raw = node.input_type["input"] if kind == "Input" else node.output_type["output"]
            own = None if raw is None else tuple(int(v) for v in np.asarray(raw).ravel())
            if own is not None and (not own or min(own) < 1):
                raise ModelError(f"{place}: has shape {list(own)}; each extent must be 1 or more")
            shape = given if given is not None else own
            if shape is None:
                return False
            if own is not None and own != shape:
                if math.prod(own) != math.prod(shape):
                    raise ModelError(f"{place}: has shape {list(own)} and is given {list(shape)}; correct one of them")
                self.notes.append(f"{place}: its shape {list(own)} is taken for {list(shape)}")
            if len(shape) > 3 and shape[0] == 1:
                shape = as_image(shape, place)
                self.notes.append(f"{place}: the batch dimension of {list(own or shape)} is dropped")
            self._set(name, shape, shape)
            return True
        if kind in ("Affine", "Linear"):
            return self._linear(name, node, given, place)
        if kind in ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d"):
            if given is None and kind.endswith("Pool2d"):
                return False
            linear, bias = convolution(name, node, given)
            shape = linear.out_shape
            self.maps[name] = (linear, np.repeat(bias, math.prod(shape[1:])))
            self._set(name, given or linear.in_shape, (shape[0], shape[2]) if kind == "Conv1d" else shape)
            return True
        if kind == "Flatten":
            own = node.input_type["input"]
            shape = given if given is not None else None if own is None else tuple(int(v) for v in own)
            if shape is None:
                return False
            start = int(np.asarray(node.start_dim).ravel()[0])
            end = int(np.asarray(node.end_dim).ravel()[0])
            if start not in (0, 1) or end not in (-1, len(shape) - 1, len(shape)):
                raise ModelError(f"{place}: flattens axes {start} to {end}; all of a sample's axes can be, and no part")
            self._linear_map(name, identity(shape), np.zeros(1), (math.prod(shape),), shape)
            return True
        return self._elementwise(name, node, given, place)

    def _linear(self, name: str, node: Any, given: Shape | None, place: str) -> bool:
        weight = np.asarray(node.weight, dtype=np.float64)
        if math.prod(weight.shape[:-2]) != 1 or 0 in weight.shape:
            raise ModelError(f"{place}: weight has shape {list(weight.shape)}; give (out, in)")
        if weight.ndim > 2:
            self.notes.append(f"{place}: the batch dimensions of weight {list(weight.shape)} are dropped")
        rows, columns = (int(v) for v in weight.shape[-2:])
        weight = weight.reshape(rows, columns)
        shape = (columns,) if given is None else given
        if math.prod(shape) != columns:
            raise ModelError(f"{place}: takes {columns} values and is given {list(shape)}; correct one of them")
        out = (rows,)
        bias = _bias(node, out[0], place) if hasattr(node, "bias") else np.zeros(1)
        self._linear_map(name, Matrix(shape, out, weight), bias, out, shape)
        return True

    def _elementwise(self, name: str, node: Any, given: Shape | None, place: str) -> bool:
        size = parameter_size(node)
        shape = given if given is not None else _parameter_shape(node) or None
        if shape is None:
            return False
        if size not in (1, math.prod(shape)):
            # One value a channel, in the axes that follow it.
            raise ModelError(f"{place}: has parameters for {size} values and is given {list(shape)}; correct one")
        if size == 1 < math.prod(shape):
            self.notes.append(f"{place}: its one value of each parameter is taken for all of {list(shape)}")
        if given is not None and size > 1 and _parameter_shape(node) != shape:
            self.notes.append(f"{place}: its shape {list(_parameter_shape(node))} is taken for {list(shape)}")
        if kind_of(node) == "Scale":
            factors = np.asarray(node.scale, dtype=np.float64).ravel()
            self._linear_map(name, Scaling(shape, shape, factors), np.zeros(1), shape, shape)
        else:
            self._set(name, shape, shape)
        return True

    def _linear_map(self, name: str, linear: LinearMap, bias: np.ndarray, out: Shape, into: Shape) -> None:
        if isinstance(linear, Scaling):
            linear = Scaling(into, out, linear.factors)
        self.maps[name] = (linear, np.broadcast_to(bias, (math.prod(out),)))
        self._set(name, into, out)

    def _set(self, name: str, into: Shape, out: Shape) -> None:
        self.into[name], self.out[name] = into, out

    def _check_edges(self) -> None:
        for a, b in self.graph.edges:
            if math.prod(self.out[a]) != math.prod(self.into[b]):
                self.errors.append(
                    f"edge {a} -> {b}: {a} gives {list(self.out[a])}, {b} takes {list(self.into[b])}; correct one"
                )
