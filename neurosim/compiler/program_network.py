"""The network inside a program file: layers with their units, connections with their transforms."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import h5py
import numpy as np

from neurosim.compiler.program_fields import (
    Fields,
    error_lines,
    narrowest,
    put_array,
    put_number,
    put_text,
)
from neurosim.errors import ModelError, suggest
from neurosim.network import Connection, Delay, Layer, Network, Transform, Unit
from neurosim.network.graph import MAX_NEURONS
from neurosim.network.maxima import MOST_PLACES
from neurosim.network.transforms import transform_from_dict
from neurosim.network.units import UNITS, unit_from_dict

MOST_BITS = 62
"""Widest shift and accumulator: sums are kept in 64 bits."""
MOST_COMPARTMENTS = MOST_PLACES
"""Of a neuron: those of a pool by maximum, which has one for each place."""
MOST_POOL_WEIGHTS = 1 << 28

TRANSFORM_ARRAYS: dict[str, dict[str, tuple[type[np.integer[Any]], int]]] = {
    "dense": {"weights": (np.int32, 2)},
    "sparse": {"row_start": (np.int64, 1), "targets": (np.int64, 1), "weights": (np.int32, 1)},
    "conv2d": {"weights": (np.int32, 4)},
    "pool2d": {},
}
"""Per kind of transform, the datasets: type and number of axes."""

TRANSFORM_NUMBERS: dict[str, dict[str, tuple[int, int]]] = {
    "dense": {},
    "sparse": {"out_size": (1, 1)},
    "conv2d": {"in_shape": (3, 1), "stride": (2, 1), "padding": (2, 0), "dilation": (2, 1), "groups": (1, 1)},
    "pool2d": {"in_shape": (3, 1), "kernel": (2, 1), "stride": (2, 1), "padding": (2, 0)},
}
"""Per kind of transform, the integer attributes: how many integers, and the smallest allowed."""

TRANSFORM_TEXTS: dict[str, tuple[str, ...]] = {"pool2d": ("mode",)}


def write_network(group: h5py.Group, network: Network) -> None:
    """Write `network` into `group`."""
    put_text(group, "name", network.name)
    layers = group.create_group("layers")
    for i, layer in enumerate(network.layers):
        part = layers.create_group(str(i))
        put_text(part, "name", layer.name)
        put_number(part, "shape", layer.shape)
        _write_values(part.create_group("unit"), layer.unit.parameters())
    connections = group.create_group("connections")
    for i, connection in enumerate(network.connections):
        part = connections.create_group(str(i))
        put_array(part, "sources", np.array([network.index[name] for name in connection.sources], np.int32))
        put_number(part, "target", network.index[connection.target])
        if connection.accumulator_bits is not None:
            put_number(part, "accumulator_bits", connection.accumulator_bits)
        if connection.compartments is not None:
            put_number(part, "compartments", connection.compartments)
        _write_values(part.create_group("transform"), connection.transform.to_dict())
        if connection.delay is not None:
            delay = part.create_group("delay")
            put_text(delay, "kind", connection.delay.kind)
            put_array(delay, "values", narrowest(connection.delay.values))


def _write_values(group: h5py.Group, values: dict[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, str):
            put_text(group, key, value)
        elif isinstance(value, np.ndarray):
            put_array(group, key, narrowest(value))
        else:
            put_number(group, key, value)


def read_network(root: Fields) -> Network | None:
    """Return the network of the group `root`, or None with the reasons among its errors."""
    before = len(root.errors)
    root.only(("layers", "connections"), ("name",))
    name = root.text("name")
    layers = [_read_layer(part) for part in root.numbered("layers")]
    connections = [_read_connection(part, layers) for part in root.numbered("connections")]
    if len(root.errors) > before or name is None:
        return None
    try:
        return Network(
            [layer for layer in layers if layer is not None],
            [connection for connection in connections if connection is not None],
            name,
        )
    except ModelError as error:
        root.errors += error_lines(error)
        return None


def _read_layer(part: Fields) -> Layer | None:
    part.only(("unit",), ("name", "shape"))
    name, shape = part.text("name"), part.integers("shape", (1, 3), 1, MAX_NEURONS)
    inner = part.inner("unit")
    unit = None if inner is None else _read_unit(inner, shape)
    if name is None or shape is None or unit is None:
        return None
    return Layer(name, shape, unit)


def _read_unit(part: Fields, shape: tuple[int, ...] | None) -> Unit | None:
    kind = part.text("kind")
    if kind is None:
        return None
    if kind not in UNITS:
        part.attribute_error("kind", f'is "{kind}"; known: {", ".join(UNITS)}{suggest(kind, UNITS)}')
        return None
    types = {item.name: str(item.type) for item in fields(UNITS[kind])}
    arrays = [name for name, form in types.items() if form == "IntArray"]
    part.only(arrays, ["kind", *(name for name in types if name not in arrays)])
    types = {name: form for name, form in types.items() if name not in UNITS[kind].omitted or name in part.group.attrs}
    values: dict[str, Any] = {}
    for name, form in types.items():
        if form == "IntArray":
            values[name] = part.array(name, np.int64, (None,))
        elif form == "bool":
            values[name] = part.boolean(name)
        elif form == "str":
            values[name] = part.text(name)
        elif name.endswith("_shift"):
            values[name] = part.integer(name, 0, MOST_BITS)
        else:
            values[name] = part.integer(name)
    if any(value is None for value in values.values()):
        return None
    for name in arrays:
        if shape is None:
            break
        sizes = {1, shape[0], math.prod(shape)}
        if values[name].size not in sizes:
            wanted = " or ".join(map(str, sorted(sizes)))
            part.error(name, f"has {values[name].size} values for a layer of shape {shape}; give {wanted}")
    try:
        return unit_from_dict({"kind": kind, **values})
    except ModelError as error:
        part.errors.append(f"{part.place}: {error}")
        return None


def _read_connection(part: Fields, layers: list[Layer | None]) -> Connection | None:
    part.only(("sources", "transform", "delay"), ("target", "accumulator_bits", "compartments"))
    last = max(len(layers) - 1, 0)
    sources = part.array("sources", np.int32, (None,))
    if sources is not None and (not sources.size or sources.min() < 0 or sources.max() > last):
        part.error("sources", f"is {sources[:20].tolist()}; give at least one layer of 0..{last}")
        sources = None
    target = part.integer("target", 0, last)
    bits = part.integer("accumulator_bits", 1, MOST_BITS) if "accumulator_bits" in part.group.attrs else None
    compartments = None
    if "compartments" in part.group.attrs:
        compartments = part.integers("compartments", range(1, MOST_COMPARTMENTS + 1), 0, MOST_COMPARTMENTS - 1)
    inner = part.inner("transform")
    transform = None if inner is None else _read_transform(inner)
    if sources is None or target is None or transform is None:
        return None
    delay = _read_delay(part, transform) if "delay" in part.group else None
    names = [layer.name if layer is not None else "" for layer in layers]
    try:
        return Connection(
            tuple(names[i] for i in sources.tolist()), names[target], transform, delay, bits, compartments
        )
    except ModelError as error:
        part.errors.append(f"{part.place}: {error}")
        return None


def _read_transform(part: Fields) -> Transform | None:
    kind = part.text("kind")
    if kind is None:
        return None
    if kind not in TRANSFORM_ARRAYS:
        known = ", ".join(TRANSFORM_ARRAYS)
        part.attribute_error("kind", f'is "{kind}"; known: {known}{suggest(kind, TRANSFORM_ARRAYS)}')
        return None
    arrays, numbers, texts = TRANSFORM_ARRAYS[kind], TRANSFORM_NUMBERS[kind], TRANSFORM_TEXTS.get(kind, ())
    part.only(arrays, ("kind", *numbers, *texts))
    values: dict[str, Any] = {name: part.text(name) for name in texts}
    for name, (dtype, axes) in arrays.items():
        values[name] = part.array(name, dtype, (None,) * axes)
    for name, (length, least) in numbers.items():
        found = part.integers(name, (length,), least, MAX_NEURONS)
        values[name] = found[0] if found is not None and length == 1 else found
    if any(value is None for value in values.values()):
        return None
    if kind == "pool2d" and values["in_shape"][0] * math.prod(values["kernel"]) > MOST_POOL_WEIGHTS:
        part.attribute_error("kernel", f"is {values['kernel']}: too large for {values['in_shape'][0]} channels")
        return None
    try:
        return transform_from_dict({"kind": kind, **values})
    except ModelError as error:
        part.errors.append(f"{part.place}: {error}")
        return None


def _read_delay(connection: Fields, transform: Transform) -> Delay | None:
    part = connection.inner("delay")
    if part is None:
        return None
    part.only(("values",), ("kind",))
    kind = part.text("kind")
    axes = transform.weights.ndim if kind == "synapse" else 1
    values = part.array("values", np.int64, (None,) * axes)
    if kind is None or values is None:
        return None
    try:
        return Delay(kind, values)
    except ModelError as error:
        part.errors.append(f"{part.place}: {error}")
        return None
