"""Multicast: the tree that each core's packets take, their keys, and the routing tables that say so.

All neurons of a core share one tree, to every core that any of them sends to. Its outputs at a router are bits: the
links by their ports, then the cores of the tile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.routing_tables import IntArray, Passing, RoutingTable, minimise
from neurosim.compiler.topology import Topology, chip_topology, link_classes
from neurosim.errors import CapacityError, join_errors

MOST_OUTPUTS = 62
"""Outputs of a router that fit the bits of a signed 64-bit number."""


@dataclass(frozen=True, eq=False)
class Routes:
    """Trees, keys and tables of a program (C cores, R routers, D destinations, T routers in trees, E entries).

    A packet's key is that of its core plus the neuron's place in the core's sweep.

    Attributes
    ----------
    key_bits
        Low bits of a key that number the neurons of a core: the fewest that do for the core with most neurons,
        and the same for all cores.
    keys
        int64 (C,): key of each core's first neuron.
    destination_start
        int64 (C + 1,): where each source core's destinations begin.
    destination_core
        int32 (D,): cores that get its packets, ascending for each source core.
    tree_start
        int64 (C + 1,): where each source core's tree begins.
    tree_router
        int32 (T,): routers of the tree, ascending for each source core.
    tree_outputs
        int64 (T,): outputs that the tree takes there, a bit each.
    tree_straight
        bool (T,): whether default routing takes the packet that way, so that it can do without an entry.
    hops
        int64 (C, 3): links of each tree by class, as `link_classes` numbers them.
    table_start
        int64 (R + 1,): where each router's entries begin.
    table_key, table_mask, table_outputs
        int64 (E,): entries, after minimising.
    """

    key_bits: int
    keys: IntArray
    destination_start: IntArray
    destination_core: NDArray[np.int32]
    tree_start: IntArray
    tree_router: NDArray[np.int32]
    tree_outputs: IntArray
    tree_straight: NDArray[np.bool_]
    hops: IntArray
    table_start: IntArray
    table_key: IntArray
    table_mask: IntArray
    table_outputs: IntArray

    def __repr__(self) -> str:
        return f"<Routes of {self.keys.size} cores over {self.routers} routers: {self.table_key.size} table entries>"

    @property
    def routers(self) -> int:
        """Number of routers, R."""
        return self.table_start.size - 1

    @cached_property
    def tree_core(self) -> IntArray:
        """int64 (T,): source core of each router in a tree."""
        return np.repeat(np.arange(self.keys.size), np.diff(self.tree_start))

    @cached_property
    def trees(self) -> IntArray:
        """int64 (C, R): outputs that each core's tree takes at each router, a bit each; 0 where it does not pass."""
        dense = np.zeros((self.keys.size, self.routers), dtype=np.int64)
        dense[self.tree_core, self.tree_router] = self.tree_outputs
        return dense

    @cached_property
    def entries_full(self) -> IntArray:
        """int64 (R,): entries that each router would need with one for every key that comes by."""
        return np.bincount(self.tree_router, minlength=self.routers).astype(np.int64)

    @cached_property
    def entries_default(self) -> IntArray:
        """int64 (R,): the same without the keys that default routing takes along."""
        return np.bincount(self.tree_router[~self.tree_straight], minlength=self.routers).astype(np.int64)

    @cached_property
    def entries_minimised(self) -> IntArray:
        """int64 (R,): entries of each router's table."""
        return np.diff(self.table_start)

    @cached_property
    def _by_router(self) -> tuple[IntArray, IntArray]:
        """Places in the trees sorted by router, then key; and where each router's begin."""
        order = np.lexsort((self.keys[self.tree_core], self.tree_router))
        return order, np.concatenate(([0], np.cumsum(self.entries_full)))

    def passing(self, router: int) -> Passing:
        """Return the keys of cores whose trees pass `router`, and where they go."""
        order, start = self._by_router
        here = order[start[router] : start[router + 1]]
        return Passing(self.keys[self.tree_core[here]], self.tree_outputs[here], self.tree_straight[here])

    def table(self, router: int) -> RoutingTable:
        """Return the routing table of `router`."""
        entries = slice(self.table_start[router], self.table_start[router + 1])
        return RoutingTable(self.table_key[entries], self.table_mask[entries], self.table_outputs[entries])


