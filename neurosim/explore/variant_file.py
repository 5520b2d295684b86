"""The chip file of a calibration: a variant that extends a chip, with what was fitted as derived constants."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

from neurosim.explore.calibrate import Calibration, FittedConstant
from neurosim.files import atomic_path, file_sha256

DIGITS = 6
"""Significant digits of a fitted constant."""


def write_variant(calibration: Calibration, base: str, measurements: str | Path, path: str | Path) -> None:
    """Write the constants that the data determine as a chip file.

    Parameters
    ----------
    calibration
        Whose constants.
    base
        The chip that it extends: a shipped one's name, or the path of a chip file.
    measurements
        The file that they were fitted to, for the sources.
    path
        The chip file; its name without ``.toml`` is the chip's.

    Raises
    ------
    InputError
        The file cannot be written.
    """
    path, measurements = Path(path), Path(measurements)
    extends = base
    if base.endswith(".toml"):
        extends = Path(os.path.relpath(base, path.parent)).as_posix()
    source = (
        f"neurosim calibrate: non-negative least squares on {len(calibration.measurements)} measurements, "
        f"{measurements.name} (SHA-256 {file_sha256(measurements)[:16]})"
    )
    found, chip = calibration.fit, calibration.chip
    note = (
        f"{100 * calibration.confidence:g} % confidence from low to high; relative residual "
        f"{100 * found.relative_noise:.2g} %, condition {found.condition:.3g}, {found.freedom} degrees of freedom; "
        "these measurements are no evidence for it"
    )
    lines = [
        "# Written by neurosim calibrate. What is not here, the data do not determine: it keeps the base's value.",
        "",
        'schema = "neurosim.chip/1"',
        f"extends = {_text(extends)}",
        f"name = {_text(path.stem)}",
        f"title = {_text(f'{chip.title}, calibrated')}",
        f"summary = {_text(f'{chip.name} with energies and powers fitted to {measurements.name}')}",
    ]
    if chip.gaps:
        lines.append(f"gaps = [{', '.join(_text(gap) for gap in chip.gaps)}]")
    tables: dict[str, list[str]] = {}
    for constant in calibration.constants:
        table, _, key = constant.key.rpartition(".")
        tables.setdefault(table, []).append(
            f'{key} = {{ {_numbers(constant)}, kind = "derived", source = {_text(source)}, note = {_text(note)} }}'
        )
    for table, entries in tables.items():
        lines += ["", f"[{table}]", *entries]
    with atomic_path(path) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _numbers(constant: FittedConstant) -> str:
    parts = (("value", constant.value), ("low", constant.low), ("high", constant.high))
    return ", ".join(f'{name} = "{_rounded(value)} {constant.unit}"' for name, value in parts)


def _rounded(value: float) -> str:
    return f"{Decimal(f'{value:.{DIGITS}g}'):f}"


def _text(text: str) -> str:
    """Return a TOML string; JSON's escapes are among TOML's."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
