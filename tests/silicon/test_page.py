"""The page: what is committed is what the measurements give now, and every row says what it is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from neurosim.costs import Interval
from neurosim.errors import InputError
from neurosim.silicon import CASES, EVIDENCE, Case, Outcome, Row, chosen, describe, page, run_case, section, tally
from neurosim.silicon.case import NONE, TEST, point

PAGE = Path(__file__).parents[2] / "docs" / "validation.md"
SLOW = {"V6", "V8"}


def cases(reference: bool) -> list[object]:
    return [
        pytest.param(case, id=case.key, marks=[pytest.mark.slow] if case.key in SLOW or reference else [])
        for case in CASES
        if case.reference == reference
    ]


def check(case: Case, reference: Path | None) -> None:
    outcome = run_case(case, reference)
    assert section(outcome) in PAGE.read_text(encoding="utf-8")
    for row in outcome.rows:
        assert row.evidence in EVIDENCE
        assert row.kind in ("measured", "simulated", "derived")
        assert row.predicted.low <= row.predicted.value <= row.predicted.high
        if row.evidence == NONE or row.missed:
            assert row.note, row.quantity


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
@pytest.mark.parametrize("case", cases(reference=False))
def test_page_is_what_the_measurements_give(case: Case) -> None:
    check(case, None)


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
@pytest.mark.parametrize("case", cases(reference=True))
def test_page_is_what_the_reference_networks_give(case: Case, reference_data: Path) -> None:
    check(case, reference_data)


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
def test_page_holds_every_measurement_in_order_and_nothing_else() -> None:
    titles = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert titles == [f"## {case.key}: {case.title}" for case in CASES]
    assert PAGE.read_text(encoding="utf-8").startswith(page([]))


@pytest.mark.skipif(not PAGE.is_file(), reason="the tests run apart from the repository")
def test_page_was_made_with_the_reference_networks() -> None:
    assert "Not run" not in PAGE.read_text(encoding="utf-8")


def row(predicted: float, evidence: str = TEST, target: float | None = 0.1, published: float = 10.0) -> Row:
    return Row("x", point(predicted), published, "W", "measured", evidence, "why", target)


@pytest.mark.parametrize(
    ("made", "missed"),
    [
        (row(11.0), False),
        (row(11.1), True),
        (row(8.9), True),
        (row(99.0, evidence=NONE), False),
        (row(99.0, target=None), False),
        (row(99.0, published=0.0), False),
    ],
)
def test_a_miss_is_evidence_outside_its_target(made: Row, missed: bool) -> None:
    assert made.missed is missed


def test_rows_are_counted_by_what_they_are_worth() -> None:
    rows = [row(10.0), row(20.0), row(20.0, evidence=NONE), row(20.0, target=None)]
    assert tally(rows) == "4 rows, 3 of them evidence; 2 of those with a target: 1 met, 1 missed"
    assert tally(rows[2:3]) == "1 row, none of them evidence"


def example() -> Case:
    made = Row("power", Interval(1.5, 1.25, 2.0), 1.0, "W", "measured", TEST, "a reason", 0.1)
    return Case("X1", "a chip", "measured so", "simulated so", "fixed so", lambda _: [made], remarks=("a remark",))


def test_a_section_has_range_error_verdict_and_reason() -> None:
    text = section(run_case(example(), None))
    assert "| power | 1.5 W | 1.25 to 2 | 1 W | +50.0 % | 10 % | miss | measured | test: a reason |" in text
    assert text.endswith("\na remark\n")
    (plain,) = describe([run_case(example(), None)])["measurements"]
    assert plain["absent"] is None
    assert plain["rows"][0]["predicted"] == {"value": 1.5, "low": 1.25, "high": 2.0}
    assert (plain["rows"][0]["verdict"], plain["rows"][0]["error"]) == ("miss", 0.5)


def test_a_measurement_that_was_not_run_says_why() -> None:
    needing = next(case for case in CASES if case.reference)
    outcome = run_case(needing, None)
    assert outcome == Outcome(needing, absent=outcome.absent)
    assert f"Not run: {outcome.absent}." in section(outcome)
    assert "NEUROSIM_REFERENCE_DATA" in outcome.absent


def test_keys_choose_measurements() -> None:
    assert [case.key for case in chosen(CASES, "v8, CPU")] == ["V8", "V8-corners", "CPU"]
    assert chosen(CASES, None) == list(CASES)
    with pytest.raises(InputError, match="no measurement is called v99; there are V1, V2"):
        chosen(CASES, "V6,V99")
