"""Fitting a chip's energies and powers to a lab's own measurements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hwmodels import Chip
from hwmodels.quantity import Power
from neurosim.costs import Result
from neurosim.errors import AuditError, InputError, join_errors, suggest
from neurosim.explore.constants import cost_constants, decisive_differences, with_constants
from neurosim.explore.fit import Fit, fit
from neurosim.explore.measurements import Measurement
from neurosim.explore.reprice import costed
from neurosim.report import read_results

FloatArray = NDArray[np.float64]

PS_PER_S = 10**12
ALIKE = 0.95
"""Correlation from which two estimates are said to be hard to tell apart."""


@dataclass(frozen=True)
class FittedConstant:
    """A constant as the measurements have it.

    Attributes
    ----------
    key
        In the chip file.
    unit
        ``pJ`` or ``W``, of all numbers here.
    before
        Value in the chip file.
    value
        Fitted.
    low, high
        Ends of its confidence interval.
    share
        Of all energy measured, as the fit has it.
    """

    key: str
    unit: str
    before: float
    value: float
    low: float
    high: float
    share: float


@dataclass(frozen=True)
class Undetermined:
    """Constants that the data do not tell apart: they tell one sum at most, or the noise hides the rest.

    Attributes
    ----------
    keys
        Of the constants.
    intervals
        Of each constant, in its unit, where the noise alone hides it; None where no measurement of these runs could
        tell it.
    unit
        ``pJ`` or ``W``; an empty text where they mix.
    factors
        What each is multiplied with in the sum; None where there is no single sum.
    value, low, high
        Of the sum, with its confidence interval; None as `factors`.
    before
        The sum as the chip file has it; None as `factors`.
    """

    keys: tuple[str, ...]
    intervals: tuple[tuple[float, float], ...] | None
    unit: str
    factors: tuple[float, ...] | None
    value: float | None
    low: float | None
    high: float | None
    before: float | None


@dataclass(frozen=True)
class Calibration:
    """Constants fitted to measurements.

    Attributes
    ----------
    chip
        Whose constants they are.
    measurements
        What they were fitted to.
    measured_j, predicted_j, before_j
        float64 (n,): energies measured, as the fit has them, and as the chip's own constants have them.
    constants
        Those that the data determine.
    undetermined
        Those that the data cannot tell apart.
    unseen
        Keys of those that no measurement has an event of.
    held
        Keys of those that were not fitted.
    alike
        Pairs of keys whose estimates are correlated by `ALIKE` or more, with the correlation.
    fit
        The figures of the fit.
    confidence
        Of the intervals.
    """

    chip: Chip
    measurements: tuple[Measurement, ...]
    measured_j: FloatArray
    predicted_j: FloatArray
    before_j: FloatArray
    constants: tuple[FittedConstant, ...]
    undetermined: tuple[Undetermined, ...]
    unseen: tuple[str, ...]
    held: tuple[str, ...]
    alike: tuple[tuple[str, str, float], ...]
    fit: Fit
    confidence: float


def calibrate(
    chip: Chip, measurements: Sequence[Measurement], keys: Sequence[str] = (), confidence: float = 0.95
) -> Calibration:
    """Fit energies and powers of a chip to measurements of runs.

    An energy is linear in the constants: each measurement gives a row of counts, worked out by costing its run with one
    constant of size 1 and all others 0. What is not fitted keeps the chip's value. Noise is taken to be in proportion
    to what is measured. A measured time takes the place of the simulated one for what powers cost.

    Parameters
    ----------
    chip
        What to calibrate; it may differ from the chip that ran in energies and powers alone.
    measurements
        From `neurosim.explore.measurements.read_measurements`.
    keys
        Dotted keys of the constants to fit, or patterns (``core.*``); none for all energies and powers.
    confidence
        Of the intervals, between 0 and 1.

    Raises
    ------
    InputError
        A key is unknown, a run is on another chip or holds no steady inference, or there are too few measurements. All
        errors of runs are in the one message.
    """
    if not 0 < confidence < 1:
        raise InputError(f"confidence is {confidence}; it must be between 0 and 1")
    if not measurements:
        raise InputError("no measurements to fit to; give one a line")
    constants = cost_constants(chip)
    chosen = _chosen(list(constants), keys)
    results = _results(chip, measurements)
    design = _Design(chip, results, measurements)
    columns = np.array([design.column(key) for key in chosen]).T
    known = design.energies(with_constants(chip, dict.fromkeys(chosen, 0.0)))
    before = design.energies(chip)
    own = np.array([constants[key].value for key in chosen])
    if not np.allclose(known + columns @ own, before, rtol=1e-9, atol=0.0):
        raise AuditError(f"{chip.name}: the energy of a run is not the sum of its constants times counts")
    times = np.array([t if m.time_s is None else m.time_s for t, m in zip(design.times_s, measurements, strict=True)])
    measured = np.array(
        [
            m.energy_j if m.energy_j is not None else (m.power_w or 0.0) * time
            for m, time in zip(measurements, times, strict=True)
        ]
    )
    found = fit(columns, measured, known, _sigmas(measurements), confidence)
    units = ["W" if isinstance(constants[key], Power) else "pJ" for key in chosen]
    total = float(found.predicted.sum())
    fitted = [
        FittedConstant(
            key, units[j], float(own[j]), float(found.estimate[j]), float(found.low[j]), float(found.high[j]),
            float(columns[:, j].sum() * found.estimate[j]) / total,
        )
        for j, key in enumerate(chosen)
        if found.told[j]
    ]  # fmt: skip
    alike = [
        (chosen[a], chosen[b], float(found.correlation[a, b]))
        for a, b in combinations(np.flatnonzero(found.told).tolist(), 2)
        if abs(found.correlation[a, b]) >= ALIKE
    ]
    undetermined = tuple(_undetermined(found, chosen, units, own))
    return Calibration(
        chip, tuple(measurements), measured, found.predicted, before, tuple(fitted), undetermined,
        tuple(chosen[j] for j in found.unseen), tuple(key for key in constants if key not in chosen), tuple(alike),
        found, confidence,
    )  # fmt: skip


def _undetermined(found: Fit, keys: list[str], units: list[str], own: FloatArray) -> Iterator[Undetermined]:
    """Yield what the data do not tell apart: first what no such data could, then what the noise hides."""

    def unit_of(members: tuple[int, ...]) -> str:
        of = {units[j] for j in members}
        return of.pop() if len(of) == 1 else ""

    for group in found.combinations:
        members = list(group.members)
        before = None if group.factors is None else float(np.array(group.factors) @ own[members])
        yield Undetermined(
            tuple(keys[j] for j in members), None, unit_of(group.members), group.factors, group.estimate, group.low,
            group.high, before,
        )  # fmt: skip
    for loose in found.loose:
        intervals = tuple((float(found.low[j]), float(found.high[j])) for j in loose)
        yield Undetermined(tuple(keys[j] for j in loose), intervals, unit_of(loose), None, None, None, None, None)


class _Design:
    """The energies of the measured runs for any constants."""

    def __init__(self, chip: Chip, results: Sequence[Result], measurements: Sequence[Measurement]) -> None:
        self.results, self.measurements = results, measurements
        constants = cost_constants(chip)
        self.nothing = with_constants(chip, dict.fromkeys(constants, 0.0))
        self.powers = {key for key, held in constants.items() if isinstance(held, Power)}
        self.times_s = np.array([_time_s(r, m) for r, m in zip(results, measurements, strict=True)])
        # What powers cost goes by the measured time, where there is one.
        scales = [1.0 if m.time_s is None else m.time_s / t for m, t in zip(measurements, self.times_s, strict=True)]
        self.scales = np.array(scales)

    def column(self, key: str) -> FloatArray:
        """Return the energies in J for one constant of 1 (pJ or W) and nothing else."""
        one = self._energies(with_constants(self.nothing, {key: 1.0}))
        return one * self.scales if key in self.powers else one

    def energies(self, chip: Chip) -> FloatArray:
        """Return the energies in J on a chip."""
        whole = self._energies(chip)
        powers = self._energies(with_constants(chip, dict.fromkeys(cost_constants(chip).keys() - self.powers, 0.0)))
        return whole + powers * (self.scales - 1.0)

    def _energies(self, chip: Chip) -> FloatArray:
        found: dict[tuple[int, str], float] = {}
        out = []
        for result, measurement in zip(self.results, self.measurements, strict=True):
            name = (id(result), measurement.per)
            if name not in found:
                anew = costed(result, chip)
                energy = anew.energy_run if measurement.per == "run" else anew.energy_inference
                assert energy is not None
                found[name] = energy.total_j.value
            out.append(found[name])
        return np.array(out)


def _time_s(result: Result, measurement: Measurement) -> float:
    if measurement.per == "run":
        return float(result.counts.duration_ps.sum()) / PS_PER_S
    return (result.timestep_mean_s or 0.0) * result.window.steps_per_inference


def _chosen(constants: list[str], keys: Sequence[str]) -> list[str]:
    if not keys:
        return constants
    unknown = [key for key in keys if not any(fnmatchcase(name, key) for name in constants)]
    if unknown:
        raise InputError(
            join_errors(
                "constants to fit",
                [f"{key} is no energy or power of this chip{suggest(key, constants)}" for key in unknown],
            )
        )
    return [name for name in constants if any(fnmatchcase(name, key) for key in keys)]


def _results(chip: Chip, measurements: Sequence[Measurement]) -> list[Result]:
    """Return the run of each measurement; a file that several name is read once."""
    read: dict[str, Result] = {}
    errors: list[str] = []
    for measurement in measurements:
        name = str(measurement.result)
        if name in read:
            continue
        read[name] = result = read_results(measurement.result).result
        differing = decisive_differences(result.chip, chip)
        if differing:
            more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
            errors.append(
                f"line {measurement.line}: {name} ran on {result.chip.name}, which differs from {chip.name} in more "
                f"than energies and powers: {'; '.join(differing[:3])}{more}; run it on {chip.name}"
            )
    for measurement in measurements:
        if measurement.per == "inference" and read[str(measurement.result)].energy_inference is None:
            errors.append(
                f"line {measurement.line}: {measurement.result} holds no steady inference; run more timesteps, or "
                "measure per run"
            )
    if errors:
        raise InputError(join_errors("measurements", errors))
    return [read[str(measurement.result)] for measurement in measurements]


def _sigmas(measurements: Sequence[Measurement]) -> FloatArray | None:
    given = [m.relative_sigma for m in measurements if m.relative_sigma is not None]
    if not given:
        return None
    if len(given) != len(measurements):
        missing = [str(m.line) for m in measurements if m.relative_sigma is None]
        raise InputError(f"relative_sigma is missing on lines {', '.join(missing)}; give it on all lines, or on none")
    return np.array(given)
