"""The network: a directed graph of layers and connections, which may branch, join and recur."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from neurosim.errors import ModelError, join_errors, suggest
from neurosim.network.connections import Connection
from neurosim.network.units import Unit

MAX_NEURONS = 1 << 31
"""Neurons are numbered with 32 bits."""


@dataclass(frozen=True)
class Layer:
    """A population of like units.

    Attributes
    ----------
    name
        Unique within the network.
    shape
        (C, H, W) or (N,).
    unit
        What each neuron computes.
    """

    name: str
    shape: tuple[int, ...]
    unit: Unit

    @property
    def size(self) -> int:
        """Number of neurons."""
        return math.prod(self.shape)


class Network:
    """Layers and connections, checked to fit each other.

    Neurons are numbered through all layers in the order given, each layer in C, H, W order.

    Parameters
    ----------
    layers, connections
        In the order that reports use.
    name
        For reports.

    Raises
    ------
    ModelError
        Names used twice or unknown, shapes that do not fit, a layer of wrong shape. All errors are
        reported at once.
    """

    def __init__(self, layers: Iterable[Layer], connections: Iterable[Connection], name: str = "network") -> None:
        self.name = name
        self.layers = tuple(layers)
        self.connections = tuple(connections)
        self.index = {layer.name: i for i, layer in enumerate(self.layers)}
        errors = list(self._errors())
        if errors:
            raise ModelError(join_errors(name, errors))
        sizes = [layer.size for layer in self.layers]
        self.offsets = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
        """int64 (layers + 1,): number of the first neuron of each layer, then the number of neurons."""

    def _errors(self) -> Iterator[str]:
        if not self.layers:
            yield "has no layers; give at least one"
        if len(self.index) < len(self.layers):
            names = [layer.name for layer in self.layers]
            twice = sorted({n for n in names if names.count(n) > 1})
            yield f"layer names used more than once: {', '.join(twice)}; name each layer differently"
        misshapen = [
            layer for layer in self.layers if len(layer.shape) not in (1, 3) or any(int(v) < 1 for v in layer.shape)
        ]
        for layer in misshapen:
            yield f"layer {layer.name} has shape {layer.shape}; use (N,) or (C, H, W), each 1 or more"
        for layer in self.layers:
            if layer.unit.compartments > 1 and len(layer.shape) == 3:
                yield (
                    f"layer {layer.name} of {layer.unit.kind} units has shape {layer.shape}; units of several "
                    "compartments stand in vectors: give it shape (N,)"
                )
        if misshapen:
            return
        total = sum(layer.size for layer in self.layers)
        if total > MAX_NEURONS:
            yield f"has {total} neurons; the limit is {MAX_NEURONS}"
        for connection in self.connections:
            unknown = [n for n in (*connection.sources, connection.target) if n not in self.index]
            for missing in unknown:
                yield f'{connection.label}: there is no layer "{missing}"' + suggest(missing, self.index)
            if unknown:
                continue
            transform = connection.transform
            given = sum(self[n].size for n in connection.sources)
            if given != transform.in_size:
                yield (
                    f"{connection.label}: the sources have {given} neurons, "
                    f"the {transform.kind} takes {transform.in_size}"
                )
            wanted, unit = self[connection.target].size, self[connection.target].unit
            each, last = connection.leads_to(unit), unit.compartments - 1
            if each[-1] > last:
                yield f"{connection.label}: leads to compartments {each}; a {unit.kind} unit has 0..{last}"
            elif wanted * len(each) != transform.out_size:
                many = f" of {len(each)} compartments each" if unit.compartments > 1 else ""
                yield (
                    f"{connection.label}: the {transform.kind} gives {transform.out_shape}, "
                    f"the layer has {wanted} neurons{many}"
                )

    def __getitem__(self, name: str) -> Layer:
        return self.layers[self.index[name]]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Network)
            and self.name == other.name
            and self.layers == other.layers
            and self.connections == other.connections
        )

    def __hash__(self) -> int:
        return hash((self.name, self.layers))

    def __repr__(self) -> str:
        return f"<Network {self.name}: {len(self.layers)} layers, {self.size} neurons>"

    @property
    def size(self) -> int:
        """Number of neurons of all layers."""
        return int(self.offsets[-1])

    @property
    def inputs(self) -> tuple[Layer, ...]:
        """Layers fed with frames: those that no connection feeds and whose unit takes frames."""
        fed = {c.target for c in self.connections}
        return tuple(layer for layer in self.layers if layer.name not in fed and layer.unit.takes_frames)

    @property
    def outputs(self) -> tuple[Layer, ...]:
        """Layers that feed no other layer."""
        feeding = {s for c in self.connections for s in c.sources if s != c.target}
        return tuple(layer for layer in self.layers if layer.name not in feeding)

    @cached_property
    def layer_delays(self) -> dict[str, int]:
        """Timesteps from a frame to its whole effect on each layer: 0 for a layer that is fed.

        The longest path through the layers, delays added, loops entered once.
        """
        graph = nx.DiGraph()
        graph.add_nodes_from(self.index)
        for connection in self.connections:
            steps = 1 + connection.longest_delay
            for source in connection.sources:
                if source != connection.target:
                    known = graph.get_edge_data(source, connection.target, {"steps": 0})["steps"]
                    graph.add_edge(source, connection.target, steps=max(steps, known))
        condensed = nx.condensation(graph)
        member = condensed.graph["mapping"]
        latest = dict.fromkeys(condensed.nodes, 0)
        for component in nx.topological_sort(condensed):
            for name in condensed.nodes[component]["members"]:
                for _, target, steps in graph.out_edges(name, data="steps"):
                    if member[target] != component:
                        latest[member[target]] = max(latest[member[target]], latest[component] + steps)
        return {name: latest[member[name]] for name in self.index}

    @cached_property
    def fan_out(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Synapses that a message of each neuron meets: all in-bounds ones, and those of non-zero weight.

        Two int64 arrays of shape (n,).
        """
        totals = np.zeros((2, self.size), dtype=np.int64)
        for connection in self.connections:
            part = connection.transform.fan_out()
            met = np.zeros((2, connection.transform.in_size), dtype=np.int64)
            met[:, part.sources] = part.structural, part.nonzero
            at = 0
            for name in connection.sources:
                first, size = int(self.offsets[self.index[name]]), self[name].size
                totals[:, first : first + size] += met[:, at : at + size]
                at += size
        return totals[0], totals[1]

    @property
    def depth_timesteps(self) -> int:
        """Timesteps from a frame to its whole effect on the last layer, both counted."""
        return 1 + max(self.layer_delays.values())

    def with_units(self, change: dict[str, Unit]) -> Network:
        """Return a network in which the named layers have other units."""
        layers = [replace(layer, unit=change.get(layer.name, layer.unit)) for layer in self.layers]
        return Network(layers, self.connections, self.name)

    def to_networkx(self) -> nx.MultiDiGraph:
        """Return a graph with a node a layer and an edge a source of a connection.

        Nodes carry `shape` and `unit`; edges carry `connection` and its `order` and the source's
        `position` in it, which is all that `from_networkx` needs.
        """
        graph = nx.MultiDiGraph(name=self.name)
        for layer in self.layers:
            graph.add_node(layer.name, shape=layer.shape, unit=layer.unit)
        for order, connection in enumerate(self.connections):
            for position, source in enumerate(connection.sources):
                graph.add_edge(source, connection.target, connection=connection, order=order, position=position)
        return graph

    @classmethod
    def from_networkx(cls, graph: nx.MultiDiGraph) -> Network:
        """Return the network that `to_networkx` described; nodes give the layers in their order.

        Raises
        ------
        ModelError
            A node without `shape` or `unit`, an edge without `connection`.
        """
        errors = [
            f'node "{node}" has no attribute "{key}"'
            for node, data in graph.nodes(data=True)
            for key in ("shape", "unit")
            if key not in data
        ]
        errors += [
            f'edge {a} -> {b} has no attribute "connection"'
            for a, b, data in graph.edges(data=True)
            if "connection" not in data
        ]
        if errors:
            raise ModelError(join_errors("networkx graph", errors))
        layers = [Layer(str(n), tuple(d["shape"]), d["unit"]) for n, d in graph.nodes(data=True)]
        found: dict[int, Connection] = {}
        for count, (_, _, data) in enumerate(graph.edges(data=True)):
            found.setdefault(data.get("order", count), data["connection"])
        return cls(layers, [found[i] for i in sorted(found)], str(graph.graph.get("name", "network")))
