"""What a converted network sends and answers on many frames, counted without simulating a chip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.convert.passes import batches
from neurosim.errors import ModelError
from neurosim.formats.dense_graph import Conv2d as DenseConv2d
from neurosim.formats.dense_numpy import forward
from neurosim.network import Conv2d, Dense, MaxRounding, Network, Rounding, Transform
from neurosim.network.rounding import shift_and_round
from neurosim.network.units import spread

IntArray = NDArray[np.int64]
BATCH = 256


@dataclass(frozen=True, eq=False)
class Counts:
    """What a run of frames through a converted network comes to.

    Attributes
    ----------
    names
        Layers.
    messages
        int64 (layers,), over all frames, as the following.
    spikes
        Unit spikes, the sizes of all messages added up: how often rows of weights are read where messages are sent so.
    unit_adds, graded_synops
        Additions of unit spikes, and synapses that graded messages meet, each once.
    message_bits, sum_bits
        int64 (layers,): signed bits that messages and sums need.
    answers
        int64 (frames, n): what the last layer gives.
    frames
        How many.
    """

    names: tuple[str, ...]
    messages: IntArray
    spikes: IntArray
    unit_adds: IntArray
    graded_synops: IntArray
    message_bits: IntArray
    sum_bits: IntArray
    answers: IntArray
    frames: int


def signed_bits(values: NDArray[Any]) -> int:
    """Return the bits that values need in two's complement."""
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    return 1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0)


def apply_transform(transform: Transform, values: IntArray) -> IntArray:
    """Return the sums that values (frames, in_size) cause, int64 (frames, out_size); see `Transform.apply`."""
    if isinstance(transform, Dense):
        # In float64 for speed; exact, as `_check_exact` makes sure.
        return (values.astype(np.float64) @ transform.weights.T.astype(np.float64)).astype(np.int64)
    if isinstance(transform, Conv2d):
        node = DenseConv2d(
            "", ("",), transform.weights.astype(np.float64), np.zeros(1), transform.stride, transform.padding,
            transform.dilation, transform.groups,
        )  # fmt: skip
        x = values.reshape(len(values), *transform.in_shape).astype(np.float64)
        return forward(node, [x], (len(x),), transform.out_shape).reshape(len(x), -1).astype(np.int64)
    return np.array([transform.apply(row) for row in values])


def run_values(network: Network, frames: IntArray) -> Iterator[tuple[list[IntArray], list[IntArray]]]:
    """Yield, for `BATCH` frames at a time, each layer's rounded values and its sums, (frames, n).

    What a rounding network sends for each frame, and whose changes a sigma-delta network sends.

    Raises
    ------
    ModelError
        The network has loops, units that are no `Rounding`, or sums too large for exact float64 products.
    """
    for layer in network.layers:
        if not isinstance(layer.unit, Rounding):
            raise ModelError(f"layer {layer.name} is of {layer.unit.kind} units; this counts converted networks")
    for connection in network.connections:
        if max(network.index[name] for name in connection.sources) >= network.index[connection.target]:
            raise ModelError(f"{connection.label} closes a loop; this counts feed-forward networks")
    for part in batches(len(frames), BATCH):
        values: list[IntArray] = []
        totals: list[IntArray] = []
        for layer in network.layers:
            unit = layer.unit
            assert isinstance(unit, Rounding)
            total = np.zeros((part.stop - part.start, layer.size), dtype=np.int64)
            into = [c for c in network.connections if c.target == layer.name]
            for connection in into:
                sent = np.concatenate([values[network.index[name]] for name in connection.sources], axis=1)
                _check_exact(connection.transform, sent, layer.name)
                total += _largest(unit, apply_transform(connection.transform, sent))
            if not into:
                total += frames[part].astype(np.int64)
            total += spread(unit.bias, layer.shape)
            product = total * spread(unit.multiplier, layer.shape)
            rounded = shift_and_round(product, spread(unit.shift, layer.shape), unit.rounding)
            values.append(np.clip(rounded, unit.lowest, unit.highest))
            totals.append(total)
        yield values, totals


