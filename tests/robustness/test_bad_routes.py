"""Wrong routes in a program file: each is told in words that say where, what came and what is due."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spinnaker_like import spinnaker_like

from neurosim.compiler import Program, compile_network, read_program, write_program
from neurosim.errors import InputError
from neurosim.network import Connection, Dense, Layer, Network, Relay, Sigma

Change = Callable[[h5py.File], None]

# Five cores in a row on a mesh of 6 x 1, numbered from west to east: core 0 sends to 3 and 4, core 1 to 2.
ROW = spinnaker_like(chips=None, network__blocked=None, mesh__columns=6, cores=1, core__neurons_usable=2)


def network() -> Network:
    layers = [Layer(name, (2,), Relay(True)) for name in "ab"] + [Layer(name, (2,), Sigma()) for name in "cde"]
    both = Dense([[1, 2], [3, 4]])
    connections = [Connection((a,), b, both) for a, b in ("ad", "ae", "bc")]
    return Network(layers, connections, "row")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The program with its cores set in order along the row, whatever placement made of it."""
    path = tmp_path_factory.mktemp("whole") / "program.h5"
    write_program(compile_network(network(), ROW), path)
    with h5py.File(path, "a") as file:
        put("cores/slot", np.arange(5))(file)
        put("routes/keys", np.arange(5) << 1)(file)
        put("routes/tree_start", [0, 5, 7, 7, 7, 7])(file)
        put("routes/tree_router", [0, 1, 2, 3, 4, 1, 2])(file)
        # East is bit 0, the core bit 4.
        put("routes/tree_outputs", [1, 1, 1, 17, 16, 1, 16])(file)
        # Core 0's packets pass routers 1 and 2 by default, core 1's end at 2.
        put("routes/table_start", [0, 1, 2, 3, 4, 5, 5])(file)
        put("routes/table_key", [0, 2, 2, 0, 0])(file)
        put("routes/table_mask", [14, 14, 14, 14, 0])(file)
        put("routes/table_outputs", [1, 1, 16, 17, 16])(file)
    return path.read_bytes()


def put(path: str, values: Any) -> Change:
    def change(file: h5py.File) -> None:
        if path in file:
            del file[path]
        file[path] = values

    return change


def edit(name: str, place: int, value: int) -> Change:
    def change(file: h5py.File) -> None:
        values = file[f"routes/{name}"][()]
        values[place] = value
        put(f"routes/{name}", values)(file)

    return change


def both(*changes: Change) -> Change:
    def change(file: h5py.File) -> None:
        for one in changes:
            one(file)

    return change


def attribute(value: Any) -> Change:
    def change(file: h5py.File) -> None:
        del file["routes"].attrs["key_bits"]
        if value is not None:
            file["routes"].attrs["key_bits"] = value

    return change


def chip(change_plain: Callable[[dict[str, Any]], None]) -> Change:
    def change(file: h5py.File) -> None:
        plain = json.loads(np.asarray(file["chip"][()]).ravel()[0])
        change_plain(plain)
        put("chip", np.bytes_(json.dumps(plain)))(file)

    return change


def remove(path: str) -> Change:
    def change(file: h5py.File) -> None:
        del file[path]

    return change


def set_value(key: str, value: object) -> Change:
    def change(plain: dict[str, Any]) -> None:
        *tables, last = key.split(".")
        for name in tables:
            plain = plain[name]
        if isinstance(value, bool):
            plain[last] = value
        else:
            plain[last]["value"] = value

    return chip(change)


def tree_of_core_0(routers: list[int], outputs: list[int]) -> Change:
    return both(
        put("routes/tree_start", [0, *[len(routers)] * 1, *[len(routers) + 2] * 4]),
        put("routes/tree_router", [*routers, 1, 2]),
        put("routes/tree_outputs", [*outputs, 1, 16]),
    )


