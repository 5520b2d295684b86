"""A published measurement: a workload, predictions beside the figures, and whether those are evidence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from neurosim.costs import Interval
from neurosim.errors import InputError

TEST = "test"
"""No constant of the model was derived from this figure."""

WEAK = "weak"
"""No constant was derived from it, but its workload is known in part alone, or a rule of the model came with it."""

NONE = "none"
"""A constant, or the workload, was derived from this very figure: agreement checks the sums, not the chip."""

EVIDENCE = (TEST, WEAK, NONE)


@dataclass(frozen=True)
class Row:
    """One predicted quantity beside the published one.

    Attributes
    ----------
    quantity
        What it is, in words.
    predicted
        In `unit`, with the ends that the ranges of the constants allow; both ends are the value where they allow none.
    published
        In `unit`.
    unit
        Unit of both; empty for a count.
    kind
        How the figure came to be known: ``measured``, ``simulated`` or ``derived``.
    evidence
        One of `EVIDENCE`.
    note
        Why it is no evidence, or why it is missed.
    target
        Largest error, as a share, at which a row counts as met; None where no target is set.
    """

    quantity: str
    predicted: Interval
    published: float
    unit: str
    kind: str
    evidence: str
    note: str = ""
    target: float | None = None

    @property
    def error(self) -> float | None:
        """Predicted over published, less one; None where the published figure is zero."""
        return self.predicted.value / self.published - 1 if self.published else None

    @property
    def missed(self) -> bool:
        """Whether a row that is evidence and has a target lies outside it."""
        error = self.error
        return (
            self.target is not None and self.evidence != NONE and error is not None and abs(error) > self.target + 1e-12
        )


def point(value: float) -> Interval:
    """Return a prediction without a range."""
    return Interval(float(value), float(value), float(value))


@dataclass(frozen=True)
class Case:
    """One published measurement that can be rebuilt.

    Attributes
    ----------
    key
        Its name, such as ``V6``.
    title
        Chip and workload in a few words.
    measured
        Who measured what on what, with the source.
    workload
        What is simulated, and where it departs from what was measured.
    fixed
        Which figures the constants came from, and which rows they leave for a test.
    run
        Makes the rows from the folder of reference networks, which is None for those that need none.
    reference
        Whether it needs a reference network that is no part of the repository.
    remarks
        Paragraphs below the table: why misses are missed.
    """

    key: str
    title: str
    measured: str
    workload: str
    fixed: str
    run: Callable[[Path | None], list[Row]]
    reference: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    """A case with its rows, or with the reason why it was not run."""

    case: Case
    rows: tuple[Row, ...] = ()
    absent: str = ""


def run_case(case: Case, reference: Path | None) -> Outcome:
    """Run a case, or say why it is not run.

    Parameters
    ----------
    case
        What to run.
    reference
        Folder of the reference networks; None where there is none.
    """
    if case.reference and reference is None:
        return Outcome(case, absent="it needs the reference networks, and NEUROSIM_REFERENCE_DATA is not set")
    return Outcome(case, tuple(case.run(reference)))


def chosen(cases: tuple[Case, ...], only: str | None) -> list[Case]:
    """Return the cases that a list of keys names: those keys, and keys that go on after them with a dash.

    Raises
    ------
    InputError
        A key names none.
    """
    if only is None:
        return list(cases)
    keys = [key.strip().lower() for key in only.split(",") if key.strip()]
    if not keys:
        raise InputError(f"--only names no measurement; there are {', '.join(case.key for case in cases)}")
    found = [case for case in cases if any(_named(case, key) for key in keys)]
    unknown = [key for key in keys if not any(_named(case, key) for case in cases)]
    if unknown:
        raise InputError(
            f"no measurement is called {', '.join(unknown)}; there are {', '.join(case.key for case in cases)}"
        )
    return found


def _named(case: Case, key: str) -> bool:
    return case.key.lower() == key or case.key.lower().startswith(f"{key}-")
