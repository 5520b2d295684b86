"""A network for people: layers, connections, and their sums."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, fields

import numpy as np
from rich.console import Console
from rich.text import Text

from neurosim.network import Connection, Conv2d, Network, Pool2d, Unit
from neurosim.report.layout import Column, counted, percent, print_columns, print_list


def print_network(network: Network, notes: Iterable[str], console: Console) -> None:
    """Print a network's layers, connections and sums.

    Parameters
    ----------
    network
        What to describe.
    notes
        Sentences of its reader.
    console
        Where to.
    """
    console.print(Text(network.name, style="bold"))
    layers = network.layers
    columns = [
        Column("layer", [layer.name for layer in layers], left=True, foot="all"),
        Column("shape", [_times(layer.shape) for layer in layers]),
        Column("neurons", [layer.size for layer in layers], foot=network.size),
        Column("delay", [network.layer_delays[layer.name] for layer in layers]),
        Column("unit", [layer.unit.kind for layer in layers], left=True),
        Column("parameters", [_parameters(layer.unit) for layer in layers], wrapped=True),
    ]
    print_columns("Layers (delay: timesteps from a frame to its whole effect)", columns, console)
    if network.connections:
        _connections(network, console)
    structural, nonzero = (int(total.sum()) for total in network.fan_out)
    depth = network.depth_timesteps
    sums = [
        f"{counted(network.size, 'neuron')} in {counted(len(layers), 'layer')}",
        f"{counted(structural, 'synapse')}, as many multiplications and additions as a dense evaluation takes; "
        f"{nonzero:,} of them have a non-zero weight",
        f"depth of {counted(depth, 'timestep')}: a frame fed in timestep t has its whole effect on the last "
        f"layer in t + {depth - 1}",
    ]
    print_list("Sums", sums, console)
    print_list("Notes", notes, console)


def _connections(network: Network, console: Console) -> None:
    connections = network.connections
    weights = [connection.transform.weights for connection in connections]
    nonzero = [int(np.count_nonzero(w)) for w in weights]
    synapses = [int(connection.transform.fan_out().structural.sum()) for connection in connections]
    columns = [
        Column("connection", [f"{'+'.join(c.sources)} > {c.target}" for c in connections], left=True, foot="all"),
        Column("transform", [_transform(c) for c in connections], left=True),
        Column("synapses", synapses, foot=sum(synapses)),
        Column("weights", [int(w.size) for w in weights], foot=sum(int(w.size) for w in weights)),
        Column(
            "non-zero\n/%",
            [percent(some / w.size) if w.size else None for some, w in zip(nonzero, weights, strict=True)],
        ),
        Column("range", [f"{w.min()}..{w.max()}" if w.size else None for w in weights]),
        Column("bits", [_bits(w) for w in weights]),
    ]
    if any(c.compartments for c in connections):
        into = [", ".join(map(str, c.leads_to(network[c.target].unit))) for c in connections]
        columns.append(Column("compart-\nments", into, left=True))
    if any(c.delay for c in connections):
        delays = [f"{c.delay.kind}, up to {c.delay.longest}" if c.delay else None for c in connections]
        columns.append(Column("delays\n/timesteps", delays, left=True))
    print_columns("Connections (weights: as stored, a convolution's kernel once)", columns, console)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _transform(connection: Connection) -> str:
    transform = connection.transform
    if isinstance(transform, Pool2d):
        return f"{transform.mode} pool {_times(transform.kernel)} /{_times(transform.stride)}"
    if not isinstance(transform, Conv2d):
        return transform.kind
    words = [f"conv {_times(transform.weights.shape[2:])}"]
    if transform.stride != (1, 1):
        words.append(f"/{_times(transform.stride)}")
    if transform.padding != (0, 0):
        words.append(f"pad {_times(transform.padding)}")
    if transform.dilation != (1, 1):
        words.append(f"dilation {_times(transform.dilation)}")
    if transform.groups != 1:
        words.append(f"{transform.groups} groups")
    return " ".join(words)


def _bits(weights: np.ndarray) -> int:
    """Return the bits that hold every weight, with a sign where one is negative."""
    if not weights.size:
        return 0
    low, high = int(weights.min()), int(weights.max())
    if low >= 0:
        return high.bit_length()
    return 1 + max(high.bit_length(), (-low - 1).bit_length())


def _parameters(unit: Unit) -> str:
    """Return the parameters that are not at their defaults, those without a default always."""
    words = []
    for item in fields(unit):
        value = getattr(unit, item.name)
        name = item.name.replace("_", " ")
        if isinstance(value, np.ndarray):
            if value.any():
                span = f"{value.min()}..{value.max()}" if value.size > 1 else f"{value[0]}"
                words.append(f"{name} {span}")
        elif item.default is MISSING or value != item.default:
            words.append(name if value is True else f"{name} {value:,}" if type(value) is int else f"{name} {value}")
    return ", ".join(words) or "-"
