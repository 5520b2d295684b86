"""Dense networks with float weights, as importers give them and conversion takes them: named nodes in order.

A node computes an array from those of the nodes that it names. Shapes are those of one sample: they carry no batch.
`evaluate` is the plain numpy forward pass, in float64, that says what each node means.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError, join_errors
from neurosim.formats.dense_nodes import (
    ACTIVATIONS,
    OPS,
    POOLS,
    Activation,
    Add,
    Concat,
    Conv2d,
    Flatten,
    FloatArray,
    Gru,
    Input,
    Linear,
    Lstm,
    Node,
    Pool2d,
    Recurrent,
    Scale,
    Shape,
)
from neurosim.formats.dense_numpy import forward

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "POOLS",
    "Activation",
    "Add",
    "Concat",
    "Conv2d",
    "DenseGraph",
    "Flatten",
    "FloatArray",
    "Gru",
    "Input",
    "Linear",
    "Lstm",
    "Node",
    "Pool2d",
    "Recurrent",
    "Scale",
    "Shape",
    "evaluate",
    "evaluate_all",
    "fold_scales",
]

MAX_VALUES = 1 << 28
"""Most values of one node."""


class DenseGraph:
    """A dense network: nodes in an order in which each follows its inputs, and the one that is the answer.

    Parameters
    ----------
    nodes
        The nodes.
    output
        Name of the node that gives the answer; by default the last one.
    name
        For reports.
    read_out
        ``every``: each frame has its answer. ``last``: the original answers with the last frame of a sequence.

    Attributes
    ----------
    shapes
        Per node name, the shape of one sample.

    Raises
    ------
    ModelError
        Names used twice or unknown, shapes that do not fit, weights that are not finite. All at once.
    """

    def __init__(
        self, nodes: Iterable[Node], output: str | None = None, name: str = "network", read_out: str = "every"
    ) -> None:
        self.nodes = tuple(nodes)
        self.name = name
        self.read_out = read_out
        self.shapes: dict[str, Shape] = {}
        self._by_name: dict[str, Node] = {}
        errors: list[str] = []
        for node in self.nodes:
            self._check(node, errors)
        if not self.nodes:
            errors.append("has no nodes; give at least one")
        self.output = output if output is not None or not self.nodes else self.nodes[-1].name
        if self.nodes and self.output not in self._by_name:
            errors.append(f'the answer is node "{self.output}", which is not there')
        if read_out not in ("every", "last"):
            errors.append(f'reads out "{read_out}"; use "every" or "last"')
        if errors:
            raise ModelError(join_errors(name, errors))

    def _check(self, node: Node, errors: list[str]) -> None:
        place = f"node {node.name} ({node.op})"
        if node.name in self._by_name:
            errors.append(f"{place}: its name is used twice; name each node differently")
        self._by_name[node.name] = node
        least, most = node.arity
        if not least <= len(node.inputs) <= most:
            errors.append(f"{place}: has {len(node.inputs)} inputs; it takes {least}" + (" or more" * (most > least)))
            return
        missing = [key for key in node.inputs if key not in self._by_name or key == node.name]
        if missing:
            errors.append(f"{place}: reads {', '.join(missing)}, which no earlier node gives")
            return
        for key, value in node.weights().items():
            if not np.isfinite(value).all():
                errors.append(f"{place}: {key} holds values that are not finite; export the network again")
        if any(key not in self.shapes for key in node.inputs):
            return  # Said already.
        try:
            shape = tuple(int(v) for v in node.out_shape(*(self.shapes[key] for key in node.inputs)))
        except (ModelError, IndexError) as error:
            errors.append(f"{place}: {error}")
            return
        if not shape or min(shape) < 1 or math.prod(shape) > MAX_VALUES:
            errors.append(
                f"{place}: has shape {list(shape)}; each extent must be 1 or more, {MAX_VALUES} values in all"
            )
            return
        self.shapes[node.name] = shape

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    def __repr__(self) -> str:
        return f"<DenseGraph {self.name}: {len(self.nodes)} nodes, {' -> '.join(n.op for n in self.nodes)}>"

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The input nodes."""
        return tuple(node for node in self.nodes if isinstance(node, Input))

    @property
    def recurrent(self) -> bool:
        """Whether a node keeps a state from frame to frame."""
        return any(isinstance(node, Recurrent) for node in self.nodes)

    def readers(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that read the node `name`."""
        return tuple(node for node in self.nodes if name in node.inputs)


def fold_scales(graph: DenseGraph) -> DenseGraph:
    """Fold every `Scale` into the `Linear` or `Conv2d` before it, and leave out activations ``identity``.

    A scale behind anything else, or behind a node that another one reads too, stays.
    """
    nodes: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(renamed.get(key, key) for key in original.inputs))
        before = nodes.get(node.inputs[0]) if node.inputs else None
        if isinstance(node, Activation) and node.function == "identity":
            renamed[node.name] = node.inputs[0]
        elif (
            isinstance(node, Scale)
            and isinstance(before, Linear | Conv2d)
            and len(graph.readers(original.inputs[0])) == 1
            and original.inputs[0] != graph.output
        ):
            out = before.weight.shape[0]
            scale, shift = np.broadcast_to(node.scale, (out,)), np.broadcast_to(node.shift, (out,))
            column = scale.reshape(-1, *[1] * (before.weight.ndim - 1))
            nodes[before.name] = replace(before, weight=before.weight * column, bias=before.bias * scale + shift)
            renamed[node.name] = before.name
        else:
            nodes[node.name] = node
    output = renamed.get(str(graph.output), str(graph.output))
    return DenseGraph(nodes.values(), output, graph.name, graph.read_out)


def evaluate(graph: DenseGraph, inputs: Any) -> FloatArray:
    """Return the answer of the graph; see `evaluate_all`."""
    return evaluate_all(graph, inputs)[str(graph.output)]


def evaluate_all(graph: DenseGraph, inputs: Any) -> dict[str, FloatArray]:
    """Compute every node in float64.

    Parameters
    ----------
    graph
        The network.
    inputs
        Array (frames, *shape), or a mapping from input node to such arrays. Recurrent nodes step from frame to
        frame, from rest; with one more axis in front, (sequences, frames, *shape), each sequence does. Nodes
        without state treat every frame alone.

    Returns
    -------
    Per node name float64 (frames, *shape) or (sequences, frames, *shape): every frame, whatever `read_out` says.

    Raises
    ------
    InputError
        Inputs that are missing, or of other shapes.
    """
    given = inputs if isinstance(inputs, dict) else {graph.inputs[0].name: inputs}
    if set(given) != {node.name for node in graph.inputs}:
        raise InputError(
            f"{graph.name}: inputs given: {', '.join(map(str, given)) or 'none'}; "
            f"it takes {', '.join(n.name for n in graph.inputs)}"
        )
    values: dict[str, FloatArray] = {}
    leading: tuple[int, ...] | None = None
    for node in graph.nodes:
        if isinstance(node, Input):
            array = np.array(given[node.name], dtype=np.float64)
            extra = array.ndim - len(node.shape)
            if extra not in (1, 2) or array.shape[extra:] != node.shape or leading not in (None, array.shape[:extra]):
                raise InputError(
                    f"{graph.name}: input {node.name} has shape {list(array.shape)}; give (frames, "
                    f"{', '.join(map(str, node.shape))}), or (sequences, frames, ...), the same for every input"
                )
            leading = array.shape[:extra]
            values[node.name] = array
        else:
            assert leading is not None
            given_to = [values[key] for key in node.inputs]
            values[node.name] = forward(node, given_to, leading, graph.shapes[node.name])
    return values
