"""The axon table: what a message of each neuron costs at each destination core."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.encoding import SynapseStore
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
        int64 (n,): packets that each neuron sends, each found by an entry of the axon-out table.
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


def build_axon_table(
    network: Network,
    slices: Sequence[CoreSlice],
    stores: Sequence[SynapseStore],
    neuron_core: NDArray[np.int32],
    routed: bool = False,
    lanes: bool = False,
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
    """
    cores = len(slices)
    columns: list[tuple[NDArray[np.int64], ...]] = []
    in_entries = np.zeros(cores, dtype=np.int64)
    for connection, store in zip(network.connections, stores, strict=True):
        positions = source_neurons(network, connection)
        target = network.index[connection.target]
        for core, part in enumerate(slices):
            if part.layer != target:
                continue
            kept = store.store(part)
            sources = positions[kept.fan_out.sources]
            if kept.axon_in_entries is None:
                in_entries[core] += np.count_nonzero(np.bincount(neuron_core[sources]))
            else:
                in_entries[core] += kept.axon_in_entries
            same = np.full(sources.size, core)
            kind = np.full(sources.size, int(kept.encoding))
            costs = (kept.fan_out.structural, kept.fan_out.nonzero, kept.words_read)
            columns.append((sources, same, kind, *costs, *([store.conflicts(part)] if lanes else [])))
    if not columns:
        columns.append(tuple(np.zeros(0, dtype=np.int64) for _ in range(7 if lanes else 6)))
    source, core_column, kind_column, synops, nonzero, words, *conflicts = (
        np.concatenate(column) for column in zip(*columns, strict=True)
    )
    order = np.argsort(source * cores + core_column, kind="stable")
    source, core_column = source[order], core_column[order]
    start = np.searchsorted(source, np.arange(network.size + 1)).astype(np.int64)
    # Rows of one neuron to one core share a message: only the first counts as an entry and as traffic.
    first = np.ones(source.size, dtype=bool)
    first[1:] = (source[1:] != source[:-1]) | (core_column[1:] != core_column[:-1])
    sender = neuron_core[source[first]].astype(np.int64)
    pairs = np.bincount(sender * cores + core_column[first], minlength=cores * cores)
    traffic = pairs.reshape(cores, cores).astype(np.int64)
    packets = np.diff(np.concatenate(([0], np.cumsum(first, dtype=np.int64)))[start])
    if routed:
        packets = np.minimum(packets, 1)
    return AxonTable(
        start,
        core_column.astype(np.int32),
        kind_column[order].astype(np.int8),
        synops[order].astype(np.int32),
        nonzero[order].astype(np.int32),
        words[order].astype(np.int32),
        conflicts[0][order].astype(np.int32) if conflicts else None,
        in_entries,
        np.bincount(neuron_core, weights=packets, minlength=cores).astype(np.int64),
        packets,
        traffic,
    )
