"""Where cores and links stand on the chip, by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from neurosim.compiler import Program
from neurosim.compiler.topology import chip_topology, link_classes


@dataclass(frozen=True)
class LinkPlace:
    """An output of a router, in use or not.

    Attributes
    ----------
    router, port
        As in `RunCounts.link_flits`.
    x, y
        Where the router stands.
    output
        ``east``, or ``core_0`` for the first core of the tile.
    to_x, to_y
        Where it leads.
    to_core
        Core in use that it leads to; None for a link between routers.
    interval_ps
        Time between two flits.
    """

    router: int
    port: int
    x: int
    y: int
    output: str
    to_x: int
    to_y: int
    to_core: int | None
    interval_ps: int


def tile_place(program: Program, tile: int) -> tuple[int, int]:
    """Return x and y of a tile."""
    y, x = divmod(tile, program.chip.columns)
    return x, y


def link_places(program: Program) -> Iterator[LinkPlace]:
    """Yield every link between routers, and every output from a router to a core in use."""
    chip, network = program.chip, program.chip.network
    per_tile = chip.mesh.cores_per_tile.value
    top = chip_topology(chip)
    classes, _ = link_classes(chip, top)
    chip_link_ps = 0 if chip.chips is None else chip.chips.interval.value
    slots = {int(slot): core for core, slot in enumerate(program.core_slot)}
    for router in range(top.routers):
        x, y = tile_place(program, router)
        for port in range(top.links):
            beyond = int(top.next_router[router, port])
            if beyond >= 0:
                there = tile_place(program, beyond)
                interval_ps = chip_link_ps if classes[router, port] == 2 else network.link_interval.value
                yield LinkPlace(router, port, x, y, top.link_names[port], *there, None, interval_ps)
        for local in range(per_tile):
            core = slots.get(router * per_tile + local)
            if core is not None:
                interval_ps = network.local_interval.value
                yield LinkPlace(router, top.links + local, x, y, f"core_{local}", x, y, core, interval_ps)
