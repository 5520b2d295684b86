"""Networks of routers as tables: which output leads where, and which output leads towards each router."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip

IntArray = NDArray[np.int64]

EAST, WEST, NORTH, SOUTH = range(4)
"""Link ports of a mesh or torus: towards larger x, smaller x, larger y, smaller y."""
LOCAL = 4
"""First local port of a mesh or torus."""

TRIANGULAR_STEPS = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
"""Links of a triangular torus as (dx, dy), in the order of SpiNNaker's six: E, NE, N, W, SW, S.

Each is the sum of the two beside it in the ring of six, so that two links lead round a blocked one.
"""

_LINK_NAMES = {
    4: ("east", "west", "north", "south"),
    6: ("east", "north-east", "north", "west", "south-west", "south"),
}


@dataclass(frozen=True)
class Topology:
    """Routers, links and routes of R routers with P ports each; local ports follow the links.

    Attributes
    ----------
    links
        Number of link ports of a router.
    next_router, next_port
        int64 (R, P): router that an output leads to (-1 for none or a core) and the input where it ends.
        An input is named after the side on which its neighbour stands.
    route
        int64 (R, R): output towards each router, by dimension order; `links` on the diagonal.
    side
        int64 (P,): dimension of each port, -1 for local ones.
    dateline
        int64 (R, P): 1 where a link closes a ring, so that packets that cross it change their channel.
    hops
        int64 (R, R, dimensions): links crossed between two routers, by dimension.
    """

    links: int
    next_router: IntArray
    next_port: IntArray
    route: IntArray
    side: IntArray
    dateline: IntArray
    hops: IntArray

    @property
    def routers(self) -> int:
        """Number of routers."""
        return len(self.route)

    @property
    def link_names(self) -> tuple[str, ...]:
        """Directions of the links, in the order of their ports."""
        return _LINK_NAMES[self.links]

    @property
    def opposite(self) -> IntArray:
        """int64 (links,): link on the other side of the router from each link."""
        if self.links == len(TRIANGULAR_STEPS):
            return (np.arange(self.links) + self.links // 2) % self.links
        return np.array([WEST, EAST, SOUTH, NORTH])

    @property
    def rings(self) -> bool:
        """Whether links close rings, in which wormholes can wait for each other in a circle."""
        return bool(self.dateline.any())


def _follow_routes(route: IntArray, next_router: IntArray, side: IntArray, links: int, dimensions: int) -> IntArray:
    """Return the hops between all routers by walking every route one link at a time."""
    routers = len(route)
    hops = np.zeros((routers, routers, dimensions), dtype=np.int64)
    at = np.repeat(np.arange(routers)[:, None], routers, axis=1)
    target = np.broadcast_to(np.arange(routers), (routers, routers))
    sources, targets = np.nonzero(at != target)
    while sources.size:
        here = at[sources, targets]
        out = route[here, targets]
        hops[sources, targets, side[out]] += 1
        at[sources, targets] = next_router[here, out]
        going = at[sources, targets] != targets
        sources, targets = sources[going], targets[going]
    return hops


def _grid(columns: int, rows: int, local_ports: int, wraps: bool) -> Topology:
    routers, ports = columns * rows, LOCAL + local_ports
    y, x = np.divmod(np.arange(routers), columns)
    next_router = np.full((routers, ports), -1, dtype=np.int64)
    next_port = np.zeros((routers, ports), dtype=np.int64)
    dateline = np.zeros((routers, ports), dtype=np.int64)
    sides = ((EAST, 1, 0, WEST), (WEST, -1, 0, EAST), (NORTH, 0, 1, SOUTH), (SOUTH, 0, -1, NORTH))
    for out, dx, dy, entry in sides:
        to_x, to_y = x + dx, y + dy
        inside = (to_x >= 0) & (to_x < columns) & (to_y >= 0) & (to_y < rows)
        length = columns if dx else rows
        present = inside | (wraps and length > 1)
        next_router[present, out] = (to_y % rows * columns + to_x % columns)[present]
        next_port[:, out] = entry
        dateline[present & ~inside, out] = 1
    go_x, go_y = x[None] - x[:, None], y[None] - y[:, None]
    if wraps:
        # The shorter way round; at equal lengths towards larger coordinates.
        go_x, go_y = (
            ((go + n // 2 - (n % 2 == 0)) % n) - n // 2 + (n % 2 == 0) for go, n in ((go_x, columns), (go_y, rows))
        )
    route = np.select([go_x > 0, go_x < 0, go_y > 0, go_y < 0], [EAST, WEST, NORTH, SOUTH], LOCAL).astype(np.int64)
    side = np.array([0, 0, 1, 1] + [-1] * local_ports, dtype=np.int64)
    hops = np.stack([np.abs(go_x), np.abs(go_y)], axis=2).astype(np.int64)
    return Topology(LOCAL, next_router, next_port, route, side, dateline, hops)


def mesh(columns: int, rows: int, local_ports: int) -> Topology:
    """Return a `columns` x `rows` mesh with `local_ports` cores at each router; router = y * columns + x."""
    return _grid(columns, rows, local_ports, wraps=False)


def chip_crossings(topology: Topology, columns: int, chip_columns: int, chip_rows: int) -> tuple[IntArray, IntArray]:
    """Return which links of a mesh lead from chip to chip, and how many of them lie between two routers.

    Parameters
    ----------
    topology
        A mesh `columns` wide.
    columns, chip_columns, chip_rows
        Routers: width of the mesh, width and height of a chip.

    Returns
    -------
    int64 (R, P), 1 where an output leads to another chip; int64 (R, R, 2), crossings along x and y.
    """
    y, x = np.divmod(np.arange(topology.routers), columns)
    chip_x, chip_y = x // chip_columns, y // chip_rows
    crosses = np.zeros(topology.next_router.shape, dtype=np.int64)
    here, out = np.nonzero(topology.next_router >= 0)
    there = topology.next_router[here, out]
    crosses[here, out] = (chip_x[here] != chip_x[there]) | (chip_y[here] != chip_y[there])
    between = [np.abs(c[None] - c[:, None]) for c in (chip_x, chip_y)]
    return crosses, np.stack(between, axis=2)


def torus(columns: int, rows: int, local_ports: int) -> Topology:
    """Return a mesh whose rows and columns are closed to rings; packets go the shorter way round."""
    return _grid(columns, rows, local_ports, wraps=True)


def triangular_torus(columns: int, rows: int, local_ports: int) -> Topology:
    """Return a torus with six links a router, as SpiNNaker's; router = y * columns + x.

    Packets first cross the diagonal, then go along x, then along y, on a shortest way; of equal ones the
    way whose differences (dx, dy) are smallest is taken.
    """
    links = len(TRIANGULAR_STEPS)
    routers = columns * rows
    y, x = np.divmod(np.arange(routers), columns)
    next_router = np.full((routers, links + local_ports), -1, dtype=np.int64)
    next_port = np.zeros((routers, links + local_ports), dtype=np.int64)
    dateline = np.zeros((routers, links + local_ports), dtype=np.int64)
    for out, (step_x, step_y) in enumerate(TRIANGULAR_STEPS):
        to_x, to_y = x + step_x, y + step_y
        to = to_y % rows * columns + to_x % columns
        next_router[:, out] = np.where(to == np.arange(routers), -1, to)
        next_port[:, out] = (out + 3) % links
        beyond = (to_x < 0) | (to_x >= columns) | (to_y < 0) | (to_y >= rows)
        dateline[:, out] = beyond & (next_router[:, out] >= 0)
    best = np.full((routers, routers), np.iinfo(np.int64).max)
    route = np.full((routers, routers), links, dtype=np.int64)
    base_x, base_y = (x[None] - x[:, None]) % columns, (y[None] - y[:, None]) % rows
    for dx in (base_x - columns, base_x):
        for dy in (base_y - rows, base_y):
            same = (dx > 0) == (dy > 0)
            diagonal = np.where(same, np.minimum(np.abs(dx), np.abs(dy)), 0)
            length = np.abs(dx) + np.abs(dy) - diagonal
            first = np.select(
                [(diagonal > 0) & (dx > 0), diagonal > 0, dx > 0, dx < 0, dy > 0, dy < 0], [1, 4, 0, 3, 2, 5], links
            )
            # Ties are broken by the differences themselves, so that every router on the way decides alike.
            key = (length * 4 * (columns + rows) + np.abs(dx)) * 2 + (dx < 0)
            shorter = key < best
            best = np.where(shorter, key, best)
            route = np.where(shorter, first, route)
    side = np.array([0, 2, 1, 0, 2, 1] + [-1] * local_ports, dtype=np.int64)
    hops = _follow_routes(route, next_router, side, links, 3)
    return Topology(links, next_router, next_port, route, side, dateline, hops)


def chip_topology(chip: Chip) -> Topology:
    """Return the routers and links of a chip, or of chips joined to one mesh."""
    build = triangular_torus if chip.hexagonal else torus if chip.mesh.topology == "torus" else mesh
    blocked = chip.network.blocked
    # What a router sends again comes in by a port of its own, behind those of the cores.
    again = 0 if blocked is None or blocked.reinjection is None else 1
    return build(chip.columns, chip.rows, chip.mesh.cores_per_tile.value + again)


def link_classes(chip: Chip, top: Topology) -> tuple[IntArray, IntArray]:
    """Return the class of every output, and the links of each class between two routers.

    Classes: 0 east-west, 1 north-south, 2 from chip to chip, 3 to a core.

    Returns
    -------
    int64 (R, P) and int64 (3, R, R).
    """
    classes = np.full(top.next_router.shape, 3, dtype=np.int64)
    hops = np.zeros((3, top.routers, top.routers), dtype=np.int64)
    if chip.hexagonal:
        classes[:, : top.links] = 2
        hops[2] = top.hops.sum(axis=2)
        return classes, hops
    classes[:, : top.links] = top.side[: top.links]
    hops[:2] = top.hops.transpose(2, 0, 1)
    if chip.chips is not None:
        crosses, between = chip_crossings(top, chip.columns, chip.mesh.columns.value, chip.mesh.rows.value)
        classes[crosses > 0] = 2
        hops[:2] -= between.transpose(2, 0, 1)
        hops[2] = between.sum(axis=2)
    return classes, hops
