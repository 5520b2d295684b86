"""Held against silicon: published measurements, each rebuilt by a script, the prediction beside the figure."""

from neurosim.silicon.case import EVIDENCE, Case, Outcome, Row, chosen, run_case
from neurosim.silicon.cases import CASES
from neurosim.silicon.page import SCHEMA, describe, page, section, tally

__all__ = [
    "CASES",
    "EVIDENCE",
    "SCHEMA",
    "Case",
    "Outcome",
    "Row",
    "chosen",
    "describe",
    "page",
    "run_case",
    "section",
    "tally",
]
