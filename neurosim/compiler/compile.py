"""The compiler: split, store, connect, place, and check every limit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.axons import AxonTable, build_axon_table, synapse_stores
from neurosim.compiler.encoding import SynapseStore
from neurosim.compiler.memory import CoreNeed, check_compartments, core_need, shortages, tile_shortages
from neurosim.compiler.messages import axons, check_messages
from neurosim.compiler.partition import fewest_cores, splits
from neurosim.compiler.placement import Placements, place
from neurosim.compiler.program import CoreSlice, Program, own_memories
from neurosim.compiler.routes import build_routes
from neurosim.errors import CapacityError, InputError, join_errors
from neurosim.network import Layer, Network


class _LayerSplit:
    """The ways to cut one layer, and the one in use."""

    def __init__(self, number: int, layer: Layer, stores: Sequence[SynapseStore], slots: int, chip: Chip) -> None:
        self.layer, self.stores, self.slots, self.chip = layer, stores, slots, chip
        # More cores than the chip has are tried too, so that the error can say how many would do.
        self.cores = max(4 * chip.cores, 1024)
        self.parts: list[CoreSlice] = []
        self.why: list[str] = []
        fewest = self._fewest_for_synapses()
        self._ways: Iterator[list[CoreSlice]] = splits(
            number, layer.shape, chip, self.cores, fewest, layer.unit.compartments
        )
        self._suspect = (0, 0)
        self.refine()

    def _fewest_for_synapses(self) -> int:
        """Return how many cores a vector's synapses need at least: spares attempts with fewer."""
        core = self.chip.core
        pool = None if core.memory_pool is None or "synapse" not in own_memories(self.chip) else core.memory_pool.size
        sizes = (("core.memories.synapse.size", core.memories.synapse.size), ("core.memory_pool.size", pool))
        limits = [(int(size.value), key) for key, size in sizes if size is not None]
        least_bits = sum(store.least_bits for store in self.stores)
        if len(self.layer.shape) == 3 or not limits:
            return 1
        limit_bits, key = min(limits)
        fewest = max(1, -(-least_bits // limit_bits))
        if fewest > self.cores:
            self.why = [
                f"{key}: its non-zero weights alone need {least_bits / 8192:.1f} KiB, the limit of a core is "
                f"{limit_bits / 8192:.1f} KiB"
            ]
        return fewest

    @property
    def binding(self) -> str:
        """Words for what keeps this layer from taking fewer cores."""
        usable = self.chip.core.neurons_usable or self.chip.core.neurons
        key = "core.neurons_usable" if self.chip.core.neurons_usable else "core.neurons"
        most = int(usable.value) // self.layer.unit.compartments
        limit = f"{key}: at most {most} of its {self.layer.size} neurons fit a core"
        return "; ".join([limit, *self.why])

    def refine(self, why: list[str] | None = None, fan_out: NDArray[np.int64] | None = None) -> None:
        """Take the next way that fits.

        Parameters
        ----------
        why
            What the present way exceeds.
        fan_out
            int64 (n,): packets that each neuron of the layer sends, as the other layers are cut now;
            None where they are not cut yet.
        """
        self.why = why or self.why
        for parts in self._ways:
            tight = self._tightest(parts, fan_out)
            if not tight:
                self.parts = parts
                return
            self.why = tight
        limit = "; ".join(self.why) or (
            f"its {self.layer.size} neurons alone need "
            f"{fewest_cores(self.layer.shape, self.chip, self.layer.unit.compartments)} cores"
        )
        raise CapacityError(
            f"layer {self.layer.name} does not fit {self.chip.name} however it is split, up to {self.cores} "
            f"cores: {limit}; make the layer smaller, or raise the limit with --set"
        )

    def _tightest(self, parts: list[CoreSlice], fan_out: NDArray[np.int64] | None) -> list[str]:
        """Return what the first slice found too large exceeds."""
        for part in self._looked_at(parts, fan_out is not None):
            entries_in = sum(store.axon_in_entries(part) for store in self.stores)
            entries_out = 0 if fan_out is None else int(fan_out[part.neurons(self.layer.shape)].sum())
            need = core_need(part, self.layer, self.stores, self.slots, entries_in, entries_out, self.chip)
            found = list(shortages(need, part, entries_in, entries_out, self.chip))
            if found:
                self._suspect = part.box[0]
                return found
        return []

    def _looked_at(self, parts: list[CoreSlice], every: bool) -> list[CoreSlice]:
        if len(self.layer.shape) == 3:
            # Patches differ little but for the axons they send by; the end of the compilation looks at all.
            return parts if every else [max(parts, key=lambda part: part.size)]
        # Slices of a vector differ in their non-zero synapses. One that overlaps the last one found too large
        # is likely too large again.
        low, high = self._suspect
        return sorted(parts, key=lambda part: not (part.box[0][0] < high and low < part.box[0][1]))


def _check_delays(network: Network, chip: Chip) -> None:
    limit = int(chip.core.max_delay.value)
    errors = [
        f"{c.label}: a delay of {c.longest_delay} timesteps; {chip.name} holds at most {limit} (core.max_delay)"
        for c in network.connections
        if c.longest_delay > limit
    ]
    if errors:
        raise CapacityError(join_errors(network.name, errors))


def _check_compartments(network: Network, chip: Chip) -> None:
    if errors := list(check_compartments(network, chip)):
        raise CapacityError(join_errors(network.name, errors))


def _check_core_count(ways: Sequence[_LayerSplit], network: Network, chip: Chip) -> None:
    used = sum(len(way.parts) for way in ways)
    limit = chip.cores
    if used > limit:
        parts = ", ".join(f"{way.layer.name} {len(way.parts)}" for way in ways)
        widest = max(ways, key=lambda way: len(way.parts))
        raise CapacityError(
            f"{network.name} needs {used} cores of {chip.name} ({parts}), the chip has {limit}; layer "
            f"{widest.layer.name} takes the most: {widest.binding}; make it smaller or choose a larger chip"
        )


def _neuron_order(network: Network, slices: Sequence[CoreSlice]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    groups = [part.neurons(network.layers[part.layer].shape) + network.offsets[part.layer] for part in slices]
    start = np.concatenate(([0], np.cumsum([len(g) for g in groups], dtype=np.int64)))
    return np.concatenate(groups).astype(np.int32), start


def compile_network(
    network: Network, chip: Chip, seed: int = 0, placed: Placements | None = None, messages: str = "graded"
) -> Program:
    """Map `network` onto `chip`.

    Parameters
    ----------
    network, chip
        What to map where.
    seed
        Seed of the placement.
    placed
        Placements of earlier compilations, which are used and added to; they change nothing but the time it takes.
    messages
        How messages with a value go, one of `neurosim.compiler.messages.MESSAGES`.

    Returns
    -------
    The program; equal arguments give equal bytes.

    Raises
    ------
    CapacityError
        A layer, memory, table, delay or weight exceeds a limit of the chip, its cores cannot update a unit, or there
        are too few cores. Routing
        tables and memories that a tile shares are held against their limits after placement.
    MessageWidthError
        A layer sends values that the chip cannot carry so.
    ModelError
        A connection gives an image of another shape than its target's.
    InputError
        The seed is negative or has more than 63 bits, or `messages` is not known.
    """
    if not 0 <= seed < 1 << 63:
        raise InputError(f"seed is {seed}; give one from 0 to {(1 << 63) - 1}")
    _check_delays(network, chip)
    _check_compartments(network, chip)
    check_messages(network, chip, messages)
    each = axons(network, chip, messages)
    stores = synapse_stores(network, chip, messages)
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
        table = build_axon_table(
            network, slices, stores, neuron_core, chip.network.tables is not None, chip.core.lanes is not None, each
        )
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
            first, last = network.offsets[number], network.offsets[number + 1]
            ways[number].refine(why, table.packets[first:last])
    return _program(network, chip, seed, slices, order, start, table, needs, placed, messages, each)


def _program(
    network: Network,
    chip: Chip,
    seed: int,
    slices: list[CoreSlice],
    order: NDArray[np.int32],
    start: NDArray[np.int64],
    table: AxonTable,
    needs: Sequence[CoreNeed],
    placed: Placements | None,
    messages: str,
    each: NDArray[np.int64],
) -> Program:
    core_slot = place(table.traffic, chip, seed, placed)
    memory_bits = np.array([need.bits for need in needs], dtype=np.int64)
    tiles = core_slot.astype(np.int64) // chip.mesh.cores_per_tile.value
    if errors := list(tile_shortages(memory_bits, tiles, chip)):
        raise CapacityError(join_errors(network.name, errors))
    routes = None
    if chip.network.tables is not None:
        routes = build_routes(chip, core_slot, table.traffic, int(np.add.reduceat(each[order], start[:-1]).max()))
    return Program(
        network=network,
        chip=chip,
        seed=seed,
        slices=tuple(slices),
        core_slot=core_slot,
        neuron_order=order,
        core_start=start,
        axon_start=table.start,
        axon_core=table.core,
        axon_encoding=table.encoding,
        axon_synops=table.synops,
        axon_synops_nonzero=table.synops_nonzero,
        axon_words=table.words,
        axon_conflicts=table.conflicts,
        memory_bits=memory_bits,
        memory_words=np.array([need.words for need in needs], dtype=np.int64),
        axon_in_entries=table.in_entries,
        axon_out_entries=table.out_entries,
        traffic=table.traffic,
        routes=routes,
        messages=messages,
    )
