"""Reader of NIR files: a graph of float neurons in continuous time becomes an exact integer network.

How: shapes (`nir_shapes`), one linear map between any two layers of neurons (`nir_paths`, `linear_maps`), discrete time
and fixed point (`nir_units`). docs/nir.md says what each step does to a network.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path as FilePath
from typing import Any

import networkx as nx
import numpy as np

from neurosim.errors import ModelError, join_errors
from neurosim.formats.dense_nodes import FloatArray, Shape
from neurosim.formats.linear_maps import Convolution, LinearMap, Matrix, Scaling, compose
from neurosim.formats.netx import NetxReading
from neurosim.formats.nir_file import NirGraph, read_graph
from neurosim.formats.nir_parts import METADATA_KEY
from neurosim.formats.nir_paths import Path, Paths
from neurosim.formats.nir_restore import restore
from neurosim.formats.nir_shapes import Shapes, as_image, kind_of
from neurosim.formats.nir_units import (
    NeuronModel,
    NirOptions,
    ParameterError,
    discretise,
    error_of,
    membrane,
    weight_step,
)
from neurosim.network import Connection, Conv2d, Delay, Dense, Layer, Membrane, Network, Relay, Sparse, Transform
from neurosim.network.connections import MAX_DELAY

SPIKING = ("CubaLIF", "IF", "LIF", "Threshold")
SPARSE_BELOW = 0.25
"""A matrix with a smaller part of weights other than 0 is stored synapse by synapse."""


@dataclass(frozen=True)
class NirReading(NetxReading):
    """A network, the notes of its reader, and what its integers stand for.

    Attributes
    ----------
    parameters
        How far each layer's and connection's integers are from the file's floats.
    message_units
        Per layer, float64 (1,) or (n,): the value in the file's units of a message of 1.
    """

    parameters: tuple[ParameterError, ...] = ()
    message_units: dict[str, FloatArray] | None = None


def read_nir(path: str | FilePath, **options: Any) -> Network:
    """Read a NIR file; see `read_nir_with_notes`."""
    return read_nir_with_notes(path, **options).network


def read_nir_with_notes(path: str | FilePath, **options: Any) -> NirReading:
    """Read a NIR file of the package nir, 1.0.8, and say how its floats became integers.

    Parameters
    ----------
    path
        The file. The network is called after it.
    dt_s
        Time step in seconds: NIR neurons live in continuous time. A file whose constants count in timesteps takes 1.
    discretisation
        ``euler`` or ``exact``; see `neurosim.formats.nir_units`.
    reset
        ``to``: a spike sets v to v_reset, as NIR says. ``subtract``: it takes v_threshold - v_reset off.
    current
        ``new``: v takes the current of this timestep. ``old``: that of the one before.
    inputs
        ``spikes``: inputs are 0 or 1. ``graded``: any integers, sent with their value.
    weight_bits, decay_bits, state_bits
        Widths of weights, of what is kept of voltages and currents in a timestep, and of voltages and currents.
    reset_interval
        Timesteps after which every layer clears its state, counted from when a sample reaches it; 0 for never.

    Raises
    ------
    ModelError
        The file is missing, damaged, or holds what is not supported; an option is wrong or dt_s missing.
    """
    graph = read_graph(path)
    name = FilePath(path).stem or "network"
    if METADATA_KEY in graph.metadata:
        try:
            restored = restore(graph)
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        if options:
            raise ModelError(
                f"{path}: was written by neurosim and holds its integers, so it takes no options "
                f"({', '.join(sorted(options))}); leave them out"
            )
        return NirReading(restored, ("the file holds the exact integers of a network that neurosim wrote",))
    if options.get("dt_s") is None:
        raise ModelError(
            f"{path}: a NIR file holds continuous time; give the time step in seconds (dt_s in Python, --dt on the "
            "command line; 1 where its constants count in timesteps)"
        )
    chosen = NirOptions(**options)
    try:
        return _Builder(graph, chosen, name).reading()
    except ModelError as error:
        raise error if str(error).startswith(str(path)) else ModelError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ModelError(f"{path}: hundreds of nodes without neurons follow each other; join them") from error


class _Builder:
    """Puts the network together from a graph."""

    def __init__(self, graph: NirGraph, options: NirOptions, name: str) -> None:
        self.graph, self.options, self.name = graph, options, name
        self.shapes = Shapes(graph)
        if self.shapes.errors:
            raise ModelError(join_errors(name, self.shapes.errors))
        self.notes = list(self.shapes.notes)
        self.paths = Paths(self.shapes, options.dt_s)
        self.parameters: list[ParameterError] = []
        spiking = (name for name, node in graph.nodes.items() if kind_of(node) in SPIKING)
        self.units: dict[str, FloatArray] = {name: np.ones(1) for name in spiking}
        self.targets = [n for n in graph.nodes if self.paths.ends(n)] + self._read_outs()
        if not any(kind_of(node) == "Input" for node in graph.nodes.values()):
            raise ModelError(f"{name}: has no node of type Input; export it with one")
        self.into = {n: self.paths.into(n) if self.shapes.before[n] else [] for n in self.targets}
        self.depths = self._depths()

    def _read_outs(self) -> list[str]:
        """Return the outputs that no layer of neurons gives as it is, so that a layer of their own reads them out."""
        found = []
        for name, node in self.graph.nodes.items():
            if kind_of(node) != "Output":
                continue
            if not self.shapes.before[name]:
                raise ModelError(f"node {name} (Output): nothing leads to it; remove it")
            paths = self.paths.into(name)
            sources = {kind_of(self.graph.nodes[path.source]) for path in paths}
            plain = len(paths) == 1 and isinstance(paths[0].linear, Scaling) and paths[0].linear.identity
            if not plain or sources == {"Input"} or paths[0].steps or paths[0].axon is not None:
                found.append(name)
            elif any(before == paths[0].source for before, after in self.graph.edges if after != name):
                self.notes.append(f"node {name} (Output): is layer {paths[0].source}, which other layers follow")
        return found

    def _depths(self) -> dict[str, int]:
        """Return the timesteps after which what was fed in the first one reaches each layer."""
        graph = nx.DiGraph()
        graph.add_nodes_from(self.targets)
        for name, paths in self.into.items():
            graph.add_edges_from((path.source, name) for path in paths)
        condensed = nx.condensation(graph)
        member = condensed.graph["mapping"]
        depth = dict.fromkeys(condensed.nodes, 0)
        for component in nx.topological_sort(condensed):
            names = condensed.nodes[component]["members"]
            if len(names) > 1:
                self.notes.append(
                    f"layers {', '.join(sorted(names))} form a loop: each connection in it takes a timestep, so "
                    f"that going round takes as many timesteps as layers"
                )
            for after in condensed.successors(component):
                depth[after] = max(depth[after], depth[component] + 1)
        self.order = [name for c in nx.topological_sort(condensed) for name in self.targets if member[name] == c]
        self.component = member
        return {name: depth[member[name]] for name in self.targets}

    def _extra(self, target: str, path: Path) -> int:
        """Return the timesteps by which a path waits so that it meets what took longer."""
        if self.component[path.source] == self.component[target]:
            return path.steps
        return path.steps + self.depths[target] - self.depths[path.source] - 1

    def reading(self) -> NirReading:
        """Return the network and what is to be said about it."""
        layers: dict[str, Layer] = {}
        connections: dict[str, list[Connection]] = {}
        for name in self.order:
            layers[name], connections[name] = self._layer(name)
        names = [n for n in self.order if isinstance(layers[n].unit, Relay)]
        names += [n for n in self.order if n not in names]
        network = Network([layers[n] for n in names], [c for n in names for c in connections[n]], self.name)
        worst: dict[str, ParameterError] = {}
        for error in self.parameters:
            if error.relative > worst.get(error.place, error).relative or error.place not in worst:
                worst[error.place] = error
        self.notes += [
            f"{e.place}: {e.parameter} in steps of {e.step:.4g}, off by at most {e.largest:.2g} ({e.relative:.2%} of "
            "the largest)"
            for e in worst.values()
            if e.largest > 0
        ]
        chosen = ", ".join(f"{key} {value}" for key, value in asdict(self.options).items())
        notes = (f"read with {chosen}", *self.notes)
        return NirReading(network, notes, tuple(self.parameters), self.units)

    def _layer(self, name: str) -> tuple[Layer, list[Connection]]:
        node, paths = self.graph.nodes[name], self.into[name]
        kind = kind_of(node)
        shape = _layer_shape(self.shapes.out[name], paths, name)
        if kind == "Input":
            self.units[name] = np.ones(1)
            return Layer(name, shape, Relay(spikes=self.options.inputs == "spikes")), []
        if not paths:
            self.notes.append(f"node {name} ({kind}): nothing leads to it, so that only its bias or leak drives it")
        size = math.prod(shape)
        zeros = np.zeros(size)
        model = (
            NeuronModel(zeros, np.ones(size), zeros) if kind == "Output" else discretise(name, node, size, self.options)
        )
        maps = [self._scaled(path, name) for path in paths]
        weight = weight_step((_weights(linear) for linear in maps), self.options.weight_bits)
        feeds = any(path.source == name for other in self.into.values() for path in other)
        start = self.depths[name]
        unit, step, errors = membrane(
            name, model, self.paths.constant(name), weight, start, feeds, self.options
        )  # fmt: skip
        self.parameters += errors
        shift = getattr(unit, "message_shift", 0)
        self.units[name] = np.ones(1) if model.spiking else _uniform(model.gain * step * 2.0**shift)
        found = []
        for path, linear in zip(paths, maps, strict=True):
            transform = self._transform(path, name, linear, weight)
            found.append(Connection((path.source,), name, transform, self._delay(path, name, unit)))
        return Layer(name, shape, unit), found

    def _scaled(self, path: Path, target: str) -> LinearMap:
        """Return the map of a path from messages of its source."""
        if path.source not in self.units:
            raise ModelError(
                f"node {target}: takes the value of {path.source}, a read-out in a loop, which has no scale of its "
                "own; put spiking neurons into the loop"
            )
        unit = self.units[path.source]
        if (unit == 1.0).all():
            return path.linear
        return compose(path.linear, Scaling(path.linear.in_shape, path.linear.in_shape, unit))

    def _transform(self, path: Path, target: str, linear: LinearMap, step: float) -> Transform:
        place = f"{path.source} -> {target}" + (f" ({', '.join(path.nodes)})" if path.nodes else "")

        def fixed(weights: FloatArray) -> Any:
            integers = np.rint(weights / step).astype(np.int64)
            self.parameters.append(error_of(place, "weights", step, integers, weights))
            return integers

        if isinstance(linear, Convolution):
            node = linear.node
            weights = fixed(node.weight)
            return Conv2d(weights, linear.in_shape, node.stride, node.padding, node.dilation, node.groups)
        if isinstance(linear, Scaling):
            size = math.prod(linear.in_shape)
            return Sparse(np.arange(size + 1), np.arange(size), fixed(linear.each), size)
        matrix = fixed(linear.matrix)
        if len(path.nodes) > 1 and np.count_nonzero(matrix) < SPARSE_BELOW * matrix.size:
            source, to = np.nonzero(matrix.T)
            starts = np.concatenate(([0], np.cumsum(np.bincount(source, minlength=matrix.shape[1]))))
            return Sparse(starts, to, matrix.T[source, to], matrix.shape[0])
        return Dense(matrix)

    def _delay(self, path: Path, target: str, unit: Membrane) -> Delay | None:
        extra = self._extra(target, path)
        axon, after = path.axon, path.after
        longest = extra + sum(int(v.max()) for v in (axon, after) if v is not None)
        if longest > MAX_DELAY:
            raise ModelError(
                f"{path.source} -> {target}: waits for up to {longest} timesteps; the limit is {MAX_DELAY}: choose a "
                "longer time step, or fewer layers beside it"
            )
        if axon is not None and after is not None:
            raise ModelError(
                f"{path.source} -> {target}: has delays that differ from source to source and from target to target; "
                "keep one of them uniform"
            )
        if after is not None:
            return Delay("neuron", after + extra)
        if axon is not None:
            return Delay("axon", axon + extra)
        return Delay("axon", np.full(math.prod(path.linear.in_shape), extra)) if extra else None


def _layer_shape(shape: Shape, paths: list[Path], name: str) -> Shape:
    """Return (N,) or (C, H, W) for a layer; a convolution's own shape where one leads to it."""
    for path in paths:
        if isinstance(path.linear, Convolution):
            return path.linear.out_shape
    return shape if len(shape) == 1 else as_image(shape, f"node {name}")


def _weights(linear: LinearMap) -> FloatArray:
    if isinstance(linear, Convolution):
        return linear.node.weight
    return linear.matrix if isinstance(linear, Matrix) else linear.factors


def _uniform(values: FloatArray) -> FloatArray:
    return values[:1].copy() if (values == values[0]).all() else values
