"""The silicon page: outcomes as Markdown, and as plain values for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neurosim.report.layout import counted
from neurosim.silicon.case import NONE, Outcome, Row

SCHEMA = "neurosim.validation/1"

_HEAD = """\
# Held against silicon

Predictions beside published figures, the misses included. This page is made by `neurosim validate --markdown \
docs/validation.md`; each measurement is a script in `neurosim/silicon`. Error is predicted over published, less one. \
The range is what the ranges of energies and powers allow; times have none.

- **test**: no constant of the model was derived from this figure.
- **weak**: none was, but the workload behind the figure is known in part alone, or a rule of the model came from \
the same tables.
- **none**: a constant or the workload came from this very figure. Agreement checks the sums, not the chip.

A miss is a row that is evidence and lies outside its target; a row without a target is shown and not judged.

V1 and V2 need reference networks that are no part of the repository, in the folder that the environment variable \
`NEUROSIM_REFERENCE_DATA` names; without them a page says that they were not run.
"""


def number(value: float) -> str:
    """Return a figure with four digits, and thousands apart."""
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.3e}"
    digits = f"{value:.4g}"
    if "e" in digits or abs(value) >= 1000:
        return f"{value:,.0f}"
    return digits


def percent(error: float | None) -> str:
    """Return an error in per cent; zero without a sign."""
    if error is None:
        return "–"
    digits = f"{error:+.1%}"
    return "0.0 %" if digits in ("+0.0%", "-0.0%") else digits.replace("%", " %")


def figures(row: Row) -> tuple[str, str, str]:
    """Return the predicted value, its range where it has one, and the published value, the first and last with unit."""
    low, high = number(row.predicted.low), number(row.predicted.high)
    value, unit = number(row.predicted.value), f" {row.unit}" if row.unit else ""
    spread = "" if low == high else f"{low} to {high}"
    return f"{value}{unit}", spread, f"{number(row.published)}{unit}"


def verdict(row: Row) -> str:
    """Return whether a row that is judged is met."""
    if row.target is None or row.evidence == NONE:
        return ""
    return "miss" if row.missed else "met"


def tally(rows: Sequence[Row]) -> str:
    """Return in words how many rows are evidence, and how many of those are met and missed."""
    evidence = [row for row in rows if row.evidence != NONE]
    verdicts = [verdict(row) for row in evidence]
    if not evidence:
        return f"{counted(len(rows), 'row')}, none of them evidence"
    judged = len(verdicts) - verdicts.count("")
    words = f"{counted(len(rows), 'row')}, {len(evidence)} of them evidence; {judged or 'none'} of those with a target"
    return f"{words}: {verdicts.count('met')} met, {verdicts.count('miss')} missed" if judged else words


def section(outcome: Outcome) -> str:
    """Return the part of the page on one measurement, which ends in a line break."""
    case = outcome.case
    parts = [
        f"## {case.key}: {case.title}",
        f"**Measured.** {case.measured}",
        f"**Simulated.** {case.workload}",
        f"**Constants.** {case.fixed}",
    ]
    if outcome.absent:
        parts.append(f"Not run: {outcome.absent}.")
    else:
        lines = [
            "| quantity | predicted | range | published | error | target | verdict | kind | evidence |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        for row in outcome.rows:
            target = "" if row.target is None else f"{100 * row.target:g} %"
            words = f"{row.evidence}: {row.note}" if row.note else row.evidence
            cells = (row.quantity, *figures(row), percent(row.error), target, verdict(row), row.kind, words)
            lines.append(f"| {' | '.join(cells)} |")
        parts += ["\n".join(lines), f"{tally(outcome.rows)}.", *case.remarks]
    return "\n\n".join(parts) + "\n"


def page(outcomes: Sequence[Outcome]) -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(section(outcome) for outcome in outcomes)])


def describe(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the outcomes as plain values, ready for JSON."""
    return {
        "schema": SCHEMA,
        "measurements": [
            {
                "key": outcome.case.key,
                "title": outcome.case.title,
                "measured": outcome.case.measured,
                "simulated": outcome.case.workload,
                "constants": outcome.case.fixed,
                "absent": outcome.absent or None,
                "remarks": list(outcome.case.remarks),
                "rows": [_plain(row) for row in outcome.rows],
            }
            for outcome in outcomes
        ],
    }


def _plain(row: Row) -> dict[str, Any]:
    low, high = sorted((row.predicted.low, row.predicted.high))
    return {
        "quantity": row.quantity,
        "unit": row.unit or None,
        "predicted": {"value": row.predicted.value, "low": low, "high": high},
        "published": row.published,
        "kind": row.kind,
        "error": row.error,
        "target": row.target,
        "verdict": verdict(row) or None,
        "evidence": row.evidence,
        "note": row.note or None,
    }
