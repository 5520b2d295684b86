"""The program file: a compiled program as HDF5, the contract between a compiler and the simulator.

docs/program-format.md tells people the same, down to the last attribute.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from neurosim.compiler.messages import check_messages
from neurosim.compiler.program import MEMORIES, CoreSlice, Program
from neurosim.compiler.program_checks import check_program
from neurosim.compiler.program_fields import Fields, error_lines, put_array, put_number, put_text
from neurosim.compiler.program_network import read_network, write_network
from neurosim.compiler.program_routes import read_routes, write_routes
from neurosim.compiler.routes import Routes
from neurosim.errors import ChipError, InputError, MessageWidthError, join_errors, suggest
from neurosim.files import atomic_path
from neurosim.network import Network

SCHEMA = "neurosim.program/1"
GROUPS = ("network", "chip", "cores", "neurons", "axons", "traffic", "routes")
AXON_COLUMNS: dict[str, type[np.integer[Any]]] = {
    "core": np.int32,
    "encoding": np.int8,
    "synops": np.int32,
    "synops_nonzero": np.int32,
    "words": np.int32,
}
LANES_COLUMN = "conflicts"
"""Column of the axon table that programs have for chips whose cores take several synapses at a time."""
LIBRARY_VERSIONS = ("v110", "v110")
"""Bounds of the HDF5 format written: the same bytes under newer libraries, and checksums on metadata."""


def write_program(program: Program, path: str | Path) -> None:
    """Write `program` to `path`; equal programs give equal bytes.

    Parameters
    ----------
    program
        What to write.
    path
        The file; its folder must exist. A file that is there is replaced.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with atomic_path(path) as part:
        try:
            with h5py.File(part, "w", libver=LIBRARY_VERSIONS) as file:
                put_program(file, program)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}; free some space or choose another") from error


def put_program(file: h5py.Group, program: Program) -> None:
    """Write a program into a group, a file's root or one within another file."""
    put_text(file, "schema", SCHEMA)
    put_number(file, "seed", program.seed)
    if program.messages != "graded":
        put_text(file, "messages", program.messages)
    write_network(file.create_group("network"), program.network)
    put_array(file, "chip", np.array([json.dumps(program.chip.to_dict(), indent=1).encode("utf-8")]))
    cores = file.create_group("cores")
    put_array(cores, "slot", program.core_slot)
    put_array(cores, "layer", program.core_layer.astype(np.int32))
    put_array(cores, "box", np.array([_three_ranges(part) for part in program.slices], dtype=np.int64))
    put_array(cores, "neuron_slots", np.array([part.neuron_slots for part in program.slices], dtype=np.int64))
    for name in ("memory_words", "memory_bits", "axon_in_entries", "axon_out_entries"):
        put_array(cores, name, getattr(program, name))
    neurons = file.create_group("neurons")
    put_array(neurons, "order", program.neuron_order)
    put_array(neurons, "core_start", program.core_start)
    axons = file.create_group("axons")
    put_array(axons, "start", program.axon_start)
    for name in AXON_COLUMNS:
        put_array(axons, name, getattr(program, f"axon_{name}"))
    if program.axon_conflicts is not None:
        put_array(axons, LANES_COLUMN, program.axon_conflicts)
    put_array(file, "traffic", program.traffic)
    if program.routes is not None:
        write_routes(file.create_group("routes"), program.routes)


def _three_ranges(part: CoreSlice) -> tuple[tuple[int, int], ...]:
    """Return the box of a slice with rows and columns, those of a vector being 0..1."""
    return part.box if len(part.box) == 3 else (part.box[0], (0, 1), (0, 1))


def read_program(path: str | Path) -> Program:
    """Read a program file and check all that the simulator relies on.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        The file is missing, no HDF5, truncated, of another schema, or its parts do not fit each other,
        the network or the chip. All errors are in the one message, those of form before those of content.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file; check the path")
    if not path.is_file():
        raise InputError(f"{path}: is no file; give the program file itself")
    errors: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            program = get_program(Fields(file, "", errors, path.stat().st_size))
    # What h5py raises depends on where in the file the damage lies.
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise InputError(
            f"{path}: cannot be read as HDF5 ({error}); it may be truncated or damaged: write it again"
        ) from error
    if program is not None and not errors:
        errors = check_program(program)
    if program is None or errors:
        raise InputError(join_errors(str(path), errors))
    return program


def get_program(root: Fields) -> Program | None:
    """Read a program from a group; None where something is wrong, which then stands in the fields' errors."""
    if not _is_schema(root):
        return None
    root.only(GROUPS, ("schema", "seed", "messages"))
    seed = root.integer("seed", 0)
    inner = root.inner("network")
    network = None if inner is None else read_network(inner)
    chip = _read_chip(root)
    neurons = None if network is None else network.size
    count = _core_count(root)
    arrays = {
        **_read_cores(root, count),
        **_read_neurons(root, neurons, count),
        **_read_axons(root, neurons, chip),
        "traffic": root.array("traffic", np.int64, (count, count)),
    }
    arrays["routes"] = _read_routes(root, chip, arrays["traffic"])
    if root.errors or network is None or chip is None or seed is None:
        return None
    messages = _read_messages(root, network, chip)
    if messages is None:
        return None
    slices = _slices(network, arrays.pop("layer"), arrays.pop("box"), arrays.pop("neuron_slots"))
    return Program(network=network, chip=chip, seed=seed, slices=slices, messages=messages, **arrays)