@dataclass(frozen=True)
class Trees:
    """The trees of a program, router by router; the columns of `Routes` without ``tree_`` before their names."""

    start: IntArray
    router: NDArray[np.int32]
    outputs: IntArray


def _last_steps(top: Topology) -> tuple[IntArray, IntArray]:
    """Return, for the route from each router to each other, the router before the last and the output it takes."""
    before = np.full((top.routers, top.routers), -1, dtype=np.int64)
    output = np.full((top.routers, top.routers), -1, dtype=np.int64)
    at = np.repeat(np.arange(top.routers)[:, None], top.routers, axis=1)
    sources, targets = np.nonzero(top.route < top.links)
    while sources.size:
        here = at[sources, targets]
        out = top.route[here, targets]
        beyond = top.next_router[here, out]
        ends = beyond == targets
        before[sources[ends], targets[ends]] = here[ends]
        output[sources[ends], targets[ends]] = out[ends]
        at[sources, targets] = beyond
        sources, targets = sources[~ends], targets[~ends]
    return before, output


def grow_trees(top: Topology, core_tile: IntArray, core_port: IntArray, traffic: IntArray) -> Trees:
    """Return the tree from each core to all cores it sends to.

    A tree enters each of its routers by the last link of the route from the source to that router, so by one link
    only. Dimension order makes it the union of the routes to all destinations.

    Parameters
    ----------
    top
        Routers and routes.
    core_tile, core_port
        int64 (C,): router and local port of each core.
    traffic
        int64 (C, C): messages from core to core.
    """
    cores = len(traffic)
    before, output = _last_steps(top)
    outputs = np.zeros((cores, top.routers), dtype=np.int64)
    source, target = np.nonzero(traffic)
    np.bitwise_or.at(outputs, (source, core_tile[target]), np.int64(1) << core_port[target])
    far = top.hops.sum(axis=2)[core_tile]
    # From the farthest routers inwards, so that a router's branches are all known when its own link is drawn.
    for distance in range(int(far.max(initial=0)), 0, -1):
        source, router = np.nonzero((far == distance) & (outputs != 0))
        tile = core_tile[source]
        np.bitwise_or.at(outputs, (source, before[tile, router]), np.int64(1) << output[tile, router])
    source, router = np.nonzero(outputs)
    start = np.searchsorted(source, np.arange(cores + 1)).astype(np.int64)
    return Trees(start, router.astype(np.int32), outputs[source, router])


def tree_links(top: Topology, outputs: IntArray) -> tuple[IntArray, IntArray]:
    """Return the links among `outputs`, int64 (T,), as places in it and ports, sorted by place."""
    bits = (outputs[:, None] >> np.arange(top.links)) & 1
    place, port = np.nonzero(bits)
    return place, port


def _straight(top: Topology, trees: Trees) -> NDArray[np.bool_]:
    """Return where a tree takes just the link opposite to the one that it came by."""
    cores = np.repeat(np.arange(trees.start.size - 1), np.diff(trees.start))
    keys = cores * top.routers + trees.router  # these ascend
    place, port = tree_links(top, trees.outputs)
    beyond = top.next_router[trees.router[place], port]
    found = np.searchsorted(keys, cores[place] * top.routers + beyond)
    known = (beyond >= 0) & (found < keys.size)
    known[known] = keys[found[known]] == (cores[place] * top.routers + beyond)[known]
    straight = np.zeros(keys.size, dtype=bool)
    entered = top.next_port[trees.router[place], port]
    on = np.int64(1) << top.opposite[entered]
    straight[found[known]] = trees.outputs[found[known]] == on[known]
    return straight


def routes_along(chip: Chip, traffic: IntArray, trees: Trees, key_bits: int, keys: IntArray) -> Routes:
    """Return the routes along given trees, with tables that are still empty.

    Parameters
    ----------
    chip
        Has routing tables.
    traffic
        int64 (C, C): messages from core to core.
    trees, key_bits, keys
        As in `Routes`.
    """
    top = chip_topology(chip)
    source, target = np.nonzero(traffic)
    place, port = tree_links(top, trees.outputs)
    classes, _ = link_classes(chip, top)
    cores = np.repeat(np.arange(keys.size), np.diff(trees.start))
    hops = np.zeros((keys.size, 3), dtype=np.int64)
    np.add.at(hops, (cores[place], classes[trees.router[place], port]), 1)
    straight = _straight(top, trees)
    if chip.network.tables is None or not chip.network.tables.default_routing:
        straight[:] = False
    none = np.zeros(0, dtype=np.int64)
    return Routes(
        key_bits=key_bits,
        keys=keys,
        destination_start=np.searchsorted(source, np.arange(keys.size + 1)).astype(np.int64),
        destination_core=target.astype(np.int32),
        tree_start=trees.start,
        tree_router=trees.router,
        tree_outputs=trees.outputs,
        tree_straight=straight,
        hops=hops,
        table_start=np.zeros(top.routers + 1, dtype=np.int64),
        table_key=none,
        table_mask=none,
        table_outputs=none,
    )


