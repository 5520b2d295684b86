"""Exploring: configurations side by side, runs costed anew, constants fitted to measurements."""

from neurosim.explore.baseline_rows import baseline_rows
from neurosim.explore.calibrate import Calibration, calibrate
from neurosim.explore.calibration_report import describe_calibration, print_calibration
from neurosim.explore.compare import Comparison, compare
from neurosim.explore.comparison_report import describe, write_csv, write_json
from neurosim.explore.comparison_table import print_comparison
from neurosim.explore.configurations import Configuration, configurations
from neurosim.explore.measurements import Measurement, read_measurements
from neurosim.explore.reprice import reprice
from neurosim.explore.rows import Row, Term
from neurosim.explore.variant_file import write_variant

__all__ = [
    "Calibration",
    "Comparison",
    "Configuration",
    "Measurement",
    "Row",
    "Term",
    "baseline_rows",
    "calibrate",
    "compare",
    "configurations",
    "describe",
    "describe_calibration",
    "print_calibration",
    "print_comparison",
    "read_measurements",
    "reprice",
    "write_csv",
    "write_json",
    "write_variant",
]
