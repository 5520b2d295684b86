"""Gated recurrent networks to delta networks in integers: `DeltaGru` and `DeltaLstm` layers, and a read-out.

A chain of GRUs or of LSTMs and a linear layer behind becomes: a layer `Delta` that sends changes of the frames, a gated
layer for each of them, which sends changes of its states to itself and to the next, and a `CurrentLeaky` read-out. Its
current adds up what comes of the changes, W dh, and so is W h^ of the states h^ that it was told; its voltage is the
answer of a frame, W h^ + b, or, with nothing forgotten, the sum of the frames' answers, as many times their mean.

Number formats are powers of two throughout, so no multiplication but those of weights and gates is needed. For those of
gated layers see `neurosim.network.gated`; the read-out's weights have the bits of the others and as many of fraction as
let the largest fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from neurosim.convert.delta_cells import bias_of
from neurosim.errors import InputError, ModelError
from neurosim.formats.dense_graph import DenseGraph, FloatArray, Gru, Input, Linear, Lstm, Recurrent
from neurosim.network import Connection, CurrentLeaky, Delta, DeltaGru, DeltaLstm, Dense, Layer, Network
from neurosim.network.unit_base import IntArray

READ_OUTS = ("frame", "mean")
READ_OUT_STATE_BITS = 40
MOST_FRACTION = 24
"""Most bits of fraction of the read-out's weights."""


@dataclass(frozen=True)
class GatedFormats:
    """Number formats of gated layers, by default those of EdgeDRNN; see `neurosim.network.gated`.

    Attributes
    ----------
    activation_fraction, activation_bits, table_fraction, sum_bits
        As of `neurosim.network.gated.Gated`.
    weight_fraction, weight_bits
        Of weights: bits of fraction, and all with the sign. They are symmetric, +-(2**(weight_bits - 1) - 1).
    """

    activation_fraction: int = 8
    activation_bits: int = 16
    weight_fraction: int = 7
    weight_bits: int = 8
    table_fraction: int = 4
    sum_bits: int = 32

    @property
    def sum_fraction(self) -> int:
        """Bits of fraction of sums: those of products."""
        return self.activation_fraction + self.weight_fraction

    @property
    def largest_weight(self) -> int:
        """Largest weight in its units."""
        return (1 << (self.weight_bits - 1)) - 1


@dataclass(frozen=True)
class GatedNetwork:
    """A gated network in integers, and how its numbers are read.

    Attributes
    ----------
    network
        `Delta`, gated layers, `CurrentLeaky`.
    graph
        The floats it was made of.
    formats
        Of its gated layers.
    read_out
        ``frame`` or ``mean``.
    answer_scale
        What 1 in a message of the read-out stands for; with ``mean`` divided by the number of frames so far.
    """

    network: Network
    graph: DenseGraph
    formats: GatedFormats
    read_out: str
    answer_scale: float

    @property
    def nodes(self) -> tuple[Recurrent, ...]:
        """The gated nodes, in order."""
        return tuple(node for node in self.graph.nodes if isinstance(node, Recurrent))

    @property
    def frame_scale(self) -> float:
        """What 1 in an integer frame stands for."""
        return 2.0**-self.formats.activation_fraction

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Thresholds of the inputs and of each gated layer, as they are in the network's numbers."""
        units: Any = [layer.unit for layer in self.network.layers[:-1]]
        return tuple(unit.threshold * self.frame_scale for unit in units)


def to_gated(
    graph: DenseGraph,
    thresholds: Sequence[float] | float,
    formats: GatedFormats | None = None,
    read_out: str = "frame",
) -> GatedNetwork:
    """Return a chain of GRUs or of LSTMs, with a linear layer behind, as a delta network in integers.

    Parameters
    ----------
    graph
        The float network.
    thresholds
        Least change that is sent, of inputs and of each gated layer's states, or one for all; rounded to the format of
        activations. At 0 any change is sent.
    formats
        Number formats.
    read_out
        ``frame``: each frame has its answer. ``mean``: the answer is of the mean state of the frames so far.

    Raises
    ------
    ModelError
        Nodes that are no such chain, weights or biases that the formats do not hold.
    InputError
        Thresholds or the read-out.
    """
    formats = formats or GatedFormats()
    if read_out not in READ_OUTS:
        raise InputError(f'the read-out is "{read_out}"; use {" or ".join(READ_OUTS)}')
    chain, readout = _chain(graph)
    theta = _thresholds(thresholds, len(chain) + 1, formats)
    (source,) = graph.inputs
    layers = [Layer(source.name, source.shape, Delta(theta[0], 0, 0))]
    connections: list[Connection] = []
    for depth, node in enumerate(chain, 1):
        before, unit = layers[-1].name, _unit(node, theta[depth], depth, formats)
        layers.append(Layer(node.name, (node.hidden,), unit))
        both = ((0, 1, 2), (0, 1, 3)) if isinstance(node, Gru) else (None, None)
        for name, key, into in ((before, "weight_ih", both[0]), (node.name, "weight_hh", both[1])):
            weights = _weights(getattr(node, key), f"node {node.name} ({node.op}): {key}", formats)
            connections.append(
                Connection((name,), node.name, Dense(_by_neuron(weights, node.gates)), compartments=into)
            )
    fraction = _fraction_that_fits(readout.weight, formats, MOST_FRACTION)
    per_one = 2.0 ** (formats.activation_fraction + fraction)
    kept = np.array([1 << 12])
    unit_out = CurrentLeaky(
        voltage_keep=kept if read_out == "mean" else kept * 0, current_keep=kept, start=len(chain) + 1,
        bias=np.rint(readout.bias * per_one).astype(np.int64), state_bits=READ_OUT_STATE_BITS,
    )  # fmt: skip
    weights = np.rint(readout.weight * 2.0**fraction).astype(np.int64)
    layers.append(Layer(readout.name, (len(weights),), unit_out))
    connections.append(Connection((chain[-1].name,), readout.name, Dense(weights)))
    return GatedNetwork(Network(layers, connections, graph.name), graph, formats, read_out, 1.0 / per_one)


