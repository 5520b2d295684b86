"""The network file: a network alone, as HDF5, with every unit and transform that the simulator runs.

Its group `network` is that of a program file (docs/program-format.md). It stands here beside the program file, whose
reader and writer of networks it shares.
"""

from __future__ import annotations

from pathlib import Path

import h5py

from neurosim.compiler.program_fields import Fields, put_text
from neurosim.compiler.program_file import LIBRARY_VERSIONS
from neurosim.compiler.program_network import read_network, write_network
from neurosim.errors import InputError, ModelError, join_errors, suggest
from neurosim.files import atomic_path
from neurosim.network import Network

SCHEMA = "neurosim.network/1"


def write_network_file(network: Network, path: str | Path) -> None:
    """Write `network` to `path`, whole or not at all; equal networks give equal bytes.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    with atomic_path(path) as part:
        try:
            with h5py.File(part, "w", libver=LIBRARY_VERSIONS) as file:
                put_text(file, "schema", SCHEMA)
                write_network(file.create_group("network"), network)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}; free some space or choose another") from error


def read_network_file(path: str | Path) -> Network:
    """Read a network file.

    Raises
    ------
    ModelError
        The file is missing, no HDF5, truncated, of another schema, or its parts do not fit. All errors at once.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: no such file; check the path")
    errors: list[str] = []
    network = None
    try:
        with h5py.File(path, "r") as file:
            root = Fields(file, "", errors, path.stat().st_size)
            if _is_schema(root):
                root.only(("network",), ("schema",))
                inner = root.inner("network")
                network = None if inner is None else read_network(inner)
    # What h5py raises depends on where in the file the damage lies.
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        raise ModelError(
            f"{path}: cannot be read as HDF5 ({error}); it may be truncated or damaged: write it again"
        ) from error
    if network is None or errors:
        raise ModelError(join_errors(str(path), errors))
    return network


def _is_schema(root: Fields) -> bool:
    if "schema" not in root.group.attrs:
        root.attribute_error("schema", f'is missing, so it is no network file; one has schema "{SCHEMA}"')
        return False
    schema = root.text("schema")
    if schema is not None and schema != SCHEMA:
        root.attribute_error("schema", f'is "{schema}"{suggest(schema, (SCHEMA,))}; this version reads "{SCHEMA}"')
    return schema == SCHEMA
