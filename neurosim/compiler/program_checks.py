"""What must hold in every program, whoever compiled it: the engine relies on all of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler.axons import source_neurons
from neurosim.compiler.encoding import fan_out_of, shape_problem
from neurosim.compiler.lanes import Lanes
from neurosim.compiler.memory import check_compartments, tile_shortages
from neurosim.compiler.program import MEMORIES, CoreSlice, Encoding, Program
from neurosim.compiler.program_fields import first_wrong as _first
from neurosim.compiler.route_checks import check_routes
from neurosim.network import Sparse

LARGEST = 1 << 40
"""Largest number of words, bits, entries or slots of a core: sums over all cores stay within 64 bits."""


def check_program(program: Program) -> list[str]:
    """Return a sentence for everything in `program` that does not fit; arrays have their proper shapes.

    What the axon table says is held against the network only once the table and the slices are sound, and the
    routes against the table only once that is.
    """
    errors = [
        *_shapes(program),
        *_slots(program),
        *_boxes(program),
        *_order(program),
        *_memories(program),
        *_axon_rows(program),
        *_limits(program),
    ]
    errors = errors or [*_conflicts(program), *_fan_out(program), *_traffic(program), *_tiles(program)]
    return errors or list(check_routes(program))


def _shapes(program: Program) -> Iterator[str]:
    network = program.network
    for connection in network.connections:
        problem = shape_problem(connection.transform, network[connection.target])
        if problem:
            yield f"{connection.label}: {problem}"
    yield from check_compartments(network, program.chip)


def _slots(program: Program) -> Iterator[str]:
    chip = program.chip
    places = chip.tiles * chip.mesh.cores_per_tile.value
    slot = program.core_slot
    outside = (slot < 0) | (slot >= places)
    if outside.any():
        core, more = _first(outside)
        yield f"cores/slot[{core}] is {slot[core]}{more}; {chip.name} has 0..{places - 1}"
    values, uses = np.unique(slot, return_counts=True)
    if (uses > 1).any():
        at, more = _first(uses > 1)
        used_by = ", ".join(map(str, np.flatnonzero(slot == values[at])[:5]))
        yield f"cores/slot: {values[at]} is the place of cores {used_by}{more}; give each core its own"
    if program.cores > chip.cores:
        yield f"{program.cores} cores are in use; {chip.name} has {chip.cores}"


def _box_problem(program: Program, part: CoreSlice) -> str | None:
    layers = program.network.layers
    if not 0 <= part.layer < len(layers):
        return f"belongs to layer {part.layer}; the network has 0..{len(layers) - 1}"
    layer = layers[part.layer]
    if len(part.box) != len(layer.shape):
        return f"has box {part.box}; layer {layer.name} is a vector, so its last two ranges are (0, 1)"
    if not all(0 <= low < high <= size for (low, high), size in zip(part.box, layer.shape, strict=True)):
        return f"has box {part.box}; layer {layer.name} has shape {layer.shape}"
    return None


def _boxes(program: Program) -> Iterator[str]:
    network = program.network
    problems = [_box_problem(program, part) for part in program.slices]
    if any(problems):
        yield from (f"core {core} {problem}" for core, problem in enumerate(problems) if problem)
        return
    for core, part in enumerate(program.slices):
        least = part.size * network.layers[part.layer].unit.compartments
        if not least <= part.neuron_slots <= LARGEST:
            yield (
                f"core {core} takes {part.neuron_slots} neuron slots for {part.size} neurons; give {least} to {LARGEST}"
            )
    for number, layer in enumerate(network.layers):
        held = np.zeros(layer.shape, dtype=np.int32)
        for part in program.slices:
            if part.layer == number:
                held[tuple(slice(low, high) for low, high in part.box)] += 1
        if (held != 1).any():
            at, more = _first(held.ravel() != 1)
            times = held.ravel()[at]
            yield f"layer {layer.name}: neuron {at} is on {times} cores{more}; cover each neuron once"
    start = program.core_start
    sizes = np.array([part.size for part in program.slices], dtype=np.int64)
    wrong = np.diff(start) != sizes
    if start[0] != 0 or wrong.any():
        core, more = _first(wrong) if wrong.any() else (0, "")
        yield (
            f"neurons/core_start: core {core} goes from {start[core]} to {start[core + 1]}, its box has "
            f"{sizes[core]} neurons{more}; rise from 0 by the neurons of each core's box"
        )
        return
    yield from _membership(program)


def _membership(program: Program) -> Iterator[str]:
    network = program.network
    for core, part in enumerate(program.slices):
        found = np.sort(program.neuron_order[program.core_start[core] : program.core_start[core + 1]])
        expected = part.neurons(network.layers[part.layer].shape) + network.offsets[part.layer]
        if not np.array_equal(found, expected):
            stray = np.setdiff1d(found, expected)
            stranger = f"neuron {stray[0]} among them" if stray.size else "one twice"
            yield f"neurons/order: core {core} sweeps other neurons than those of its box, {stranger}"
            return


def _order(program: Program) -> Iterator[str]:
    size = program.network.size
    order = program.neuron_order
    outside = (order < 0) | (order >= size)
    if outside.any():
        at, more = _first(outside)
        yield f"neurons/order[{at}] is {order[at]}{more}; the network has neurons 0..{size - 1}"
        return
    times = np.bincount(order, minlength=size)
    if (times != 1).any():
        neuron, more = _first(times != 1)
        yield f"neurons/order holds neuron {neuron} {times[neuron]} times{more}; hold each neuron once"


def _memories(program: Program) -> Iterator[str]:
    for name in ("memory_words", "memory_bits", "axon_in_entries", "axon_out_entries"):
        values = getattr(program, name)
        wrong = ((values < 0) | (values > LARGEST)).reshape(program.cores, -1).any(axis=1)
        if wrong.any():
            core, more = _first(wrong)
            yield f"cores/{name} is {values[core].tolist()} on core {core}{more}; give 0 to {LARGEST}"
    words = [int(getattr(program.chip.core.memories, name).word.value) for name in MEMORIES]
    # Python's integers, since the product of wrong numbers may exceed 64 bits.
    expected = program.memory_words.astype(object) * np.array(words, dtype=object)
    wrong = program.memory_bits != expected
    if wrong.any():
        at, more = _first(wrong.ravel())
        core, memory = divmod(at, len(MEMORIES))
        yield (
            f"cores/memory_bits: core {core}, {MEMORIES[memory]}: {program.memory_bits[core, memory]}{more}; "
            f"{program.memory_words[core, memory]} words of {words[memory]} bits are {expected[core, memory]}"
        )


def _axon_rows(program: Program) -> Iterator[str]:
    start, rows = program.axon_start, program.axon_core.size
    ordered = start[0] == 0 and start[-1] == rows and not (np.diff(start) < 0).any()
    if not ordered:
        yield (
            f"axons/start must rise from 0 to the number of rows, {rows}; it goes {start[0]}..{start[-1]}"
            + ("" if (np.diff(start) >= 0).all() else " and falls at neuron " + str(_first(np.diff(start) < 0)[0]))
        )
    core = program.axon_core
    checks = (
        ("core", (core < 0) | (core >= program.cores), f"the cores are 0..{program.cores - 1}"),
        (
            "encoding",
            (program.axon_encoding < 0) | (program.axon_encoding >= len(Encoding)),
            ", ".join(f"{kind.value} is {kind.name.lower()}" for kind in Encoding),
        ),
        ("synops_nonzero", program.axon_synops_nonzero < 0, "give 0 or more"),
        (
            "synops",
            program.axon_synops < program.axon_synops_nonzero,
            "it counts those in synops_nonzero too",
        ),
        (
            "words",
            program.axon_words < (program.axon_synops > 0),
            "synapses are read in at least one word, and words are never negative",
        ),
    )
    for name, wrong, limit in checks:
        if wrong.any():
            row, more = _first(wrong)
            yield f"axons/{name}[{row}] is {getattr(program, 'axon_' + name)[row]}{more}; {limit}"
    if ordered:
        falls = np.diff(core) < 0
        inner = start[1:-1]
        falls[inner[(inner > 0) & (inner < rows)] - 1] = False
        if falls.any():
            row, more = _first(falls)
            neuron = int(np.searchsorted(start, row, side="right")) - 1
            yield f"axons/core falls from row {row} to row {row + 1} within neuron {neuron}{more}; sort it"


def _conflicts(program: Program) -> Iterator[str]:
    """Hold the conflicts of each list against the fewest and the most that so many synapses can have."""
    lanes = Lanes.of(program.chip)
    if lanes is None or program.axon_conflicts is None:
        return
    least, most = lanes.bounds(program.axon_charged)
    wrong = (program.axon_conflicts < least) | (program.axon_conflicts > most)
    if wrong.any():
        row, more = _first(wrong)
        yield (
            f"axons/conflicts[{row}] is {program.axon_conflicts[row]}{more}; {program.axon_charged[row]} synapses, "
            f"{lanes.lanes} at a time, meet {least[row]} to {most[row]}"
        )


def _limits(program: Program) -> Iterator[str]:
    chip, network = program.chip, program.network
    for name, (used, limit) in program.occupancy().items():
        if limit is not None and (used > limit).any():
            core, more = _first(used > limit)
            number = program.slices[core].layer
            layer = network.layers[number].name if 0 <= number < len(network.layers) else number
            yield f"core {core} (layer {layer}): {name}: uses {used[core]}, the limit is {limit}{more}"
    longest = int(chip.core.max_delay.value)
    for connection in network.connections:
        if connection.longest_delay > longest:
            yield (
                f"{connection.label}: a delay of {connection.longest_delay} timesteps; {chip.name} holds at "
                f"most {longest} (core.max_delay)"
            )


def _tiles(program: Program) -> Iterator[str]:
    yield from tile_shortages(program.memory_bits, program.core_tile, program.chip)


def _sums(keys: NDArray[np.int64], *values: NDArray[np.int64]) -> tuple[NDArray[np.int64], list[NDArray[np.int64]]]:
    """Return the distinct keys and, for each array of values, the sum over equal keys."""
    if not keys.size:
        return keys, list(values)
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))
    return ordered[first], [np.add.reduceat(column[order], first) for column in values]


def _fan_out(program: Program) -> Iterator[str]:
    """Hold the table against the network: what each message meets on each core."""
    network, cores = program.network, program.cores
    keys, nonzero, structural = [], [], []
    for connection in network.connections:
        positions = source_neurons(network, connection)
        target, transform = network.index[connection.target], connection.transform
        order = transform.by_target() if isinstance(transform, Sparse) else None
        for core, part in enumerate(program.slices):
            if part.layer == target:
                fan = fan_out_of(transform, network.layers[target], part, order if len(part.box) == 1 else None)
                keys.append(positions[fan.sources] * cores + core)
                nonzero.append(fan.nonzero)
                structural.append(fan.structural)
    sources = np.repeat(np.arange(network.size), np.diff(program.axon_start))
    table_keys = sources * cores + program.axon_core
    empty = np.zeros(0, dtype=np.int64)
    network_keys = np.concatenate([empty, *keys])
    none_here, none_there = np.zeros(network_keys.size, np.int64), np.zeros(table_keys.size, np.int64)
    pairs, (wanted, most, found, met) = _sums(
        np.concatenate([network_keys, table_keys]),
        np.concatenate([empty, *nonzero, none_there]),
        np.concatenate([empty, *structural, none_there]),
        np.concatenate([none_here, program.axon_synops_nonzero.astype(np.int64)]),
        np.concatenate([none_here, program.axon_synops.astype(np.int64)]),
    )
    for name, here, wrong, limit in (
        ("synops_nonzero", found, found != wanted, wanted),
        ("synops", met, met > most, most),
    ):
        if wrong.any():
            at, more = _first(wrong)
            neuron, core = divmod(int(pairs[at]), cores)
            layer = network.layers[int(np.searchsorted(network.offsets, neuron, side="right")) - 1].name
            yield (
                f"axons/{name}: neuron {neuron} (layer {layer}) has {here[at]} on core {core}{more}; "
                f"by the network's weights it has {'' if name == 'synops_nonzero' else 'at most '}{limit[at]}"
            )


def _traffic(program: Program) -> Iterator[str]:
    """Hold the traffic against the table: one message a neuron and destination core."""
    network, cores = program.network, program.cores
    on_core = np.empty(network.size, dtype=np.int64)
    on_core[program.neuron_order] = np.repeat(np.arange(cores), np.diff(program.core_start))
    sources = np.repeat(np.arange(network.size), np.diff(program.axon_start))
    keys = sources * cores + program.axon_core  # these ascend
    pairs = keys[np.concatenate((keys[:1] >= 0, keys[1:] != keys[:-1]))]
    expected = np.bincount(on_core[pairs // cores] * cores + pairs % cores, minlength=cores * cores)
    wrong = program.traffic.ravel() != expected
    if wrong.any():
        at, more = _first(wrong)
        a, b = divmod(at, cores)
        yield f"traffic[{a}, {b}] is {program.traffic[a, b]}{more}; by the axon table it is {expected[at]}"
