"""Exploring: configurations side by side, runs costed anew, constants fitted to measurements."""

from neurosim.explore.compare import Comparison, compare
from neurosim.explore.comparison_report import describe, write_csv, write_json
from neurosim.explore.comparison_table import print_comparison
from neurosim.explore.configurations import Configuration, configurations
from neurosim.explore.reprice import reprice
from neurosim.explore.rows import Row, Term

__all__ = [
    "Comparison",
    "Configuration",
    "Row",
    "Term",
    "compare",
    "configurations",
    "describe",
    "print_comparison",
    "reprice",
    "write_csv",
    "write_json",
]
