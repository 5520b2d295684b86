"""Reports: a result as a summary for machines, as CSV tables, and as tables on a terminal."""

from neurosim.report.summary import SCHEMA, summarise, write_summary
from neurosim.report.tables import CSV_FILES, write_tables
from neurosim.report.terminal import print_report

__all__ = ["CSV_FILES", "SCHEMA", "print_report", "summarise", "write_summary", "write_tables"]
