"""The results file: all that a run counted and timed with the program that ran, so that it can be costed anew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neurosim.compiler import Program
from neurosim.compiler.program_checks import check_program
from neurosim.compiler.program_fields import Fields, put_array, put_number, put_text
from neurosim.compiler.program_file import LIBRARY_VERSIONS, get_program, put_program
from neurosim.compiler.topology import chip_topology
from neurosim.costs import Result
from neurosim.engine import RESOURCES, RunCounts
from neurosim.engine.counters import CORE_COUNTS, LAYER_COUNTS, STEP_COUNTS, WORKS
from neurosim.errors import AuditError, InputError, join_errors, suggest
from neurosim.files import atomic_path
from neurosim.report.origin import Origin

SCHEMA = "neurosim.results/1"

_GROUPS = ("program", "counts", "outputs", "context")
_NUMBERS = ("frames", "steps_per_inference", "barrier_ps")


@dataclass(frozen=True)
class Run:
    """A finished run and what its reports say beside its numbers.

    Attributes
    ----------
    result
        The run.
    notes
        Sentences on how model and input were understood.
    settings
        Values that were put in place of the chip file's, by dotted key; None where a compiled program ran.
    origin
        The files behind it.
    """

    result: Result
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] | None = None
    origin: Origin = field(default_factory=Origin)


def write_results(run: Run, path: str | Path) -> None:
    """Write a finished run; equal runs give equal bytes.

    Parameters
    ----------
    run
        What to write; messages and traces that it kept are left out.
    path
        The file, written whole or not at all; its folder must exist.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    result, counts = run.result, run.result.counts
    context = {
        "notes": list(run.notes),
        "result_notes": list(result.notes),
        "settings": None if run.settings is None else dict(run.settings),
        "origin": asdict(run.origin),
    }
    with atomic_path(path) as part:
        try:
            with h5py.File(part, "w", libver=LIBRARY_VERSIONS) as file:
                put_text(file, "schema", SCHEMA)
                put_text(file, "fidelity", counts.fidelity)
                for name, number in zip(
                    _NUMBERS, (result.frames, result.window.steps_per_inference, counts.barrier_ps), strict=True
                ):
                    put_number(file, name, int(number))
                put_array(file, "context", np.array([json.dumps(context, sort_keys=True).encode("utf-8")]))
                put_program(file.create_group("program"), counts.program)
                arrays = file.create_group("counts")
                for name in _arrays():
                    put_array(arrays, name, getattr(counts, name))
                put_array(arrays, "checked_steps", np.array(counts.checked_steps, dtype=np.int64))
                outputs = file.create_group("outputs")
                for name, values in counts.outputs.items():
                    put_array(outputs, str(counts.program.network.index[name]), values)
        except OSError as error:
            raise InputError(f"{path}: cannot be written: {error}; free some space or choose another") from error


def read_results(path: str | Path) -> Run:
    """Read a finished run and check it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    InputError
        The file is missing, no HDF5, damaged, of another schema or version, or its parts do not fit each other.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; write one with: neurosim run ... --results {path}")
    errors: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            run = _read(Fields(file, "", errors, path.stat().st_size))
    # What h5py raises depends on where in the file the damage lies.
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, MemoryError) as error:
        found = "a summary holds too little" if path.suffix == ".json" else str(error)
        raise InputError(
            f"{path}: is no results file, or a damaged one ({found}); write one with: neurosim run ... --results FILE"
        ) from error
    except AuditError as error:
        raise InputError(f"{path}: its counts contradict each other; run again: {error}") from error
    if run is None or errors:
        raise InputError(join_errors(str(path), errors))
    return run


def _arrays() -> tuple[str, ...]:
    """Return the names of the arrays that a run's counts hold."""
    return tuple(field.name for field in fields(RunCounts) if field.type == "IntArray")


def _shapes(program: Program, timesteps: int | None) -> dict[str, tuple[int | None, ...]]:
    """Return the shapes of arrays of a run's counts."""
    places = chip_topology(program.chip).next_router.shape
    each = (timesteps,)
    return {
        "layer_counts": (timesteps, len(program.network.layers), LAYER_COUNTS),
        "core_counts": (program.cores, CORE_COUNTS),
        "link_flits": places,
        "duration_ps": each,
        "sweep_ps": each,
        "network_ps": each,
        "synapse_ps": each,
        "path_ps": (timesteps, RESOURCES),
        "step_counts": (timesteps, STEP_COUNTS),
        "dropped": places,
        "lost": (program.cores,),
        "checked_ps": (None,),
        "busy_ps": (timesteps, len(program.network.layers), len(WORKS)),
    }


def _read(root: Fields) -> Run | None:
    schema = root.text("schema")
    if schema != SCHEMA:
        if schema is not None:
            near = suggest(schema, (SCHEMA,))
            root.attribute_error("schema", f'is "{schema}"{near}; a results file has "{SCHEMA}"')
        return None
    root.only(_GROUPS, ("schema", "fidelity", *_NUMBERS))
    numbers = [root.integer(name, low) for name, low in zip(_NUMBERS, (0, 1, 0), strict=True)]
    fidelity, context = root.text("fidelity"), _context(root)
    inner, arrays, kept = root.inner("program"), root.inner("counts"), root.inner("outputs")
    program = None if inner is None else get_program(inner)
    if program is not None and not root.errors:
        root.errors += check_program(program)
    if root.errors or program is None or arrays is None or kept is None or context is None:
        return None
    timesteps = arrays.length("duration_ps")
    shapes = _shapes(program, timesteps)
    arrays.only((*_arrays(), "checked_steps"))
    found = {name: arrays.array(name, np.int64, shapes[name]) for name in _arrays()}
    checked = arrays.array("checked_steps", np.int64, (None,))
    names = {str(program.network.index[layer.name]): layer for layer in program.network.layers}
    kept.only(names)
    outputs = {
        layer.name: kept.array(number, np.int64, (timesteps, layer.size))
        for number, layer in names.items()
        if number in kept.group
    }
    if root.errors or fidelity is None:
        return None
    frames, steps_per_inference, barrier_ps = (int(number or 0) for number in numbers)
    counts = RunCounts(
        program=program,
        barrier_ps=barrier_ps,
        outputs=outputs,
        fidelity=fidelity,
        checked_steps=tuple(checked.tolist()),
        **found,
    )
    result = Result(counts, frames, steps_per_inference, tuple(context["result_notes"]))
    return Run(result, tuple(context["notes"]), context["settings"], Origin(**context["origin"]))


def _context(root: Fields) -> dict[str, Any] | None:
    text = root.long_text("context")
    try:
        context = json.loads(text or "")
    except ValueError as error:
        root.error("context", f"is not JSON: {error}")
        return None
    if not isinstance(context, dict) or set(context) != {"notes", "result_notes", "settings", "origin"}:
        root.error("context", "does not hold notes, result_notes, settings and origin; run again")
        return None
    return context
