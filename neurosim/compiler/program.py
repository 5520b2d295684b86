"""The compiled program: flat arrays that say where everything is and what each message costs."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.routes import Routes
from neurosim.network import Network

Box = tuple[tuple[int, int], ...]


class Encoding(IntEnum):
    """How a core stores the synapses of a connection."""

    DENSE = 0
    SPARSE = 1
    CONV = 2


MEMORIES = ("synapse", "neuron_state", "accumulator", "axon_in", "axon_out")
"""Memories of a core, in the order of every array with a memory axis."""


def own_memories(chip: Chip) -> tuple[str, ...]:
    """Return the memories that each core has for itself: all but those that a tile shares."""
    return tuple(name for name in MEMORIES if getattr(chip.core.memories, name).shared is None)


@dataclass(frozen=True)
class CoreSlice:
    """The part of a layer that one core holds.

    Attributes
    ----------
    layer
        Number of the layer in the network.
    box
        Half-open ranges (channels, rows, columns), or one range of neurons for a layer of shape (N,).
    neuron_slots
        Neuron slots taken: one for each compartment of a neuron; more where the chip pads patches.
    """

    layer: int
    box: Box
    neuron_slots: int

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod([high - low for low, high in self.box]))

    def neurons(self, shape: tuple[int, ...]) -> NDArray[np.int64]:
        """Return the numbers of the box's neurons within a layer of `shape`, in C, H, W order."""
        axes = np.ix_(*(np.arange(low, high) for low, high in self.box))
        return np.ravel_multi_index(axes, shape).astype(np.int64).ravel()

    def outputs(self, shape: tuple[int, ...], each: int) -> NDArray[np.int64]:
        """Return the outputs of a transform that has `each` for a neuron which lead to the box's neurons, in order."""
        neurons = self.neurons(shape)
        return neurons if each == 1 else (neurons[:, None] * each + np.arange(each)).ravel()