def _read_messages(root: Fields, network: Network, chip: Chip) -> str | None:
    """Return how messages go; None, with an error, where the chip cannot send them so."""
    if "messages" not in root.group.attrs:
        return "graded"
    messages = root.text("messages")
    if messages is None:
        return None
    try:
        check_messages(network, chip, messages)
    except (InputError, MessageWidthError) as error:
        root.attribute_error("messages", str(error))
        return None
    return messages


def _is_schema(root: Fields) -> bool:
    if "schema" not in root.group.attrs:
        root.attribute_error("schema", f'is missing, so it is no program file; one has schema "{SCHEMA}"')
        return False
    schema = root.text("schema")
    if schema is not None and schema != SCHEMA:
        near = suggest(schema, (SCHEMA,))
        root.attribute_error("schema", f'is "{schema}"{near}; this version reads "{SCHEMA}": compile again')
    return schema == SCHEMA


def _read_chip(root: Fields) -> Chip | None:
    text = root.long_text("chip")
    if text is None:
        return None
    try:
        plain = json.loads(text)
        if not isinstance(plain, dict):
            raise ValueError("is no table")
        return Chip.from_dict(plain)
    except ChipError as error:
        root.errors += error_lines(error)
    except (ValueError, RecursionError) as error:
        root.error("chip", f"is not JSON of a chip: {error}")
    return None


def _read_routes(root: Fields, chip: Chip | None, traffic: NDArray[np.int64] | None) -> Routes | None:
    if chip is None:
        return None
    if chip.network.tables is None:
        if "routes" in root.group:
            root.error("routes", f"is there, and {chip.name} has no routing tables (network.tables); remove it")
        return None
    part = root.inner("routes")
    return None if part is None or traffic is None else read_routes(part, chip, traffic)


def _core_count(root: Fields) -> int | None:
    cores = root.group.get("cores")
    count = None if not isinstance(cores, h5py.Group) else Fields(cores, "", [], 0).length("slot")
    if count == 0:
        root.error("cores/slot", "holds no cores; give at least one")
    return count


def _read_cores(root: Fields, count: int | None) -> dict[str, Any]:
    part = root.inner("cores")
    if part is None:
        return {}
    memories = (count, len(MEMORIES))
    forms: dict[str, tuple[type[np.integer[Any]], tuple[int | None, ...]]] = {
        "slot": (np.int32, (count,)),
        "layer": (np.int32, (count,)),
        "box": (np.int64, (count, 3, 2)),
        "neuron_slots": (np.int64, (count,)),
        "memory_words": (np.int64, memories),
        "memory_bits": (np.int64, memories),
        "axon_in_entries": (np.int64, (count,)),
        "axon_out_entries": (np.int64, (count,)),
    }
    part.only(forms)
    arrays = {name: part.array(name, dtype, shape) for name, (dtype, shape) in forms.items()}
    arrays["core_slot"] = arrays.pop("slot")
    return arrays


def _read_neurons(root: Fields, neurons: int | None, count: int | None) -> dict[str, Any]:
    part = root.inner("neurons")
    if part is None:
        return {}
    part.only(("order", "core_start"))
    return {
        "neuron_order": part.array("order", np.int32, (neurons,)),
        "core_start": part.array("core_start", np.int64, (None if count is None else count + 1,)),
    }


def _read_axons(root: Fields, neurons: int | None, chip: Chip | None) -> dict[str, Any]:
    part = root.inner("axons")
    if part is None:
        return {}
    columns = dict(AXON_COLUMNS)
    if chip is not None and chip.core.lanes is not None:
        columns[LANES_COLUMN] = np.int32
    elif chip is not None and LANES_COLUMN in part.group:
        part.error(LANES_COLUMN, f"is for chips with core.lanes, which {chip.name} has not; remove it")
    part.only(("start", *columns, LANES_COLUMN))
    rows = part.length("core")
    arrays = {"axon_start": part.array("start", np.int64, (None if neurons is None else neurons + 1,))}
    for name, dtype in columns.items():
        arrays[f"axon_{name}"] = part.array(name, dtype, (rows,))
    return arrays


def _slices(
    network: Network, layer: NDArray[np.int32], box: NDArray[np.int64], slots: NDArray[np.int64]
) -> tuple[CoreSlice, ...]:
    """Return the slices; those of a vector keep one range, where the other two are what they must be."""
    slices = []
    for number, ranges, taken in zip(layer.tolist(), box.tolist(), slots.tolist(), strict=True):
        whole = tuple((low, high) for low, high in ranges)
        vector = 0 <= number < len(network.layers) and len(network.layers[number].shape) == 1
        used = whole[:1] if vector and whole[1:] == ((0, 1), (0, 1)) else whole
        slices.append(CoreSlice(number, used, taken))
    return tuple(slices)
