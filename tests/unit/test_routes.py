"""Multicast: trees reach what they must, keys and tables send every packet along them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from spinnaker_like import NUMBER, spinnaker_like

from hwmodels import Chip, load_chip
from neurosim.compiler import Program, compile_network, read_program, write_program
from neurosim.compiler.placement import chip_distances, place, placement_cost
from neurosim.compiler.program_checks import check_program
from neurosim.compiler.routes import Routes, build_routes
from neurosim.compiler.routing_tables import Passing, RoutingTable, minimise
from neurosim.compiler.topology import chip_topology
from neurosim.errors import CapacityError
from neurosim.network import Connection, CubaLif, Dense, Layer, Network, Relay, Sparse

WAITS = {"wait": {"value": "240 ns", **NUMBER}, "emergency": False}
CHIPS: dict[str, dict[str, object]] = {
    "mesh": {"chips": None, "network__blocked": None, "mesh__columns": 5, "mesh__rows": 4},
    "torus": {
        "chips": None,
        "network__blocked": WAITS,
        "mesh__topology": "torus",
        "mesh__columns": 5,
        "mesh__rows": 4,
    },
    "even torus": {
        "chips": None,
        "network__blocked": WAITS,
        "mesh__topology": "torus",
        "mesh__columns": 4,
        "mesh__rows": 2,
    },
    "joined meshes": {
        "chips__topology": "mesh",
        "network__blocked": WAITS,
        "chips__columns": 2,
        "chips__rows": 2,
        "mesh__columns": 2,
        "mesh__rows": 3,
    },
    "triangular torus": {"chips__columns": 5, "chips__rows": 4},
    "even triangular torus": {"chips__columns": 4, "chips__rows": 6},
    "small triangular torus": {"chips__columns": 2, "chips__rows": 2},
}
"""Overrides for chips of each form."""

LINKS = ((1, 0), (-1, 0), (0, 1), (0, -1))
SIX_LINKS = ((1, 0), (1, 1), (0, 1), (-1, 0), (-1, -1), (0, -1))
"""Where the links of a router lead, by port."""


@functools.cache
def chip_of(name: str, cores: int = 3, **overrides: object) -> Chip:
    return spinnaker_like(cores=cores, **(CHIPS[name] | overrides))


def links_of(chip: Chip) -> tuple[tuple[int, int], ...]:
    return SIX_LINKS if chip.hexagonal else LINKS


def beyond(chip: Chip, router: int, port: int) -> int | None:
    """Where a link leads, by geometry alone; None over the edge of a mesh."""
    y, x = divmod(router, chip.columns)
    dx, dy = links_of(chip)[port]
    if chip.hexagonal or chip.mesh.topology == "torus":
        return (y + dy) % chip.rows * chip.columns + (x + dx) % chip.columns
    if 0 <= x + dx < chip.columns and 0 <= y + dy < chip.rows:
        return router + dy * chip.columns + dx
    return None


def graph_of(chip: Chip) -> nx.Graph:
    pairs = [(r, beyond(chip, r, p)) for r in range(chip.tiles) for p in range(len(links_of(chip)))]
    return nx.Graph([(a, b) for a, b in pairs if b is not None])


class Visit(NamedTuple):
    """A packet at a router: the port it left the router before by (None where it starts), and its outputs."""

    router: int
    came: int | None
    outputs: int
    distance: int


def walk(chip: Chip, routes: Routes, core: int, router: int) -> Iterator[Visit]:
    """Follow a packet of `core` from its own `router` along the tree, copy by copy."""
    front: list[tuple[int, int | None, int]] = [(router, None, 0)]
    while front:
        here, came, distance = front.pop()
        outputs = int(routes.trees[core, here])
        yield Visit(here, came, outputs, distance)
        assert distance <= chip.tiles, "a circle"
        for port in range(len(links_of(chip))):
            if outputs >> port & 1:
                there = beyond(chip, here, port)
                assert there is not None
                front.append((there, port, distance + 1))


@st.composite
def loads(draw: st.DrawFn) -> tuple[Chip, NDArray[np.int32], NDArray[np.int64]]:
    """Draw a chip, places of cores on it, and who sends to whom."""
    chip = chip_of(draw(st.sampled_from(sorted(CHIPS))))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    slots = chip.tiles * 3
    cores = draw(st.integers(1, slots))
    traffic = rng.integers(1, 9, (cores, cores)) * (rng.random((cores, cores)) < draw(st.sampled_from([0.03, 0.3, 1])))
    return chip, rng.permutation(slots)[:cores].astype(np.int32), traffic.astype(np.int64)


@settings(deadline=None, max_examples=60)
@given(load=loads())
def test_every_destination_is_reached_once_on_a_shortest_way(
    load: tuple[Chip, NDArray[np.int32], NDArray[np.int64]],
) -> None:
    chip, slots, traffic = load
    routes = build_routes(chip, slots, traffic, 100)
    lengths = dict(nx.all_pairs_shortest_path_length(graph_of(chip)))
    links = len(links_of(chip))
    core_at = {int(slot): core for core, slot in enumerate(slots)}
    for core, slot in enumerate(slots.tolist()):
        sends = np.flatnonzero(traffic[core]).tolist()
        start, end = routes.destination_start[core : core + 2]
        assert routes.destination_core[start:end].tolist() == sends
        if not sends:
            assert not routes.trees[core].any()
            continue
        visits = list(walk(chip, routes, core, slot // 3))
        # Each router once, and none that the walk does not find.
        assert Counter(visit.router for visit in visits) == dict.fromkeys(
            np.flatnonzero(routes.trees[core]).tolist(), 1
        )
        found = [core_at[v.router * 3 + i] for v in visits for i in range(3) if v.outputs >> (links + i) & 1]
        assert sorted(found) == sends
        assert all(visit.distance == lengths[slot // 3][visit.router] for visit in visits)
        # Every branch ends at a core.
        assert all(visit.outputs for visit in visits)
        assert routes.hops[core].sum() == len(visits) - 1


@settings(deadline=None, max_examples=25)
@given(load=loads())
def test_trees_are_the_union_of_the_routes(load: tuple[Chip, NDArray[np.int32], NDArray[np.int64]]) -> None:
    """Of the dimension-order routes to all destinations; the first that reaches a router would win, but all agree."""
    chip, slots, traffic = load
    routes, top = build_routes(chip, slots, traffic, 2), chip_topology(chip)
    for core, slot in enumerate(slots.tolist()):
        entered: dict[int, tuple[int, int]] = {}
        for target in np.flatnonzero(traffic[core]):
            router, at = int(slots[target]) // 3, slot // 3
            while at != router:
                port = int(top.route[at, router])
                there = int(top.next_router[at, port])
                assert entered.setdefault(there, (at, port)) == (at, port)
                at = there
        drawn = np.zeros(chip.tiles, dtype=np.int64)
        for at, port in entered.values():
            drawn[at] |= 1 << port
        assert (routes.trees[core] & ((1 << top.links) - 1)).tolist() == drawn.tolist()


def looked_up(entries: list[tuple[int, int, int]], key: int) -> int | None:
    """The plain look-up: the first entry that is for the key."""
    return next((outputs for value, mask, outputs in entries if key & mask == value), None)


@settings(deadline=None, max_examples=40)
@given(load=loads(), default_routing=st.booleans(), neurons=st.sampled_from([1, 2, 5, 100]))
def test_tables_send_every_key_along_its_tree(
    load: tuple[Chip, NDArray[np.int32], NDArray[np.int64]], default_routing: bool, neurons: int
) -> None:
    chip, slots, traffic = load
    plain = chip.to_dict()
    plain["network"]["tables"]["default_routing"] = default_routing
    routes = build_routes(Chip.from_dict(plain), slots, traffic, neurons)
    entries = [
        list(zip(*(column.tolist() for column in dataclasses.astuple(routes.table(r))), strict=True))
        for r in range(chip.tiles)
    ]
    full, needed = Counter[int](), Counter[int]()
    for core, slot in enumerate(slots.tolist()):
        if not traffic[core].any():
            continue
        for visit in walk(chip, routes, core, slot // 3):
            straight = default_routing and visit.came is not None and visit.outputs == 1 << visit.came
            full[visit.router] += 1
            needed[visit.router] += not straight
            for neuron in {0, neurons // 2, neurons - 1}:
                outputs = looked_up(entries[visit.router], int(routes.keys[core]) + neuron)
                if outputs is None:
                    assert straight
                else:
                    assert outputs == visit.outputs
    for router in range(chip.tiles):
        assert routes.entries_full[router] == full[router]
        assert routes.entries_default[router] == needed[router]
        assert routes.entries_minimised[router] == len(entries[router]) <= needed[router]


def line(cores: int, ends: dict[int, list[int]]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """One core a router, in a row; who sends to whom."""
    traffic = np.zeros((cores, cores), dtype=np.int64)
    for source, targets in ends.items():
        traffic[source, targets] = 1
    return np.arange(cores, dtype=np.int32), traffic


@pytest.mark.parametrize(("default_routing", "entries"), [(True, [1, 0, 0, 1, 1]), (False, [1, 1, 1, 1, 1])])
def test_default_routing_drops_the_entries_of_packets_that_go_straight_on(
    default_routing: bool, entries: list[int]
) -> None:
    """Core 0 of five in a row sends to 3 and 4: routers 1 and 2 pass the packet on, 3 copies it, 4 ends it."""
    chip = chip_of("mesh", 1, mesh__rows=1, network__tables__default_routing=default_routing)
    routes = build_routes(chip, *line(5, {0: [3, 4]}), 1)
    assert routes.entries_full.tolist() == [1, 1, 1, 1, 1]
    assert routes.entries_default.tolist() == routes.entries_minimised.tolist() == entries
    # East is bit 0, the core bit 4.
    assert routes.trees[0].tolist() == [1, 1, 1, 0b10001, 0b10000]
    assert routes.hops[0].tolist() == [4, 0, 0]


def test_a_turn_needs_an_entry() -> None:
    """From a corner of a mesh of 3 x 3 to the opposite one: x first, then y; the corner between is a turn."""
    chip = chip_of("mesh", 1, mesh__columns=3, mesh__rows=3)
    routes = build_routes(chip, *line(9, {0: [8]}), 1)
    assert routes.trees[0].tolist() == [1, 1, 1 << 2, 0, 0, 1 << 2, 0, 0, 1 << 4]
    assert routes.entries_default.tolist() == [1, 0, 1, 0, 0, 0, 0, 0, 1]
    assert routes.hops[0].tolist() == [2, 2, 0]


def test_links_between_chips_are_counted_apart() -> None:
    """Two by two chips of 2 x 3 routers: from one end of a row to the other are three links, one between chips."""
    routes = build_routes(chip_of("joined meshes", 1), *line(24, {0: [3, 20]}), 1)
    # Core 20 stands at (0, 5): five links north, the third of them between chips.
    assert routes.hops[0].tolist() == [2, 4, 2]
    diagonal = build_routes(chip_of("triangular torus", 1), *line(20, {0: [12]}), 1)
    assert diagonal.hops[0].tolist() == [0, 0, 2]  # (2, 2) is two links away, all between chips


def test_keys_are_tile_then_core_then_neuron() -> None:
    """20 tiles take 5 bits, 3 cores a tile 2 bits, 100 neurons 7."""
    chip = chip_of("mesh")
    slots = np.array([59, 0, 4], dtype=np.int32)
    routes = build_routes(chip, slots, np.ones((3, 3), dtype=np.int64), 100)
    assert routes.key_bits == 7
    assert routes.keys.tolist() == [(19 << 2 | 2) << 7, 0, (1 << 2 | 1) << 7]
    assert [build_routes(chip, slots, np.eye(3, dtype=np.int64), n).key_bits for n in (1, 2, 128, 129)] == [0, 1, 7, 8]


# Minimising


def passing(ways: dict[int, tuple[int, bool]]) -> Passing:
    """From key -> (outputs, straight)."""
    keys = sorted(ways)
    return Passing(
        np.array(keys, dtype=np.int64),
        np.array([ways[key][0] for key in keys], dtype=np.int64),
        np.array([ways[key][1] for key in keys], dtype=bool),
    )


def entries_of(table: RoutingTable) -> list[tuple[int, int, int]]:
    return list(zip(table.key.tolist(), table.mask.tolist(), table.outputs.tolist(), strict=True))


def test_a_merged_entry_catches_no_other_key_that_comes_by() -> None:
    east, west = 1, 2
    # Keys 00 and 11 differ in two bits, and 01 comes by: no entry can be for both, were it for none that passes.
    for other in ((west, False), (west, True)):
        table = minimise(passing({0: (east, False), 3: (east, False), 1: other}), 0, 2)
        assert sum(outputs == east for _, _, outputs in entries_of(table)) == 2
    # Without 01, or where it goes the same way, one entry is for all.
    for ways in ({}, {1: (east, False)}, {1: (east, True)}):
        assert len(entries_of(minimise(passing({0: (east, False), 3: (east, False), **ways}), 0, 2))) == 1


def test_entries_do_not_look_at_neurons() -> None:
    """Two cores of 16 neurons with different ways: told apart by the bit above the neurons'."""
    table = minimise(passing({0: (1, False), 16: (2, False)}), 4, 5)
    assert entries_of(table) == [(0, 16, 1), (16, 16, 2)]
    assert entries_of(minimise(passing({}), 4, 5)) == []
    assert table.look_up(np.array([3, 15, 16, 31])).tolist() == [1, 1, 2, 2]
    assert minimise(passing({}), 4, 5).look_up(np.array([3])).tolist() == [-1]