def key_width(chip: Chip, key_bits: int) -> int:
    """Return the bits of a key: those of the tile, of the core within the tile, and of the neuron."""
    return (chip.tiles - 1).bit_length() + (chip.mesh.cores_per_tile.value - 1).bit_length() + key_bits


def build_routes(chip: Chip, core_slot: NDArray[np.int32], traffic: IntArray, most_neurons: int) -> Routes:
    """Route every core's packets along one tree, and fill the routing tables.

    A core's key is its tile, then its place in the tile, then zeros for the neurons: cores that stand together
    share the high bits, and often their way.

    Parameters
    ----------
    chip
        Has routing tables.
    core_slot
        int32 (C,): physical core of each core.
    traffic
        int64 (C, C): messages from core to core.
    most_neurons
        Neurons of the core with most, each as often as it has axons.

    Raises
    ------
    CapacityError
        A router needs more entries than it has, a key more bits than a packet's header, or a tile has more cores
        than a router's outputs can name.
    """
    top = chip_topology(chip)
    per_tile = chip.mesh.cores_per_tile.value
    key_bits = (most_neurons - 1).bit_length()
    _check_widths(chip, top, key_bits)
    tile, within = np.divmod(core_slot.astype(np.int64), per_tile)
    keys = ((tile << (per_tile - 1).bit_length()) + within) << key_bits
    bare = routes_along(chip, traffic, grow_trees(top, tile, top.links + within, traffic), key_bits, keys)
    tables = [minimise(bare.passing(router), key_bits, key_width(chip, key_bits)) for router in range(top.routers)]
    routes = replace(
        bare,
        table_start=np.cumsum([0, *(table.key.size for table in tables)], dtype=np.int64),
        table_key=np.concatenate([table.key for table in tables]),
        table_mask=np.concatenate([table.mask for table in tables]),
        table_outputs=np.concatenate([table.outputs for table in tables]),
    )
    if errors := table_shortages(chip, routes):
        raise CapacityError(join_errors(chip.name, errors))
    return routes


def _check_widths(chip: Chip, top: Topology, key_bits: int) -> None:
    per_tile = chip.mesh.cores_per_tile.value
    if top.links + per_tile > MOST_OUTPUTS:
        raise CapacityError(
            f"{chip.name}: mesh.cores_per_tile: {per_tile} cores and {top.links} links are {top.links + per_tile} "
            f"outputs of a router; routing tables name at most {MOST_OUTPUTS}: use more tiles of fewer cores"
        )
    width, limit = key_width(chip, key_bits), chip.network.header.value
    if width > limit:
        raise CapacityError(
            f"{chip.name}: network.header: keys need {width} bits, {key_bits} of them for the neurons of a core; the "
            f"limit is {limit} bits: widen the header or put fewer neurons on a core (core.neurons_usable)"
        )


def table_shortages(chip: Chip, routes: Routes) -> list[str]:
    """Return a sentence on the router whose table is exceeded most, or nothing."""
    tables = chip.network.tables
    if tables is None:
        return []
    limit = tables.entries.value
    exceeded = np.flatnonzero(routes.entries_minimised > limit)
    if not exceeded.size:
        return []
    worst = int(exceeded[routes.entries_minimised[exceeded].argmax()])
    y, x = divmod(worst, chip.columns)
    more = f" (and {exceeded.size - 1} more routers too many)" if exceeded.size > 1 else ""
    return [
        f"router ({x}, {y}) needs {routes.entries_minimised[worst]} routing entries for the keys of "
        f"{routes.entries_full[worst]} cores{more}, the limit is {limit} (network.tables.entries); put more neurons on "
        "a core, so that fewer cores send (core.neurons_usable), or raise the limit with --set"
    ]
