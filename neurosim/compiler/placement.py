"""Placing core slices on the mesh so that messages travel few hops.

The start follows a snake through the tiles, so that neighbours in the network are neighbours on the
chip; simulated annealing (Kirkpatrick, Gelatt and Vecchi 1983) then swaps pairs of places.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.topology import chip_topology

FIRST_TEMPERATURE = 0.05
LAST_TEMPERATURE = 1e-4
"""Temperatures as a share of the mean cost of a core, at the first and the last step."""


def snake_order(columns: int, rows: int, cores_per_tile: int) -> NDArray[np.int64]:
    """Return the physical cores in the order of a snake through the tiles, row by row."""
    tiles = np.arange(columns * rows).reshape(rows, columns)
    tiles[1::2] = tiles[1::2, ::-1]
    return (tiles.ravel()[:, None] * cores_per_tile + np.arange(cores_per_tile)[None]).ravel()


def _core_order(chip: Chip) -> NDArray[np.int64]:
    """Return the physical cores chip by chip, each in the order of a snake, the chips in a snake too."""
    columns, rows, per_tile = chip.mesh.columns.value, chip.mesh.rows.value, chip.mesh.cores_per_tile.value
    inner = snake_order(columns, rows, 1)
    if chip.chips is None:
        tiles = inner
    else:
        chips = snake_order(chip.chips.columns.value, chip.chips.rows.value, 1)
        down, across = np.divmod(chips, chip.chips.columns.value)
        y, x = np.divmod(inner, columns)
        all_y, all_x = down[:, None] * rows + y[None], across[:, None] * columns + x[None]
        tiles = (all_y * chip.columns + all_x).ravel()
    return (tiles[:, None] * per_tile + np.arange(per_tile)[None]).ravel()


def tile_distances(columns: int, rows: int, wraps: bool = False) -> NDArray[np.int64]:
    """Return the hops between every two tiles of a mesh, or of a torus (`wraps`), int64 (tiles, tiles)."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    along_x, along_y = np.abs(x[:, None] - x[None]), np.abs(y[:, None] - y[None])
    if wraps:
        along_x, along_y = np.minimum(along_x, columns - along_x), np.minimum(along_y, rows - along_y)
    hops: NDArray[np.int64] = along_x + along_y
    return hops


def chip_distances(chip: Chip) -> NDArray[np.int64]:
    """Return the hops between every two tiles of a chip, or of chips joined, int64 (tiles, tiles)."""
    if chip.hexagonal:
        hops: NDArray[np.int64] = chip_topology(chip).hops.sum(axis=2)
        return hops
    return tile_distances(chip.columns, chip.rows, chip.mesh.topology == "torus")


def placement_cost(traffic: NDArray[np.int64], slots: NDArray[np.int64], distance: NDArray[np.int64]) -> int:
    """Return hops x messages of a placement; `distance` is between physical cores."""
    return int((traffic * distance[np.ix_(slots, slots)]).sum())


Placements = dict[str, NDArray[np.int64]]
"""Outcomes of annealing, by a digest of all that decides them."""


def place(traffic: NDArray[np.int64], chip: Chip, seed: int, placed: Placements | None = None) -> NDArray[np.int32]:
    """Place cores 0..C-1 on the mesh.

    Parameters
    ----------
    traffic
        int64 (C, C): messages from core to core.
    chip
        Gives the mesh.
    seed
        Seed of the annealing; the same seed gives the same placement.
    placed
        Outcomes of earlier calls, which are used and added to: the same question has the same answer.

    Returns
    -------
    int32 (C,): physical core of each core.
    """
    per_tile = int(chip.mesh.cores_per_tile.value)
    order = _core_order(chip)
    cores = len(traffic)
    tile_distance = chip_distances(chip)
    # Free places at the end of the snake beyond twice the need are never worth a visit.
    places = order[: min(order.size, max(2 * cores, 2 * per_tile))]
    distance = tile_distance[np.ix_(places // per_tile, places // per_tile)]
    weight = np.zeros((places.size, places.size), dtype=np.int64)
    weight[:cores, :cores] = traffic + traffic.T
    np.fill_diagonal(weight, 0)
    digest = hashlib.sha256(
        f"{cores} {seed} {len(weight)}".encode() + weight.tobytes() + distance.tobytes()
    ).hexdigest()
    placed = {} if placed is None else placed
    if digest not in placed:
        placed[digest] = _anneal(weight, distance, cores, np.random.default_rng(seed))
    at = placed[digest]
    return places[at[:cores]].astype(np.int32)


def _anneal(
    weight: NDArray[np.int64], distance: NDArray[np.int64], cores: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the place of each item (cores first, then empty places) after annealing; the best one seen."""
    items = len(weight)
    at = list(range(items))
    cost = int((weight * distance).sum()) // 2
    if cost == 0 or items < 3:
        return np.array(at, dtype=np.int64)
    steps = min(400 * cores, 40_000)
    first = rng.integers(0, cores, steps)
    second = rng.integers(0, items - 1, steps)
    second += second >= first
    chance = rng.random(steps)
    scale = cost / cores
    cooling = (LAST_TEMPERATURE / FIRST_TEMPERATURE) ** (1.0 / steps)
    temperature = FIRST_TEMPERATURE * scale
    best, best_at = cost, at.copy()
    # Rows and plain lists are looked up faster than places of arrays, and this loop takes most of a compilation.
    near = distance.copy()  # near[p, i]: hops from the place of item i to place p
    messages, hops = weight.tolist(), distance.tolist()
    weights, nears = list(weight), list(near)
    for i, j, luck in zip(first.tolist(), second.tolist(), chance.tolist(), strict=True):
        temperature *= cooling
        here, there = at[i], at[j]
        # The pair's own distance does not change; taking it out corrects the two shared terms.
        change = int(np.dot(weights[i] - weights[j], nears[there] - nears[here]))
        change += 2 * messages[i][j] * hops[here][there]
        if change <= 0 or luck < np.exp(-change / temperature):
            at[i], at[j] = there, here
            near[:, i], near[:, j] = distance[there], distance[here]
            cost += change
            if cost < best:
                best, best_at = cost, at.copy()
    return np.array(best_at, dtype=np.int64)