def test_the_first_entry_decides() -> None:
    table = RoutingTable(np.array([4, 0]), np.array([4, 0]), np.array([7, 9]))
    assert table.look_up(np.array([0, 4, 5, 3])).tolist() == [9, 7, 7, 9]


@settings(deadline=None, max_examples=200)
@given(data=st.data(), bits=st.integers(1, 7), key_bits=st.integers(0, 3))
def test_minimised_tables_are_right_for_any_keys(data: st.DataObject, bits: int, key_bits: int) -> None:
    way = st.tuples(st.integers(1, 4), st.booleans())
    numbers = data.draw(st.dictionaries(st.integers(0, (1 << bits) - 1), way, max_size=40))
    ways = {number << key_bits: found for number, found in numbers.items()}
    entries = entries_of(minimise(passing(ways), key_bits, bits + key_bits))
    for key, (outputs, straight) in ways.items():
        found = looked_up(entries, key)
        assert found == outputs or (found is None and straight)
    needy = [outputs for outputs, straight in ways.values() if not straight]
    assert len(set(needy)) <= len(entries) <= len(needy)
    # No entry is idle: each is for a key that needs it and that none before is for.
    for key, mask, _ in entries:
        assert any(k & mask == key for k, (_, straight) in ways.items() if not straight)


