"""Costing a finished run anew with other energies and powers, without simulating."""

from __future__ import annotations

from dataclasses import replace

from hwmodels import Chip
from neurosim.costs import Result
from neurosim.errors import InputError, join_errors
from neurosim.explore.constants import decisive_differences


def reprice(result: Result, chip: Chip) -> Result:
    """Return a run with the costs that it has on a chip of other energies and powers.

    It equals the result of simulating on that chip to the last digit.

    Parameters
    ----------
    result
        The run.
    chip
        Differs from the run's in energies, powers, ranges, kinds, sources and words alone.

    Raises
    ------
    InputError
        Something else differs: it may change mapping, function or time. The message lists every such key.
    """
    before = result.chip
    differing = decisive_differences(before, chip)
    if differing:
        place = (
            f"a run on {before.name} cannot be costed as one on {chip.name}, which differs in more than energies and "
            "powers; simulate it"
        )
        raise InputError(join_errors(place, differing))
    return costed(result, chip)


def costed(result: Result, chip: Chip) -> Result:
    """Return a run with the costs of a chip that is known to differ in energies and powers alone."""
    counts = replace(result.counts, program=replace(result.program, chip=chip))
    return Result(counts, result.frames, result.window.steps_per_inference, result.notes)
