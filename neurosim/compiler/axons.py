"""The axon table: what a message of each neuron costs at each destination core."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.encoding import SynapseStore
from neurosim.compiler.messages import axons, mirrored
from neurosim.compiler.program import CoreSlice
from neurosim.network import Connection, Network


@dataclass(frozen=True)
class AxonTable:
    """Rows sorted by source neuron, then destination core; the columns of `Program`.

    Attributes
    ----------
    start, core, encoding, synops, synops_nonzero, words, conflicts
        As `Program.axon_start`, `axon_core` and so on.
    in_entries, out_entries
        int64 (C,): entries of each core's axon-in and axon-out tables.
    packets
        int64 (n,): entries of the axon-out table of each neuron: one for each packet that it sends by each axon.
    traffic
        int64 (C, C): messages from core to core if every neuron sends once.
    """

    start: NDArray[np.int64]
    core: NDArray[np.int32]
    encoding: NDArray[np.int8]
    synops: NDArray[np.int32]
    synops_nonzero: NDArray[np.int32]
    words: NDArray[np.int32]
    conflicts: NDArray[np.int32] | None
    in_entries: NDArray[np.int64]
    out_entries: NDArray[np.int64]
    packets: NDArray[np.int64]
    traffic: NDArray[np.int64]


def source_neurons(network: Network, connection: Connection) -> NDArray[np.int64]:
    """Return the network-wide number of each input position of a connection, int64 (in_size,)."""
    parts = []
    for name in connection.sources:
        first = network.offsets[network.index[name]]
        parts.append(np.arange(first, first + network[name].size))
    return np.concatenate(parts)


def synapse_stores(network: Network, chip: Chip, messages: str) -> list[SynapseStore]:
    """Return how the synapses of each connection are stored, where messages go as `messages` says.

    Raises
    ------
    CapacityError, ModelError
        As `SynapseStore`.
    """
    each, twice = axons(network, chip, messages), mirrored(network, messages)
    return [
        SynapseStore(c, network[c.target], chip, each[sources], twice[sources])
        for c in network.connections
        for sources in (source_neurons(network, c),)
    ]


def _connections_into(
    network: Network, stores: Sequence[SynapseStore]
) -> list[list[tuple[NDArray[np.int64], SynapseStore]]]:
    """Return for each layer the connections into it: the neurons of their input positions, and their stores."""
    into: list[list[tuple[NDArray[np.int64], SynapseStore]]] = [[] for _ in network.layers]
    for connection, store in zip(network.connections, stores, strict=True):
        into[network.index[connection.target]].append((source_neurons(network, connection), store))
    return into


def _without_repeats(neurons: NDArray[np.int64]) -> Iterator[slice]:
    """Cut where numbers do not rise, as between sources: a connection may name one more than once."""
    cuts = np.flatnonzero(np.diff(neurons) <= 0) + 1
    yield from starmap(slice, pairwise([0, *cuts.tolist(), neurons.size]))


def build_axon_table(
    network: Network,
    slices: Sequence[CoreSlice],
    stores: Sequence[SynapseStore],
    neuron_core: NDArray[np.int32],
    routed: bool = False,
    lanes: bool = False,
    axons_each: NDArray[np.int64] | None = None,
) -> AxonTable:
    """Build the table without listing a convolution's synapses.

    Parameters
    ----------
    network
        The network.
    slices
        One a core.
    stores
        One a connection of the network.
    neuron_core
        int32 (n,): core of each neuron.
    routed
        Whether routing tables copy a neuron's packet on its way; else it sends one to each destination core.
    lanes
        Whether the chip's cores take several synapses at a time, so that conflicts are counted.
    axons_each
        int64 (n,): axons of each neuron, which take as many entries at both ends; None for one each.
    """
    cores, n = len(slices), network.size
    into = _connections_into(network, stores)
    rows = np.zeros(n + 1, dtype=np.int64)
    for part in slices:
        for positions, store in into[part.layer]:
            rows += np.bincount(positions[store.store(part).fan_out.sources] + 1, minlength=n + 1)
    start = np.cumsum(rows)
    core_column, kind_column = np.empty(start[-1], dtype=np.int32), np.empty(start[-1], dtype=np.int8)
    synops, nonzero, words = (np.empty(start[-1], dtype=np.int32) for _ in range(3))
    conflicts = np.empty(start[-1], dtype=np.int32) if lanes else None
    in_entries, traffic = np.zeros(cores, dtype=np.int64), np.zeros((cores, cores), dtype=np.int64)
    core_axons = np.ones(cores, dtype=np.int64)
    if axons_each is not None:
        np.maximum.at(core_axons, neuron_core, axons_each)

    def own_cores(sources: NDArray[np.int64]) -> int:
        return int(core_axons[np.bincount(neuron_core[sources], minlength=cores) > 0].sum())

    packets, last, place = np.zeros(n, dtype=np.int64), np.full(n, -1, dtype=np.int32), start[:-1].copy()
    # Cores in their order, and for each its connections in theirs: the rows of a neuron come in the order that they
    # have in the table.
    for core, part in enumerate(slices):
        for positions, store in into[part.layer]:
            kept = store.store(part)
            sources, own = positions[kept.fan_out.sources], kept.axon_in_entries
            in_entries[core] += own_cores(sources) if own is None else own
            columns = [kept.fan_out.structural, kept.fan_out.nonzero, kept.words_read]
            targets = [synops, nonzero, words]
            if conflicts is not None:
                columns, targets = [*columns, store.conflicts(part)], [*targets, conflicts]
            for some in _without_repeats(sources):
                neurons = sources[some]
                at = place[neurons]
                place[neurons] += 1
                core_column[at], kind_column[at] = core, int(kept.encoding)
                for target, column in zip(targets, columns, strict=True):
                    target[at] = column[some]
                # Rows of one neuron to one core share a message: only the first is an entry and traffic.
                fresh = neurons[last[neurons] != core]
                last[fresh] = core
                packets[fresh] += 1
                traffic[:, core] += np.bincount(neuron_core[fresh], minlength=cores)
    packets = np.minimum(packets, 1) if routed else packets
    packets = packets if axons_each is None else packets * axons_each
    return AxonTable(
        start,
        core_column,
        kind_column,
        synops,
        nonzero,
        words,
        conflicts,
        in_entries,
        np.bincount(neuron_core, weights=packets, minlength=cores).astype(np.int64),
        packets,
        traffic,
    )