def test_a_block_of_keys_is_one_entry_whatever_its_size() -> None:
    for size in (1, 2, 3, 16, 17):
        ways = dict.fromkeys(range(size), (5, False)) | {key + 64: (6, False) for key in range(size)}
        assert len(entries_of(minimise(passing(ways), 0, 7))) == 2


# Limits


def test_a_router_with_too_few_entries_is_named() -> None:
    """Three of four cores at router (2, 1) send to different sets of its cores: three entries, room for two."""
    chip = chip_of("mesh", 4, network__tables__entries=2, mesh__columns=3, mesh__rows=2)
    slots = np.arange(20, 24, dtype=np.int32)
    traffic = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]], dtype=np.int64)
    with pytest.raises(CapacityError) as caught:
        build_routes(chip, slots, traffic, 8)
    assert str(caught.value) == (
        "spinnaker_like: router (2, 1) needs 3 routing entries for the keys of 3 cores, the limit is 2 "
        "(network.tables.entries); put more neurons on a core, so that fewer cores send (core.neurons_usable), "
        "or raise the limit with --set"
    )
    traffic[2] = traffic[0]
    assert build_routes(chip, slots, traffic, 8).entries_minimised.tolist() == [0, 0, 0, 0, 0, 2]


def test_keys_must_fit_the_header() -> None:
    narrow = chip_of("mesh", network__header="14 bit")
    slots, traffic = line(3, {0: [1]})
    assert build_routes(narrow, slots, traffic, 128).key_bits == 7  # 5 + 2 + 7 bits
    with pytest.raises(
        CapacityError, match=r"network\.header: keys need 15 bits, 8 of them for the neurons of a core; "
    ):
        build_routes(narrow, slots, traffic, 129)