@dataclass(frozen=True, eq=False)
class Program:
    """A network mapped onto a chip.

    Cores are numbered 0..C-1 in the order of the slices; `core_slot` says where each stands on the
    chip. Neurons are numbered as in the network.

    Attributes
    ----------
    network, chip
        What was compiled for what.
    seed
        Seed of the placement.
    slices
        One a core.
    core_slot
        int32 (C,): physical core = tile * cores_per_tile + core within the tile; tile = row * columns
        + column.
    neuron_order
        int32 (n,): neurons grouped by core, in the order in which the core sweeps them.
    core_start
        int64 (C + 1,): where each core's neurons begin in `neuron_order`.
    axon_start
        int64 (n + 1,): where each neuron's rows begin in the axon table. Rows of a neuron with the same
        destination core are neighbours and share one message.
    axon_core
        int32 (rows,): destination core, ascending for each neuron.
    axon_encoding
        int8 (rows,): `Encoding` of the synapses there.
    axon_synops, axon_synops_nonzero
        int32 (rows,): synapses that the message meets there, and those of non-zero weight.
    axon_words
        int32 (rows,): words of synapse memory read there.
    axon_conflicts
        int32 (rows,): turns that the groups of synapses there must wait for a bank of the accumulators
        (`neurosim.compiler.lanes`); None where the chip's cores take one synapse at a time.
    memory_bits, memory_words
        int64 (C, 5): what each core needs of each of `MEMORIES`.
    axon_in_entries, axon_out_entries
        int64 (C,): table entries that each core needs.
    traffic
        int64 (C, C): messages from core to core if every neuron sends once.
    routes
        Trees and routing tables; None where the chip has no tables, and each message goes to one core.
    messages
        How messages with a value go, one of `neurosim.compiler.messages.MESSAGES`.
    """

    network: Network
    chip: Chip
    seed: int
    slices: tuple[CoreSlice, ...]
    core_slot: NDArray[np.int32]
    neuron_order: NDArray[np.int32]
    core_start: NDArray[np.int64]
    axon_start: NDArray[np.int64]
    axon_core: NDArray[np.int32]
    axon_encoding: NDArray[np.int8]
    axon_synops: NDArray[np.int32]
    axon_synops_nonzero: NDArray[np.int32]
    axon_words: NDArray[np.int32]
    memory_bits: NDArray[np.int64]
    memory_words: NDArray[np.int64]
    axon_in_entries: NDArray[np.int64]
    axon_out_entries: NDArray[np.int64]
    traffic: NDArray[np.int64]
    axon_conflicts: NDArray[np.int32] | None = field(default=None, kw_only=True)
    routes: Routes | None = field(default=None, kw_only=True)
    messages: str = field(default="graded", kw_only=True)

    def __repr__(self) -> str:
        return f"<Program {self.network.name} on {self.chip.name}: {self.cores} cores, {self.axon_core.size} axon rows>"

    @property
    def cores(self) -> int:
        """Number of cores used."""
        return len(self.slices)

    @property
    def has_timesteps(self) -> bool:
        """Whether the chip has timesteps; without, a frame's whole effect comes before the next is fed."""
        return self.chip.sync.kind != "none"

    @property
    def step_name(self) -> str:
        """What a step of a run is called: ``timestep``, or ``frame`` on a chip without timesteps."""
        return "timestep" if self.has_timesteps else "frame"

    @cached_property
    def neuron_core(self) -> NDArray[np.int64]:
        """int64 (n,): core of each neuron."""
        found = np.empty(self.network.size, dtype=np.int64)
        found[self.neuron_order] = np.repeat(np.arange(self.cores), np.diff(self.core_start))
        return found

    @cached_property
    def layer_delays(self) -> dict[str, int]:
        """Timesteps from a frame to its whole effect on each layer; see `Network.layer_delays`."""
        return self.network.layer_delays if self.has_timesteps else dict.fromkeys(self.network.index, 0)

    @property
    def depth_timesteps(self) -> int:
        """Timesteps from a frame to its whole effect on the last layer, both counted."""
        return 1 + max(self.layer_delays.values())

    @cached_property
    def core_tile(self) -> NDArray[np.int64]:
        """int64 (C,): tile of each core."""
        return self.core_slot.astype(np.int64) // self.chip.mesh.cores_per_tile.value

    @property
    def tiles(self) -> int:
        """Number of tiles with at least one core in use."""
        return int(np.unique(self.core_tile).size)

    @cached_property
    def core_layer(self) -> NDArray[np.int64]:
        """int64 (C,): layer of each core."""
        return np.array([part.layer for part in self.slices], dtype=np.int64)

    @cached_property
    def axon_charged(self) -> NDArray[np.int32]:
        """int32 (rows,): synops of each row that take time and energy, by the rule of its encoding."""
        kinds = self.chip.core.encodings
        structural = np.array([kind.synops == "structural" for kind in (kinds.dense, kinds.sparse, kinds.conv)])
        return np.where(structural[self.axon_encoding], self.axon_synops, self.axon_synops_nonzero)

    def occupancy(self) -> dict[str, tuple[NDArray[np.int64], int | None]]:
        """Return, for each resource of a core, what each core uses and the limit.

        Returns
        -------
        Per resource name, int64 (C,) and the limit (None where none is published): ``neurons`` in
        slots, each of `MEMORIES` and ``memory_pool`` in bits, the axon tables in entries. The limit of a
        memory that a tile shares is that of the whole; the pool does not count it.
        """
        core = self.chip.core
        usable = core.neurons_usable or core.neurons
        slots = np.array([part.neuron_slots for part in self.slices], dtype=np.int64)
        out: dict[str, tuple[NDArray[np.int64], int | None]] = {"neurons": (slots, int(usable.value))}
        for i, name in enumerate(MEMORIES):
            size = getattr(core.memories, name).size
            out[name] = (self.memory_bits[:, i], None if size is None else int(size.value))
        pool = core.memory_pool
        own = [name in own_memories(self.chip) for name in MEMORIES]
        out["memory_pool"] = (self.memory_bits[:, own].sum(axis=1), None if pool is None else int(pool.size.value))
        for name, used in (
            ("axon_in_entries", self.axon_in_entries),
            ("axon_out_entries", self.axon_out_entries),
        ):
            limit = getattr(core, name)
            out[name] = (used, None if limit is None else int(limit.value))
        return out

    def graph(self) -> nx.DiGraph:
        """Return the graph of core slices that placement works on.

        Nodes are core numbers with `layer`, `box`, `neurons` and `slot`; edges carry `messages`, the
        messages that pass if every neuron sends once.
        """
        graph = nx.DiGraph(name=self.network.name)
        for core, part in enumerate(self.slices):
            name = self.network.layers[part.layer].name
            graph.add_node(core, layer=name, box=part.box, neurons=part.size, slot=int(self.core_slot[core]))
        for a, b in np.argwhere(self.traffic):
            graph.add_edge(int(a), int(b), messages=int(self.traffic[a, b]))
        return graph