CASES: dict[str, tuple[Change, str]] = {
    # What is there
    "no routes": (remove("routes"), "routes is missing; it must be a group"),
    "routes without tables": (
        chip(lambda plain: plain["network"].pop("tables")),
        "routes is there, and spinnaker_like has no routing tables (network.tables); remove it",
    ),
    "a dataset missing": (remove("routes/table_mask"), "routes/table_mask is missing; it must be a dataset"),
    "no key_bits": (attribute(None), "routes: attribute key_bits is missing"),
    "an unknown dataset": (
        put("routes/key", [1]),
        'routes/key is not known; did you mean "keys"?; remove it',
    ),
    # Types, shapes and ranges
    "floats": (put("routes/keys", np.zeros(5)), "routes/keys has dtype float64; it must hold integers"),
    "keys of another length": (put("routes/keys", [0, 2, 4]), "routes/keys has shape (3,); it must have (5,)"),
    "columns of different length": (
        put("routes/table_mask", [14] * 4),
        "routes/table_mask has shape (4,); it must have (5,)",
    ),
    "many key_bits": (attribute(63), "routes: attribute key_bits is 63; the limits are 0..62"),
    "a negative key": (edit("keys", 1, -2), "routes/keys[1] is -2; the limits are 0..9223372036854775807"),
    "a router that is not there": (edit("tree_router", 4, 6), "routes/tree_router[4] is 6; the limits are 0..5"),
    "outputs that are not there": (edit("tree_outputs", 0, 32), "routes/tree_outputs[0] is 32; the limits are 1..31"),
    "no output": (edit("tree_outputs", 0, 0), "routes/tree_outputs[0] is 0; the limits are 1..31"),
    "an entry without outputs": (edit("table_outputs", 4, 0), "routes/table_outputs[4] is 0; the limits are 1..31"),
    "a negative mask": (edit("table_mask", 0, -1), "routes/table_mask[0] is -1; the limits are 0.."),
    "trees that end early": (
        edit("tree_start", 5, 6),
        "routes/tree_start must rise from 0 to 7 without falling; it goes 0..6",
    ),
    "tables that fall": (
        edit("table_start", 1, 3),
        "routes/table_start must rise from 0 to 5 without falling; it goes 0..5",
    ),
    "a router twice in a tree": (
        edit("tree_router", 1, 0),
        "routes/tree_router does not rise from row 0 to row 1 in the tree of core 0; sort it",
    ),
    "too many cores a tile": (
        set_value("mesh.cores_per_tile", 60),
        "spinnaker_like: a router has 64 outputs; routes name at most 62",
    ),
    # Keys
    "a key twice": (edit("keys", 3, 2), "routes/keys: 2 is the key of cores 1, 3; give each core its own"),
    "a key among neurons": (edit("keys", 3, 7), "routes/keys[3] is 7; a key ends in 1 zero bits"),
    "a key beyond the header": (
        edit("keys", 3, 1 << 40),
        "routes/keys[3] is 1099511627776; a key ends in 1 zero bits, and with the neurons' numbers it fits "
        "network.header, 40 bits",
    ),
    "too few key_bits": (attribute(0), "routes: attribute key_bits is 0, which number 1 neurons; a core has 2"),
    # Trees
    "a link over the edge": (
        edit("tree_outputs", 0, 1 | 4),
        "routes/tree_outputs: the tree of core 0 leaves router 0 by link 2, where the chip has none",
    ),
    "a branch without an end": (
        edit("tree_outputs", 4, 16 | 1),
        "routes/tree_router: the tree of core 0 enters router 5 and takes no output there",
    ),
    "a router entered twice": (
        edit("tree_outputs", 4, 16 | 2),
        "routes/tree_outputs: the tree of core 0 enters router 3 by 2 links, not one",
    ),
    "a way back to the start": (
        edit("tree_outputs", 1, 1 | 2),
        "routes/tree_outputs: the tree of core 0 enters router 0 by 1 links, though it starts there",
    ),
    "a circle apart": (
        # Routers 4 and 5 pass the packet to and fro.
        tree_of_core_0([0, 1, 2, 3, 4, 5], [1, 1, 1, 16, 1, 2]),
        "routes/tree_router: the tree of core 0 never reaches router 4 (and 1 more like it); leave it out",
    ),
    "a tree that starts elsewhere": (
        tree_of_core_0([1, 2, 3, 4], [1, 1, 17, 16]),
        "routes/tree_router: the tree of core 0 never reaches router 1 (and 3 more like it); leave it out",
    ),
    "a destination left out": (
        tree_of_core_0([0, 1, 2, 3], [1, 1, 1, 16]),
        "routes/tree_outputs: the tree of core 0 does not reach core 4; by the axon table it sends to it",
    ),
    "a destination too many": (
        edit("tree_outputs", 2, 1 | 16),
        "routes/tree_outputs: the tree of core 0 reaches core 2; by the axon table it sends it nothing",
    ),
    "a core that is not in use": (
        tree_of_core_0([0, 1, 2, 3, 4, 5], [1, 1, 1, 17, 17, 16]),
        "routes/tree_outputs: the tree of core 0 ends at core 0 of router 5, which is not in use",
    ),
    # Tables
    "a key outside its mask": (
        edit("table_mask", 1, 12),
        "routes/table_key[1] has bits outside its mask, so it is for",
    ),
    "a mask on neurons": (edit("table_mask", 1, 15), "routes/table_mask[1] looks at the low 1 bits, which number"),
    "an entry that catches too much": (
        both(edit("table_mask", 2, 0), edit("table_key", 2, 0)),
        "routes/table_key: router 2 has for key 0 outputs 0x10, not 0x1 as in the tree",
    ),
    "an entry that gives other outputs": (
        edit("table_outputs", 3, 16),
        "routes/table_key: router 3 has for key 0 outputs 0x10, not 0x11 as in the tree",
    ),
    "an entry missing": (
        edit("table_key", 2, 4),
        "routes/table_key: router 2 has for key 2 no entry, and default routing does not 0x10 as in the tree",
    ),
    "no default routing": (
        set_value("network.tables.default_routing", False),
        "routes/table_key: router 1 has for key 0 no entry",
    ),
}