def test_outputs_must_fit_a_number() -> None:
    slots, traffic = line(3, {0: [1]})
    assert build_routes(chip_of("triangular torus", 56), slots, traffic, 2).hops.sum() == 0
    with pytest.raises(CapacityError, match=r"mesh\.cores_per_tile: 57 cores and 6 links are 63 outputs of a router; "):
        build_routes(chip_of("triangular torus", 57), slots, traffic, 2)


def ring(neurons: int, reach: int, weight: int = 1000) -> Network:
    """A layer whose neuron i sends to i - reach ... i + reach."""
    targets = (np.arange(neurons)[:, None] + np.arange(-reach, reach + 1)) % neurons
    targets.sort(axis=1)
    sparse = Sparse(np.arange(neurons + 1) * (2 * reach + 1), targets.ravel(), np.full(targets.size, weight), neurons)
    layers = [Layer("cells", (neurons,), CubaLif(1024, 1024, 1000, 0, 0, 0, 0, 0))]
    return Network(layers, [Connection(("cells",), "cells", sparse)], "ring")


def all_to_all(neurons: int) -> Network:
    layers = [Layer("input", (neurons,), Relay(True)), Layer("cells", (neurons,), CubaLif(0, 0, 9, 0, 0, 0, 0, 0))]
    return Network(layers, [Connection(("input",), "cells", Dense(np.full((neurons, neurons), 7)))], "full")


