"""What a core needs of each memory, held against the chip's limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.encoding import SynapseStore
from neurosim.compiler.program import MEMORIES, CoreSlice, own_memories
from neurosim.network import Gated, Hybrid, Layer, Membrane, Network

ACCUMULATOR_BITS = 24
"""Width of a dendrite accumulator. Sums wrap at 24 bits in the convolution of lava and in Loihi."""


@dataclass(frozen=True)
class CoreNeed:
    """What one core needs.

    Attributes
    ----------
    words, bits
        Per name of `MEMORIES`.
    """

    words: tuple[int, ...]
    bits: tuple[int, ...]


def state_bits(layer: Layer, chip: Chip) -> int:
    """Return the bits of state that a neuron of `layer` takes: the chip's fixed size, or the unit's need.

    The chip's size is that of a neuron slot, of which a neuron takes one for each compartment.
    """
    fixed = chip.core.neuron.state
    if not layer.unit.state_names:
        return 0
    if fixed is not None:
        return int(fixed.value) * layer.unit.compartments
    if isinstance(layer.unit, Gated):
        return layer.unit.neuron_bits
    width = layer.unit.state_bits if isinstance(layer.unit, Hybrid | Membrane) else ACCUMULATOR_BITS
    # The first state of several compartments has a value for each of them.
    return (layer.unit.compartments - 1 + len(layer.unit.state_names)) * width


def state_words(layer: Layer, chip: Chip) -> int:
    """Return the words of state that a neuron of `layer` takes."""
    return -(-state_bits(layer, chip) // int(chip.core.memories.neuron_state.word.value))


def check_compartments(network: Network, chip: Chip) -> Iterator[str]:
    """Yield a sentence for each layer whose units have more compartments than the chip's cores can update."""
    if chip.core.kind != "crossbar":
        return
    for layer in network.layers:
        if layer.unit.compartments > 1:
            yield (
                f"layer {layer.name} of {layer.unit.kind} units has {layer.unit.compartments} compartments a neuron; "
                f"{chip.name} is a crossbar (core.kind), whose row leads to one accumulator of a neuron; choose a chip "
                "of another kind"
            )


def core_need(
    part: CoreSlice,
    layer: Layer,
    stores: Sequence[SynapseStore],
    slots: int,
    axon_in_entries: int,
    axon_out_entries: int,
    chip: Chip,
) -> CoreNeed:
    """Return what the core that holds `part` needs.

    Parameters
    ----------
    part, layer
        The slice and its layer.
    stores
        One a connection into the layer.
    slots
        Timesteps that the accumulators of a neuron must keep apart: 1 plus the longest delay into the
        layer.
    axon_in_entries, axon_out_entries
        Table entries; 0 while the other layers are not split yet.
    chip
        Gives word sizes and entry sizes.
    """
    core = chip.core
    accumulators = part.neuron_slots * slots if stores else 0
    words = {
        "synapse": sum(store.words(part) for store in stores),
        "neuron_state": part.neuron_slots // layer.unit.compartments * state_words(layer, chip),
        "accumulator": -(-accumulators * ACCUMULATOR_BITS // int(core.memories.accumulator.word.value)),
        "axon_in": -(-axon_in_entries * int(core.axon_in_entry_bits.value) // int(core.memories.axon_in.word.value)),
        "axon_out": -(
            -axon_out_entries * int(core.axon_out_entry_bits.value) // int(core.memories.axon_out.word.value)
        ),
    }
    bits = tuple(words[name] * int(getattr(core.memories, name).word.value) for name in MEMORIES)
    return CoreNeed(tuple(words[name] for name in MEMORIES), bits)


def shortages(
    need: CoreNeed, part: CoreSlice, axon_in_entries: int, axon_out_entries: int, chip: Chip
) -> Iterator[str]:
    """Yield, for each limit that is exceeded, its key in the chip file, the need and the limit in words."""
    core = chip.core
    usable, key = (
        (core.neurons_usable, "core.neurons_usable") if core.neurons_usable else (core.neurons, "core.neurons")
    )
    if part.neuron_slots > usable.value:
        yield f"{key}: needs {part.neuron_slots} neuron slots, the limit is {usable.value}"
    for name, bits, words in zip(MEMORIES, need.bits, need.words, strict=True):
        memory = getattr(core.memories, name)
        if memory.size is not None and bits > memory.size.value:
            limit = int(memory.size.value) // int(memory.word.value)
            yield (
                f"core.memories.{name}.size: needs {words} words ({bits / 8192:.1f} KiB), the limit is {limit} words"
            )
    own_bits = {n: b for n, b in zip(MEMORIES, need.bits, strict=True) if n in own_memories(chip)}
    if core.memory_pool is not None and sum(own_bits.values()) > core.memory_pool.size.value:
        parts = ", ".join(f"{n} {b / 8192:.1f}" for n, b in own_bits.items())
        yield (
            f"core.memory_pool.size: needs {sum(own_bits.values())} bits (in KiB: {parts}), "
            f"the limit is {core.memory_pool.size.value} bits"
        )
    for table, entries in (("axon_in_entries", axon_in_entries), ("axon_out_entries", axon_out_entries)):
        limit_entries = getattr(core, table)
        if limit_entries is not None and entries > limit_entries.value:
            yield f"core.{table}: needs {entries} entries, the limit is {limit_entries.value}"


def tile_shortages(memory_bits: NDArray[np.int64], core_tile: NDArray[np.int64], chip: Chip) -> Iterator[str]:
    """Yield a sentence for each memory that a tile's cores share and together exceed, on the tile that does so most.

    Parameters
    ----------
    memory_bits
        int64 (C, 5): what each core needs of each of `MEMORIES`.
    core_tile
        int64 (C,): tile of each core.
    chip
        Gives the limits.
    """
    for place, name in enumerate(MEMORIES):
        memory = getattr(chip.core.memories, name)
        if memory.shared is None or memory.size is None:
            continue
        need = np.zeros(chip.tiles, dtype=np.int64)
        np.add.at(need, core_tile, memory_bits[:, place])
        exceeded = np.flatnonzero(need > memory.size.value)
        if not exceeded.size:
            continue
        worst = int(need.argmax())
        y, x = divmod(worst, chip.columns)
        more = f" (and {exceeded.size - 1} more tiles too many)" if exceeded.size > 1 else ""
        word = memory.word.value
        used = np.count_nonzero(core_tile == worst)
        yield (
            f"tile ({x}, {y}): its {used} cores in use need {need[worst] // word} words "
            f"({need[worst] / 8192:.1f} KiB) of {name} memory together{more}, the limit is {memory.size.value // word} "
            f"words (core.memories.{name}.size, shared by the tile); use fewer cores a tile (mesh.cores_per_tile), "
            "make the network smaller, or raise the limit with --set"
        )