def _chain(graph: DenseGraph) -> tuple[list[Gru | Lstm], Linear]:
    """Return the gated nodes and the read-out of a chain, or say what else there is."""
    chain: list[Gru | Lstm] = []
    for place, node in enumerate(graph.nodes):
        said = f"node {node.name} ({node.op})"
        if place and node.inputs != (graph.nodes[place - 1].name,):
            raise ModelError(f"{said}: reads {', '.join(node.inputs)}; a delta network is a chain, each node after one")
        last = place == len(graph.nodes) - 1
        if isinstance(node, Gru | Lstm) and not last:
            if chain and type(node) is not type(chain[0]):
                raise ModelError(f"{said}: behind a {chain[0].op}; give gated nodes of one kind")
            if isinstance(node, Gru) and node.reset_before:
                raise ModelError(
                    f"{said}: resets before its product, which is then no sum of changes; train with the reset after "
                    "it, as PyTorch has it (of ONNX, linear_before_reset 1)"
                )
            chain.append(node)
        elif not (isinstance(node, Input) and not place) and not (isinstance(node, Linear) and last and chain):
            raise ModelError(
                f"{said}: a delta network is an input, GRUs or LSTMs, and a linear layer as its answer; leave out or "
                "replace what else there is"
            )
    if not chain:
        raise ModelError(f"{graph.name}: has no GRU or LSTM; convert it to another form")
    last_node = graph.nodes[-1]
    assert isinstance(last_node, Linear)
    return chain, last_node


def _thresholds(given: Sequence[float] | float, count: int, formats: GatedFormats) -> list[int]:
    many = [given] * count if isinstance(given, int | float) else list(given)
    if len(many) == 1:
        many = many * count
    if len(many) != count or not all(np.isfinite(v) and v >= 0 for v in many):
        raise InputError(f"thresholds are {many}; give 1 or {count} (inputs, then each gated layer), 0 or more")
    found = [int(np.rint(v * 2.0**formats.activation_fraction)) for v in many]
    for value, rounded in zip(many, found, strict=True):
        if value > 0 and not rounded:
            raise InputError(
                f"a threshold of {value:g} is less than half of 1/{1 << formats.activation_fraction}, the step of "
                "activations; give 0, or one that large"
            )
    return found


def _fraction_that_fits(weights: FloatArray, formats: GatedFormats, most: int) -> int:
    """Return the most bits of fraction with which weights fit their bits; may be negative."""
    reach = float(np.abs(weights).max())
    fraction = most
    while np.rint(reach * 2.0**fraction) > formats.largest_weight:
        fraction -= 1
    return fraction


def _weights(values: FloatArray, place: str, formats: GatedFormats) -> IntArray:
    found = np.rint(values * 2.0**formats.weight_fraction)
    if np.abs(found).max() > formats.largest_weight:
        at = [int(i) for i in np.unravel_index(int(np.abs(values).argmax()), values.shape)]
        fits = _fraction_that_fits(values, formats, formats.weight_fraction)
        raise ModelError(
            f"{place}{at} is {values[tuple(at)]:.6g}; {formats.weight_bits} bits with {formats.weight_fraction} of "
            f"fraction hold +-{formats.largest_weight / 2.0**formats.weight_fraction:.6g}; "
            + (
                f"give a weight fraction of {fits} (--weight-fraction {fits})"
                if fits >= 0
                else "scale the network's inputs"
            )
        )
    return found.astype(np.int64)


def _by_neuron(weights: IntArray, gates: int) -> IntArray:
    """Return rows stacked gate by gate, (gates hidden, in), as (hidden gates, in): neuron by neuron."""
    return weights.reshape(gates, -1, weights.shape[1]).transpose(1, 0, 2).reshape(weights.shape)


def _unit(node: Gru | Lstm, threshold: int, start: int, formats: GatedFormats) -> DeltaGru | DeltaLstm:
    kind = DeltaGru if isinstance(node, Gru) else DeltaLstm
    gates = bias_of(node).reshape(-1, node.hidden)
    per_one = 2.0**formats.sum_fraction
    biases: Any = {
        name: np.rint(values * per_one).astype(np.int64) for name, values in zip(kind.bias_names, gates, strict=True)
    }
    try:
        return kind(
            threshold=threshold, activation_fraction=formats.activation_fraction,
            activation_bits=formats.activation_bits, sum_fraction=formats.sum_fraction, sum_bits=formats.sum_bits,
            table_fraction=formats.table_fraction, start=start, **biases,
        )  # fmt: skip
    except ModelError as error:
        raise ModelError(f"node {node.name} ({node.op}): {error}") from error