def test_a_tile_shares_its_synapse_memory() -> None:
    """32 sources into 32 neurons on two cores. A list is 96 bits and 16 of 16 + 16 bits, so 608: 19 words of 32.

    Each core takes 32 x 19 x 4 bytes = 2432 bytes; both on one tile need 4864.
    """
    values: dict[str, object] = {"chips_columns": 1, "chips_rows": 1, "cores": 4, "core__neurons_usable": 16}
    words = 32 * 19
    fits = spinnaker_like(**values, core__memories__synapse__size="4864 B")
    program = compile_network(all_to_all(32), fits)
    assert program.memory_words[:, 0].tolist() == [0, 0, words, words]
    assert program.occupancy()["synapse"][1] == 4864 * 8
    with pytest.raises(CapacityError) as caught:
        compile_network(all_to_all(32), spinnaker_like(**values, core__memories__synapse__size="4863 B"))
    assert str(caught.value) == (
        "full: tile (0, 0): its 4 cores in use need 1216 words (4.8 KiB) of synapse memory together, the limit is 1215 "
        "words (core.memories.synapse.size, shared by the tile); use fewer cores a tile (mesh.cores_per_tile), make "
        "the network smaller, or raise the limit with --set"
    )
    # A core by itself may not need more than the whole.
    with pytest.raises(CapacityError, match=r"core\.memories\.synapse\.size: needs 160 words"):
        compile_network(all_to_all(32), spinnaker_like(**values, core__memories__synapse__size="512 B"))


def test_the_pool_of_a_core_does_not_count_what_its_tile_shares() -> None:
    """16 sums of 24 bits and 16 states of 2 x 24 bits, in words of 32, are 48 and 128 bytes."""
    values: dict[str, object] = {"chips_columns": 1, "chips_rows": 1, "cores": 4, "core__neurons_usable": 16}
    pool = {"core__memories__synapse__size": "8 KiB", "core__memory_pool": {"size": {"value": "8 KiB", **NUMBER}}}
    program = compile_network(all_to_all(32), spinnaker_like(**(values | pool)))
    assert program.occupancy()["memory_pool"][0].tolist() == [0, 0, 176 * 8, 176 * 8]
    assert program.memory_bits[2, 0] == 2432 * 8


# Programs


@pytest.fixture(scope="module")
def program() -> Program:
    """A ring of 600 neurons on 60 cores of a triangular torus."""
    return compile_network(ring(600, 12), spinnaker_like(5, 4, 4, core__neurons_usable=10), seed=3)


def test_a_program_has_routes_where_the_chip_has_tables(program: Program) -> None:
    routes = program.routes
    assert routes is not None
    assert (program.cores, routes.key_bits, routes.routers) == (60, 4, 20)
    for core in range(program.cores):
        low, high = routes.destination_start[core : core + 2]
        rows = [
            set(program.axon_core[program.axon_start[n] : program.axon_start[n + 1]].tolist())
            for n in program.neuron_order[program.core_start[core] : program.core_start[core + 1]]
        ]
        assert routes.destination_core[low:high].tolist() == sorted(set().union(*rows))
    # A neuron sends one packet, so that it needs one entry.
    assert program.axon_out_entries.tolist() == [10] * 60
    assert check_program(program) == []
    assert repr(routes).startswith("<Routes of 60 cores over 20 routers: ")


def test_without_tables_nothing_changes(program: Program) -> None:
    plain = program.chip.to_dict()
    del plain["network"]["tables"]
    unicast = compile_network(program.network, Chip.from_dict(plain), seed=3)
    assert unicast.routes is None
    different = {"chip", "routes", "axon_out_entries"}
    for item in dataclasses.fields(Program):
        if item.name not in different:
            one, other = getattr(program, item.name), getattr(unicast, item.name)
            assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, item.name
    assert unicast.axon_out_entries.tolist() == unicast.traffic.sum(axis=1).tolist()


