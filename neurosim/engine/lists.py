"""What a message finds at each core, written down synapse by synapse, for cores that update at each arrival."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.compiler.axons import source_neurons
from neurosim.compiler.visits import charged_synapses
from neurosim.engine import list_kernels
from neurosim.errors import InputError
from neurosim.network import Connection, Conv2d, Network, Sparse

IntArray = NDArray[np.int64]

MOST_LIST_BYTES = 1 << 31
"""Most memory that the lists may take."""

SYNAPSE_BYTES = 8


@dataclass(frozen=True)
class SynapseLists:
    """Lists of synapses (n neurons, P pairs of a neuron and a core that holds synapses for it, S synapses).

    Attributes
    ----------
    row_pair
        int64 (rows,): pair of each row of the axon table.
    pair_first
        int64 (n + 1,): where each neuron's pairs begin; they stand in the order of cores.
    pair_core
        int64 (P,): core of each.
    first
        int64 (P + 1,): where each pair's list begins.
    targets, weights
        int32 (S,): network-wide numbers, ascending in each list, and weights. Every synapse that is charged is in
        it, a stored zero too where the chip charges those. Weights of layers with averages are scaled, see `divisor`.
    divisor
        int64 (layers,): what sums of the lists are divided by, the least common multiple of the divisors of a layer's
        connections, 1 where there is no average. The weights of each connection are scaled by it over its own.
    """

    row_pair: IntArray
    pair_first: IntArray
    pair_core: IntArray
    first: IntArray
    targets: NDArray[np.int32]
    weights: NDArray[np.int32]
    divisor: IntArray


def common_divisors(network: Network) -> IntArray:
    """Return the least common multiple of the divisors of each layer's connections, int64 (layers,).

    Raises
    ------
    InputError
        Weights scaled by it take more than 32 bits.
    """
    found = [1] * len(network.layers)
    for connection in network.connections:
        layer = network.index[connection.target]
        found[layer] = math.lcm(found[layer], connection.transform.divisor)
    for connection in network.connections:
        divisor, weights = found[network.index[connection.target]], connection.transform.weights
        scale = divisor // connection.transform.divisor
        if scale > 1 and weights.size and scale * max(abs(int(weights.max())), abs(int(weights.min()))) >= 1 << 31:
            raise InputError(
                f"{connection.label}: layer {connection.target} gets averages whose common divisor is {divisor}, and "
                "these weights times it take more than 32 bits; scale them down, or average in a layer before it"
            )
    return np.array(found, dtype=np.int64)


def synapse_lists(program: Program) -> SynapseLists:
    """Write down the synapses of a program.

    Raises
    ------
    InputError
        They take too much memory, averages have no common divisor of a usable size, or the axon table charges others
        than the network has.
    """
    network, chip = program.network, program.chip
    need_bytes = SYNAPSE_BYTES * int(program.axon_charged.sum(dtype=np.int64))
    if need_bytes > MOST_LIST_BYTES:
        raise InputError(
            f"{network.name} on {chip.name}: without timesteps every synapse is written down by itself, which takes "
            f"{need_bytes / 2**30:.1f} GiB; the limit is {MOST_LIST_BYTES / 2**30:.0f} GiB; make the network smaller"
        )
    source = np.repeat(np.arange(network.size), np.diff(program.axon_start))
    core = program.axon_core.astype(np.int64)
    begins = np.ones(source.size, dtype=np.bool_)
    begins[1:] = (source[1:] != source[:-1]) | (core[1:] != core[:-1])
    row_pair = np.cumsum(begins) - 1
    pair_first = np.searchsorted(source[begins], np.arange(network.size + 1)).astype(np.int64)
    sizes = np.zeros(int(begins.sum()), dtype=np.int64)
    np.add.at(sizes, row_pair, program.axon_charged)
    first = np.concatenate(([0], np.cumsum(sizes)))
    targets, weights = np.empty((2, int(first[-1])), dtype=np.int32)
    lists = SynapseLists(row_pair, pair_first, core[begins], first, targets, weights, common_divisors(network))
    used = np.zeros_like(sizes)
    wrong = 0
    for connection, counted in zip(network.connections, charged_synapses(program), strict=True):
        wrong += _place(program, connection, counted, lists, program.neuron_core, used)
    if wrong or (used != sizes).any():
        raise InputError(
            f"{network.name} on {chip.name}: the axon table charges other synapses than the network's, stored by this "
            "compiler, have; compile the network again"
        )
    list_kernels.sort_lists(first, targets, weights)
    return lists


def _place(
    program: Program,
    connection: Connection,
    counted: NDArray[np.int32],
    lists: SynapseLists,
    neuron_core: IntArray,
    used: IntArray,
) -> int:
    network, transform = program.network, connection.transform
    first = int(network.offsets[network.index[connection.target]])
    places = (
        source_neurons(network, connection), first, lists.pair_first, lists.pair_core, neuron_core, lists.first, used,
        lists.targets, lists.weights,
    )  # fmt: skip
    scale = int(lists.divisor[network.index[connection.target]]) // transform.divisor
    values = transform.weights if scale == 1 else (transform.weights * np.int64(scale)).astype(np.int32)
    if isinstance(transform, Conv2d):
        _, height, width = transform.out_shape
        shape = (transform.groups, transform.taps(0), transform.taps(1), height, width)
        return int(list_kernels.place_conv(counted, values, *shape, *places))
    if isinstance(transform, Sparse):
        return int(list_kernels.place_sparse(counted, values, transform.row_start, transform.targets, *places))
    return int(list_kernels.place_dense(counted, values, *places))
