"""Writer of NIR files: a network as a graph that other tools can read, and exactly itself in documented metadata.

NIR has no delta thresholds, shifts, roundings, wrapping sums or integer decays. The graph holds what it can say: the
integer weights as they are, neurons with the float parameters nearest to the integer unit. All else stands as JSON text
in the graph's metadata under ``neurosim``, and arrays that are no NIR parameter in the metadata of their node; the
reader takes the network from there, bit by bit. docs/nir.md lists the keys.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import InputError, ModelError
from neurosim.files import atomic_path
from neurosim.formats.nir_parts import METADATA_KEY, VERSION, matrix_of, neuron, split
from neurosim.network import Connection, Conv2d, Dense, Network, Pool2d, Sparse


def write_nir(network: Network, path: str | Path, dt_s: float = 1.0) -> None:
    """Write a network as a NIR file, which `read_nir` reads back equal.

    Parameters
    ----------
    network
        Any network.
    path
        Written whole or not at all.
    dt_s
        Seconds that a timestep stands for in the graph's time constants and delays.

    Raises
    ------
    ModelError
        A layer's units have several compartments, a connection that NIR can only hold as a matrix is too
        large for one, or names clash.
    InputError
        The file cannot be written.
    """
    import nir

    if not dt_s > 0:
        raise ModelError(f"dt_s is {dt_s}; give the seconds of a timestep, above 0")
    for layer in network.layers:
        if layer.unit.compartments > 1:
            raise ModelError(
                f"{network.name}: layer {layer.name} of {layer.unit.kind} units: NIR has no units of several "
                "compartments; write a network file (.nsnet)"
            )
    nodes: dict[str, Any] = {}
    edges: list[tuple[str, str]] = []

    def add(name: str, node: Any, *sources: str) -> str:
        if name in nodes:
            raise ModelError(f'{network.name}: the name "{name}" is needed twice in the file; rename the layer')
        nodes[name] = node
        edges.extend((source, name) for source in sources)
        return name

    fed = {c.target for c in network.connections}
    feeding = {s for c in network.connections for s in c.sources}
    for layer in network.layers:
        node = neuron(layer, dt_s)
        shape = np.array(layer.shape)
        if layer.name in fed:
            add(layer.name, node or nir.Scale(np.ones(layer.shape)))
        elif node is None:
            add(layer.name, nir.Input({"input": shape}))
        else:
            add(layer.name, node, add(f"{layer.name}.frames", nir.Input({"input": shape})))
        if layer.name not in feeding:
            add(f"{layer.name}.out", nir.Output({"output": shape}), layer.name)
    described = []
    for number, connection in enumerate(network.connections):
        described.append(_describe(connection))
        for at, node, metadata, source, target in _nodes(network, connection, number, dt_s):
            node.metadata = metadata
            add(at, node, source)
            if target:
                edges.append((at, target))
    about = {
        "version": VERSION,
        "name": network.name,
        "dt_s": dt_s,
        "layers": [
            {"name": layer.name, "shape": [int(v) for v in layer.shape], "unit": _plain(layer.unit.to_dict())}
            for layer in network.layers
        ],
        "connections": described,
    }
    text = json.dumps(about, separators=(",", ":"), sort_keys=True)
    graph = nir.NIRGraph(nodes, edges, {METADATA_KEY: text}, type_check=False)
    try:
        with atomic_path(path) as part:
            nir.write(part, graph)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error}; choose another place") from error


def _plain(value: Any) -> Any:
    """Return numbers of numpy as those of Python."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return value.item() if isinstance(value, np.generic) else value


def _describe(connection: Connection) -> dict[str, Any]:
    """Return what the metadata say of a connection: all but its arrays."""
    values = connection.transform.to_dict()
    small = {key: value for key, value in values.items() if not isinstance(value, np.ndarray)}
    return {
        "sources": list(connection.sources),
        "target": connection.target,
        "transform": _plain(small),
        "delay": None if connection.delay is None else connection.delay.kind,
        "accumulator_bits": connection.accumulator_bits,
    }


def _nodes(network: Network, connection: Connection, number: int, dt_s: float) -> Any:
    """Yield (name, node, metadata, source, target or None) of each node of a connection, in order."""
    import nir

    transform, delay = connection.transform, connection.delay
    metadata: dict[str, Any] = {}
    if delay is not None:
        metadata["delay"] = delay.values
    if isinstance(transform, Sparse):
        metadata |= {key: value for key, value in transform.to_dict().items() if isinstance(value, np.ndarray)}
    parts = split(network, connection)
    if parts is None:
        # Concatenated images have no node of their own in NIR: one matrix for each source.
        metadata |= {key: value for key, value in transform.to_dict().items() if isinstance(value, np.ndarray)}
        parts = split(network, connection, matrix_of(transform, connection.label))
    assert parts is not None
    at = 0
    for k, (source, part) in enumerate(zip(connection.sources, parts, strict=True)):
        name = f"connection{number}.{k}"
        layer, before = network[source], source
        if delay is not None and delay.kind == "axon":
            steps = delay.values[at : at + layer.size].reshape(layer.shape)
            yield f"{name}.delay", nir.Delay(steps * dt_s), {}, before, None
            before = f"{name}.delay"
        at += layer.size
        image = not isinstance(part, Dense)
        if not image and len(layer.shape) > 1:
            flat = nir.Flatten({"input": np.array(layer.shape)}, 0, -1)
            yield f"{name}.flat", flat, {}, before, None
            before = f"{name}.flat"
        after = delay is not None and delay.kind == "neuron"
        target = None if after else connection.target
        yield name, _node(part), metadata if k == 0 else {}, before, target
        if after:
            assert delay is not None
            steps = delay.values.reshape(network[connection.target].shape)
            yield f"{name}.delay", nir.Delay(steps * dt_s), {}, name, connection.target


def _node(part: Any) -> Any:
    import nir

    if isinstance(part, Pool2d):
        kind = nir.SumPool2d if part.mode == "sum" else nir.AvgPool2d
        return kind(np.array(part.kernel), np.array(part.stride), np.array(part.padding))
    if isinstance(part, Conv2d):
        return nir.Conv2d(
            tuple(part.in_shape[1:]), part.weights, part.stride, part.padding, part.dilation, part.groups,
            np.zeros(part.weights.shape[0]),
        )  # fmt: skip
    return nir.Linear(part.weights)
