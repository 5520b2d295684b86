"""The exact network in the metadata of a NIR file that `write_nir` wrote."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

import numpy as np

from neurosim.errors import ModelError, suggest
from neurosim.formats.nir_file import NirGraph
from neurosim.formats.nir_parts import METADATA_KEY, VERSION, matrix_of, split
from neurosim.network import Connection, Delay, Dense, Layer, Network, Unit
from neurosim.network.transforms import TRANSFORMS, transform_from_dict
from neurosim.network.units import UNITS, unit_from_dict

ARRAYS = {"dense": ("weights",), "conv2d": ("weights",), "pool2d": (), "sparse": ("row_start", "targets", "weights")}
"""Per kind of transform, its arrays."""
MAX_LAYERS = 10_000


def restore(graph: NirGraph) -> Network:
    """Return the network that `write_nir` wrote.

    Raises
    ------
    ModelError
        The metadata are damaged, or the graph's weights are no longer those of the network.
    """
    try:
        about = json.loads(str(graph.metadata[METADATA_KEY]))
        if about["version"] != VERSION:
            raise ModelError(f"its metadata have version {about['version']!r}; this neurosim reads {VERSION}")
        if len(about["layers"]) > MAX_LAYERS:
            raise ModelError(f"its metadata name {len(about['layers'])} layers; the limit is {MAX_LAYERS}")
        layers = [Layer(_text(e["name"]), _integers(e["shape"]), _unit(e["unit"])) for e in about["layers"]]
        sizes = {layer.name: layer for layer in layers}
        connections = [_connection(graph, n, entry, sizes) for n, entry in enumerate(about["connections"])]
        network = Network(layers, connections, _text(about["name"]))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ModelError(f"its metadata {METADATA_KEY} are damaged ({error!r}); write the network again") from error
    _compare(graph, network)
    return network


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _integers(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or any(type(v) is not int for v in value):
        raise TypeError(f"{str(value)[:40]} is no list of integers")
    return tuple(value)


def _unit(values: Any) -> Unit:
    kind = values["kind"]
    if kind not in UNITS:
        raise ModelError(f'its metadata hold unit kind "{kind}", which is not known{suggest(str(kind), UNITS)}')
    types = {"int": int, "bool": bool, "str": str}
    for item in fields(UNITS[kind]):
        if item.name in UNITS[kind].omitted and item.name not in values:
            continue
        value = values[item.name]
        if str(item.type) == "IntArray":
            _integers(value)
        elif type(value) is not types[str(item.type)]:
            raise TypeError(f"{kind} {item.name} is {value!r}")
    return unit_from_dict(values)


def _array(graph: NirGraph, name: str, key: str) -> Any:
    node = graph.nodes[name]
    value = node.metadata[key] if key in node.metadata else getattr(node, key[:-1])
    if value.dtype.kind not in "iu":
        raise TypeError(f"{name} {key} is {value.dtype}")
    return value


def _connection(graph: NirGraph, number: int, entry: Any, layers: dict[str, Layer]) -> Connection:
    first = f"connection{number}.0"
    sources = tuple(_text(name) for name in entry["sources"])
    values = dict(entry["transform"])
    kind = values["kind"]
    if kind not in ARRAYS or kind not in TRANSFORMS:
        raise ModelError(f'its metadata hold transform "{kind}", which is not known{suggest(str(kind), ARRAYS)}')
    stored = graph.nodes[first].metadata
    if "weights" in stored or kind == "sparse":
        values |= {key: stored[key] for key in ARRAYS[kind]}
    elif ARRAYS[kind]:
        parts = [_array(graph, f"connection{number}.{k}", "weights") for k in range(len(sources))]
        values["weights"] = np.concatenate(parts, axis=1)
    for key, value in values.items():
        if isinstance(value, np.ndarray) and value.dtype.kind not in "iu":
            raise TypeError(f"{first} {key} is {value.dtype}")
        if isinstance(value, list):
            values[key] = _integers(value)
    delay = None
    if entry["delay"] is not None:
        delay = Delay(_text(entry["delay"]), stored["delay"])
    bits = entry["accumulator_bits"]
    if bits is not None and (type(bits) is not int or not 1 <= bits <= 62):
        raise TypeError(f"accumulator_bits is {bits!r}")
    return Connection(sources, _text(entry["target"]), transform_from_dict(values), delay, bits)


def _compare(graph: NirGraph, network: Network) -> None:
    """Refuse a graph whose weights were changed after it was written: the metadata would hide that."""
    for number, connection in enumerate(network.connections):
        parts = split(network, connection)
        if parts is None:
            parts = split(network, connection, matrix_of(connection.transform, connection.label))
        assert parts is not None
        for k, part in enumerate(parts):
            name = f"connection{number}.{k}"
            node = graph.nodes.get(name)
            weight = getattr(node, "weight", None)
            if isinstance(part, Dense) or weight is not None:
                same = weight is not None and np.array_equal(weight, part.weights)
            else:
                same = node is not None  # Pooling has no weights.
            if not same:
                raise ModelError(
                    f"node {name} is not what the metadata {METADATA_KEY} say; write the network again, or remove them"
                )
