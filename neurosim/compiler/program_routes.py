"""The routes of a program file: trees, keys and routing tables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.program_fields import INT64, Fields, put_array, put_number
from neurosim.compiler.routes import MOST_OUTPUTS, Routes, Trees, routes_along
from neurosim.compiler.topology import chip_topology

ARRAYS: dict[str, type[np.integer[Any]]] = {
    "keys": np.int64,
    "tree_start": np.int64,
    "tree_router": np.int32,
    "tree_outputs": np.int64,
    "table_start": np.int64,
    "table_key": np.int64,
    "table_mask": np.int64,
    "table_outputs": np.int64,
}
"""What is stored; destinations, links and what default routing takes along follow from these."""


def write_routes(group: h5py.Group, routes: Routes) -> None:
    """Write the routes into `group`."""
    put_number(group, "key_bits", routes.key_bits)
    for name in ARRAYS:
        put_array(group, name, getattr(routes, name))


def read_routes(part: Fields, chip: Chip, traffic: NDArray[np.int64]) -> Routes | None:
    """Return the routes that the group holds; None after an error of form.

    Parameters
    ----------
    part
        The group.
    chip
        Has routing tables.
    traffic
        int64 (C, C): messages from core to core.
    """
    part.only(ARRAYS, ("key_bits",))
    before = len(part.errors)
    cores, routers = len(traffic), chip.tiles
    key_bits = part.integer("key_bits", 0, 62)
    trees, entries = part.length("tree_router"), part.length("table_key")
    shapes = {"keys": (cores,), "tree_start": (cores + 1,), "table_start": (routers + 1,)}
    arrays = {
        name: part.array(name, dtype, shapes.get(name, (trees if name.startswith("tree") else entries,)))
        for name, dtype in ARRAYS.items()
    }
    top = chip_topology(chip)
    outputs = top.links + chip.mesh.cores_per_tile.value
    if outputs > MOST_OUTPUTS:
        part.errors.append(f"{chip.name}: a router has {outputs} outputs; routes name at most {MOST_OUTPUTS}")
    if key_bits is None or len(part.errors) > before:
        return None
    limits = {
        "keys": (0, INT64.max),
        "tree_router": (0, routers - 1),
        "tree_outputs": (1, (1 << outputs) - 1),
        "table_key": (0, INT64.max),
        "table_mask": (0, INT64.max),
        "table_outputs": (1, (1 << outputs) - 1),
    }
    for name, (low, high) in limits.items():
        wrong = np.flatnonzero((arrays[name] < low) | (arrays[name] > high))
        if wrong.size:
            part.error(f"{name}[{wrong[0]}]", f"is {arrays[name][wrong[0]]}; the limits are {low}..{high}")
    for name, rows in (("tree_start", arrays["tree_router"].size), ("table_start", arrays["table_key"].size)):
        start = arrays[name]
        if start[0] != 0 or start[-1] != rows or (np.diff(start) < 0).any():
            part.error(name, f"must rise from 0 to {rows} without falling; it goes {start[0]}..{start[-1]}")
    if len(part.errors) == before:
        _check_ascent(part, arrays["tree_start"], arrays["tree_router"])
    if len(part.errors) > before:
        return None
    grown = Trees(*(arrays[f"tree_{name}"] for name in ("start", "router", "outputs")))
    routes = routes_along(chip, traffic, grown, key_bits, arrays["keys"])
    return replace(routes, **{name: arrays[name] for name in ARRAYS if name.startswith("table")})


def _check_ascent(part: Fields, start: NDArray[np.int64], router: NDArray[np.int32]) -> None:
    falls = np.diff(router) <= 0
    inner = start[1:-1]
    falls[inner[(inner > 0) & (inner < router.size)] - 1] = False
    if falls.any():
        row = int(falls.argmax())
        core = int(np.searchsorted(start, row, side="right")) - 1
        part.error("tree_router", f"does not rise from row {row} to row {row + 1} in the tree of core {core}; sort it")
