"""A calibration as plain values of schema ``neurosim.calibration/1``, and for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.console import Console
from rich.text import Text

import neurosim
from neurosim.explore.calibrate import Calibration, Undetermined
from neurosim.report.layout import Column, counted, engineering, percent, print_columns, print_list

SCHEMA = "neurosim.calibration/1"


def describe_calibration(calibration: Calibration) -> dict[str, Any]:
    """Return a calibration as plain values: dict, list, str, int, float, None."""
    found = calibration.fit
    return {
        "schema": SCHEMA,
        "version": neurosim.__version__,
        "chip": calibration.chip.name,
        "confidence": calibration.confidence,
        "condition": found.condition,
        "degrees_of_freedom": found.freedom,
        "relative_noise": found.relative_noise,
        "relative_residual_rms": float(np.sqrt(np.mean(found.relative_residuals**2))),
        "constants": [
            {
                "key": constant.key,
                "unit": constant.unit,
                "before": constant.before,
                "value": constant.value,
                "low": constant.low,
                "high": constant.high,
                "share": constant.share,
            }
            for constant in calibration.constants
        ],
        "undetermined": [
            {
                "keys": list(group.keys),
                "intervals": None if group.intervals is None else [list(ends) for ends in group.intervals],
                "unit": group.unit or None,
                "factors": None if group.factors is None else list(group.factors),
                "before": group.before,
                "value": group.value,
                "low": group.low,
                "high": group.high,
            }
            for group in calibration.undetermined
        ],
        "unseen": list(calibration.unseen),
        "held": list(calibration.held),
        "alike": [{"keys": [a, b], "correlation": r} for a, b, r in calibration.alike],
        "measurements": [
            {
                "line": measurement.line,
                "result": measurement.result.name,
                "per": measurement.per,
                "measured_j": float(measured),
                "predicted_j": float(predicted),
                "before_j": float(before),
                "relative_residual": float(residual),
            }
            for measurement, measured, predicted, before, residual in zip(
                calibration.measurements, calibration.measured_j, calibration.predicted_j, calibration.before_j,
                found.relative_residuals, strict=True,
            )
        ],
    }  # fmt: skip


def print_calibration(calibration: Calibration, console: Console) -> None:
    """Print a calibration; no line is longer than the console is wide."""
    described = describe_calibration(calibration)
    console.print(Text.assemble((described["chip"], "bold"), ", fitted to measurements"))
    console.print(
        f"{counted(len(calibration.measurements), 'measurement')}, {described['degrees_of_freedom']:,} degrees of "
        f"freedom, condition {described['condition']:.3g}"
    )
    noise = "as given" if calibration.measurements[0].relative_sigma is not None else "from the residuals"
    console.print(
        f"relative residual {percent(described['relative_residual_rms'])} % r.m.s.; noise "
        f"{percent(described['relative_noise'])} %, {noise}"
    )
    constants = described["constants"]
    if constants:
        interval = f"{100 * calibration.confidence:g} %"
        columns = [
            Column("constant", [constant["key"] for constant in constants], left=True),
            Column("unit", [constant["unit"] for constant in constants], left=True),
            Column("before", [_number(constant["before"]) for constant in constants]),
            Column("fitted", [_number(constant["value"]) for constant in constants]),
            Column(f"{interval}\nfrom", [_number(constant["low"]) for constant in constants]),
            Column("to", [_number(constant["high"]) for constant in constants]),
            Column("share\n/%", [percent(constant["share"]) for constant in constants]),
        ]
        print_columns("Constants that the data determine", columns, console)
    print_list(
        "What the data cannot tell apart; not in the variant",
        [_undetermined(group) for group in calibration.undetermined],
        console,
    )
    if calibration.undetermined:
        console.print("Fit fewer constants (--fit), or measure runs that differ more in what they do.")
    print_list(
        "Hard to tell apart: errors of one go with errors of the other",
        [
            f"{pair['keys'][0]} and {pair['keys'][1]}: correlation {pair['correlation']:.3f}"
            for pair in described["alike"]
        ],
        console,
    )
    print_list("In no measurement; not in the variant", calibration.unseen, console)
    print_list("Not fitted: these keep the chip's values", calibration.held, console)
    _residuals(described["measurements"], console)


def _residuals(measurements: list[Mapping[str, Any]], console: Console) -> None:
    columns = [
        Column("line", [m["line"] for m in measurements]),
        Column("result", [m["result"] for m in measurements], left=True),
        Column("per", [m["per"] for m in measurements], left=True, spare=True),
        Column("measured", [engineering(m["measured_j"], "J") for m in measurements]),
        Column("fitted", [engineering(m["predicted_j"], "J") for m in measurements]),
        Column("residual\n/%", [f"{100 * m['relative_residual']:+.1f}" for m in measurements]),
        Column("before\nfitting", [engineering(m["before_j"], "J") for m in measurements]),
    ]
    print_columns("Residuals: measured less fitted, over fitted", columns, console)


def _number(value: float) -> str:
    return f"{value:.4g}"


def _undetermined(group: Undetermined) -> str:
    if group.intervals is not None:
        ends = zip(group.keys, group.intervals, strict=True)
        each = ", ".join(f"{key} ({_number(low)} to {_number(high)})" for key, (low, high) in ends)
        return f"{each}{f', in {group.unit}' if group.unit else ''}: at this noise each may be nothing or all"
    if group.factors is None or group.value is None or group.low is None or group.high is None:
        return f"{', '.join(group.keys)}: these runs tell fewer sums than there are constants"
    factors = [f"{factor:.4g}" for factor in group.factors]
    parts = [key if factor == "1" else f"{factor} x {key}" for key, factor in zip(group.keys, factors, strict=True)]
    unit = f" {group.unit}" if group.unit else ""
    return (
        f"{' + '.join(parts)} = {_number(group.value)}{unit} ({_number(group.low)} to {_number(group.high)}); "
        f"{_number(group.before or 0.0)} before"
    )
