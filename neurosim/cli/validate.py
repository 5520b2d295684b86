"""The command that holds the simulator against published measurements."""

from __future__ import annotations

import os
from pathlib import Path

import click

from neurosim.cli import common
from neurosim.cli.output_files import OutputFile, check_outputs

REFERENCE_VARIABLE = "NEUROSIM_REFERENCE_DATA"


@click.command("validate")
@click.option("--only", metavar="KEY[,KEY]", help="Measurements by key, such as V6,V8.")
@click.option("--json", "json_file", type=OutputFile(), metavar="FILE", help="Write all rows as JSON.")
@click.option("--markdown", "markdown_file", type=OutputFile(), metavar="FILE", help="Write the page as Markdown.")
def command(only: str | None, json_file: Path | None, markdown_file: Path | None) -> None:
    """Simulate published measurements and show predictions beside them.

    Whether a figure is evidence, and why it is missed, stands beside it. Measurements of published networks need the
    folder that the environment variable NEUROSIM_REFERENCE_DATA names, and are left out without it.
    """
    check_outputs()
    value = os.environ.get(REFERENCE_VARIABLE)
    reference = Path(value) if value else None
    if reference is not None and not reference.is_dir():
        raise click.UsageError(f"{REFERENCE_VARIABLE}={value}: no such folder; correct it or unset it.")

    from rich.console import Console

    from neurosim.files import atomic_path
    from neurosim.report.summary import write_summary
    from neurosim.silicon import CASES, chosen, describe, page, run_case
    from neurosim.silicon.terminal import print_outcome, print_tally

    console = Console(highlight=False)
    outcomes = []
    for case in chosen(CASES, only):
        outcomes.append(run_case(case, reference))
        print_outcome(outcomes[-1], console)
    print_tally(outcomes, console)
    with common.outputs():
        if json_file is not None:
            write_summary(describe(outcomes), json_file)
        if markdown_file is not None:
            with atomic_path(markdown_file) as part:
                part.write_text(page(outcomes), encoding="utf-8", newline="\n")
    for path in (json_file, markdown_file):
        if path is not None:
            console.print(f"written to {path}", markup=False, soft_wrap=True)
