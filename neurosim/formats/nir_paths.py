"""What lies between the neurons of a NIR graph: one linear map, one delay and one constant from each to each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import networkx as nx
import numpy as np

from neurosim.errors import ModelError
from neurosim.formats.dense_nodes import FloatArray
from neurosim.formats.linear_maps import LinearMap, Scaling, apply, compose, identity, reshaped
from neurosim.formats.nir_shapes import NEURONS, Shapes, kind_of

IntArray = np.ndarray[Any, np.dtype[np.int64]]
MAX_PATHS = 1000
"""Ways from neurons to one node."""


@dataclass(frozen=True, eq=False)
class Path:
    """A way from a node of neurons or an input to another node.

    Attributes
    ----------
    source
        Name of the node that it begins at.
    linear
        From the values of the source.
    steps
        Timesteps of delay, the same for all.
    axon, after
        Further timesteps: one a value of the source, and one a value at the end.
    nodes
        Names of the linear nodes on it.
    """

    source: str
    linear: LinearMap
    steps: int = 0
    axon: IntArray | None = None
    after: IntArray | None = None
    nodes: tuple[str, ...] = ()

    def through(self, name: str, linear: LinearMap) -> Path:
        """Return the path with a linear node more."""
        plain = isinstance(linear, Scaling)
        if self.after is not None and not plain:
            raise ModelError(
                f"node {name}: comes after a delay that differs from value to value; put the delay at an end"
            )
        return replace(self, linear=compose(linear, self.linear), nodes=(*self.nodes, name))

    def delayed(self, name: str, steps: IntArray) -> Path:
        """Return the path with a delay more, int64 (n,) timesteps."""
        if (steps == steps[0]).all():
            return replace(self, steps=self.steps + int(steps[0]), nodes=(*self.nodes, name))
        if isinstance(self.linear, Scaling) and self.after is None:
            each = np.broadcast_to(steps, (math.prod(self.linear.in_shape),))
            return replace(self, axon=each + (0 if self.axon is None else self.axon), nodes=(*self.nodes, name))
        return replace(self, after=steps + (0 if self.after is None else self.after), nodes=(*self.nodes, name))


class Paths:
    """The ways to each node of a graph from the neurons and inputs before it.

    Parameters
    ----------
    shapes
        Shapes and maps of the graph.
    dt_s
        Timestep in seconds, for delays.
    """

    def __init__(self, shapes: Shapes, dt_s: float) -> None:
        self.shapes, self.dt_s = shapes, dt_s
        self._out: dict[str, list[Path]] = {}
        self._constant: dict[str, FloatArray] = {}
        self._check_loops()

    def ends(self, name: str) -> bool:
        """Return whether a path ends at a node: it is of neurons, or an input that nothing feeds."""
        kind = kind_of(self.shapes.graph.nodes[name])
        return kind in NEURONS or (kind == "Input" and not self.shapes.before[name])

    def _check_loops(self) -> None:
        """Refuse loops without neurons, whose values no timestep separates."""
        graph = nx.DiGraph()
        for name, before in self.shapes.before.items():
            if not self.ends(name):
                graph.add_edges_from((a, name) for a in before if not self.ends(a))
        try:
            loop = nx.find_cycle(graph)
        except nx.NetworkXNoCycle:
            return
        names = " -> ".join(edge[0] for edge in loop)
        raise ModelError(f"nodes {names} form a loop without neurons; put neurons into it")

    def into(self, name: str) -> list[Path]:
        """Return the paths to the input of a node."""
        found = [path for before in self.shapes.before[name] for path in self.out_of(before)]
        if len(found) > MAX_PATHS:
            raise ModelError(f"node {name}: {len(found)} ways lead to it; the limit is {MAX_PATHS}")
        shape = self.shapes.into[name]
        return [replace(path, linear=reshaped(path.linear, shape)) for path in found]

    def out_of(self, name: str) -> list[Path]:
        """Return the paths to the output of a node."""
        if self.ends(name):
            return [Path(name, identity(self.shapes.out[name]))]
        if name not in self._out:
            node = self.shapes.graph.nodes[name]
            paths = self.into(name)
            if kind_of(node) == "Delay":
                steps = self._steps(name, node)
                paths = [path.delayed(name, steps) for path in paths]
            elif name in self.shapes.maps:
                linear = self.shapes.maps[name][0]
                paths = [path.through(name, linear) for path in paths]
            self._out[name] = paths
        return self._out[name]

    def constant(self, name: str) -> FloatArray:
        """Return the constant at the input of a node that biases make, float64 (n,)."""
        total = np.zeros(math.prod(self.shapes.into[name]))
        for before in self.shapes.before[name]:
            if not self.ends(before):
                total = total + self._constant_out(before)
        return total

    def _constant_out(self, name: str) -> FloatArray:
        if name not in self._constant:
            given = self.constant(name)
            if name in self.shapes.maps:
                linear, bias = self.shapes.maps[name]
                given = apply(linear, given[None])[0] + bias
            self._constant[name] = given
        return self._constant[name]

    def _steps(self, name: str, node: Any) -> IntArray:
        delay = np.asarray(node.delay, dtype=np.float64).ravel()
        steps = np.rint(delay / self.dt_s)
        wrong = np.flatnonzero((np.abs(delay / self.dt_s - steps) > 1e-4) | (steps < 0) | (steps > 1 << 20))
        if wrong.size:
            raise ModelError(
                f"node {name} (Delay): delay {delay[wrong[0]]:g} s is {delay[wrong[0]] / self.dt_s:g} timesteps of "
                f"{self.dt_s:g} s; a delay must be whole timesteps: choose another time step"
            )
        return np.broadcast_to(steps.astype(np.int64), (math.prod(self.shapes.out[name]),))