@pytest.fixture
def error_after(whole: bytes, tmp_path: Path) -> Callable[[Change], str]:
    def say(change: Change) -> str:
        path = tmp_path / "p.h5"
        path.write_bytes(whole)
        with h5py.File(path, "a") as file:
            change(file)
        with pytest.raises(InputError) as caught:
            read_program(path)
        return str(caught.value).replace(str(path), "p.h5")

    return say


def test_what_the_cases_rest_on(whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    path.write_bytes(whole)
    program: Program = read_program(path)
    assert program.routes is not None
    assert program.traffic.tolist() == [[0, 0, 0, 2, 2], [0, 0, 2, 0, 0], [0] * 5, [0] * 5, [0] * 5]
    assert program.routes.tree_straight.tolist() == [False, True, True, False, False, False, False]
    assert program.routes.hops.tolist() == [[4, 0, 0], [1, 0, 0], [0] * 3, [0] * 3, [0] * 3]


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_said(name: str, error_after: Callable[[Change], str]) -> None:
    change, expected = CASES[name]
    error = error_after(change)
    assert expected in error
    assert error.startswith("p.h5: ")


def test_a_table_beyond_the_limit(error_after: Callable[[Change], str]) -> None:
    """Router 2 with two entries, where one is the limit."""
    error = error_after(
        both(
            set_value("network.tables.entries", 1),
            put("routes/table_start", [0, 1, 2, 4, 5, 6, 6]),
            put("routes/table_key", [0, 2, 0, 2, 0, 0]),
            put("routes/table_mask", [14, 14, 14, 14, 14, 0]),
            put("routes/table_outputs", [1, 1, 1, 16, 17, 16]),
        )
    )
    assert error.startswith(
        "p.h5: router (2, 0) needs 2 routing entries for the keys of 2 cores, the limit is 1 (network.tables.entries)"
    )


def test_a_full_tile(tmp_path: Path) -> None:
    """Three of five cores on one tile store two lists of 96 + 2 x 32 bits each: 120 bytes together."""
    path = tmp_path / "p.h5"
    tile = spinnaker_like(chips=None, network__blocked=None, cores=5, core__neurons_usable=2)
    write_program(compile_network(network(), tile), path)
    for size, fits in ((120, True), (119, False)):
        with h5py.File(path, "a") as file:
            set_value("core.memories.synapse.size", f"{size} B")(file)
        if fits:
            assert read_program(path).memory_bits[:, 0].sum() == 120 * 8
            continue
        with pytest.raises(
            InputError, match=r"p\.h5: tile \(0, 0\): its 5 cores in use need 30 words .*limit is 29 words"
        ):
            read_program(path)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_wrong_numbers_never_crash(whole: bytes, tmp_path: Path, data: st.DataObject) -> None:
    """Any values of the routes changed read or are refused in words."""
    path = tmp_path / "p.h5"
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        names = [*(f"routes/{name}" for name in file["routes"]), "cores/slot", "traffic"]
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from(names))
            values = file[name][()].astype(np.int64)
            place = data.draw(st.integers(0, values.size - 1))
            extremes = st.sampled_from([-(1 << 63), -1, 1 << 31, (1 << 62), (1 << 63) - 1])
            values.ravel()[place] = data.draw(st.one_of(st.integers(0, 32), extremes))
            put(name, values)(file)
    with contextlib.suppress(InputError):
        read_program(path)
