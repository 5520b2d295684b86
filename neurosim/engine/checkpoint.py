"""Saving a run in the middle, so that it can go on after the process was killed.

A checkpoint holds the state of the function after a timestep and everything that was added up until then.
It is written to a temporary file and renamed, so at any moment there is a whole one or none. It fits one run
only: the same program, frames and choices, recognised by a digest.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurosim.compiler import Program
from neurosim.engine.function import FunctionRun
from neurosim.errors import InputError
from neurosim.files import atomic_path

SCHEMA = "neurosim.checkpoint/3"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Checkpoint:
    """Where and how often a run is saved.

    Attributes
    ----------
    path
        File to write, and to go on from if it exists.
    every
        Timesteps between two savings, 1 or more.
    """

    path: Path
    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"a checkpoint every {self.every} timesteps; it must be 1 or more")


def run_digest(program: Program, frames: dict[str, NDArray[Any]], fidelity: str) -> str:
    """Return a digest of all that decides what a run computes, but for its length."""
    digest = hashlib.sha256()

    def add(*values: Any) -> None:
        for value in values:
            if isinstance(value, np.ndarray):
                digest.update(f"{value.dtype.str}{value.shape}".encode())
                digest.update(np.ascontiguousarray(value).tobytes())
            else:
                digest.update(json.dumps(value, sort_keys=True).encode())

    add(SCHEMA, fidelity, program.messages, program.seed, program.chip.to_dict(), program.network.name)
    for layer in program.network.layers:
        add(layer.name, list(layer.shape), layer.unit.to_dict())
    for connection in program.network.connections:
        add(list(connection.sources), connection.target, connection.accumulator_bits)
        if connection.compartments is not None:
            add(list(connection.compartments))
        add(*connection.transform.to_dict().values())
        if connection.delay:
            add(connection.delay.kind, connection.delay.values)
    add(program.core_slot, program.neuron_order, program.core_start, program.axon_start, program.axon_core)
    add(program.axon_encoding, program.axon_synops, program.axon_synops_nonzero, program.axon_words)
    if program.axon_conflicts is not None:
        add(program.axon_conflicts)
    for name in sorted(frames):
        add(name, frames[name])
    return digest.hexdigest()


def function_state(function: FunctionRun) -> Arrays:
    """Return a copy of the state of a function after its last timestep."""
    arrays: Arrays = {"timestep": np.array(function.timestep)}
    for i, layer in enumerate(function.layers):
        arrays |= {f"layer/{i}/{name}": values.copy() for name, values in layer.state.items()}
    for i, connection in enumerate(function.connections):
        arrays[f"connection/{i}"] = connection.slots.copy()
        if function.counts:
            arrays[f"met/{i}"] = connection.met_slots.copy()
    return arrays


def restore_function(function: FunctionRun, arrays: Arrays) -> None:
    """Put back what `function_state` returned."""
    function.timestep = int(arrays["timestep"])
    for i, layer in enumerate(function.layers):
        for name, values in layer.state.items():
            values[:] = arrays[f"layer/{i}/{name}"]
    for i, connection in enumerate(function.connections):
        connection.slots[:] = arrays[f"connection/{i}"]
        if function.counts:
            connection.met_slots[:] = arrays[f"met/{i}"]


def write_checkpoint(path: Path, digest: str, arrays: Arrays) -> None:
    """Write a checkpoint whole or not at all."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.savez(file, schema=np.array(SCHEMA), digest=np.array(digest), **arrays)  # type: ignore[arg-type]


def read_checkpoint(path: Path, digest: str, timesteps: int) -> Arrays:
    """Read a checkpoint of the run with this digest.

    Raises
    ------
    InputError
        The file is no checkpoint, or one of another run, or of a longer one.
    """
    way_out = "name another file, or delete it to start anew"
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: is no checkpoint ({error}); {way_out}") from error
    if str(arrays.get("schema")) != SCHEMA:
        raise InputError(f"{path}: is no checkpoint of schema {SCHEMA}; {way_out}")
    if str(arrays["digest"]) != digest:
        raise InputError(f"{path}: is a checkpoint of another program, other frames or other choices; {way_out}")
    if int(arrays["timestep"]) > timesteps:
        raise InputError(
            f"{path}: stands at timestep {int(arrays['timestep'])}, the run has {timesteps}; run more, or {way_out}"
        )
    return arrays
