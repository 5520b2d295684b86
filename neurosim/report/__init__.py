"""Reports: a result as a summary for machines, as CSV tables, as tables on a terminal, and as a timeline."""

from neurosim.report.origin import Origin
from neurosim.report.outputs_file import write_outputs
from neurosim.report.results_file import Run, read_results, write_results
from neurosim.report.summary import SCHEMA, summarise, write_summary
from neurosim.report.tables import CSV_FILES, write_tables
from neurosim.report.terminal import print_report
from neurosim.report.timeline import TimelineReport, write_timeline

__all__ = [
    "CSV_FILES",
    "SCHEMA",
    "Origin",
    "Run",
    "TimelineReport",
    "print_report",
    "read_results",
    "summarise",
    "write_outputs",
    "write_results",
    "write_summary",
    "write_tables",
    "write_timeline",
]