def _largest(unit: Rounding, sums: IntArray) -> IntArray:
    """Return what sums (frames, n * compartments) come to: of a pool by maximum, the largest of each neuron's."""
    if not isinstance(unit, MaxRounding):
        return sums
    return np.asarray(sums.reshape(len(sums), -1, unit.places).max(axis=2))


def _check_exact(transform: Transform, sent: IntArray, name: str) -> None:
    fan_in = transform.weights[0].size if transform.weights.ndim > 1 else 1
    largest = int(np.abs(transform.weights).max(initial=0)) * int(np.abs(sent).max(initial=0)) * fan_in
    if largest >= 1 << 53:
        raise ModelError(f"layer {name}: sums may reach {largest}, beyond 53 bits; use smaller scales")


def count(
    network: Network,
    frames: IntArray,
    changes: bool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Counts:
    """Run frames through a converted network and count, each frame as one inference, from rest.

    Parameters
    ----------
    network
        Feed-forward, of `Rounding` units, as `integers.to_network` gives.
    frames
        Integers (frames, n), in the order in which they are fed.
    changes
        Whether to count changes (sigma-delta) or values (rounding); by default as the network sends.
    progress
        Called with the frames done and their number.

    Raises
    ------
    ModelError
        As `run_values`; a threshold above 1, under which what is sent depends on all frames before.
    """
    values, differences = count_both(network, frames, progress)
    return differences if (sends_changes(network) if changes is None else changes) else values


def sends_changes(network: Network) -> bool:
    """Return whether a converted network is sigma-delta."""
    return any(isinstance(layer.unit, Rounding) and layer.unit.changes for layer in network.layers)


def count_both(
    network: Network, frames: IntArray, progress: Callable[[int, int], None] | None = None
) -> tuple[Counts, Counts]:
    """Count as `count` does, what a rounding network sends and what a sigma-delta network sends."""
    if any(isinstance(layer.unit, Rounding) and layer.unit.threshold > 1 for layer in network.layers):
        raise ModelError("a threshold above 1 holds changes back, which depends on all frames before; simulate it")
    structural, _ = network.fan_out
    layers = len(network.layers)
    tallies = [np.zeros((5, layers), dtype=np.int64) for _ in range(2)]
    sum_bits = np.zeros(layers, dtype=np.int64)
    before = [np.zeros(layer.size, dtype=np.int64) for layer in network.layers]
    answers: list[IntArray] = []
    done = 0
    for values, totals in run_values(network, frames):
        for i, (value, total) in enumerate(zip(values, totals, strict=True)):
            sum_bits[i] = max(sum_bits[i], signed_bits(total))
            if i == layers - 1:
                break  # the answer is read out
            fan = structural[network.offsets[i] : network.offsets[i + 1]]
            _tally(tallies[0][:, i], value, fan)
            _tally(tallies[1][:, i], np.diff(value, axis=0, prepend=before[i][None]), fan)
            before[i] = value[-1]
        answers.append(values[-1])
        done += len(values[-1])
        if progress:
            progress(done, len(frames))
    names, answer = tuple(layer.name for layer in network.layers), np.concatenate(answers)
    first, second = (Counts(names, t[0], t[1], t[2], t[3], t[4], sum_bits, answer, len(frames)) for t in tallies)
    return first, second


def _tally(tally: IntArray, sent: IntArray, fan_out: IntArray) -> None:
    """Add messages (frames, n) of one layer to its counts, in the order in which `Counts` has them."""
    size = np.abs(sent)
    each, some = size.sum(axis=0), np.count_nonzero(sent, axis=0)
    tally[:4] += some.sum(), each.sum(), each @ fan_out, some @ fan_out
    tally[4] = max(tally[4], signed_bits(sent))
