"""The compiler: split, store, connect, place, and check every limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.axons import AxonTable, build_axon_table
from neurosim.compiler.encoding import SynapseStore
from neurosim.compiler.memory import core_need, shortages
from neurosim.compiler.partition import splits
from neurosim.compiler.placement import place
from neurosim.compiler.program import CoreSlice, Program
from neurosim.errors import CapacityError, join_errors
from neurosim.network import Layer, Network


class _LayerSplit:
    """The ways to cut one layer, and the one in use."""

    def __init__(self, number: int, layer: Layer, stores: Sequence[SynapseStore], slots: int, chip: Chip) -> None:
        self.layer, self.stores, self.slots, self.chip = layer, stores, slots, chip
        self._ways: Iterator[list[CoreSlice]] = splits(number, layer.shape, chip)
        self.parts: list[CoreSlice] = []
        self.why: list[str] = []
        self.refine()

    def refine(self, why: list[str] | None = None) -> None:
        """Take the next way whose own memories fit; `why` the present one does not serve."""
        self.why = why or self.why
        for parts in self._ways:
            tight = self._tightest(parts)
            if not tight:
                self.parts = parts
                return
            self.why = tight
        limit = "; ".join(self.why) or "a single neuron position is more than a core holds"
        raise CapacityError(
            f"layer {self.layer.name} does not fit {self.chip.name} however it is split: {limit}; "
            "make the layer smaller, or raise the limit with --set"
        )

    def _tightest(self, parts: list[CoreSlice]) -> list[str]:
        largest = max(parts, key=lambda part: part.size)
        # Slices of a vector differ in how many synapses are not zero, so each is looked at.
        looked_at = parts if len(self.layer.shape) == 1 else [largest]
        for part in looked_at:
            need = core_need(part, self.layer, self.stores, self.slots, 0, 0, self.chip)
            found = list(shortages(need, part, 0, 0, self.chip))
            if found:
                return found
        return []


def _check_delays(network: Network, chip: Chip) -> None:
    limit = int(chip.core.max_delay.value)
    errors = [
        f"{c.label}: a delay of {c.longest_delay} timesteps; {chip.name} holds at most {limit} (core.max_delay)"
        for c in network.connections
        if c.longest_delay > limit
    ]
    if errors:
        raise CapacityError(join_errors(network.name, errors))


def _usable_cores(chip: Chip) -> int:
    mesh = chip.mesh
    most = int(mesh.columns.value * mesh.rows.value * mesh.cores_per_tile.value)
    return most if mesh.cores_usable is None else min(most, int(mesh.cores_usable.value))


def _check_core_count(ways: Sequence[_LayerSplit], network: Network, chip: Chip) -> None:
    used = sum(len(way.parts) for way in ways)
    limit = _usable_cores(chip)
    if used > limit:
        parts = ", ".join(f"{way.layer.name} {len(way.parts)}" for way in ways)
        widest = max(ways, key=lambda way: len(way.parts)).layer.name
        raise CapacityError(
            f"{network.name} needs {used} cores of {chip.name} ({parts}), the chip has {limit}; layer {widest} takes "
            "the most: make it smaller or choose a larger chip"
        )


def _neuron_order(network: Network, slices: Sequence[CoreSlice]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    groups = [part.neurons(network.layers[part.layer].shape) + network.offsets[part.layer] for part in slices]
    start = np.concatenate(([0], np.cumsum([len(g) for g in groups], dtype=np.int64)))
    return np.concatenate(groups).astype(np.int32), start


def compile_network(network: Network, chip: Chip, seed: int = 0) -> Program:
    """Map `network` onto `chip`.

    Parameters
    ----------
    network, chip
        What to map where.
    seed
        Seed of the placement.

    Returns
    -------
    The program; equal arguments give equal bytes.

    Raises
    ------
    CapacityError
        A layer, memory, table, delay or weight exceeds a limit of the chip, or there are too few cores.
    """
    _check_delays(network, chip)
    stores = [SynapseStore(connection, chip) for connection in network.connections]
    ways = []
    for number, layer in enumerate(network.layers):
        into = [i for i, c in enumerate(network.connections) if c.target == layer.name]
        longest = max((network.connections[i].longest_delay for i in into), default=0)
        ways.append(_LayerSplit(number, layer, [stores[i] for i in into], 1 + longest, chip))
    while True:
        _check_core_count(ways, network, chip)
        slices = [part for way in ways for part in way.parts]
        order, start = _neuron_order(network, slices)
        neuron_core = np.empty(network.size, dtype=np.int32)
        neuron_core[order] = np.repeat(np.arange(len(slices), dtype=np.int32), np.diff(start))
        table = build_axon_table(network, slices, stores, neuron_core)
        needs = [
            core_need(
                part,
                network.layers[part.layer],
                ways[part.layer].stores,
                ways[part.layer].slots,
                int(table.in_entries[core]),
                int(table.out_entries[core]),
                chip,
            )
            for core, part in enumerate(slices)
        ]
        tight: dict[int, list[str]] = {}
        for core, (part, need) in enumerate(zip(slices, needs, strict=True)):
            found = list(shortages(need, part, int(table.in_entries[core]), int(table.out_entries[core]), chip))
            if found:
                tight.setdefault(part.layer, found)
        if not tight:
            break
        for number, why in tight.items():
            ways[number].refine(why)
    return _program(network, chip, seed, slices, order, start, table, needs)


def _program(
    network: Network,
    chip: Chip,
    seed: int,
    slices: list[CoreSlice],
    order: NDArray[np.int32],
    start: NDArray[np.int64],
    table: AxonTable,
    needs: list,
) -> Program:
    return Program(
        network=network,
        chip=chip,
        seed=seed,
        slices=tuple(slices),
        core_slot=place(table.traffic, chip, seed),
        neuron_order=order,
        core_start=start,
        axon_start=table.start,
        axon_core=table.core,
        axon_encoding=table.encoding,
        axon_synops=table.synops,
        axon_synops_nonzero=table.synops_nonzero,
        axon_words=table.words,
        memory_bits=np.array([need.bits for need in needs], dtype=np.int64),
        memory_words=np.array([need.words for need in needs], dtype=np.int64),
        axon_in_entries=table.in_entries,
        axon_out_entries=table.out_entries,
        traffic=table.traffic,
    )