def assert_same_routes(one: Routes, other: Routes) -> None:
    for item in dataclasses.fields(Routes):
        mine, theirs = np.asarray(getattr(one, item.name)), np.asarray(getattr(other, item.name))
        assert mine.dtype == theirs.dtype, item.name
        assert np.array_equal(mine, theirs), item.name


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_a_program_file_keeps_the_routes(name: str, tmp_path: Path) -> None:
    chip = chip_of(name, 4, core__neurons_usable=4)
    program = compile_network(ring(60, 5), chip, seed=1)
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    write_program(program, one)
    back = read_program(one)
    write_program(back, two)
    assert one.read_bytes() == two.read_bytes()
    assert back.routes is not None
    assert program.routes is not None
    assert_same_routes(back.routes, program.routes)


def test_the_document_names_every_entry_of_the_routes(program: Program, tmp_path: Path) -> None:
    write_program(program, tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        names = {"routes", *file["routes"], *file["routes"].attrs}
    document = Path(__file__).parents[2] / "docs" / "program-format.md"
    assert names <= set(re.findall(r"\w+", document.read_text(encoding="utf-8")))


def test_a_program_without_tables_has_no_routes_in_its_file(tmp_path: Path) -> None:
    layers = [Layer("a", (2,), Relay()), Layer("b", (2,), CubaLif(0, 0, 9, 0, 0, 0, 0, 0))]
    network = Network(layers, [Connection(("a",), "b", Dense([[1, 2], [3, 4]]))])
    write_program(compile_network(network, load_chip("loihi2")), tmp_path / "p.h5")
    with h5py.File(tmp_path / "p.h5") as file:
        assert "routes" not in file


# Placement and topology


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_distances_are_those_of_the_links(name: str) -> None:
    chip = chip_of(name)
    lengths = dict(nx.all_pairs_shortest_path_length(graph_of(chip)))
    found = chip_distances(chip)
    for a, b in itertools.product(range(chip.tiles), repeat=2):
        assert found[a, b] == lengths[a][b]


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_opposite_links_lead_back_and_on(name: str) -> None:
    chip = chip_of(name)
    top = chip_topology(chip)
    for port, (dx, dy) in enumerate(links_of(chip)):
        assert links_of(chip)[top.opposite[port]] == (-dx, -dy)
        # What leaves by a port enters by its opposite, and goes straight on by the same port.
        assert (top.next_port[:, port] == top.opposite[port]).all()


def test_placement_on_a_triangular_torus_uses_its_diagonals() -> None:
    """A pair at the two ends of a diagonal of 3 x 3 chips is no nearer anywhere else; a scattered ring gets shorter."""
    chip = spinnaker_like(3, 3, 1)
    order = [0, 4, 8, 1, 5, 6, 2, 3, 7]
    traffic = np.zeros((9, 9), dtype=np.int64)
    for a, b in itertools.pairwise([*order, order[0]]):
        traffic[a, b] = 5
    slots = place(traffic, chip, seed=2)
    assert sorted(slots.tolist()) == list(range(9))
    # Every two neighbours of the ring are neighbours on the torus.
    assert placement_cost(traffic, slots, chip_distances(chip)) == 9 * 5


@pytest.mark.slow
def test_100_000_neurons_on_48_chips() -> None:
    """Random, 100 targets each, on 814 cores; all that is checked when a file is read holds."""
    rng = np.random.default_rng(5)
    neurons, fan_out = 100_000, 100
    # One target in each of 100 stretches of 1000 neurons.
    targets = np.arange(fan_out) * (neurons // fan_out) + rng.integers(0, neurons // fan_out, (neurons, fan_out))
    weights = rng.integers(1, 1 << 15, targets.size)
    sparse = Sparse(np.arange(neurons + 1) * fan_out, targets.ravel(), weights, neurons)
    layer = Layer("cells", (neurons,), CubaLif(1024, 1024, 1000, 0, 0, 0, 0, 0))
    network = Network([layer], [Connection(("cells",), "cells", sparse)])
    program = compile_network(network, spinnaker_like(core__neurons_usable=123))
    assert program.cores == 814
    assert program.routes is not None
    assert program.routes.entries_minimised.max() <= 1023
    assert check_program(program) == []


def test_helper_reads_what_it_is_given() -> None:
    chip: Any = spinnaker_like(2, 3, 5, network__tables__entries=7)
    assert (chip.cores, chip.columns, chip.rows, chip.network.tables.entries.value) == (30, 2, 3, 7)
