"""Comparing configurations: the function runs once, every configuration is compiled and timed on what it sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.api import check_counts, default_timesteps, inference_notes, network_frames
from neurosim.compiler import Program, compile_network
from neurosim.compiler.placement import Placements
from neurosim.costs import Result
from neurosim.engine import RunCounts, run_programs
from neurosim.errors import CapacityError, InputError, MessageWidthError, NeurosimError, suggest
from neurosim.explore.configurations import Configuration
from neurosim.explore.constants import decisive
from neurosim.explore.explain import best
from neurosim.explore.rows import Row, row_of
from neurosim.formats import Frames
from neurosim.network import Network


@dataclass(frozen=True)
class Comparison:
    """Configurations side by side.

    Attributes
    ----------
    network
        What ran.
    rows
        In the order in which they were asked for.
    reference
        The row that differences are told against; None where no row has an energy per inference.
    frames
        Number of frames fed.
    steps_per_inference
        Timesteps that one inference takes in.
    seed
        Of the placements.
    fidelity
        How the network was timed.
    functional_passes
        How often the network's function was run.
    timing_passes
        How many configurations were timed to the end; those that differ in energies and powers alone are timed once.
    notes
        Of the reader of the frames.
    """

    network: Network
    rows: tuple[Row, ...]
    reference: Row | None
    frames: int
    steps_per_inference: int
    seed: int
    fidelity: str
    functional_passes: int
    timing_passes: int
    notes: tuple[str, ...] = ()

    @property
    def refused(self) -> tuple[Row, ...]:
        """The rows of chips that cannot carry the network."""
        return tuple(row for row in self.rows if row.reason is not None)


def compare(
    network: Network,
    configurations: Sequence[Configuration],
    inputs: str | Path | Frames | np.ndarray | Mapping[str, Any],
    steps: int | None = None,
    steps_per_inference: int = 1,
    layout: str | None = None,
    seed: int = 0,
    reference: str | None = None,
    others: Sequence[Row] = (),
    progress: Callable[[int, int], None] | None = None,
    threads: int | None = None,
    fidelity: str = "cycle",
) -> Comparison:
    """Compare what one inference costs in several configurations; each row equals a run of its own.

    Parameters
    ----------
    network
        What to run.
    configurations
        From `neurosim.explore.configurations`.
    inputs, steps, steps_per_inference, layout, threads, fidelity
        As for `neurosim.simulate`.
    seed
        Of the placements.
    reference
        Name of the row that differences are told against; by default that of the least energy.
    others
        Rows that are not simulated; they stand below the others.
    progress
        Called with the timesteps done, of all configurations together, and their number.

    Raises
    ------
    InputError
        Frames or numbers that do not fit, names that are not unique, or an unknown reference.
    AuditError
        The simulation itself failed.
    """
    names = [configuration.name for configuration in configurations] + [row.name for row in others]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"two rows are named {twice}; give them different names")
    if reference is not None and reference not in names:
        raise InputError(f'reference "{reference}" is none of the rows{suggest(reference, names)} ({", ".join(names)})')
    frames, read = network_frames(network, inputs, layout)
    notes = (*read, *inference_notes(network, steps_per_inference))
    fed = max((len(values) for values in frames.values()), default=0)
    check_counts(1 if steps is None else steps, steps_per_inference)
    groups = _groups(configurations)
    programs: list[Program] = []
    placed: Placements = {}
    outcomes: dict[int, Program | NeurosimError] = {}
    for members in groups:
        try:
            one = configurations[members[0]]
            programs.append(compile_network(network, one.chip, seed, placed, one.messages))
            outcomes |= dict.fromkeys(members, programs[-1])
        except (CapacityError, MessageWidthError) as error:
            outcomes |= dict.fromkeys(members, error)
    lengths = [default_timesteps(program, fed) if steps is None else steps for program in programs]
    done, passes = run_programs(programs, frames, lengths, progress, threads, fidelity)
    found = {id(program): outcome for program, outcome in zip(programs, done, strict=True)}
    timed = sum(not isinstance(outcome, NeurosimError) for outcome in done)
    rows = []
    for number, configuration in enumerate(configurations):
        program = outcomes[number]
        outcome = program if isinstance(program, NeurosimError) else found[id(program)]
        rows.append(_row(outcome, configuration, fed, steps_per_inference, notes))
    rows += others
    chosen = best(tuple(rows)) if reference is None else next(row for row in rows if row.name == reference)
    if chosen is not None and chosen.energy_j is None:
        reason = chosen.reason or "it has no energy per inference"
        raise InputError(f'reference "{chosen.name}" has nothing to compare with: {reason}; name another')
    return Comparison(network, tuple(rows), chosen, fed, steps_per_inference, seed, fidelity, passes, timed, notes)


def _groups(configurations: Sequence[Configuration]) -> list[list[int]]:
    """Return the numbers of the configurations that run alike: they differ in energies and powers alone."""
    groups: dict[str, list[int]] = {}
    for number, configuration in enumerate(configurations):
        chip = configuration.chip
        alike = json.dumps([chip.name, configuration.messages, decisive(chip)], sort_keys=True)
        groups.setdefault(alike, []).append(number)
    return list(groups.values())


def _row(
    outcome: RunCounts | NeurosimError,
    configuration: Configuration,
    frames: int,
    steps_per_inference: int,
    notes: tuple[str, ...],
) -> Row:
    if isinstance(outcome, NeurosimError):
        return Row(
            configuration.name,
            configuration.chip.name,
            settings=configuration.settings,
            messages=configuration.messages,
            reason=str(outcome),
        )
    # Configurations that run alike were timed as one of them.
    counts = replace(outcome, program=replace(outcome.program, chip=configuration.chip))
    return row_of(Result(counts, frames, steps_per_inference, notes), configuration)
