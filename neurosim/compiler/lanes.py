"""Accumulate stages of several lanes: how often the synapses of a message wait for a bank.

A core with `core.lanes` takes so many synapses of a list at a time, in their stored order and in lockstep. The
accumulators lie in banks: a neuron's in bank (place in its core's slice) mod banks; of neurons with several
compartments, each has a place of its own, neuron by neuron. Where the synapses taken at a time
need more ports of a bank than there are, all of them wait while the rest has its turns: these further turns are the
conflicts. They hang on where synapses lead, not on when, so each row of the axon table has one number.

The stored order: targets ascending; in a convolution, whose lists a message meets one after the other, kernel row,
kernel column, output channel. Synapses that the encoding does not charge are passed over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.program import CoreSlice
from neurosim.network import Conv2d, Dense, Layer, Sparse, Transform

IntArray = NDArray[np.int64]

MOST_COUNTERS = 1 << 20
"""Most synapses, and most counters of banks, that are worked on at once: it bounds the memory taken."""


@dataclass(frozen=True)
class Lanes:
    """The accumulate stage of a chip's cores.

    Attributes
    ----------
    lanes
        Synapses taken at a time.
    banks, ports
        Of the accumulators; `ports` of each bank.
    """

    lanes: int
    banks: int
    ports: int

    @classmethod
    def of(cls, chip: Chip) -> Lanes | None:
        """Return the lanes of a chip's cores, None where they take one synapse at a time."""
        if chip.core.lanes is None:
            return None
        memory = chip.core.memories.accumulator
        return cls(chip.core.lanes.value, memory.bank_count, memory.ports.value)

    def further_turns(self, synapses: IntArray, banks: int) -> IntArray:
        """Return the turns after the first of groups of so many synapses, spread evenly over `banks` banks."""
        return np.maximum(-(-synapses // (banks * self.ports)) - 1, 0)

    def bounds(self, synapses: NDArray[np.int32]) -> tuple[IntArray, IntArray]:
        """Return the least and the most conflicts of lists: spread evenly over the banks, or all in one."""
        full, rest = np.divmod(synapses.astype(np.int64), self.lanes)
        whole = np.array(self.lanes)
        least, most = (
            full * self.further_turns(whole, banks) + self.further_turns(rest, banks) for banks in (self.banks, 1)
        )
        return least, most

    def conflicts(self, lengths: IntArray, place: IntArray) -> IntArray:
        """Return the conflicts of lists.

        Parameters
        ----------
        lengths
            int64 (m,): synapses of each list.
        place
            int64 (sum of lengths,): their targets' places in the core's slice, in stored order.

        Returns
        -------
        int64 (m,).
        """
        groups = -(-lengths // self.lanes)
        first = np.concatenate(([0], np.cumsum(groups)))
        begin = np.cumsum(lengths) - lengths
        # The number of a synapse in its list gives its group there.
        group = np.repeat(first[:-1], lengths) + (np.arange(place.size) - np.repeat(begin, lengths)) // self.lanes
        counts = np.bincount(group * self.banks + place % self.banks, minlength=int(first[-1]) * self.banks)
        fullest = counts.reshape(-1, self.banks).max(axis=1)
        running = np.concatenate(([0], np.cumsum(-(-fullest // self.ports) - 1)))
        return running[first[1:]] - running[first[:-1]]

    def most_at_once(self) -> int:
        """Return how many synapses `conflicts` should be given at once."""
        return max(MOST_COUNTERS * self.lanes // max(self.lanes, self.banks), 1)


def row_conflicts(
    transform: Transform,
    layer: Layer,
    part: CoreSlice,
    sources: IntArray,
    zeros: bool,
    lanes: Lanes,
    compartments: tuple[int, ...] = (0,),
) -> IntArray:
    """Return the conflicts of a message of each source, at the core that holds `part` of `layer`.

    Parameters
    ----------
    transform, layer, part
        What is stored, where it leads, and what the core holds of it.
    sources
        int64 (m,): source neurons, ascending: those with a list at the core.
    zeros
        Whether synapses of weight zero are stored and charged.
    lanes
        The accumulate stage.
    compartments
        Of each neuron, those that the transform leads to.

    Returns
    -------
    int64 (m,).
    """
    if lanes.lanes <= lanes.ports:
        return np.zeros(sources.size, dtype=np.int64)
    if isinstance(transform, Conv2d):
        return _conv_conflicts(transform, part, zeros, lanes)
    outputs = part.outputs(layer.shape, len(compartments))

    def places(lengths: IntArray, place: IntArray) -> tuple[IntArray, IntArray]:
        """Return lists of places among the outputs as lists of places among the accumulators."""
        neuron, which = np.divmod(place, len(compartments))
        return lengths, neuron * layer.unit.compartments + np.array(compartments)[which]

    if isinstance(transform, Sparse):
        return lanes.conflicts(*places(*_sparse_lists(transform, outputs, sources, zeros)))
    assert isinstance(transform, Dense)
    lists = _dense_lists(transform, outputs, sources, zeros, lanes)
    return _joined(lanes.conflicts(*places(*some)) for some in lists)


def _joined(parts: Iterable[IntArray]) -> IntArray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *parts])


def _dense_lists(
    transform: Dense, neurons: IntArray, sources: IntArray, zeros: bool, lanes: Lanes
) -> Iterator[tuple[IntArray, IntArray]]:
    step = max(lanes.most_at_once() // neurons.size, 1)
    for at in range(0, sources.size, step):
        some = sources[at : at + step]
        stored = np.ones((some.size, neurons.size), dtype=np.bool_)
        if not zeros:
            stored = transform.weights[np.ix_(neurons, some)].T != 0
        yield stored.sum(axis=1), np.nonzero(stored)[1]


def _sparse_lists(transform: Sparse, neurons: IntArray, sources: IntArray, zeros: bool) -> tuple[IntArray, IntArray]:
    low, high = int(neurons[0]), int(neurons[-1]) + 1
    synapses = transform.into(low, high)
    if not zeros:
        synapses = synapses[transform.weights[synapses] != 0]
    place = np.searchsorted(neurons, transform.targets[synapses])
    held = neurons[place] == transform.targets[synapses]
    synapses, place = synapses[held], place[held]
    source = np.searchsorted(transform.row_start, synapses, side="right") - 1
    return np.bincount(source, minlength=transform.in_size)[sources], place


def _conv_conflicts(transform: Conv2d, part: CoreSlice, zeros: bool, lanes: Lanes) -> IntArray:
    """Return the conflicts of each source, in the order of `Conv2d.fan_out`."""
    taps = _taps(transform, part)
    per_in = transform.in_shape[0] // transform.groups
    per_out = transform.out_shape[0] // transform.groups
    (low, high), rows, columns = part.box
    plane = (rows[1] - rows[0]) * (columns[1] - columns[0])
    found: list[IntArray] = []
    whole: dict[int, IntArray] = {}  # by group: input channels without a zero weight are alike
    for channel in range(transform.in_shape[0]):
        group = channel // per_in
        first, last = max(group * per_out, low), min((group + 1) * per_out, high)
        if first >= last:
            continue
        stored = np.ascontiguousarray(transform.weights[first:last, channel % per_in].transpose(1, 2, 0)) != 0
        alike = zeros or bool(stored.all())
        if alike and group in whole:
            found.append(whole[group])
            continue
        lists = _conv_lists(taps, np.arange(first - low, last - low) * plane, stored | zeros, lanes)
        found.append(_joined(lanes.conflicts(*some) for some in lists))
        if alike:
            whole[group] = found[-1]
    return _joined(found)


@dataclass(frozen=True)
class _Taps:
    """The kernel positions that each position (row, column) of the input meets, of which a core holds the output.

    Attributes
    ----------
    row, column, place
        int64 (t,): kernel row and column of each, and the output's place within a channel of the core's slice.
    start
        int64 (positions + 1,): where those of each position begin.
    """

    row: IntArray
    column: IntArray
    place: IntArray
    start: IntArray


def _taps(transform: Conv2d, part: CoreSlice) -> _Taps:
    _, rows, columns = part.box
    axes = []
    for axis, (low, high) in enumerate((rows, columns)):
        target = transform.taps(axis)
        position, kernel = np.nonzero((target >= low) & (target < high))
        axes.append((np.unique(position, return_inverse=True)[1], kernel, target[position, kernel] - low))
    (y, row, y_out), (x, column, x_out) = axes
    down, across = (index.ravel() for index in np.indices((row.size, column.size)))
    position = y[down] * (int(x.max(initial=0)) + 1) + x[across]
    order = np.lexsort((column[across], row[down], position))
    down, across = down[order], across[order]
    start = np.concatenate(([0], np.cumsum(np.bincount(position)))) if order.size else np.zeros(1, dtype=np.int64)
    return _Taps(row[down], column[across], y_out[down] * (columns[1] - columns[0]) + x_out[across], start)


def _conv_lists(
    taps: _Taps, planes: IntArray, stored: NDArray[np.bool_], lanes: Lanes
) -> Iterator[tuple[IntArray, IntArray]]:
    """Yield the lists of one input channel, those of some positions at a time.

    `planes` says where the output channels begin in the core's slice, `stored` (kernel rows, kernel columns,
    channels) which weights are there.
    """
    begin, positions = 0, taps.start.size - 1
    while begin < positions:
        most = taps.start[begin] + lanes.most_at_once() // planes.size
        end = max(int(np.searchsorted(taps.start, most, side="right")) - 1, begin + 1)
        some = slice(taps.start[begin], taps.start[end])
        held = stored[taps.row[some], taps.column[some]]
        met = np.concatenate(([0], np.cumsum(np.count_nonzero(held, axis=1))))
        lengths = np.diff(met[taps.start[begin : end + 1] - taps.start[begin]])
        yield lengths, (taps.place[some, None] + planes)[held]
        begin = end
