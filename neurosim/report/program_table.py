"""A compiled program for people: how full its cores are, and where they stand."""

from __future__ import annotations

import numpy as np
from rich.console import Console
from rich.text import Text

from neurosim.compiler import Program
from neurosim.compiler.placement import chip_distances, placement_cost
from neurosim.report.layout import NOTHING, Column, counted, percent, print_columns
from neurosim.report.routing import entries_sentence, fullest_router

_TITLES = {
    "neurons": "neurons",
    "synapse": "synapse",
    "neuron_state": "neuron\nstate",
    "accumulator": "accumu-\nlator",
    "axon_in": "axon-in\nmemory",
    "axon_out": "axon-out\nmemory",
    "memory_pool": "memory\npool",
    "axon_in_entries": "axon-in\nentries",
    "axon_out_entries": "axon-out\nentries",
}


def print_program(program: Program, console: Console) -> None:
    """Print the occupancy of each layer's fullest cores, and what the placement takes.

    Parameters
    ----------
    program
        From `neurosim.compile` or a file.
    console
        Where to.
    """
    chip, layers = program.chip, program.network.layers
    console.print(Text.assemble((program.network.name, "bold"), " on ", (chip.name, "bold")))
    members = [np.flatnonzero(program.core_layer == number) for number in range(len(layers))]
    columns = [
        Column("layer", [layer.name for layer in layers], left=True),
        Column("shape", [_times(layer.shape) for layer in layers], spare=True),
        Column("cores", [len(cores) for cores in members]),
        Column("largest\npart", [_largest_part(program, cores) for cores in members]),
    ]
    for name, (used, limit) in program.occupancy().items():
        if limit is not None:
            columns.append(Column(_TITLES[name], [_fullest(used, limit, cores) for cores in members]))
    print_columns("Occupancy in % of a core's limit (number of the fullest core)", columns, console)
    unlimited = [name for name, (_, limit) in program.occupancy().items() if limit is None]
    if unlimited:
        console.print(f"No limit is known for {', '.join(unlimited)}.")
    distance = chip_distances(chip)
    hops = placement_cost(program.traffic, program.core_tile, distance)
    messages = int(program.traffic.sum())
    mean = f", {hops / messages:.2f} a message" if messages else ""
    console.print()
    cores, tiles = f"{program.cores:,} of {chip.cores:,} cores", f"{program.tiles:,} of {chip.tiles:,} tiles"
    console.print(f"{cores} in use, on {tiles}")
    console.print(
        f"If every neuron sends once: {counted(messages, 'message')} between cores, "
        f"{counted(hops, 'hop')}{mean} (placement seed {program.seed})"
    )
    if program.messages != "graded":
        console.print(f"Messages with a value go as {program.messages}; the axon tables have room for it.")
    fullest = fullest_router(program)
    if fullest is not None:
        console.print(entries_sentence(fullest))


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _largest_part(program: Program, cores: np.ndarray) -> str:
    part = max((program.slices[core] for core in cores), key=lambda part: part.size)
    return _times(tuple(high - low for low, high in part.box))


def _fullest(used: np.ndarray, limit: int, cores: np.ndarray) -> str:
    """Return the occupancy of the fullest of `cores`, and which it is; the first of equals."""
    worst = int(cores[np.argmax(used[cores])])
    if not used[worst]:
        return NOTHING
    return f"{percent(int(used[worst]) / limit)} ({worst})"
