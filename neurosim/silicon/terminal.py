"""Outcomes on a terminal: a table a measurement, and what all rows together come to."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from neurosim.report.layout import Column, print_columns, print_list
from neurosim.silicon.case import Outcome
from neurosim.silicon.page import figures, percent, tally, verdict


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print one measurement: its rows, or why it was not run; misses carry their reason."""
    title = f"{outcome.case.key}: {outcome.case.title}"
    if outcome.absent:
        print_list(title, [f"not run: {outcome.absent}"], console)
        return
    rows = outcome.rows
    found = [figures(row) for row in rows]
    print_columns(
        title,
        [
            Column("quantity", [row.quantity for row in rows], left=True, wrapped=True),
            Column("predicted", [value for value, _, _ in found]),
            Column("published", [value for _, _, value in found]),
            Column("error", [percent(row.error) for row in rows]),
            Column("verdict", [verdict(row) for row in rows], left=True),
            Column("evidence", [row.evidence for row in rows], left=True),
            Column("range", [spread for _, spread, _ in found], spare=True),
            Column("kind", [row.kind for row in rows], left=True, spare=True),
        ],
        console,
    )
    print_list("Missed", [f"{row.quantity}: {row.note or 'see the page'}" for row in rows if row.missed], console)


def print_tally(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print how many rows of all measurements are evidence, met and missed."""
    absent = [outcome.case.key for outcome in outcomes if outcome.absent]
    console.print()
    console.print(tally([row for outcome in outcomes for row in outcome.rows]), soft_wrap=True)
    if absent:
        console.print(f"not run: {', '.join(absent)}", soft_wrap=True)
