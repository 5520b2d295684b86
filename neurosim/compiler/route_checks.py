"""What must hold of a program's routes: trees reach every destination once, tables follow the trees."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from neurosim.compiler.messages import axons
from neurosim.compiler.program import Program
from neurosim.compiler.program_fields import first_wrong as _first
from neurosim.compiler.routes import Routes, table_shortages, tree_links
from neurosim.compiler.routing_tables import NO_ENTRY
from neurosim.compiler.topology import Topology, chip_topology


def check_routes(program: Program) -> Iterator[str]:
    """Yield a sentence for everything in the routes that does not fit a program that is sound without them."""
    routes, chip = program.routes, program.chip
    if routes is None:
        if chip.network.tables is not None:
            yield f"routes: are missing; {chip.name} has routing tables"
        return
    if chip.network.tables is None:
        yield f"routes: are there, and {chip.name} has no routing tables (network.tables); leave them out"
        return
    yield from _keys(program, routes)
    wrong = list(_trees(program, routes, chip_topology(chip)))
    yield from wrong
    yield from table_shortages(chip, routes)
    if not wrong:
        yield from _tables(program, routes)


def _keys(program: Program, routes: Routes) -> Iterator[str]:
    keys, span = routes.keys, 1 << routes.key_bits
    each = axons(program.network, program.chip, program.messages)
    most = int(np.add.reduceat(each[program.neuron_order], program.core_start[:-1]).max())
    if most > span:
        yield f"routes: attribute key_bits is {routes.key_bits}, which number {span} neurons; a core has {most}"
    header = program.chip.network.header.value
    wrong = keys & (span - 1) != 0
    if header < 63:
        wrong |= keys > (1 << header) - span
    if wrong.any():
        core, more = _first(wrong)
        yield (
            f"routes/keys[{core}] is {keys[core]}{more}; a key ends in {routes.key_bits} zero bits, and with the "
            f"neurons' numbers it fits network.header, {header} bits"
        )
    values, uses = np.unique(keys, return_counts=True)
    if (uses > 1).any():
        at, more = _first(uses > 1)
        used_by = ", ".join(map(str, np.flatnonzero(keys == values[at])[:5]))
        yield f"routes/keys: {values[at]} is the key of cores {used_by}{more}; give each core its own"


def _trees(program: Program, routes: Routes, top: Topology) -> Iterator[str]:
    """Hold the trees against the chip's links and the destinations."""
    core, router = routes.tree_core, routes.tree_router.astype(np.int64)
    place, port = tree_links(top, routes.tree_outputs)
    beyond = top.next_router[router[place], port]
    if (beyond < 0).any():
        at, more = _first(beyond < 0)
        yield (
            f"routes/tree_outputs: the tree of core {core[place[at]]} leaves router {router[place[at]]} by link "
            f"{port[at]}{more}, where the chip has none"
        )
        return
    nodes = core * top.routers + router  # these ascend
    ends = core[place] * top.routers + beyond
    found = np.searchsorted(nodes, ends)
    known = found < nodes.size
    known[known] = nodes[found[known]] == ends[known]
    if not known.all():
        at, more = _first(~known)
        yield (
            f"routes/tree_router: the tree of core {core[place[at]]} enters router {beyond[at]}{more} and takes no "
            "output there"
        )
        return
    entered = np.bincount(found, minlength=nodes.size)
    root = router == program.core_tile[core]
    if (entered + root > 1).any():
        at, more = _first(entered + root > 1)
        times = f"{entered[at]} links, though it starts there" if root[at] else f"{entered[at]} links, not one"
        yield f"routes/tree_outputs: the tree of core {core[at]} enters router {router[at]} by {times}{more}"
        return
    reached, front = root.copy(), root
    while front.any():
        front = np.bincount(found[front[place]], minlength=nodes.size) > 0
        front &= ~reached
        reached |= front
    if not reached.all():
        at, more = _first(~reached)
        yield f"routes/tree_router: the tree of core {core[at]} never reaches router {router[at]}{more}; leave it out"
        return
    yield from _destinations(program, routes, top)


def _destinations(program: Program, routes: Routes, top: Topology) -> Iterator[str]:
    per_tile, cores = program.chip.mesh.cores_per_tile.value, program.cores
    at_slot = np.full(top.routers * per_tile, -1, dtype=np.int64)
    at_slot[program.core_slot] = np.arange(cores)
    bits = (routes.tree_outputs[:, None] >> (top.links + np.arange(per_tile))) & 1
    place, within = np.nonzero(bits)
    target = at_slot[routes.tree_router[place].astype(np.int64) * per_tile + within]
    source = routes.tree_core[place]
    if (target < 0).any():
        at, more = _first(target < 0)
        yield (
            f"routes/tree_outputs: the tree of core {source[at]} ends at core {within[at]} of router "
            f"{routes.tree_router[place[at]]}{more}, which is not in use"
        )
        return
    served = np.zeros((cores, cores), dtype=bool)
    served[source, target] = True
    wrong = served != (program.traffic > 0)
    if wrong.any():
        at, more = _first(wrong.ravel())
        a, b = divmod(at, cores)
        does, sends = ("reaches", "sends it nothing") if served[a, b] else ("does not reach", "sends to it")
        yield f"routes/tree_outputs: the tree of core {a} {does} core {b}{more}; by the axon table it {sends}"


def _tables(program: Program, routes: Routes) -> Iterator[str]:
    """Hold the tables against the trees: what each router does with each key that comes by."""
    stray = routes.table_key & ~routes.table_mask != 0
    if stray.any():
        entry, more = _first(stray)
        yield f"routes/table_key[{entry}] has bits outside its mask{more}, so it is for no key; clear them"
    low = routes.table_mask & ((1 << routes.key_bits) - 1) != 0
    if low.any():
        entry, more = _first(low)
        yield (
            f"routes/table_mask[{entry}] looks at the low {routes.key_bits} bits{more}, which number neurons: all of a "
            "core's go the same way"
        )
    if stray.any() or low.any():
        return
    for router in range(routes.routers):
        passing = routes.passing(router)
        found = routes.table(router).look_up(passing.keys)
        wrong = np.where(found == NO_ENTRY, ~passing.straight, found != passing.outputs)
        if wrong.any():
            at, more = _first(wrong)
            given = (
                "no entry, and default routing does not" if found[at] == NO_ENTRY else f"outputs {found[at]:#x}, not"
            )
            yield (
                f"routes/table_key: router {router} has for key {passing.keys[at]} {given} {passing.outputs[at]:#x} as "
                f"in the tree{more}"
            )
            return
