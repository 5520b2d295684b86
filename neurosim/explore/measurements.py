"""A lab's own measurements: a CSV file that names the results file of each run and what was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from neurosim.errors import InputError, join_errors, suggest

NEEDED = ("result", "per")
MEASURED = ("energy_j", "power_w")
OPTIONAL = ("time_s", "relative_sigma", "note")
PER = ("run", "inference")


@dataclass(frozen=True)
class Measurement:
    """One line of the file.

    Attributes
    ----------
    line
        Its number in the file, from 1.
    result
        The results file of the run.
    per
        ``run`` or ``inference``: what the energy is of, and the time.
    energy_j, power_w
        Measured; one of the two.
    time_s
        Measured time of the run or the inference; None to take the simulated one.
    relative_sigma
        Standard deviation of the measurement over its value; None where it is not known.
    """

    line: int
    result: Path
    per: str
    energy_j: float | None
    power_w: float | None
    time_s: float | None
    relative_sigma: float | None


def read_measurements(path: str | Path) -> tuple[Measurement, ...]:
    """Read measurements.

    Parameters
    ----------
    path
        A CSV file with a header: ``result`` (a results file; its path counts from the CSV's folder), ``per`` (``run``
        or ``inference``), ``energy_j`` or ``power_w``, and if wanted ``time_s``, ``relative_sigma`` and ``note``.

    Raises
    ------
    InputError
        The file cannot be read, columns are missing or unknown, or cells are wrong. All errors are in the one message.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"{path}: cannot be read: {reason}; give a CSV file") from error
    errors = _header_errors(columns)
    found = [] if errors else [_measurement(path, line, row, errors) for line, row in rows]
    if not errors and not found:
        errors.append("holds no measurements; give a line for each")
    if errors:
        raise InputError(join_errors(str(path), errors))
    return tuple(measurement for measurement in found if measurement is not None)


def _header_errors(columns: list[str]) -> list[str]:
    known = (*NEEDED, *MEASURED, *OPTIONAL)
    errors = [f"column {name} is missing; the columns are {', '.join(known)}" for name in NEEDED if name not in columns]
    if not set(MEASURED) & set(columns):
        errors.append(f"columns {' and '.join(MEASURED)} are both missing; give what was measured in one of them")
    errors += [f'column "{name}" is not known{suggest(name, known)}' for name in columns if name not in known]
    errors += [f"column {name} is there twice" for name in dict.fromkeys(columns) if columns.count(name) > 1]
    return errors


def _measurement(path: Path, line: int, row: Mapping[str, str | None], errors: list[str]) -> Measurement | None:
    before = len(errors)
    cells = {key: (cell or "").strip() for key, cell in row.items() if isinstance(key, str)}
    if None in row:
        errors.append(f"line {line}: has more cells than columns; put quotes around cells with commas")
    numbers = {name: _number(line, name, cells.get(name, ""), errors) for name in (*MEASURED, *OPTIONAL[:2])}
    measured = [name for name in MEASURED if cells.get(name)]
    if len(measured) != 1:
        errors.append(f"line {line}: give one of energy_j and power_w, not {'both' if measured else 'neither'}")
    if cells["per"] not in PER:
        errors.append(f'line {line}: per is "{cells["per"]}"{suggest(cells["per"], PER)}; write run or inference')
    result = path.parent / cells["result"]
    if not cells["result"]:
        errors.append(f"line {line}: result is empty; name a file of neurosim run --results")
    elif not result.is_file():
        errors.append(f"line {line}: {result}: no such file; write it with neurosim run --results")
    if len(errors) > before:
        return None
    return Measurement(line, result, cells["per"], **numbers)


def _number(line: int, name: str, cell: str, errors: list[str]) -> float | None:
    if not cell:
        return None
    try:
        number = float(cell)
    except ValueError:
        errors.append(f'line {line}: {name} "{cell}" is not a number; write it without a unit, {name[-1]} is meant')
        return None
    if not (math.isfinite(number) and number > 0):
        errors.append(f"line {line}: {name} is {cell}; it must be above zero and finite")
        return None
    return number
