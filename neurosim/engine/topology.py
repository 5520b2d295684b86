"""The mesh as tables: which output leads where, and which output leads towards each router."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EAST, WEST, NORTH, SOUTH, LOCAL = range(5)
"""Ports of a router: towards larger x, smaller x, larger y, smaller y, and the first local port."""


@dataclass(frozen=True)
class Topology:
    """Routers, links and dimension-order routes.

    Attributes
    ----------
    next_router, next_port
        int64 (R, P): router that an output leads to (-1 for none) and the input where it ends. An
        input is named after the side that its neighbour stands on.
    route
        int64 (R, R): output towards each router, x before y; LOCAL on the diagonal.
    hops_x, hops_y
        int64 (R, R): links crossed in each direction.
    """

    next_router: NDArray[np.int64]
    next_port: NDArray[np.int64]
    route: NDArray[np.int64]
    hops_x: NDArray[np.int64]
    hops_y: NDArray[np.int64]

    @property
    def routers(self) -> int:
        """Number of routers."""
        return len(self.route)


def mesh(columns: int, rows: int, local_ports: int) -> Topology:
    """Return a `columns` x `rows` mesh with `local_ports` cores at each router; router = y * columns + x."""
    routers, ports = columns * rows, LOCAL + local_ports
    y, x = np.divmod(np.arange(routers), columns)
    next_router = np.full((routers, ports), -1, dtype=np.int64)
    next_port = np.zeros((routers, ports), dtype=np.int64)
    sides = ((EAST, 1, 0, WEST), (WEST, -1, 0, EAST), (NORTH, 0, 1, SOUTH), (SOUTH, 0, -1, NORTH))
    for out, dx, dy, entry in sides:
        inside = (x + dx >= 0) & (x + dx < columns) & (y + dy >= 0) & (y + dy < rows)
        next_router[inside, out] = ((y + dy) * columns + x + dx)[inside]
        next_port[:, out] = entry
    go_x, go_y = x[None] - x[:, None], y[None] - y[:, None]
    route = np.select([go_x > 0, go_x < 0, go_y > 0, go_y < 0], [EAST, WEST, NORTH, SOUTH], LOCAL)
    return Topology(next_router, next_port, route.astype(np.int64), np.abs(go_x), np.abs(go_y))
